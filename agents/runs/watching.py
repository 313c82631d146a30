"""What is written down and sent of a run, whatever learns: its folder, its trackers, its page.

Knows when each is told what, and not what is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from agents.callbacks import Callback
from agents.reports import Section
from agents.runs.going_on import SUMMARY
from agents.runs.run_folder import RunFolder
from agents.runs.run_page import RunPage
from agents.runs.tracking import Tracked, Tracker, trackers_of


class Watching(NamedTuple):
    """Holds those who watch a run.

    Attributes:
        record: Writes its folder.
        trackers: Send what it logs.
        page: Shows it.
    """

    record: RunFolder
    trackers: Sequence[Tracker]
    page: RunPage

    @property
    def callbacks(self) -> list[Callback]:
        """Those who are called as it learns, before any other."""
        return [self.record, *self.trackers, self.page]

    def finish(
        self,
        outcome: Section,
        figures: Mapping[str, Any],
        replies: Sequence[Mapping[str, Any]],
    ) -> None:
        """Says what came of the run.

        Args:
            outcome: For the page.
            figures: By name.
            replies: A row for each prompt.
        """
        self.page.finish([outcome])
        told: list[RunFolder | Tracker] = [self.record, *self.trackers]
        for one in told:
            one.on_outcome(figures, replies)
        self.record.write_json(SUMMARY, figures)  # the last: a run that has it is finished


def watch(
    record: RunFolder,
    page: RunPage,
    config: Tracked,
    said: Mapping[str, Any],
    at_the_end: ExitStack,
) -> Watching:
    """Returns those who watch a run, each closed at the end.

    Args:
        record: Of the run.
        page: Of the run.
        config: Says who tracks it.
        said: All of the config, by name.
        at_the_end: Closes them.
    """
    at_the_end.callback(record.close)
    return Watching(record, trackers_of(config, said, record.folder, at_the_end), page)
