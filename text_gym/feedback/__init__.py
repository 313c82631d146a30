"""Human feedback: collected on a page, kept row by row.

    items        what is judged: prompts, completions, where they come from
    annotators   who judges: pseudonyms, roles, weights
    judgements   what they said: rows that are never changed
    store        the SQLite file that keeps all three
    study        the folder of a study, and its settings
    human_feedback   a reward that waits for people
    human_partner    a partner in conversations who is a person

A study is made, served and exported by `python -m text_gym.feedback`. Needs no torch; the pages
need the extra `feedback`. Never imports `agents`.
"""

from text_gym.feedback.annotators import Annotator, Event
from text_gym.feedback.answers import (
    Answer,
    BothBad,
    Correction,
    Places,
    Preferred,
    Ratings,
    Skip,
    Tie,
    answer_from_json,
    answer_to_json,
)
from text_gym.feedback.config import QualityRules, Scale, StudyConfig
from text_gym.feedback.human_feedback import HumanFeedback
from text_gym.feedback.human_partner import HumanPartner
from text_gym.feedback.items import Completion, Item, Turn, read_items
from text_gym.feedback.judgements import Judgement
from text_gym.feedback.store import Store
from text_gym.feedback.study import Study, create_study, open_study

__all__ = [
    "Annotator",
    "Answer",
    "BothBad",
    "Completion",
    "Correction",
    "Event",
    "HumanFeedback",
    "HumanPartner",
    "Item",
    "Judgement",
    "Places",
    "Preferred",
    "QualityRules",
    "Ratings",
    "Scale",
    "Skip",
    "Store",
    "Study",
    "StudyConfig",
    "Tie",
    "Turn",
    "answer_from_json",
    "answer_to_json",
    "create_study",
    "open_study",
    "read_items",
]
