"""What a run leaves behind: metrics, samples, curves, replies, a summary.

`RunFolder` is a callback: it writes while PPO learns, and can go back to an earlier point of the
same run. It does not know what is learnt.

JSON has neither NaN nor infinities: numbers that are not finite are written as null, and read back
as NaN.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from agents.agent import Agent
from agents.callbacks import Callback
from agents.checkpoints.checkpoint import callback_state
from agents.checkpoints.folder import CheckpointError
from agents.checkpoints.plain_values import require_form
from agents.reports import Table
from agents.reports.json_file import HALF_CHARACTERS, finite, write_json, write_whole
from agents.reports.model_card import markdown
from agents.rollout.buffer import Rollout
from agents.runs.owner import require_new

Draw = Callable[[list[Mapping[str, float]], Path], None]

_SAMPLES_PER_UPDATE = 4
_GROWING = ("metrics.jsonl", "samples.jsonl")


class RunFolder(Callback):
    """Writes config, metrics, samples and TensorBoard events as a run goes on.

    Args:
        folder: Of this run; see `created`. Where the run was stopped, the callback's state says.
        draw: Draws `curves.png` from the metrics of all updates.

    Attributes:
        history: The metrics of every update so far.
        tokens: Tokens written so far.
    """

    def __init__(self, folder: Path, draw: Draw | None = None) -> None:
        self.folder = folder
        self._draw = draw or draw_curves
        self.history: list[Mapping[str, float]] = []
        self.tokens = 0
        self._events: SummaryWriter | None = None
        self._earlier_seconds = 0.0
        self._since: float | None = None

    @classmethod
    def created(cls, folder: Path, config: Mapping[str, Any], draw: Draw | None = None) -> Self:
        """Returns a new folder that says what the run is.

        Raises:
            FileExistsError: If something is in it already, of a run or of anybody else.
        """
        require_new(folder)
        folder.mkdir(parents=True, exist_ok=True)
        record = cls(folder, draw)
        record.write_json("config.json", config)
        return record

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those that were lost between checkpoints left out."""
        now = time.perf_counter()
        return self._earlier_seconds + (0.0 if self._since is None else now - self._since)

    def on_training_start(self, agent: Agent, total_episodes: int) -> None:
        """Opens the events, hiding those from past the point at which training goes on."""
        if agent.n_updates == 0:
            self._cut(dict.fromkeys(_GROWING, 0))
        again = any(self.folder.glob("events.out.tfevents*"))
        self._events = SummaryWriter(
            str(self.folder), purge_step=agent.n_episodes + 1 if again else None
        )
        self._since = time.perf_counter()

    def on_rollout_end(self, agent: Agent, rollout: Rollout) -> None:
        """Appends the first few texts of the batch to `samples.jsonl`."""
        self.tokens += int(rollout.texts.lengths.sum())
        for info, score in zip(
            rollout.infos[:_SAMPLES_PER_UPDATE], rollout.scores.tolist(), strict=False
        ):
            episode = info["text_episode"]
            self._append(
                "samples.jsonl",
                {
                    "episodes": agent.n_episodes,
                    "prompt": episode.prompt,
                    "completion": episode.completion,
                    "stop_reason": episode.stop_reason,
                    "score": score,
                },
            )

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Appends to `metrics.jsonl` and to the TensorBoard events, against episodes."""
        row = {"episodes": agent.n_episodes, "updates": agent.n_updates, **metrics}
        self.history.append(row)
        self._append("metrics.jsonl", row)
        assert self._events is not None
        for name, value in metrics.items():
            self._events.add_scalar(name, value, agent.n_episodes)
        return True

    def on_training_end(self, agent: Agent) -> None:
        """Closes the events; writes `metrics.csv` and draws `curves.png` if there was an update."""
        self._earlier_seconds, self._since = self.seconds, None
        self.close()
        if self.history:
            write_whole(self.folder / "metrics.csv", _table(self.history))
            self._draw(self.history, self.folder / "curves.png")

    def on_outcome(self, figures: Mapping[str, Any], replies: Sequence[Mapping[str, Any]]) -> None:
        """Writes `replies.json`, and the replies as a table to TensorBoard.

        Args:
            figures: Of what came of the run; the summary has them.
            replies: A row for each prompt, with the same names in all.
        """
        self.write_json("replies.json", replies)
        if replies:
            rows = [[str(cell) for cell in row.values()] for row in replies]
            with SummaryWriter(str(self.folder)) as events:
                step = int(self.history[-1]["episodes"]) if self.history else 0
                events.add_text("replies", markdown(Table(list(replies[0]), rows)), step)

    def close(self) -> None:
        """Closes the events; called by itself where training does not come to an end."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def get_state(self) -> dict[str, Any]:
        """Returns how far everything is written, after bringing it to the disk."""
        if self._events is not None:
            self._events.flush()
        sizes = {name: _size_on_disk(self.folder / name) for name in _GROWING}
        return {"sizes": sizes, "tokens": self.tokens, "seconds": self.seconds}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes back to an earlier point: what was written after it is cut off.

        Raises:
            CheckpointError: If something that was written before it is missing, or there is no such
                point.
        """
        history = self._history_until(state)
        self._cut(state["sizes"])
        self.tokens, self._earlier_seconds = state["tokens"], state["seconds"]
        self.history = history

    def require_reached(self, checkpoint: Path) -> None:
        """Checks that this folder holds what it held when a checkpoint was saved.

        Raises:
            CheckpointError: As `set_state`; nothing is changed.
        """
        self._history_until(callback_state(checkpoint, type(self)))

    def _history_until(self, state: Mapping[str, Any]) -> list[Mapping[str, float]]:
        form = {"sizes": dict.fromkeys(_GROWING, 0), "tokens": 0, "seconds": 0.0}
        try:
            require_form(state, form, "the state of RunFolder")
            written = {name: self._first(name, size) for name, size in state["sizes"].items()}
            rows = [json.loads(line) for line in written["metrics.jsonl"].splitlines()]
            return [
                {key: math.nan if value is None else value for key, value in row.items()}
                for row in rows
            ]
        except (AttributeError, OSError, ValueError) as error:
            raise CheckpointError(f"what {self.folder} held is not there: {error}") from error

    def _first(self, name: str, size: int) -> bytes:
        """Returns the first bytes of a file that grows."""
        path = self.folder / name
        if path.is_symlink():
            raise ValueError(f"{path} must be a file, got a link")
        content = path.read_bytes()[: int(size)] if path.exists() else b""
        if len(content) != size or content[-1:] not in (b"", b"\n"):
            raise ValueError(
                f"{path} must have the {size} bytes, in whole lines, that it had when the "
                f"checkpoint was saved, got {len(content)}"
            )
        return content

    def _cut(self, sizes: Mapping[str, int]) -> None:
        for name, size in sizes.items():
            path = self.folder / name
            if path.is_symlink():
                path.unlink()
            if path.exists():
                os.truncate(path, int(size))

    def write_json(self, name: str, content: Any) -> None:
        """Writes one JSON file, whole or not at all."""
        write_json(self.folder / name, content)

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        with (self.folder / name).open("a", encoding="utf-8", errors=HALF_CHARACTERS) as file:
            file.write(json.dumps(finite(row), ensure_ascii=False, allow_nan=False) + "\n")


def _table(history: Sequence[Mapping[str, float]]) -> str:
    """Returns metrics as CSV; what was not measured in an update, or not finite, is empty."""
    names = dict.fromkeys(name for row in history for name in row)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(finite(row) for row in history)
    return table.getvalue()


def _size_on_disk(path: Path) -> int:
    """Returns the size of a file, after bringing it to the disk; 0 if there is none."""
    if not path.exists():
        return 0
    with path.open("ab") as file:
        os.fsync(file.fileno())
        return file.tell()


def draw_curves(history: list[Mapping[str, float]], path: Path) -> None:
    """Draws reward and KL against episodes, one above the other."""
    from matplotlib.figure import Figure

    episodes = [row["episodes"] for row in history]
    figure = Figure(figsize=(7, 5), layout="constrained")
    reward_axes, kl_axes = figure.subplots(2, 1, sharex=True)
    reward = [row["rollout/score_mean"] for row in history]
    deviation = [row["rollout/score_std"] for row in history]
    low = [r - d for r, d in zip(reward, deviation, strict=True)]
    high = [r + d for r, d in zip(reward, deviation, strict=True)]
    reward_axes.fill_between(episodes, low, high, alpha=0.15, linewidth=0, label="± 1 std")
    reward_axes.plot(episodes, reward, marker=".", label="mean")
    reward_axes.set_ylabel("reward")
    reward_axes.legend(loc="lower right", frameon=False)
    kl_axes.plot(episodes, [row["rollout/kl"] for row in history], marker=".", color="tab:red")
    kl_axes.set_ylabel("KL from reference\n(nats per completion)")
    kl_axes.set_xlabel("episodes")
    for axes in (reward_axes, kl_axes):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def draw_losses(history: list[Mapping[str, float]], path: Path) -> None:
    """Draws the loss of every optimiser step, and what is held out, against epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, label, style in (
        ("train/loss", "training", {"linewidth": 1.0, "alpha": 0.6}),
        ("eval/loss", "held out", {"marker": "o"}),
    ):
        rows = [row for row in history if name in row]
        if rows:
            epochs = [row["train/epoch"] for row in rows]
            axes.plot(epochs, [row[name] for row in rows], label=label, **style)
    axes.set_xlabel("epochs")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
