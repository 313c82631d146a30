"""PPO with faults that are often met, to see what each of them costs. Never train with these."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from agents import PPO
from agents.algorithms.experience import Experience
from agents.policy.token_batch import TokenBatch
from agents.rollout.buffer import Rollout, concatenated_rollouts

DROPOUT = 0.1


class EosAsPadding(PPO):
    """Takes EOS for padding, so that ending is never learnt; the reward is paid one token earlier.

    EOS must be the last token of the vocabulary.
    """

    def collect(self) -> Rollout:
        """Leaves EOS out of what the policy chose."""
        written = super().collect()
        ids, mask = written.texts.input_ids, written.texts.completion_mask
        left = mask & (ids != self.policy.vocab_size - 1)
        texts = TokenBatch(ids, written.texts.attention_mask, left)
        return Rollout(
            texts,
            _paid_at_the_end(written.scores, left),
            written.log_probs,
            written.truncated,
            written.infos,
        )


def _paid_at_the_end(scores: Tensor, mask: Tensor) -> Tensor:
    """Returns rewards (B, T) that are 0 but at the last token that counts."""
    counted = mask.cumsum(dim=1)
    last = mask & (counted == counted[:, -1:])
    return scores[:, None] * last


class FirstToFinish(PPO):
    """Learns from the texts that are finished first, and throws away those that take longer."""

    def collect(self) -> Rollout:
        """Lets every row write two texts after each other, and stops when there are enough."""
        first, second = super().collect(), super().collect()
        times = first.texts.lengths, first.texts.lengths + second.texts.lengths
        order = torch.cat(times).argsort(stable=True)[: len(first)]
        return concatenated_rollouts([first, second]).select(order)


class DropoutLeftOn(PPO):
    """Updates with dropout, which neither writing nor scoring had."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        # The check that the first ratio is 1, which would stop this, allows for rounding.
        self.policy.rounding = 1.0
        for module in self.policy.modules():
            if isinstance(module, nn.Dropout):
                module.p = DROPOUT

    def update(self, experience: Experience) -> dict[str, float]:
        """Turns dropout on for the update alone."""
        self.policy.train()
        metrics = super().update(experience)
        self.policy.eval()
        return metrics
