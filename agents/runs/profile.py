"""Where the time of an update goes: what `--profile` prints.

The agent measures its own parts (`time/` of its metrics). What the environments took is split here
into feedback and the rest, because only a pipeline knows the reward function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from agents.agent import Agent
from agents.callbacks import Callback
from text_gym import Episode
from text_gym.rewards import RewardFunction
from text_gym.rewards.function import reward_name, score

PARTS = {
    "generate": ("prefill", "decode", "environment", "reward"),
    "score": ("policy", "reference"),
    "train": ("forward", "backward", "optimizer"),
}
"""The stages of an update, and the parts that are measured in each."""


class TimedReward:
    """Scores as another reward function does, and adds up how long that took.

    Attributes:
        function: The other reward function.
        seconds: Of all calls so far.
    """

    def __init__(self, reward_function: RewardFunction) -> None:
        self.function = reward_function
        self.name = reward_name(reward_function)
        self.seconds = 0.0

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the rewards of n episodes, (n,)."""
        rewards: NDArray[np.float64] = np.sum(list(self.components(episodes).values()), axis=0)
        return rewards

    def components(self, episodes: Sequence[Episode]) -> dict[str, NDArray[np.float64]]:
        """Returns the parts that sum to the rewards, by name, (n,) each."""
        start = perf_counter()
        components = score(self.function, episodes).components
        self.seconds += perf_counter() - start
        return components


class Profile(Callback):
    """Keeps the seconds of every update, by part.

    Args:
        reward: What the environments score with; None: it is theirs, and its time counts as theirs.
    """

    def __init__(self, reward: TimedReward | None) -> None:
        self._reward = reward
        self._counted = 0.0
        self.updates: list[dict[str, float]] = []

    def on_training_start(self, agent: Agent, total_episodes: int) -> None:
        """Leaves out what was scored before, in evaluation."""
        self._counted = self._seconds

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Takes in the seconds of one update."""
        seconds = {
            name.removeprefix("time/"): value
            for name, value in metrics.items()
            if name.startswith("time/")
        }
        seconds["reward"] = self._seconds - self._counted
        seconds["environment"] -= seconds["reward"]
        self._counted = self._seconds
        self.updates.append(seconds)
        return True

    @property
    def _seconds(self) -> float:
        return 0.0 if self._reward is None else self._reward.seconds

    def table(self) -> Table:
        """Returns the mean seconds of an update, by stage and part, with their shares."""
        # What a learner does not measure counts among the other work of its stage.
        measured = {name: [one.get(name, 0.0) for one in self.updates] for name in _names()}
        mean = {name: float(np.mean(each)) for name, each in measured.items()}
        table = Table(title="Where the time of an update goes", title_justify="left", box=None)
        table.add_column("")
        table.add_column("seconds", justify="right")
        table.add_column("share", justify="right")
        total = sum(mean[stage] for stage in PARTS)
        for stage, parts in PARTS.items():
            rows: list[tuple[str | Text, float]] = [(Text(stage, "bold"), mean[stage])]
            rows += [(f"  {part}", mean[part]) for part in parts]
            rows += [("  other", mean[stage] - sum(mean[part] for part in parts))]
            for name, seconds in rows:
                table.add_row(name, f"{seconds:.4f}", f"{100 * seconds / total:.1f} %")
        table.add_row(Text("an update", "bold"), f"{total:.4f}", "100.0 %")
        return table


def _names() -> list[str]:
    return [name for stage, parts in PARTS.items() for name in (stage, *parts)]
