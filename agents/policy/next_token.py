"""A policy as a function from texts to the log-probs of the next token, in numpy.

What the exact solver asks of a policy, and the `ReferenceLogProb` wrapper of a reference. Knows
neither of them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.policy.causal_lm import CausalLMPolicy


class NextTokenLogProbs:
    """Gives a policy's log-probs of the next token, in float64, without gradients.

    Args:
        policy: Its temperature applies; an action mask does not, and is up to the caller.
        chunk: Most texts in one forward pass, at least 1.

    Raises:
        ValueError: If `chunk` is below 1.
    """

    def __init__(self, policy: CausalLMPolicy, chunk: int = 1024) -> None:
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        self.policy = policy
        self.chunk = chunk

    @torch.no_grad()
    def __call__(
        self, input_ids: NDArray[np.int64], lengths: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Returns the log-probs of the token after each of k texts, (k, V).

        Args:
            input_ids: Right-padded, (k, L).
            lengths: (k,), from 1 to L.
        """
        device = self.policy.device
        texts = torch.as_tensor(input_ids).split(self.chunk)
        ends = torch.as_tensor(np.asarray(lengths, dtype=np.int64)).split(self.chunk)
        parts = [
            next_token_log_probs(self.policy, part.to(device), end.to(device)).cpu()
            for part, end in zip(texts, ends, strict=True)
        ]
        return np.asarray(torch.cat(parts).numpy())


def next_token_log_probs(policy: CausalLMPolicy, input_ids: Tensor, lengths: Tensor) -> Tensor:
    """Returns the log-probs of the next token, float64 (k, V), with their gradients.

    Args:
        policy: The policy.
        input_ids: Right-padded, (k, L).
        lengths: (k,), from 1 to L.
    """
    width = int(lengths.max())
    positions = torch.arange(width, device=lengths.device)
    attention_mask = (positions < lengths[:, None]).long()
    hidden = policy.hidden_states(input_ids[:, :width], attention_mask, use_cache=False)
    last = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
    return policy.logits(last).double().log_softmax(dim=-1)
