"""What of a pretrained model learns: adapters, or all of it above its frozen blocks."""

from __future__ import annotations

from transformers import PreTrainedModel

from agents.policy.config import PolicyConfig
from agents.policy.model import lora
from agents.policy.model.blocks import freeze_lowest


def let_learn(model: PreTrainedModel, options: PolicyConfig) -> None:
    """Lets adapters learn, the model's own or new ones, or all of it above frozen blocks.

    Args:
        model: Changed in place.
        options: Of the policy, or whatever the model is part of.

    Raises:
        ImportError, ValueError: As `lora.add_adapters`, `lora.let_learn` and `freeze_lowest`.
    """
    lora.let_learn(model)
    if not options.lora_rank:
        freeze_lowest(model, options.frozen_blocks)
        return
    lora.add_adapters(
        model,
        options.lora_rank,
        alpha=options.lora_alpha,
        targets=options.lora_targets,
        frozen_blocks=options.frozen_blocks,
        seed=options.lora_seed,
    )
