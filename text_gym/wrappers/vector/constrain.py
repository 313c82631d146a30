"""`Constrain` for vector environments; its meaning is `text_gym.constraints.Composition`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.constraints.composition import EmptyMaskError, Text
from text_gym.inner_env import task_of
from text_gym.lazy_info import Deferred, LazyInfo
from text_gym.task import Observation
from text_gym.wrappers.constrain import (
    KEY,
    Constraints,
    composition_of,
    constraints_of,
    inner_constrain,
    recorded,
    replayed,
    whole,
)
from text_gym.wrappers.typed_vector_wrapper import TextWrapper

Texts = Sequence[Text | None]


class Constrain(TextWrapper, RecordConstructorArgs):
    """Offers masks of the tokens that constraints allow, one row for each environment.

    `infos["action_mask"]` (int8, (n, V)) and `action_masks()` (bool), as of the wrapper for one
    environment, under every autoreset mode. Rows that did nothing in a step (idle, or not reset)
    report no mask. Where all rows have the same, it is one row repeated, and read-only.

    Args:
        env: A `TextGenVectorEnv`, in whatever wrappers.
        constraints: One, or several that must all hold.

    Raises:
        EmptyMaskError: If no text satisfies the constraints; or, when masks are read, if one would
            be empty. The message names the constraints and the text.
        TypeError: If `env` is of another kind.
        ValueError: If there is no constraint, or one names an id outside the vocabulary.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.constraints import MinimumLength
        >>> from text_gym.wrappers.vector import Constrain
        >>> envs = Constrain(gym.make_vec("TextGen-v0", num_envs=3), MinimumLength(2))
        >>> _, infos = envs.reset(seed=0)
        >>> eos = envs.unwrapped.tokenizer.eos_token_id
        >>> infos["action_mask"].shape, infos["action_mask"][:, eos].tolist()
        ((3, 33), [0, 0, 0])
    """

    def __init__(
        self, env: VectorEnv[Observation, Any, NDArray[Any]], constraints: Constraints
    ) -> None:
        RecordConstructorArgs.__init__(self, constraints=constraints)
        super().__init__(env)
        self.composition = composition_of(constraints, task_of(env))
        self._inner = inner_constrain(env)
        self._texts: list[Text | None] = [None] * env.num_envs
        self.masks = self._deferred()
        """Those of the next tokens, int8 (n, V)."""

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets the environments; the constraints on rows that start begin anew."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._start(observations, infos)
        return observations, self._published(infos, infos["_prompt_length"].copy())

    def step(
        self, actions: Any
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Steps the environments and tells the constraints what was written."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        active = np.array([text is not None for text in self._texts])
        tokens = np.asarray(actions)
        for row in np.flatnonzero(active).tolist():
            text = self._texts[row]
            assert text is not None
            self._texts[row] = self.composition.advance(text, int(tokens[row]))
        for row in np.flatnonzero(infos.get("_appended", False)).tolist():  # a new turn
            observation = {key: observations[key][row] for key in ("input_ids", "attention_mask")}
            self._texts[row] = self.composition.start(whole(observation))
        for row in np.flatnonzero(terminations | truncations).tolist():
            self._texts[row] = None
        if "prompt_length" in infos:
            self._start(observations, infos)
            active |= infos["_prompt_length"]
        return observations, rewards, terminations, truncations, self._published(infos, active)

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns the tokens allowed now, bool (n, V); for idle rows, those of the vocabulary."""
        return self.masks.read().view(np.bool_)

    def get_state(self) -> dict[str, Any]:
        """Returns constraints and the texts being written; nothing of the environments inside."""
        return recorded(self.composition, self._texts)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that `get_state` returned.

        Raises:
            ValueError: If it is the state of another number of rows, or of other constraints.
        """
        self._texts = replayed(self.composition, state, self.num_envs)
        # What is inside may get its state only after this.
        self.masks = Deferred(lambda: self._deferred().value)

    def _start(self, observations: Observation, infos: dict[str, Any]) -> None:
        for row in np.flatnonzero(infos["_prompt_length"]).tolist():
            prompt_ids = observations["input_ids"][row, : infos["prompt_length"][row]]
            self._texts[row] = self.composition.start(prompt_ids.copy())

    def _published(self, infos: dict[str, Any], reported: NDArray[np.bool_]) -> LazyInfo:
        masks = self.masks = self._deferred()
        published = LazyInfo.of(infos)
        published[KEY] = Deferred(lambda: _only(reported, masks.value))
        published[f"_{KEY}"] = reported
        if "final_info" in infos:
            published["final_info"] = self._final(infos["final_info"], infos["_final_info"])
        return published

    def _final(self, infos: dict[str, Any], ended: NDArray[np.bool_]) -> LazyInfo:
        """Adds the masks of finished texts, those of the vocabulary, to their infos."""
        row = self.composition.allowed(None).view(np.int8)
        final = LazyInfo.of(infos)
        final[KEY] = Deferred(lambda: _only(ended, np.broadcast_to(row, (len(ended), len(row)))))
        final[f"_{KEY}"] = ended.copy()
        return final

    def _deferred(self) -> Deferred:
        texts, inner = list(self._texts), self._inner and self._inner.masks
        return Deferred(lambda: self._allowed(texts, inner))

    def _allowed(self, texts: Texts, inner: Deferred | None) -> NDArray[np.int8]:
        """Returns the masks after `texts`, (n, V), with those from inside."""
        rows = [self.composition.allowed(text) for text in texts]
        if all(row is rows[0] for row in rows):
            masks = np.broadcast_to(rows[0], (len(rows), len(rows[0])))
        else:
            masks = np.stack(rows)
        if inner is not None:
            masks = masks & (inner.value == 1)
            for row in np.flatnonzero(~masks.any(axis=1)).tolist():
                text = texts[row]
                assert text is not None
                raise EmptyMaskError(self.composition.dead_end(constraints_of(self), text))
        return masks.view(np.int8)


def _only(reported: NDArray[np.bool_], masks: NDArray[np.int8]) -> NDArray[np.int8]:
    """Returns masks (n, V) with nothing in the rows that report none, as Gymnasium's vectors do."""
    return masks if reported.all() else masks * reported[:, None]
