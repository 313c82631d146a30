"""The algorithms that a run can name, and how one takes a preset's settings over from another.

Without torch, so that the command line answers at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from agents.algorithms.configs.acer import ACERConfig
from agents.algorithms.configs.dpo import DPOConfig
from agents.algorithms.configs.expert_iteration import ExpertIterationConfig
from agents.algorithms.configs.groups import GRPOConfig, RLOOConfig
from agents.algorithms.configs.offline import OfflineConfig
from agents.algorithms.configs.policy_gradient import PolicyGradientConfig
from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.configs.reinforce import REINFORCEConfig
from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.algorithms.configs.sb3_ppo import SB3PPOConfig
from agents.algorithms.configs.sft import SFTConfig
from agents.algorithms.configs.steps import StepsConfig
from agents.algorithms.configs.trajectory_balance import TrajectoryBalanceConfig
from agents.algorithms.configs.trpo import TRPOConfig

AlgorithmConfig = (
    PPOConfig
    | REINFORCEConfig
    | RLOOConfig
    | GRPOConfig
    | TrajectoryBalanceConfig
    | ExpertIterationConfig
    | TRPOConfig
    | ACERConfig
    | SB3PPOConfig
)

ALGORITHMS: Mapping[str, type[PolicyGradientConfig]] = {
    "ppo": PPOConfig,
    "reinforce": REINFORCEConfig,
    "rloo": RLOOConfig,
    "grpo": GRPOConfig,
    "trajectory-balance": TrajectoryBalanceConfig,
    "expert-iteration": ExpertIterationConfig,
    "trpo": TRPOConfig,
    "acer": ACERConfig,
    "sb3-ppo": SB3PPOConfig,
}
"""The config of each; `sb3-ppo` is Stable-Baselines3's, told in our terms."""

OFFLINE_ALGORITHMS: Mapping[str, type[OfflineConfig]] = {
    "sft": SFTConfig,
    "dpo": DPOConfig,
    "reward-model": RewardModelConfig,
}
"""The config of each that learns from a file, by a command of its own."""

CARRIED_OVER = (
    "n_episodes",
    "batch_size",
    "micro_batch_size",
    "kl_coef",
    "kl_target",
    "kl_horizon",
    "lr_schedule",
    "seed",
)
"""What a task asks for, whoever learns it. Learning rates and epochs belong to the algorithm, or to
what is learnt by it, and start from the algorithm's own."""


def config_for(name: str, preset: PolicyGradientConfig) -> PolicyGradientConfig:
    """Returns the config of another algorithm for what a preset is about.

    Args:
        name: Of `ALGORITHMS`.
        preset: Of the algorithm that the preset was written for.

    Raises:
        ValueError: If the algorithm cannot do what the preset asks for; names the field.
    """
    config_class = ALGORITHMS[name]
    if type(preset) is config_class:
        return preset
    if issubclass(config_class, type(preset)):  # the same algorithm, by somebody else
        return config_class(**dataclasses.asdict(preset))
    carried = {field: getattr(preset, field) for field in CARRIED_OVER}
    if config_class is not TRPOConfig:  # whose learning rate is of the values alone
        carried["learning_rate"] = preset.learning_rate
    defaults = {field.name: field.default for field in dataclasses.fields(config_class)}
    if carried["kl_coef"] == 0 and config_class in (TrajectoryBalanceConfig, ExpertIterationConfig):
        carried["kl_coef"] = defaults["kl_coef"]  # there is no optimum without a price
    return config_class(**carried)


def config_class_of(options: Collection[str]) -> type[StepsConfig] | None:
    """Returns the config that has just these options; None if there is none."""
    known: Iterable[type[StepsConfig]] = (*ALGORITHMS.values(), *OFFLINE_ALGORITHMS.values())
    return next((kind for kind in known if _options(kind) == set(options)), None)


def _options(kind: type[StepsConfig]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def name_of(config: StepsConfig) -> str:
    """Returns the name of the algorithm that a config is of."""
    known = {**ALGORITHMS, **OFFLINE_ALGORITHMS}
    return next(name for name, kind in known.items() if type(config) is kind)
