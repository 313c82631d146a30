"""What a run leaves behind: metrics, samples, curves, the tuned model, a summary.

`RunFolder` is a callback: it writes while PPO learns. It does not know what is learnt.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from agents.callbacks import Callback
from agents.ppo import PPO
from agents.record import Rollout

_SAMPLES_PER_UPDATE = 4


class RunFolder(Callback):
    """Writes config, metrics, samples and TensorBoard events as a run goes on.

    Args:
        folder: A folder that does not exist yet.
        config: A dataclass that says what the run is.

    Attributes:
        history: The metrics of every update so far.
        tokens: Tokens written so far.

    Raises:
        FileExistsError: If the folder exists.
    """

    def __init__(self, folder: Path, config: Any) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.history: list[Mapping[str, float]] = []
        self.tokens = 0
        self.write_json("config.json", dataclasses.asdict(config))
        self._events = SummaryWriter(str(folder))

    def on_rollout_end(self, agent: PPO, rollout: Rollout) -> None:
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

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        """Appends to `metrics.jsonl` and to the TensorBoard events, against episodes."""
        row = {"episodes": agent.n_episodes, "updates": agent.n_updates, **metrics}
        self.history.append(row)
        self._append("metrics.jsonl", row)
        for name, value in metrics.items():
            self._events.add_scalar(name, value, agent.n_episodes)
        return True

    def on_training_end(self, agent: PPO) -> None:
        """Closes the events and draws `curves.png`."""
        self._events.close()
        if self.history:
            draw_curves(self.history, self.folder / "curves.png")

    def write_json(self, name: str, content: Any) -> None:
        """Writes one JSON file."""
        text = json.dumps(content, indent=2, default=str, ensure_ascii=False)
        (self.folder / name).write_text(text + "\n", encoding="utf-8")

    def _append(self, name: str, row: Mapping[str, Any]) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


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
