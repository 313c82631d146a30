"""Model cards: figures and samples of a model, put into the README of its folder.

Everything in a card is either written in its template, measured, or sampled from the model; no
sentence of the training data is copied.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from text_gym import HuggingFaceTokenizer
from text_gym.text_parts import completion_decoder

if TYPE_CHECKING:
    from agents.supervised.config import PretrainCommand


@dataclass(frozen=True)
class Figures:
    """What was measured of a pretrained model and of its training."""

    parameters: int
    train_pairs: int
    tokens: int
    minutes: float
    steps: int
    best_step: int
    validation_perplexity: float
    heldout_perplexity: float


def model_card(
    template: str,
    command: PretrainCommand,
    figures: Figures,
    samples: Sequence[tuple[str, str]],
) -> str:
    """Write the README of a model folder.

    Args:
        template: Of the corpus; names what it shows.
        command: The command that trained the model, with its folder.
        figures: What was measured.
        samples: Prompts and replies of the model.
    """
    config: dict[str, Any] = dataclasses.asdict(command)
    output = config.pop("output")
    del config["progress"]
    return template.format(
        output=output.as_posix(),
        n_positions=command.shape.n_positions,
        config=json.dumps(config, indent=2),
        samples="\n".join(f"| {_cell(prompt)} | {_cell(reply)} |" for prompt, reply in samples),
        **dataclasses.asdict(figures),
    )


def sample_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    template: str,
    seed: int,
    max_new_tokens: int = 40,
) -> list[str]:
    """Draw one reply to each prompt at temperature 1, from the whole vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary = HuggingFaceTokenizer(tokenizer)
    replies = []
    for prompt in prompts:
        prompt_ids = vocabulary.encode_prompt(template, prompt)
        ids = torch.tensor([prompt_ids])
        while ids.shape[1] < len(prompt_ids) + max_new_tokens:
            token = _next_token(model, ids, generator)
            if token == tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, token], dim=1)
        read = completion_decoder(vocabulary, ids[0, : len(prompt_ids)].numpy())
        replies.append(read(ids[0, len(prompt_ids) :].numpy()))
    return replies


@torch.no_grad()
def _next_token(model: PreTrainedModel, ids: Tensor, generator: torch.Generator) -> Tensor:
    logits = model(ids, use_cache=False).logits[:, -1]
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
