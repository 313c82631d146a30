"""Golden checks: the numbers that TRL and sb3-contrib computed, against ours, to 1e-6.

`golden/record_*.py` wrote the files, with the libraries' own functions. Where a formula differs,
the test says by how much; `docs/golden_checks.md` says why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from agents.objectives.advantages import generalized_advantage_estimation
from agents.objectives.aggregation import Aggregation, normaliser, weighted, without_truncated
from agents.objectives.credit import (
    ScaleBy,
    group_relative_advantages,
    leave_one_out_advantages,
    over_tokens,
)
from agents.objectives.kl import (
    exact_kl,
    kl_estimate,
    kl_loss,
    kl_penalised_rewards,
    sampled_kl,
    sequence_kl,
)
from agents.objectives.losses import clipped_surrogate_loss, clipped_value_loss
from agents.objectives.masked import masked_sum, whiten
from agents.objectives.policy_losses import (
    clipped_weight_loss,
    sequence_surrogate_loss,
    truncated_importance_weights,
)
from agents.objectives.preference import dpo_loss, ipo_loss
from agents.objectives.trust_region import (
    backtracking_line_search,
    conjugate_gradient,
    fisher_vector_product,
    flat_gradient,
    longest_step,
)

GOLDEN = Path(__file__).parent / "golden"


def load(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


def double(numbers: Any) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def assert_equal(ours: Tensor, theirs: Any) -> None:
    assert_close(ours.detach().double(), double(theirs), rtol=1e-6, atol=1e-6)


def mask_of(record: Any) -> Tensor:
    lengths = torch.tensor(record["inputs"]["lengths"])
    return torch.arange(len(record["inputs"]["log_probs"][0])) < lengths[:, None]


# TRL 1.12: PPO


PPO = load("trl_ppo.json")
PPO_MASK = mask_of(PPO)
STEPS = torch.arange(PPO_MASK.shape[1])
AFTER = PPO_MASK.sum(1, keepdim=True) >= STEPS
"""TRL's mask of rewards and values: one position more than the text has, where there is room."""
BESSEL = math.sqrt(1 - 1 / int(PPO_MASK.sum()))
"""TRL's variance is unbiased, ours the population's."""


def ppo_input(name: str) -> Tensor:
    return double(PPO["inputs"][name])


@pytest.mark.parametrize(("name", "shift_mean"), [("", True), (", mean kept", False)])
def test_whitening_is_trl_s_but_for_the_divisor_of_the_variance(
    name: str, shift_mean: bool
) -> None:
    values = ppo_input("values")
    theirs = double(PPO["outputs"][f"whitened{name}"])[PPO_MASK]
    mean = 0.0 if shift_mean else values[PPO_MASK].mean()
    ours = whiten(values, PPO_MASK, shift_mean=shift_mean)[PPO_MASK]
    assert_equal((ours - mean) * BESSEL + mean, theirs.tolist())
    assert (ours - theirs).abs().max() > 1e-3


def ppo_rewards(kind: str) -> Tensor:
    """The KL penalty, and the score one position after the text where there is room."""
    log_probs, ref_log_probs = ppo_input("old_log_probs"), ppo_input("ref_log_probs")
    nothing = torch.zeros_like(log_probs)
    if kind == "k1":
        rewards = kl_penalised_rewards(nothing, log_probs, ref_log_probs, PPO_MASK, 0.1)
    else:
        k3 = kl_estimate(log_probs, ref_log_probs, "k3")
        rewards = torch.where(PPO_MASK, -0.1 * k3, nothing)
    last = PPO_MASK.sum(1).clamp(max=len(STEPS) - 1)
    return rewards.scatter_add(1, last[:, None], ppo_input("scores")[:, None])


@pytest.mark.parametrize("kind", ["k1", "k3"])
@pytest.mark.parametrize("whitened", [False, True])
def test_ppo_is_trl_s_from_the_penalty_to_the_gradients(kind: str, whitened: bool) -> None:
    theirs = PPO["outputs"][f"{kind}, rewards {'whitened' if whitened else 'as they are'}"]
    rewards = ppo_rewards(kind)
    if whitened:
        n, mean = int(AFTER.sum()), rewards[AFTER].mean()
        scaled = (whiten(rewards, AFTER) * math.sqrt(1 - 1 / n)) + mean
        rewards = torch.where(AFTER, scaled, 0)
    assert_equal(rewards, theirs["rewards"])

    values = torch.where(AFTER, ppo_input("values"), 0)
    advantages, returns = generalized_advantage_estimation(
        rewards, values, AFTER, double([0.0] * 6), gamma=0.9, gae_lambda=0.8
    )
    assert_equal(returns, torch.where(AFTER, double(theirs["returns"]), 0).tolist())
    advantages = whiten(advantages, PPO_MASK) * BESSEL
    assert_equal(advantages, theirs["advantages"])

    log_probs = ppo_input("log_probs").requires_grad_()
    policy = clipped_surrogate_loss(
        log_probs, ppo_input("old_log_probs"), advantages, PPO_MASK, 0.2
    ).loss
    new_values = ppo_input("new_values").requires_grad_()
    value = clipped_value_loss(new_values, values, returns, AFTER, 0.3).loss
    assert_equal(policy, theirs["policy loss"])
    assert_equal(value, theirs["value loss"])
    (policy + 0.5 * value).backward()
    assert_equal(log_probs.grad, theirs["gradient of log-probs"])
    assert_equal(new_values.grad, theirs["gradient of values"])


def test_a_score_paid_on_the_last_token_differs_only_where_trl_pays_it_after_the_text() -> None:
    """TRL has one step more, in which nothing is chosen, where the text leaves room for it."""
    scores, log_probs = ppo_input("scores"), ppo_input("old_log_probs")
    last = PPO_MASK.sum(1, keepdim=True) - 1
    paid = torch.zeros_like(log_probs).scatter(1, last, scores[:, None])
    rewards = kl_penalised_rewards(paid, log_probs, ppo_input("ref_log_probs"), PPO_MASK, 0.1)
    _, returns = generalized_advantage_estimation(
        rewards, ppo_input("values"), PPO_MASK, double([0.0] * 6), gamma=0.9, gae_lambda=0.8
    )
    theirs = double(PPO["outputs"]["k1, rewards as they are"]["returns"])
    full = PPO_MASK.all(1)
    assert_equal(returns[full], theirs[full].tolist())
    gap = torch.where(PPO_MASK, returns - theirs, 0)[~full].abs().amax(1)
    assert (gap > 0.01).all()


# TRL 1.16: GRPO, RLOO, DPO


GROUPS = load("trl_groups.json")
MASK = mask_of(GROUPS)
GROUP_IDS = torch.tensor([0, 0, 0, 1, 1, 1])


def given(name: str) -> Tensor:
    return double(GROUPS["inputs"][name])


@pytest.mark.parametrize(
    ("scale_by", "name"), [("group", "group"), ("batch", "batch"), ("nothing", "none")]
)
def test_group_relative_advantages_are_trl_s(scale_by: ScaleBy, name: str) -> None:
    ours = group_relative_advantages(given("scores"), GROUP_IDS, scale_by=scale_by)
    assert_equal(ours, GROUPS["outputs"][f"advantages, scaled by {name}"])


def advantages() -> Tensor:
    return group_relative_advantages(given("scores"), GROUP_IDS, scale_by="group")


def divisor(aggregation: Aggregation, mask: Tensor = MASK) -> int:
    n_tokens, (n_sequences, max_tokens) = int(mask.sum()), mask.shape
    return normaliser(
        aggregation, n_tokens=n_tokens, n_sequences=n_sequences, max_tokens=max_tokens
    )


def by_token(
    aggregation: Aggregation, mask: Tensor = MASK, weights: Tensor | None = None, **options: float
) -> Callable[[Tensor], Tensor]:
    """The clipped surrogate per token, aggregated; `weights` multiply the advantages."""
    credit = over_tokens(advantages(), mask) * (1 if weights is None else weights)

    def loss(log_probs: Tensor) -> Tensor:
        return clipped_surrogate_loss(
            log_probs,
            given("old_log_probs"),
            weighted(credit, mask, aggregation),
            mask,
            0.2,
            n_tokens=divisor(aggregation, mask),
            **options,
        ).loss

    return loss


def by_sequence(
    weights: Tensor | float = 1.0, n: float = 6, clip_range: float = 0.02, high: float = 0.04
) -> Callable[[Tensor], Tensor]:
    def loss(log_probs: Tensor) -> Tensor:
        return sequence_surrogate_loss(
            log_probs,
            given("old_log_probs"),
            weights * advantages(),
            MASK,
            clip_range,
            clip_range_high=high,
            n_sequences=n,
        ).loss

    return loss


def with_kl(aggregation: Aggregation, *, by_ratio: bool = False) -> Callable[[Tensor], Tensor]:
    def loss(log_probs: Tensor) -> Tensor:
        kl = sampled_kl(
            log_probs,
            given("ref_log_probs"),
            MASK,
            "k3",
            old_log_probs=given("old_log_probs") if by_ratio else None,
        )
        term = kl_loss(weighted(kl, MASK, aggregation), MASK, n_tokens=divisor(aggregation))
        return by_token(aggregation)(log_probs) + 0.3 * term

    return loss


def clipped_weights(log_probs: Tensor) -> Tensor:
    credit = over_tokens(advantages(), MASK)
    return clipped_weight_loss(log_probs, given("old_log_probs"), credit, MASK, 1.1).loss


LENGTHS = MASK.sum(1)
KEPT = without_truncated(MASK, torch.tensor(GROUPS["inputs"]["truncated"]))
SAMPLER_WEIGHTS = truncated_importance_weights(
    given("old_log_probs"), given("sampler_log_probs"), MASK, 1.1
)
GRPO: dict[str, Callable[[Tensor], Tensor]] = {
    "grpo": by_token("sequence"),
    "bnpo": by_token("token"),
    "dr_grpo": by_token("constant"),
    "dapo": by_token("token"),
    "luspo by sequence": by_sequence(LENGTHS, clip_range=0.2, high=0.2),
    "luspo by token": lambda log_probs: by_token("token")(log_probs) * int(MASK.sum()) / 6,
    "cispo": clipped_weights,
    "asymmetric clip": by_token("token", clip_range_high=0.3),
    "delta": by_token("token", dual_clip=1.5),
    "gspo": by_sequence(),
    "gspo, token mean": by_sequence(LENGTHS, n=int(MASK.sum())),
    "kl": with_kl("sequence"),
    "kl, token mean": with_kl("token"),
    "kl by ratio": with_kl("sequence", by_ratio=True),
    "cut-off texts left out": by_token("sequence", KEPT),
    "sampler's weights": by_token("token", weights=SAMPLER_WEIGHTS),
}


@pytest.mark.parametrize("name", GRPO)
def test_grpo_loss_and_gradient_are_trl_s(name: str) -> None:
    log_probs = given("log_probs").requires_grad_()
    loss = GRPO[name](log_probs)
    loss.backward()
    assert_equal(loss, GROUPS["outputs"][name]["loss"])
    assert_equal(log_probs.grad, GROUPS["outputs"][name]["gradient"])


def test_every_recorded_case_is_compared() -> None:
    others = {f"advantages, scaled by {name}" for name in ("group", "batch", "none")}
    others |= {"rloo", "rloo, normalised", "dpo sigmoid", "dpo ipo"}
    assert set(GROUPS["outputs"]) == set(GRPO) | others


@pytest.mark.parametrize("normalised", [False, True])
def test_rloo_is_trl_s(normalised: bool) -> None:
    theirs = GROUPS["outputs"]["rloo, normalised" if normalised else "rloo"]
    kl = sequence_kl(given("old_log_probs"), given("ref_log_probs"), MASK)
    ours = leave_one_out_advantages(given("scores") - 0.3 * kl, GROUP_IDS)
    if normalised:
        # TRL's option, not one of ours: unbiased, and with a floor beside the deviation.
        ours = (ours - ours.mean()) / (ours.std() + 1e-4)
    assert_equal(ours, theirs["advantages"])
    log_probs = given("log_probs").requires_grad_()
    loss = sequence_surrogate_loss(
        log_probs, given("old_log_probs"), ours, MASK, 0.2, per_token=False
    ).loss
    loss.backward()
    assert_equal(loss, theirs["loss"])
    assert_equal(log_probs.grad, theirs["gradient"])


@pytest.mark.parametrize("kind", ["sigmoid", "ipo"])
def test_preference_losses_are_trl_s(kind: str) -> None:
    theirs = GROUPS["outputs"][f"dpo {kind}"]
    log_ratios = masked_sum(given("log_probs") - given("ref_log_probs"), MASK, dim=1)
    log_ratios.requires_grad_()
    # TRL's IPO averages over tokens, the paper's and ours sums.
    scores = log_ratios / LENGTHS if kind == "ipo" else log_ratios
    loss = (dpo_loss if kind == "sigmoid" else ipo_loss)(*scores.chunk(2), 0.3).loss
    loss.backward()
    assert_equal(loss, theirs["loss"])
    assert_equal(log_ratios.grad, theirs["gradient"])


# sb3-contrib: TRPO


TRPO = load("sb3_trpo.json")["outputs"]


def distribution(parameters: list[Tensor], observations: Tensor) -> Tensor:
    """sb3-contrib's policy: log-probs of all actions, after one hidden layer."""
    weight, bias, weight_2, bias_2 = parameters
    return ((observations @ weight.T + bias).tanh() @ weight_2.T + bias_2).log_softmax(-1)


class Step:
    """TRPO's step on a recorded batch, of our pure functions."""

    def __init__(self, record: Any) -> None:
        self.record, self.settings = record, record["settings"]
        self.observations = double(record["observations"])
        self.actions = torch.tensor(record["actions"])[:, None]
        raw = double(record["advantages"])
        everything = torch.ones_like(raw, dtype=torch.bool)
        self.advantages = whiten(raw, everything) * math.sqrt(1 - 1 / len(raw))
        self.start = [double(part).requires_grad_() for part in record["parameters before"]]
        self.old = distribution(self.start, self.observations).detach()
        now = distribution(self.start, self.observations)
        kl = exact_kl(self.old, now).mean()
        self.product = fisher_vector_product(kl, self.start, damping=self.settings["damping"])
        self.objective = self.surrogate(now)
        self.gradient = flat_gradient(self.objective, self.start)

    def surrogate(self, log_probs: Tensor) -> Tensor:
        """The clipped surrogate without bounds: the mean of A π/π_old."""
        chosen, old = (x.gather(1, self.actions)[:, 0] for x in (log_probs, self.old))
        everything = torch.ones_like(chosen, dtype=torch.bool)
        loss = clipped_surrogate_loss(chosen, old, self.advantages, everything, math.inf).loss
        return -loss

    def moved(self, step: Tensor) -> list[Tensor]:
        sizes = [part.numel() for part in self.start]
        parts = zip(self.start, step.split(sizes), strict=True)
        return [(part + change.view_as(part)).detach() for part, change in parts]

    def measure(self, step: Tensor) -> tuple[float, float]:
        """The objective there, and KL(π ‖ π_old), which is the direction that sb3-contrib takes."""
        there = distribution(self.moved(step), self.observations)
        return self.surrogate(there).item(), exact_kl(there, self.old).mean().item()


@pytest.mark.parametrize(
    ("name", "factor"), [("whole step", 1.0), ("shrunk step", 0.8), ("rejected step", 0.0)]
)
def test_trpo_s_step_is_that_of_sb3_contrib(name: str, factor: float) -> None:
    record = TRPO[name]
    step = Step(record)
    assert_equal(step.gradient, record["gradient"])
    assert_equal(step.product(torch.ones_like(step.gradient)), record["product_of_ones"])
    direction = conjugate_gradient(
        step.product, step.gradient, max_iterations=step.settings["max_iterations"]
    )
    assert_equal(direction, record["direction"])
    full = longest_step(direction, step.product(direction), step.settings["max_kl"])
    found = backtracking_line_search(
        lambda share: step.measure(share * full),
        step.objective.item(),
        max_kl=step.settings["max_kl"],
        shrink=step.settings["shrink"],
        max_trials=step.settings["max_trials"],
    )
    assert found.factor == pytest.approx(factor)
    assert record["accepted"] == (factor > 0)
    if factor > 0:
        assert found.objective == pytest.approx(record["objective"], abs=1e-6)
        assert found.kl == pytest.approx(record["kl"], abs=1e-6)
    after = step.moved(found.factor * full)
    for ours, theirs in zip(after, record["parameters after"], strict=True):
        assert_equal(ours, theirs)


def test_kl_the_other_way_round_is_another_number_away_from_the_start() -> None:
    """The paper's KL(π_old ‖ π), which ours is to use, beside sb3-contrib's KL(π ‖ π_old)."""
    record = TRPO["shrunk step"]
    step = Step(record)
    after = distribution([double(part) for part in record["parameters after"]], step.observations)
    assert exact_kl(after, step.old).mean().item() == pytest.approx(record["kl"], abs=1e-6)
    assert abs(exact_kl(step.old, after).mean().item() / record["kl"] - 1) > 0.05
