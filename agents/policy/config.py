"""How a language model becomes a policy: precision, value network, what learns.

Imports no torch, so that presets can hold it and a command line can print its help at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from agents.field_kinds import require_kinds


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Sets how a policy computes, and which of its parameters learn.

    Raises:
        ValueError: If a field breaks its rule; the message names both.
    """

    temperature: float = 1.0
    """Of sampling and of every log-prob."""
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    """Of the parameters. In bfloat16, Adam's steps are rounded away unless only adapters learn,
    which stay in float32."""
    autocast: Literal["auto", "bfloat16"] | None = None
    """Precision of the products of the trunk in every forward pass: sampling, scoring and updating
    alike. Pays on CPUs with AMX or AVX-512 for bfloat16; on a GPU it was seen to pay for learning
    alone, from some hundred million parameters on. Parameters and the output layer stay as they
    are. `"auto"` is bfloat16 on such a CPU and None elsewhere, settled when a policy is made or a
    run starts, which writes it down."""
    value_network: Literal["shared", "separate", "none"] = "shared"
    """Whether the value head sits on the policy's own trunk (Ziegler et al. 2019,
    arXiv:1909.08593), or on one of its own that starts as a copy (InstructGPT, arXiv:2203.02155)
    and costs as much again; what does not learn is shared in either case. `"none"` is for
    algorithms that learn no values."""
    action_values: bool = False
    """Whether the value head gives a value for every token that could follow (V of them), as ACER
    needs, instead of one for the state."""
    lora_rank: int = 0
    """Rank of low-rank adapters, in place of the parameters of the language model, which then stay
    fixed (Hu et al. 2021, arXiv:2106.09685); 0: none."""
    lora_alpha: int = 16
    """An adapter's product is multiplied by lora_alpha / lora_rank."""
    lora_targets: tuple[str, ...] = ()
    """Linear layers that get an adapter, by name or its end, `q_proj` for example; none given: all
    but the output layer (Dettmers et al. 2023, arXiv:2305.14314)."""
    lora_seed: int = 0
    """Of the adapters' initial values, which change nothing yet."""
    frozen_blocks: int = 0
    """Lowest blocks of the trunk that do not learn (Ziegler et al. 2019 and trlX freeze some).
    Above 0 the embeddings do not learn either, and so neither does an output layer tied to them."""
    gradient_checkpointing: bool = False
    """Whether blocks compute their activations again in the backward pass instead of keeping them
    (Chen et al. 2016, arXiv:1604.06174): a third more work for far less memory."""

    sharded: bool = False
    """Whether parameters, gradients and optimiser state are shared out over processes, by PyTorch's
    FSDP2 (Zhao et al. 2023, arXiv:2304.11277), once something learns: for models that are too large
    for one device. TRPO and ACER refuse it."""

    def __post_init__(self) -> None:
        """Checks every field against its kind, and its rule."""
        require_kinds(self)
        self._require("temperature", "above 0", self.temperature > 0)
        self._require("temperature", "finite", math.isfinite(self.temperature))
        self._require("lora_rank", "at least 0", self.lora_rank >= 0)
        self._require("lora_alpha", "above 0", self.lora_alpha > 0)
        self._require("frozen_blocks", "at least 0", self.frozen_blocks >= 0)
        self._require(
            "action_values",
            "False without a value network",
            not self.action_values or self.value_network != "none",
        )

    def _require(self, name: str, rule: str, holds: bool) -> None:
        if not holds:
            raise ValueError(f"{name} must be {rule}, got {getattr(self, name)!r}")
