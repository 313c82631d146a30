"""The profile: its parts, its sums, and that timing a reward changes no number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from agents.runs.profile import PARTS, Profile, TimedReward
from text_gym import Episode, TextGenVectorEnv
from text_gym.rewards import Keyword, WeightedSum, WordCount
from text_gym.rewards.function import score


def finished_episodes() -> list[Episode]:
    envs = TextGenVectorEnv(3, autoreset_mode="Disabled", max_new_tokens=4)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    infos: dict[str, Any] = {}
    for _ in range(4):
        *_, infos = envs.step(envs.action_space.sample())
    return list(infos["text_episode"])


@pytest.mark.parametrize(
    "reward",
    [
        WordCount(),
        WeightedSum({"words": WordCount(), "you": Keyword(["you"])}, {"words": 2.0, "you": 1.0}),
    ],
)
def test_a_timed_reward_pays_and_reports_what_the_reward_does(reward: Any) -> None:
    episodes = finished_episodes()
    timed = TimedReward(reward)
    plain, measured = score(reward, episodes), score(timed, episodes)
    assert measured.total.tolist() == plain.total.tolist() == timed(episodes).tolist()
    assert measured.components.keys() == plain.components.keys()
    assert timed.seconds > 0


class SlowReward:
    name = "slow"

    def __call__(self, episodes: Sequence[Episode]) -> Any:
        return np.ones(len(episodes))


def times(**changes: float) -> dict[str, float]:
    seconds = {f"time/{part}": 1.0 for parts in PARTS.values() for part in parts}
    del seconds["time/reward"]
    stages = {"time/generate": 5.0, "time/score": 2.0, "time/train": 3.0}
    return {"rollout/kl": 0.0, **seconds, **stages, **changes}


def test_feedback_is_taken_out_of_the_environment_and_evaluation_left_out() -> None:
    reward = TimedReward(SlowReward())
    profile = Profile(reward)
    reward.seconds = 9.0  # of the evaluation before training
    profile.on_training_start(None, 1)  # type: ignore[arg-type]
    for spent in (0.25, 0.75):
        reward.seconds += spent
        assert profile.on_update_end(None, times())  # type: ignore[arg-type]
    assert [one["reward"] for one in profile.updates] == [0.25, 0.75]
    assert [one["environment"] for one in profile.updates] == [0.75, 0.25]


def test_the_table_gives_means_and_shares_that_add_up() -> None:
    reward = TimedReward(SlowReward())
    profile = Profile(reward)
    reward.seconds += 0.5
    profile.on_update_end(None, times())  # type: ignore[arg-type]
    console = Console(width=60)
    with console.capture() as capture:
        console.print(profile.table())
    lines = [line.split() for line in capture.get().splitlines()]
    rows = {line[0]: line[1:] for line in lines if len(line) == 4 and line[-1] == "%"}
    assert rows["generate"] == ["5.0000", "50.0", "%"]
    assert rows["reward"] == ["0.5000", "5.0", "%"]
    assert rows["environment"] == ["0.5000", "5.0", "%"]
    assert rows["forward"] == ["1.0000", "10.0", "%"]
    assert ["other", "2.0000", "20.0", "%"] in lines  # of generating: 5 - 3
    assert ["an", "update", "10.0000", "100.0", "%"] in lines
