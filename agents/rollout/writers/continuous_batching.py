"""Transformers' continuous batching as a writer: `TransformersWriter`.

The engine reads the policy's own parameters, so that nothing is copied after an update, through a
paged cache: rows that end make room at once, and prompts that begin alike are read once. It samples
from torch's global random state, which is seeded for each order and put back.

Source: `transformers.generation.continuous_batching`, as of transformers 5.15 and 5.23.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from transformers import ContinuousBatchingConfig, GenerationConfig

from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.writers.text_writer import Order, Written

_BLOCK = 256
"""Tokens of a block of the cache."""
_TOKENS_AT_ONCE = 1024
"""Of prompts, in one pass."""
# The engine cannot tell whether a processor looks at what other texts hold; this one looks at none.
logging.getLogger("ContinuousBatchingLogger").addFilter(
    lambda record: "SuppressTokensLogitsProcessor" not in record.getMessage()
)


class TransformersWriter:
    """Writes texts by `transformers`' continuous batching, on the CPU or a GPU.

    Example:
        >>> from transformers import GPT2Config
        >>> config = GPT2Config(
        ...     vocab_size=5, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0
        ... )
        >>> writer = TransformersWriter()
        >>> writer.load(CausalLMPolicy.from_config(config))
        >>> order = Order([[1, 2], [3]], budgets=[4, 2], stop_ids=[0], allowed=None, seed=0)
        >>> all(len(text.token_ids) == len(text.log_probs) for text in writer.write(order))
        True
    """

    def load(self, policy: CausalLMPolicy) -> None:
        """Writes from now on as the policy does, whose parameters are read as they are."""
        self._policy = policy

    @torch.no_grad()
    def write(self, order: Order) -> list[Written]:
        """Returns a text for each prompt; see `TextWriter`.

        Raises:
            RuntimeError: If the engine gives one up.
        """
        model: Any = self._policy.model
        device = self._policy.device
        manager = model.init_continuous_batching(
            generation_config=_generation(order, self._policy.temperature),
            continuous_batching_config=_engine(order),
        )
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            # All are waiting before the first is read: who sits beside whom is no matter of time.
            for number, (prompt, most) in enumerate(zip(order.prompts, order.budgets, strict=True)):
                manager.add_request(list(prompt), request_id=str(number), max_new_tokens=most)
            manager.start()
            try:
                return _finished(manager, len(order.prompts), set(order.stop_ids))
            finally:
                manager.stop(block=True)  # gives the model its attention back


def _generation(order: Order, temperature: float) -> GenerationConfig:
    """Returns how to sample: from the whole distribution, but for tokens that are not allowed."""
    excluded = None if order.allowed is None else np.flatnonzero(~order.allowed).tolist()
    return GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        eos_token_id=list(order.stop_ids),
        suppress_tokens=excluded or None,
    )


def _engine(order: Order) -> ContinuousBatchingConfig:
    """Returns a cache with room for all texts, a fifth of which the engine keeps in reserve."""
    sizes = [len(ids) + most for ids, most in zip(order.prompts, order.budgets, strict=True)]
    blocks = sum(-(-size // _BLOCK) for size in sizes)
    return ContinuousBatchingConfig(
        num_blocks=blocks * 5 // 4 + 1,
        max_batch_tokens=max(_TOKENS_AT_ONCE, len(sizes)),
        return_logprobs=True,
        seed=order.seed,
    )


def _finished(manager: Any, n: int, stop_ids: set[int]) -> list[Written]:
    """Waits for n texts and returns them in the order of their numbers."""
    texts: dict[int, Written] = {}
    while len(texts) < n:
        result = manager.get_result(timeout=1)
        if result is not None and result.error is None:
            ids = result.generated_tokens
            reason = "stop" if ids[-1] in stop_ids else "length"
            texts[int(result.request_id)] = Written(ids, result.logprobs, reason)
        elif result is not None or not manager.is_running():
            said = "its loop ended" if result is None else result.error
            raise RuntimeError(f"the engine of transformers gave up {n - len(texts)} texts: {said}")
    return [texts[number] for number in range(n)]
