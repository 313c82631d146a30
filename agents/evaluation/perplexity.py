"""How likely a language model finds texts, whoever wrote them."""

from __future__ import annotations

import math

import torch

from agents.objectives.masked import masked_sum
from agents.policy.causal_lm import CausalLMPolicy, forward_in_chunks
from agents.policy.token_batch import TokenBatch

_CHUNK = 64


@torch.no_grad()
def perplexity(policy: CausalLMPolicy, texts: TokenBatch) -> float:
    """Returns exp of the mean of -log p over all tokens where `completion_mask` counts.

    Args:
        policy: Whose tokens the texts are made of.
        texts: On its device.
    """
    log_probs = forward_in_chunks(policy, texts, _CHUNK).log_probs
    total = masked_sum(log_probs, texts.completion_mask, dim=1).sum()
    return math.exp(-float(total) / int(texts.lengths.sum()))
