"""Writers of texts without an engine, for tests of what becomes of their texts."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from agents.policy import categorical
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.buffer import Rollout
from agents.rollout.decoding.decoder import Decoder
from agents.rollout.writers.text_writer import Order, Written


class RecallingWriter:
    """Writes the texts of a rollout, in their order."""

    def __init__(self, rollout: Rollout) -> None:
        self.orders: list[Order] = []
        self._texts = [
            Written(
                rollout.texts.input_ids[row][chosen].tolist(),
                rollout.log_probs[row][chosen].tolist(),
                "recalled",
            )
            for row, chosen in enumerate(rollout.texts.completion_mask)
        ]

    def load(self, policy: CausalLMPolicy) -> None:
        pass

    def write(self, order: Order) -> list[Written]:
        self.orders.append(order)
        texts, self._texts = self._texts[: len(order.prompts)], self._texts[len(order.prompts) :]
        return texts


class TemperedWriter:
    """Samples from a policy whose logits are divided once more, by a temperature of its own."""

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def load(self, policy: CausalLMPolicy) -> None:
        self._policy = policy

    @torch.no_grad()
    def write(self, order: Order) -> list[Written]:
        generator = torch.Generator().manual_seed(order.seed)
        pairs = zip(order.prompts, order.budgets, strict=True)
        return [self._text(prompt, most, order, generator) for prompt, most in pairs]

    def _text(
        self, prompt: Sequence[int], most: int, order: Order, generator: torch.Generator
    ) -> Written:
        decoder = Decoder(self._policy, {0: torch.tensor(prompt)}, len(prompt) + most)
        allowed = None if order.allowed is None else torch.from_numpy(order.allowed)[None]
        ids: list[int] = []
        log_probs: list[float] = []
        while len(ids) < most:
            logits = categorical.masked_logits(decoder.logits() / self.temperature, allowed)
            token, log_prob = categorical.sample(logits, generator)
            ids.append(int(token))
            log_probs.append(float(log_prob))
            if ids[-1] in order.stop_ids:
                return Written(ids, log_probs, "stop")
            decoder.advance(token, (), {})
        return Written(ids, log_probs, "length")
