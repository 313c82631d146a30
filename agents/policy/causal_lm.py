"""The policy: a Hugging Face causal language model with a value head.

It gives log-probs, entropies and values of chosen tokens (one forward per sequence) and the hidden
states that decoding needs. It does not know environments, rewards or PPO.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedModel

from agents.policy import categorical, value_files
from agents.policy.action_masks import ActionMasks
from agents.policy.config import PolicyConfig
from agents.policy.model import lora
from agents.policy.model.learning import let_learn
from agents.policy.model.module_copy import copy_sharing_fixed
from agents.policy.model.output_layer import log_probs_and_entropies
from agents.policy.model.pretrained import (
    end_of_text_ids,
    fuse_activations,
    load_model,
    new_model,
    without_bars,
)
from agents.policy.model.reading import states_at
from agents.policy.model.supported_model import linear_head, longest_text, require_supported
from agents.policy.precision import settled
from agents.policy.token_batch import TokenBatch, stacked


class PolicyOutputs(NamedTuple):
    """What the policy says about a batch of texts.

    What stands at t concerns the choice of token t, made when the text ended at t - 1. Positions
    that the policy did not choose hold 0.

    Attributes:
        log_probs: (B, T), of the tokens.
        entropies: (B, T), of the distributions they were drawn from, in nats.
        values: (B, T), of the states they were chosen in; None without a value function.
        bootstrap_values: (B,), of the states after the last token; None without a value function.
        distributions: (N, V), the log-probs of every token at the N choices, in the order of
            `completion_mask`, those of tokens that were not allowed very low; None unless asked
            for.
        action_values: (N, V), Q of every token there, allowed or not; None unless asked for, and of
            a policy without them. `bootstrap_values` are then Σ_a π(a) Q(a), without gradient.
    """

    log_probs: Tensor
    entropies: Tensor
    values: Tensor | None = None
    bootstrap_values: Tensor | None = None
    distributions: Tensor | None = None
    action_values: Tensor | None = None

    def to(self, device: torch.device) -> PolicyOutputs:
        """Returns the outputs on a device."""
        return PolicyOutputs(*(None if part is None else part.to(device) for part in self))  # type: ignore[arg-type]

    @classmethod
    def concatenated(cls, parts: Sequence[PolicyOutputs]) -> PolicyOutputs:
        """Returns the outputs for several batches as one, in their order."""
        fields = zip(*parts, strict=True)
        return cls(*(None if field[0] is None else stacked(field) for field in fields))  # type: ignore[arg-type]


class CausalLMPolicy(nn.Module):
    """Wraps any `AutoModelForCausalLM` with a zero-initialised value head.

    Dropout is off: with it, neither the ratio of the first minibatch would be 1 nor the KL to the
    reference 0. Logits are divided by the temperature in every forward pass, in float32.

    Args:
        model: The language model; its configuration's dropouts must be 0 (`from_pretrained` and
            `from_config` see to it). It is changed in place. Low-rank adapters that it has learn,
            instead of the rest.
        options: How it computes and what of it learns; its `dtype` is for loading only.
        temperature: Instead of that of `options`.

    Attributes:
        options: As given, temperature included and `autocast` settled.
        rounding: Size of the rounding error of a log-prob: large where logits lie far from 0, as
            GPT-2's do, and under autocast, in proportion to how far they lie from each other.

    Raises:
        ValueError: If the temperature is not above 0, a dropout is on, the model's logits are not
            an `nn.Linear` applied to its last hidden state, or `options` do not fit it.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        options: PolicyConfig | None = None,
        *,
        temperature: float | None = None,
    ) -> None:
        super().__init__()
        self.options = settled(_with(options, temperature=temperature), model.device)
        self.model = model.eval()
        fuse_activations(model)
        logits = require_supported(model)
        self.temperature = self.options.temperature
        self.trunk = cast("PreTrainedModel", model.base_model)
        self.head = linear_head(model)
        self.vocab_size = int(self.head.weight.shape[0])
        self.max_length = longest_text(model)
        self.value_head = (
            None
            if self.options.value_network == "none"
            else _zero_value_head(self.head, self.vocab_size if self.options.action_values else 1)
        )
        self.autocast = torch.bfloat16 if self.options.autocast else None
        rounding = torch.finfo(self.head.weight.dtype).eps * logits.largest
        if self.autocast is not None:
            rounding += torch.finfo(self.autocast).eps * logits.spread
        self.rounding = rounding / self.temperature
        let_learn(model, self.options)
        self.value_trunk: PreTrainedModel | None = None
        if self.options.value_network == "separate":
            self.value_trunk = copy_sharing_fixed(self.trunk)

    @classmethod
    def from_config(
        cls,
        config: PreTrainedConfig,
        options: PolicyConfig | None = None,
        *,
        seed: int = 0,
        temperature: float | None = None,
    ) -> CausalLMPolicy:
        """Initialises an untrained model from a seed of its own; global ones stay as they are."""
        options = _with(options, temperature=temperature)
        return cls(new_model(config, getattr(torch, options.dtype), seed), options)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        options: PolicyConfig | None = None,
        *,
        temperature: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> CausalLMPolicy:
        """Loads a model from a folder, a hub id, or a GGUF file, and its value head if it has one.

        Args:
            source: Where the model is. One with a separate value network gives a policy with one,
                unless `options` want no values.
            options: How it computes and what of it learns.
            temperature: Instead of that of `options`.
            dtype: Of the parameters, instead of that of `options`.

        Raises:
            OSError, ValueError: If there is no model at `source`.
            ValueError: If its value head is of other values than `options` want.
        """
        path = Path(source)
        options = _with(
            options, temperature=temperature, dtype=dtype and str(dtype).removeprefix("torch.")
        )
        separate = options.value_network != "none" and value_files.has_value_network(path)
        options = _with(options, value_network="separate" if separate else None)
        policy = cls(load_model(source, getattr(torch, options.dtype)), options)
        value_files.load_values(path, policy.value_head, policy.value_trunk)
        return policy

    @without_bars()
    def save_pretrained(self, folder: str | Path, *, merge: bool = True) -> None:
        """Saves a folder that plain transformers reads, with the value head beside the model.

        Args:
            folder: Where to.
            merge: Whether adapters are merged into the weights; otherwise they are left out, for
                those who keep `trainable_parameters` elsewhere.
        """
        folder = Path(folder)
        value_files.remove_additions(folder)
        lora.plain(self.model, merge=merge).save_pretrained(folder)
        value_files.save_values(folder, self.value_head, self.value_trunk, merge=merge)

    def frozen_copy(self) -> CausalLMPolicy:
        """Returns a copy that does not learn: the reference of a KL penalty.

        It shares every tensor that does not learn here either. Adapters that change nothing yet are
        left off, so it costs nothing where only they learn. It has no value function.
        """
        layers = lora.adapted_layers(self.model)
        instead: dict[nn.Module, nn.Module | None] = {}
        if lora.are_fresh(layers):
            instead |= lora.without_adapters(layers)
        instead |= {part: None for part in (self.value_head, self.value_trunk) if part is not None}
        copy = copy_sharing_fixed(self, instead).requires_grad_(False)
        copy.options = dataclasses.replace(self.options, value_network="none", action_values=False)
        return copy

    @property
    def end_of_text_ids(self) -> tuple[int, ...]:
        """The tokens at which the model's generation configuration ends a text."""
        return tuple(i for i in end_of_text_ids(self.model) if 0 <= i < self.vocab_size)

    def trainable_parameters(self) -> dict[str, nn.Parameter]:
        """Returns the parameters that learn by name, in a fixed order: what an optimiser gets."""
        return {name: part for name, part in self.named_parameters() if part.requires_grad}

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.head.weight.device

    def autocasting(self) -> AbstractContextManager[Any]:
        """Returns the context of every forward pass through a trunk.

        The output layer stays out of it: logits that lie at -100, as GPT-2's do, are half a nat
        apart in bfloat16. Around several passes it saves casting the weights that learn in each.
        """
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, self.autocast)

    def _outside_autocast(self) -> AbstractContextManager[Any]:
        """Returns the context of what stays out of it, should a caller be inside."""
        if self.autocast is None:
            return nullcontext()
        return torch.autocast(self.device.type, enabled=False)

    def hidden_states(self, input_ids: Tensor, attention_mask: Tensor, **kwargs: Any) -> Tensor:
        """Returns the last hidden states (B, T, H); keyword arguments go to the model's trunk."""
        with self.autocasting():
            output = self.trunk(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Returns the logits (N, V) at the policy's temperature, in float32 at least.

        Args:
            hidden: (N, H).
            action_mask: (N, V) bool, True = allowed; None allows everything.
        """
        with self._outside_autocast():
            logits = self.head(hidden.to(self.head.weight.dtype))
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        if self.temperature != 1:
            logits = logits / self.temperature
        return categorical.masked_logits(logits, action_mask)

    def values(self, hidden: Tensor) -> Tensor:
        """Returns the values (...) of the value network's hidden states (..., H).

        With `action_values`, those of every token that could follow, (..., V).
        """
        assert self.value_head is not None
        with self._outside_autocast():
            values: Tensor = self.value_head(hidden.to(self.value_head.weight.dtype))
        return values if self.options.action_values else values.squeeze(-1)

    def forward(self, texts: TokenBatch, *, distributions: bool = False) -> PolicyOutputs:
        """Scores the chosen tokens of B texts, with one forward per text.

        The output layer, which dominates for large vocabularies, is applied at chosen positions
        only, and never to all of them at once.

        Args:
            texts: What was written.
            distributions: Whether whole distributions are wanted too, and with them action values,
                of batches whose logits fit in memory.
        """
        mask = texts.completion_mask
        chosen = mask.flatten().nonzero().squeeze(1)
        states, last = self._read_texts(self.trunk, texts, chosen)
        masks = _masks(texts, chosen)
        log_probs, entropies = log_probs_and_entropies(
            states,
            self.head.weight,
            self.head.bias,
            texts.input_ids.flatten()[chosen],
            temperature=self.temperature,
            masks=masks,
        )
        outputs = PolicyOutputs(
            log_probs=_placed(log_probs, chosen, mask.shape),
            entropies=_placed(entropies, chosen, mask.shape),
        )
        if distributions:
            outputs = outputs._replace(distributions=self._distributions(states, masks))
        if self.value_head is None or (self.options.action_values and not distributions):
            return outputs
        return outputs._replace(**self._values(texts, states, last, chosen))

    def distributions(self, texts: TokenBatch) -> Tensor:
        """Returns the `distributions` of `PolicyOutputs` alone, (N, V)."""
        chosen = texts.completion_mask.flatten().nonzero().squeeze(1)
        states, _ = self._read_texts(self.trunk, texts, chosen)
        return self._distributions(states, _masks(texts, chosen))

    def _distributions(self, states: Tensor, masks: ActionMasks | None) -> Tensor:
        allowed = None if masks is None else masks.table[masks.numbers]
        return self.logits(states, allowed).log_softmax(dim=-1)

    def _values(
        self, texts: TokenBatch, states: Tensor, last: Tensor, chosen: Tensor
    ) -> dict[str, Tensor]:
        """Returns values of the states (N, H) of choices and after the last token, by name."""
        own = (states, last)
        if self.value_trunk is not None:
            own = self._read_texts(self.value_trunk, texts, chosen)
        values, final = (self.values(part) for part in own)
        if not self.options.action_values:
            placed = _placed(values, chosen, texts.completion_mask.shape)
            return {"values": placed, "bootstrap_values": final}
        with torch.no_grad():
            final = (self.logits(last).softmax(dim=-1) * final).sum(dim=-1)
        return {"action_values": values, "bootstrap_values": final}

    def _read_texts(
        self, trunk: PreTrainedModel, texts: TokenBatch, chosen: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns hidden states (N, H) before N chosen tokens, and (B, H) after the last of B.

        The latter are read whether or not they are wanted: how many rows a product has may change
        its last bits, and policies with values must equal those without.
        """
        lengths, width = texts.attention_mask.sum(dim=1), texts.input_ids.shape[1]
        ends = lengths - 1 + width * torch.arange(len(lengths), device=lengths.device)
        wanted = torch.cat([chosen - 1, ends])  # position 0 is never chosen
        recompute = self.options.gradient_checkpointing
        with self.autocasting():
            states = states_at(trunk, texts.input_ids, wanted, recompute=recompute)
        return states[: len(chosen)], states[len(chosen) :]


@torch.no_grad()
def forward_in_chunks(policy: CausalLMPolicy, texts: TokenBatch, chunk: int) -> PolicyOutputs:
    """Returns the outputs for B texts, `chunk` at a time, those of similar length together."""
    order = texts.attention_mask.sum(dim=1).argsort(stable=True)
    parts = PolicyOutputs.concatenated([policy(texts.select(rows)) for rows in order.split(chunk)])
    width, back = texts.input_ids.shape[1], order.argsort()
    return PolicyOutputs(*(part if part is None else _widened(part[back], width) for part in parts))  # type: ignore[arg-type]


def _widened(values: Tensor, width: int) -> Tensor:
    """Returns a tensor (B,) as it is, and one (B, T) padded with 0 to `width`."""
    missing = 0 if values.ndim == 1 else width - values.shape[1]
    return functional.pad(values, (0, missing)) if missing else values


def _masks(texts: TokenBatch, chosen: Tensor) -> ActionMasks | None:
    """Returns the masks in force at N choices, with `numbers` (N,)."""
    masks = texts.action_masks
    return None if masks is None else masks._replace(numbers=masks.numbers.flatten()[chosen])


def _placed(values: Tensor, chosen: Tensor, shape: torch.Size) -> Tensor:
    """Returns a tensor (B, T) with `values` (N,) at the `chosen` of its elements, 0 elsewhere."""
    return values.new_zeros(shape.numel()).scatter(0, chosen, values).view(shape)


def _with(options: PolicyConfig | None, **changes: Any) -> PolicyConfig:
    """Returns options with those of the changes that are not None."""
    given = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(options or PolicyConfig(), **given)


def _zero_value_head(head: nn.Linear, n_values: int) -> nn.Linear:
    """Returns a value head, 0 everywhere, for the states that an output layer is applied to."""
    dtype = torch.promote_types(head.weight.dtype, torch.float32)  # it learns, in small steps
    # A module that draws no initial weights leaves the global random state alone.
    value_head: nn.Linear = nn.utils.skip_init(
        nn.Linear, head.weight.shape[1], n_values, device=head.weight.device, dtype=dtype
    )
    nn.init.zeros_(value_head.weight)
    nn.init.zeros_(value_head.bias)
    return value_head
