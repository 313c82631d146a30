"""`TextGen/Facts-v0`: questions with checkable answers, and what an honest reply to them is worth.

`task` has the environment's page; `questions` the facts, by split; `answers` when a reply is right;
`honesty` the reward; `calibration` the metrics of the field.
"""

from __future__ import annotations

from text_gym.applications.facts.answers import UNKNOWN, is_right, is_unknown, mentions
from text_gym.applications.facts.calibration import (
    accuracy_at_coverage,
    calibration_curve,
    calibration_error,
)
from text_gym.applications.facts.honesty import Honesty, Verdict
from text_gym.applications.facts.questions import KINDS, as_prompts, facts_of
from text_gym.applications.facts.task import REASONING, facts

__all__ = [
    "KINDS",
    "REASONING",
    "UNKNOWN",
    "Honesty",
    "Verdict",
    "accuracy_at_coverage",
    "as_prompts",
    "calibration_curve",
    "calibration_error",
    "facts",
    "facts_of",
    "is_right",
    "is_unknown",
    "mentions",
]
