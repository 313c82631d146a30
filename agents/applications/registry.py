"""The applications that come with the package, and what runs may name because of them."""

from __future__ import annotations

from collections import ChainMap

from agents.applications.calculator.application import CALCULATOR
from agents.applications.conversation.application import CONVERSATION
from agents.applications.dialogue import DIALOGUE
from agents.applications.facts.application import FACTS
from agents.applications.film_reviews.application import REVIEWS
from agents.applications.fine_tuning import FineTuning
from agents.applications.toy import TOY
from agents.applications.translation.application import TRANSLATION
from agents.applications.tutorial import TUTORIAL
from agents.applications.verse.application import VERSE

APPLICATIONS = {
    one.name: one
    for one in (
        DIALOGUE,
        CONVERSATION,
        TUTORIAL,
        TOY,
        REVIEWS,
        VERSE,
        TRANSLATION,
        FACTS,
        CALCULATOR,
    )
}

PRESETS: dict[str, tuple[str, FineTuning]] = {
    one.name: (one.description, one.preset) for one in APPLICATIONS.values()
}
"""What `python -m agents.train` can be asked for."""

PROMPTS = ChainMap(*(dict(one.prompts) for one in APPLICATIONS.values()))
REWARDS = ChainMap(*(dict(one.rewards) for one in APPLICATIONS.values()))
LEARNT_REWARDS = ChainMap(*(dict(one.learnt_rewards) for one in APPLICATIONS.values()))
RESPONDERS = ChainMap(*(dict(one.responders) for one in APPLICATIONS.values()))
CONSTRAINTS = ChainMap(*(dict(one.constraints) for one in APPLICATIONS.values()))
MODELS = ChainMap(*(dict(one.models) for one in APPLICATIONS.values()))
POLICIES = ChainMap(*(dict(one.policies) for one in APPLICATIONS.values()))
"""What the options of these names may be, beside paths."""
ORIGINS = ChainMap(*(dict(one.origins) for one in APPLICATIONS.values()))
"""Where models come from, by what `model` may be."""
SOURCES = ChainMap(*(dict(one.sources) for one in APPLICATIONS.values()))
"""Where prompts come from, by what `prompts` may be."""
