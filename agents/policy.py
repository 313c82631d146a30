"""The policy: a Hugging Face causal language model with a value head.

It gives log-probs, entropies and values of chosen tokens (one forward per sequence) and the hidden
states that decoding needs. It does not know environments, rewards or PPO.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from agents import categorical
from agents.texts import Texts

VALUE_HEAD_FILE = "value_head.safetensors"


class TokenStatistics(NamedTuple):
    """What the policy says about a batch of texts.

    What stands at t concerns the choice of token t, made when the text ended at t - 1. Positions
    that the policy did not choose hold 0.

    Attributes:
        log_probs: (B, T), of the tokens.
        entropies: (B, T), of the distributions they were drawn from, in nats.
        values: (B, T), of the states they were chosen in.
        final_values: (B,), of the states after the last token.
    """

    log_probs: Tensor
    entropies: Tensor
    values: Tensor
    final_values: Tensor


class CausalLMPolicy(nn.Module):
    """Wraps any `AutoModelForCausalLM` with a zero-initialised value head on its last hidden state.

    Dropout is off: with it, neither the ratio of the first minibatch would be 1 nor the KL to the
    reference 0. Logits are divided by the temperature in every forward pass, in float32.

    Args:
        model: The language model; its configuration's dropouts must be 0 (`from_pretrained` and
            `from_config` see to it).
        temperature: Of sampling and of every log-prob, above 0.

    Raises:
        ValueError: If the temperature is not above 0, a dropout is on, or the model's logits are
            not its output layer applied to its last hidden state.
    """

    def __init__(self, model: PreTrainedModel, *, temperature: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        active = {name: rate for name, rate in _dropouts(model.config).items() if rate}
        if active:
            raise ValueError(f"model must have its dropouts at 0, got {active}")
        self.model = model.eval()
        self.temperature = temperature
        self.trunk = model.base_model
        self.head = model.get_output_embeddings()
        self.vocab_size = int(self.head.weight.shape[0])
        self.max_length = int(getattr(model.config, "max_position_embeddings", 0)) or None
        weight = self.head.weight
        # A module that draws no initial weights leaves the global random state alone.
        self.value_head: nn.Linear = nn.utils.skip_init(
            nn.Linear, weight.shape[1], 1, device=weight.device, dtype=weight.dtype
        )
        nn.init.zeros_(self.value_head.weight)
        nn.init.zeros_(self.value_head.bias)
        largest_logit = self._require_plain_head()
        self.rounding = torch.finfo(weight.dtype).eps * largest_logit
        """Size of the rounding error of a logit, and so of a log-prob: large where logits lie far
        from 0, as GPT-2's do."""

    @classmethod
    def from_config(
        cls, config: PreTrainedConfig, *, seed: int = 0, temperature: float = 1.0
    ) -> CausalLMPolicy:
        """Initialises an untrained model from a seed of its own; global ones stay as they are."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = AutoModelForCausalLM.from_config(_without_dropout(config))
        return cls(model, temperature=temperature)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        temperature: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> CausalLMPolicy:
        """Loads a model from a folder, a hub id, or a GGUF file, and its value head if it has one.

        Raises:
            OSError, ValueError: If there is no model at `source`.
        """
        path = Path(source)
        if path.suffix == ".gguf":
            model = _from_gguf(path, dtype)
        else:
            config = _without_dropout(AutoConfig.from_pretrained(source))
            model = AutoModelForCausalLM.from_pretrained(source, config=config, dtype=dtype)
        policy = cls(model, temperature=temperature)
        if (path / VALUE_HEAD_FILE).exists():
            policy.value_head.load_state_dict(load_file(path / VALUE_HEAD_FILE))
        return policy

    def save_pretrained(self, folder: str | Path) -> None:
        """Saves a folder that plain transformers reads, with the value head beside the model."""
        self.model.save_pretrained(folder)
        save_file(self.value_head.state_dict(), Path(folder) / VALUE_HEAD_FILE)

    def frozen_copy(self) -> CausalLMPolicy:
        """Returns a copy that does not learn: the reference of a KL penalty."""
        frozen = copy.deepcopy(self)
        frozen.requires_grad_(False)
        return frozen

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return self.value_head.weight.device

    def hidden_states(self, input_ids: Tensor, attention_mask: Tensor, **kwargs: Any) -> Tensor:
        """Returns the last hidden states (B, T, H); keyword arguments go to the model's trunk."""
        output = self.trunk(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def logits(self, hidden: Tensor, action_mask: Tensor | None = None) -> Tensor:
        """Returns the logits (N, V) at the policy's temperature, in float32 at least.

        Args:
            hidden: (N, H).
            action_mask: (N, V) bool, True = allowed; None allows everything.
        """
        logits = self.head(hidden)
        logits = logits.float() if logits.dtype.itemsize < 4 else logits
        return categorical.masked_logits(logits / self.temperature, action_mask)

    def values(self, hidden: Tensor) -> Tensor:
        """Returns the values (...) of hidden states (..., H)."""
        values: Tensor = self.value_head(hidden).squeeze(-1)
        return values.float() if values.dtype.itemsize < 4 else values

    def forward(self, texts: Texts) -> TokenStatistics:
        """Judges the chosen tokens of B texts, with one forward per text.

        The output layer, which dominates for large vocabularies, is applied at chosen positions
        only.
        """
        hidden = self.hidden_states(texts.input_ids, texts.attention_mask.long(), use_cache=False)
        rows, positions = texts.completion_mask.nonzero(as_tuple=True)
        states = hidden[rows, positions - 1]
        masks = texts.action_masks
        allowed = None if masks is None else masks.table[masks.numbers[rows, positions]]
        logits = self.logits(states, allowed)
        log_probs = categorical.log_prob(logits, texts.input_ids[rows, positions])
        last = texts.attention_mask.sum(dim=1) - 1
        return TokenStatistics(
            log_probs=_placed(log_probs, texts.completion_mask),
            entropies=_placed(categorical.entropy(logits), texts.completion_mask),
            values=_placed(self.values(states), texts.completion_mask),
            final_values=self.values(hidden[torch.arange(len(hidden), device=hidden.device), last]),
        )

    @torch.no_grad()
    def _require_plain_head(self) -> float:
        """Compares with the model's own logits: some architectures scale or cap them.

        The logits of an untrained model are too small to meet a cap, so they are blown up to 100.

        Returns:
            The largest absolute logit.
        """
        input_ids = torch.zeros(1, 2, dtype=torch.long, device=self.device)
        attention_mask = torch.ones_like(input_ids)
        hidden = self.hidden_states(input_ids, attention_mask)
        largest_logit = self.head(hidden).abs().max().clamp_min(1e-6)
        factor = 100 / largest_logit
        with self.head.register_forward_hook(lambda _module, _args, logits: factor * logits):
            own = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
            ours = self.head(hidden)
        if not torch.allclose(own.float(), ours.float(), atol=1e-4, rtol=1e-3):
            raise ValueError(
                "model must compute its logits as output layer times last hidden state, got "
                f"{type(self.model).__name__}, whose logits differ by "
                f"{(own - ours).abs().max().item():.3g}"
            )
        return float(largest_logit)


@torch.no_grad()
def judge_in_chunks(policy: CausalLMPolicy, texts: Texts, chunk: int) -> TokenStatistics:
    """Judges B texts, `chunk` at a time, those of similar length together."""
    order = texts.attention_mask.sum(dim=1).argsort(stable=True)
    device, dtype = texts.input_ids.device, policy.value_head.weight.dtype
    dtype = torch.float32 if dtype.itemsize < 4 else dtype
    per_token = [torch.zeros(texts.input_ids.shape, dtype=dtype, device=device) for _ in range(3)]
    final_values = torch.zeros(len(order), dtype=dtype, device=device)
    for rows in order.split(chunk):
        part = policy(texts.select(rows))
        for whole, values in zip(per_token, part[:3], strict=True):
            whole[rows, : values.shape[1]] = values
        final_values[rows] = part.final_values
    log_probs, entropies, values = per_token
    return TokenStatistics(log_probs, entropies, values, final_values)


def _placed(values: Tensor, mask: Tensor) -> Tensor:
    """Returns `values` (N,) at the True positions of `mask` (B, T), 0 elsewhere."""
    return torch.zeros(mask.shape, dtype=values.dtype, device=values.device).masked_scatter(
        mask, values
    )


def _dropouts(config: PreTrainedConfig) -> Mapping[str, float]:
    """Returns the dropout rates of a configuration by name, `resid_pdrop` for example."""
    return {
        name: value
        for name, value in config.to_dict().items()
        if "drop" in name and isinstance(value, int | float) and not isinstance(value, bool)
    }


def _without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    config = copy.deepcopy(config)
    for name in _dropouts(config):
        setattr(config, name, 0.0)
    return config


def _from_gguf(path: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Loads dequantised weights into an ordinary model, which trains and saves like any other."""
    loaded = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=dtype)
    config = _without_dropout(loaded.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=dtype)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    return model
