"""In which order prompts are drawn.

A source hands out one `Prompt` per episode from the random generator it is given. It knows nothing
of tokens or environments.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from text_gym.number_rules import require_count
from text_gym.prompts import Prompt, PromptLike, PromptList, as_prompt, read_prompts
from text_gym.quoting import quoted
from text_gym.row_state import recalled_prompt, recorded_prompt

Sampling = Literal["with_replacement", "without_replacement"]


class PromptSource(ABC):
    """Draws the prompt of each new episode.

    Attributes:
        shared: False if every row of a vector environment draws by itself, from its own random
            stream; True if the rows share the source, which is then drawn from the vector
            environment's stream in the order in which episodes start. The same seed then gives the
            same sequence of prompts, whatever the number of rows.
    """

    shared = False

    @property
    def prompts(self) -> Sequence[Prompt] | None:
        """All prompts, where they can be listed."""
        return None

    @abstractmethod
    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns the next prompt, using no randomness but `np_random`."""

    @property
    def learns(self) -> bool:
        """Whether `observe` does anything."""
        return type(self).observe is not PromptSource.observe

    def observe(self, prompt: str, reward: float) -> None:  # noqa: B027  # most do not learn
        """Takes note of the reward that a text for this prompt was paid."""

    def restart(self) -> None:  # noqa: B027  # a stateless source has nothing to forget
        """Forgets what was drawn and observed so far; called when the environment is seeded."""

    def get_state(self) -> dict[str, Any]:
        """Returns what `set_state` needs to go on from here; empty for a stateless source.

        Only values that JSON can hold, so that any checkpoint can.
        """
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027  # nor to remember
        """Goes on from a state that `get_state` returned."""


class ListedPrompts(PromptSource):
    """Holds the prompts of a source that can list them, and numbers them.

    Args:
        prompts: Anything that `read_prompts` accepts.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, prompts: PromptList) -> None:
        self._prompts = [
            dataclasses.replace(prompt, info={"prompt_id": index})
            for index, prompt in enumerate(read_prompts(prompts))
        ]
        if not self._prompts:
            raise ValueError(f"prompts must hold at least one prompt, got {quoted(prompts)}")

    @property
    def prompts(self) -> Sequence[Prompt]:
        """All prompts, in the order given."""
        return self._prompts


class UniformPrompts(ListedPrompts):
    """Draws every prompt with equal probability, independently of the last."""

    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns a uniformly random prompt."""
        if len(self._prompts) == 1:  # a draw among one takes 2 us, and nothing from the stream
            return self._prompts[0]
        return self._prompts[int(np_random.integers(len(self._prompts)))]


class WeightedPrompts(ListedPrompts):
    """Draws prompts with given probabilities, independently of the last.

    Args:
        prompts: Anything that `read_prompts` accepts.
        weights: One for each, at least 0, not all 0; they need not sum to 1.

    Raises:
        ValueError: If the weights are not so.

    Example:
        >>> source = WeightedPrompts(["rare", "often"], [1, 99])
        >>> np_random = np.random.default_rng(0)
        >>> sum(source.draw(np_random).text == "often" for _ in range(100)) > 90
        True
    """

    def __init__(self, prompts: PromptList, weights: ArrayLike) -> None:
        super().__init__(prompts)
        self._cumulative = _cumulative(weights, len(self._prompts))

    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns a prompt with its probability."""
        return self._prompts[_place(self._cumulative, np_random)]


class EpochPrompts(ListedPrompts):
    """Draws every prompt once before any is drawn again, each epoch in a new random order."""

    shared = True

    def __init__(self, prompts: PromptList) -> None:
        super().__init__(prompts)
        self._remaining: list[int] = []

    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns the next prompt of the epoch, shuffling when a new one begins."""
        if not self._remaining:
            self._remaining = np_random.permutation(len(self._prompts)).tolist()
        return self._prompts[self._remaining.pop()]

    def restart(self) -> None:
        """Begins a new epoch at the next draw."""
        self._remaining = []

    def get_state(self) -> dict[str, Any]:
        """Returns the order of what is left of the epoch."""
        return {"remaining": list(self._remaining)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues an epoch."""
        self._remaining = list(state["remaining"])


class GroupedPrompts(PromptSource):
    """Gives each prompt to `size` episodes in a row, numbered by `info["group_id"]`.

    What GRPO and RLOO compare: several completions of one prompt.

    Args:
        source: Draws the prompt of each group; anything that `as_prompt_source` accepts.
        size: Episodes per group.

    Raises:
        ValueError: If `size` is below 1.
    """

    shared = True

    def __init__(self, source: Any, size: int) -> None:
        require_count(size, "size")
        self._source = as_prompt_source(source)
        self._size = size
        self._prompt: Prompt | None = None
        self._drawn = 0
        self._group_id = -1

    @property
    def prompts(self) -> Sequence[Prompt] | None:
        """All prompts of the inner source."""
        return self._source.prompts

    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns the prompt of the present group, or of a new one when that is full."""
        if self._prompt is None or self._drawn == self._size:
            prompt = self._source.draw(np_random)
            self._group_id += 1
            self._prompt = dataclasses.replace(
                prompt, info={**prompt.info, "group_id": self._group_id}
            )
            self._drawn = 0
        self._drawn += 1
        return self._prompt

    def observe(self, prompt: str, reward: float) -> None:
        """Passes the reward on to the inner source."""
        self._source.observe(prompt, reward)

    def restart(self) -> None:
        """Begins with group 0 at the next draw."""
        self._source.restart()
        self._prompt, self._drawn, self._group_id = None, 0, -1

    def get_state(self) -> dict[str, Any]:
        """Returns the present group and the inner source's state."""
        return {
            "source": self._source.get_state(),
            "prompt": self._prompt and recorded_prompt(self._prompt, self.prompts),
            "drawn": self._drawn,
            "group_id": self._group_id,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continues a group."""
        self._source.set_state(state["source"])
        prompt = state["prompt"]
        self._prompt = prompt and recalled_prompt(prompt, self.prompts)
        self._drawn, self._group_id = state["drawn"], state["group_id"]


class CurriculumPrompts(ListedPrompts):
    """Prefers prompts that succeed about half of the time.

    With p the recent success rate of a prompt, starting at 1/2, its weight is 4 p (1 - p), and
    never less than `floor`: what always or never succeeds has little to teach, but is not
    forgotten.

    Args:
        prompts: Anything that `read_prompts` accepts.
        threshold: The reward from which on a text is a success.
        rate: Weight of the newest text in the success rate, in (0, 1].
        floor: Smallest weight, in (0, 1].

    Raises:
        ValueError: If `rate` or `floor` is not in (0, 1].
    """

    shared = True

    def __init__(
        self, prompts: PromptList, *, threshold: float, rate: float = 0.1, floor: float = 0.05
    ) -> None:
        super().__init__(prompts)
        for name, value in (("rate", rate), ("floor", floor)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {value}")
        self._threshold, self._rate, self._floor = threshold, rate, floor
        self._places: dict[str, list[int]] = defaultdict(list)
        for index, prompt in enumerate(self._prompts):
            self._places[prompt.text].append(index)
        self._success = np.full(len(self._prompts), 0.5)

    @property
    def success_rates(self) -> Sequence[float]:
        """The recent success rate of each prompt."""
        return self._success.tolist()

    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns a prompt with probability proportional to its weight."""
        weights = np.maximum(4 * self._success * (1 - self._success), self._floor)
        return self._prompts[_place(np.cumsum(weights), np_random)]

    def observe(self, prompt: str, reward: float) -> None:
        """Moves the success rate of the prompt towards 1 or 0."""
        for index in self._places.get(prompt, ()):
            success = float(reward >= self._threshold)
            self._success[index] += self._rate * (success - self._success[index])

    def restart(self) -> None:
        """Sets every success rate to 1/2."""
        self._success = np.full(len(self._prompts), 0.5)

    def get_state(self) -> dict[str, Any]:
        """Returns the success rates."""
        return {"success": self._success.tolist()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restores the success rates."""
        self._success = np.array(state["success"])


class CallablePrompts(PromptSource):
    """Asks a function for each prompt.

    Args:
        function: `function(np_random) -> Prompt`, or anything that `as_prompt` accepts.

    Raises:
        TypeError: If it does not take one argument.
    """

    def __init__(self, function: Callable[[np.random.Generator], Any]) -> None:
        _require_one_argument(function)
        self._function = function

    def draw(self, np_random: np.random.Generator) -> Prompt:
        """Returns what the function makes of `np_random`."""
        return as_prompt(self._function(np_random))


def _require_one_argument(function: Callable[[np.random.Generator], Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # what is written in C may have none to read
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TypeError(
            "prompts must be a callable fn(np_random) of one argument, a numpy.random.Generator, "
            f"got {quoted(function)} with the signature {signature}"
        ) from error


PromptsLike = PromptList | PromptSource | Callable[[np.random.Generator], PromptLike]
"""Whatever holds prompts; see `as_prompt_source`."""


def as_prompt_source(prompts: PromptsLike, sampling: Sampling | None = None) -> PromptSource:
    """Makes a source of whatever holds prompts.

    Of a source that remembers, it makes a copy: two environments that were given the same one do
    not disturb each other, and the copy is the environment's `task.source`.

    Args:
        prompts: A `PromptSource`; one text; a sequence (of texts, `Prompt`s or mappings, so also a
            Hugging Face dataset), but neither a table nor a set; the path of a `.txt` file (one
            prompt a line) or a `.jsonl` file (one JSON text or object a line); or a callable given
            a `numpy.random.Generator`.
        sampling: `"with_replacement"` (the default) or `"without_replacement"`, for listed prompts.

    Raises:
        ValueError: If there is no prompt, a path has another suffix, `sampling` is unknown, or it
            is given where the source decides.
        TypeError: If `prompts` is none of the above.
    """
    kinds = {"with_replacement": UniformPrompts, "without_replacement": EpochPrompts}
    if sampling is not None and sampling not in [*kinds]:  # which may be unhashable
        raise ValueError(f"sampling must be one of {sorted(kinds)}, got {sampling!r}")
    if isinstance(prompts, PromptSource) or callable(prompts):
        if sampling is not None:
            raise ValueError(
                "sampling must be None where prompts is a callable or a PromptSource, which "
                f"decide for themselves, got {sampling!r}"
            )
        return _own(prompts) if isinstance(prompts, PromptSource) else CallablePrompts(prompts)
    return kinds[sampling or "with_replacement"](prompts)


def _own(source: PromptSource) -> PromptSource:
    return copy.deepcopy(source) if source.shared or source.get_state() else source


def _cumulative(weights: ArrayLike, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.asarray(weights, dtype=np.float64)
    if array.shape != (count,) or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"weights must be {count} finite numbers of at least 0, got {weights!r}")
    if not array.sum() > 0:
        raise ValueError(f"weights must not all be 0, got {weights!r}")
    return np.cumsum(array)


def _place(
    cumulative: np.ndarray[Any, np.dtype[np.float64]], np_random: np.random.Generator
) -> int:
    """Returns an index with probability proportional to its weight."""
    return int(np.searchsorted(cumulative, np_random.random() * cumulative[-1], side="right"))
