"""The quality rules, applied to the rows of one annotator.

Knows nothing of what follows from a reason; the rules are `text_gym.feedback.quality_rules`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from text_gym.feedback import quality_rules
from text_gym.feedback.answers import Answer, Preferred, Skip, agrees
from text_gym.feedback.config import QualityRules
from text_gym.feedback.items import Item
from text_gym.feedback.judgements import Judgement
from text_gym.feedback.quality_rules import Reason
from text_gym.words import split_words

Side = Literal[-1, 0, 1]


def reasons_to_stop(
    judgements: Sequence[Judgement],
    expected: Mapping[str, Answer],
    words: Callable[[str], int],
    rules: QualityRules,
) -> list[Reason]:
    """Returns why somebody should judge no further; nothing if there is no reason.

    Args:
        judgements: Of one person, in order: work, known answers and repeats, nothing of the
            tutorial and the exam. What was skipped is never held against anybody.
        expected: The answers that are known, by item.
        words: Returns how many words an item shows.
        rules: The limits.
    """
    judgements = [one for one in judgements if not isinstance(one.answer, Skip)]
    latest = judgements[-rules.fast_window :]
    known = [(one, expected[one.item]) for one in judgements if one.item in expected]
    by_id = {one.id: one for one in judgements}
    pairs = [(one, by_id[one.repeats]) for one in judgements if one.repeats in by_id]
    found = (
        quality_rules.too_fast(
            [one.seconds for one in latest],
            [words(one.item) for one in latest],
            least_seconds=rules.least_seconds,
            seconds_per_word=rules.seconds_per_word,
            count=rules.fast_answers,
            window=rules.fast_window,
        ),
        quality_rules.one_side([side(one) for one in judgements], run=rules.same_side_run),
        quality_rules.known_answers(
            [agrees(one.answer, right) for one, right in known],
            least=rules.gold_accuracy,
            confidence=rules.confidence,
        ),
        quality_rules.repeats(
            [agrees(one.answer, earlier.answer) for one, earlier in pairs],
            least=rules.self_agreement,
            confidence=rules.confidence,
        ),
    )
    return [reason for reason in found if reason is not None]


def side(judgement: Judgement) -> Side:
    """Returns 1 if what stood on the left was preferred, −1 for the right, 0 for neither.

    Example:
        >>> side(Judgement("j", "ann", "item", (1, 0), Preferred(1), 0.0, 1.0, 1))
        1
    """
    match judgement.answer:
        case Preferred(completion) if len(judgement.order) == 2:
            return 1 if completion == judgement.order[0] else -1
    return 0


def words_shown(item: Item) -> int:
    """Returns how many words stand on the screen: of the prompt and of all completions."""
    prompt = [item.prompt] if isinstance(item.prompt, str) else [turn.text for turn in item.prompt]
    return sum(
        len(split_words(text)) for text in [*prompt, *(one.text for one in item.completions)]
    )


def explained(reason: Reason) -> str:
    """Returns a reason as a person reads it."""
    match reason.rule:
        case "too fast":
            return f"{reason.value:.0f} answers came faster than the texts can be read."
        case "one side":
            return f"The same side was chosen {reason.value:.0f} times in a row."
        case "known answers":
            return f"Of the texts whose answer is known, {reason.value:.0%} were judged so."
        case "repeats":
            return f"Of the texts that were shown twice, {reason.value:.0%} were judged alike."
    return f"{reason.rule}: {reason.value:.2f}, limit {reason.limit:.2f}."
