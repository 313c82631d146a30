"""What a person does in a study: stages, leases, sides, undo, hidden checks, and being stopped."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from text_gym.feedback import (
    Annotator,
    Answer,
    BothBad,
    Completion,
    Correction,
    Item,
    Judgement,
    Places,
    Preferred,
    Ratings,
    Scale,
    Skip,
    StudyConfig,
    Tie,
    create_study,
)
from text_gym.feedback.answers import require_fit
from text_gym.feedback.participation import Participation, Task
from text_gym.feedback.refusal import Refusal

PLAIN = StudyConfig(gold_share=0.0, repeat_share=0.0)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Desk:
    """A study with people at it."""

    def __init__(self, folder: Path, config: StudyConfig, items: list[Item]) -> None:
        self.study = create_study(folder, config, items)
        self.store = self.study.open()
        self.clock = Clock()
        chance = random.Random(0)
        self.participation = Participation(self.study, self.store, self.clock, chance)

    def person(self, name: str = "Ann", **arguments: Any) -> Annotator:
        annotator = self.store.annotators.add(name, **arguments)
        self.participation.agree(annotator)
        self.participation.learn(annotator)
        return annotator

    def shown(self, annotator: Annotator) -> Task:
        task = self.participation.task(annotator)
        assert task is not None
        return task

    def judge(self, annotator: Annotator, answer: Answer | None = None) -> Judgement:
        """Take ten seconds over what is on the screen."""
        task = self.shown(annotator)
        self.clock.now += 10.0
        said = Preferred(0) if answer is None else answer
        return self.participation.answer(annotator, task.lease.id, said)


Opened = Callable[..., Desk]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Opened]:
    opened: list[Desk] = []

    def make(config: StudyConfig = PLAIN, items: list[Item] | None = None) -> Desk:
        some = works(3) if items is None else items
        opened.append(Desk(tmp_path / str(len(opened)), config, some))
        return opened[-1]

    yield make
    for one in opened:
        one.store.close()


def item(name: str, **fields: Any) -> Item:
    return Item(name, "The film was", (Completion(" good."), Completion(" bad.")), **fields)


def works(count: int) -> list[Item]:
    return [item(f"work {number}") for number in range(count)]


def known(purpose: Any, count: int) -> list[Item]:
    return [
        item(f"{purpose} {number}", purpose=purpose, expected=Preferred(0))
        for number in range(count)
    ]


# Stages


def test_consent_and_guidelines_come_before_the_first_item(desk: Opened) -> None:
    one = desk()
    ann = one.store.annotators.add("Ann")
    for step in (one.participation.agree, one.participation.learn):
        assert one.participation.task(ann) is None
        step(ann)
    assert one.participation.stage(ann) == "task"


def test_guidelines_that_changed_are_read_again_and_noted(desk: Opened) -> None:
    one = desk()
    ann = one.person()
    assert one.judge(ann).guideline_version == 1
    one.store.documents.enter("guidelines", "Be strict.")
    assert one.participation.stage(ann) == "guidelines"
    one.participation.learn(ann)
    one.store.leases.release(ann.id)
    assert one.judge(ann).guideline_version == 2


def test_lessons_come_first_and_the_exam_admits(desk: Opened) -> None:
    one = desk(items=[*works(1), *known("exam", 2), *known("tutorial", 1)])
    ann = one.person()
    purposes = []
    while one.participation.stage(ann) == "task":
        purposes.append(one.shown(ann).item.purpose)
        one.judge(ann)
    assert purposes == ["tutorial", "exam", "exam", "work"]
    assert one.participation.stage(ann) == "done"


def test_who_fails_the_exam_waits_for_the_researcher(desk: Opened) -> None:
    one = desk(items=[*works(1), *known("exam", 2)])
    ann = one.person()
    one.judge(ann)
    one.judge(ann, Preferred(1))
    assert one.participation.stage(ann) == "rejected"
    assert one.participation.why_stopped(ann) == "1 of 2 were right"
    assert one.participation.task(ann) is None
    one.participation.resume(ann)
    assert one.shown(ann).item.purpose == "work"


def test_only_experts_see_items_for_experts(desk: Opened) -> None:
    one = desk(items=[item("hard", audience="experts")])
    assert one.participation.stage(one.person()) == "done"
    assert one.shown(one.person("Eve", role="expert")).item.id == "hard"


# Overlap, order, leases


def test_each_item_is_judged_by_as_many_people_as_wanted(desk: Opened) -> None:
    one = desk(StudyConfig(overlap=2, max_overlap=2, gold_share=0, repeat_share=0), works(4))
    people = [one.person(name) for name in ("Ann", "Bob", "Cem")]
    for turn in range(30):
        if one.participation.stage(people[turn % 3]) == "task":
            one.judge(people[turn % 3])
    counts = {name.id: len(one.store.judgements.counted(item=name.id)) for name in works(4)}
    assert counts == {f"work {number}": 2 for number in range(4)}


def test_more_people_are_asked_where_they_disagree(desk: Opened) -> None:
    one = desk(StudyConfig(overlap=2, max_overlap=3, gold_share=0, repeat_share=0), works(2))
    ann, bob, cem = one.person("Ann"), one.person("Bob"), one.person("Cem")
    disputed = one.judge(ann).item
    one.judge(ann)
    for _ in range(2):
        one.judge(bob, Preferred(1 if one.shown(bob).item.id == disputed else 0))
    assert one.judge(cem).item == disputed
    assert one.participation.stage(cem) == "done"


def test_the_highest_scores_come_first(desk: Opened) -> None:
    one = desk(items=works(5))
    one.store.items.score({"work 3": 2.0, "work 1": 1.0})
    ann = one.person()
    assert [one.judge(ann).item for _ in range(2)] == ["work 3", "work 1"]
    with pytest.raises(ValueError, match="scores must be of items of the study, got 'lost'"):
        one.store.items.score({"lost": 1.0})


def test_nobody_has_what_another_has(desk: Opened) -> None:
    one = desk(items=works(2))
    people = [one.person(name) for name in ("Ann", "Bob", "Cem")]
    held = [one.participation.task(person) for person in people]
    assert held[2] is None
    assert len({task.item.id for task in held if task is not None}) == 2


def test_a_reload_shows_the_same(desk: Opened) -> None:
    one = desk()
    ann = one.person()
    first = one.shown(ann)
    one.clock.now += 60
    assert one.shown(ann) == first


def test_an_expired_lease_goes_to_who_comes_next(desk: Opened) -> None:
    one = desk(items=works(1))
    ann, bob = one.person("Ann"), one.person("Bob")
    old = one.shown(ann)
    assert one.participation.task(bob) is None
    one.clock.now += 31 * 60
    assert one.shown(bob).item == old.item
    with pytest.raises(Refusal, match="somebody else has it now"):
        one.participation.answer(ann, old.lease.id, Preferred(0))
    one.judge(bob)
    assert len(one.store.judgements.all()) == 1


def test_an_answer_that_is_late_counts_if_nobody_took_the_place(desk: Opened) -> None:
    one = desk(items=works(1))
    ann = one.person()
    task = one.shown(ann)
    one.clock.now += 31 * 60
    assert one.participation.answer(ann, task.lease.id, Preferred(1)).item == "work 0"


def test_who_comes_back_late_has_the_item_again_with_a_new_time(desk: Opened) -> None:
    one = desk(items=works(1))
    ann = one.person()
    old = one.shown(ann)
    one.clock.now += 31 * 60
    new = one.shown(ann)
    assert (new.item, new.lease.order) == (old.item, old.lease.order)
    assert new.lease.shown_at == one.clock.now


def test_an_answer_sent_twice_is_recorded_once(desk: Opened) -> None:
    one = desk()
    ann = one.person()
    task = one.shown(ann)
    first = one.participation.answer(ann, task.lease.id, Preferred(0))
    assert one.participation.answer(ann, task.lease.id, Preferred(1)) == first
    assert one.store.judgements.all() == [first]


def test_anothers_lease_and_none_at_all_are_refused(desk: Opened) -> None:
    one = desk()
    ann, bob = one.person("Ann"), one.person("Bob")
    with pytest.raises(Refusal, match="shown to somebody else"):
        one.participation.answer(bob, one.shown(ann).lease.id, Preferred(0))
    with pytest.raises(Refusal, match="no longer yours"):
        one.participation.answer(bob, "0" * 32, Preferred(0))
    done = one.judge(ann)
    with pytest.raises(Refusal, match="no longer yours"):
        one.participation.answer(bob, done.id, Preferred(0))
    assert one.store.judgements.all() == [done]


def test_sides_are_drawn_for_each_judgement(desk: Opened) -> None:
    one = desk(items=works(40))
    ann = one.person()
    orders = [one.judge(ann, Tie()).order for _ in range(40)]
    assert set(orders) == {(0, 1), (1, 0)}
    assert 10 < orders.count((0, 1)) < 30


def test_a_person_gives_no_more_than_the_most(desk: Opened) -> None:
    one = desk(StudyConfig(most_judgements=2, gold_share=0, repeat_share=0))
    ann = one.person()
    one.judge(ann)
    one.judge(ann)
    assert one.participation.stage(ann) == "done"


# Undo


def test_the_last_answer_is_taken_back_once_and_asked_again(desk: Opened) -> None:
    one = desk()
    ann = one.person()
    first, last = one.judge(ann), one.judge(ann)
    one.participation.undo(ann)
    assert one.store.judgements.standing() == [first]
    again = one.shown(ann)
    assert (again.item.id, again.lease.order) == (last.item, last.order)
    with pytest.raises(Refusal, match="no answer that can be taken back"):
        one.participation.undo(ann)
    one.judge(ann, Preferred(1))
    assert one.participation.undoable(ann) is not None


def test_lessons_are_not_taken_back(desk: Opened) -> None:
    one = desk(items=[*works(1), *known("tutorial", 1)])
    ann = one.person()
    one.judge(ann)
    with pytest.raises(Refusal):
        one.participation.undo(ann)


def test_nobody_takes_back_what_another_said(desk: Opened) -> None:
    one = desk()
    one.judge(one.person("Ann"))
    with pytest.raises(Refusal):
        one.participation.undo(one.person("Bob"))


# Hidden checks and rules


def test_known_answers_are_hidden_among_the_work(desk: Opened) -> None:
    config = StudyConfig(gold_share=0.3, repeat_share=0.0)
    one = desk(config, [*works(60), *known("gold", 40)])
    ann = one.person()
    said = [one.judge(ann, Skip()).item for _ in range(60)]
    assert 10 <= sum(name.startswith("gold") for name in said) <= 27
    assert len(set(said)) == 60


def test_repeats_come_later_with_the_sides_swapped(desk: Opened) -> None:
    config = StudyConfig(gold_share=0.0, repeat_share=0.5, repeat_gap=3)
    one = desk(config, works(30))
    ann = one.person()
    said = [one.judge(ann, Tie()) for _ in range(30)]
    by_id = {one.id: (place, one) for place, one in enumerate(said)}
    repeats = [(place, *by_id[late.repeats]) for place, late in enumerate(said) if late.repeats]
    assert len(repeats) >= 8
    for place, earlier, first in repeats:
        assert said[place].item == first.item
        assert said[place].order == first.order[::-1]
        assert place - earlier >= 3
    assert len({first.id for _, _, first in repeats}) == len(repeats)
    assert len(one.store.judgements.counted()) == 30 - len(repeats)


def test_haste_pauses_with_the_reason_and_gives_the_item_back(desk: Opened) -> None:
    one = desk(items=works(9))
    ann = one.person()
    for _ in range(3):
        one.participation.answer(ann, one.shown(ann).lease.id, Tie())
    assert one.participation.stage(ann) == "paused"
    assert one.participation.why_stopped(ann) == (
        "3 answers came faster than the texts can be read."
    )
    assert one.store.leases.of(ann.id) is None
    one.participation.resume(ann)
    one.judge(ann, Tie())
    assert one.participation.stage(ann) == "task"


def test_one_side_again_and_again_pauses(desk: Opened) -> None:
    one = desk(items=works(40))
    ann = one.person()
    given = 0
    while one.participation.stage(ann) == "task":
        one.judge(ann, Preferred(one.shown(ann).lease.order[0]))
        given += 1
    assert given == 20
    assert one.participation.why_stopped(ann) == "The same side was chosen 20 times in a row."


def test_wrong_known_answers_pause_and_skips_are_held_against_nobody(desk: Opened) -> None:
    config = StudyConfig(gold_share=1.0, repeat_share=0.0)
    one = desk(config, [*works(1), *known("gold", 20)])
    ann, bob = one.person("Ann"), one.person("Bob")
    for _ in range(3):
        one.judge(ann, Preferred(1))
    assert one.participation.why_stopped(ann) == (
        "Of the texts whose answer is known, 0% were judged so."
    )
    for _ in range(12):
        one.participation.answer(bob, one.shown(bob).lease.id, Skip())
    assert one.participation.stage(bob) == "task"


def test_items_of_who_is_excluded_are_asked_again(desk: Opened) -> None:
    one = desk(items=works(1))
    ann, bob = one.person("Ann"), one.person("Bob")
    one.judge(ann)
    assert one.participation.stage(bob) == "done"
    one.participation.exclude(ann, "asleep")
    assert one.participation.stage(bob) == "task"
    one.participation.include(ann)
    one.store.leases.release(bob.id)
    assert one.participation.stage(bob) == "done"


# Forgetting


def test_who_is_forgotten_leaves_counts_and_nothing_else(desk: Opened) -> None:
    one = desk(items=works(2))
    ann = one.person("Ann of the hidden name")
    for _ in range(2):
        task = one.shown(ann)
        one.clock.now += 9
        one.participation.answer(ann, task.lease.id, Preferred(1), 2, "a telling remark")
    one.store.forget(ann.id)
    files = [path for path in one.study.folder.iterdir() if path.is_file()]
    kept = b"".join(path.read_bytes() for path in files)  # the server goes on: nothing is closed
    for trace in (b"hidden name", b"telling remark", ann.id.encode()):
        assert trace not in kept
    assert one.store.annotators.get(ann.id) is None
    assert one.store.judgements.all() == []
    assert one.store.judgements.remains() == [
        ("work 0", '{"preferred": 1}', 1),
        ("work 1", '{"preferred": 1}', 1),
    ]
    assert one.participation.stage(one.person("Bob")) == "done"


# Which answers a study takes


@pytest.mark.parametrize(
    ("mode", "answer", "message"),
    [
        ("compare", Preferred(2), "an answer must suit the mode compare"),
        ("compare", Ratings({"quality": 3}), "an answer must suit the mode compare"),
        ("rank", Places((1, 2, 3)), "places must be 2 numbers from 1 to 2"),
        ("rank", Tie(), "an answer must suit the mode rank"),
        ("rate", Ratings({"quality": 6}), "a rating on 'quality' must be 1 to 5, got 6"),
        ("rate", Ratings({"charm": 3}), "ratings must be on 'quality'"),
        ("correct", Preferred(0), "an answer must suit the mode correct"),
    ],
)
def test_an_answer_that_does_not_suit_the_study_is_refused(
    mode: Any, answer: Answer, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        require_fit(answer, mode, 2, {"quality": (1, 5)})


@pytest.mark.parametrize(
    ("mode", "answer"),
    [
        ("compare", BothBad()),
        ("compare", Skip()),
        ("rank", Places((1, 1))),
        ("rate", Ratings({"quality": 5})),
        ("correct", Correction("Better.")),
    ],
)
def test_an_answer_that_suits_the_study_is_taken(mode: Any, answer: Answer) -> None:
    require_fit(answer, mode, 2, StudyConfig(scales=(Scale("quality"),)).bounds)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strength": 4}, "strength must be 1, 2 or 3, got 4"),
        ({"reason": "x" * 2001}, "a reason must have at most 2000 characters, got 2001"),
    ],
)
def test_what_goes_with_an_answer_has_bounds(
    desk: Opened, arguments: dict[str, Any], message: str
) -> None:
    one = desk()
    ann = one.person()
    with pytest.raises(ValueError, match=message):
        one.participation.answer(ann, one.shown(ann).lease.id, Tie(), **arguments)
    assert one.store.judgements.all() == []
