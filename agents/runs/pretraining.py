"""The pretraining run: material, then stage by stage training, saving, model card, page.

What is measured is what was saved: the half-precision weights, read back. The metrics of a stage
and its page lie in `training/`, apart from the model in whose folder that is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from agents.callbacks import Callback
from agents.command_line.threads import number_of_threads
from agents.reports.json_file import write_whole
from agents.reports.model_card import CARD
from agents.runs.console import printable, run_console
from agents.runs.page_views import READING
from agents.runs.run_folder import RunFolder, draw_losses
from agents.runs.run_page import RunPage
from agents.runs.tracking import load_trackers
from agents.runs.watching import Watching, watch
from agents.supervised.config import PretrainCommand
from agents.supervised.from_scratch import new_gpt2, save_half_precision
from agents.supervised.material import Material, Stage
from agents.supervised.model_card import Figures, model_card, outcome, sample_replies
from agents.supervised.small_talk import small_talk
from agents.supervised.training import Evaluation, PretrainResult, perplexity, pretrain
from agents.supervised.translation import translation
from agents.supervised.verse import verse

MATERIALS: Mapping[str, Callable[[PretrainCommand], Material]] = {
    "small-talk": small_talk,
    "verse": verse,
    "translation": translation,
}
TRAINING = "training"
"""Of what a stage leaves besides its model, within its folder."""


def run(command: PretrainCommand) -> None:
    """Carries out the run and writes its results to `command.output`, or where its corpus says."""
    load_trackers(command.track)
    threads = number_of_threads(command.threads)
    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
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
        carried_out = replace(command, training=stage.training, output=output / stage.folder)
        _carry_out(carried_out, model, material, stage, output / stage.folder)


def _carry_out(
    command: PretrainCommand,
    model: PreTrainedModel,
    material: Material,
    stage: Stage,
    folder: Path,
) -> None:
    """Trains, saves and measures the model of a stage."""
    with ExitStack() as at_the_end:
        watching = _watching(command, material, stage, folder / TRAINING, at_the_end)
        result = _trained(model, stage, watching.callbacks)
        save_half_precision(model, material.tokenizer, folder)
        figures, replies = _measured(folder, material, stage, result, command.training.seed)
        came_of_it = outcome(figures, replies)
        write_whole(folder / CARD, model_card(material.about, command, came_of_it))
        watching.page.finish([came_of_it])
        rows = [{"prompt": prompt, "reply": reply} for prompt, reply in replies.items()]
        for tracker in watching.trackers:
            tracker.on_outcome(dataclasses.asdict(figures), rows)
    run_console().print(f"Written to {printable(str(folder))}/")


def _watching(
    command: PretrainCommand, material: Material, stage: Stage, folder: Path, at_the_end: ExitStack
) -> Watching:
    """Returns those who watch a stage, each closed at the end."""
    said = dataclasses.asdict(command)
    record = RunFolder(folder, draw_losses)  # begun anew each time: no such run is gone on with
    folder.mkdir(parents=True, exist_ok=True)
    record.write_json("config.json", said)
    about = {"corpus": command.corpus, "pairs": f"{len(stage.train):,}", **_sizes(command)}
    page = RunPage(record, material.about.title, about, view=READING)
    return watch(record, page, command, said, at_the_end)


def _trained(model: PreTrainedModel, stage: Stage, callbacks: Sequence[Callback]) -> PretrainResult:
    """Trains a model on a stage, and tells callbacks of every measurement."""
    counted: Any = _Counted(stage.training.seed)
    for callback in callbacks:
        callback.on_training_start(counted, 0)

    def told(evaluation: Evaluation) -> None:
        counted.n_updates = evaluation.step
        metrics = {
            "train/loss": evaluation.train_loss,
            "eval/loss": evaluation.heldout_loss,
            "train/epoch": evaluation.epoch,
        }
        for callback in callbacks:
            callback.on_update_end(counted, metrics)
        run_console().print(
            f"step {evaluation.step}: train loss {evaluation.train_loss:.4f}, "
            f"held-out loss {evaluation.heldout_loss:.4f}"
        )

    result = pretrain(
        model, stage.train, stage.validation, stage.training, on_evaluation=told, progress=True
    )
    for callback in callbacks:
        callback.on_training_end(counted)
    return result


def _measured(
    folder: Path, material: Material, stage: Stage, result: PretrainResult, seed: int
) -> tuple[Figures, dict[str, str]]:
    """Returns the figures of a saved model, and what it writes to some prompts."""
    saved = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
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
    replies = sample_replies(saved, tokenizer, prompts, template=material.template, seed=seed)
    return figures, dict(zip(prompts, replies, strict=True))


def _sizes(command: PretrainCommand) -> dict[str, Any]:
    return {
        "blocks and width": f"{command.shape.n_layer}, {command.shape.n_embd}",
        "epochs": f"at most {command.training.epochs}",
        "threads": command.threads,
    }


@dataclass
class _Counted:
    """Counts for callbacks, which ask an agent: here every step is an update, and an episode."""

    seed: int
    n_updates: int = 0

    @property
    def n_episodes(self) -> int:
        return self.n_updates
