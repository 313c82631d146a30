"""The pretraining run: conversations, tokenizer, sequences, training, saving, model card.

What is measured is what was saved: the half-precision weights, read back.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.command_line.threads import number_of_threads
from agents.supervised.config import PretrainCommand
from agents.supervised.from_scratch import new_gpt2, save_half_precision, train_tokenizer
from agents.supervised.model_card import Figures, model_card, sample_replies
from agents.supervised.sequences import encode_pairs
from agents.supervised.training import Evaluation, perplexity, pretrain
from text_gym.small_talk import PROMPTS, TEMPLATE, chitchat_pairs


def run(command: PretrainCommand) -> None:
    """Run the pipeline and write its results to `command.output`."""
    threads = number_of_threads(command.threads)
    torch.set_num_threads(threads)
    command = replace(command, threads=threads)
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
    saved = AutoModelForCausalLM.from_pretrained(
        command.output, dtype=torch.float32, trust_remote_code=False
    )
    saved_tokenizer = AutoTokenizer.from_pretrained(command.output, trust_remote_code=False)
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
    replies = sample_replies(
        saved, saved_tokenizer, prompts, template=TEMPLATE, seed=command.training.seed
    )
    card = model_card(command, figures, list(zip(prompts, replies, strict=True)))
    (command.output / "README.md").write_text(card, encoding="utf-8")
    print(card)


def _print_evaluation(evaluation: Evaluation) -> None:
    print(
        f"step {evaluation.step}: train loss {evaluation.train_loss:.4f}, "
        f"held-out loss {evaluation.heldout_loss:.4f}",
        flush=True,
    )
