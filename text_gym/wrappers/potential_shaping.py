"""Dense reward that provably keeps the optimal policy: `PotentialShaping`.

Ng, Harada and Russell, "Policy invariance under reward transformations" (ICML 1999).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.rewards import RewardFunction, as_reward_function
from text_gym.rewards.function import score
from text_gym.task import Observation
from text_gym.wrappers.partial_episodes import PartialEpisodes
from text_gym.wrappers.reward_transform import RewardUpdate, Rows, Step, StepTransform
from text_gym.wrappers.transform_wrapper import TransformWrapper
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper


class ShapingTransform(StepTransform):
    """Adds F(s, s') = γ·Φ(s') − Φ(s) to every step, with Φ = 0 at a terminal state.

    Along an episode from s₀ the sum Σ γᵗ·F telescopes to −Φ(s₀), whatever is written: every policy
    loses the same, so the best stays the best. A truncated state is not terminal and keeps its Φ:
    whoever bootstraps there learns V − Φ, as everywhere else.

    Raises:
        ValueError: If `gamma` is not in [0, 1].
        TypeError: If `potential` is not a reward function.
    """

    gives_feedback = False

    def __init__(
        self,
        potential: RewardFunction | Callable[[str, str], float],
        gamma: float = 1.0,
        name: str = "shaping",
    ) -> None:
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma must be in [0, 1], got {gamma}")
        self.potential = as_reward_function(potential, "potential")
        self.gamma = gamma
        self.name = name
        self._potentials: dict[int, float] = {}

    def begin(self, rows: Rows, texts: PartialEpisodes) -> None:
        """Notes the potentials of the prompts."""
        potentials = score(self.potential, texts.episodes()).total
        self._potentials.update(zip(rows.tolist(), potentials.tolist(), strict=True))

    def apply(self, step: Step) -> RewardUpdate:
        """Returns the rewards from inside plus the differences of potential."""
        rows = step.rows.tolist()
        before = np.array([self._potentials[row] for row in rows])
        after = np.zeros(len(rows))
        going_on = np.flatnonzero(~step.terminated)
        after[going_on] = score(self.potential, step.texts.episodes(going_on)).total
        self._potentials.update(zip(rows, after.tolist(), strict=True))
        shaping = self.gamma * after - before
        return RewardUpdate(step.rewards + shaping, {self.name: shaping})

    def get_state(self) -> dict[str, Any]:
        """Returns the potentials of the texts being written."""
        return {"potentials": list(self._potentials.items())}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on with these potentials."""
        self._potentials = dict(state["potentials"])


class PotentialShaping(TransformWrapper):
    """Adds the discounted gain in a potential of the text so far to every step.

    The optimal policy stays the same, and every return changes by minus the potential of the
    prompt, provided that the learner discounts by the same `gamma`.

    Args:
        env: An environment that reports `info["text_episode"]`, as `TextGenEnv` does.
        potential: Φ, any reward function: it is called once per step on the texts so far, as
            episodes whose `stop_reason` is `"length"`. The end of a text has potential 0.
        gamma: γ, the learner's discount factor.
        name: Its name in `info["reward_components"]`.

    Raises:
        ValueError: If `gamma` is not in [0, 1], or `env` has observations of another kind.
        TypeError: If `potential` is not a reward function.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.rewards import WordCount
        >>> from text_gym.wrappers import PotentialShaping
        >>> env = PotentialShaping(gym.make("TextGen-v0"), WordCount())
        >>> _ = env.reset(seed=0)
        >>> env.step(env.unwrapped.tokenizer.encode("fine")[0])[1]
        1.0
        >>> env.step(env.unwrapped.tokenizer.eos_token_id)[4]["reward_components"]
        {'word_count': 1.0, 'shaping': -1.0}
    """

    def __init__(
        self,
        env: gym.Env[Observation, Any],
        potential: RewardFunction | Callable[[str, str], float],
        gamma: float = 1.0,
        name: str = "shaping",
    ) -> None:
        super().__init__(env, ShapingTransform, potential=potential, gamma=gamma, name=name)


class VectorPotentialShaping(VectorTransformWrapper):
    """Adds the discounted gain in a potential of the text so far to every step.

    The potential is called once per step, on the texts that go on, and once on those that begin.

    Arguments and errors are those of `text_gym.wrappers.PotentialShaping`.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        potential: RewardFunction | Callable[[str, str], float],
        gamma: float = 1.0,
        name: str = "shaping",
    ) -> None:
        super().__init__(env, ShapingTransform, potential=potential, gamma=gamma, name=name)
