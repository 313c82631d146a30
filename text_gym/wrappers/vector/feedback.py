"""`Feedback` for vector environments; its meaning is `text_gym.wrappers.feedback.FeedbackRule`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from text_gym.rewards import RewardFunction
from text_gym.task import Observation
from text_gym.wrappers.feedback import FeedbackRule, Mode, mute, show_after


class Feedback(
    VectorWrapper[Observation, Any, Observation, Any, NDArray[Any]], RecordConstructorArgs
):
    """Pays finished texts by another reward function, or by one more.

    The function is called once per step, on the texts that ended, under every autoreset mode.

    Args:
        env: A vector environment that reports `infos["text_episode"]`.
        reward_function: A `RewardFunction` or a plain `fn(prompt, completion) -> float`.
        mode: `"replace"` or `"add"`.
        weight: What the feedback is multiplied by.
        name: Its name in `infos["reward_components"]`.

    Raises:
        ValueError, TypeError: As `FeedbackRule` does.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        reward_function: RewardFunction | Callable[[str, str], float],
        mode: Mode = "replace",
        weight: float = 1.0,
        name: str | None = None,
    ) -> None:
        RecordConstructorArgs.__init__(
            self,
            reward_function=reward_function,
            mode=mode,
            weight=weight,
            name=name,
            _disable_deepcopy=True,
        )
        super().__init__(env)
        self.rule = FeedbackRule(reward_function, mode, weight, name)
        self.muted = False
        if mode == "replace":
            mute(env)
        show_after(self)

    def step(
        self, actions: Any
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Steps the environment and pays for the texts that are finished."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        last = infos.get("final_info", infos)
        if "text_episode" in last and not self.muted:
            rewards = self._paid(np.array(rewards, dtype=np.float64), last)
        return observations, rewards, terminations, truncations, infos

    def _paid(self, rewards: NDArray[np.float64], last: dict[str, Any]) -> NDArray[np.float64]:
        """Returns the rewards (n,) and writes their terms into `last`."""
        rows = np.flatnonzero(last["_text_episode"])
        inner = last.get("reward_components", {})
        inner_terms = {name: term[rows] for name, term in inner.items() if f"_{name}" in inner}
        episodes = list(last["text_episode"][rows])
        rewards[rows], terms = self.rule(episodes, rewards[rows], inner_terms)
        mask = last["_text_episode"].copy()
        components: dict[str, Any] = {}
        for name, term in terms.items():
            components[name], components[f"_{name}"] = np.zeros(self.num_envs), mask.copy()
            components[name][rows] = term
        last["reward_components"], last["_reward_components"] = components, mask
        if hasattr(self.unwrapped, "show_reward"):
            for index, (row, episode) in enumerate(zip(rows.tolist(), episodes, strict=True)):
                paid = {name: float(term[index]) for name, term in terms.items()}
                self.unwrapped.show_reward(self, row, episode, float(rewards[row]), paid)
        return rewards
