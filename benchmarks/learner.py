"""How one algorithm is told to learn, whatever the task. Knows no task."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, NamedTuple

from gymnasium.vector import VectorEnv

from agents import CausalLMPolicy, PolicyConfig
from agents.algorithms.health_checks import TrainingStopped
from agents.algorithms.policy_gradient import PolicyGradient

ValueNetwork = Literal["shared", "separate"]


class Learner(NamedTuple):
    """Says how one algorithm learns.

    Attributes:
        name: In figures.
        algorithm: What learns.
        settings: Of its config, beside those of all learners.
        group_size: Texts of a prompt; 0: the algorithm compares none.
        value_network: Of an algorithm that learns values.
    """

    name: str
    algorithm: type[PolicyGradient[Any]]
    settings: Mapping[str, Any]
    group_size: int = 0
    value_network: ValueNetwork = "shared"

    def config(self, **shared: Any) -> Any:
        """Returns the hyperparameters; its own settings come before those of all learners."""
        group = {"group_size": self.group_size} if self.group_size else {}
        return self.algorithm.config_class(**{**shared, **group, **self.settings})

    def options(self, config: Any) -> PolicyConfig:
        """Returns the options of a policy that the algorithm accepts."""
        return PolicyConfig(
            value_network=self.value_network if config.learns_values else "none",
            action_values=config.learns_action_values,
        )

    def agent(
        self, policy: CausalLMPolicy, envs: VectorEnv[Any, Any, Any], config: Any, **more: Any
    ) -> PolicyGradient[Any]:
        """Returns what learns."""
        return self.algorithm(policy, envs, config, **more)


def averaged(agent: PolicyGradient[Any]) -> AbstractContextManager[None]:
    """Puts averaged parameters in place for a while, if the agent keeps any."""
    return agent.average.in_place() if agent.average else nullcontext()


def learnt(agent: PolicyGradient[Any], episodes: int) -> str:
    """Lets an agent learn, and returns why a health check stopped it; nothing if none did."""
    try:
        agent.learn(episodes)
    except TrainingStopped as reason:
        return str(reason)
    return ""
