"""Direct preference optimisation: of two texts, the preferred one is made the more probable.

Minimises -(1/n) Σ w [(1 - ε) log σ(h) + ε log σ(-h)] over the n pairs of a step,
h = β (log π/π_ref (y⁺) - log π/π_ref (y⁻)) - margin; IPO's squared loss in its place, as an option.
At the start π = π_ref, so that h = 0 and the loss is log 2.

Source: Rafailov et al. 2023, arXiv:2305.18290; the options and their sources are in `DPOConfig`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from agents.algorithms.configs.dpo import DPOConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.examples import Preferences
from agents.algorithms.experience import StepTotals
from agents.algorithms.health_checks import require_no_kl
from agents.algorithms.offline_policy import OfflinePolicy
from agents.objectives.masked import masked_sum
from agents.objectives.preference import PreferenceLoss, dpo_loss, ipo_loss
from agents.policy.token_batch import concatenated


class DPO(OfflinePolicy[DPOConfig, Preferences]):
    """Trains a policy to prefer what was preferred, near a frozen reference.

    Arguments and attributes are those of `OfflinePolicy`.

    Example:
        >>> import torch
        >>> from transformers import GPT2Config
        >>> from agents import CausalLMPolicy, DPOConfig, PolicyConfig, Preferences, TokenBatch
        >>> there, chosen = torch.ones(1, 2).bool(), torch.tensor([[False, True]])
        >>> better, worse = (TokenBatch(torch.tensor([[1, i]]), there, chosen) for i in (2, 3))
        >>> config = GPT2Config(vocab_size=4, n_embd=16, n_layer=1, n_head=1, n_positions=8)
        >>> policy = CausalLMPolicy.from_config(config, PolicyConfig(value_network="none"))
        >>> pairs = Preferences(better, worse, torch.ones(1), torch.zeros(1))
        >>> agent = DPO(policy, pairs, DPOConfig(learning_rate=1e-2))
        >>> round(agent.evaluate(pairs)["eval/loss"], 4)
        0.6931
        >>> agent.learn(4).evaluate(pairs)["eval/loss"] < 0.69
        True
    """

    config_class = DPOConfig
    examples_class = Preferences
    needs_reference = True

    def loss(self, batch: Preferences, totals: StepTotals) -> tuple[Tensor, Statistics]:
        """Adds up the preference loss over pairs."""
        texts = concatenated([batch.chosen, batch.rejected])
        mask = texts.completion_mask
        assert self.reference is not None
        with torch.no_grad():
            ref_log_probs = self.reference(texts).log_probs
        difference = self.policy(texts).log_probs - ref_log_probs
        loss = self._objective(batch, masked_sum(difference, mask, dim=1), totals)
        moved = float(difference.detach().abs().sum()) / totals.n_tokens
        share = len(batch) / totals.n_episodes
        return loss.loss, {
            "accuracy": Statistic(share * loss.accuracy.item()),
            "chosen_reward": Statistic(share * loss.chosen_reward.item()),
            "rejected_reward": Statistic(share * loss.rejected_reward.item()),
            "log_ratio_per_token": Statistic(moved),
        }

    def check_first(self, step: Mapping[str, float]) -> None:
        """Refuses a policy that differs from the copy of itself."""
        if self._reference_is_start:
            require_no_kl(step["log_ratio_per_token"])

    def _objective(
        self, batch: Preferences, log_ratios: Tensor, totals: StepTotals
    ) -> PreferenceLoss:
        config, n_pairs = self.config, totals.n_episodes
        chosen, rejected = log_ratios.split(len(batch))
        weights = batch.weights.to(log_ratios.dtype)
        if config.loss == "ipo":
            return ipo_loss(chosen, rejected, config.kl_coef, weights=weights, n_pairs=n_pairs)
        return dpo_loss(
            chosen,
            rejected,
            config.kl_coef,
            label_smoothing=config.label_smoothing,
            margins=config.margin_coef * batch.margins.to(log_ratios.dtype),
            weights=weights,
            n_pairs=n_pairs,
        )
