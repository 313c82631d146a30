"""What a person does in a study, step by step, and what becomes of what they do.

Consent, guidelines, tutorial, exam, then work, in which items with a known answer and repeats are
hidden, until there is no more or a rule stops it. Knows rows and rules, and nothing of pages: all
that it returns or raises can be tested without one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from text_gym.feedback.annotators import Annotator
from text_gym.feedback.answers import Answer, Correction, agrees, require_fit
from text_gym.feedback.assignment import Assignment
from text_gym.feedback.items import Item
from text_gym.feedback.judgements import Judgement
from text_gym.feedback.quality import explained, reasons_to_stop, words_shown
from text_gym.feedback.refusal import Refusal
from text_gym.feedback.store import Lease, Store
from text_gym.feedback.study import Study

Stage = Literal["consent", "guidelines", "task", "paused", "rejected", "done"]

LONGEST_REASON = 2_000
LONGEST_CORRECTION = 50_000


@dataclass(frozen=True)
class Task:
    """Holds what stands on the screen."""

    lease: Lease
    item: Item


class Participation:
    """Leads annotators through a study.

    Args:
        study: Its settings.
        store: Its rows; open as long as this is used.
        clock: Returns the seconds since 1970.
        chance: Draws sides, known answers and repeats.
    """

    def __init__(
        self,
        study: Study,
        store: Store,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self.config = study.config
        self.store = store
        self.clock = clock
        self.assignment = Assignment(study.config, store, clock, chance)
        self._words = lru_cache(4096)(lambda item: words_shown(store.items.get(item)))

    def stage(self, annotator: Annotator) -> Stage:
        """Returns where somebody stands; "task" if `task` has something for them."""
        return self._barrier(annotator) or (
            "done" if self.assignment.next(annotator) is None else "task"
        )

    def agree(self, annotator: Annotator) -> None:
        """Records that somebody agrees to the consent text as it stands."""
        self.store.annotators.record(annotator.id, "consented", self._version("consent"))

    def learn(self, annotator: Annotator) -> None:
        """Records that somebody has read the guidelines as they stand."""
        self.store.annotators.record(annotator.id, "taught", self._version("guidelines"))

    def task(self, annotator: Annotator) -> Task | None:
        """Returns what somebody has on the screen, or gives them the next item; None without any.

        Whoever comes back finds what they had; if its time was over, they have it again, or
        another.
        """
        if self._barrier(annotator) is not None:
            return None
        lease = self.assignment.next(annotator)
        return None if lease is None else Task(lease, self.store.items.get(lease.item))

    def answer(
        self,
        annotator: Annotator,
        lease_id: str,
        answer: Answer,
        strength: int | None = None,
        reason: str = "",
    ) -> Judgement:
        """Records an answer; it is on disk when this returns.

        Sent twice, it is recorded once, and the first one stands.

        Args:
            annotator: Who answers.
            lease_id: Of what they were shown.
            answer: Names completions by their place in the item.
            strength: 1 to 3, or None.
            reason: At most `LONGEST_REASON` characters.

        Raises:
            Refusal: If they were shown no such thing, or its time is over and somebody else has it.
            ValueError: If the answer does not suit the study.
        """
        with self.store.transaction():
            earlier = self.store.judgements.get(lease_id)
            if earlier is not None and earlier.annotator == annotator.id:
                return earlier
            lease = self._answerable(annotator, lease_id)
            self._require(answer, lease, strength, reason)
            judgement = Judgement(
                lease.id, annotator.id, lease.item, lease.order, answer, lease.shown_at,
                self.clock(), lease.guideline_version, strength, reason, lease.repeats,
            )  # fmt: skip
            self.store.judgements.add(judgement)
            self.store.leases.release(annotator.id)
            self._examine(annotator)
            self._stop_by_rule(annotator)
        return judgement

    def undo(self, annotator: Annotator) -> None:
        """Takes back somebody's last answer, and shows them the item again.

        Raises:
            Refusal: If there is none to take back.
        """
        with self.store.transaction():
            last = self.undoable(annotator)
            if last is None or self._barrier(annotator) is not None:
                raise Refusal(409, "nothing to undo", "There is no answer that can be taken back.")
            self.store.judgements.undo(last.id)
            self.assignment.grant(annotator, last.item, last.order, last.repeats)

    def undoable(self, annotator: Annotator) -> Judgement | None:
        """Returns somebody's last answer if it can be taken back: once, and not of a lesson."""
        last = self.store.judgements.latest(annotator.id)
        if last is None or self.store.items.get(last.item).purpose in ("tutorial", "exam"):
            return None
        return last

    def pause(self, annotator: Annotator, why: str) -> None:
        """Stops somebody, whatever they are doing; the reason is shown to them."""
        with self.store.transaction():
            self.store.annotators.record(annotator.id, "paused", why)
            self.store.leases.release(annotator.id)

    def resume(self, annotator: Annotator) -> None:
        """Lets somebody go on: after a pause, or into the work in spite of the exam."""
        with self.store.transaction():
            if self._rejected(annotator):
                self.store.annotators.record(annotator.id, "admitted", "by the researcher")
            self.store.annotators.record(annotator.id, "resumed")

    def exclude(self, annotator: Annotator, why: str) -> None:
        """Leaves out what somebody said, so that others are asked; nothing is deleted."""
        self._count(annotator, "excluded", why)

    def include(self, annotator: Annotator) -> None:
        """Takes back `exclude`."""
        self._count(annotator, "included", "")

    def why_stopped(self, annotator: Annotator) -> str:
        """Returns the reason of the last pause, or of failing the exam."""
        event = self.store.annotators.last(annotator.id, "paused", "rejected")
        return "" if event is None else event.detail

    # Which stage

    def _barrier(self, annotator: Annotator) -> Stage | None:
        """Returns what stands between somebody and the next item."""
        last = self.store.annotators.last
        stopped = last(annotator.id, "paused", "resumed")
        if stopped is not None and stopped.kind == "paused":
            return "paused"
        for stage, kind, text in (
            ("consent", "consented", "consent"),
            ("guidelines", "taught", "guidelines"),
        ):
            read = last(annotator.id, kind)  # type: ignore[arg-type]
            if read is None or read.detail != self._version(text):
                return stage  # type: ignore[return-value]
        return "rejected" if self._rejected(annotator) else None

    def _rejected(self, annotator: Annotator) -> bool:
        event = self.store.annotators.last(annotator.id, "admitted", "rejected")
        return event is not None and event.kind == "rejected"

    def _version(self, kind: str) -> str:
        return str(self.store.documents.newest(kind)[0])

    # What becomes of an answer

    def _answerable(self, annotator: Annotator, lease_id: str) -> Lease:
        """Returns the lease that somebody answers."""
        lease = self.store.leases.get(lease_id)
        if lease is None:
            raise Refusal(
                409, "no such lease",
                "This text is no longer yours: it was answered, taken back or given to somebody "
                "else. Nothing of what you sent before is lost.",
            )  # fmt: skip
        if lease.annotator != annotator.id:
            raise Refusal(403, "another's lease", "This text was shown to somebody else.")
        if self._barrier(annotator) is not None:
            raise Refusal(403, "not admitted", "You cannot answer at the moment.")
        if lease.expires_at <= self.clock() and not self.assignment.has_room(lease):
            self.store.leases.release(annotator.id)
            raise Refusal(
                409, "lease expired",
                "The time for this text was over, and somebody else has it now. Here is another.",
            )  # fmt: skip
        return lease

    def _require(self, answer: Answer, lease: Lease, strength: int | None, reason: str) -> None:
        config = self.config
        require_fit(answer, config.mode, len(lease.order), config.bounds)
        if strength not in (None, 1, 2, 3):
            raise ValueError(f"strength must be 1, 2 or 3, got {strength}")
        if len(reason) > LONGEST_REASON:
            raise ValueError(
                f"a reason must have at most {LONGEST_REASON} characters, got {len(reason)}"
            )
        if isinstance(answer, Correction) and len(answer.text) > LONGEST_CORRECTION:
            raise ValueError(
                f"a correction must have at most {LONGEST_CORRECTION} characters, "
                f"got {len(answer.text)}"
            )

    def _examine(self, annotator: Annotator) -> None:
        """Admits or rejects somebody who has just answered the last question of the exam."""
        exam = self.store.items.expected("exam")
        if not exam or self.store.annotators.last(annotator.id, "admitted", "rejected") is not None:
            return
        said = {one.item: one.answer for one in self.store.judgements.standing(annotator.id)}
        if not exam.keys() <= said.keys():
            return
        right = sum(agrees(said[item], expected) for item, expected in exam.items())
        passed = right >= self.config.pass_mark * len(exam)
        self.store.annotators.record(
            annotator.id, "admitted" if passed else "rejected", f"{right} of {len(exam)} were right"
        )

    def _stop_by_rule(self, annotator: Annotator) -> None:
        resumed = self.store.annotators.last(annotator.id, "resumed")
        since = 0.0 if resumed is None else resumed.at
        said = [one for one in self.store.judgements.work(annotator.id) if one.answered_at > since]
        known = self.store.items.expected("gold")
        found = reasons_to_stop(said, known, self._words, self.config.rules)
        if found:
            self.pause(annotator, " ".join(map(explained, found)))

    def _count(self, annotator: Annotator, kind: Literal["excluded", "included"], why: str) -> None:
        with self.store.transaction():
            self.store.annotators.record(annotator.id, kind, why)
            for item in {one.item for one in self.store.judgements.all(annotator.id)}:
                self.store.judgements.count(item)
