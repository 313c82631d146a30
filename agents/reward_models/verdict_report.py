"""A verdict on a reward model as one page, and as figures for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agents.reports import Block, Curves, Facts, Figure, Intervals, Paragraph, Section, Series
from agents.reports import write_report as write_page
from agents.reward_models.verdict import Bin, RewardModelVerdict, Share
from text_gym.feedback.proportion import Interval

TITLE = "Reward model"


def write_report(
    verdict: RewardModelVerdict, about: Sequence[tuple[str, str]], folder: Path
) -> Path:
    """Writes `report.html` and `report.json`, and returns the path of the page.

    Args:
        verdict: What is reported.
        about: What was checked on what, as names and values.
        folder: Of both files.
    """
    return write_page(folder, TITLE, sections_of(verdict, about), figures_of(verdict))


def figures_of(verdict: RewardModelVerdict) -> dict[str, Any]:
    """Returns everything in a verdict by its name, as mappings, lists and numbers."""
    return {
        field.name: _plain(getattr(verdict, field.name)) for field in dataclasses.fields(verdict)
    }


def sections_of(
    verdict: RewardModelVerdict, about: Sequence[tuple[str, str]] = ()
) -> list[Section]:
    """Returns the sections of the page, those that have something to say."""
    facts: list[tuple[str, Any]] = [*about, *shares_of(verdict)]
    found = [
        Section("How often it is right", [Facts(facts), Paragraph(_READING)]),
        Section("How sure it is", list(_calibration(verdict))),
        Section("Where it is right", list(_parts(verdict))),
    ]
    return [section for section in found if section.blocks]


def shares_of(verdict: RewardModelVerdict) -> list[tuple[str, Figure]]:
    """Returns the figures that fit on a screen, with their names."""
    named: list[tuple[str, Interval | None]] = [
        (f"accuracy ({verdict.n_comparisons:,} comparisons)", verdict.accuracy),
        ("two answers about the same texts agree", verdict.agreement),
        ("at most, any model's accuracy is", verdict.ceiling),
        *_named(verdict.best_of_4, "best of 4, by what was preferred"),
        *_named(verdict.gold, "pairs in the order of the known reward"),
        *_named(verdict.gold_best_of_4, "best of 4, by the known reward"),
        (f"rank correlation with {verdict.n_ratings:,} ratings", verdict.rating_correlation),
    ]
    shares = [(name, _figure(one)) for name, one in named if one is not None]
    if verdict.calibration_error is not None:
        shares.append(("calibration error", Figure(verdict.calibration_error, 3)))
    return shares


_READING = (
    "Every figure is of comparisons that the model did not learn from, with its interval of 95 %. "
    "Of four texts a coin would put the best first one time in four."
)


def _named(share: Share | None, name: str) -> list[tuple[str, Interval | None]]:
    return [] if share is None else [(f"{name} ({share.n:,})", share.right)]


def _figure(one: Interval) -> Figure:
    return Figure(one.value, 3, low=one.low, high=one.high)


def _calibration(verdict: RewardModelVerdict) -> Iterator[Block]:
    bins = verdict.calibration
    if not bins:
        return
    sure = [one.predicted for one in bins]
    ends = [sure[0], sure[-1]]
    yield Curves(
        "Calibration",
        "probability that the model gives to its own side",
        "share that is right",
        [
            Series(
                "reward model",
                sure,
                [one.right.value for one in bins],
                [one.right.low for one in bins],
                [one.right.high for one in bins],
                "dots",
            ),
            Series("as sure as right", ends, ends, style="guide"),
        ],
        "Each point is a tenth of the comparisons, from those the model is least sure of to those "
        "it is surest of.",
    )


def _parts(verdict: RewardModelVerdict) -> Iterator[Block]:
    for title, shares, told in (
        (
            "By length",
            verdict.by_length,
            "The comparisons in fifths, by how much longer the preferred text is than the other.",
        ),
        ("By side", verdict.by_side, "The comparisons by where the preferred text was shown."),
    ):
        if shares:
            rows = [(f"{one.name} ({one.n:,})", _figure(one.right)) for one in shares]
            yield Intervals(title, "share that is right", rows, told, mark=0.5)


def _plain(value: Any) -> Any:
    if isinstance(value, Interval | Share | Bin):
        return {name: _plain(part) for name, part in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
