"""RLOO: every text is compared with the others of its prompt.

Source: Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free!"; on language models,
Ahmadian et al. 2024, "Back to basics", arXiv:2402.14740. The action is the whole text: one ratio
and one advantage, the KL penalty included, for all of its tokens. With `risk_sharpness` it is
minimum-risk training instead (Shen et al. 2016, arXiv:1512.02433): the texts of a prompt are its
whole space, in which the policy is renormalised.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.algorithms.configs.groups import RLOOConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.policy_gradient import Credit, PolicyGradient
from agents.algorithms.weighing import Weighs
from agents.objectives.credit import (
    leave_one_out_advantages,
    minimum_risk_advantages,
    over_tokens,
)
from agents.objectives.losses import entropy_loss, token_mean
from agents.objectives.policy_losses import sequence_surrogate_loss
from agents.policy.causal_lm import PolicyOutputs
from agents.rollout.buffer import Rollout
from agents.rollout.groups import copies, reported_groups


class RLOO(PolicyGradient[RLOOConfig]):
    """Fine-tunes a policy on feedback by REINFORCE with a leave-one-out baseline.

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
        >>> agent = RLOO(policy, envs, RLOOConfig(n_episodes=8, batch_size=8, group_size=4))
        >>> agent.learn(total_episodes=16).n_updates
        2
    """

    config_class = RLOOConfig

    @property
    def weighs(self) -> Weighs:
        """Texts: each is one action; those of minimum risk are a space, whoever wrote them."""
        return "texts" if self.config.risk_sharpness is None else "nothing"

    def advantages(self, rollout: Rollout, rewards: Tensor, old: PolicyOutputs) -> Credit:
        """Compares each text's reward, less its KL penalty, with the others of its prompt."""
        groups, mask = (
            reported_groups(rollout, self.config.group_size),
            rollout.texts.completion_mask,
        )
        scores = rewards.sum(dim=1)
        if self.config.risk_sharpness is None:
            return Credit(over_tokens(leave_one_out_advantages(scores, groups), mask))
        advantages = minimum_risk_advantages(
            scores,
            torch.where(mask, old.log_probs, 0).sum(dim=1),
            copies(rollout.texts, groups),
            groups,
            sharpness=self.config.risk_sharpness,
        )
        return Credit(over_tokens(advantages, mask))

    def loss(
        self, batch: Experience, new: PolicyOutputs, totals: StepTotals
    ) -> tuple[Tensor, Statistics]:
        """Adds up the clipped surrogate over whole texts and the entropy bonus."""
        mask = batch.texts.completion_mask
        policy = sequence_surrogate_loss(
            new.log_probs,
            batch.old_log_probs,
            batch.episode_advantages,
            mask,
            self.config.clip_range,
            per_token=False,
            n_sequences=totals.n_episodes,
        )
        entropy = entropy_loss(new.entropies, mask, n_tokens=totals.n_tokens)
        share = batch.n_episodes / totals.n_episodes
        return policy.loss + self.config.ent_coef * entropy, {
            "policy_loss": Statistic(policy.loss.item()),
            "clip_fraction": Statistic(share * policy.clip_fraction.item()),
        }

    def added_up(self, terms: Tensor, mask: Tensor, totals: StepTotals) -> Tensor:
        """Returns the mean over texts of each text's sum."""
        return token_mean(terms, mask, totals.n_episodes)
