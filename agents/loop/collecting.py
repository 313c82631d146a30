"""Having pairs judged: they go into a study, and what people said comes out as files.

The study may be served meanwhile by a process of its own; both have its store open, and nothing
passes between them but rows. Simulated annotators enter their rows in the same store. Knows nothing
of how pairs came about or what is learnt from them.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from agents.command_line.command import command_line
from text_gym.feedback import Item, StudyConfig, create_study, open_study
from text_gym.feedback.collected import Collected
from text_gym.feedback.collecting import collect, enter
from text_gym.feedback.formats import export
from text_gym.feedback.judgements import Judgement
from text_gym.feedback.store import Store
from text_gym.feedback.study import Study

STUDY = "study"
JUDGEMENTS, COMPARISONS = "judgements.jsonl", "comparisons.jsonl"
_LOOK_SECONDS = 1.0
"""Between two looks at the store."""

Judge = Callable[[Sequence[Item]], Sequence[Judgement]]


def collect_judgements(
    asked: Sequence[Item], study: Path, folder: Path, judge: Judge | None, console: Console
) -> None:
    """Returns when all items of a study are judged, having written down what was said.

    Args:
        asked: What is added to the study.
        study: Its folder; a new one becomes a study in which two completions are compared.
        folder: For `judgements.jsonl`, every item and what counts of what was said of it, and
            `comparisons.jsonl`, what a reward model learns from.
        judge: Answers in the place of people, who are waited for if it is None.
        console: Shows how many judgements are missing.
    """
    opened = _opened(study)
    with opened.open() as store:
        store.items.add(asked)
        if judge is not None:
            enter(store, Collected(asked, judge(asked)))
        else:
            _wait(opened, store, console)
        collected = collect(opened, store)
    _write(folder / JUDGEMENTS, export("plain", collected))
    _write(folder / COMPARISONS, export("comparisons", collected))


def missing(study: Study, store: Store) -> tuple[int, int]:
    """Returns how many judgements there are of items for work, and how many are wanted."""
    return store.items.progress((study.config.overlap, study.config.max_overlap))


def _opened(folder: Path) -> Study:
    """Returns a study, which is made where there is none: whole or not at all."""
    if not os.path.lexists(folder):
        beside = folder.with_name(f".{folder.name}.partial")
        if beside.exists():
            shutil.rmtree(beside)
        create_study(beside, StudyConfig(title=folder.parent.name), [])
        beside.rename(folder)
    return open_study(folder)


def _wait(study: Study, store: Store, console: Console) -> None:
    """Returns when nothing is missing; shows how much is."""
    there, wanted = missing(study, store)
    if there >= wanted:
        return
    serve = command_line("text_gym.feedback", "serve", str(study.folder))
    console.print(f"{wanted - there:,} judgements are missing. Serve the study: {serve}")
    columns = (
        TextColumn("judgements"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=wanted)
        while there < wanted:
            progress.update(
                task, total=wanted, completed=there, description=f"{wanted - there:,} missing"
            )
            time.sleep(_LOOK_SECONDS)
            there, wanted = missing(study, store)
        progress.update(task, total=wanted, completed=there, description="0 missing")


def _write(path: Path, parts: Iterable[str]) -> None:
    """Writes a file, whole or not at all."""
    beside = path.with_name(f"{path.name}.partial")
    with beside.open("w", encoding="utf-8") as file:
        file.writelines(parts)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
