"""What an evaluation is, and the figures that are reported of it: `METRICS`.

A new figure is one entry there: console, summary and comparison list what they find. This module
does not know how texts came to be written, nor by whom.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, NamedTuple

from agents.evaluation.intervals import Interval, mean_interval
from text_gym.metrics import distinct_n, has_unwanted


@dataclass(frozen=True)
class Evaluation:
    """Holds what a policy wrote, and what the reward and two policies say of it, text by text.

    Attributes:
        prompts: In the order in which the episodes started.
        completions: The texts written.
        references: The expected answers; None where a prompt came without.
        scores: Their rewards.
        lengths: Tokens that the policy chose.
        log_ratios: log π(y)/π_ref(y) of each text, in nats.
        ref_log_probs: log π_ref(y) of each text, in nats.
        kl_coef: The price of a nat of KL that the objective has; None: it is not known.
        episodes: The texts as the environment reported them, with all that rewards may look at;
            None where an evaluation was read from a file.

    Raises:
        ValueError: If the lists are not of equally many texts, at least one.

    Example:
        >>> texts = dict(prompts=["Hi"] * 2, completions=["so so", "oh"], references=[None] * 2)
        >>> said = dict(lengths=[2, 1], log_ratios=[1.0, 0.0], ref_log_probs=[-2.0, -1.0])
        >>> figures = Evaluation(**texts, scores=[2.0, 1.0], **said, kl_coef=0.5).figures
        >>> figures["reward"], figures["kl"], figures["objective"], figures["length"]
        (1.5, 0.5, 1.25, 1.5)
    """

    prompts: Sequence[str]
    completions: Sequence[str]
    references: Sequence[str | None]
    scores: Sequence[float]
    lengths: Sequence[int]
    log_ratios: Sequence[float]
    ref_log_probs: Sequence[float]
    kl_coef: float | None = None
    episodes: Sequence[Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Checks that everything is there of every text."""
        sizes = {name: len(part) for name, part in vars(self).items() if isinstance(part, Sequence)}
        if len(set(sizes.values())) != 1 or not len(self.prompts):
            raise ValueError(f"an evaluation must be of the same texts throughout, got {sizes}")

    @classmethod
    def joined(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Returns evaluations of the texts of one policy as one, in their order.

        Args:
            parts: At least one, all with the same `kl_coef`.
        """

        def all_of(name: str) -> Any:
            values = [getattr(part, name) for part in parts]
            lists = all(isinstance(value, Sequence) for value in values)
            return [one for value in values for one in value] if lists else values[0]

        return cls(**{one.name: all_of(one.name) for one in fields(cls)})

    def of_rows(self, rows: range) -> Evaluation:
        """Returns an evaluation of some of the texts, those from `rows.start` to `rows.stop`."""
        own: dict[str, Any] = {
            name: value[rows.start : rows.stop] if isinstance(value, Sequence) else value
            for name, value in ((one.name, getattr(self, one.name)) for one in fields(self))
        }
        return type(self)(**own)

    @property
    def objectives(self) -> list[float] | None:
        """R - β log π(y)/π_ref(y) of each text, whose mean estimates E[R] - β KL(π ‖ π_ref)."""
        beta = self.kl_coef
        if beta is None:
            return None
        pairs = zip(self.scores, self.log_ratios, strict=True)
        return [score - beta * ratio for score, ratio in pairs]

    @cached_property
    def figures(self) -> Mapping[str, float]:
        """The values of `METRICS` by name, those left out that do not apply.

        A metric with a value for each text is averaged, and `NAME_half_width` is half of the mean's
        95 % confidence interval.
        """
        return figures_of(self, METRICS)


class Metric(NamedTuple):
    """Describes a figure.

    Attributes:
        label: For people.
        digits: To show, after the point.
        of: What was written → the value of each text, or one of all texts together; None where the
            metric does not apply, or cannot be had.
        extra: What installs the libraries without which it cannot be had; None: it needs none.
    """

    label: str
    digits: int
    of: Callable[[Evaluation], Sequence[float] | float | None]
    extra: str | None = None


def figures_of(evaluation: Evaluation, metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Returns the values of metrics by name; see `Evaluation.figures`."""
    figures: dict[str, float] = {}
    for name, metric in metrics.items():
        value = metric.of(evaluation)
        if isinstance(value, Sequence):
            figures[name], figures[f"{name}_half_width"] = mean_interval(value)
        elif value is not None:
            figures[name] = value
    return figures


def _perplexity(evaluation: Evaluation) -> float:
    return math.exp(-sum(evaluation.ref_log_probs) / sum(evaluation.lengths))


def _largest_share(evaluation: Evaluation) -> float:
    return max(Counter(evaluation.completions).values()) / len(evaluation.completions)


def _unwanted(evaluation: Evaluation) -> Sequence[float] | None:
    try:
        return [float(found) for found in has_unwanted(evaluation.completions)]
    except ModuleNotFoundError:
        return None


METRICS: Mapping[str, Metric] = {
    "reward": Metric("reward", 3, lambda one: one.scores),
    "kl": Metric("KL (nats per reply)", 2, lambda one: one.log_ratios),
    "objective": Metric("objective (R - beta KL)", 3, lambda one: one.objectives),
    "length": Metric("tokens per reply", 1, lambda one: one.lengths),
    "perplexity": Metric("reference's perplexity", 1, _perplexity),
    "distinct_2": Metric("distinct-2", 3, lambda one: distinct_n(one.completions, 2)),
    "largest_share": Metric("commonest reply's share", 3, _largest_share),
    "unwanted_rate": Metric("share with unwanted words", 3, _unwanted, extra="safety"),
}
"""What is reported, in this order, by the names that summaries have."""

COMPARED = ("reward", "objective")
"""Metrics whose gain is reported too: of these, more is better."""


def not_measured(evaluations: Iterable[Evaluation]) -> dict[str, str]:
    """Returns which metrics are missing for want of a library, and what installs it."""
    measured = {name for one in evaluations for name in one.figures}
    return {
        name: f"not measured: pip install 'text-gym[{metric.extra}]'"
        for name, metric in METRICS.items()
        if metric.extra is not None and name not in measured
    }


def paired_gains(before: Evaluation, after: Evaluation) -> dict[str, Interval]:
    """Compares two policies on the same prompts, one text each, by every metric of `COMPARED`.

    What a prompt makes easy or hard for both cancels in the differences, prompt by prompt, so that
    their mean has a narrower interval than the two means.

    Raises:
        ValueError: If the prompts differ, or there are fewer than two.
    """
    if list(before.prompts) != list(after.prompts) or len(before.prompts) < 2:
        raise ValueError(
            "before and after must be of the same two prompts or more, got "
            f"{_first(before.prompts)}... and {_first(after.prompts)}..."
        )
    gains = {}
    for name in COMPARED:
        old, new = values_of(before, name), values_of(after, name)
        if old and new:
            gains[name] = mean_interval([b - a for a, b in zip(old, new, strict=True)])
    return gains


def values_of(evaluation: Evaluation, name: str) -> Sequence[float]:
    """Returns a metric's value of each text; nothing where there is only one of all together."""
    values = METRICS[name].of(evaluation)
    return values if isinstance(values, Sequence) else ()


def _first(prompts: Sequence[str]) -> list[str]:
    return [prompt[:100] for prompt in prompts[:3]]
