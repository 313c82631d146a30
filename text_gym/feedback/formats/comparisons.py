"""Every comparison that was made, one a line: JSON lines of `prompt`, `chosen`, `rejected`.

As `agents.reward_model` reads them. Other than in `trl-preference`, nothing is added up: of several
people each has a line, with the annotator's weight, so that how far they agree can be seen from the
file; ties are lines too (`"tie": true`, `chosen` is what was on the left), and `side` says where
`chosen` was shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from text_gym.feedback.collected import Collected, Tally, tally
from text_gym.feedback.formats.json_text import json_lines
from text_gym.feedback.formats.messages import completion_to_json, prompt_to_json


def write(collected: Collected) -> Iterator[str]:
    """Yields the lines of the file."""
    counted = tally(collected)
    return json_lines(_row(counted, at) for at in range(len(counted.judgements)))


def _row(counted: Tally, at: int) -> dict[str, Any]:
    given, judgement = counted.given, counted.judgements[at]
    left, right = (counted.texts[side[at]] for side in (given.left, given.right))
    chosen, rejected = (right, left) if given.outcome[at] < 0 else (left, right)
    return {
        "prompt": prompt_to_json(chosen.prompt),
        "chosen": completion_to_json(chosen.prompt, chosen.completion),
        "rejected": completion_to_json(chosen.prompt, rejected.completion),
        "tie": bool(given.outcome[at] == 0),
        "side": "left" if chosen is left else "right",
        "margin": float(judgement.strength or 0),
        "weight": float(given.weight[at]),
        "judgements": [judgement.id],
    }
