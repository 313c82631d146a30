"""Pretrain the small-talk language model: `python -m agents.pretrain --output FOLDER`.

The pipeline: conversations, tokenizer, sequences, training, saving in half precision, measuring
what was saved, model card. Torch is imported only after the command line has been read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agents.pretraining_config import PretrainConfig

if TYPE_CHECKING:
    from agents.pretraining import Evaluation


@dataclass(frozen=True)
class ModelShape:
    """Set the size of the GPT-2 to train."""

    vocabulary_size: int = 2048
    """Tokens of the byte-level BPE tokenizer."""

    n_positions: int = 128
    """Longest context in tokens; longer pairs are left out."""

    n_embd: int = 256
    """Width."""

    n_layer: int = 3
    """Number of blocks."""

    n_head: int = 4
    """Attention heads of a block."""

    dropout: float = 0.0
    """Dropout while training; the saved model has none."""


@dataclass(frozen=True)
class PretrainCommand:
    """Train a tokenizer and a small GPT-2 on human small talk and write them to a folder."""

    output: Path
    """Folder of the model, the tokenizer and the model card."""

    shape: ModelShape = field(default_factory=ModelShape)

    training: PretrainConfig = field(default_factory=PretrainConfig)

    threads: int = 2
    """Threads of torch; the result depends on their number in the last bits."""

    progress: bool = False
    """Whether to show a progress bar."""


def run(command: PretrainCommand) -> None:
    """Run the pipeline and write its results to `command.output`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from agents.from_scratch import new_gpt2, save_half_precision, train_tokenizer
    from agents.model_card import Figures, model_card, sample_replies
    from agents.pretraining import perplexity, pretrain
    from agents.sequences import encode_pairs
    from text_gym.small_talk import PROMPTS, TEMPLATE, chitchat_pairs

    torch.set_num_threads(command.threads)
    shape = command.shape
    texts = (text for pair in chitchat_pairs("train") for text in (*pair, "\n"))
    tokenizer = train_tokenizer(texts, shape.vocabulary_size)
    train, validation, heldout = (
        encode_pairs(
            tokenizer, chitchat_pairs(split), template=TEMPLATE, max_length=shape.n_positions
        )
        for split in ("train", "validation", "heldout")
    )
    model = new_gpt2(
        tokenizer,
        n_positions=shape.n_positions,
        n_embd=shape.n_embd,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        dropout=shape.dropout,
        seed=command.training.seed,
    )
    result = pretrain(
        model,
        train,
        validation,
        command.training,
        on_evaluation=_print_evaluation,
        progress=command.progress,
    )
    save_half_precision(model, tokenizer, command.output)
    saved = AutoModelForCausalLM.from_pretrained(command.output, dtype=torch.float32)
    saved_tokenizer = AutoTokenizer.from_pretrained(command.output)
    figures = Figures(
        parameters=saved.num_parameters(),
        train_pairs=len(train),
        tokens=result.tokens,
        minutes=result.seconds / 60,
        steps=result.steps,
        best_step=result.best.step,
        validation_perplexity=perplexity(saved, validation),
        heldout_perplexity=perplexity(saved, heldout),
    )
    prompts = PROMPTS[:: len(PROMPTS) // 10][:10]
    contexts = [TEMPLATE.format(prompt=prompt) for prompt in prompts]
    replies = sample_replies(saved, saved_tokenizer, contexts, seed=command.training.seed)
    card = model_card(command, figures, list(zip(prompts, replies, strict=True)))
    (command.output / "README.md").write_text(card, encoding="utf-8")
    print(card)


def _print_evaluation(evaluation: Evaluation) -> None:
    print(
        f"step {evaluation.step}: train loss {evaluation.train_loss:.4f}, "
        f"held-out loss {evaluation.heldout_loss:.4f}",
        flush=True,
    )


def main() -> None:
    """Read the command line and run it."""
    import tyro

    run(tyro.cli(PretrainCommand))


if __name__ == "__main__":
    main()
