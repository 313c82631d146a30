"""What came of a run, as its page and its card show it: figures with intervals, texts side by side.

Knows evaluations and figures, and not how they came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.evaluation.metrics import METRICS, Evaluation, paired_gains
from agents.reports import Figure, Section, SideBySide, Table, Written
from agents.reports.tables import Cell

TITLE = "What came of it"
_REPLIES = 10


def of_evaluations(evaluated: Mapping[str, Evaluation], evaluated_on: str) -> Section:
    """Returns the figures and some replies of several policies.

    Args:
        evaluated: By what the policies are called; the first is the one that training started from.
        evaluated_on: What the prompts are called.
    """
    before, *_ = evaluated.values()
    rows: list[list[Cell]] = [
        [metric.label, *(figure_of(one.figures, name) for one in evaluated.values())]
        for name, metric in METRICS.items()
        if name in before.figures
    ]
    table = Table(
        [evaluated_on, *evaluated],
        rows + _gains(evaluated),
        f"Of {len(before.prompts):,} replies each. Half-widths are of 95 %; gains are paired, "
        "prompt by prompt.",
    )
    return Section(TITLE, [table, _replies(evaluated)])


def of_figures(
    evaluated: Mapping[str, Mapping[str, float]],
    evaluated_on: str,
    samples: Mapping[str, Mapping[str, str]],
) -> Section:
    """Returns the figures of several models, and some of what they write.

    Args:
        evaluated: Figures by name, by what the models are called.
        evaluated_on: What they were evaluated on.
        samples: Texts by prompt, by what the models are called; empty: they do not write.
    """
    names = next(iter(evaluated.values()))
    rows: list[list[Cell]] = [
        [name.removeprefix("eval/"), *(Figure(one[name], 4) for one in evaluated.values())]
        for name in names
    ]
    table = Table([evaluated_on, *evaluated], rows)
    prompts = list(next(iter(samples.values()), {}))
    if not prompts:
        return Section(TITLE, [table])
    written = [[Written(when, texts[one]) for when, texts in samples.items()] for one in prompts]
    return Section(TITLE, [table, SideBySide(prompts, written)])


def paired_texts(samples: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
    """Returns a row for each prompt: what several models write to it."""
    prompts = next(iter(samples.values()))
    return [{"prompt": one} | {when: samples[when][one] for when in samples} for one in prompts]


def figure_of(figures: Mapping[str, float], name: str) -> Figure | None:
    """Returns a metric of an evaluation with its interval; None where it has none."""
    if name not in figures:
        return None
    return Figure(figures[name], METRICS[name].digits, figures.get(f"{name}_half_width"))


def _gains(evaluated: Mapping[str, Evaluation]) -> list[list[Cell]]:
    before, *others = evaluated.values()
    if len(before.prompts) < 2:
        return []
    gained = [paired_gains(before, one) for one in others]
    return [
        [
            f"gain in {METRICS[name].label}",
            "",
            *(Figure(one[name].mean, 3, one[name].half_width) for one in gained),
        ]
        for name in (gained[0] if gained else {})
    ]


def _replies(evaluated: Mapping[str, Evaluation]) -> SideBySide:
    before, *_ = evaluated.values()
    rows: Sequence[int] = range(min(_REPLIES, len(before.prompts)))
    written = [
        [
            Written(when, one.completions[row], Figure(one.scores[row], 3))
            for when, one in evaluated.items()
        ]
        for row in rows
    ]
    return SideBySide([before.prompts[row] for row in rows], written)
