"""What a comparison says in numbers: as JSON for programs, as a table for the terminal.

Knows what was compared by names and numbers alone; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich.table import Table as TerminalTable

from agents.evaluation.comparison import COMPARISON_METRICS, Comparison
from agents.runs.console import interval_cell, side_by_side
from text_gym.feedback.proportion import Interval as Share


class Cost(NamedTuple):
    """Holds what it took to make a policy; None: nothing, or nobody knows.

    Attributes:
        learner: What learnt.
        episodes: Texts that it learnt from.
        seconds: Of training.
        texts_per_reply: That are written for one reply.
    """

    learner: str = ""
    episodes: int | None = None
    seconds: float | None = None
    texts_per_reply: int = 1


class Circumstances(NamedTuple):
    """Holds what is to be said beside the figures.

    Attributes:
        facts: What was done, by what it is called.
        costs: Of each policy.
        independent: The model under which perplexity was measured too; None: there is none.
        perplexities: Under that model, by policy.
    """

    facts: Sequence[tuple[str, str]]
    costs: Mapping[str, Cost]
    independent: str | None = None
    perplexities: Mapping[str, float] = {}


def comparison_table(found: Comparison) -> TerminalTable:
    """Returns the figures of all policies for the terminal, a column for each."""
    rows = {
        metric.label: {
            policy: interval_cell(figures, name, metric.digits)
            for policy, figures in found.figures.items()
            if name in figures
        }
        for name, metric in COMPARISON_METRICS.items()
    }
    rows["regret"] = {
        name: f"{one.mean:.3f} +/- {one.half_width:.3f}" for name, one in found.regrets.items()
    }
    for by, means in found.other_rewards.items():
        rows[by] = {name: f"{one.mean:.3f} +/- {one.half_width:.3f}" for name, one in means.items()}
    for by, rates in found.win_rates.items():
        rows[f"win rate by {by}"] = {name: f"{one.value:.3f}" for name, one in rates.items()}
    title = f"Compared with {found.reference} (+/-: 95 %)"
    return side_by_side(title, {label: row for label, row in rows.items() if row})


def comparison_figures(found: Comparison, how: Circumstances) -> dict[str, Any]:
    """Returns the figures of a comparison by policy, for programs."""
    policies = {
        name: {
            **figures,
            "regret": found.regrets[name]._asdict() if name in found.regrets else None,
            "win_rates": {by: _ends(rates.get(name)) for by, rates in found.win_rates.items()},
            "other_rewards": {
                by: means[name]._asdict() for by, means in found.other_rewards.items()
            },
            "independent_perplexity": how.perplexities.get(name),
            "cost": how.costs[name]._asdict(),
        }
        for name, figures in found.figures.items()
    }
    differences = [one._replace(gain=one.gain._asdict())._asdict() for one in found.differences]  # type: ignore[arg-type]
    return {"reference": found.reference, "policies": policies, "differences": differences}


def _ends(one: Share | None) -> dict[str, float] | None:
    return None if one is None else one._asdict()
