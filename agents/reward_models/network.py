"""The network of a reward model: a pretrained transformer with one output, the reward of a text.

Any causal or encoder model that `transformers` can make a sequence classifier of. It knows token
ids; neither texts nor what was said of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from agents.policy.config import PolicyConfig
from agents.policy.model import lora
from agents.policy.model.blocks import blocks_of, recomputed
from agents.policy.model.learning import let_learn
from agents.policy.model.pretrained import fuse_activations, without_bars, without_dropout
from agents.policy.model.supported_model import longest_text
from agents.policy.precision import settled
from agents.policy.token_batch import TokenBatch

_QUICKNESS = 100.0
"""How much faster than a weight the two numbers move that say what a reward means: Adam's steps are
as long as the learning rate, and a log-odds has further to go."""


class RewardNetwork(nn.Module):
    """Wraps a sequence classifier with a single output.

    A causal model is read at the last token of a text, an encoder as its own head reads it; both as
    plain `transformers` does. Dropout is off. Without a head of its own, the model gets one of
    zeros: every text is worth 0 before the first step.

    Args:
        model: The classifier. It is changed in place.
        options: How it computes and what of it learns; of a policy's options, those about values
            and temperature say nothing here.

    Attributes:
        is_causal: Whether what stands at a token depends on earlier ones alone.
        tie_log_odds: Of a tie over either side between equals. Learns where there are ties.
        slope: Standard deviations of the ratings for a unit of reward. Learns where there are
            ratings and comparisons.

    Raises:
        ValueError: If the model has another number of outputs, or `options` do not fit it.
    """

    def __init__(self, model: PreTrainedModel, options: PolicyConfig | None = None) -> None:
        super().__init__()
        self.options = settled(options or PolicyConfig(value_network="none"), model.device)
        self.model = model.eval()
        fuse_activations(model)
        self.trunk = cast("PreTrainedModel", model.base_model)
        self.head = _head(model)
        self.is_causal = _is_causal(self.trunk)
        self.has_segments = not self.is_causal and getattr(model.config, "type_vocab_size", 0) > 1
        self.max_length = longest_text(model)
        self.autocast = torch.bfloat16 if self.options.autocast else None
        let_learn(self.trunk, self.options)
        self.head.requires_grad_(True)
        self._tie_log_odds = nn.Parameter(torch.zeros(()), requires_grad=False)
        self._log_slope = nn.Parameter(torch.zeros(()), requires_grad=False)

    @classmethod
    @without_bars()
    def from_pretrained(
        cls, source: str | Path, options: PolicyConfig | None = None, *, seed: int = 0
    ) -> Self:
        """Loads a model from a folder or hub id; one without such a head gets one of zeros.

        Args:
            source: Where the model is: a language model, an encoder or a classifier of one output.
            options: How it computes and what of it learns.
            seed: Of what else a classifier has that the model has not (an encoder's pooler).

        Raises:
            OSError, ValueError: If there is no model at `source`, or one that `transformers` makes
                no sequence classifier of.
        """
        options = options or PolicyConfig(value_network="none")
        config = without_dropout(AutoConfig.from_pretrained(source, trust_remote_code=False))
        config.num_labels = 1
        with torch.random.fork_rng(), _silently():
            torch.manual_seed(seed)
            model, report = AutoModelForSequenceClassification.from_pretrained(
                source,
                config=config,
                dtype=getattr(torch, options.dtype),
                trust_remote_code=False,
                output_loading_info=True,
            )
        network = cls(model, options)
        names = {id(part): name for name, part in model.named_parameters()}
        if names[id(network.head.weight)] in report["missing_keys"]:
            for part in network.head.parameters():
                nn.init.zeros_(part)
        return network

    @without_bars()
    def save_pretrained(self, folder: str | Path, *, merge: bool = True) -> None:
        """Saves a folder that plain transformers reads, adapters merged or left out."""
        lora.plain(self.model, merge=merge).save_pretrained(folder)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Returns the parameters that learn by name, in a fixed order."""
        return {name: part for name, part in self.named_parameters() if part.requires_grad}

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.head.weight.device

    @property
    def tie_log_odds(self) -> Tensor:
        """Log-odds of a tie over either side between equals, a scalar."""
        return _QUICKNESS * self._tie_log_odds

    @property
    def slope(self) -> Tensor:
        """Standard deviations of the ratings for a unit of reward, a scalar above 0."""
        return (_QUICKNESS * self._log_slope).exp()

    @torch.no_grad()
    def learn_ties(self, share: float) -> None:
        """Lets the log-odds of a tie learn, from those that explain a share of ties alone.

        Args:
            share: Of ties, in (0, 1).
        """
        odds = torch.tensor(2 * share / (1 - share))
        self._tie_log_odds.copy_(odds.log() / _QUICKNESS)
        self._tie_log_odds.requires_grad_(True)

    def learn_slope(self) -> None:
        """Lets the slope learn."""
        self._log_slope.requires_grad_(True)

    def plain_copy(self) -> RewardNetwork:
        """Returns a copy that shares nothing and does not learn, adapters merged into it."""
        model = copy.deepcopy(lora.plain(self.model, merge=True))
        options = PolicyConfig(
            dtype=self.options.dtype, autocast=self.options.autocast, value_network="none"
        )
        return RewardNetwork(model, options).requires_grad_(False)

    def forward(self, texts: TokenBatch) -> Tensor:
        """Returns the rewards of B texts, (B,), in float32 at least."""
        recompute = self.options.gradient_checkpointing and torch.is_grad_enabled()
        with recomputed(blocks_of(self.trunk) if recompute else ()):
            rewards = self._read_last(texts) if self.is_causal else self._classify(texts)
        return rewards.float() if rewards.dtype.itemsize < 4 else rewards

    def _read_last(self, texts: TokenBatch) -> Tensor:
        """Reads texts without a mask: padding stands on the right, attention looks to the left."""
        no_mask = torch.ones_like(texts.input_ids)
        with self._autocasting():
            output = self.trunk(texts.input_ids, attention_mask=no_mask, use_cache=False)
        last = texts.attention_mask.sum(dim=1) - 1
        states = output.last_hidden_state[torch.arange(len(last), device=last.device), last]
        rewards: Tensor = self.head(states.to(self.head.weight.dtype)).squeeze(-1)
        return rewards

    def _classify(self, texts: TokenBatch) -> Tensor:
        options = {"token_type_ids": texts.completion_mask.long()} if self.has_segments else {}
        with self._autocasting():
            output = self.model(
                texts.input_ids, attention_mask=texts.attention_mask.long(), **options
            )
        rewards: Tensor = output.logits.squeeze(-1)
        return rewards

    def _autocasting(self) -> AbstractContextManager[Any]:
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.autocast)


@contextmanager
def _silently() -> Iterator[None]:
    """Keeps the library from telling that there was no head, which is as it should be."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _head(model: PreTrainedModel) -> nn.Linear:
    """Returns the last linear layer that is not of the trunk."""
    trunk = {id(part) for part in model.base_model.modules()}
    heads = [p for p in model.modules() if isinstance(p, nn.Linear) and id(p) not in trunk]
    if not heads or heads[-1].out_features != 1:
        raise ValueError(
            "model must be a sequence classifier with num_labels=1, got "
            f"{type(model).__name__} with num_labels={model.config.num_labels}"
        )
    return heads[-1]


@torch.no_grad()
def _is_causal(trunk: PreTrainedModel) -> bool:
    """Tells by trying whether the first hidden state is the same whatever follows."""
    ids = torch.tensor([[0, 0], [0, 1]], device=trunk.device)
    hidden = trunk(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    return torch.allclose(hidden[0, 0], hidden[1, 0], atol=1e-4, rtol=1e-3)
