"""Credit: returns, baselines and groups, by hand and by identities."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from agents.objectives.advantages import generalized_advantage_estimation
from agents.objectives.credit import (
    batch_mean_advantages,
    group_relative_advantages,
    leave_one_out_advantages,
    minimum_risk_advantages,
    monte_carlo_returns,
    over_tokens,
)
from agents.objectives.groups import (
    group_mean,
    group_sizes,
    group_std,
    informative_groups,
    require_groups,
)

GROUP_IDS = torch.tensor([9, 4, 9, 4, 9, 7, 7])
SCORES = torch.tensor([1.0, 2.0, 4.0, 8.0, 1.0, 5.0, 5.0], dtype=torch.float64)


def double(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


# Groups


def test_groups_are_found_in_any_order() -> None:
    assert group_sizes(GROUP_IDS).tolist() == [3, 2, 3, 2, 3, 2, 2]
    assert_close(group_mean(SCORES, GROUP_IDS), double(2, 5, 2, 5, 2, 5, 5))
    third, half = 3.0**0.5, 18.0**0.5
    assert_close(group_std(SCORES, GROUP_IDS), double(third, half, third, half, third, 0, 0))


def test_only_groups_with_a_spread_are_informative() -> None:
    informative = informative_groups(SCORES, GROUP_IDS)
    assert informative.tolist() == [True] * 5 + [False] * 2
    assert_close(
        leave_one_out_advantages(SCORES, GROUP_IDS)[~informative], double(0, 0), rtol=0, atol=0
    )


def test_a_group_of_one_is_refused_by_its_number() -> None:
    with pytest.raises(ValueError, match="at least 2 episodes, but group 8 has 1"):
        require_groups(torch.tensor([3, 3, 8]))
    with pytest.raises(ValueError, match="exactly 2 episodes, but group 9 has 3"):
        require_groups(GROUP_IDS, size=2)
    require_groups(torch.tensor([3, 8, 8, 3]), size=2)


@pytest.mark.parametrize(
    "advantages",
    [
        leave_one_out_advantages,
        lambda scores, ids: group_relative_advantages(scores, ids, scale_by="group"),
    ],
)
def test_advantages_refuse_a_group_of_one(advantages: object) -> None:
    with pytest.raises(ValueError, match=r"group_ids .* group 1 has 1"):
        advantages(torch.zeros(3), torch.tensor([0, 0, 1]))  # type: ignore[operator]


def test_group_ids_are_one_integer_an_episode() -> None:
    with pytest.raises(ValueError, match=r"group_ids must be integers of shape \(B,\).*float32"):
        group_sizes(torch.zeros(2))
    with pytest.raises(ValueError, match=r"group_ids must number .* \(3,\).*\(2,\)"):
        group_mean(torch.zeros(3), torch.tensor([0, 0]))


# Monte Carlo


def test_returns_are_summed_from_the_right_over_chosen_tokens_only() -> None:
    rewards = double(1, 99, 2, 4)[None]
    mask = torch.tensor([[True, False, True, True]])
    returns = monte_carlo_returns(rewards, mask, double(8), gamma=0.5)
    assert_close(returns, double(1 + 0.5 * 6, 0, 6 - 0, 8)[None].where(mask, double(0)))


def test_returns_minus_values_are_gae_with_lambda_1() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, values = torch.randn(2, 3, 5, generator=generator, dtype=torch.float64)
    mask = torch.rand(3, 5, generator=generator) < 0.7
    bootstrap = double(0, 1, 2)
    returns = monte_carlo_returns(rewards, mask, bootstrap, gamma=0.9)
    advantages, _ = generalized_advantage_estimation(
        rewards, values, mask, bootstrap, gamma=0.9, gae_lambda=1.0
    )
    assert_close(torch.where(mask, returns - values, 0), advantages, rtol=0, atol=1e-12)


def test_batch_mean_is_over_all_chosen_tokens() -> None:
    returns = torch.tensor([[1.0, 1.0], [5.0, 77.0]], dtype=torch.float64)
    mask = torch.tensor([[True, True], [True, False]])
    third = 1 / 3
    centred = torch.stack([double(-4 * third, -4 * third), double(8 * third, 0)])
    assert_close(batch_mean_advantages(returns, mask, scale=False), centred)
    spread = (32 / 9) ** 0.5
    assert_close(batch_mean_advantages(returns, mask), centred / spread)


# Within groups


def test_leave_one_out_by_hand() -> None:
    expected = double(1 - 2.5, 2 - 8, 4 - 1, 8 - 2, 1 - 2.5, 0, 0)
    assert_close(leave_one_out_advantages(SCORES, GROUP_IDS), expected)


def test_minimum_risk_is_the_gradient_of_the_risk_of_distinct_texts() -> None:
    """Texts 0 and 2 are copies of one; the group's other texts are drawn once."""
    log_probs = double(-1.0, -2.0, -0.5).requires_grad_()
    scores, alpha = double(1.0, 4.0, 2.0), 0.7
    q = (alpha * log_probs).softmax(0)
    (q * scores).sum().backward()
    drawn = torch.tensor([0, 1, 0, 2])
    advantages = minimum_risk_advantages(
        scores[drawn],
        log_probs.detach()[drawn],
        double(2, 1, 2, 1),
        torch.zeros(4, dtype=torch.int64),
        sharpness=alpha,
    )
    assert log_probs.grad is not None
    pushed = torch.zeros(3, dtype=torch.float64).index_add(0, drawn, advantages)
    assert_close(pushed * alpha / 4, log_probs.grad)


def test_minimum_risk_of_distinct_texts_at_no_sharpness_is_a_share_of_leave_one_out() -> None:
    advantages = minimum_risk_advantages(
        SCORES, SCORES, torch.ones(7, dtype=torch.float64), GROUP_IDS, sharpness=0.0
    )
    share = 1 - 1 / group_sizes(GROUP_IDS)
    assert_close(advantages, share * leave_one_out_advantages(SCORES, GROUP_IDS))


def test_scaled_by_the_group_by_hand() -> None:
    std = 3.0**0.5 + 1e-4
    advantages = group_relative_advantages(SCORES, GROUP_IDS, scale_by="group")
    assert_close(advantages[[0, 2, 4]], double(-1, 2, -1) / std)


def test_scaled_by_the_batch_by_hand() -> None:
    scores, group_ids = double(0, 2, 4, 6), torch.tensor([0, 0, 1, 1])
    std = (20 / 3) ** 0.5 + 1e-4
    advantages = group_relative_advantages(scores, group_ids, scale_by="batch")
    assert_close(advantages, double(-1, 1, -1, 1) / std)


@given(
    scores=st.lists(st.floats(-9, 9, width=32), min_size=12, max_size=12),
    order=st.permutations(range(12)),
    size=st.sampled_from([2, 3, 4, 6]),
)
def test_order_does_not_matter_and_centred_is_a_share_of_leave_one_out(
    scores: list[float], order: list[int], size: int
) -> None:
    rewards, group_ids = double(*scores), torch.arange(12) // size
    permuted = torch.tensor(order)
    left_out = leave_one_out_advantages(rewards, group_ids)
    centred = group_relative_advantages(rewards, group_ids, scale_by="nothing")
    assert_close(centred, left_out * (size - 1) / size, rtol=0, atol=1e-12)
    assert_close(
        leave_one_out_advantages(rewards[permuted], group_ids[permuted]),
        left_out[permuted],
        rtol=0,
        atol=1e-12,
    )


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scale_by must be .* but is 'std'"):
        group_relative_advantages(SCORES, GROUP_IDS, scale_by="std")  # type: ignore[arg-type]


def test_tokens_get_the_advantage_of_their_episode() -> None:
    mask = torch.tensor([[False, True], [True, True]])
    assert_close(over_tokens(double(3, 5), mask), torch.stack([double(0, 3), double(5, 5)]))
    with pytest.raises(ValueError, match=r"advantages must be one per episode, \(2,\).*\(3,\)"):
        over_tokens(torch.zeros(3), mask)
