"""Losses: numbers worked by hand, their gradients, micro-batches, and Stable-Baselines3's own."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.testing import assert_close

from agents.objectives.advantages import generalized_advantage_estimation
from agents.objectives.losses import (
    PolicyLoss,
    clipped_surrogate_loss,
    clipped_value_loss,
    entropy_loss,
)
from agents.objectives.statistics import explained_variance, ratio_statistics

NAN = float("nan")


def assert_agree(actual: object, expected: object) -> None:
    """Compare float64 tensors, or tuples of them, to 1e-12."""
    assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def double(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def everything(x: Tensor) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool)


def gradient(loss: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(loss, x, retain_graph=True)[0]


def surrogate_at(
    ratios: list[float],
    advantages: list[float],
    clip_range: float = 0.2,
    *,
    clip_range_high: float | None = None,
    dual_clip: float | None = None,
) -> tuple[PolicyLoss, list[float]]:
    """Compute the loss at given ratios, and its gradient with respect to the log-probs."""
    log_probs = double(*ratios).log().requires_grad_()
    result = clipped_surrogate_loss(
        log_probs,
        torch.zeros_like(log_probs),
        double(*advantages),
        everything(log_probs),
        clip_range,
        clip_range_high=clip_range_high,
        dual_clip=dual_clip,
    )
    return result, gradient(result.loss, log_probs).tolist()


def test_surrogate_by_hand() -> None:
    # Objectives: 1; min(3, 1.2 * 2) = 2.4; min(-0.5, -0.8) = -0.8. Their mean is 2.6 / 3.
    result, _ = surrogate_at([1.0, 1.5, 0.5], [1.0, 2.0, -1.0])
    assert result.loss.item() == pytest.approx(-2.6 / 3, abs=1e-14)
    assert result.clip_fraction.item() == pytest.approx(2 / 3, abs=1e-6)


@pytest.mark.parametrize("junk", [0.0, NAN, math.inf])
def test_ratio_statistics_by_hand(junk: float) -> None:
    # k3 is ρ - 1 - ln ρ: 0, 0.5 - ln 1.5, -0.5 + ln 2. Their mean is ln(4/3) / 3.
    log_probs = double(1.0, 1.5, 0.5, 1.0).log()
    log_probs[3] = junk
    mask = torch.tensor([True, True, True, False])
    result = ratio_statistics(log_probs, torch.zeros_like(log_probs), mask)
    assert result.approx_kl.item() == pytest.approx(math.log(4 / 3) / 3, abs=1e-14)
    assert result.ratio_mean.item() == pytest.approx(1.0, abs=1e-14)
    assert result.ratio_var.item() == pytest.approx(1 / 6, abs=1e-14)
    assert result.ratio_min.item() == pytest.approx(0.5, abs=1e-14)
    assert result.ratio_max.item() == pytest.approx(1.5, abs=1e-14)


def test_surrogate_does_not_depend_on_masked_positions() -> None:
    log_probs = double(NAN, 0.3, -math.inf, -0.5, 0.0).requires_grad_()
    old_log_probs = double(0.0, 0.0, NAN, 0.0, -2.0)
    advantages = double(1.0, 1.0, 1.0, 2.0, NAN)
    mask = torch.tensor([False, True, False, True, False])
    masked = clipped_surrogate_loss(log_probs, old_log_probs, advantages, mask, 0.4)
    alone = clipped_surrogate_loss(
        log_probs[mask], old_log_probs[mask], advantages[mask], mask[mask], 0.4
    )
    for got, want in zip(masked, alone, strict=True):
        assert_agree(got, want)
    got, want = gradient(masked.loss, log_probs), gradient(alone.loss, log_probs)
    assert_agree(got, want)
    assert got[~mask].tolist() == [0.0, 0.0, 0.0]


@given(seed=st.integers(0, 2**32), clip_range=st.floats(0.01, 0.5))
@settings(max_examples=30)
def test_at_ratio_one_the_gradient_is_the_plain_policy_gradient(
    seed: int, clip_range: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    actions = torch.randint(4, (6, 1), generator=generator)
    advantages = torch.randn(6, generator=generator, dtype=torch.float64)
    log_probs = logits.log_softmax(dim=-1).gather(1, actions).squeeze(1)
    result = clipped_surrogate_loss(
        log_probs, log_probs.detach(), advantages, everything(advantages), clip_range
    )
    plain = -(advantages * log_probs).mean()
    assert_agree(gradient(result.loss, logits), gradient(plain, logits))
    assert_agree(result.loss, -advantages.mean())
    assert result.clip_fraction.item() == 0


def test_gradient_stops_only_where_the_ratio_has_gone_far_enough_the_right_way() -> None:
    # Unclipped, d loss / d log π = -ρ A / n with n = 4.
    _, gradients = surrogate_at([1.5, 0.5, 1.5, 0.5], [2.0, 2.0, -2.0, -2.0])
    assert gradients == pytest.approx([0.0, -0.25, 0.75, 0.0], abs=1e-15)


def test_clip_range_high_moves_the_upper_bound_only() -> None:
    # 1.28 binds on 1.5; 1.25 is inside; 0.8 binds on 0.5 with A < 0.
    result, gradients = surrogate_at([1.5, 1.25, 0.5], [1.0, 1.0, -1.0], 0.2, clip_range_high=0.28)
    assert result.loss.item() == pytest.approx(-(1.28 + 1.25 - 0.8) / 3, abs=1e-14)
    assert gradients == pytest.approx([0.0, -1.25 / 3, 0.0], abs=1e-14)
    assert result.clip_fraction.item() == pytest.approx(2 / 3, abs=1e-6)


def test_dual_clip_bounds_negative_advantages_only() -> None:
    # A = -1, ρ = 5: max(min(-5, -1.2), -3) = -3, no gradient. A = -1, ρ = 2: -2, above the bound.
    # A = +1, ρ = 0.1: 0.1, which 3 A must not replace.
    result, gradients = surrogate_at([5.0, 2.0, 0.1], [-1.0, -1.0, 1.0], dual_clip=3.0)
    assert result.loss.item() == pytest.approx((3 + 2 - 0.1) / 3, abs=1e-14)
    assert gradients == pytest.approx([0.0, 2 / 3, -0.1 / 3], abs=1e-14)
    unbounded, _ = surrogate_at([5.0, 2.0, 0.1], [-1.0, -1.0, 1.0])
    assert unbounded.loss.item() == pytest.approx((5 + 2 - 0.1) / 3, abs=1e-14)


@pytest.mark.parametrize("dual_clip", [1.0, 0.5, NAN])
def test_dual_clip_not_above_one_is_refused(dual_clip: float) -> None:
    with pytest.raises(ValueError, match=f"dual_clip must be above 1, but is {dual_clip}"):
        surrogate_at([1.0], [1.0], dual_clip=dual_clip)


@pytest.mark.parametrize(("log_ratio", "expected"), [(500.0, 20.0), (-500.0, -20.0)])
def test_log_ratios_are_clamped_so_that_the_loss_stays_finite(
    log_ratio: float, expected: float
) -> None:
    one = double(1.0)
    result = clipped_surrogate_loss(log_ratio * one, 0 * one, -one, everything(one), 1.0)
    statistics = ratio_statistics(log_ratio * one, 0 * one, everything(one))
    assert statistics.ratio_max.item() == pytest.approx(math.exp(expected), rel=1e-12)
    assert result.loss.item() == pytest.approx(math.exp(expected), rel=1e-12, abs=1e-12)


def test_value_loss_by_hand() -> None:
    # (3 - 0)² = 9 and (1.5 - 0)² = 2.25: the unclipped error is the larger.
    # (1 - 2)² = 1 and (0.5 - 2)² = 2.25: the clipped error is, and its gradient is 0.
    # (0.2 - 1)² = 0.64 twice: inside the range.
    values = double(3.0, 1.0, 0.2).requires_grad_()
    old_values, returns = double(1.0, 0.0, 0.0), double(0.0, 2.0, 1.0)
    mask = everything(returns)
    clipped = clipped_value_loss(values, old_values, returns, mask, 0.5)
    assert clipped.loss.item() == pytest.approx((9 + 2.25 + 0.64) / 6, abs=1e-14)
    assert clipped.clip_fraction.item() == pytest.approx(1 / 3, abs=1e-6)
    assert gradient(clipped.loss, values).tolist() == pytest.approx([1, 0, -0.8 / 3], abs=1e-14)
    unclipped = clipped_value_loss(values, old_values, returns, mask, None)
    assert unclipped.loss.item() == pytest.approx((9 + 1 + 0.64) / 6, abs=1e-14)
    assert unclipped.clip_fraction.item() == 0
    assert gradient(unclipped.loss, values).tolist() == pytest.approx(
        [1, -1 / 3, -0.8 / 3], abs=1e-14
    )


@pytest.mark.parametrize("clip_range_vf", [None, 0.5])
def test_value_loss_does_not_depend_on_masked_positions(clip_range_vf: float | None) -> None:
    values = double(NAN, 3.0, 1.0, 1.0, 1.0).requires_grad_()
    old_values, returns = double(0.0, 1.0, NAN, 0.0, 1.0), double(0.0, 0.0, 1.0, 2.0, NAN)
    mask = torch.tensor([False, True, False, True, False])
    masked = clipped_value_loss(values, old_values, returns, mask, clip_range_vf)
    alone = clipped_value_loss(
        values[mask], old_values[mask], returns[mask], mask[mask], clip_range_vf
    )
    for got, want in zip(masked, alone, strict=True):
        assert_agree(got, want)
    assert_agree(gradient(masked.loss, values), gradient(alone.loss, values))


def test_entropy_loss_is_minus_the_mean_of_what_counts() -> None:
    entropies = double(1.0, NAN, 2.0).requires_grad_()
    mask = torch.tensor([True, False, True])
    bonus = entropy_loss(entropies, mask)
    assert bonus.item() == -1.5
    assert gradient(bonus, entropies).tolist() == [-0.5, 0.0, -0.5]


def test_explained_variance_by_hand() -> None:
    returns, mask = double(1.0, 2.0, 3.0, NAN), torch.tensor([True, True, True, False])
    assert explained_variance(double(1.0, 2.0, 3.0, 7.0), returns, mask).item() == 1
    assert explained_variance(double(5.0, 5.0, 5.0, 7.0), returns, mask).item() == 0
    # Errors -2, 0, 2 have variance 8/3, the returns 2/3: 1 - 4.
    assert explained_variance(double(3.0, 2.0, 1.0, 7.0), returns, mask).item() == pytest.approx(-3)


def test_nothing_explains_returns_that_are_all_equal() -> None:
    assert explained_variance(
        double(1.0, 2.0), double(4.0, 4.0), torch.tensor([True, True])
    ).isnan()


def test_statistics_carry_no_gradient() -> None:
    log_probs = double(0.1, -0.5).requires_grad_()
    zeros, mask = torch.zeros_like(log_probs), everything(log_probs)
    policy = clipped_surrogate_loss(log_probs, zeros, zeros, mask, 0.2)
    value = clipped_value_loss(log_probs, zeros, zeros, mask, 0.2)
    assert policy.loss.requires_grad
    assert value.loss.requires_grad
    assert not any(statistic.requires_grad for statistic in (*policy[1:], *value[1:]))
    assert not explained_variance(log_probs, zeros, mask).requires_grad


Batch = dict[str, Tensor]


def ragged_batch(seed: int) -> Batch:
    """Draw six sequences of up to seven tokens, with gaps, each with at least one that counts."""
    generator = torch.Generator().manual_seed(seed)
    names = ("features", "old_log_probs", "advantages", "old_values", "returns")
    batch = {name: torch.randn(6, 7, generator=generator, dtype=torch.float64) for name in names}
    batch["mask"] = torch.rand(6, 7, generator=generator) < torch.rand(6, 1, generator=generator)
    batch["mask"][:, 0] = True
    return batch


def total_loss(parameters: Tensor, batch: Batch, n_tokens: float | None) -> Tensor:
    """Add the three losses of a model with three parameters."""
    a, b, c = parameters
    mask = batch["mask"]
    policy = clipped_surrogate_loss(
        a * batch["features"],
        batch["old_log_probs"],
        batch["advantages"],
        mask,
        0.2,
        dual_clip=3.0,
        n_tokens=n_tokens,
    )
    value = clipped_value_loss(
        b * batch["features"], batch["old_values"], batch["returns"], mask, 0.2, n_tokens=n_tokens
    )
    bonus = entropy_loss((c * batch["features"]).square(), mask, n_tokens=n_tokens)
    return policy.loss + 0.5 * value.loss + 0.1 * bonus


@given(seed=st.integers(0, 2**32), cuts=st.sets(st.integers(1, 5)))
@settings(max_examples=30)
def test_micro_batches_add_up_to_the_full_batch(seed: int, cuts: set[int]) -> None:
    batch = ragged_batch(seed)
    parameters = double(0.9, 0.7, 0.5).requires_grad_()
    whole = total_loss(parameters, batch, n_tokens=None)
    n_tokens = float(batch["mask"].sum())
    bounds = [0, *sorted(cuts), 6]
    parts = [
        total_loss(parameters, {name: x[a:b] for name, x in batch.items()}, n_tokens)
        for a, b in itertools.pairwise(bounds)
    ]
    assert_agree(torch.stack(parts).sum(), whole)
    accumulated = torch.stack([gradient(part, parameters) for part in parts]).sum(dim=0)
    assert_agree(accumulated, gradient(whole, parameters))


@pytest.mark.parametrize("n_tokens", [0.0, -1.0, NAN])
def test_n_tokens_not_above_zero_is_refused(n_tokens: float) -> None:
    with pytest.raises(ValueError, match=f"n_tokens must be above 0, but is {n_tokens}"):
        entropy_loss(torch.ones(2), torch.tensor([True, True]), n_tokens=n_tokens)


Loss = Callable[[Tensor, Tensor], object]
LOSSES: dict[str, Loss] = {
    "policy": lambda x, mask: clipped_surrogate_loss(x, x, x, mask, 0.2),
    "value": lambda x, mask: clipped_value_loss(x, x, x, mask, None),
    "entropy": entropy_loss,
    "explained variance": lambda x, mask: explained_variance(x, x, mask),
}


@pytest.mark.parametrize("name", LOSSES)
def test_empty_mask_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="mask must count at least 1"):
        LOSSES[name](torch.ones(2, 2), torch.zeros(2, 2, dtype=torch.bool))


@pytest.mark.parametrize("name", LOSSES)
def test_a_mask_of_another_shape_is_refused_although_it_would_broadcast(name: str) -> None:
    with pytest.raises(ValueError, match="mask must have the shape of x"):
        LOSSES[name](torch.ones(2, 2), torch.ones(2, dtype=torch.bool))


class DoubleRolloutBuffer(RolloutBuffer):
    """SB3's rollout buffer in float64."""

    def reset(self) -> None:
        super().reset()
        for name in ("rewards", "returns", "values", "log_probs", "advantages", "episode_starts"):
            setattr(self, name, getattr(self, name).astype(np.float64))


class DoubleFeatures(BaseFeaturesExtractor):
    """Passes observations on in float64."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, features_dim=observation_space.shape[0])

    def forward(self, observations: Tensor) -> Tensor:
        return observations.double()


ENT_COEF, VF_COEF, CLIP_RANGE, GAMMA, GAE_LAMBDA, N_STEPS = 0.01, 0.5, 0.05, 0.97, 0.9, 256


class Rollout(NamedTuple):
    """An SB3 agent after one rollout, and how its steps fall into episodes."""

    agent: PPO
    lengths: list[int]
    bootstrap_value: float

    def by_episode(self, column: np.ndarray | Tensor) -> Tensor:
        """Cut N_STEPS numbers into episodes: (B, T), padded at the right with NaN."""
        steps = torch.as_tensor(column).reshape(N_STEPS)
        return pad_sequence(steps.split(self.lengths), batch_first=True, padding_value=NAN)


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    """Collect CartPole episodes with SB3 in float64, then change its policy a little.

    Without the change every ratio of the first minibatch would be 1, and half of what is to be
    compared 0.
    """
    agent = PPO(
        "MlpPolicy",
        "CartPole-v1",
        n_steps=N_STEPS,
        batch_size=N_STEPS,
        n_epochs=1,
        gamma=GAMMA,
        gae_lambda=GAE_LAMBDA,
        clip_range=CLIP_RANGE,
        ent_coef=ENT_COEF,
        vf_coef=VF_COEF,
        normalize_advantage=False,
        max_grad_norm=math.inf,
        rollout_buffer_class=DoubleRolloutBuffer,
        policy_kwargs={"features_extractor_class": DoubleFeatures},
        seed=0,
        device="cpu",
    )
    agent.set_logger(Logger(folder=None, output_formats=[]))
    agent.policy.double()
    _, callback = agent._setup_learn(N_STEPS)
    assert agent.env is not None
    agent.collect_rollouts(agent.env, callback, agent.rollout_buffer, N_STEPS)
    assert agent._last_episode_starts == [False], "the last episode must be cut short"
    starts = np.flatnonzero(agent.rollout_buffer.episode_starts)
    with torch.no_grad():
        bootstrap_value = agent.policy.predict_values(torch.as_tensor(agent._last_obs)).item()
        for parameter in agent.policy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return Rollout(agent, np.diff([*starts, N_STEPS]).tolist(), bootstrap_value)


def test_advantages_of_an_sb3_rollout_are_those_of_sb3(rollout: Rollout) -> None:
    buffer = rollout.agent.rollout_buffer
    rewards = rollout.by_episode(buffer.rewards)
    assert len(rewards) > 5
    bootstrap_values = torch.zeros(len(rewards), dtype=torch.float64)
    bootstrap_values[-1] = rollout.bootstrap_value
    mask = ~rewards.isnan()
    advantages, returns = generalized_advantage_estimation(
        rewards,
        rollout.by_episode(buffer.values),
        mask,
        bootstrap_values,
        gamma=GAMMA,
        gae_lambda=GAE_LAMBDA,
    )
    assert_agree(advantages[mask], rollout.by_episode(buffer.advantages)[mask])
    assert_agree(returns[mask], rollout.by_episode(buffer.returns)[mask])


def test_losses_statistics_and_gradients_are_those_of_sb3(rollout: Rollout) -> None:
    agent, buffer, by_episode = rollout.agent, rollout.agent.rollout_buffer, rollout.by_episode
    values, log_probs, entropies = agent.policy.evaluate_actions(
        torch.as_tensor(buffer.observations).reshape(N_STEPS, -1),
        torch.as_tensor(buffer.actions).reshape(N_STEPS),
    )
    assert entropies is not None
    old_values, returns = by_episode(buffer.values), by_episode(buffer.returns)
    mask = ~returns.isnan()
    policy = clipped_surrogate_loss(
        by_episode(log_probs),
        by_episode(buffer.log_probs),
        by_episode(buffer.advantages),
        mask,
        CLIP_RANGE,
    )
    ratios = ratio_statistics(by_episode(log_probs), by_episode(buffer.log_probs), mask)
    value = clipped_value_loss(by_episode(values), old_values, returns, mask, None)
    bonus = entropy_loss(by_episode(entropies), mask)
    # SB3's value loss has no factor 1/2.
    loss = policy.loss + ENT_COEF * bonus + VF_COEF * 2 * value.loss
    parameters = list(agent.policy.parameters())
    gradients = torch.autograd.grad(loss, parameters)
    ours = {
        "train/policy_gradient_loss": policy.loss,
        "train/value_loss": 2 * value.loss,
        "train/entropy_loss": bonus,
        "train/loss": loss,
        "train/approx_kl": ratios.approx_kl,
        "train/clip_fraction": policy.clip_fraction,
        "train/explained_variance": explained_variance(old_values, returns, mask),
    }

    agent.train()

    assert 0.1 < policy.clip_fraction.item() < 0.9
    logged = agent.logger.name_to_value
    assert {name: x.item() for name, x in ours.items()} == pytest.approx(
        {name: logged[name] for name in ours}, rel=1e-11, abs=1e-12
    )
    for parameter, expected in zip(parameters, gradients, strict=True):
        assert parameter.grad is not None
        assert_close(expected, parameter.grad, rtol=1e-10, atol=1e-11)
