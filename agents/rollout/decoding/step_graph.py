"""A step of reading as a CUDA graph: recorded once, and replayed while it fits.

A GPU computes the step of a small model faster than Python can ask for it, call by call. What was
recorded is asked for by one call. It attends to slots that are still to be written as well, under a
mask, so that hidden states differ from those of other steps by rounding. Knows nothing of sampling
or environments.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel, LlamaForCausalLM

from agents.distributed.sharding import is_sharded
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.decoding.kv_cache import RowCache

N_STEPS = 64
"""Steps that a graph is recorded for."""

_BY_LENGTH = ("dynamic", "longrope")
"""Rotary embeddings that look at positions in every step, to choose their frequencies."""


def can_be_recorded(policy: CausalLMPolicy) -> bool:
    """Tells whether a policy is on a GPU, and of a kind whose step asks the device for nothing."""
    return policy.device.type == "cuda" and asks_nothing(policy)


def asks_nothing(policy: CausalLMPolicy) -> bool:
    """Tells whether a step computes by itself: for no number on the way, and no other process."""
    config: Any = policy.model.config
    return (
        type(policy.model) in (GPT2LMHeadModel, LlamaForCausalLM)
        and config._attn_implementation == "sdpa"
        and getattr(config, "rope_parameters", {}).get("rope_type") not in _BY_LENGTH
        and not is_sharded(policy)
    )


class FixedStep:
    """Reads one token per row in tensors whose addresses and shapes stay.

    Args:
        policy: Gives hidden states.
        cache: Of the rows, initialised.

    Attributes:
        tokens: What is read, (B,).
    """

    def __init__(self, policy: CausalLMPolicy, cache: RowCache) -> None:
        self._policy = policy
        self._cache = cache
        self._lengths = cache.lengths
        self._window = cache.window(N_STEPS)
        self.tokens = torch.zeros_like(cache.lengths)

    def fits(self) -> bool:
        """Tells whether the cache still has these rows, and its head is in reach."""
        return self._cache.lengths is self._lengths and self._cache.reaches(self._window)

    def prepare(self, tokens: Tensor) -> None:
        """Sets what is read, (B,), and where it is written."""
        self.tokens.copy_(tokens)
        self._cache.aim(self._window)

    def hidden(self) -> Tensor:
        """Returns the hidden states (B, H) after these tokens."""
        with self._cache.within(self._window) as mask:
            return self._policy.hidden_states(
                self.tokens[:, None],
                mask,
                position_ids=self._lengths[:, None],
                past_key_values=self._cache,
                use_cache=True,
            )[:, -1]


class StepGraph:
    """Records a step, and replays it.

    Args:
        step: To be recorded; the GPU must have computed one like it before.
    """

    def __init__(self, step: FixedStep) -> None:
        self._step = step
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._hidden = step.hidden()

    def fits(self) -> bool:
        """Tells whether it can be replayed."""
        return self._step.fits()

    def __call__(self, tokens: Tensor) -> Tensor:
        """Returns the hidden states (B, H) after one token per row, (B,), until the next call."""
        self._step.prepare(tokens)
        self._graph.replay()
        return self._hidden
