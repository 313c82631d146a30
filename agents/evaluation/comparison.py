"""Several policies on the same prompts: figures, paired differences, win rates, regret.

One of them is the reference; what they wrote is given. Knows neither models nor environments.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from agents.evaluation.intervals import Interval, mean_interval
from agents.evaluation.metrics import METRICS, Evaluation, figures_of, paired_gains, values_of
from agents.evaluation.overlap import OVERLAP
from agents.evaluation.paired_tests import holm, sign_flip_p_value
from agents.evaluation.sampled_optimum import Optimum, Scores, optimum, regret, soft_values
from agents.evaluation.win_rates import win_rate
from text_gym.feedback.proportion import Interval as Share

COMPARISON_METRICS = {**METRICS, **OVERLAP}
"""What is reported of every policy, in this order."""
REWARD = "reward"
"""What win rates by the reward that policies are evaluated with are called."""


class Difference(NamedTuple):
    """Holds by how much one policy is better than another on the same prompts.

    Attributes:
        metric: `reward` or `objective`.
        policy: The one.
        other: The other.
        gain: Mean of policy less other, prompt by prompt, with its 95 % interval.
        p_value: That signs drawn by lot lead as far; see `sign_flip_p_value`.
        corrected: The same, corrected by Holm for all pairs of policies.
    """

    metric: str
    policy: str
    other: str
    gain: Interval
    p_value: float
    corrected: float


@dataclass(frozen=True)
class Comparison:
    """Holds what can be said of several policies on the same prompts.

    Attributes:
        evaluated: What they wrote, by name, the reference first.
        figures: Of `COMPARISON_METRICS`, by policy and name.
        differences: Of each two policies, by each metric.
        win_rates: Of each policy but the reference, over the reference, by who says what is better.
        other_rewards: Means of other rewards of the same texts, by reward and policy.
        best: The optimum of E[R] − β·KL, where it was estimated.
        regrets: By policy, where the optimum was estimated: the share of what can be gained on the
            reference that is not.
    """

    evaluated: Mapping[str, Evaluation]
    figures: Mapping[str, Mapping[str, float]]
    differences: Sequence[Difference]
    win_rates: Mapping[str, Mapping[str, Share]] = field(default_factory=dict)
    other_rewards: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)
    best: Optimum | None = None
    regrets: Mapping[str, Interval] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """The name of the policy that the others are compared with."""
        return next(iter(self.evaluated))


def compare(
    evaluated: Mapping[str, Evaluation],
    other_rewards: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    reference_scores: Scores | None = None,
) -> Comparison:
    """Compares policies that wrote to the same prompts.

    Args:
        evaluated: What they wrote, by name; the first is the reference.
        other_rewards: Of the same texts, by reward and policy.
        reference_scores: Rewards of N more texts of the reference to each prompt, (P, N), from
            which the optimum is estimated; None: it is not.

    Raises:
        ValueError: If the prompts differ, or there are fewer than two.

    Example:
        >>> said = dict(prompts=["a", "b"], completions=["x", "y"], references=[None] * 2)
        >>> said |= dict(lengths=[1, 1], log_ratios=[0.0] * 2, ref_log_probs=[-1.0] * 2)
        >>> base, tuned = (Evaluation(scores=s, **said) for s in ([0.0, 1.0], [1.0, 2.0]))
        >>> found = compare({"base": base, "tuned": tuned})
        >>> found.differences[0].gain.mean, found.win_rates["reward"]["tuned"].value
        (1.0, 1.0)
    """
    others = other_rewards or {}
    scores = {REWARD: {name: one.scores for name, one in evaluated.items()}, **others}
    best, regrets = None, {}
    beta = next(iter(evaluated.values())).kl_coef
    if reference_scores is not None and beta:
        best = optimum(reference_scores, beta)
        regrets = _regrets(evaluated, reference_scores, beta)
    return Comparison(
        evaluated=evaluated,
        figures={name: figures_of(one, COMPARISON_METRICS) for name, one in evaluated.items()},
        differences=_differences(evaluated),
        win_rates={by: _win_rates(of_policies) for by, of_policies in scores.items()},
        other_rewards={
            by: {name: mean_interval(of_one) for name, of_one in of_policies.items()}
            for by, of_policies in others.items()
        },
        best=best,
        regrets=regrets,
    )


def _differences(evaluated: Mapping[str, Evaluation]) -> list[Difference]:
    """Returns the differences of all pairs, metric by metric, each corrected for its own pairs."""
    found: dict[str, list[Difference]] = {}
    for (other, before), (policy, after) in itertools.combinations(evaluated.items(), 2):
        for metric, gain in paired_gains(before, after).items():
            pairs = zip(values_of(after, metric), values_of(before, metric), strict=True)
            differences = [a - b for a, b in pairs]
            p_value = sign_flip_p_value(differences) if math.isfinite(gain.mean) else math.nan
            row = Difference(metric, policy, other, gain, p_value, math.nan)
            found.setdefault(metric, []).append(row)
    return [row for rows in found.values() for row in _corrected(rows)]


def _corrected(rows: Sequence[Difference]) -> list[Difference]:
    """Returns the rows with p-values corrected for the number of those that could be tested."""
    tested = [row.p_value for row in rows if math.isfinite(row.p_value)]
    corrected = iter(holm(tested))
    return [
        row._replace(corrected=next(corrected)) if math.isfinite(row.p_value) else row
        for row in rows
    ]


def _win_rates(scores: Mapping[str, Sequence[float]]) -> dict[str, Share]:
    reference, *others = scores
    return {name: win_rate(scores[name], scores[reference]) for name in others}


def _regrets(
    evaluated: Mapping[str, Evaluation], reference_scores: Scores, beta: float
) -> dict[str, Interval]:
    best, starts = soft_values(reference_scores, beta), reference_scores.mean(axis=1)
    reached = {name: np.asarray(one.objectives) for name, one in evaluated.items()}
    return {
        name: regret(best, objectives, starts)
        for name, objectives in reached.items()
        if np.isfinite(objectives).all()
    }
