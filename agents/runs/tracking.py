"""Trackers: what a run logs, in Weights & Biases or in trackio besides.

Both libraries know the same words (`init`, `log`, `Table`, `finish`), so that one callback serves
both; their own settings (`WANDB_MODE=offline`, `TRACKIO_DIR`) hold here too. They are loaded when
they are asked for. Knows no algorithm.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from agents.agent import Agent
from agents.applications.fine_tuning import TrackerName
from agents.callbacks import Callback
from agents.checkpoints.plain_values import require_form
from agents.reports.json_file import HALF_CHARACTERS, write_json
from agents.runs.console import run_console

PROJECT = "text_gym"
FILE = "tracking.json"
"""In a run's folder, what its run is called by those that track it."""


class Tracked(Protocol):
    """Says by whom a run is tracked."""

    @property
    def track(self) -> tuple[TrackerName, ...]:
        """The libraries."""


class TrackingError(RuntimeError):
    """Says that a tracker would not begin."""


class Tracker(Callback):
    """Sends metrics and replies to a tracker, and goes on with the run that it began there.

    Args:
        library: `wandb` or `trackio`.
        folder: Of the run, which keeps what the tracker calls it.
        config: Of the run, in values that JSON can hold.

    Raises:
        ModuleNotFoundError: If the library is not installed; names the extra.
        TrackingError: If it would not begin, for want of an account, say.
        ValueError: If what the folder keeps is not what was written.
    """

    def __init__(
        self, library: TrackerName, folder: Path, config: Mapping[str, Any] | None = None
    ) -> None:
        self._library = load_tracker(library)
        name, project = _id_in(folder), os.environ.get("WANDB_PROJECT", PROJECT)
        run_console().print(f"Sending metrics and replies to {library}, project {project}")
        own = {"id": name, "dir": str(folder)} if library == "wandb" else {}
        try:
            self._run = self._library.init(
                project=project,
                name=f"{folder.name}-{name}",
                config=dict(config or {}),
                resume="allow",
                **own,
            )
        except Exception as error:  # each library has errors of its own
            raise TrackingError(f"{library} would not begin: {error}") from error
        self._episodes = 0

    def on_training_start(self, agent: Agent, total_episodes: int) -> None:
        """Goes on from where the agent is, which may be the end."""
        self._episodes = agent.n_episodes

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Sends the metrics of an update, against episodes."""
        self._episodes = agent.n_episodes
        self._run.log({**metrics, "updates": agent.n_updates}, step=self._episodes)
        return True

    def on_outcome(self, figures: Mapping[str, Any], replies: Sequence[Mapping[str, Any]]) -> None:
        """Sends what came of the run.

        Args:
            figures: By name; those that are no numbers are left out.
            replies: A row for each prompt, with the same names in all.
        """
        numbers = {f"eval/{k}": v for k, v in figures.items() if isinstance(v, int | float)}
        if replies:
            columns = list(replies[0])
            rows = [[_writable(row[name]) for name in columns] for row in replies]
            numbers["replies"] = self._library.Table(columns=columns, data=rows)
        self._run.log(numbers, step=self._episodes)

    def close(self) -> None:
        """Ends the run there, or this part of it."""
        self._run.finish()


def trackers_of(
    config: Tracked, said: Mapping[str, Any], folder: Path, at_the_end: ExitStack
) -> list[Tracker]:
    """Returns the trackers that a run is asked for, each closed at the end, whatever comes.

    Args:
        config: Of the run.
        said: All of it, by name.
        folder: Of the run.
        at_the_end: Closes them.
    """
    plain, found = json.loads(json.dumps(said, default=str)), []
    for library in config.track:
        found.append(Tracker(library, folder, plain))
        at_the_end.callback(found[-1].close)
    return found


def load_tracker(library: TrackerName) -> Any:
    """Returns the library.

    Raises:
        ModuleNotFoundError: If it is not installed; names the extra.
    """
    try:
        return import_module(library)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ModuleNotFoundError(
            f"track={library!r} needs {library}: pip install 'text-gym[tracking]'", name=library
        ) from error


def load_trackers(libraries: Sequence[TrackerName]) -> None:
    """Refuses a run whose trackers are not installed, before anything else of it is loaded."""
    for library in libraries:
        load_tracker(library)


def _id_in(folder: Path) -> str:
    """Returns what a run is called by those that track it, the same when it goes on."""
    path = folder / FILE
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, {"id": secrets.token_hex(4)})
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        require_form(saved, {"id": ""}, "tracking")
    except ValueError as error:
        raise ValueError(f"{path} must hold what the run wrote: {error}") from error
    if not re.fullmatch("[0-9a-f]{8}", saved["id"]):
        raise ValueError(f"{path} must hold an id of eight hexadecimal digits, got {saved['id']!r}")
    return str(saved["id"])


def _writable(value: Any) -> Any:
    """Returns a value as it can be sent: half a character as an escape."""
    return value.encode(errors=HALF_CHARACTERS).decode() if isinstance(value, str) else value
