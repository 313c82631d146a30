"""Haiku and couplets, whose form a pronouncing dictionary can check."""

from __future__ import annotations

from text_gym.applications.verse.constraint import KeepForm
from text_gym.applications.verse.form import COUPLET, FORMS, HAIKU, Form, keeps, shares
from text_gym.applications.verse.reward import KeepsForm
from text_gym.applications.verse.subjects import Split, split_of, subjects
from text_gym.applications.verse.task import verse

__all__ = [
    "COUPLET",
    "FORMS",
    "HAIKU",
    "Form",
    "KeepForm",
    "KeepsForm",
    "Split",
    "keeps",
    "shares",
    "split_of",
    "subjects",
    "verse",
]
