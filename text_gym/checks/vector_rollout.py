"""Runs of a vector environment for a check: what it returned, call by call.

Plays and records under any autoreset mode; it judges nothing but whether what was returned stays
as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array, iterate
from numpy.typing import NDArray

from text_gym.checks.failure import require
from text_gym.checks.returned_data import difference, frozen, overlap, overwrite

Rows = NDArray[np.bool_]
Seed = int | list[int | None] | None


class Call(NamedTuple):
    """Holds what one call returned, as it was then; a reset has neither rewards nor flags.

    Attributes:
        where: Which step or reset.
        rows: The rows that were reset, bool (n,); None for a step.
        observations: Of all rows.
        infos: Of all rows.
        rewards: (n,).
        terminations: (n,).
        truncations: (n,).
    """

    where: str
    rows: Rows | None
    observations: Any
    infos: Any
    rewards: Any = None
    terminations: Any = None
    truncations: Any = None

    @property
    def ended(self) -> Rows:
        """The rows whose episode ended in this call, bool (n,)."""
        if self.rows is not None:
            return np.zeros(len(self.rows), dtype=np.bool_)
        ended: Rows = np.logical_or(self.terminations, self.truncations)
        return ended


def mode_of(envs: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Returns the autoreset mode that an environment states in its metadata."""
    mode = envs.metadata.get("autoreset_mode")
    rule = "metadata['autoreset_mode'] must be a gymnasium.vector.AutoresetMode"
    require(isinstance(mode, AutoresetMode), "metadata", rule, mode)
    assert isinstance(mode, AutoresetMode)
    return mode


def sampled_actions(envs: VectorEnv[Any, Any, Any], count: int, seed: int) -> list[Any]:
    """Returns random actions for all rows; the environment's own spaces draw nothing."""
    space = copy.deepcopy(envs.action_space)
    space.seed(seed)
    return [space.sample() for _ in range(count)]


def mixed(envs: VectorEnv[Any, Any, Any], actions: Any, others: Any, rows: Rows) -> Any:
    """Returns `actions` with those of `rows` taken from `others`."""
    pairs = zip(
        iterate(envs.action_space, actions), iterate(envs.action_space, others), strict=True
    )
    chosen = [other if row else action for (action, other), row in zip(pairs, rows, strict=True)]
    space = envs.single_action_space
    out: Any = create_empty_array(space, envs.num_envs)
    return concatenate(space, chosen, out)


class Player:
    """Plays one vector environment and records what it returns.

    Args:
        envs: The environment.
        overwriting: Whether to change every array that was returned once it is recorded, as a
            caller may.

    Attributes:
        calls: What was returned, call by call.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], *, overwriting: bool = False) -> None:
        self.envs = envs
        self.overwriting = overwriting
        self.calls: list[Call] = []
        self._returned: list[tuple[Call, Any]] = []
        # Without copies, observations are views that change, and whoever chose that knows it.
        self._copies = getattr(envs.unwrapped, "copy", True)

    def reset(self, where: str, seed: Seed = None, rows: Rows | None = None) -> Call:
        """Resets all rows, or `rows`."""
        options = None if rows is None else {"reset_mask": rows.copy()}
        result = self.envs.reset(seed=copy.copy(seed), options=options)  # type: ignore[arg-type]
        everyone = np.ones(self.envs.num_envs, dtype=np.bool_)
        return self._record(where, everyone if rows is None else rows, result)

    def step(self, where: str, actions: Any) -> Call:
        """Steps all rows."""
        observations, *rest, infos = self.envs.step(copy.deepcopy(actions))
        return self._record(where, None, (observations, infos, *rest))

    def play(
        self, actions: Sequence[Any], seed: Seed, resting: Sequence[Any] | None = None
    ) -> list[Call]:
        """Resets and steps through `actions`, resetting finished rows if nobody else does.

        Args:
            actions: For every step.
            seed: Of the reset.
            resting: Under NEXT_STEP, the actions instead for rows whose episode has just ended.

        Raises:
            ConformanceError: If what was returned changes later or overlaps.
        """
        first = len(self.calls)
        last = self.reset(f"reset(seed={seed})", seed)
        for step, action in enumerate(actions, start=1):
            where = f"step {step} after reset(seed={seed})"
            if resting is not None:
                action = mixed(self.envs, action, resting[step - 1], last.ended)
            last = self.step(where, action)
            if mode_of(self.envs) is AutoresetMode.DISABLED and last.ended.any():
                rows = np.flatnonzero(last.ended).tolist()
                last = self.reset(f"reset of rows {rows} after {where}", None, last.ended)
        self._require_unchanged()
        return self.calls[first:]

    def _record(self, where: str, rows: Rows | None, result: tuple[Any, ...]) -> Call:
        call = Call(where, rows, *frozen(result))
        if self.overwriting:
            overwrite(result)
            return self._kept(call)
        data = dict(zip(Call._fields[2:], result, strict=False))
        if not self._copies:
            del data["observations"]
        pair = overlap(data, "")
        require(pair is None, where, "arrays returned together must not share memory", pair)
        self._returned.append((call, data))
        return self._kept(call)

    def _kept(self, call: Call) -> Call:
        self.calls.append(call)
        return call

    def _require_unchanged(self) -> None:
        for call, data in self._returned:
            expected = {name: getattr(call, name) for name in data}
            found = difference(expected, data, "")
            require(found is None, call.where, f"what was returned must not change later; {found}")
        self._returned = []


def require_same(expected: list[Call], received: list[Call], rule: str, tolerance: float) -> None:
    """Requires that two runs returned the same, call by call."""
    for call, other in zip(expected, received, strict=True):
        for name in Call._fields[2:]:
            found = difference(getattr(call, name), getattr(other, name), name, tolerance)
            require(found is None, call.where, f"{rule}; {found}")
