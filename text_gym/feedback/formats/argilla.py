"""Comparisons and ratings as Argilla's records: a JSON array, as `Record.to_dict` spells each.

A record has `fields` (`prompt` and `completion_1`, `completion_2`, ...) and `responses` by
question, each with `value` and `user_id`. The question `preference` has the labels `completion_1`,
`completion_2`, `tie`, `both_bad`; each scale is a rating question of its name. What is skipped is
not written. Argilla wants a UUID for a user: it is made of the annotator's id. What Argilla has no
place for stands in `metadata`, as JSON in one text: our item, and the judgements in the order of
the responses.

Sources: https://docs.argilla.io/latest/reference/argilla/records/records, and argilla's
`records/_resource.py`
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from text_gym.feedback.answers import Answer, BothBad, Preferred, Ratings, Skip, Tie
from text_gym.feedback.collected import Collected
from text_gym.feedback.formats.json_text import Row, json_array, read_json_array, require
from text_gym.feedback.formats.messages import prompt_from_json, prompt_to_json
from text_gym.feedback.formats.plain import judgement_from_json, judgement_to_json
from text_gym.feedback.items import Completion, Item, item_from_json, item_to_json
from text_gym.feedback.judgements import Judgement
from text_gym.lines import parse_json
from text_gym.quoting import quoted

PREFERENCE = "preference"
_OURS = "text_gym"
_LABELS: dict[str, Answer] = {
    "completion_1": Preferred(0),
    "completion_2": Preferred(1),
    "tie": Tie(),
    "both_bad": BothBad(),
}


def write(collected: Collected) -> Iterator[str]:
    """Yields the file piece by piece.

    Raises:
        ValueError: If an answer is neither a comparison nor a rating, or one person answered twice.
    """
    judgements: dict[str, dict[str, Judgement]] = defaultdict(dict)
    for one in collected.judgements:
        if isinstance(one.answer, Skip):
            continue
        user = str(uuid5(NAMESPACE_URL, one.annotator))
        if user in judgements[one.item]:
            raise ValueError(
                "a person may answer an item once in this format, "
                f"got a second answer {quoted(one.id)}"
            )
        judgements[one.item][user] = one
    return json_array(_record(item, judgements[item.id]) for item in collected.items)


def read(path: Path) -> Collected:
    """Reads a file, our own or one that Argilla wrote with `records.to_json`.

    Raises:
        OSError: If there is no such file.
        ValueError: If a record is not as said; names its place, the field and the value.
    """
    records = read_json_array(path, _parsed)
    return Collected([item for item, _ in records], [one for _, said in records for one in said])


def _record(item: Item, judgements: dict[str, Judgement]) -> dict[str, Any]:
    prompt = {"prompt": prompt_to_json(item.prompt)}
    texts = {f"completion_{at}": one.text for at, one in enumerate(item.completions, 1)}
    responses = defaultdict(list)
    for user, one in judgements.items():
        for question, value in _responses(one.answer):
            responses[question].append({"value": value, "user_id": user})
    ours = {
        "item": item_to_json(item),
        "judgements": [judgement_to_json(one) for one in judgements.values()],
    }
    return {
        "id": item.id,
        "fields": prompt | texts,
        "metadata": {_OURS: json.dumps(ours, ensure_ascii=False)},
        "suggestions": {},
        "responses": responses,
        "vectors": {},
    }


def _responses(answer: Answer) -> Iterator[tuple[str, Any]]:
    if isinstance(answer, Ratings):
        yield from answer.ratings.items()
        return
    labels = [label for label, meant in _LABELS.items() if meant == answer]
    if not labels:
        raise ValueError(
            f"answers must be comparisons or ratings in this format, got {quoted(answer)}"
        )
    yield PREFERENCE, labels[0]


def _parsed(record: Row) -> tuple[Item, list[Judgement]]:
    fields = require(record, "fields", dict)
    ours = parse_json(require(require(record, "metadata", dict, {}), _OURS, str, "{}"))
    item = item_from_json(ours["item"]) if "item" in ours else _item(record, fields)
    rows = [judgement_from_json(one) for one in ours.get("judgements", [])]
    known = {str(uuid5(NAMESPACE_URL, one.annotator)): one for one in rows}
    answers = _answers(require(record, "responses", dict, {}))
    return item, [
        replace(known[user], answer=answer) if user in known else _foreign(item, user, answer)
        for user, answer in answers.items()
    ]


def _item(record: Row, fields: Row) -> Item:
    """Returns the item of a record from elsewhere: its texts are all fields but the prompt."""
    names = [name for name in fields if name != "prompt"]
    texts = tuple(Completion(require(fields, name, str)) for name in names)
    return Item(f"argilla-{record.get('id')}", prompt_from_json(fields), texts)


def _answers(responses: Row) -> dict[str, Answer]:
    """Returns what each user said."""
    said: dict[str, dict[str, Any]] = defaultdict(dict)
    for question in responses:
        for response in require(responses, question, list):
            said[require(response, "user_id", str)][question] = response.get("value")
    return {user: _answer(values) for user, values in said.items()}


def _answer(values: dict[str, Any]) -> Answer:
    if PREFERENCE in values:
        label = values[PREFERENCE]
        if label not in _LABELS:
            raise ValueError(f"{PREFERENCE} must be of {', '.join(_LABELS)}, got {quoted(label)}")
        return _LABELS[label]
    return Ratings({name: require(values, name, int) for name in values})


def _foreign(item: Item, user: str, answer: Answer) -> Judgement:
    """Returns a judgement of which Argilla does not say when it was made, and with which sides."""
    order = tuple(range(len(item.completions)))
    return Judgement(f"{item.id}-{user}", user, item.id, order, answer, 0.0, 0.0, 1)
