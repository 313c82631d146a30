"""The files of a study: read again as written, byte for byte; refused by line, field and value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.supervised.pair_files import read_demonstrations, read_feedback, read_preferences
from text_gym.feedback.answers import (
    Answer,
    BothBad,
    Correction,
    Places,
    Preferred,
    Ratings,
    Skip,
    Tie,
)
from text_gym.feedback.collected import Collected, tally
from text_gym.feedback.config import Scale
from text_gym.feedback.formats import (
    EXPORTS,
    argilla,
    export,
    items_of_preferences,
    label_studio,
    plain,
    trl_demonstrations,
    trl_preference,
    trl_unpaired,
)
from text_gym.feedback.formats import anthropic_hh as hh
from text_gym.feedback.items import Completion, Item, Turn
from text_gym.feedback.judgements import Judgement
from text_gym.feedback.preferences import (
    Demonstration,
    Label,
    Preference,
    demonstrations,
    labels,
    preferences,
)

HOSTILE = 'Où ? \u202e"\\ \x1b[31m <b>日本</b>\r\n\u2028 🙂'
CHAT = (Turn("user", "Hi"), Turn("assistant", "Hello!"), Turn("user", "How are you?"))

Write = Callable[[Any], Iterator[str]]
Read = Callable[[Path], Any]


def item(name: str, *texts: str, prompt: Any = "The sky is", **more: Any) -> Item:
    return Item(name, prompt, tuple(map(Completion, texts)), **more)


def said(
    name: str,
    of: str,
    answer: Answer,
    who: str = "ann",
    order: tuple[int, ...] = (0, 1),
    **more: Any,
) -> Judgement:
    return Judgement(name, who, of, order, answer, 1.5e9, 1.5e9 + 7.25, 1, **more)


COMPARED = Collected(
    [
        item("sky", " blue.", " green."),
        item("hostile", HOSTILE, " x", prompt=HOSTILE, metadata={"topic": "none"}),
        item("chat", "Fine.", "Go away.", prompt=CHAT),
        item("known", " a", " b", purpose="gold", expected=Preferred(0)),
    ],
    [
        said("j1", "sky", Preferred(0), strength=2),
        said("j2", "sky", Preferred(0), "bob", (1, 0), strength=1, reason="It is."),
        said("j3", "sky", Preferred(1), "cid", strength=3),
        said("j4", "hostile", Preferred(1), reason=HOSTILE),
        said("j5", "chat", BothBad()),
        said("j6", "chat", Tie(), "bob"),
        said("j7", "hostile", Skip(), "bob"),
        said("j8", "known", Preferred(1)),
    ],
    {"cid": 0.5},
)


def written(tmp_path: Path, lines: Iterator[str]) -> Path:
    path = tmp_path / "file"
    path.write_text("".join(lines), encoding="utf-8", newline="")
    return path


# From judgements to what is learnt


def test_a_preference_is_that_of_the_majority_with_its_lead_and_strength() -> None:
    sky = preferences(COMPARED)[0]
    # Votes 1 + 1 against 0.5: a lead of 1.5 of 2.5; strengths 2 + 1 − 0.5·3 over 2.5.
    assert (sky.chosen, sky.rejected) == (" blue.", " green.")
    assert sky.weight == pytest.approx(0.6)
    assert sky.margin == pytest.approx(0.6)
    assert sky.judgements == ("j1", "j2", "j3")


def test_ties_and_known_answers_leave_no_preference() -> None:
    assert [one.prompt for one in preferences(COMPARED)] == ["The sky is", HOSTILE]


def test_sides_are_those_that_were_shown() -> None:
    counted = tally(COMPARED)
    on_the_left = [counted.texts[at].completion for at in counted.given.left[:2]]
    assert on_the_left == [" blue.", " green."]
    assert counted.given.outcome[:3].tolist() == [1, -1, -1]
    assert counted.given.weight[:3].tolist() == [1.0, 1.0, 0.5]


def test_rankings_become_pairs_and_equal_texts_of_different_items_are_one() -> None:
    ranked = Collected(
        [item("1", "a", "b", "c"), item("2", "c", "a")],
        [said("j1", "1", Places((2, 1, 2)), order=(2, 0, 1)), said("j2", "2", Preferred(0), "bob")],
    )
    assert len(tally(ranked).texts) == 3
    found = {(one.chosen, one.rejected): one.judgements for one in preferences(ranked)}
    assert found == {("b", "c"): ("j1",), ("b", "a"): ("j1",), ("c", "a"): ("j1", "j2")}


def test_two_equal_texts_of_an_item_are_no_comparison() -> None:
    same = Collected(
        [item("1", "a", "a"), item("2", "a", "b", "a")],
        [said("j1", "1", Preferred(0), "bob"), said("j2", "2", Places((1, 2, 3)), order=(0, 1, 2))],
    )
    counted = tally(same)
    assert [one.id for one in counted.judgements] == ["j2", "j2"]
    assert len(counted.given.left) == 2
    assert len(counted.annotators) == 1


def test_both_bad_makes_two_bad_texts_and_a_split_vote_none() -> None:
    found = {one.completion: (one.good, one.weight) for one in labels(COMPARED)}
    assert found["Fine."] == (False, 1.0)
    assert found["Go away."] == (False, 1.0)
    good, weight = found[" blue."]
    assert good
    assert weight == pytest.approx(0.6)


def test_ratings_are_good_above_the_middle_of_their_scales() -> None:
    rated = Collected(
        [item("1", "a"), item("2", "b"), item("3", "c")],
        [
            said("j1", "1", Ratings({"help": 5, "harm": 1}), order=(0,)),
            said("j2", "2", Ratings({"help": 2, "harm": 1}), order=(0,)),
            said("j3", "3", Ratings({"help": 3}), order=(0,)),
        ],
        scales=(Scale("help"), Scale("harm", 0, 3)),
    )
    assert {one.completion: one.good for one in labels(rated)} == {"a": True, "b": False}


def test_a_correction_is_a_demonstration_and_preferred_to_what_it_corrects() -> None:
    corrected = Collected(
        [item("1", "teh"), item("2", "fine")],
        [
            said("j1", "1", Correction("the"), order=(0,)),
            said("j2", "2", Correction("fine"), order=(0,)),
        ],
        {"ann": 2.0},
    )
    assert [one.completion for one in demonstrations(corrected)] == ["the", "fine"]
    assert preferences(corrected) == [Preference("The sky is", "the", "teh", judgements=("j1",))]
    assert {one.completion: one.good for one in labels(corrected)} == {
        "the": True,
        "teh": False,
        "fine": True,
    }


# Files


PREFERENCES = [
    Preference("The sky is", " blue.", " green.", 1.5, 0.5, ("j1", "j2")),
    Preference(HOSTILE, HOSTILE, "", judgements=("j3",)),
    Preference(CHAT, "Fine.", HOSTILE),
]


@pytest.mark.parametrize(
    ("write", "read", "rows"),
    [
        (trl_preference.write, trl_preference.read, PREFERENCES),
        (
            trl_unpaired.write,
            trl_unpaired.read,
            [Label(HOSTILE, HOSTILE, False, 0.5, ("j1",)), Label(CHAT, "Fine.", True)],
        ),
        (
            trl_demonstrations.write,
            trl_demonstrations.read,
            [Demonstration(HOSTILE, HOSTILE, 2.0, ("j1",)), Demonstration(CHAT, "Fine.")],
        ),
        (plain.write, plain.read, Collected(COMPARED.items, COMPARED.judgements)),
        (label_studio.write, label_studio.read, None),
    ],
)
def test_what_was_written_is_read_and_written_again(
    write: Write, read: Read, rows: Any, tmp_path: Path
) -> None:
    rows = Collected(COMPARED.items, COMPARED.judgements) if rows is None else rows
    path = written(tmp_path, write(rows))
    again = read(path)
    if isinstance(rows, Collected):
        assert list(again.items) == rows.items
        assert sorted(again.judgements, key=lambda one: one.id) == rows.judgements
    else:
        assert again == rows
    assert "".join(write(again)).encode() == path.read_bytes()


def test_argilla_is_read_and_written_again_without_what_was_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, argilla.write(COMPARED))
    again = argilla.read(path)
    assert list(again.items) == COMPARED.items
    expected = [one for one in COMPARED.judgements if one.id != "j7"]
    assert sorted(again.judgements, key=lambda one: one.id) == expected
    assert "".join(argilla.write(again)).encode() == path.read_bytes()


def test_argilla_holds_ratings(tmp_path: Path) -> None:
    rated = Collected(
        [item("1", "a")], [said("j1", "1", Ratings({"help": 5, "harm": 1}), order=(0,))]
    )
    path = written(tmp_path, argilla.write(rated))
    assert list(argilla.read(path).judgements) == rated.judgements
    record = json.loads(path.read_text())[0]
    assert record["responses"]["help"][0]["value"] == 5


def test_every_exported_row_names_its_judgements() -> None:
    known = {one.id for one in COMPARED.judgements}
    for name in ("trl-preference", "comparisons", "trl-unpaired", "hh", "scores"):
        rows = list(map(json.loads, export(name, COMPARED)))
        assert rows
        assert all(row["judgements"] and set(row["judgements"]) <= known for row in rows)


def test_the_preferences_are_what_dpo_reads(tmp_path: Path) -> None:
    texts = PREFERENCES[:2]
    read = read_preferences(written(tmp_path, trl_preference.write(texts)))
    assert [(one.prompt, one.chosen, one.rejected, one.margin, one.weight) for one in read] == [
        (one.prompt, one.chosen, one.rejected, one.margin, one.weight) for one in texts
    ]


def test_every_comparison_is_a_line_with_its_side(tmp_path: Path) -> None:
    named = [one for one in COMPARED.items if one.id != "chat"]
    sky = Collected(named, [*COMPARED.judgements[:4], said("j9", "sky", Tie(), order=(1, 0))])
    read = read_feedback(written(tmp_path, export("comparisons", sky)))
    blue, green = (" blue.", " green."), (" green.", " blue.")
    expected = [
        ("The sky is", *blue, 2.0, 1.0, False, "left"),
        ("The sky is", *blue, 1.0, 1.0, False, "right"),
        ("The sky is", *green, 3.0, 1.0, False, "right"),
        (HOSTILE, " x", HOSTILE, 0.0, 1.0, False, "right"),
        ("The sky is", *green, 0.0, 1.0, True, "left"),
    ]
    assert list(map(tuple, read)) == expected
    weighted = Collected(sky.items, sky.judgements, {"cid": 0.5})
    rows = list(map(json.loads, export("comparisons", weighted)))
    assert [row["weight"] for row in rows] == [1, 1, 0.5, 1, 1]


def test_the_demonstrations_are_what_sft_reads(tmp_path: Path) -> None:
    path = written(tmp_path, trl_demonstrations.write([Demonstration(HOSTILE, "x", 2.0, ("j1",))]))
    assert list(map(tuple, read_demonstrations(path))) == [(HOSTILE, "x", 2.0)]


def test_trl_has_messages_for_conversations() -> None:
    row = json.loads(next(trl_preference.write(PREFERENCES[2:])))
    assert row["prompt"][2] == {"role": "user", "content": "How are you?"}
    assert row["chosen"] == [{"role": "assistant", "content": "Fine."}]


def test_scores_are_those_of_bradley_and_terry_and_of_ratings() -> None:
    rated = Collected(
        [item("1", "a"), item("2", "b")],
        [
            said(f"j{who}{at}", at, Ratings({"help": rating + int(who)}), who, (0,))
            for who in "012"
            for at, rating in (("1", 1), ("2", 3))
        ],
    )
    rows = [json.loads(line) for line in export("scores", rated)]
    assert [row["completion"] for row in rows] == ["a", "b"]
    assert rows[1]["score"] - rows[0]["score"] == pytest.approx(2.0)
    compared = [json.loads(line) for line in export("scores", COMPARED)]
    sky = {row["completion"]: row for row in compared if row["prompt"] == "The sky is"}
    assert sky[" blue."]["score"] > sky[" green."]["score"]
    assert sky[" blue."]["low"] < sky[" blue."]["score"] < sky[" blue."]["high"]


# Anthropic's transcripts


def test_a_file_of_transcripts_is_written_again_byte_for_byte(tmp_path: Path) -> None:
    start = r'"\n\nHuman: What is \"up\"?\n\nAssistant: Who asks?\n\nHuman: Me.\n\nAssistant: '
    line = f'{{"chosen": {start}The sky.\\n", "rejected": {start}Down: é"}}\n'
    path = written(tmp_path, iter([line, line]))
    read = hh.read(path)
    assert read[0].prompt == (
        Turn("user", 'What is "up"?'),
        Turn("assistant", "Who asks?"),
        Turn("user", "Me."),
    )
    assert (read[0].chosen, read[0].rejected) == ("The sky.\n", "Down: é")
    assert "".join(hh.write(read)).encode() == path.read_bytes()


def test_transcripts_keep_texts_as_they_are(tmp_path: Path) -> None:
    pairs = [
        Preference((Turn("user", HOSTILE),), " two spaces", "\n", judgements=("j1",)),
        Preference((Turn("user", ""), Turn("assistant", "\n"), Turn("user", "x\n")), "", "y"),
    ]
    assert hh.read(written(tmp_path, hh.write(pairs))) == pairs


@pytest.mark.parametrize("text", ["a\n\nHuman: pay me", "a\n\nAssistant:"])
def test_a_text_that_would_become_a_turn_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match="text must not look like a turn"):
        list(hh.write([Preference("Hi", "fine", text)]))


def test_a_role_without_a_speaker_is_not_written() -> None:
    with pytest.raises(ValueError, match=r"role must be one of user and assistant.*'system'"):
        list(hh.write([Preference((Turn("system", "Be brief."),), "a", "b")]))


# Label Studio, Argilla and TRL as others write them


def test_what_label_studio_exports_is_read(tmp_path: Path) -> None:
    task = {
        "id": 7,
        "data": {"prompt": "Hi", "answer1": "a", "answer2": "b"},
        "annotations": [
            {
                "id": 3,
                "completed_by": 12,
                "created_at": "2024-01-02T03:04:05.500000Z",
                "lead_time": 2.5,
                "result": [
                    {
                        "from_name": "comparison",
                        "to_name": "answer1,answer2",
                        "type": "pairwise",
                        "value": {"selected": "right"},
                    }
                ],
            },
            {"id": 4, "was_cancelled": True, "result": []},
        ],
    }
    read = label_studio.read(written(tmp_path, iter([json.dumps([task])])))
    assert read.items[0].completions == (Completion("a"), Completion("b"))
    (one,) = read.judgements
    assert (one.answer, one.annotator, one.seconds) == (Preferred(1), "label-studio-12", 2.5)


def test_an_answer_that_was_changed_in_label_studio_counts(tmp_path: Path) -> None:
    tasks = json.loads("".join(label_studio.write(COMPARED)))
    tasks[0]["annotations"][0]["result"][0]["value"]["selected"] = "right"
    read = label_studio.read(written(tmp_path, iter([json.dumps(tasks)])))
    assert read.judgements[0].answer == Preferred(1)


def test_what_argilla_exports_is_read(tmp_path: Path) -> None:
    record = {
        "id": "r1",
        "fields": {"prompt": "Hi", "completion_1": "a", "completion_2": "b"},
        "metadata": {},
        "suggestions": {},
        "responses": {"preference": [{"value": "tie", "user_id": "u1"}]},
        "vectors": {},
        "_server_id": None,
    }
    read = argilla.read(written(tmp_path, iter([json.dumps([record])])))
    assert read.items[0].id == "argilla-r1"
    assert read.judgements[0].answer == Tie()


def test_preferences_from_elsewhere_become_items(tmp_path: Path) -> None:
    path = written(tmp_path, iter(['{"prompt": "2+2=", "chosen": "4", "rejected": "5"}\n'] * 2))
    (one,) = items_of_preferences(trl_preference.read(path))
    assert [completion.text for completion in one.completions] == ["4", "5"]


# Bad files


JUDGED = (
    '{"id": "1", "annotator": "a", "item": "i", "order": [0, 1], "answer": {"tie": true}, '
    '"shown_at": 0, "answered_at": 1'
)
GOOD = '{"prompt": "a", "chosen": "b", "rejected": "c"}\n'


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (trl_preference.read, GOOD + '{"prompt": 3}', "line 2: prompt must be a str, got 3"),
        (trl_preference.read, GOOD + "\n[1]", r"line 3: a row must be a JSON object, got \[1\]"),
        (trl_preference.read, "{", "line 1: Expecting property name"),
        (trl_preference.read, '{"prompt": "a", "chosen": "b"}', "line 1: rejected is missing"),
        (
            trl_preference.read,
            GOOD.replace('"c"', '"b"'),
            "rejected must differ .* got 'b' for both",
        ),
        (
            trl_preference.read,
            GOOD.replace("}", ', "margin": true}'),
            "margin must be a float, got T",
        ),
        (trl_preference.read, GOOD.replace("}", ', "judgements": [1]}'), "must hold texts, got .1"),
        (
            trl_preference.read,
            '{"prompt": [{"role": "user"}], "chosen": "b", "rejected": "c"}',
            "line 1: content is missing",
        ),
        (
            trl_preference.read,
            GOOD.replace('"b"', '[{"role": "user", "content": "x"}]'),
            "chosen must be one message by the assistant",
        ),
        (
            trl_unpaired.read,
            '{"prompt": "a", "completion": "b", "label": 1}',
            "label must be a bool",
        ),
        (hh.read, '{"chosen": "Hi", "rejected": "x"}', "chosen must be a transcript .* got 'Hi'"),
        (
            hh.read,
            r'{"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nAssistant: b"}',
            "rejected must differ from chosen in its last turn",
        ),
        (
            plain.read,
            '{"item": {"id": "1"}, "x": 1}',
            "a row must have one field, item or judgement",
        ),
        (
            plain.read,
            '{"judgement": {"id": "1", "who": "x"}}',
            "a judgement has the fields .* 'who'",
        ),
        (
            plain.read,
            f'{{"judgement": {JUDGED}, "guideline_version": true}}}}',
            "must be a int, got True",
        ),
        (
            plain.read,
            f'{{"judgement": {JUDGED}, "order": [0, 2]}}}}',
            "order must be the numbers from 0",
        ),
        (label_studio.read, '{"id": 1}', "must hold a JSON array"),
        (label_studio.read, "[{}]", "entry 1: data is missing"),
        (argilla.read, '[{"fields": {"prompt": "a", "x": 1}}]', "entry 1: x must be a str, got 1"),
    ],
)
def test_a_bad_file_is_refused_by_line_field_and_value(
    read: Read, text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        read(written(tmp_path, iter([text])))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("selected", ["up", 3])
def test_a_side_that_label_studio_does_not_have_is_refused(selected: Any, tmp_path: Path) -> None:
    result = {"type": "pairwise", "value": {"selected": selected}}
    data = {"prompt": "Hi", "answer1": "a", "answer2": "b"}
    task = {"data": data, "annotations": [{"result": [result]}]}
    with pytest.raises(ValueError, match="entry 1: selected must be left or right"):
        label_studio.read(written(tmp_path, iter([json.dumps([task])])))


def test_what_a_format_cannot_hold_is_refused() -> None:
    ranked = Collected([item("1", "a", "b", "c")], [said("j1", "1", Places((1, 2, 3)))])
    with pytest.raises(ValueError, match=r"items must have 2 completions .* got 3 of '1'"):
        list(label_studio.write(ranked))
    with pytest.raises(ValueError, match="answers must be comparisons or ratings"):
        list(argilla.write(ranked))
    twice = Collected([item("1", "a", "b")], [said("j1", "1", Tie()), said("j2", "1", Tie())])
    with pytest.raises(ValueError, match="got a second answer 'j2'"):
        list(argilla.write(twice))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"format must be one of plain, .* got 'csv'"):
        export("csv", COMPARED)
    assert all("".join(write(Collected([], []))) in ("", "[]\n") for write in EXPORTS.values())
