"""What the page of a run draws and diagnoses of its updates: one view for each kind of run.

Knows the names of metrics, and no files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Diagnostic(NamedTuple):
    """Says what a figure of an update should be.

    Attributes:
        name: In the metrics.
        label: For people.
        healthy: A sentence.
        holds: Whether a value is as it should be; None: only a person can tell.
    """

    name: str
    label: str
    healthy: str
    holds: Callable[[float], bool] | None = None


_OF_TEXTS = (
    Diagnostic(
        "train/first_ratio_error",
        "first ratio, distance from 1",
        "Rounding: below 0.00001, in bfloat16 below 0.1. Beyond it, the run stops by itself.",
    ),
    Diagnostic(
        "rollout/score_std",
        "spread of rewards",
        "Above 0: where all texts are paid alike, there is nothing to learn.",
        lambda value: value > 0,
    ),
    Diagnostic(
        "rollout/kl",
        "KL from the reference, nats per text",
        "Grows while the reward does. Where it grows alone, raise kl_coef or lower learning_rate.",
    ),
    Diagnostic(
        "rollout/entropy",
        "entropy, nats per token",
        "Falls slowly. Near 0 the policy says one thing only: raise ent_coef or kl_coef.",
        lambda value: value > 0.05,
    ),
    Diagnostic(
        "train/approx_kl",
        "KL of one update",
        "Below about 0.05; beyond, lower learning_rate or n_epochs.",
        lambda value: value < 0.05,
    ),
    Diagnostic(
        "train/clip_fraction",
        "share of clipped tokens",
        "Below about 0.3; beyond, most of what is sampled is not learnt from.",
        lambda value: value < 0.3,
    ),
    Diagnostic(
        "train/explained_variance",
        "variance of returns that values explain",
        "Rises towards 1 in the first updates. Where it stays below 0, take gae_lambda=1.",
    ),
    Diagnostic(
        "rollout/stop_length",
        "share of texts cut at the limit",
        "Small, where texts are meant to end by themselves; else raise max_new_tokens.",
    ),
)
CURVES = {
    "rollout/score_mean": ("Reward", "mean reward of a batch"),
    "rollout/kl": ("Distance", "KL from the reference, nats per text"),
    "rollout/entropy": ("Entropy", "entropy, nats per token"),
    "rollout/length_mean": ("Length", "tokens per text"),
}
"""What is drawn of a run whose policy writes, by its name in the metrics: title, and what it is."""


class Curve(NamedTuple):
    """Says what one plot shows.

    Attributes:
        title: Of the plot.
        label: What goes up.
        lines: What each line is called, by its name in the metrics.
    """

    title: str
    label: str
    lines: Mapping[str, str]


class View(NamedTuple):
    """Says what a page shows of updates.

    Attributes:
        x: The name in the metrics of what lies along the page.
        x_label: What it is called.
        curves: The plots.
        diagnostics: What the figures of the last update should be.
    """

    x: str
    x_label: str
    curves: Sequence[Curve]
    diagnostics: Sequence[Diagnostic]


WRITING = View(
    "episodes",
    "episodes",
    [Curve(title, label, {name: title}) for name, (title, label) in CURVES.items()],
    _OF_TEXTS,
)
"""Of a run whose policy writes and is paid."""
READING = View(
    "train/epoch",
    "epochs",
    [
        Curve("Loss", "loss", {"train/loss": "training", "eval/loss": "held out"}),
        Curve("Accuracy", "share", {"train/accuracy": "training", "eval/accuracy": "held out"}),
        Curve(
            "Implied rewards",
            "reward, mean of a batch",
            {"train/chosen_reward": "preferred", "train/rejected_reward": "not preferred"},
        ),
    ],
    (
        Diagnostic(
            "eval/loss",
            "loss on what is held out",
            "Falls from epoch to epoch. Where it rises, the file is learnt by heart: fewer epochs.",
        ),
        Diagnostic(
            "train/grad_norm",
            "norm of the gradient",
            "Steady. Where it jumps, lower learning_rate.",
        ),
        Diagnostic(
            "train/accuracy",
            "share of pairs whose better text is worth more",
            "Above 0.5, and not far above what is held out reaches.",
            lambda value: value > 0.5,
        ),
        Diagnostic(
            "train/log_ratio_per_token",
            "distance from the start, nats per token",
            "Grows slowly. Beyond about 1, raise kl_coef or lower learning_rate.",
            lambda value: value < 1,
        ),
    ),
)
"""Of a run that learns from what others wrote."""
