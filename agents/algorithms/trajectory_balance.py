"""Trajectory balance: log π/π_ref of every text is regressed to R/β - log Z, by squared error.

The residual is 0 for every text at the optimum of E[R] - β KL, whoever wrote it, so that texts can
be learnt from again without importance weights. log Z of a prompt is the mean over its group.

Source: Malkin et al. 2022, arXiv:2201.13259; on language models with replay, TBA (Bartoldson et al.
2025, arXiv:2503.18929); log Z from the group, VarGrad (Richter et al. 2020, arXiv:2010.10436).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents.algorithms.configs.trajectory_balance import TrajectoryBalanceConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.policy_gradient import Credit, PolicyGradient
from agents.algorithms.replay import Remembered, Replay
from agents.algorithms.weighing import Weighs
from agents.objectives.credit import over_tokens
from agents.objectives.losses import entropy_loss
from agents.objectives.masked import masked_sum
from agents.objectives.trajectory_balance import (
    group_log_z,
    trajectory_balance_loss,
    trajectory_balance_residuals,
)
from agents.policy.causal_lm import PolicyOutputs, forward_in_chunks
from agents.rollout.buffer import Rollout
from agents.rollout.groups import reported_groups


class TrajectoryBalance(PolicyGradient[TrajectoryBalanceConfig]):
    """Fine-tunes a policy towards the optimum of E[R] - β KL, on new texts and on earlier ones.

    Arguments and attributes are those of `EpisodicLearner`; the environments must report
    `group_id`, as those with `GroupedPrompts` do.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from transformers import GPT2Config
        >>> from agents import CausalLMPolicy, PolicyConfig
        >>> from text_gym.prompt_sources import GroupedPrompts
        >>> prompts = GroupedPrompts(["hello", "how are you ?"], size=4)
        >>> envs = gym.make_vec(
        ...     "TextGen-v0", num_envs=8, prompts=prompts, autoreset_mode="Disabled"
        ... )
        >>> sizes = dict(n_embd=16, n_layer=1, n_head=1, n_positions=24)
        >>> config = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        >>> policy = CausalLMPolicy.from_config(config, PolicyConfig(value_network="none"))
        >>> settings = TrajectoryBalanceConfig(n_episodes=8, batch_size=8, group_size=4)
        >>> TrajectoryBalance(policy, envs, settings).learn(total_episodes=16).n_updates
        2
    """

    config_class = TrajectoryBalanceConfig

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._replay = Replay(self.config.replay_size, self._vocabulary_mask)

    @property
    def weighs(self) -> Weighs:
        """Nothing: the residual of a text is 0 at the optimum, whoever wrote it."""
        return "nothing"

    def estimate(
        self, rollout: Rollout, old: PolicyOutputs, ref_log_probs: Tensor
    ) -> tuple[Experience, dict[str, float]]:
        """Remembers the batch, beside what every algorithm does with it."""
        experience, metrics = super().estimate(rollout, old, ref_log_probs)
        self._replay.add(
            Remembered(
                rollout.texts,
                rollout.rewards,
                ref_log_probs,
                reported_groups(rollout, self.config.group_size),
                rollout.truncated,
            )
        )
        return experience, metrics

    def advantages(self, rollout: Rollout, rewards: Tensor, old: PolicyOutputs) -> Credit:
        """Returns what log π/π_ref of each text is regressed to, R/β - log Z, at all its tokens.

        `rewards` hold the penalty β log π/π_ref, so that R/β - log π/π_ref is their sum over β.
        """
        mask, beta = rollout.texts.completion_mask, self.kl_controller.kl_coef
        scores = rollout.scores.to(rewards.dtype)
        log_ratios = (scores - rewards.sum(dim=1)) / beta
        groups = reported_groups(rollout, self.config.group_size)
        return self._targets(log_ratios, scores, groups, mask)

    def loss(
        self, batch: Experience, new: PolicyOutputs, totals: StepTotals
    ) -> tuple[Tensor, Statistics]:
        """Adds up the squared residuals and the entropy bonus."""
        mask, beta = batch.texts.completion_mask, self.kl_controller.kl_coef
        zeros = torch.zeros_like(batch.episode_advantages)
        residuals = trajectory_balance_residuals(
            new.log_probs, batch.ref_log_probs, mask, zeros, -batch.episode_advantages, beta
        )
        loss = trajectory_balance_loss(residuals, beta, n_sequences=totals.n_episodes)
        entropy = entropy_loss(new.entropies, mask, n_tokens=totals.n_tokens)
        mean_square = residuals.detach().square().sum().item() / totals.n_episodes
        return loss + self.config.ent_coef * entropy, {
            "policy_loss": Statistic(loss.item()),
            "residual_mean_square": Statistic(mean_square),
        }

    def update(self, experience: Experience) -> dict[str, float]:
        """Learns from the new batch, then from batches drawn from all that are remembered."""
        metrics = super().update(experience)
        n_groups = self.config.n_episodes // self.config.group_size
        for _ in range(min(self.config.replay_ratio, len(self._replay) - 1)):
            remembered = self._replay.draw(n_groups, self.shuffling)
            super().update(self._experience(remembered))
        return metrics

    def tensors(self) -> dict[str, Tensor]:
        """Returns the averaged parameters and what is remembered."""
        return super().tensors() | self._replay.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from what `tensors` returned."""
        super().load_tensors(self._replay.load_tensors(tensors, self.policy.device))

    def _experience(self, remembered: Remembered) -> Experience:
        """Returns remembered texts as the policy sees them now."""
        chunk = self.config.micro_batch_size or self.config.batch_size
        old = forward_in_chunks(self.policy, remembered.texts, chunk)
        mask = remembered.texts.completion_mask
        log_ratios = masked_sum(old.log_probs - remembered.ref_log_probs, mask, dim=1)
        scores = remembered.rewards.sum(dim=1).to(log_ratios.dtype)
        credit = self._targets(log_ratios, scores, remembered.group_ids, mask)
        return Experience(
            remembered.texts,
            old.log_probs,
            remembered.ref_log_probs,
            None,
            credit.advantages,
            None,
        )

    def _targets(
        self, log_ratios: Tensor, scores: Tensor, group_ids: Tensor, mask: Tensor
    ) -> Credit:
        beta = self.kl_controller.kl_coef
        log_z = group_log_z(log_ratios, scores, group_ids, beta)
        return Credit(over_tokens(scores / beta - log_z, mask))
