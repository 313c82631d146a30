"""Proximal policy optimisation: GAE for credit, a clipped surrogate for the step.

Source: Schulman et al. 2017, "Proximal policy optimization algorithms", arXiv:1707.06347; on
language models, Ziegler et al. 2019, arXiv:1909.08593.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.policy_gradient import Credit, PolicyGradient
from agents.objectives.advantages import generalized_advantage_estimation
from agents.objectives.losses import clipped_surrogate_loss, clipped_value_loss, entropy_loss
from agents.objectives.masked import whiten
from agents.policy.causal_lm import PolicyOutputs
from agents.rollout.buffer import Rollout


class PPO(PolicyGradient[PPOConfig]):
    """Fine-tunes a policy on feedback by PPO, held near a frozen reference by a KL penalty.

    Arguments and attributes are those of `EpisodicLearner`.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from transformers import GPT2Config
        >>> from agents import CausalLMPolicy
        >>> envs = gym.make_vec("TextGen-v0", num_envs=8, autoreset_mode="Disabled")
        >>> sizes = dict(n_embd=16, n_layer=1, n_head=1, n_positions=24)
        >>> config = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        >>> policy = CausalLMPolicy.from_config(config)
        >>> agent = PPO(policy, envs, PPOConfig(n_episodes=8, batch_size=8))
        >>> agent.learn(total_episodes=16).n_updates
        2
    """

    config_class = PPOConfig

    def advantages(self, rollout: Rollout, rewards: Tensor, old: PolicyOutputs) -> Credit:
        """Estimates advantages by GAE; an episode that was cut off goes on in its value."""
        config, mask = self.config, rollout.texts.completion_mask
        assert old.values is not None
        assert old.bootstrap_values is not None
        if config.whiten_rewards:
            rewards = whiten(rewards, mask, shift_mean=False)
        return Credit(
            *generalized_advantage_estimation(
                rewards,
                old.values,
                mask,
                torch.where(rollout.truncated, old.bootstrap_values, 0),
                gamma=config.gamma,
                gae_lambda=config.gae_lambda,
            )
        )

    def loss(
        self, batch: Experience, new: PolicyOutputs, totals: StepTotals
    ) -> tuple[Tensor, Statistics]:
        """Adds up the clipped surrogate, the value loss and the entropy bonus."""
        config, mask, n_tokens = self.config, batch.texts.completion_mask, totals.n_tokens
        assert new.values is not None
        assert batch.old_values is not None
        assert batch.returns is not None
        policy = clipped_surrogate_loss(
            new.log_probs,
            batch.old_log_probs,
            batch.advantages,
            mask,
            config.clip_range,
            clip_range_high=config.clip_range_high,
            dual_clip=config.dual_clip,
            n_tokens=n_tokens,
        )
        value = clipped_value_loss(
            new.values,
            batch.old_values,
            batch.returns,
            mask,
            config.clip_range_vf,
            n_tokens=n_tokens,
        )
        entropy = entropy_loss(new.entropies, mask, n_tokens=n_tokens)
        loss = policy.loss + config.vf_coef * value.loss + config.ent_coef * entropy
        share = batch.n_tokens / n_tokens
        return loss, {
            "policy_loss": Statistic(policy.loss.item()),
            "clip_fraction": Statistic(share * policy.clip_fraction.item()),
            "value_loss": Statistic(value.loss.item()),
            "clip_fraction_vf": Statistic(share * value.clip_fraction.item()),
        }
