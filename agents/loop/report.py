"""The report of a loop: what each round made of the model, and what it was made of.

Knows evaluations and manifests as they were written, and no models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.loop.manifest import Manifest
from agents.reports import Figure, Paragraph, Section, SideBySide, Table, Written
from agents.reports.tables import Cell

SHOWN = 20
"""Prompts whose replies are shown."""
_DIGITS = 12
"""Of a hash."""
_GOLD = (
    "Gold is the reward that the simulated annotators like, the proxy what was learnt from their "
    "judgements. Where the proxy rises and gold does not, the policy has found what the proxy is "
    "wrong about."
)
_NO_GOLD = (
    "People judged, so there is no known reward: the proxy, which was learnt from their "
    "judgements, says how good the replies are. A policy that was trained on it has looked for its "
    "mistakes; let people compare the models before you trust these figures."
)


def sections(
    evaluations: Sequence[Mapping[str, Any]], manifests: Sequence[tuple[int, Manifest]]
) -> list[Section]:
    """Returns the sections of a report.

    Args:
        evaluations: Of each round, as `evaluate_models` returns them.
        manifests: Of each stage, with the number of its round.
    """
    known = "gold" in evaluations[0]
    return [
        Section(
            "What each round reached",
            [Paragraph(_GOLD if known else _NO_GOLD), _reached(evaluations)],
        ),
        Section("Replies to the same prompts", [_replies(evaluations)]),
        Section("What each stage was made of", [_traced(manifests)]),
    ]


def _reached(evaluations: Sequence[Mapping[str, Any]]) -> Table:
    rows: list[list[Cell]] = [
        [f"Round {number}, {name}", *_figures(one[name])]
        for number, one in enumerate(evaluations, 1)
        for name in one
        if name != "replies"
    ]
    headings = ["", "wins over the base", "reward, base", "reward, tuned", "KL (nats)", "tokens"]
    return Table(headings, rows, "Held-out prompts; a tie is half a win; 95 % intervals.")


def _figures(one: Mapping[str, Any]) -> list[Figure]:
    rate, base, tuned = one["win_rate"], one["base"], one["tuned"]
    return [
        Figure(rate["value"], 3, low=rate["low"], high=rate["high"]),
        Figure(base["reward"], 3, base["reward_half_width"]),
        Figure(tuned["reward"], 3, tuned["reward_half_width"]),
        Figure(tuned["kl"], 2, tuned["kl_half_width"]),
        Figure(tuned["length"], 1, tuned["length_half_width"]),
    ]


def _replies(evaluations: Sequence[Mapping[str, Any]]) -> SideBySide:
    rounds = [one["replies"][:SHOWN] for one in evaluations]
    prompts = [reply["prompt"] for reply in rounds[0]]
    written = [
        [Written("base", rounds[0][at]["base"])]
        + [Written(f"round {n}", replies[at]["tuned"]) for n, replies in enumerate(rounds, 1)]
        for at in range(len(prompts))
    ]
    return SideBySide(prompts, written)


def _traced(manifests: Sequence[tuple[int, Manifest]]) -> Table:
    rows: list[list[Cell]] = [
        [f"Round {number}, {one.stage}", _hashes(one.inputs), _hashes(one.outputs), _told(one)]
        for number, one in manifests
    ]
    caption = "First digits of SHA-256; whole ones stand in the stage.json of each stage."
    return Table(["", "read", "wrote", "was told"], rows, caption)


def _hashes(digests: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {digest[:_DIGITS]}" for name, digest in digests.items())


def _told(manifest: Manifest) -> str:
    plain = {k: v for k, v in manifest.settings.items() if not isinstance(v, Mapping)}
    return ", ".join(f"{name} {value}" for name, value in plain.items())
