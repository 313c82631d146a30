"""`PotentialShaping` for vector environments; its meaning is `ShapingRule`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.rewards import RewardFunction
from text_gym.task import Observation
from text_gym.wrappers.potential_shaping import ShapingRule
from text_gym.wrappers.vector.rule_wrapper import RuleWrapper


class PotentialShaping(RuleWrapper):
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
        super().__init__(env, ShapingRule, potential=potential, gamma=gamma, name=name)
