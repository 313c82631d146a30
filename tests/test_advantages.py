"""GAE: numbers worked by hand, its two limits, its blindness to gaps, and Stable-Baselines3's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.buffers import RolloutBuffer
from torch import Tensor
from torch.testing import assert_close

from agents.objectives.advantages import generalized_advantage_estimation

NAN = float("nan")


def assert_agree(actual: object, expected: object) -> None:
    """Compare float64 tensors, or tuples of them, to 1e-12."""
    assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def double(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def random_batch(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw rewards, values, a mask with gaps and prompts, and bootstrap values."""
    generator = torch.Generator().manual_seed(seed)
    n_rows, n_steps = 4, 9
    rewards = torch.randn(n_rows, n_steps, generator=generator, dtype=torch.float64)
    values = torch.randn(n_rows, n_steps, generator=generator, dtype=torch.float64)
    bootstrap_values = torch.randn(n_rows, generator=generator, dtype=torch.float64)
    mask = torch.rand(n_rows, n_steps, generator=generator) < 0.6
    return rewards, values, mask, bootstrap_values


def monte_carlo_returns(rewards: list[float], gamma: float, bootstrap_value: float) -> list[float]:
    """Sum what is still to come, by the definition: Σ γᵏ r_{t+k}, then the bootstrap value."""
    n = len(rewards)
    return [
        sum(gamma ** (k - t) * rewards[k] for k in range(t, n)) + gamma ** (n - t) * bootstrap_value
        for t in range(n)
    ]


def test_truncated_episode_by_hand() -> None:
    # γ = λ = 1/2, γλ = 1/4, V after the end = 4:
    # δ2 = 2 + 4/2 - 3 =  1      A2 =  1
    # δ1 = 0 + 3/2 - 2 = -1/2    A1 = -1/2 + 1/4 = -1/4
    # δ0 = 1 + 2/2 - 1 =  1      A0 =  1 - 1/16  = 15/16
    advantages, returns = generalized_advantage_estimation(
        double(1, 0, 2)[None],
        double(1, 2, 3)[None],
        torch.ones(1, 3, dtype=torch.bool),
        double(4),
        gamma=0.5,
        gae_lambda=0.5,
    )
    assert advantages.tolist() == [[0.9375, -0.25, 1.0]]
    assert returns.tolist() == [[1.9375, 1.75, 4.0]]


def test_terminated_episode_with_prompt_gap_and_padding_by_hand() -> None:
    # As above without the bootstrap: δ2 = 2 - 3 = -1, A2 = -1, A1 = -3/4, A0 = 1 - 3/16 = 13/16.
    # Columns: prompt, a0, someone else's turn, a1, a2, padding.
    advantages, returns = generalized_advantage_estimation(
        double(NAN, 1, NAN, 0, 2, NAN)[None],
        double(NAN, 1, NAN, 2, 3, NAN)[None],
        torch.tensor([[False, True, False, True, True, False]]),
        double(0),
        gamma=0.5,
        gae_lambda=0.5,
    )
    assert advantages.tolist() == [[0.0, 0.8125, 0.0, -0.75, -1.0, 0.0]]
    assert returns.tolist() == [[0.0, 1.8125, 0.0, 1.25, 2.0, 0.0]]


@given(seed=st.integers(0, 2**32), gamma=st.floats(0, 1))
def test_lambda_one_is_monte_carlo_minus_value(seed: int, gamma: float) -> None:
    rewards, values, mask, bootstrap_values = random_batch(seed)
    advantages, returns = generalized_advantage_estimation(
        rewards, values, mask, bootstrap_values, gamma=gamma, gae_lambda=1.0
    )
    for row in range(len(rewards)):
        counted = mask[row]
        expected = double(
            *monte_carlo_returns(
                rewards[row][counted].tolist(), gamma, bootstrap_values[row].item()
            )
        )
        assert_agree(returns[row][counted], expected)
        assert_agree(advantages[row][counted], expected - values[row][counted])


@given(seed=st.integers(0, 2**32), gamma=st.floats(0, 1))
def test_lambda_zero_is_the_one_step_temporal_difference(seed: int, gamma: float) -> None:
    rewards, values, mask, bootstrap_values = random_batch(seed)
    advantages, _ = generalized_advantage_estimation(
        rewards, values, mask, bootstrap_values, gamma=gamma, gae_lambda=0.0
    )
    for row in range(len(rewards)):
        v = values[row][mask[row]]
        if v.numel():
            next_v = torch.cat([v[1:], bootstrap_values[row : row + 1]])
            expected = rewards[row][mask[row]] + gamma * next_v - v
            assert_agree(advantages[row][mask[row]], expected)


@given(
    seed=st.integers(0, 2**32),
    columns=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    hidden=st.sampled_from([0.0, 1e9, NAN]),
)
def test_masked_columns_anywhere_change_nothing(
    seed: int, columns: list[int], hidden: float
) -> None:
    rewards, values, mask, bootstrap_values = random_batch(seed)
    expected = generalized_advantage_estimation(
        rewards, values, mask, bootstrap_values, gamma=0.9, gae_lambda=0.8
    )
    kept = torch.ones(mask.shape[1], dtype=torch.bool)
    for column in columns:

        def insert(x: Tensor, fill: float, at: int = column) -> Tensor:
            return torch.cat([x[:, :at], torch.full_like(x[:, :1], fill), x[:, at:]], dim=1)

        rewards, values, mask = insert(rewards, hidden), insert(values, hidden), insert(mask, 0)
        kept = insert(kept[None], 0)[0]
    actual = generalized_advantage_estimation(
        rewards, values, mask, bootstrap_values, gamma=0.9, gae_lambda=0.8
    )
    for got, want in zip(actual, expected, strict=True):
        assert_close(got[:, kept], want, rtol=0, atol=0)
        assert (got[:, ~kept] == 0).all()


def test_rows_do_not_mix() -> None:
    rewards, values, mask, bootstrap_values = random_batch(0)
    together, _ = generalized_advantage_estimation(
        rewards, values, mask, bootstrap_values, gamma=0.9, gae_lambda=0.8
    )
    for row in range(len(rewards)):
        one = slice(row, row + 1)
        alone, _ = generalized_advantage_estimation(
            rewards[one], values[one], mask[one], bootstrap_values[one], gamma=0.9, gae_lambda=0.8
        )
        assert_close(alone, together[one], rtol=0, atol=0)


def test_a_row_in_which_nothing_counts_is_zero() -> None:
    advantages, returns = generalized_advantage_estimation(
        torch.ones(1, 2),
        torch.ones(1, 2),
        torch.zeros(1, 2, dtype=torch.bool),
        torch.ones(1),
        gamma=1.0,
        gae_lambda=1.0,
    )
    assert advantages.tolist() == returns.tolist() == [[0.0, 0.0]]


def test_targets_carry_no_gradient_and_inputs_stay_as_they_were() -> None:
    rewards, values, mask, bootstrap_values = random_batch(1)
    before = [tensor.clone() for tensor in (rewards, values, mask, bootstrap_values)]
    advantages, returns = generalized_advantage_estimation(
        rewards, values.requires_grad_(), mask, bootstrap_values, gamma=1.0, gae_lambda=0.95
    )
    assert not advantages.requires_grad
    assert not returns.requires_grad
    for after, original in zip((rewards, values, mask, bootstrap_values), before, strict=True):
        assert torch.equal(after, original)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("values", ((2, 3), (2, 1), (2, 3), (2,))),
        ("mask", ((2, 3), (2, 3), (3,), (2,))),
        ("bootstrap_values", ((2, 2), (2, 2), (2, 2), (2, 1))),
    ],
)
def test_shapes_that_would_broadcast_are_refused_by_name(
    name: str, shapes: tuple[tuple[int, ...], ...]
) -> None:
    rewards, values, mask, bootstrap_values = (torch.ones(shape) for shape in shapes)
    with pytest.raises(ValueError, match=f"^{name} must have shape"):
        generalized_advantage_estimation(
            rewards, values, mask.bool(), bootstrap_values, gamma=1.0, gae_lambda=1.0
        )


def episode_slices(episode_starts: np.ndarray) -> list[tuple[int, slice]]:
    """Cut the columns of an SB3 buffer, (steps, environments), into whole episodes."""
    n_steps, n_envs = episode_starts.shape
    slices = []
    for env in range(n_envs):
        starts = [0, *(int(s) for s in np.flatnonzero(episode_starts[1:, env]) + 1), n_steps]
        slices += [(env, slice(a, b)) for a, b in itertools.pairwise(starts)]
    return slices


def pad(rows: list[np.ndarray]) -> Tensor:
    """Stack rows of different lengths, padded at the right with NaN."""
    tensors = [torch.from_numpy(row) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=NAN)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("gamma", "gae_lambda"), [(1.0, 0.95), (0.99, 1.0), (0.9, 0.5), (0.7, 0)])
def test_agrees_with_stable_baselines3_on_many_episodes(
    seed: int, gamma: float, gae_lambda: float
) -> None:
    rng = np.random.default_rng(seed)
    n_steps, n_envs = 40, 3
    buffer = RolloutBuffer(
        n_steps,
        spaces.Discrete(2),
        spaces.Discrete(2),
        "cpu",
        gae_lambda=gae_lambda,
        gamma=gamma,
        n_envs=n_envs,
    )
    buffer.rewards = rng.normal(size=(n_steps, n_envs))
    buffer.values = rng.normal(size=(n_steps, n_envs))
    buffer.episode_starts = (rng.random((n_steps, n_envs)) < 0.2).astype(np.float64)
    buffer.advantages = np.zeros((n_steps, n_envs))
    dones = np.array([True, False, False])
    last_values = rng.normal(size=n_envs)
    buffer.compute_returns_and_advantage(torch.from_numpy(last_values), dones)

    episodes = episode_slices(buffer.episode_starts)
    assert len(episodes) > 2 * n_envs
    bootstrap_values = double(
        *(0.0 if s.stop < n_steps or dones[env] else last_values[env] for env, s in episodes)
    )
    rewards = pad([buffer.rewards[s, env] for env, s in episodes])
    advantages, returns = generalized_advantage_estimation(
        rewards,
        pad([buffer.values[s, env] for env, s in episodes]),
        ~rewards.isnan(),
        bootstrap_values,
        gamma=gamma,
        gae_lambda=gae_lambda,
    )
    for row, (env, s) in enumerate(episodes):
        length = s.stop - s.start
        assert_agree(advantages[row, :length], torch.from_numpy(buffer.advantages[s, env]))
        assert_agree(returns[row, :length], torch.from_numpy(buffer.returns[s, env]))


@given(seed=st.integers(0, 2**32))
def test_bootstrapping_equals_adding_the_discounted_value_to_the_last_reward(seed: int) -> None:
    """SB3 folds γ V(s_T) of a truncated episode into its last reward and then terminates it."""
    rewards, values, _, bootstrap_values = random_batch(seed)
    mask = torch.ones_like(rewards, dtype=torch.bool)
    folded = rewards.clone()
    folded[:, -1] += 0.9 * bootstrap_values
    truncated = generalized_advantage_estimation(
        rewards, values, mask, bootstrap_values, gamma=0.9, gae_lambda=0.8
    )
    terminated = generalized_advantage_estimation(
        folded, values, mask, torch.zeros_like(bootstrap_values), gamma=0.9, gae_lambda=0.8
    )
    assert_agree(truncated, terminated)
