"""A reward transform around one environment: `TransformWrapper`, below every reward wrapper.

It handles what all of them share: infos, components, skipping, what people are shown, seeds and
state. What is paid is the transform's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from text_gym.inner_env import require_text, task_of
from text_gym.reward_source import RewardSource, ShowsRewards
from text_gym.task import Observation
from text_gym.wrappers.partial_episodes import UNLISTED, TextTracker, refuse_turns
from text_gym.wrappers.reward_transform import (
    EpisodeTransform,
    Finished,
    RewardTransform,
    RewardUpdate,
    Rows,
    Step,
    StepTransform,
)

P = ParamSpec("P")
ROW: Rows = np.zeros(1, dtype=np.intp)
NONE: Rows = np.zeros(0, dtype=np.intp)


def skip_rewards(env: Any) -> None:
    """Tells every layer from `env` inwards that its rewards are not wanted."""
    layer = env
    while layer is not None:
        if isinstance(layer, RewardSource):
            layer.reward_skipped = True
        elif hasattr(layer, "set_attr"):  # one of Gymnasium's vectors: reaches each outermost layer
            layer.set_attr("reward_skipped", True)
        layer = getattr(layer, "env", None)


def show_after(wrapper: Any) -> None:
    """Makes the environment show a text to a person when `wrapper` has paid for it, not before."""
    if isinstance(wrapper.unwrapped, ShowsRewards):
        wrapper.unwrapped.outermost_reward_wrapper = wrapper


def refuse_twice(names: set[str]) -> None:
    """Raises ValueError for terms that were already paid from inside."""
    if names:
        raise ValueError(f"name must differ from the components already paid, got {sorted(names)}")


class Resumable:
    """Saves and restores a wrapper's own state, and nothing of the environment inside.

    Attributes:
        transform: What the wrapper pays.
        tracker: The texts being written; None where the transform acts on finished ones.
    """

    transform: RewardTransform
    tracker: TextTracker | None

    def get_state(self) -> dict[str, Any]:
        """Returns what `set_state` needs to go on bit for bit; survives JSON and pickle."""
        texts = {} if self.tracker is None else {"texts": self.tracker.get_state()}
        return {"rule": self.transform.get_state(), **texts}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that `get_state` returned.

        Raises:
            ValueError: If it is the state of another number of rows.
        """
        if self.tracker is not None:
            self.tracker.set_state(state["texts"])
        self.transform.set_state(state["rule"])


class TransformWrapper(
    gym.Wrapper[Observation, Any, Observation, Any], RecordConstructorArgs, Resumable
):
    """Pays by a reward transform.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        transform: The class of the transform.
        **arguments: The transform's arguments, which are recorded as the wrapper's own.

    Raises:
        ValueError: If the environment writes no texts.
    """

    def __init__(
        self,
        env: gym.Env[Observation, Any],
        transform: Callable[P, RewardTransform],
        /,
        *args: P.args,
        **arguments: P.kwargs,
    ) -> None:
        RecordConstructorArgs.__init__(self, **arguments, _disable_deepcopy=True)
        super().__init__(env)
        self.transform = transform(*args, **arguments)
        self.tracker = None
        require_text(env.unwrapped.observation_space)
        if isinstance(self.transform, StepTransform):
            self.tracker = TextTracker(1, env.observation_space, lambda: [task_of(env)])
        self._reward_skipped = False
        if self.transform.replaces:
            skip_rewards(env)
        if self.transform.gives_feedback:
            show_after(self)

    @property
    def reward_skipped(self) -> bool:
        """True where an outer wrapper replaces the feedback; setting it reaches inside too."""
        return self._reward_skipped

    @reward_skipped.setter
    def reward_skipped(self, reward_skipped: bool) -> None:
        self._reward_skipped = reward_skipped
        if reward_skipped:
            skip_rewards(self.env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets the environment; a seed starts the wrapper's own random stream anew too."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self.transform.seed(0, seed)
        self._begin(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """Steps the environment and pays by the transform."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not self.reward_skipped:
            update = self._reward_update(observation, float(reward), terminated, info)
            if update is not None and update.rewards.size:
                reward = self._add_to_infos(update, info)
        if self.tracker is not None and (terminated or truncated):
            self.tracker.end(ROW)
        self._begin(observation, info)  # under Gymnasium's `Autoreset` a step may begin a text
        return observation, reward, terminated, truncated, info

    def _reward_update(
        self, observation: Observation, reward: float, terminated: bool, info: dict[str, Any]
    ) -> RewardUpdate | None:
        rewards = np.array([reward])
        episodes = [info["text_episode"]] if "text_episode" in info else []
        if isinstance(self.transform, EpisodeTransform):
            return self.transform.apply(Finished(ROW, rewards, episodes)) if episodes else None
        assert isinstance(self.transform, StepTransform)
        assert self.tracker is not None
        refuse_turns(info)
        if not self.tracker.rows.size:
            return None
        texts = self.tracker.texts(ROW, *_batched(observation))
        finished = ROW if episodes else NONE
        step = Step(ROW, rewards, np.array([terminated]), texts, finished, episodes)
        return self.transform.apply(step)

    def _add_to_infos(self, update: RewardUpdate, info: dict[str, Any]) -> float:
        """Writes a update into `info` and returns its reward."""
        inner = {} if self.transform.replaces else info.get("reward_components", {})
        refuse_twice(update.components.keys() & inner.keys())
        terms = {name: float(term[0]) for name, term in update.components.items()}
        reward = float(update.rewards[0])
        info["reward_components"] = components = {**inner, **terms}
        info.update({key: value[0].item() for key, value in update.infos.items()})
        if self.transform.gives_feedback and "text_episode" in info:
            self._show(reward, components, update)
        return reward

    def _show(self, reward: float, components: dict[str, float], update: RewardUpdate) -> None:
        """Tells the environment what the text was paid in all, for rendering and curricula."""
        if hasattr(self.unwrapped, "show_reward"):
            cumulative = {name: float(term[0]) for name, term in update.cumulative.items()}
            earlier = sum(cumulative[name] - components[name] for name in cumulative)
            self.unwrapped.show_reward(self, reward + earlier, {**components, **cumulative})

    def _begin(self, observation: Observation, info: dict[str, Any]) -> None:
        if (
            isinstance(self.transform, StepTransform)
            and "prompt_length" in info
            and not self.reward_skipped
        ):
            assert self.tracker is not None
            self.tracker.begin(ROW, info["prompt_length"], info.get("prompt_id", UNLISTED))
            self.transform.begin(ROW, self.tracker.texts(ROW, *_batched(observation)))


def _batched(observation: Observation) -> tuple[Any, Any]:
    return observation["input_ids"][None], observation["attention_mask"][None]
