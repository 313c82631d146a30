"""The state of a study in numbers, worked by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from text_gym.feedback import Answer, Completion, Item, Judgement, Preferred, Store, Tie
from text_gym.feedback.overview import agreements, disputed, per_hour, works

GOLD = Item("gold", "p", (Completion("x"), Completion("y")), "gold", Preferred(0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    texts = (Completion("x"), Completion("y"))
    with Store(tmp_path / "feedback.sqlite") as opened:
        opened.items.add([Item(name, name, texts) for name in ("a", "b", "c")])
        yield opened


def say(store: Store, name: str, item: str, answer: Answer, seconds: float = 1.0) -> str:
    annotator = store.annotators.named(name) or store.annotators.add(name)
    rows = len(store.judgements.all())
    store.judgements.add(
        Judgement(str(rows), annotator.id, item, (1, 0), answer, 100.0, 100.0 + seconds, 1)
    )
    return annotator.id


def test_an_empty_study_has_nothing_to_say(store: Store) -> None:
    store.annotators.add("Ann")
    (ann,) = works(store)
    assert (ann.judged, ann.state) == (0, "new")
    assert math.isnan(ann.known_answers.value)
    assert math.isnan(ann.with_others)
    assert math.isnan(ann.seconds)
    assert agreements(store) == disputed(store) == []


def test_agreement_with_others_sides_and_time(store: Store) -> None:
    for item, answers in {"a": (0, 0, 1), "b": (1, 1, 1)}.items():
        for name, preferred, seconds in zip(("Ann", "Bob", "Cem"), answers, (1, 2, 9), strict=True):
            say(store, name, item, Preferred(preferred), seconds)
    ann, bob, cem = works(store)
    # On a, one of two others agrees with Ann, none with Cem; on b, both do.
    assert [one.with_others for one in (ann, bob, cem)] == [3 / 4, 3 / 4, 2 / 4]
    assert ann.left.value == 1 / 2
    assert cem.left.value == 1.0
    assert [one.seconds for one in (ann, bob, cem)] == [1.0, 2.0, 9.0]
    (agreed,) = agreements(store)
    assert agreed.raw == pytest.approx(4 / 6)
    assert sorted(agreed.by_unit) == pytest.approx([1 / 3, 1.0])


def test_known_answers_count_for_skill_and_not_for_agreement(store: Store) -> None:
    store.items.add([GOLD])
    say(store, "Ann", "gold", Preferred(0))
    say(store, "Bob", "gold", Preferred(1))
    ann, bob = works(store)
    assert (ann.known_answers.value, bob.known_answers.value) == (1.0, 0.0)
    assert agreements(store) == disputed(store) == []


def test_the_most_disputed_come_first(store: Store) -> None:
    for name, answer in (("Ann", Tie()), ("Bob", Preferred(0)), ("Cem", Preferred(1))):
        say(store, name, "b", answer)
        say(store, name, "a", Tie() if name == "Ann" else Preferred(0))
        say(store, name, "c", Tie())
    first, second = disputed(store)
    assert (first.item.id, second.item.id) == ("b", "a")
    assert second.answers == [(Preferred(0), 2), (Tie(), 1)]
    assert len(disputed(store, most=1)) == 1


def test_the_state_of_a_person_is_the_last_that_happened(store: Store) -> None:
    ann = say(store, "Ann", "a", Tie())
    states = []
    for kind in ("paused", "resumed", "rejected", "admitted", "excluded", "included"):
        store.annotators.record(ann, kind, kind)  # type: ignore[arg-type]
        (one,) = works(store)
        states.append((one.state, one.why))
    assert states == [
        ("paused", "paused"), ("working", ""), ("rejected", "rejected"), ("working", ""),
        ("excluded", "excluded"), ("working", ""),
    ]  # fmt: skip


def test_pace_is_that_of_the_last_hour() -> None:
    assert per_hour([0.0, 3599.0, 3601.0, 7201.0], now=7200.0) == 1
