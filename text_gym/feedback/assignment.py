"""What somebody judges next: which item, on which side each completion stands, for how long.

Lessons come first, then work, in which known answers and repeats are hidden by lot. An item waits
for who was shown it until the lease expires. Knows nothing of what is answered.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator

from text_gym.feedback.annotators import Annotator
from text_gym.feedback.config import StudyConfig
from text_gym.feedback.items import Purpose
from text_gym.feedback.store import Lease, Store


class Assignment:
    """Gives out items.

    Args:
        config: Overlap, shares and times.
        store: The rows.
        clock: Returns the seconds since 1970.
        chance: Draws sides, known answers and repeats.
    """

    def __init__(
        self,
        config: StudyConfig,
        store: Store,
        clock: Callable[[], float] = time.time,
        chance: random.Random | None = None,
    ) -> None:
        self.config = config
        self.store = store
        self.clock = clock
        self.chance = chance or random.SystemRandom()

    def next(self, annotator: Annotator) -> Lease | None:
        """Returns what somebody has on the screen, or gives them what comes next."""
        lease, now = self.store.leases.of(annotator.id), self.clock()
        if lease is not None and (lease.expires_at > now or self.has_room(lease)):
            if lease.expires_at <= now:
                return self.grant(annotator, lease.item, lease.order, lease.repeats)
            return lease
        with self.store.transaction(durable=False):
            for item, repeats in self._candidates(annotator):
                if item is not None:
                    return self.grant(annotator, item, self._order(item, repeats), repeats)
            self.store.leases.release(annotator.id)
        return None

    def _candidates(self, annotator: Annotator) -> Iterator[tuple[str | None, str | None]]:
        """Yields what may come next, with the judgement that it repeats; the first item counts."""
        yield self._waiting(annotator, "tutorial"), None
        if self.store.annotators.last(annotator.id, "admitted") is None:
            yield self._waiting(annotator, "exam"), None
        config = self.config
        given = len(self.store.judgements.work(annotator.id))
        if config.most_judgements and given >= config.most_judgements:
            return
        work = self._waiting(annotator, "work")
        if work is None:
            return
        drawn = self.chance.random()
        if drawn < config.gold_share:
            yield self._waiting(annotator, "gold"), None
        elif drawn < config.gold_share + config.repeat_share:
            yield self._repeated(annotator)
        yield work, None

    def _waiting(self, annotator: Annotator, purpose: Purpose) -> str | None:
        return self.store.leases.next_item(
            annotator.id, purpose, expert=annotator.role == "expert", at=self.clock(),
            overlap=self._overlap,
        )  # fmt: skip

    def _repeated(self, annotator: Annotator) -> tuple[str | None, str | None]:
        """Returns the oldest item for work that was not asked again yet, and long enough ago."""
        if self.config.mode == "correct":
            return None, None
        said = self.store.judgements.work(annotator.id)
        known = self.store.items.expected("gold")
        done = {one.repeats for one in said}
        for one in said[: max(0, len(said) - self.config.repeat_gap)]:
            if one.repeats is None and one.id not in done and one.item not in known:
                return one.item, one.id
        return None, None

    def _order(self, item: str, repeats: str | None) -> tuple[int, ...]:
        """Draws on which side each completion stands; a repeat has them the other way round."""
        if repeats is not None:
            earlier = self.store.judgements.get(repeats)
            if earlier is not None:
                return earlier.order[::-1]
        order = list(range(len(self.store.items.get(item).completions)))
        self.chance.shuffle(order)
        return tuple(order)

    def grant(
        self, annotator: Annotator, item: str, order: tuple[int, ...], repeats: str | None
    ) -> Lease:
        """Gives somebody an item, for as long as a lease lasts."""
        now = self.clock()
        lease = Lease(
            secrets.token_hex(16), annotator.id, item, order, now,
            now + 60 * self.config.lease_minutes,
            self.store.documents.newest("guidelines")[0], repeats,
        )  # fmt: skip
        self.store.leases.grant(lease)
        return lease

    @property
    def _overlap(self) -> tuple[int, int]:
        return self.config.overlap, self.config.max_overlap

    def has_room(self, lease: Lease) -> bool:
        """Tells whether a lease may still be answered after its time: nobody took its place."""
        return self.store.leases.has_room(lease, at=self.clock(), overlap=self._overlap)
