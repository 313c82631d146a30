"""Shaping by a potential, against every completion of a tiny vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text_gym import CharTokenizer, TextGenEnv
from text_gym.wrappers import PotentialShaping

TOKENIZER = CharTokenizer("ab")
A, B, EOS = range(3)
LIMIT = 3


def paths(limit: int = LIMIT) -> list[tuple[int, ...]]:
    """List every completion: EOS or the limit ends it."""
    open_ones, done = [()], []
    for _ in range(limit):
        longer = [(*path, token) for path in open_ones for token in range(3)]
        done += [path for path in longer if path[-1] == EOS]
        open_ones = [path for path in longer if path[-1] != EOS]
    return done + open_ones


def table(seed: int) -> Any:
    """A reward of multiples of 1/8, so that sums are exact; one number per text."""
    values: dict[str, float] = {}
    rng = np.random.default_rng(seed)

    def value(prompt: str, completion: str) -> float:
        return values.setdefault(prompt + "|" + completion, int(rng.integers(-40, 40)) / 8)

    return value


def env_of(reward: Any, **arguments: Any) -> TextGenEnv:
    defaults = {"prompts": ["ba"], "tokenizer": TOKENIZER, "max_new_tokens": LIMIT}
    return TextGenEnv(reward_function=reward, **{**defaults, **arguments})


def rewards_of(env: Any) -> dict[tuple[int, ...], float]:
    """Return the reward of every step of every completion, by the tokens up to it."""
    rewards = {}
    for path in paths():
        env.reset(seed=0)
        for step, token in enumerate(path):
            rewards[path[: step + 1]] = env.step(token)[1]
    return rewards


def action_values(rewards: dict[tuple[int, ...], float], gamma: float) -> dict[Any, list[float]]:
    """Return the optimal action values of every state, by backward induction."""

    def value(state: tuple[int, ...]) -> float:
        if state in done:
            return 0.0
        values[state] = [
            rewards[(*state, token)] + gamma * value((*state, token)) for token in range(3)
        ]
        return max(values[state])

    done, values = set(paths()), {}
    value(())
    return values


def test_there_are_fifteen_completions() -> None:
    assert len(paths()) == 1 + 2 + 4 + 8


@given(seed=st.integers(0, 10**6), gamma=st.sampled_from([1.0, 0.5, 0.25]))
@settings(max_examples=25)
def test_every_return_changes_by_minus_the_potential_of_the_prompt(seed: int, gamma: float) -> None:
    reward, potential = table(seed), table(seed + 1)
    plain = rewards_of(env_of(reward))
    shaped = rewards_of(PotentialShaping(env_of(reward), potential, gamma))
    start = potential("ba", "")
    for path in paths():
        steps = [path[: i + 1] for i in range(len(path))]
        return_plain = sum(gamma**t * plain[step] for t, step in enumerate(steps))
        return_shaped = sum(gamma**t * shaped[step] for t, step in enumerate(steps))
        assert return_shaped == return_plain - start


@given(seed=st.integers(0, 10**6), gamma=st.sampled_from([1.0, 0.5, 0.25]))
@settings(max_examples=25)
def test_the_optimal_policy_is_unchanged_and_values_fall_by_the_potential(
    seed: int, gamma: float
) -> None:
    reward, potential = table(seed), table(seed + 1)
    plain = action_values(rewards_of(env_of(reward)), gamma)
    shaped = action_values(rewards_of(PotentialShaping(env_of(reward), potential, gamma)), gamma)
    assert len(plain) == 1 + 2 + 4
    for state, values in plain.items():
        phi = potential("ba", TOKENIZER.decode(state))
        assert shaped[state] == [value - phi for value in values]
        best, best_shaped = max(values), max(shaped[state])
        assert [v == best for v in values] == [v == best_shaped for v in shaped[state]]


def test_the_terms_are_those_worked_by_hand() -> None:
    env = PotentialShaping(env_of(lambda p, c: 10.0), lambda p, c: 1.0 + len(c), gamma=0.5)
    env.reset(seed=0)
    steps = [env.step(token) for token in (A, B, EOS)]
    assert [step[1] for step in steps] == [0.5 * 2 - 1, 0.5 * 3 - 2, 10 - 3]
    assert [step[4]["reward_components"]["shaping"] for step in steps] == [0.0, -0.5, -3.0]
    assert steps[-1][4]["reward_components"]["<lambda>"] == 10.0


def test_a_truncated_text_keeps_its_potential_for_whoever_bootstraps() -> None:
    env = PotentialShaping(env_of(lambda p, c: 10.0, limit="truncate"), lambda p, c: 1.0 + len(c))
    env.reset(seed=0)
    assert [env.step(token)[1:4] for token in (A, B, A)] == [
        (1.0, False, False),
        (1.0, False, False),
        (1.0, False, True),
    ]


def test_the_potential_is_asked_once_per_step_and_never_at_the_end(recording_reward: Any) -> None:
    potential = recording_reward()
    env = PotentialShaping(env_of(lambda p, c: 0.0), potential)
    env.reset(seed=0)
    env.step(A)
    env.step(EOS)
    assert potential.calls == [[""], ["a"]]


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
def test_a_gamma_that_is_no_discount_is_refused(gamma: float) -> None:
    with pytest.raises(ValueError, match=r"gamma must be in \[0, 1\], got"):
        PotentialShaping(env_of(lambda p, c: 0.0), lambda p, c: 0.0, gamma)
