"""What a comparison looks like: a report to send to a colleague.

Knows what was compared by names, texts and numbers; little is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from agents.evaluation.comparison import COMPARISON_METRICS, Comparison, Difference
from agents.evaluation.metrics import METRICS, not_measured
from agents.evaluation.sampled_optimum import TRUSTED
from agents.inspection import FEWEST_TEXTS
from agents.inspection.replies import explained
from agents.inspection.sections import gain_section, wording_section
from agents.inspection.wording import shifts
from agents.reports import (
    Block,
    Curves,
    Facts,
    Figure,
    Intervals,
    Paragraph,
    Section,
    Series,
    SideBySide,
    Table,
    Written,
    write_report,
)
from agents.reports.tables import Cell
from agents.runs.comparison_figures import Circumstances, Cost, comparison_figures
from text_gym.feedback.proportion import Interval as Share

_WORTH = ("reward", "kl", "objective")
"""Figures of what policies are worth; the others are of how they write."""


def write_comparison(
    folder: Path, found: Comparison, how: Circumstances, *, n_samples: int = 12
) -> Path:
    """Writes the report of a comparison, and returns the path of its page."""
    title = "Evaluation: " + ", ".join(found.evaluated)
    return write_report(
        folder, title, comparison_sections(found, how, n_samples), comparison_figures(found, how)
    )


def comparison_sections(
    found: Comparison, how: Circumstances, n_samples: int = 12
) -> list[Section]:
    """Returns the sections of a report on a comparison."""
    sections: dict[str, Sequence[Block]] = {
        "What was compared": [Facts([*how.facts, *_missing(found)]), Paragraph(_READING)],
        "What each is worth": list(_worth(found, how)),
        "Who is better": list(_better(found)),
        "How they write": list(_writing(found, how)),
        "What changed": list(_changes(found)),
        "Side by side": [_samples(found, n_samples)] if n_samples else [],
    }
    return [Section(title, blocks) for title, blocks in sections.items() if blocks]


def _changes(found: Comparison) -> Iterator[Block]:
    """Yields what the replies have of what the reference's have not, and what paid."""
    reference = found.evaluated[found.reference]
    if len(reference.prompts) < FEWEST_TEXTS:
        return
    for name, one in found.evaluated.items():
        if name != found.reference:
            yield Paragraph(f"{name}, beside {found.reference}:")
            yield from gain_section(explained(reference, one)).blocks
            wording = shifts(reference.completions, one.completions)
            n_before, n_after = len(reference.completions), len(one.completions)
            yield from wording_section(wording, n_before, n_after).blocks


_READING = (
    "Every policy replied to the same prompts, in the same order. Intervals are of 95 %: of means "
    "by Student's t, of win rates by Wilson, of regret that of a ratio of means."
)


def _missing(found: Comparison) -> list[tuple[str, str]]:
    """Returns what there was no library for."""
    missing = not_measured(found.evaluated.values())
    return [(METRICS[name].label, reason) for name, reason in missing.items()]


def _worth(found: Comparison, how: Circumstances) -> Iterator[Block]:
    columns = [name for name in _WORTH if any(name in one for one in found.figures.values())]
    regret = ["regret"] if found.regrets else []
    others = found.other_rewards
    rows: list[Sequence[Cell]] = [
        [
            name,
            *(_figure(figures, column) for column in columns),
            *([_regret(found, name)] if regret else []),
            *(Figure(means[name].mean, 3, means[name].half_width) for means in others.values()),
            *_spent(how.costs[name]),
        ]
        for name, figures in found.figures.items()
    ]
    labels = [METRICS[column].label for column in columns]
    spent = ["learner", "episodes", "seconds", "texts per reply"]
    yield Table(["policy", *labels, *regret, *others, *spent], rows, _optimum(found))
    yield _intervals(found, "reward", "Reward")
    if "objective" in columns:
        yield _intervals(found, "objective", "Objective")
    yield _reward_against_kl(found)


def _better(found: Comparison) -> Iterator[Block]:
    known = {by: rates for by, rates in found.win_rates.items() if rates}
    told = (
        f"Share of prompts at which the reply is better than that of {found.reference}; ties are "
        "half a win. The line is where neither is better."
    )
    for by, rates in known.items():
        shares = [(name, _share(one)) for name, one in rates.items()]
        yield Intervals(f"Win rate by {by}", "win rate", shares, told, mark=0.5)
    if known:
        rows: list[Sequence[Cell]] = [
            [name, *(_share(rates.get(name)) for rates in known.values())]
            for name in found.evaluated
            if name != found.reference
        ]
        yield Table(["policy", *(f"win rate by {by}" for by in known)], rows)
    if found.differences:
        yield _differences(found.differences)


_TESTED = (
    "Differences are means over prompts, reply against reply. p: how often signs drawn by lot lead "
    "as far, corrected by Holm for all pairs in the table."
)


def _differences(differences: Sequence[Difference]) -> Table:
    """Returns a row for each pair, with its difference by each metric."""
    metrics = list(dict.fromkeys(one.metric for one in differences))
    pairs: dict[tuple[str, str], list[Cell]] = {}
    for one in differences:
        gain = Figure(one.gain.mean, 3, one.gain.half_width)
        pairs.setdefault((one.policy, one.other), []).extend((gain, Figure(one.corrected, 4)))
    labels = [text for name in metrics for text in (f"more {METRICS[name].label}", "p")]
    rows: list[Sequence[Cell]] = [[*pair, *cells] for pair, cells in pairs.items()]
    return Table(["policy", "compared with", *labels], rows, _TESTED)


def _writing(found: Comparison, how: Circumstances) -> Iterator[Block]:
    names = [
        name
        for name in COMPARISON_METRICS
        if name not in _WORTH and any(name in one for one in found.figures.values())
    ]
    rows: list[Sequence[Cell]] = [
        [policy, *(_figure(one, name) for name in names), *_independent(how, policy)]
        for policy, one in found.figures.items()
    ]
    under = [f"perplexity under {how.independent}"] if how.perplexities else []
    yield Table(["policy", *(COMPARISON_METRICS[name].label for name in names), *under], rows)


def _independent(how: Circumstances, policy: str) -> list[Cell]:
    return [Figure(how.perplexities[policy], 1)] if how.perplexities else []


def _samples(found: Comparison, n: int) -> SideBySide:
    first, *_ = found.evaluated.values()
    rows = range(min(n, len(first.prompts)))
    written = [
        [
            Written(name, one.completions[row], Figure(one.scores[row], 3))
            for name, one in found.evaluated.items()
        ]
        for row in rows
    ]
    return SideBySide([first.prompts[row] for row in rows], written)


def _intervals(found: Comparison, name: str, title: str) -> Intervals:
    rows = [(policy, _figure(one, name)) for policy, one in found.figures.items()]
    told = f"The line is where {found.reference} is."
    of_reference = found.figures[found.reference][name]
    return Intervals(title, METRICS[name].label, rows, told, mark=of_reference)


def _reward_against_kl(found: Comparison) -> Curves:
    series = []
    for name, one in found.figures.items():
        reward, half_width = one["reward"], one["reward_half_width"]
        ends = ([reward - half_width], [reward + half_width])
        distance = math.sqrt(max(one["kl"], 0.0)) if math.isfinite(one["kl"]) else math.nan
        series.append(Series(name, [distance], [reward], *ends, style="dots"))
    told = f"How far each policy went from {found.reference} for its reward."
    return Curves("Reward and distance", "√KL, in √nats", "reward", series, told)


def _optimum(found: Comparison) -> str:
    if found.best is None:
        return ""
    n, doubtful = len(found.best.effective), found.best.doubtful
    return (
        f"The best objective is estimated as {found.best.objective.value:.3f}. At {doubtful} of "
        f"{n} prompts the estimate rests on fewer than {TRUSTED} texts: it, and so all regret, is "
        "rather low."
    )


def _spent(cost: Cost) -> list[Cell]:
    episodes = None if cost.episodes is None else Figure(cost.episodes, 0)
    seconds = None if cost.seconds is None else Figure(cost.seconds, 0)
    return [cost.learner, episodes, seconds, Figure(cost.texts_per_reply, 0)]


def _figure(figures: Mapping[str, float], name: str) -> Figure:
    digits = COMPARISON_METRICS[name].digits
    return Figure(figures.get(name, math.nan), digits, figures.get(f"{name}_half_width"))


def _regret(found: Comparison, name: str) -> Figure:
    one = found.regrets.get(name)
    return Figure(math.nan) if one is None else Figure(one.mean, 3, one.half_width)


def _share(one: Share | None) -> Figure:
    return Figure(math.nan) if one is None else Figure(one.value, 3, low=one.low, high=one.high)
