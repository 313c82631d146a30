"""What a reward function is, how a plain function becomes one, and how a batch is scored.

`score` is the one place where a reward function is called, checked and, if it fails, blamed with
the text that broke it. It does not know environments, and it has no other policy for failures
than to raise: see `text_gym.rewards.on_error` for one that the caller chooses by name.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode

PlainFunction: TypeAlias = Callable[[str, str], float]
"""A reward of one text: `fn(prompt, completion) -> float`."""

_RULE = (
    "a reward function takes one required positional argument (a batch of episodes), "
    "or two (prompt, completion) and nothing else that is required"
)

_NAMED_FOR = {
    "prompt": ("prompt", "question", "query"),
    "completion": ("completion", "response", "reply"),
    "reference": ("reference", "ground_truth", "label"),
    "metadata": ("metadata",),
    "batch of episodes": ("episodes",),
    "episode": ("episode",),
    "prompts": ("prompts",),
    "completions": ("completions", "responses"),
}
_REAL = "biuf"
"""Kinds of dtypes that are real numbers."""

_ASKED = {name: asked for asked, names in _NAMED_FOR.items() for name in names}
"""What a parameter of this name asks for; other names ask for nothing in particular."""


class RewardFunction(Protocol):
    """Scores a batch of finished texts.

    A reward function may also have an attribute `name`, under which it is reported, and a method
    `components(episodes)` that returns a dict of arrays of shape (n,) which sum to its reward:
    then `score` calls that method instead, once, and reports the components.
    """

    def __call__(self, episodes: Sequence[Episode], /) -> NDArray[np.float64]:
        """Returns the rewards of n episodes, shape (n,), finite."""
        ...


class RewardError(RuntimeError):
    """Says which reward function failed, how, and on which text."""


class RewardTypeError(RewardError, TypeError):
    """Says which reward function returned something other than real numbers."""


class RewardValueError(RewardError, ValueError):
    """Says which reward function returned the wrong number of values, NaN or infinity."""


class Scores(NamedTuple):
    """Holds the rewards of n episodes.

    Attributes:
        total: The rewards, shape (n,).
        components: The parts that sum to `total`, each of shape (n,). A reward function without
            parts is its own only component; an empty batch has none.
    """

    total: NDArray[np.float64]
    components: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class _PerText:
    """Scores a batch with a plain function, one text at a time."""

    fn: PlainFunction

    @property
    def name(self) -> str:
        return reward_name(self.fn)

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        name = self.name
        values = [_called(self._of_one, episode, name, [episode]) for episode in episodes]
        return _checked(values, name, episodes)

    def _of_one(self, episode: Episode) -> float:
        return self.fn(episode.prompt, episode.completion)

    def __deepcopy__(self, memo: dict[int, Any]) -> _PerText:
        """Returns itself: copying an environment must not copy a model behind `fn`."""
        return self


def as_reward_function(fn: RewardFunction | PlainFunction, argument: str = "fn") -> RewardFunction:
    """Adapts a plain function of (prompt, completion); passes a reward function through.

    The signature decides, and `fn` is not called: two required positional parameters make a plain
    function, one makes a reward function.

    Args:
        fn: What somebody gave.
        argument: As what, for the message.

    Raises:
        TypeError: If `fn` has any other signature, is a class, or has a parameter whose name says
            that it is something else than it would be given (`completion, reference`).

    Example:
        >>> brevity = as_reward_function(lambda prompt, completion: -len(completion))
        >>> brevity([Episode.from_text("Hi", "Hello"), Episode.from_text("Hi", "")])
        array([-5.,  0.])
        >>> as_reward_function(brevity) is brevity
        True
    """
    if inspect.isclass(fn):
        raise TypeError(
            f"{argument}: {_RULE}; received the class {fn.__name__}: construct it first"
        )
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{argument}: {_RULE}; received {_clip(fn)}, whose signature cannot be read"
        ) from error
    required = [p for p in signature.parameters.values() if _is_required(p)]
    by_keyword = any(p.kind is p.KEYWORD_ONLY for p in required)
    if by_keyword or len(required) not in (1, 2):
        raise TypeError(f"{argument}: {_RULE}; received {_clip(fn)} with the signature {signature}")
    given = ("batch of episodes",) if len(required) == 1 else ("prompt", "completion")
    names = dict(zip((p.name for p in required), given, strict=True))
    _require_names(fn, signature, names, argument)
    return fn if len(required) == 1 else _PerText(fn)  # type: ignore[return-value, arg-type]


def _require_names(
    fn: Any, signature: inspect.Signature, given: dict[str, str], argument: str
) -> None:
    """Raises TypeError if a parameter is named for something else than it is given.

    Args:
        fn: The function, for the message.
        signature: Of `fn`.
        given: What each required parameter is given.
        argument: As what `fn` was given, for the message.
    """
    for name, parameter in signature.parameters.items():
        asked = _ASKED.get(name.lower())
        contradicts = asked is not None and asked != given.get(name, asked)
        never_filled = name not in given and parameter.default is None
        if contradicts or (never_filled and asked in ("reference", "metadata")):
            raise TypeError(
                f"{argument}: a parameter must be named for what it is given, but that named "
                f"{name!r} would be given {'None' if never_filled else f'the {given[name]}'} (a "
                "reward that reads references or metadata takes the batch of episodes); "
                f"received {_clip(fn)} with the signature {signature}"
            )


def _is_required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variadic


def reward_name(fn: RewardFunction | PlainFunction) -> str:
    """Returns the name under which a reward function is reported.

    That is its attribute `name` if that is a string, else its `__name__`, else its class in
    snake_case. A `functools.partial` is named after the function inside.

    Example:
        >>> from text_gym.rewards import DistinctNgrams
        >>> reward_name(DistinctNgrams(2))
        'distinct_ngrams'
    """
    if isinstance(fn, functools.partial):
        return reward_name(fn.func)
    for attribute in ("name", "__name__"):
        name = getattr(fn, attribute, None)
        if isinstance(name, str):
            return name
    return _snake_case(type(fn).__name__)


@functools.cache
def _snake_case(name: str) -> str:
    boundary = r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])"
    return re.sub(boundary, "_", name).lower()


def score(fn: RewardFunction, episodes: Sequence[Episode], *, name: str | None = None) -> Scores:
    """Calls a reward function once for the whole batch and checks what it returns.

    Args:
        fn: The reward function. An empty batch is answered without calling it.
        episodes: n finished episodes.
        name: What to call `fn` in errors and among the components; `reward_name(fn)` if None.

    Raises:
        RewardError: If `fn` raises; shows the text that broke it if `fn` scores one text at a
            time, else the first texts of the batch.
        RewardTypeError: (a TypeError too) if it returns strings, objects or complex numbers.
        RewardValueError: (a ValueError too) if it does not return n values, or one is not finite.

    Example:
        >>> from text_gym.rewards import WordCount
        >>> score(WordCount(), [Episode.from_text("Hi", "Hello there")])
        Scores(total=array([2.]), components={'word_count': array([2.])})
    """
    if len(episodes) == 0:
        return Scores(np.zeros(0), {})
    name = reward_name(fn) if name is None else name
    split = getattr(fn, "components", None)
    if not callable(split):
        total = _checked(_called(fn, episodes, name, episodes), name, episodes)
        return Scores(total, {name: total})
    parts = _called(lambda batch: dict(split(batch)), episodes, name, episodes)
    if not parts:
        raise RewardValueError(f"reward {name!r} must return at least one component, received none")
    components = {
        part: _checked(values, f"{name}/{part}", episodes) for part, values in parts.items()
    }
    total = sum(components.values(), start=np.zeros(len(episodes)))
    return Scores(_checked(total, name, episodes), components)


def _called(fn: Callable[[Any], Any], given: Any, name: str, episodes: Sequence[Episode]) -> Any:
    """Returns `fn(given)`; what it raises is raised with the name of the reward and the texts."""
    try:
        return fn(given)
    except RewardError:
        raise
    except Exception as error:
        raise RewardError(
            f"reward {name!r} raised {type(error).__name__}: {error}; on {_show(episodes)}"
        ) from error


def _checked(values: Any, name: str, episodes: Sequence[Episode]) -> NDArray[np.float64]:
    """Returns the values as float64 of shape (n,), or says which of them broke which rule."""
    array: NDArray[Any] = values
    if type(values) is not np.ndarray:
        array = _called(np.asarray, values, name, episodes)
    if array.shape != (len(episodes),):
        raise RewardValueError(
            f"reward {name!r} must return one number per episode, shape ({len(episodes)},); "
            f"received shape {array.shape}: {_clip(values)}; on {_show(episodes)}"
        )
    if array.dtype.kind not in _REAL:
        kinds = [np.asarray(value).dtype.kind for value in values]
        index = next((i for i, kind in enumerate(kinds) if kind not in _REAL), 0)
        raise RewardTypeError(
            f"reward {name!r} must return real numbers; received {_clip(values[index])} "
            f"(dtype {array.dtype}); on {_show([episodes[index]])}"
        )
    checked: NDArray[np.float64] = array.astype(np.float64)
    if not all(map(math.isfinite, checked.tolist())):  # few: faster than two array operations
        index = int(np.flatnonzero(~np.isfinite(checked))[0])
        raise RewardValueError(
            f"reward {name!r} must return finite numbers; received {checked[index]}; "
            f"on {_show([episodes[index]])}"
        )
    return checked


def _show(episodes: Sequence[Episode], limit: int = 3) -> str:
    """Quotes the texts of a few episodes for an error message."""
    texts = "; ".join(
        f"prompt={_clip(episode.prompt)}, completion={_clip(episode.completion)}"
        for episode in episodes[:limit]
    )
    return texts if len(episodes) == 1 else f"a batch of {len(episodes)}, first texts: {texts}"


def _clip(value: Any, limit: int = 200) -> str:
    """Returns the repr of a value, cut after `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"
