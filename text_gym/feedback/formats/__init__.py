"""The files in which feedback leaves a study and comes into one, a module for each format.

| format               | what a row is                             | read again as |
|----------------------|-------------------------------------------|---------------|
| `plain`              | an item, or a judgement, as it is         | `Collected`   |
| `trl-preference`     | two texts of which one was preferred      | preferences   |
| `comparisons`        | what one person said of two texts         |               |
| `trl-unpaired`       | a text, and whether it is good            | labels        |
| `trl-demonstrations` | a text to imitate                         | demonstrations|
| `hh`                 | two transcripts, as in Anthropic's data   | preferences   |
| `label-studio`       | a task of Label Studio, with annotations  | `Collected`   |
| `argilla`            | a record of Argilla, with responses       | `Collected`   |
| `scores`             | a text, its score and its interval        |               |

Every row names the judgements that it was made of. Knows nothing of where a study is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from text_gym.feedback.collected import Collected
from text_gym.feedback.formats import (
    anthropic_hh,
    argilla,
    comparisons,
    label_studio,
    plain,
    trl_demonstrations,
    trl_preference,
    trl_unpaired,
)
from text_gym.feedback.items import Completion, Item, content_hash
from text_gym.feedback.preferences import Preference, demonstrations, labels, preferences

__all__ = ["EXPORTS", "export", "items_of_preferences"]

Export = Callable[[Collected], Iterator[str]]


def _scores(collected: Collected) -> Iterator[str]:
    from text_gym.feedback.formats import scores  # scipy loads longer than all others together

    return scores.write(collected)


EXPORTS: Mapping[str, Export] = {
    "plain": plain.write,
    "trl-preference": lambda collected: trl_preference.write(preferences(collected)),
    "comparisons": comparisons.write,
    "trl-unpaired": lambda collected: trl_unpaired.write(labels(collected)),
    "trl-demonstrations": lambda collected: trl_demonstrations.write(demonstrations(collected)),
    "hh": lambda collected: anthropic_hh.write(preferences(collected)),
    "label-studio": label_studio.write,
    "argilla": argilla.write,
    "scores": _scores,
}


def export(name: str, collected: Collected) -> Iterator[str]:
    """Yields a file in a format, piece by piece.

    Args:
        name: Of the format.
        collected: What is written.

    Raises:
        ValueError: If there is no format of that name, or it cannot hold what was collected.
    """
    if name not in EXPORTS:
        raise ValueError(f"format must be one of {', '.join(EXPORTS)}, got {name!r}")
    return EXPORTS[name](collected)


def items_of_preferences(read: list[Preference]) -> list[Item]:
    """Returns preferences from elsewhere as items to be judged anew; equal ones are one item.

    Which text was chosen stands in the metadata, where no annotator sees it.

    Example:
        >>> items_of_preferences([Preference("The sky is", " blue.", " green.")])[0].metadata
        {'chosen': 0}
    """
    items = {}
    for one in read:
        texts = (Completion(one.chosen), Completion(one.rejected))
        item = Item("-", one.prompt, texts, metadata={"chosen": 0})
        named = replace(item, id=content_hash(item))
        items[named.id] = named
    return list(items.values())
