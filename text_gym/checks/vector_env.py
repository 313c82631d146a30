"""`check_vector_env`: what Gymnasium asks of every vector environment, whatever it simulates.

The rules for single calls are in `text_gym.checks.autoreset`; here are those that compare runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

from text_gym.checks.autoreset import check_at_rest, check_calls, check_left_alone
from text_gym.checks.failure import require
from text_gym.checks.isolation import global_streams, restore, wrapper_states
from text_gym.checks.returned_data import difference
from text_gym.checks.vector_rollout import (
    Call,
    Player,
    Seed,
    mode_of,
    require_same,
    sampled_actions,
)

Vector = VectorEnv[Any, Any, Any]


def check_vector_env(
    make_envs: Callable[[], Vector],
    make_single: Callable[[], gym.Env[Any, Any]] | None = None,
    *,
    steps: int = 100,
    idle_rows: bool = False,
    tolerance: float = 0.0,
) -> None:
    """Checks a vector environment under the autoreset mode that it states.

    Of every one: spaces are batched; `metadata["autoreset_mode"]` is an `AutoresetMode`;
    observations, rewards, flags and infos have the right shapes and dtypes, and each info its mask;
    the rules of its mode hold (NEXT_STEP: a row that is being reset ignores its action and is paid
    0; SAME_STEP: `final_obs` and `final_info` of exactly the rows that ended; DISABLED:
    `reset_mask` resets those rows and leaves the others alone); a seed decides everything, on a
    used instance and on a new one; global random streams are left alone; nothing that was returned
    changes later, shares memory, or changes the environment if it is written to; closing twice is
    harmless.

    With `make_single`, moreover: every call returns exactly what `SyncVectorEnv` over it returns,
    for a seed (row i is the single environment seeded with s + i), for a list of seeds, for a list
    with None in it, and for a seed with `reset_mask`. That settles what nothing else can: whether
    `final_obs` is the right one, whether the step of a reset counts.

    Run it once for each mode. With `copy=False`, observations may change later.

    Args:
        make_envs: Makes the vector environment; called several times.
        make_single: Makes one environment of the kind that the rows are. Leave it out where rows
            share a random stream.
        steps: Length of a run of random actions; some episode must end in it.
        idle_rows: Whether the environment promises that under DISABLED a finished row that is not
            reset stays idle, as `TextGenVectorEnv` does: paid 0, reporting nothing, unchanged, its
            action ignored, nothing drawn. Gymnasium does not ask for it.
        tolerance: How far floating-point numbers may differ from those of `SyncVectorEnv`,
            absolutely and relatively.

    Raises:
        ConformanceError: If a rule is broken; says which, at which step, in which row, and by what.

    Example:
        >>> from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
        >>> from text_gym.checks import check_vector_env
        >>> check_vector_env(lambda: CartPoleVectorEnv(3))
        >>> class Muddled(CartPoleVectorEnv):
        ...     def step(self, action):
        ...         observations, rewards, terminations, truncations, infos = super().step(action)
        ...         return observations, rewards, terminations, truncations, {"x": rewards + 1}
        >>> check_vector_env(lambda: Muddled(3))
        Traceback (most recent call last):
        ...
        text_gym.checks.failure.ConformanceError: step 1 after reset(seed=0): infos must have ...
    """
    envs = make_envs()
    _check_spaces(envs)
    actions = sampled_actions(envs, steps, seed=0)
    states = wrapper_states(envs)
    with global_streams(0, "the first run"):
        calls = Player(envs).play(actions, seed=0)
    check_calls(envs, calls)
    ended = sum(int(call.ended.sum()) for call in calls)
    rule = f"some episode must end in {steps} steps of random actions, or give more steps"
    require(ended, "the first run", rule)
    _check_seeds(envs, make_envs, actions, states, calls)
    others = sampled_actions(envs, steps, seed=1)
    if mode_of(envs) is AutoresetMode.NEXT_STEP:
        changed = Player(make_envs()).play(actions, 0, resting=others)
        rule = "NEXT_STEP must ignore the action of a row that is being reset"
        require_same(calls, changed, rule, 0.0)
    if idle_rows and mode_of(envs) is AutoresetMode.DISABLED:
        _check_idle(make_envs, actions, others)
    if make_single is not None:
        _check_sync(make_envs, make_single, actions, tolerance)
    envs.close()
    envs.close()


def _check_spaces(envs: Vector) -> None:
    mode_of(envs)
    for name in ("observation", "action"):
        single = getattr(envs, f"single_{name}_space")
        batched = getattr(envs, f"{name}_space")
        expected = batch_space(single, envs.num_envs)
        rule = f"must be single_{name}_space, batched: {expected}"
        require(batched == expected, f"{name}_space", rule, batched)


def _check_seeds(
    envs: Vector,
    make_envs: Callable[[], Vector],
    actions: list[Any],
    states: list[tuple[Any, Any]],
    calls: list[Call],
) -> None:
    restore(states)
    again = Player(envs).play(actions, seed=0)
    require_same(calls, again, "the same seed must give the same run again", 0.0)
    with global_streams(1, "the run of a new instance"):
        fresh = Player(make_envs()).play(actions, seed=0)
    require_same(calls, fresh, "the same seed must give a new instance the same run", 0.0)
    overwritten = Player(make_envs(), overwriting=True).play(actions, seed=0)
    rule = "writing on what was returned must not change what follows"
    require_same(calls, overwritten, rule, 0.0)
    _check_seeds_differ(envs)


def _check_seeds_differ(envs: Vector) -> None:
    """Seeds must matter to an environment that draws something."""
    draws, streams = [], []
    for seed in range(5):
        player = Player(envs)
        player.reset(f"reset(seed={seed})", seed)
        streams.append(_stream_state(envs))
        for _ in range(9):
            player.reset("reset()")
        draws.append([call.observations for call in player.calls])
    same = [difference(draws[0], draw, "") is None for draw in draws[1:]]
    vary = any(difference(draws[0][0], one, "") for one in draws[0][1:])
    rule = "different seeds must not all give the same, where resets without a seed vary"
    ignored = all(same) and vary and len(set(streams)) == 1
    require(not ignored, "reset(seed=0) to reset(seed=4)", rule)


def _stream_state(envs: Vector) -> str:
    stream: Any = envs.np_random  # one, or one for each environment inside
    streams = stream if isinstance(stream, tuple) else (stream,)
    return str([one.bit_generator.state for one in streams])


def _check_idle(make_envs: Callable[[], Vector], actions: list[Any], others: list[Any]) -> None:
    awake = _after_idling(make_envs(), actions, actions[:0])
    later = _after_idling(make_envs(), actions, others[:3])
    rule = "idle rows must ignore their actions and draw nothing"
    require_same(awake, later, rule, 0.0)


def _after_idling(envs: Vector, actions: list[Any], surplus: list[Any]) -> list[Call]:
    """Lets every row end, and idle for some more actions; returns a run after that."""
    player = Player(envs)
    last = player.reset("reset(seed=0)", 0)
    idle = last.ended
    for step, action in enumerate([*actions, *surplus], start=1):
        if idle.all() and step <= len(actions):
            continue
        before, last = last, player.step(f"step {step} after reset(seed=0)", action)
        check_at_rest(last, idle, "an idle row")
        check_left_alone(envs.observation_space, before, last, idle, "that is idle")
        idle = idle | last.ended
    require(idle.all(), last.where, "every row must end, to see it idle, or give more steps", idle)
    return player.play(actions, seed=None)


def _check_sync(
    make_envs: Callable[[], Vector],
    make_single: Callable[[], gym.Env[Any, Any]],
    actions: list[Any],
    tolerance: float,
) -> None:
    envs = make_envs()
    n, mode = envs.num_envs, mode_of(envs)
    sync = SyncVectorEnv([make_single] * n, autoreset_mode=mode)
    for name in ("single_observation_space", "single_action_space"):
        same = getattr(envs, name) == getattr(sync, name)
        require(same, name, "must be that of the single environment", getattr(envs, name))
    mine, theirs = Player(envs), Player(sync)

    def compare(seed: Seed) -> None:
        expected, received = theirs.play(actions, seed), mine.play(actions, seed)
        rule = "every call must return what SyncVectorEnv returns"
        require_same(expected, received, rule, tolerance)

    compare(0)
    compare([7 * row % 5 for row in range(n)])
    compare([None if row % 2 else 3 + row for row in range(n)])
    if mode is AutoresetMode.DISABLED:
        rows = np.arange(n) % 2 == 0
        expected = [
            player.reset("reset(seed=9) of some rows", 9, rows) for player in (theirs, mine)
        ]
        require_same(expected[:1], expected[1:], "reset_mask must go with a seed", tolerance)
