"""What every recorded call of a vector environment must satisfy, in itself and under its mode.

Functions of recorded calls; no environment is stepped here.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate

from text_gym.checks.failure import require
from text_gym.checks.returned_data import difference
from text_gym.checks.vector_rollout import Call, Rows, mode_of

FINAL = ("final_obs", "final_info")


def check_calls(envs: VectorEnv[Any, Any, Any], calls: list[Call]) -> None:
    """Checks shapes, dtypes, infos and the rules of the autoreset mode."""
    n = envs.num_envs
    for call in calls:
        inside = call.observations in envs.observation_space
        rule = "observations must be in the observation space"
        require(inside, call.where, rule, call.observations)
        if call.rows is None:
            check_rewards_and_flags(call, n)
        check_infos(call.infos, np.ones(n, np.bool_), call.where, "infos")
    mode = mode_of(envs)
    if mode is AutoresetMode.SAME_STEP:
        for call in calls:
            check_final(call, envs.single_observation_space)
        return
    for before, call in pairwise(calls):
        if mode is AutoresetMode.NEXT_STEP and call.rows is None:
            check_at_rest(call, before.ended, "a row that is being reset")
        if mode is AutoresetMode.DISABLED and call.rows is not None:
            check_left_alone(envs.observation_space, before, call, ~call.rows, "not in reset_mask")


def check_rewards_and_flags(call: Call, n: int) -> None:
    """Checks the arrays of a step: floating-point rewards, bool flags, one for each row."""
    kinds = {"rewards": "f", "terminations": "b", "truncations": "b"}
    for name, kind in kinds.items():
        array = getattr(call, name)
        is_array = isinstance(array, np.ndarray) and array.dtype.kind == kind
        dtype = "floating-point" if kind == "f" else "bool"
        rule = f"{name} must be a {dtype} array of shape ({n},)"
        require(is_array and array.shape == (n,), call.where, rule, array)
    require(np.isfinite(call.rewards).all(), call.where, "rewards must be finite", call.rewards)


def check_infos(infos: Any, reporting: Rows, where: str, path: str) -> None:
    """Checks that each key has values for n rows and a mask `_key` of the rows they belong to.

    Args:
        infos: What was reported.
        reporting: The rows that may report here, bool (n,).
        where: The place.
        path: The name of `infos`.
    """
    require(isinstance(infos, Mapping), where, f"{path} must be a dict", infos)
    n = len(reporting)
    for key in (key for key in infos if not key.startswith("_")):
        rule = f"{path} must have the mask {f'_{key}'!r} of the rows that {key!r} belongs to"
        require(f"_{key}" in infos, where, rule, sorted(infos))
        mask, values = infos[f"_{key}"], infos[key]
        is_mask = isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == (n,)
        require(is_mask, where, f"{path}['_{key}'] must be bool of shape ({n},)", mask)
        surplus = np.flatnonzero(mask & ~reporting).tolist()
        require(not surplus, where, f"{path}['_{key}'] must be False in rows {surplus}", mask)
        if isinstance(values, Mapping):
            if key == "final_info":
                check_infos(values, mask, where, f"{path}['final_info']")
            continue
        is_array = isinstance(values, np.ndarray) and len(values) == n
        require(is_array, where, f"{path}[{key!r}] must be an array with {n} rows", values)
    for key in (key for key in infos if key.startswith("_")):
        require(key[1:] in infos, where, f"{path}[{key!r}] must be the mask of a key", key)


def check_at_rest(call: Call, rows: Rows, what: str) -> None:
    """Checks that `rows` are paid nothing and end nothing."""
    for name in ("rewards", "terminations", "truncations"):
        wrong = np.flatnonzero(getattr(call, name)[rows]).size
        rule = f"{name} must be 0 or False in {what}, here rows {np.flatnonzero(rows).tolist()}"
        require(not wrong, call.where, rule, getattr(call, name))


def check_left_alone(
    space: spaces.Space[Any], before: Call, call: Call, rows: Rows, what: str
) -> None:
    """Checks that `rows` show what they showed and report nothing."""
    items = list(iterate(space, before.observations)), list(iterate(space, call.observations))
    for row in np.flatnonzero(rows).tolist():
        found = difference(items[0][row], items[1][row], "the observation")
        where = f"{call.where}, row {row}"
        require(found is None, where, f"a row {what} must not change; {found}")
        keys = [key for key in call.infos if key.startswith("_") and call.infos[key][row]]
        require(not keys, where, f"a row {what} must report nothing", keys)


def check_final(call: Call, space: spaces.Space[Any]) -> None:
    """Checks that SAME_STEP files the last observation and infos of exactly the ended rows."""
    ended = call.ended
    for key in FINAL:
        mask = call.infos.get(f"_{key}", np.zeros_like(ended))
        rule = f"infos['_{key}'] must be True in exactly the rows that ended, {ended.tolist()}"
        require((mask == ended).all(), call.where, rule, mask.tolist())
    if not ended.any():
        return
    final = call.infos["final_obs"]
    for row in range(len(ended)):
        where = f"{call.where}, row {row}"
        if ended[row]:
            rule = "infos['final_obs'] must be in the single observation space"
            require(final[row] in space, where, rule, final[row])
        else:
            rule = "infos['final_obs'] must be None where no episode ended"
            require(final[row] is None, where, rule, final[row])
