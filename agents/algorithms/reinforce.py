"""REINFORCE: every token is credited with what was paid from it on, less a baseline.

Source: Williams 1992, "Simple statistical gradient-following algorithms for connectionist
reinforcement learning", https://doi.org/10.1007/BF00992696; with the mean of the batch as baseline,
REINFORCE++ (Hu et al. 2025, arXiv:2501.03262).
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.algorithms.configs.reinforce import REINFORCEConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.policy_gradient import Credit, PolicyGradient
from agents.objectives.advantages import generalized_advantage_estimation
from agents.objectives.credit import batch_mean_advantages, monte_carlo_returns
from agents.objectives.losses import clipped_value_loss, entropy_loss
from agents.objectives.policy_losses import policy_gradient_loss
from agents.policy.causal_lm import PolicyOutputs
from agents.rollout.buffer import Rollout


class REINFORCE(PolicyGradient[REINFORCEConfig]):
    """Fine-tunes a policy on feedback by the plain policy gradient.

    Arguments and attributes are those of `EpisodicLearner`.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from transformers import GPT2Config
        >>> from agents import CausalLMPolicy, PolicyConfig
        >>> envs = gym.make_vec("TextGen-v0", num_envs=8, autoreset_mode="Disabled")
        >>> sizes = dict(n_embd=16, n_layer=1, n_head=1, n_positions=24)
        >>> config = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        >>> policy = CausalLMPolicy.from_config(config, PolicyConfig(value_network="none"))
        >>> settings = REINFORCEConfig(n_episodes=8, batch_size=8, baseline="batch_mean")
        >>> REINFORCE(policy, envs, settings).learn(total_episodes=16).n_updates
        2
    """

    config_class = REINFORCEConfig

    def advantages(self, rollout: Rollout, rewards: Tensor, old: PolicyOutputs) -> Credit:
        """Compares returns with values, or with the mean of the batch."""
        mask, gamma = rollout.texts.completion_mask, self.config.gamma
        if old.values is None or old.bootstrap_values is None:
            nothing = torch.zeros_like(rewards[:, 0])
            returns = monte_carlo_returns(rewards, mask, nothing, gamma=gamma)
            return Credit(batch_mean_advantages(returns, mask, scale=False))
        bootstrap = torch.where(rollout.truncated, old.bootstrap_values, 0)
        return Credit(
            *generalized_advantage_estimation(
                rewards, old.values, mask, bootstrap, gamma=gamma, gae_lambda=1.0
            )
        )

    def loss(
        self, batch: Experience, new: PolicyOutputs, totals: StepTotals
    ) -> tuple[Tensor, Statistics]:
        """Adds up the policy gradient's loss, the value loss and the entropy bonus."""
        config, mask, n_tokens = self.config, batch.texts.completion_mask, totals.n_tokens
        policy = policy_gradient_loss(new.log_probs, batch.advantages, mask, n_tokens=n_tokens)
        loss = policy + config.ent_coef * entropy_loss(new.entropies, mask, n_tokens=n_tokens)
        statistics = {"policy_loss": Statistic(policy.item())}
        if new.values is None or batch.old_values is None or batch.returns is None:
            return loss, statistics
        value = clipped_value_loss(
            new.values, batch.old_values, batch.returns, mask, None, n_tokens=n_tokens
        ).loss
        return loss + config.vf_coef * value, statistics | {"value_loss": Statistic(value.item())}
