"""All facts as prompts: which kinds there are, and which are for training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain

from text_gym.applications.facts.answers import gives_away
from text_gym.applications.facts.countries import country_facts
from text_gym.applications.facts.elements import element_facts
from text_gym.applications.facts.fact import Fact, Split, require_split, split_of
from text_gym.prompts import Prompt

KINDS = ("capital", "country", "continent", "currency", "language", "symbol", "element", "number")
"""What is asked for: of a country the first five, of an element the others."""


def facts_of(split: Split, kinds: Iterable[str] = KINDS) -> tuple[Fact, ...]:
    """Returns the facts of a split; no country and no element is in both.

    A fact whose question contains its answer is left out, and so is one without an answer.

    Raises:
        ModuleNotFoundError: If the packages with the data are not installed; names the extra.
        ValueError: If there is no such split or kind, or the data is not what it was.
    """
    require_split(split)
    kinds = tuple(kinds)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"kinds must be some of {KINDS}, got {unknown or kinds}")
    return tuple(
        fact for fact in _all_facts() if fact.kind in kinds and split_of(fact.subject) == split
    )


def as_prompts(asked: Sequence[Fact]) -> list[Prompt]:
    """Returns prompts: the question, its usual answer as reference, all of the fact as metadata."""
    return [
        Prompt(
            fact.question,
            fact.answers[0],
            {"answers": list(fact.answers), "kind": fact.kind, "subject": fact.subject},
        )
        for fact in asked
    ]


@cache
def _all_facts() -> tuple[Fact, ...]:
    return tuple(
        fact
        for fact in chain(country_facts(), element_facts())
        if fact.answers and not gives_away(fact.question, fact.answers[0])
    )
