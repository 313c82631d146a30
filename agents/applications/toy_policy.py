"""A small untrained policy that ends a text with a chosen probability at every token."""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import GPT2Config

from agents.policy.causal_lm import CausalLMPolicy


def toy_policy(
    vocab_size: int, eos_token_id: int, *, length: int, eos_probability: float, seed: int = 0
) -> CausalLMPolicy:
    """Builds a GPT-2 of two layers whose every text ends with the same probability at each token.

    All other tokens are equally likely. The output layer is zero but for EOS, which reads the sum
    of the last hidden state; the final normalisation makes that sum the same in every state.
    Against such a start, a reward for length has to be learnt: an untrained policy of random
    weights ends with probability 1/V and is nearly optimal already.

    Args:
        vocab_size: V.
        eos_token_id: The token that ends a text.
        length: Longest text, in tokens.
        eos_probability: In (0, 1).
        seed: Of the other weights.

    Raises:
        ValueError: If the probability is not in (0, 1).
    """
    if not 0 < eos_probability < 1:
        raise ValueError(f"eos_probability must be in (0, 1), got {eos_probability}")
    width = 64
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=length,
        n_embd=width,
        n_layer=2,
        n_head=2,
        bos_token_id=eos_token_id,
        eos_token_id=eos_token_id,
        tie_word_embeddings=False,
    )
    policy = CausalLMPolicy.from_config(config, seed=seed)
    logit = math.log(eos_probability / (1 - eos_probability) * (vocab_size - 1))
    with torch.no_grad():
        policy.head.weight.zero_()
        policy.head.weight[eos_token_id] = logit / width
        final_norm: Any = policy.trunk.ln_f
        final_norm.bias.fill_(1.0)
    return policy
