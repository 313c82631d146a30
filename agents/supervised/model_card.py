"""The model card of a pretrained model: what its corpus says of it, its figures and samples.

Everything in a card is either said of the corpus, measured, or sampled from the model; no sentence
of the training data is copied.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from agents.reports import Code, Figure, Paragraph, Section, SideBySide, Table, Written
from agents.reports import model_card as cards
from agents.reports.tables import Cell
from agents.supervised.material import About
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


def outcome(figures: Figures, samples: Mapping[str, str]) -> Section:
    """Returns what came of a training: figures, and first draws of the model.

    Args:
        figures: What was measured.
        samples: Replies of the model, by prompt.
    """
    rows: list[list[Cell]] = [
        ["parameters", Figure(figures.parameters, 0)],
        ["texts learnt from", Figure(figures.train_pairs, 0)],
        ["training tokens read", Figure(figures.tokens, 0)],
        ["optimiser steps", Figure(figures.steps, 0)],
        ["step of the best parameters, which are saved", Figure(figures.best_step, 0)],
        ["minutes", Figure(figures.minutes, 1)],
        [
            "perplexity per token of a completion, validation",
            Figure(figures.validation_perplexity, 2),
        ],
        ["perplexity per token of a completion, held out", Figure(figures.heldout_perplexity, 2)],
    ]
    caption = (
        "Perplexities are per token of a completion, end-of-text included, of the saved float16 "
        "weights, computed in float32. Samples are first draws at temperature 1, not selected."
    )
    written = [[Written("written", text)] for text in samples.values()]
    table = Table(["figure", "value"], rows, caption)
    return Section("What came of it", [table, SideBySide(list(samples), written)])


def model_card(about: About, command: PretrainCommand, came_of_it: Section) -> str:
    """Returns the README of a model folder.

    Args:
        about: Of the corpus.
        command: The command that trained the model.
        came_of_it: See `outcome`.
    """
    config = dataclasses.asdict(command)
    del config["output"], config["track"]
    loading = [
        "from transformers import pipeline",
        "",
        'write = pipeline("text-generation", model=".")',
        f"written = write({about.context!r}, do_sample=True, top_k=0, max_new_tokens=40)",
        'print(written[0]["generated_text"])',
    ]
    settings = json.dumps(config, indent=2)
    again = f"python -m agents.pretrain {about.options}".rstrip()
    longest = f"Texts are at most {command.shape.n_positions} tokens long; nothing pads them."
    sections = [
        Section("About", [Paragraph(about.said)]),
        Section(
            "How to load it",
            [
                Paragraph("In this folder, with plain transformers:"),
                Code("\n".join(loading), "python"),
                Paragraph(f"{about.form} {longest}"),
            ],
        ),
        Section("What it learnt from", [Paragraph(about.data)]),
        came_of_it,
        Section(
            "How it was trained",
            [Code("\n".join([*about.before, again])), Code(settings, "json")],
        ),
        Section("Limits", [Paragraph(about.limits)]),
    ]
    return cards.model_card(
        about.title,
        sections,
        language=about.language,
        license=about.license,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["text-gym"],
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
