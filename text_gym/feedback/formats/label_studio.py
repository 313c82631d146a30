"""Comparisons as Label Studio exports them: a JSON array of tasks with their annotations.

A task's `data` has `prompt`, `answer1` and `answer2`, as in Label Studio's template for
preferences; an annotation's result is of type `pairwise` and names the selected side, `left` for
the first answer. That tag has no tie, so "tie", "both bad" and "skip" are a result of type
`choices`. A reason is a result of type `textarea`.

What Label Studio has no place for (which side was drawn, guidelines, repeats) stands in `meta`,
which it keeps; the answer itself is read from the result, so that what was changed there counts.
Conversations are written as messages, which the tag `Paragraphs` shows.

Sources: https://labelstud.io/tags/pairwise.html, https://labelstud.io/guide/export
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from text_gym.feedback.answers import Answer, BothBad, Preferred, Skip, Tie
from text_gym.feedback.collected import Collected
from text_gym.feedback.formats.json_text import Row, json_array, read_json_array, require
from text_gym.feedback.formats.messages import prompt_from_json, prompt_to_json
from text_gym.feedback.formats.plain import judgement_from_json, judgement_to_json
from text_gym.feedback.items import Completion, Item, item_from_json, item_to_json
from text_gym.feedback.judgements import Judgement
from text_gym.quoting import quoted

CHOICES: dict[str, Answer] = {"tie": Tie(), "both bad": BothBad(), "skip": Skip()}
_SIDES = {"left": 0, "right": 1, "answer1": 0, "answer2": 1}

LABEL_CONFIG = """<View>
  <Text name="prompt" value="$prompt"/>
  <Pairwise name="comparison" toName="answer1,answer2"/>
  <Text name="answer1" value="$answer1"/>
  <Text name="answer2" value="$answer2"/>
  <Choices name="verdict" toName="prompt">
    <Choice value="tie"/><Choice value="both bad"/><Choice value="skip"/>
  </Choices>
  <TextArea name="reason" toName="prompt"/>
</View>
"""
"""What a Label Studio project needs to show these tasks and to give these answers."""


def write(collected: Collected) -> Iterator[str]:
    """Yields the file piece by piece.

    Raises:
        ValueError: If an item does not have two completions.
    """
    judgements = defaultdict(list)
    for judgement in collected.judgements:
        judgements[judgement.item].append(judgement)
    return json_array(
        _task(number, item, judgements[item.id]) for number, item in enumerate(collected.items, 1)
    )


def read(path: Path) -> Collected:
    """Reads a file, our own or one that Label Studio exported.

    Raises:
        OSError: If there is no such file.
        ValueError: If a task is not as said; names its place, the field and the value.
    """
    tasks = read_json_array(path, _parsed)
    return Collected([item for item, _ in tasks], [one for _, said in tasks for one in said])


def _task(number: int, item: Item, judgements: list[Judgement]) -> dict[str, Any]:
    if len(item.completions) != 2:
        raise ValueError(
            f"items must have 2 completions in this format, got {len(item.completions)} "
            f"of {quoted(item.id)}"
        )
    first, second = item.completions
    return {
        "id": number,
        "data": {
            "prompt": prompt_to_json(item.prompt), "answer1": first.text, "answer2": second.text
        },
        "meta": {"item": item_to_json(item)},
        "annotations": [_annotation(at, one) for at, one in enumerate(judgements, 1)],
    }  # fmt: skip


def _annotation(number: int, one: Judgement) -> dict[str, Any]:
    return {
        "id": number,
        "created_at": datetime.fromtimestamp(one.answered_at, UTC).isoformat(),
        "lead_time": one.seconds,
        "result": [*_results(one)],
        "meta": {"judgement": judgement_to_json(one)},
    }


def _results(one: Judgement) -> Iterator[dict[str, Any]]:
    match one.answer:
        case Preferred(completion):
            side = ("left", "right")[completion]
            yield _result("comparison", "answer1,answer2", "pairwise", {"selected": side})
        case _:
            names = [name for name, answer in CHOICES.items() if answer == one.answer]
            if not names:
                raise ValueError(f"answers must be comparisons in this format, got {one.answer}")
            yield _result("verdict", "prompt", "choices", {"choices": names})
    if one.reason:
        yield _result("reason", "prompt", "textarea", {"text": [one.reason]})


def _result(name: str, about: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": about, "type": kind, "value": value}


def _parsed(task: Row) -> tuple[Item, list[Judgement]]:
    data = require(task, "data", dict)
    texts = tuple(Completion(require(data, name, str)) for name in ("answer1", "answer2"))
    ours = require(task, "meta", dict, {}).get("item")
    name = f"label-studio-{task.get('id')}"
    item = Item(name, prompt_from_json(data), texts) if ours is None else item_from_json(ours)
    annotations = require(task, "annotations", list, [])
    judged = [_judgement(item, annotation) for annotation in annotations]
    return item, [one for one in judged if one is not None]


def _judgement(item: Item, annotation: Row) -> Judgement | None:
    """Returns the judgement of an annotation; None if it was cancelled or says nothing."""
    results = require(annotation, "result", list)
    answer = _answer(results)
    if answer is None or annotation.get("was_cancelled"):
        return None
    reason = " ".join(_values(results, "textarea", "text"))
    ours = require(annotation, "meta", dict, {}).get("judgement")
    if ours is not None:
        return replace(judgement_from_json(ours), answer=answer, reason=reason)
    answered = datetime.fromisoformat(require(annotation, "created_at", str)).timestamp()
    return Judgement(
        id=f"{item.id}-{annotation.get('id')}",
        annotator=f"label-studio-{annotation.get('completed_by', 0)}",
        item=item.id,
        order=(0, 1),
        answer=answer,
        shown_at=answered - require(annotation, "lead_time", float, 0.0),
        answered_at=answered,
        guideline_version=1,
        reason=reason,
    )


def _answer(results: list[Any]) -> Answer | None:
    for side in _values(results, "pairwise", "selected"):
        if side not in _SIDES:
            raise ValueError(f"selected must be left or right, got {quoted(side)}")
        return Preferred(_SIDES[side])
    for choice in _values(results, "choices", "choices"):
        if choice not in CHOICES:
            raise ValueError(f"choices must be of {', '.join(CHOICES)}, got {quoted(choice)}")
        return CHOICES[choice]
    return None


def _values(results: list[Any], kind: str, field: str) -> Iterator[str]:
    for result in results:
        if isinstance(result, dict) and result.get("type") == kind:
            value = require(result, "value", dict).get(field)
            yield from value if isinstance(value, list) else [str(value)]
