"""Restricting what may be written: `Constrain`.

What the constraints mean is `text_gym.constraints.Composition`, for one environment and for a
vector alike; the wrappers tell it what is written and publish its masks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray

from text_gym.constraints.composition import Composition, EmptyMaskError, Text
from text_gym.constraints.constraint import Constraint, Vocabulary
from text_gym.episode import TokenIds
from text_gym.inner_env import task_of
from text_gym.lazy_info import Deferred, LazyInfo
from text_gym.task import Observation, TextTask

KEY = "action_mask"
Constraints = Constraint | Sequence[Constraint]


def composition_of(constraints: Constraints, task: TextTask) -> Composition:
    """Returns what follows the texts of a task; raises ValueError without a constraint."""
    given = (constraints,) if isinstance(constraints, Constraint) else tuple(constraints)
    if not given:
        raise ValueError(f"constraints must name at least one constraint, got {constraints!r}")
    return Composition.of(given, Vocabulary.of(task))


def inner_constrain(env: Any) -> Any:
    """Returns the outermost `Constrain` from `env` inwards, or None.

    The masks of the environment itself need no second look: they are part of the vocabulary.
    """
    while env is not None and not hasattr(env, "composition"):
        env = getattr(env, "env", None)
    return env


def recorded(composition: Composition, texts: Sequence[Text | None]) -> dict[str, Any]:
    """Returns the constraints and the texts of all rows in lists; survives JSON and pickle."""
    return {
        "constraints": [_digest(one) for one in composition.constraints],
        "texts": [text and [text.prompt_ids.tolist(), text.tokens] for text in texts],
    }


def replayed(composition: Composition, state: Mapping[str, Any], rows: int) -> list[Text | None]:
    """Returns the texts of a state.

    Raises:
        ValueError: If it is of another number of rows, or of other constraints.
    """
    own, saved = recorded(composition, ())["constraints"], state["constraints"]
    for number, constraint in enumerate(composition.constraints):
        if own[number] not in saved[number : number + 1]:
            raise ValueError(
                f"constraints must be those of the state, but number {number} was another one "
                f"than {constraint}"
            )
    if len(own) != len(saved):
        raise ValueError(f"constraints must be the {len(saved)} of the state, got {len(own)}")
    if len(state["texts"]) != rows:
        raise ValueError(f"state must be of {rows} rows, got {len(state['texts'])}")
    return [text and composition.replay(*text) for text in state["texts"]]


def _digest(constraint: Constraint) -> str:
    """Returns few characters that tell constraints apart: some hold long lists of texts."""
    return hashlib.sha256(repr(constraint).encode()).hexdigest()[:16]


def constraints_of(env: Any) -> list[Constraint]:
    """Returns the constraints of every layer, from `env` inwards."""
    found: list[Constraint] = []
    while env is not None:
        if hasattr(env, "composition"):
            found.extend(env.composition.constraints)
        env = getattr(env, "env", None)
    return found


def whole(observation: Observation) -> TokenIds:
    """Returns a copy of the ids of one text, without padding."""
    return observation["input_ids"][: int(observation["attention_mask"].sum())].copy()  # type: ignore[no-any-return]


class Constrain(gym.Wrapper[Observation, int, Observation, int], RecordConstructorArgs):
    """Offers masks of the tokens that constraints allow.

    `info["action_mask"]` (int8, (V,)), after every reset and step, and `action_masks()` (bool)
    restrict the next token. A mask costs nothing unless it is read, now or later. It is the
    learner's part to heed it: the environment accepts every token, and a constraint that looks
    ahead has nothing more to say of a text in which it was broken. When a text has ended, the mask
    is that of the vocabulary. Of a text of several turns, each turn is constrained by itself.

    Constraints given together are looked ahead for together, see `text_gym.constraints`. In nested
    wrappers each keeps its own, and a token must pass all of them.

    Args:
        env: A `TextGenEnv`, in whatever wrappers.
        constraints: One, or several that must all hold.

    Raises:
        EmptyMaskError: If no text satisfies the constraints; or, when a mask is read, if it would
            be empty. The message names the constraints and the text.
        TypeError: If `env` is of another kind.
        ValueError: If there is no constraint, or one names an id outside the vocabulary.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.constraints import BannedStrings, EndsWith, MinimumLength
        >>> from text_gym.wrappers import Constrain
        >>> env = gym.make("TextGen-v0", max_new_tokens=3)
        >>> env = Constrain(env, [MinimumLength(2), EndsWith("thanks"), BannedStrings(["fine"])])
        >>> _, info = env.reset(seed=0)
        >>> words = env.unwrapped.tokenizer
        >>> fine, thanks = words.encode("fine thanks")
        >>> info["action_mask"][[fine, thanks, words.eos_token_id]]
        array([0, 1, 0], dtype=int8)
        >>> for word in (thanks, words.encode("day")[0]):
        ...     info = env.step(word)[-1]
        >>> words.decode(info["action_mask"].nonzero()[0])
        'thanks'
    """

    def __init__(self, env: gym.Env[Observation, int], constraints: Constraints) -> None:
        RecordConstructorArgs.__init__(self, constraints=constraints)
        super().__init__(env)
        self.composition = composition_of(constraints, task_of(env))
        self._inner = inner_constrain(env)
        self._text: Text | None = None
        self.masks = self._deferred()
        """Those of the next token, int8 (V,)."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets the environment and the constraints."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._start(observation, info)
        return observation, self._published(info)

    def step(self, action: int) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """Steps the environment and tells the constraints what was written."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "prompt_length" in info:  # under `Autoreset`
            self._start(observation, info)
        elif terminated or truncated:
            self._text = None
        elif "appended" in info:  # a new turn, constrained anew
            self._text = self.composition.start(whole(observation))
        elif self._text is not None:
            self._text = self.composition.advance(self._text, int(action))
        return observation, reward, terminated, truncated, self._published(info)

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns the tokens allowed now, bool (V,)."""
        return self.masks.read().view(np.bool_)

    def get_state(self) -> dict[str, Any]:
        """Returns constraints and the text being written; nothing of the environment inside."""
        return recorded(self.composition, [self._text])

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that `get_state` returned.

        Raises:
            ValueError: If it is of other constraints, or of a vector of more than one row.
        """
        (self._text,) = replayed(self.composition, state, 1)
        # What is inside may get its state only after this.
        self.masks = Deferred(lambda: self._deferred().value)

    def _start(self, observation: Observation, info: dict[str, Any]) -> None:
        prompt_ids = observation["input_ids"][: info["prompt_length"]]
        self._text = self.composition.start(prompt_ids.copy())

    def _published(self, info: dict[str, Any]) -> LazyInfo:
        self.masks = self._deferred()
        published = LazyInfo.of(info)
        published[KEY] = self.masks
        return published

    def _deferred(self) -> Deferred:
        text, inner = self._text, self._inner and self._inner.masks
        return Deferred(lambda: self._allowed(text, inner))

    def _allowed(self, text: Text | None, inner: Deferred | None) -> NDArray[np.int8]:
        """Returns the mask after `text`, (V,), with that from inside."""
        mask = self.composition.allowed(text)
        if inner is not None:
            mask = mask & (inner.value == 1)
            if text is not None and not mask.any():
                raise EmptyMaskError(self.composition.dead_end(constraints_of(self), text))
        return mask.view(np.int8)
