"""What an inspection found, as sections of a report.

Knows what was found and how it is told; not how it came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from agents.inspection.credit import MEANINGS
from agents.inspection.explained_gain import Explanation
from agents.inspection.token_block import Reply, TokensInColour
from agents.inspection.wording import FEWEST, Shift
from agents.reports import Block, Curves, Figure, Intervals, Paragraph, Section, Series, Table

MOST = 15
"""Rows on either side of a table."""


class TokenShift(NamedTuple):
    """Says how much oftener a token is expected in a reply.

    Attributes:
        text: What it writes.
        before: Expected in a reply, by the reference.
        more: Beyond that, by the policy.
        half_width: Half of its interval.
    """

    text: str
    before: float
    more: float
    half_width: float


def token_section(replies: Sequence[Reply]) -> Section:
    """Returns replies with their tokens in colour."""
    names = replies[0].numbers if replies else {}
    meanings = {name: meaning for name, meaning in MEANINGS.items() if name in names}
    told = Paragraph(
        "Replies of the tuned policy. Orange is below zero, blue above; point at a token, or reach "
        "it with the tab key, for its numbers."
    )
    return Section("Token by token", [told, TokensInColour(meanings, replies)])


def wording_section(shifts: Sequence[Shift], n_before: int, n_after: int) -> Section:
    """Returns the phrases that are had more often and less often than before."""
    certain = [one for one in shifts if one.is_certain]
    told = Paragraph(
        f"{len(shifts):,} words and phrases that {FEWEST} replies or more have were compared; "
        f"{len(certain):,} are certain to have shifted. Log-odds of a reply having the phrase, "
        "after less before, with an informative prior; the intervals hold for all together (95 %)."
    )
    rising = [one for one in reversed(certain) if one.log_odds > 0][:MOST]
    falling = [one for one in certain if one.log_odds < 0][:MOST]
    tables = [
        Table(
            (heading, "before", "after", "log-odds"),
            [
                (
                    one.phrase,
                    Figure(100 * one.before / n_before, 1, unit=" %"),
                    Figure(100 * one.after / n_after, 1, unit=" %"),
                    Figure(one.log_odds, 2, one.half_width),
                )
                for one in found
            ],
        )
        for heading, found in (("more often", rising), ("less often", falling))
        if found
    ]
    return Section("Words and phrases", [told, *tables])


def shift_section(shifts: Sequence[TokenShift]) -> Section:
    """Returns tokens that are certainly likelier than before, or less likely.

    Args:
        shifts: From the largest rise to the largest fall.
    """
    told = Paragraph(
        "How often the reference expects a token in a reply of the tuned policy, and how much more "
        "or less often the policy does at the same places. Expectations, not draws; the intervals "
        "hold for all tokens of the vocabulary together (95 %)."
    )
    rising = [one for one in shifts if one.more > 0][:MOST]
    falling = [one for one in reversed(shifts) if one.more < 0][:MOST]
    tables = [
        Table(
            (heading, "before", "difference"),
            [
                (one.text, Figure(one.before, 3), Figure(one.more, 3, one.half_width))
                for one in found
            ],
        )
        for heading, found in (("likelier token", rising), ("less likely token", falling))
        if found
    ]
    return Section("Tokens", [told, *tables])


def gain_section(explanation: Explanation) -> Section:
    """Returns what the gain in reward went along with."""
    told = Paragraph(
        "The gain in reward of the same prompts, divided by a regression on what changed in their "
        "replies (differences on differences; the phrases were chosen on the other half of the "
        f"prompts). What changed explains {100 * explanation.r_squared:.0f} % of the variance "
        "between prompts. It went along with the gain; whether it caused it is not said."
    )
    gain = Figure(explanation.gain, 3)
    rows = [(one.name, Figure(one.carried, 3, one.half_width)) for one in explanation.parts] + [
        ("none of these", Figure(explanation.rest, 3, explanation.rest_half_width))
    ]
    plot = Intervals(
        "What the gain went along with",
        "reward",
        rows,
        f"Parts of the mean gain of {gain}, with 95 % intervals; they add up to it.",
        mark=0.0,
    )
    table = Table(
        ("what changed", "mean change", "reward per unit", "part of the gain"),
        [
            (
                one.name,
                Figure(one.change, 3),
                Figure(one.slope, 3),
                Figure(one.carried, 3, one.half_width),
            )
            for one in explanation.parts
        ]
        + [("none of these", None, None, Figure(explanation.rest, 3, explanation.rest_half_width))]
        + [("all", None, None, gain)],
    )
    return Section("What the reward went up with", [told, plot, table])


def monitor_section(seen: Mapping[str, Any]) -> Section:
    """Returns what a monitor saw during training, as its file holds it."""
    looks, name, parted = seen["looks"], seen["measure"], seen["parted_at_update"]
    told = Paragraph(
        f"The best moment by {name} was after update {seen['best_update']}. "
        + (
            "Reward and measure were not seen to part."
            if parted is None
            else f"From update {parted} on, reward and measure part: what is paid rises, and what "
            "it is worth by the second measure falls."
        )
    )
    plots: list[Block] = [
        _curve(looks, "proxy", "reward", "The reward of held-out replies during training."),
        _curve(looks, "measure", name, f"The {name} of the same replies."),
    ]
    return Section("The monitor", [told, *plots])


def _curve(looks: Sequence[Mapping[str, float]], key: str, name: str, told: str) -> Curves:
    x = [float(look["updates"]) for look in looks]
    y = [look[key] for look in looks]
    halves = [look[f"{key}_half_width"] for look in looks]
    low = [value - half for value, half in zip(y, halves, strict=True)]
    high = [value + half for value, half in zip(y, halves, strict=True)]
    return Curves(name, "updates", name, [Series(name, x, y, low, high, "dotted line")], told)
