"""What Stable-Baselines3's networks see of a text: one-hots, or the last hidden state.

Features extractors for observations of `input_ids` and `attention_mask`, right-padded. SB3 calls
them once per transition and never per text, so a transformer recomputes every prefix from scratch.
"""

from __future__ import annotations

import copy

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor
from torch.nn import functional

from agents.policy.causal_lm import CausalLMPolicy


class OneHotTexts(BaseFeaturesExtractor):
    """Turns texts into one-hots: (n, L · V), position by position, zeros where there is no text.

    Args:
        observation_space: `Dict` of `input_ids` and `attention_mask`, (L,) each.
        vocab_size: V.

    Example:
        >>> two = spaces.Box(0, 2, (2,))
        >>> space = spaces.Dict(input_ids=two, attention_mask=two)
        >>> extractor = OneHotTexts(space, vocab_size=3)
        >>> ids, mask = torch.tensor([[1, 0]]), torch.tensor([[1, 0]])
        >>> extractor({"input_ids": ids, "attention_mask": mask})
        tensor([[0., 1., 0., 0., 0., 0.]])
    """

    def __init__(self, observation_space: spaces.Dict, vocab_size: int) -> None:
        super().__init__(observation_space, length_of(observation_space) * vocab_size)
        self.vocab_size = vocab_size

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Returns the one-hots of n texts."""
        one_hots = functional.one_hot(observations["input_ids"].long(), self.vocab_size)
        return (one_hots * observations["attention_mask"].unsqueeze(-1)).float().flatten(1)


class LastHiddenState(BaseFeaturesExtractor):
    """Turns texts into the hidden state from which the next token is predicted: (n, H).

    Args:
        observation_space: `Dict` of `input_ids` and `attention_mask`.
        policy: Its trunk is copied: the same architecture with the same weights.
    """

    def __init__(self, observation_space: spaces.Dict, policy: CausalLMPolicy) -> None:
        super().__init__(observation_space, int(policy.head.weight.shape[1]))
        self.trunk = copy.deepcopy(policy.trunk)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Returns the last hidden states of n texts, at the last token of each."""
        mask = observations["attention_mask"].long()
        lengths = mask.sum(dim=1)
        width = int(lengths.max())
        hidden: Tensor = self.trunk(
            input_ids=observations["input_ids"][:, :width].long(),
            attention_mask=mask[:, :width],
            use_cache=False,
        ).last_hidden_state
        return hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]


def length_of(observation_space: spaces.Dict) -> int:
    """Returns L, the longest text in tokens."""
    shape = observation_space["input_ids"].shape
    assert shape is not None
    return int(shape[0])
