"""A reward rule around one environment: `RuleWrapper`, on which every reward wrapper stands.

It handles what all of them share: infos, components, muting, what people are shown, seeds and
state. What is paid is the rule's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from text_gym.task import Observation
from text_gym.wrappers.reward_rule import (
    EpisodeRule,
    Finished,
    Payment,
    RewardRule,
    Rows,
    Step,
    StepRule,
)
from text_gym.wrappers.texts_so_far import UNLISTED, TextTracker

P = ParamSpec("P")
ROW: Rows = np.zeros(1, dtype=np.intp)
NONE: Rows = np.zeros(0, dtype=np.intp)


def mute(env: Any) -> None:
    """Tells every layer from `env` inwards that its feedback is not wanted."""
    layer = env
    while layer is not None:
        if hasattr(layer, "muted"):
            layer.muted = True
        elif hasattr(layer, "set_attr"):  # one of Gymnasium's vectors: reaches each outermost layer
            layer.set_attr("muted", True)
        layer = getattr(layer, "env", None)


def show_after(payer: Any) -> None:
    """Makes the environment show a text to a person when `payer` has paid for it, not before."""
    if hasattr(payer.unwrapped, "payer"):
        payer.unwrapped.payer = payer


def refuse_twice(names: set[str]) -> None:
    """Raises ValueError for terms that were already paid from inside."""
    if names:
        raise ValueError(f"name must differ from the components already paid, got {sorted(names)}")


class Resumable:
    """Saves and restores a wrapper's own state, and nothing of the environment inside.

    Attributes:
        rule: What the wrapper pays.
        tracker: The texts being written; None where the rule acts on finished ones.
    """

    rule: RewardRule
    tracker: TextTracker | None

    def get_state(self) -> dict[str, Any]:
        """Returns what `set_state` needs to go on bit for bit; survives JSON and pickle."""
        texts = {} if self.tracker is None else {"texts": self.tracker.get_state()}
        return {"rule": self.rule.get_state(), **texts}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state that `get_state` returned.

        Raises:
            ValueError: If it is the state of another number of rows.
        """
        if self.tracker is not None:
            self.tracker.set_state(state["texts"])
        self.rule.set_state(state["rule"])


class RuleWrapper(
    gym.Wrapper[Observation, Any, Observation, Any], RecordConstructorArgs, Resumable
):
    """Pays by a reward rule.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        rule: The class of the rule.
        **arguments: The rule's arguments, which are recorded as the wrapper's own.
    """

    def __init__(
        self,
        env: gym.Env[Observation, Any],
        rule: Callable[P, RewardRule],
        /,
        *args: P.args,
        **arguments: P.kwargs,
    ) -> None:
        RecordConstructorArgs.__init__(self, **arguments, _disable_deepcopy=True)
        super().__init__(env)
        self.rule = rule(*args, **arguments)
        self.tracker = None
        if isinstance(self.rule, StepRule):
            space = env.observation_space
            self.tracker = TextTracker(1, space, lambda: [env.get_wrapper_attr("task")])
        self._muted = False
        if self.rule.replaces:
            mute(env)
        if self.rule.gives_feedback:
            show_after(self)

    @property
    def muted(self) -> bool:
        """True where an outer wrapper replaces the feedback; setting it mutes the inside too."""
        return self._muted

    @muted.setter
    def muted(self, muted: bool) -> None:
        self._muted = muted
        if muted:
            mute(self.env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets the environment; a seed starts the wrapper's own random stream anew too."""
        observation, info = self.env.reset(seed=seed, options=options)
        if seed is not None:
            self.rule.seed(0, seed)
        self._begin(observation, info)
        return observation, info

    def step(self, action: Any) -> tuple[Observation, Any, bool, bool, dict[str, Any]]:
        """Steps the environment and pays by the rule."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if not self.muted:
            payment = self._payment(observation, float(reward), terminated, info)
            if payment is not None and payment.rewards.size:
                reward = self._filed(payment, info)
        if self.tracker is not None and (terminated or truncated):
            self.tracker.end(ROW)
        self._begin(observation, info)  # under Gymnasium's `Autoreset` a step may begin a text
        return observation, reward, terminated, truncated, info

    def _payment(
        self, observation: Observation, reward: float, terminated: bool, info: dict[str, Any]
    ) -> Payment | None:
        rewards = np.array([reward])
        episodes = [info["text_episode"]] if "text_episode" in info else []
        if isinstance(self.rule, EpisodeRule):
            return self.rule.pay(Finished(ROW, rewards, episodes)) if episodes else None
        assert isinstance(self.rule, StepRule)
        assert self.tracker is not None
        if not self.tracker.rows.size:
            return None
        texts = self.tracker.texts(ROW, *_batched(observation))
        finished = ROW if episodes else NONE
        step = Step(ROW, rewards, np.array([terminated]), texts, finished, episodes)
        return self.rule.pay(step)

    def _filed(self, payment: Payment, info: dict[str, Any]) -> float:
        """Writes a payment into `info` and returns its reward."""
        inner = {} if self.rule.replaces else info.get("reward_components", {})
        refuse_twice(payment.terms.keys() & inner.keys())
        terms = {name: float(term[0]) for name, term in payment.terms.items()}
        reward = float(payment.rewards[0])
        info["reward_components"] = components = {**inner, **terms}
        info.update({key: value[0].item() for key, value in payment.infos.items()})
        if self.rule.gives_feedback and "text_episode" in info:
            self._show(reward, components, payment)
        return reward

    def _show(self, reward: float, components: dict[str, float], payment: Payment) -> None:
        """Tells the environment what the text was worth, for rendering and curricula."""
        if hasattr(self.unwrapped, "show_reward"):
            worth = {name: float(term[0]) for name, term in payment.worth.items()}
            earlier = sum(worth[name] - components[name] for name in worth)
            self.unwrapped.show_reward(self, reward + earlier, {**components, **worth})

    def _begin(self, observation: Observation, info: dict[str, Any]) -> None:
        if isinstance(self.rule, StepRule) and "prompt_length" in info and not self.muted:
            assert self.tracker is not None
            self.tracker.begin(ROW, info["prompt_length"], info.get("prompt_id", UNLISTED))
            self.rule.begin(ROW, self.tracker.texts(ROW, *_batched(observation)))


def _batched(observation: Observation) -> tuple[Any, Any]:
    return observation["input_ids"][None], observation["attention_mask"][None]
