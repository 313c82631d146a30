"""Learners for text: PPO whose policy is a causal language model.

The algorithms work on any vector environment whose observations are `input_ids` and
`attention_mask`. Names are loaded when first used, so that importing the package, or asking a
command for its help, does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.algorithms.acer import ACER
    from agents.algorithms.best_of_n import BestOfN
    from agents.algorithms.configs.acer import ACERConfig
    from agents.algorithms.configs.dpo import DPOConfig
    from agents.algorithms.configs.expert_iteration import ExpertIterationConfig
    from agents.algorithms.configs.groups import GRPOConfig, RLOOConfig
    from agents.algorithms.configs.ppo import PPOConfig
    from agents.algorithms.configs.reinforce import REINFORCEConfig
    from agents.algorithms.configs.reward_model import RewardModelConfig
    from agents.algorithms.configs.sft import SFTConfig
    from agents.algorithms.configs.trajectory_balance import TrajectoryBalanceConfig
    from agents.algorithms.configs.trpo import TRPOConfig
    from agents.algorithms.dpo import DPO
    from agents.algorithms.examples import Demonstrations, Preferences
    from agents.algorithms.expert_iteration import ExpertIteration
    from agents.algorithms.grpo import GRPO
    from agents.algorithms.ppo import PPO
    from agents.algorithms.reinforce import REINFORCE
    from agents.algorithms.rloo import RLOO
    from agents.algorithms.sft import SFT
    from agents.algorithms.trajectory_balance import TrajectoryBalance
    from agents.algorithms.trpo import TRPO
    from agents.callbacks import Callback, StopOnScore
    from agents.checkpoints.series import Checkpoints
    from agents.objectives.advantages import generalized_advantage_estimation
    from agents.objectives.kl import kl_estimate, sequence_kl
    from agents.objectives.losses import clipped_surrogate_loss
    from agents.policy.causal_lm import CausalLMPolicy, forward_in_chunks
    from agents.policy.config import PolicyConfig
    from agents.policy.token_batch import TokenBatch
    from agents.reward_models.ensemble import RewardEnsemble, average_weights
    from agents.reward_models.reward_model import RewardModel
    from agents.reward_models.training import train_reward_model
    from agents.rollout.buffer import Rollout
    from agents.rollout.collect import collect_rollout
    from agents.rollout.writers.continuous_batching import TransformersWriter
    from agents.rollout.writers.vllm_engine import VLLMWriter
    from agents.runs.console import ProgressBar
    from agents.runs.run_folder import RunFolder
    from agents.runs.run_page import RunPage
    from agents.runs.tracking import Tracker
    from agents.sb3_baseline.agent import SB3PPO
    from agents.sb3_baseline.gymnasium_vec_env import GymnasiumVecEnv

__all__ = [
    "ACER",
    "DPO",
    "GRPO",
    "PPO",
    "REINFORCE",
    "RLOO",
    "SB3PPO",
    "SFT",
    "TRPO",
    "ACERConfig",
    "BestOfN",
    "Callback",
    "CausalLMPolicy",
    "Checkpoints",
    "DPOConfig",
    "Demonstrations",
    "ExpertIteration",
    "ExpertIterationConfig",
    "GRPOConfig",
    "GymnasiumVecEnv",
    "PPOConfig",
    "PolicyConfig",
    "Preferences",
    "ProgressBar",
    "REINFORCEConfig",
    "RLOOConfig",
    "RewardEnsemble",
    "RewardModel",
    "RewardModelConfig",
    "Rollout",
    "RunFolder",
    "RunPage",
    "SFTConfig",
    "StopOnScore",
    "TRPOConfig",
    "TokenBatch",
    "Tracker",
    "TrajectoryBalance",
    "TrajectoryBalanceConfig",
    "TransformersWriter",
    "VLLMWriter",
    "average_weights",
    "clipped_surrogate_loss",
    "collect_rollout",
    "forward_in_chunks",
    "generalized_advantage_estimation",
    "kl_estimate",
    "sequence_kl",
    "train_reward_model",
]

_MODULES = {
    "BestOfN": "algorithms.best_of_n",
    "DPO": "algorithms.dpo",
    "DPOConfig": "algorithms.configs.dpo",
    "Demonstrations": "algorithms.examples",
    "Preferences": "algorithms.examples",
    "SFT": "algorithms.sft",
    "SFTConfig": "algorithms.configs.sft",
    "ACERConfig": "algorithms.configs.acer",
    "ACER": "algorithms.acer",
    "ExpertIterationConfig": "algorithms.configs.expert_iteration",
    "ExpertIteration": "algorithms.expert_iteration",
    "TRPOConfig": "algorithms.configs.trpo",
    "TRPO": "algorithms.trpo",
    "TrajectoryBalanceConfig": "algorithms.configs.trajectory_balance",
    "TrajectoryBalance": "algorithms.trajectory_balance",
    "RLOOConfig": "algorithms.configs.groups",
    "RLOO": "algorithms.rloo",
    "REINFORCEConfig": "algorithms.configs.reinforce",
    "REINFORCE": "algorithms.reinforce",
    "GRPOConfig": "algorithms.configs.groups",
    "GRPO": "algorithms.grpo",
    "Callback": "callbacks",
    "CausalLMPolicy": "policy.causal_lm",
    "Checkpoints": "checkpoints.series",
    "GymnasiumVecEnv": "sb3_baseline.gymnasium_vec_env",
    "PPO": "algorithms.ppo",
    "PPOConfig": "algorithms.configs.ppo",
    "PolicyConfig": "policy.config",
    "TokenBatch": "policy.token_batch",
    "RewardEnsemble": "reward_models.ensemble",
    "RewardModel": "reward_models.reward_model",
    "RewardModelConfig": "algorithms.configs.reward_model",
    "Rollout": "rollout.buffer",
    "SB3PPO": "sb3_baseline.agent",
    "StopOnScore": "callbacks",
    "average_weights": "reward_models.ensemble",
    "collect_rollout": "rollout.collect",
    "TransformersWriter": "rollout.writers.continuous_batching",
    "VLLMWriter": "rollout.writers.vllm_engine",
    "train_reward_model": "reward_models.training",
    "ProgressBar": "runs.console",
    "RunFolder": "runs.run_folder",
    "RunPage": "runs.run_page",
    "Tracker": "runs.tracking",
    "clipped_surrogate_loss": "objectives.losses",
    "forward_in_chunks": "policy.causal_lm",
    "generalized_advantage_estimation": "objectives.advantages",
    "kl_estimate": "objectives.kl",
    "sequence_kl": "objectives.kl",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"agents.{_MODULES[name]}"), name)
