"""The pretraining run: material, then stage by stage training, saving, model card.

What is measured is what was saved: the half-precision weights, read back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from agents.command_line.threads import number_of_threads
from agents.supervised.config import PretrainCommand
from agents.supervised.from_scratch import new_gpt2, save_half_precision
from agents.supervised.material import Material, Stage
from agents.supervised.model_card import Figures, model_card, sample_replies
from agents.supervised.small_talk import small_talk
from agents.supervised.training import Evaluation, PretrainResult, perplexity, pretrain
from agents.supervised.translation import translation
from agents.supervised.verse import verse

MATERIALS: Mapping[str, Callable[[PretrainCommand], Material]] = {
    "small-talk": small_talk,
    "verse": verse,
    "translation": translation,
}


def run(command: PretrainCommand) -> None:
    """Run the pipeline and write its results to `command.output`, or where its corpus says."""
    threads = number_of_threads(command.threads)
    torch.set_num_threads(threads)
    command = replace(command, threads=threads)
    shape = command.shape
    material = MATERIALS[command.corpus](command)
    output = command.output or material.folder
    model = new_gpt2(
        material.tokenizer,
        n_positions=shape.n_positions,
        n_embd=shape.n_embd,
        n_layer=shape.n_layer,
        n_head=shape.n_head,
        dropout=shape.dropout,
        seed=command.training.seed,
    )
    for stage in material.stages:
        result = pretrain(
            model,
            stage.train,
            stage.validation,
            stage.training,
            on_evaluation=_print_evaluation,
            progress=command.progress,
        )
        _save(model, material, stage, result, replace(command, output=output / stage.folder))


def _save(
    model: PreTrainedModel,
    material: Material,
    stage: Stage,
    result: PretrainResult,
    command: PretrainCommand,
) -> None:
    folder = command.output
    assert folder is not None
    save_half_precision(model, material.tokenizer, folder)
    saved = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False
    )
    saved_tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    figures = Figures(
        parameters=saved.num_parameters(),
        train_pairs=len(stage.train),
        tokens=result.tokens,
        minutes=result.seconds / 60,
        steps=result.steps,
        best_step=result.best.step,
        validation_perplexity=perplexity(saved, stage.validation),
        heldout_perplexity=perplexity(saved, stage.heldout),
    )
    prompts = material.prompts
    replies = sample_replies(
        saved, saved_tokenizer, prompts, template=material.template, seed=command.training.seed
    )
    samples = list(zip(prompts, replies, strict=True))
    carried_out = replace(command, training=stage.training)
    card = model_card(material.card, carried_out, figures, samples)
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(card)


def _print_evaluation(evaluation: Evaluation) -> None:
    print(
        f"step {evaluation.step}: train loss {evaluation.train_loss:.4f}, "
        f"held-out loss {evaluation.heldout_loss:.4f}",
        flush=True,
    )
