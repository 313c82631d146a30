"""Supervised fine-tuning: the policy imitates completions that others wrote.

Minimises -(1/N) Σ_i w_i Σ_t log π(y_t | x, y_<t) over the N tokens of the completions of a step,
end of text included; prompts are read, not imitated. With weights of 1 it is maximum likelihood.
"""

from __future__ import annotations

import math

from torch import Tensor

from agents.algorithms.configs.sft import SFTConfig
from agents.algorithms.diagnostics import Statistic, Statistics
from agents.algorithms.examples import Demonstrations
from agents.algorithms.experience import StepTotals
from agents.algorithms.offline_policy import OfflinePolicy
from agents.objectives.credit import over_tokens
from agents.objectives.policy_losses import policy_gradient_loss


class SFT(OfflinePolicy[SFTConfig, Demonstrations]):
    """Trains a policy to write as the demonstrations do.

    Arguments and attributes are those of `OfflinePolicy`.

    Example:
        >>> import torch
        >>> from transformers import GPT2Config
        >>> from agents import CausalLMPolicy, Demonstrations, PolicyConfig, SFTConfig, TokenBatch
        >>> ids = torch.tensor([[1, 2, 3], [1, 3, 0]])
        >>> imitated = torch.tensor([[False, True, True]] * 2)
        >>> texts = TokenBatch(ids, torch.ones(2, 3).bool(), imitated)
        >>> config = GPT2Config(vocab_size=4, n_embd=16, n_layer=1, n_head=1, n_positions=8)
        >>> policy = CausalLMPolicy.from_config(config, PolicyConfig(value_network="none"))
        >>> agent = SFT(policy, Demonstrations(texts, torch.ones(2)), SFTConfig(n_epochs=2))
        >>> agent.learn().n_updates
        2
    """

    config_class = SFTConfig
    examples_class = Demonstrations
    needs_reference = False

    def loss(self, batch: Demonstrations, totals: StepTotals) -> tuple[Tensor, Statistics]:
        """Adds up the weighted negative log-likelihood per token."""
        mask = batch.texts.completion_mask
        log_probs = self.policy(batch.texts).log_probs
        weights = over_tokens(batch.weights.to(log_probs.dtype), mask)
        loss = policy_gradient_loss(log_probs, weights, mask, n_tokens=totals.n_tokens)
        nll = -float(log_probs.detach().sum()) / totals.n_tokens
        return loss, {"nll": Statistic(nll)}

    def evaluate(self, examples: Demonstrations) -> dict[str, float]:
        """Returns loss, negative log-likelihood and perplexity per token, under `eval/`."""
        metrics = super().evaluate(examples)
        return metrics | {"eval/perplexity": math.exp(metrics["eval/nll"])}
