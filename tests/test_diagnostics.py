"""What an update logs, worked by hand; padding never counts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from agents.algorithms.diagnostics import (
    Statistic,
    Statistics,
    advantage_metrics,
    of_step,
    of_update,
    ratio_error,
    rollout_metrics,
    timing_metrics,
)
from agents.policy.causal_lm import PolicyOutputs
from agents.policy.token_batch import TokenBatch
from agents.rollout.buffer import Rollout
from agents.rollout.timer import Timer

MASK = torch.tensor([[False, True, True, False], [False, True, False, False]])


def row(*values: float, junk: float = 0.0) -> list[float]:
    """A prompt of one, the values, and `junk` at all positions that must not count."""
    return [junk, *values, *[junk] * (3 - len(values))]


def by_hand(junk: float = 0.0) -> tuple[Rollout, PolicyOutputs, Tensor]:
    """One text of two tokens, one of one; the second is truncated."""

    def both(first: tuple[float, float], second: float) -> Tensor:
        return torch.tensor([row(*first, junk=junk), row(second, junk=junk)])

    old = PolicyOutputs(
        log_probs=both((-1.0, -2.0), -0.5),
        entropies=both((1.0, 2.0), 0.6),
        values=both((0.0, 2.0), 4.0),
        bootstrap_values=torch.tensor([junk, junk]),
    )
    attention_mask = MASK | (torch.arange(4) == 0)
    rollout = Rollout(
        texts=TokenBatch(torch.zeros(2, 4, dtype=torch.long), attention_mask, MASK),
        rewards=torch.tensor([row(1.0, 2.0), row(-1.0)]),
        log_probs=both((-1.0, -2.25), -0.5),
        truncated=torch.tensor([False, True]),
        infos=[
            {"stop_reason": "eos", "reward_components": {"length": 2.0, "style": 1.0}},
            {"stop_reason": "length", "reward_components": {"length": -1.0}},
        ],
    )
    return rollout, old, both((-1.5, -1.0), -1.0)


EXPECTED = {
    # Scores 3 and -1.
    "rollout/score_mean": 1.0,
    "rollout/score_std": 2.0,
    "rollout/score_min": -1.0,
    "rollout/score_max": 3.0,
    # Log-ratios 0.5 and -1; 0.5. Sums -0.5 and 0.5.
    "rollout/kl": 0.0,
    "rollout/kl_per_token": 0.0,
    # exp(-Δ) - 1 + Δ: e^-0.5 - 0.5 twice, and e - 2; summed over texts, averaged over two.
    "rollout/kl_k3": (2 * (math.exp(-0.5) - 0.5) + math.e - 2) / 2,
    # 3 + 0.1 * 0.5 and -1 - 0.1 * 0.5.
    "rollout/penalised_score_mean": 1.0,
    "rollout/kl_penalty_mean": 0.0,
    "rollout/entropy": 1.2,
    "rollout/length_mean": 1.5,
    "rollout/length_max": 2.0,
    "rollout/truncated_fraction": 0.5,
    "rollout/value_mean": 2.0,
    "rollout/value_std": math.sqrt(8 / 3),
    "rollout/sampling_log_prob_error": 0.25,
    "rollout/stop_eos": 0.5,
    "rollout/stop_length": 0.5,
    "rollout/reward/length": 0.5,
    "rollout/reward/style": 0.5,
}


@pytest.mark.parametrize("junk", [0.0, 7.0, math.nan])
def test_rollout_metrics_by_hand(junk: float) -> None:
    metrics = rollout_metrics(*by_hand(junk), kl_coef=0.1)
    assert metrics == pytest.approx(EXPECTED, abs=1e-6)


def test_the_price_of_kl_is_charged_per_completion() -> None:
    rollout, old, _ = by_hand()
    metrics = rollout_metrics(rollout, old, old.log_probs - MASK.float(), kl_coef=0.1)
    assert metrics["rollout/kl"] == pytest.approx(1.5)  # two tokens and one, a nat each
    assert metrics["rollout/kl_per_token"] == pytest.approx(1.0)
    assert metrics["rollout/kl_penalty_mean"] == pytest.approx(0.15)
    assert metrics["rollout/penalised_score_mean"] == pytest.approx(1 - 0.15)


def test_environments_that_report_nothing_of_themselves() -> None:
    rollout, old, ref_log_probs = by_hand()
    bare = Rollout(rollout.texts, rollout.rewards, rollout.log_probs, rollout.truncated, [{}, {}])
    metrics = rollout_metrics(bare, old, ref_log_probs, 0.1)
    reported = {key for key in EXPECTED if "stop" in key or "reward/" in key}
    assert metrics.keys() == EXPECTED.keys() - reported


@pytest.mark.parametrize("junk", [0.0, 7.0, math.nan])
def test_advantage_metrics_by_hand(junk: float) -> None:
    advantages = torch.tensor([row(1.0, 2.0, junk=junk), row(3.0, junk=junk)])
    returns = torch.tensor([row(0.0, 3.0, junk=junk), row(6.0, junk=junk)])
    values = torch.tensor([row(0.0, 2.0, junk=junk), row(4.0, junk=junk)])
    metrics = advantage_metrics(advantages, returns, values, MASK)
    # Residuals 0, 1, 2 of variance 2/3; returns 0, 3, 6 of variance 6.
    assert metrics == pytest.approx(
        {
            "rollout/advantage_mean": 2.0,
            "rollout/advantage_std": math.sqrt(2 / 3),
            "rollout/return_mean": 3.0,
            "rollout/return_std": math.sqrt(6.0),
            "train/explained_variance": 1 - 1 / 9,
        },
        abs=1e-6,
    )


def step(loss: float, largest: float, smallest: float) -> Statistics:
    return {
        "loss": Statistic(loss),
        "ratio_max": Statistic(largest, "max"),
        "ratio_min": Statistic(smallest, "min"),
    }


def test_micro_batches_add_up_and_steps_are_averaged_but_extremes_stay() -> None:
    parts = [step(1.0, 3.0, 0.5), step(2.0, 2.0, 0.25)]
    assert of_step(parts) == step(3.0, 3.0, 0.25)
    assert of_update(parts) == {"loss": 1.5, "ratio_max": 3.0, "ratio_min": 0.25}


def test_what_only_some_steps_report_is_averaged_over_those() -> None:
    steps = [{"grad_norm": Statistic(1.0)}, {"grad_norm": Statistic(2.0)}, {}]
    assert of_update(steps) == {"grad_norm": 1.5}


def test_the_ratio_error_is_the_distance_of_the_farther_extreme() -> None:
    assert ratio_error(step(0.0, 1.25, 0.5)) == 0.5
    assert ratio_error(step(0.0, 1.75, 0.5)) == 0.75


def test_timing_adds_up_the_stages_and_names_their_parts() -> None:
    timer = Timer()
    timer.seconds.update(generate=5.0, environment=2.0, score=1.0, train=4.0)
    assert timing_metrics(timer, n_tokens=100, n_episodes=20) == {
        "time/generate": 5.0,
        "time/environment": 2.0,
        "time/score": 1.0,
        "time/train": 4.0,
        "time/total": 10.0,
        "time/tokens_per_second": 10.0,
        "time/episodes_per_second": 2.0,
    }
