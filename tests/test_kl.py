"""KL: estimators against exact enumeration, the penalty against its definition, the controllers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from agents.objectives.kl import KLEstimator, kl_estimate, kl_penalised_rewards, sequence_kl
from agents.objectives.kl_controller import AdaptiveKLController, FixedKLController, KLController

NAN = float("nan")
LN2 = math.log(2)


def random_log_probs(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)
    return logits.log_softmax(dim=-1)


@pytest.mark.parametrize(
    ("kind", "expected"), [("k1", LN2), ("k2", LN2**2 / 2), ("k3", LN2 - 1 / 2)]
)
def test_estimators_by_hand(kind: KLEstimator, expected: float) -> None:
    # π gives 1/2, the reference 1/4: Δ = ln 2, exp(-Δ) = 1/2.
    log_probs = torch.tensor([[0.5]], dtype=torch.float64).log()
    ref_log_probs = torch.tensor([[0.25]], dtype=torch.float64).log()
    estimate = kl_estimate(log_probs, ref_log_probs, kind)
    assert estimate.shape == (1, 1)
    assert estimate.item() == pytest.approx(expected, abs=1e-15)


@given(seed=st.integers(0, 2**32))
def test_k1_and_k3_are_unbiased_over_all_tokens(seed: int) -> None:
    log_probs, ref_log_probs = random_log_probs(seed, 7), random_log_probs(seed + 1, 7)
    exact = torch.nn.functional.kl_div(ref_log_probs, log_probs, reduction="sum", log_target=True)
    for kind in ("k1", "k3"):
        expectation = (log_probs.exp() * kl_estimate(log_probs, ref_log_probs, kind)).sum()
        assert_close(expectation, exact, rtol=1e-12, atol=1e-12)


@given(delta=st.floats(-20, 20), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_k2_and_k3_are_never_negative(delta: float, dtype: torch.dtype) -> None:
    log_probs, ref_log_probs = torch.tensor([delta], dtype=dtype), torch.zeros(1, dtype=dtype)
    assert kl_estimate(log_probs, ref_log_probs, "k2").item() >= 0
    assert kl_estimate(log_probs, ref_log_probs, "k3").item() >= 0


def test_k3_keeps_its_digits_for_nearly_equal_policies() -> None:
    # exp(-Δ) - 1 + Δ = Δ²/2 - Δ³/6 + ...; in float32, exp(-1e-4) - 1 would lose three digits.
    estimate = kl_estimate(torch.tensor([1e-4]), torch.tensor([0.0]), "k3")
    assert estimate.item() == pytest.approx(5e-9, rel=1e-2)


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_equal_policies_are_at_distance_zero(kind: KLEstimator) -> None:
    log_probs = random_log_probs(0, 2, 3)
    assert (kl_estimate(log_probs, log_probs.clone(), kind) == 0).all()


def test_unknown_estimator_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="kind must be 'k1', 'k2' or 'k3', but is 'k4'"):
        kl_estimate(torch.zeros(1), torch.zeros(1), "k4")  # type: ignore[arg-type]


# Row 0: prompt, two tokens; row 1: one token, two of padding. Δ = 2, -1 and 3 where it counts.
LOG_PROBS = torch.tensor([[NAN, -1.0, -4.0], [-1.0, NAN, NAN]], dtype=torch.float64)
REF_LOG_PROBS = torch.tensor([[NAN, -3.0, -3.0], [-4.0, NAN, NAN]], dtype=torch.float64)
MASK = torch.tensor([[False, True, True], [True, False, False]])


def test_penalised_rewards_by_hand() -> None:
    rewards = torch.tensor([[9.0, 0.0, 1.0], [5.0, NAN, 9.0]], dtype=torch.float64)
    penalised = kl_penalised_rewards(rewards, LOG_PROBS, REF_LOG_PROBS, MASK, kl_coef=0.5)
    assert penalised.tolist() == [[0.0, -1.0, 1.5], [3.5, 0.0, 0.0]]


def test_one_score_per_text_is_refused_although_it_would_broadcast() -> None:
    square = torch.zeros(3, 3)
    with pytest.raises(ValueError, match=r"rewards must have the shape of mask, \(3, 3\)"):
        kl_penalised_rewards(torch.ones(3), square, square, square == 0, kl_coef=0.1)


def test_sequence_kl_sums_over_counted_tokens() -> None:
    assert sequence_kl(LOG_PROBS, REF_LOG_PROBS, MASK).tolist() == [1.0, 3.0]


def test_sequence_kl_of_an_empty_completion_is_zero() -> None:
    log_probs = torch.full((1, 2), NAN)
    assert sequence_kl(log_probs, log_probs, torch.zeros(1, 2, dtype=torch.bool)).tolist() == [0.0]


@given(seed=st.integers(0, 2**32), kl_coef=st.floats(0, 2))
@settings(max_examples=20)
def test_expected_penalised_return_is_reward_minus_kl_between_texts(
    seed: int, kl_coef: float
) -> None:
    """Every text of two tokens over three, each weighted by its probability."""
    first, ref_first = random_log_probs(seed, 3), random_log_probs(seed + 1, 3)
    second, ref_second = random_log_probs(seed + 2, 3, 3), random_log_probs(seed + 3, 3, 3)
    texts = list(itertools.product(range(3), repeat=2))
    log_probs = torch.stack([torch.stack([first[a], second[a, b]]) for a, b in texts])
    ref_log_probs = torch.stack([torch.stack([ref_first[a], ref_second[a, b]]) for a, b in texts])
    scores = torch.randn(9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rewards = torch.stack([torch.zeros_like(scores), scores], dim=1)
    mask = torch.ones_like(rewards, dtype=torch.bool)

    probabilities = log_probs.sum(dim=1).exp()
    ref_probabilities = ref_log_probs.sum(dim=1).exp()
    exact_kl = (probabilities * (probabilities / ref_probabilities).log()).sum()
    penalised = kl_penalised_rewards(rewards, log_probs, ref_log_probs, mask, kl_coef)
    expected_return = (probabilities * penalised.sum(dim=1)).sum()
    assert_close(
        (probabilities * sequence_kl(log_probs, ref_log_probs, mask)).sum(),
        exact_kl,
        rtol=1e-12,
        atol=1e-12,
    )
    assert_close(
        expected_return, (probabilities * scores).sum() - kl_coef * exact_kl, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        (6.0, 0.15),  # on target
        (6.6, 0.15 * 1.01),  # error +0.1, times 10 % of the horizon
        (5.4, 0.15 * 0.99),  # error -0.1
        (60.0, 0.15 * 1.02),  # error +9, clipped to +0.2
        (-6.0, 0.15 * 0.98),  # error -2, clipped to -0.2
        (7.2, 0.15 * 1.02),  # error +0.2, just unclipped
    ],
)
def test_adaptive_controller_by_hand(kl: float, expected: float) -> None:
    controller = AdaptiveKLController(0.15, target=6.0, horizon=10_000)
    controller.update(kl, n_episodes=1_000)
    assert controller.kl_coef == pytest.approx(expected, abs=1e-15)


def test_adaptive_controller_compounds() -> None:
    controller = AdaptiveKLController(1.0, target=1.0, horizon=10)
    controller.update(5.0, n_episodes=5)  # times 1.1
    controller.update(0.0, n_episodes=10)  # times 0.8
    assert controller.kl_coef == pytest.approx(0.88, abs=1e-15)


def test_fixed_controller_stays() -> None:
    controller = FixedKLController(0.3)
    controller.update(1e9, n_episodes=10)
    assert controller.kl_coef == 0.3


@pytest.mark.parametrize(
    "make",
    [FixedKLController, lambda kl_coef: AdaptiveKLController(kl_coef, target=6.0, horizon=100)],
)
def test_controllers_resume_where_they_were(make: type[FixedKLController]) -> None:
    controller: KLController = make(0.2)
    controller.update(9.0, n_episodes=50)
    resumed: KLController = make(7.0)
    resumed.load_state_dict(controller.state_dict())
    for each in (controller, resumed):
        each.update(1.0, n_episodes=50)
    assert resumed.kl_coef == controller.kl_coef


@pytest.mark.parametrize("name", ["kl_coef", "target", "horizon"])
@pytest.mark.parametrize("value", [0.0, -1.0, NAN])
def test_adaptive_controller_refuses_what_could_not_steer(name: str, value: float) -> None:
    arguments = {"kl_coef": 0.1, "target": 6.0, "horizon": 100.0, name: value}
    with pytest.raises(ValueError, match=f"^{name} must be above 0, but is {value}"):
        AdaptiveKLController(**arguments)


def test_a_batch_that_could_turn_the_penalty_into_a_reward_is_refused() -> None:
    controller = AdaptiveKLController(0.1, target=6.0, horizon=10)
    controller.update(0.0, n_episodes=49)
    assert controller.kl_coef > 0
    with pytest.raises(ValueError, match="n_episodes must be below 5 horizons of 10 episodes"):
        controller.update(0.0, n_episodes=50)
