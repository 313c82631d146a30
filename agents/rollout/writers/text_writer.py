"""What a generation engine is asked, and what it answers: `TextWriter`.

An engine writes whole texts from prompts as token ids. It knows no environment, reward or learner,
and this module no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.policy.causal_lm import CausalLMPolicy


class Order(NamedTuple):
    """Asks for one text to each of n prompts.

    Attributes:
        prompts: Token ids of each.
        budgets: Most tokens of each text, its end included.
        stop_ids: Tokens that end a text and stay part of it, in ascending order.
        allowed: Which tokens may be written, (V,) bool; None: all.
        seed: Of sampling. The same order gives the same texts.
    """

    prompts: Sequence[Sequence[int]]
    budgets: Sequence[int]
    stop_ids: Sequence[int]
    allowed: NDArray[np.bool_] | None
    seed: int


class Written(NamedTuple):
    """One text.

    Attributes:
        token_ids: What was written after the prompt, the token that ended it included; at least 1.
        log_probs: Of each, in nats, under the distribution that it was drawn from.
        stop_reason: Why it ended: `"stop"` or `"length"`.
    """

    token_ids: Sequence[int]
    log_probs: Sequence[float]
    stop_reason: str


class TextWriter(Protocol):
    """Writes texts as a policy would.

    It samples from the policy's softmax at the policy's temperature, over the allowed tokens, and
    from nothing narrower: no top-k, top-p or penalties.
    """

    def load(self, policy: CausalLMPolicy) -> None:
        """Writes from now on as the policy does at this moment."""

    def write(self, order: Order) -> Sequence[Written]:
        """Returns n texts, in the order of their prompts."""
