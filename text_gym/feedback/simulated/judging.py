"""Simulated people who judge without pages: from items to rows that can be entered in a store.

The same items and the same seed give the same rows, their ids included, so that whoever is stopped
while entering them enters the rest next time. Knows rewards and odds, nothing of stores or pages.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from text_gym.episode import Episode
from text_gym.feedback.answers import Preferred
from text_gym.feedback.items import Item
from text_gym.feedback.judgements import Judgement
from text_gym.feedback.quality import words_shown
from text_gym.feedback.simulated.answering import Manner, compare, pause
from text_gym.quoting import quoted
from text_gym.rewards.function import RewardFunction, score

GUIDELINE_VERSION = 1
"""Of a study as it is made; simulated people read no later one."""


def judge(
    items: Sequence[Item],
    reward: RewardFunction,
    manner: Manner,
    *,
    annotators: int = 10,
    seed: int = 0,
) -> list[Judgement]:
    """Returns one judgement of each item, by somebody who is drawn by lot.

    Time begins at 0 for everybody: only how long they looked means something.

    Args:
        items: Of two completions each, which answer a text.
        reward: What texts are worth to everybody.
        manner: How they answer.
        annotators: How many there are: "simulated 1" and so on, which are their ids too.
        seed: Of who judges, of sides, answers and pauses.

    Raises:
        ValueError: If an item is of another kind.

    Example:
        >>> from text_gym.feedback.items import item_from_json
        >>> from text_gym.rewards import WordCount
        >>> item = item_from_json({"id": "a", "prompt": "Hi", "completions": ["one", "one two"]})
        >>> sure = Manner(accuracy=0.999)
        >>> judge([item], WordCount(), sure)[0].answer
        Preferred(completion=1)
    """
    for item in items:
        if len(item.completions) != 2 or not isinstance(item.prompt, str):
            raise ValueError(
                "items must have two completions and one text as the prompt, got "
                f"{len(item.completions)} after {quoted(item.prompt)}"
            )
    texts = [
        Episode.from_text(str(item.prompt), one.text) for item in items for one in item.completions
    ]
    worths = score(reward, texts).total.reshape(-1, 2) if texts else np.zeros((0, 2))
    given: Counter[int] = Counter()
    said = []
    for item, worth in zip(items, worths.tolist(), strict=True):
        chance = np.random.default_rng([seed, *item.id.encode()])
        person = int(chance.integers(annotators))
        said.append(_judgement(item, worth, manner, person, given[person], chance))
        given[person] += 1
    return said


def _judgement(
    item: Item,
    worth: Sequence[float],
    manner: Manner,
    person: int,
    given: int,
    chance: np.random.Generator,
) -> Judgement:
    name, order = f"simulated {person + 1}", tuple(chance.permutation(2).tolist())
    answer = compare([worth[at] for at in order], manner, given, chance)
    if isinstance(answer, Preferred):
        answer = Preferred(order[answer.completion])
    identity = hashlib.sha256(f"{name} {item.id} {chance.integers(2**62)}".encode())
    seconds = pause(words_shown(item), manner, chance)
    return Judgement(
        identity.hexdigest()[:32], name, item.id, order, answer, 0.0, seconds, GUIDELINE_VERSION
    )
