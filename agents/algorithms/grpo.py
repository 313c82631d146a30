"""GRPO and the algorithms that grew from it: Dr. GRPO, DAPO, GSPO, CISPO, as options.

Source: Shao et al. 2024, "DeepSeekMath", arXiv:2402.03300. The options and their sources are in
`GRPOConfig`.
"""

from __future__ import annotations

from torch import Tensor

from agents.algorithms.configs.groups import GRPOConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.experience import Experience, StepTotals
from agents.algorithms.policy_gradient import Credit, PolicyGradient
from agents.algorithms.weighing import Weighs
from agents.objectives.aggregation import Aggregation, normaliser, weighted, without_truncated
from agents.objectives.credit import group_relative_advantages, over_tokens
from agents.objectives.groups import informative_groups
from agents.objectives.losses import PolicyLoss, clipped_surrogate_loss, entropy_loss, token_mean
from agents.objectives.policy_losses import clipped_weight_loss, sequence_surrogate_loss
from agents.policy.causal_lm import PolicyOutputs
from agents.rollout.buffer import Rollout, concatenated_rollouts
from agents.rollout.groups import reported_groups


class GRPO(PolicyGradient[GRPOConfig]):
    """Fine-tunes a policy on feedback by comparing the texts of each prompt.

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
        >>> agent = GRPO(policy, envs, GRPOConfig(n_episodes=8, batch_size=8, group_size=4))
        >>> agent.learn(total_episodes=16).n_updates
        2
    """

    config_class = GRPOConfig

    @property
    def weighs(self) -> Weighs:
        """Tokens; with one ratio a text, texts."""
        return "texts" if self.config.ratio == "sequence" else "tokens"

    def collect(self) -> Rollout:
        """Draws groups again whose rewards are all equal, within the bound that the config sets."""
        rollout, size = super().collect(), self.config.group_size
        for _ in range(self.config.max_redraws):
            informative = informative_groups(rollout.scores, reported_groups(rollout, size))
            if bool(informative.all()):
                break
            again = super().collect()
            new = informative_groups(again.scores, reported_groups(again, size))
            kept, drawn = informative.nonzero().squeeze(1), new.nonzero().squeeze(1)
            # Groups start as a whole, one after the other, so that a cut never divides one.
            drawn = drawn[: len(rollout) - len(kept)]
            left = (~informative).nonzero().squeeze(1)[: len(rollout) - len(kept) - len(drawn)]
            parts = ((rollout, kept), (again, drawn), (rollout, left))
            rollout = concatenated_rollouts(
                [part.select(rows) for part, rows in parts if len(rows)]
            )
        return rollout

    def advantages(self, rollout: Rollout, rewards: Tensor, old: PolicyOutputs) -> Credit:
        """Compares each text's reward with the mean of its group, in units of a spread."""
        groups = reported_groups(rollout, self.config.group_size)
        advantages = group_relative_advantages(
            rewards.sum(dim=1), groups, scale_by=self.config.scale_by
        )
        mask = rollout.texts.completion_mask
        if self.config.filter_truncated:
            mask = without_truncated(mask, rollout.cut_off)
        return Credit(over_tokens(advantages, mask))

    def loss(
        self, batch: Experience, new: PolicyOutputs, totals: StepTotals
    ) -> tuple[Tensor, Statistics]:
        """Adds up the surrogate and the entropy bonus."""
        policy = self._surrogate(batch, new, totals)
        mask, config = batch.texts.completion_mask, self.config
        entropy = entropy_loss(new.entropies, mask, n_tokens=totals.n_tokens)
        share = batch.n_tokens / totals.n_tokens
        return policy.loss + config.ent_coef * entropy, {
            "policy_loss": Statistic(policy.loss.item()),
            "clip_fraction": Statistic(share * policy.clip_fraction.item()),
        }

    def added_up(self, terms: Tensor, mask: Tensor, totals: StepTotals) -> Tensor:
        """Adds up as `aggregation` says; with one ratio a text, as means over texts of means."""
        kind = "sequence" if self.config.ratio == "sequence" else self.config.aggregation
        return token_mean(weighted(terms, mask, kind), mask, self._normaliser(kind, totals))

    def _normaliser(self, kind: Aggregation, totals: StepTotals) -> int:
        return normaliser(
            kind,
            n_tokens=totals.n_tokens,
            n_sequences=totals.n_episodes,
            max_tokens=self.config.max_tokens,
        )

    def _surrogate(self, batch: Experience, new: PolicyOutputs, totals: StepTotals) -> PolicyLoss:
        config, mask = self.config, batch.texts.completion_mask
        n = self._normaliser(config.aggregation, totals)
        advantages = weighted(batch.advantages, mask, config.aggregation)
        high = config.clip_range if config.clip_range_high is None else config.clip_range_high
        if config.ratio == "clipped_weight":
            return clipped_weight_loss(
                new.log_probs, batch.old_log_probs, advantages, mask, 1 + high, n_tokens=n
            )
        if config.ratio == "sequence":
            return sequence_surrogate_loss(
                new.log_probs,
                batch.old_log_probs,
                batch.episode_advantages,
                mask,
                config.clip_range,
                clip_range_high=high,
                n_sequences=totals.n_episodes,
            )
        return clipped_surrogate_loss(
            new.log_probs,
            batch.old_log_probs,
            advantages,
            mask,
            config.clip_range,
            clip_range_high=high,
            n_tokens=n,
        )
