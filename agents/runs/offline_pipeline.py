"""A whole run that learns from a file: load, evaluate, learn, evaluate again; and going on.

As `agents.runs.pipeline`, without prompts, rewards and environments. Killed at any moment and
resumed, a run writes what it would have written.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from agents.algorithms.configs.names import name_of
from agents.algorithms.offline import Offline
from agents.applications.split import heldout_texts
from agents.callbacks import Callback
from agents.checkpoints.plain_values import require_form
from agents.checkpoints.series import Checkpoints
from agents.command_line.threads import number_of_threads
from agents.distributed import processes
from agents.reports import Section
from agents.reports.json_file import write_whole
from agents.reports.model_card import CARD
from agents.runs.console import (
    ProgressBar,
    key_values,
    printable,
    run_console,
    side_by_side,
)
from agents.runs.final_policies import final_policies
from agents.runs.going_on import (
    CHECKPOINTS,
    advice_on_going_on,
    is_finished,
    restore_latest,
)
from agents.runs.interruption import Interruption
from agents.runs.offline_kinds import KINDS, Learning
from agents.runs.offline_presets import OfflineRun
from agents.runs.outcome import of_figures, paired_texts
from agents.runs.owner import new_folder, owned, require_name, require_new
from agents.runs.page_views import READING
from agents.runs.run_card import UNKNOWN, Made
from agents.runs.run_folder import RunFolder, draw_losses
from agents.runs.run_page import RunPage
from agents.runs.sample_texts import TOKENS
from agents.runs.saved_config import anchored_model, described, read_offline_config
from agents.runs.start import FILE, digest_of_parameters, options_of, require_same
from agents.runs.summary import circumstances, figures_of, n_parameters, run_name
from agents.runs.tracking import load_trackers
from agents.runs.watching import watch


def run(config: OfflineRun) -> Path:
    """Carries out a run and returns its folder.

    Raises:
        FileExistsError: If the run's folder exists.
        ValueError: If the run's name is not one of a folder, or the file holds no such pairs.
        SystemExit: If the run was stopped; says first how to go on. With 130 or 143 after SIGINT or
            SIGTERM, with 1 where a health check found that it made no sense any more.
    """
    if config.name is not None:
        require_name(config.name)
        require_new(config.output / config.name)  # before anything is loaded
    load_trackers(config.track)
    device = processes.init(use_cpu=config.device == "cpu")
    model, data = anchored_model(config.model), config.data.absolute()
    config = dataclasses.replace(config, model=model, data=data)
    loaded = _load(config, device)
    default = run_name(name_of(config.algorithm), config.algorithm.seed)
    with new_folder(config.output, config.name, default) as folder:
        return _carry_out(config, loaded, folder, resumed=False)


def resume(folder: Path) -> Path:
    """Goes on with a stopped run from its last checkpoint, and returns its folder.

    Raises:
        FileNotFoundError: If `folder` holds no run.
        CheckpointError: If none of its checkpoints can be used.
        FolderInUse: If the run still goes on.
        ValueError: If its config was edited to what no run has, or what the run started from is not
            there any more.
        SystemExit: As `run`.
    """
    config = read_offline_config(folder).config
    if is_finished(folder):
        return folder
    device = processes.init(use_cpu=config.device == "cpu")
    with owned(folder):
        if is_finished(folder):  # by the one that held it
            return folder
        return _carry_out(config, _load(config, device), folder, resumed=True)


class _Loaded(NamedTuple):
    """What a run needs and does not write."""

    threads: int
    learning: Learning
    train: Any
    heldout: Any
    left_out: int
    prompts: Sequence[str]

    @property
    def eval_pairs(self) -> Any:
        """What the policy is evaluated on: what is held out, or if there is nothing, all."""
        return self.train if self.heldout is None else self.heldout

    @property
    def evaluated_on(self) -> str:
        """What the pairs that the policy is evaluated on are called."""
        return "Pairs of training (none held out)" if self.heldout is None else "Held-out pairs"


def _load(config: OfflineRun, device: torch.device) -> _Loaded:
    kind = KINDS[type(config.algorithm)]
    threads = number_of_threads(config.threads)
    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    rows = kind.read(config.data)  # before the model, which takes longer
    chosen = heldout_texts(row.prompt for row in rows)
    learnt_from = [row for row in rows if row.prompt not in chosen]
    learning = kind.load(config, learnt_from)
    learning.model.to(device)
    train = learning.encode(learnt_from)
    heldout = learning.encode([row for row in rows if row.prompt in chosen])
    if train is None:
        raise ValueError(
            f"max_length must leave a pair to learn from, but all {len(rows)} of {config.data} "
            f"are longer than {learning.max_length} tokens"
        )
    kept = sum(len(part) for part in (train, heldout) if part is not None)
    prompts = [row.prompt for row in rows if row.prompt in chosen or not chosen]
    return _Loaded(threads, learning, train, heldout, len(rows) - kept, prompts)


def _carry_out(config: OfflineRun, loaded: _Loaded, folder: Path, *, resumed: bool) -> Path:
    console = run_console(quiet=not processes.is_main())
    config = dataclasses.replace(config, threads=loaded.threads)
    start = _start(config, loaded.learning.model)
    before = _evaluation(folder, start) if resumed else None
    progress, interruption = ProgressBar(console, {"loss": "train/loss"}), Interruption()
    agent = _agent(config, loaded, folder, [progress, interruption])
    about = _header(config, loaded)
    with advice_on_going_on(folder), interruption, ExitStack() as at_the_end:
        at_the_end.callback(progress.close)
        record, watching = None, None
        if processes.is_main():  # of several processes, the first one writes and prints
            record = _record(config, folder, resumed=resumed)
            page = RunPage(record, folder.name, about, view=READING)
            said = described(name_of(config.algorithm), config)
            watching = watch(record, page, config, said, at_the_end)
            agent.callbacks[:0] = watching.callbacks
        console.print(key_values(f"{type(agent).__name__}: {config.data}", about))
        before = before or agent.evaluate(loaded.eval_pairs)
        samples = loaded.learning.write(loaded.prompts) if record is not None else {}
        if record is not None:
            record.write_json(FILE, {**start, "evaluation": before})
        if resumed:
            restore_latest(agent, folder, record, console)
        with interruption.deferred():
            agent.learn()
        interruption.stop_if_asked()
        evaluated, texts = _evaluated_and_saved(config, loaded, agent, folder, before, samples)
        if watching is not None:
            figures = _summary(agent, loaded, evaluated, watching.record.seconds)
            outcome = of_figures(evaluated, loaded.evaluated_on, texts)
            watching.finish(outcome, figures, paired_texts(texts))
            console.print(side_by_side(loaded.evaluated_on, _rows(evaluated)))
            console.print(f"Written to {printable(str(folder))}/")
    return folder


def _agent(
    config: OfflineRun, loaded: _Loaded, folder: Path, callbacks: Sequence[Callback]
) -> Offline[Any, Any, Any]:
    """Returns what learns; its last callback saves the state of all."""
    every, keep = config.checkpoint_every, config.keep_checkpoints
    return KINDS[type(config.algorithm)].agent(
        loaded.learning.model,
        loaded.train,
        config.algorithm,
        heldout=loaded.heldout,
        callbacks=[*callbacks, Checkpoints(folder / CHECKPOINTS, every=every, keep=keep)],
    )


def _evaluated_and_saved(
    config: OfflineRun,
    loaded: _Loaded,
    agent: Offline[Any, Any, Any],
    folder: Path,
    before: Mapping[str, float],
    samples: Mapping[str, str],
) -> tuple[dict[str, Mapping[str, float]], dict[str, Mapping[str, str]]]:
    """Evaluates and saves what the run ends with, each with its card.

    Returns:
        Figures, and texts by prompt; by what the models are called.
    """
    learning = loaded.learning
    evaluated, written = {"before": before}, {"before": samples}
    for when, name in final_policies(agent.average, name=KINDS[type(config.algorithm)].folder):
        evaluated[when] = agent.evaluate(loaded.eval_pairs)
        if processes.is_main():
            learning.save(agent, folder / name)
            written[when] = learning.write(loaded.prompts)
            figures = {"before": before, when: evaluated[when]}
            texts = {"before": samples, when: written[when]}
            outcome = of_figures(figures, loaded.evaluated_on, texts)
            made = _made(config, loaded, folder.name, outcome, samples)
            write_whole(folder / name / CARD, learning.card(agent, made))
    return evaluated, written


def _made(
    config: OfflineRun, loaded: _Loaded, run: str, outcome: Section, samples: Mapping[str, str]
) -> Made:
    """Returns what is to be said of a model."""
    digest = hashlib.sha256(config.data.read_bytes()).hexdigest()
    pairs = f"{len(loaded.train):,} of the file {config.data.name} (SHA-256 {digest[:12]}…)"
    return Made(
        run=run,
        preset=name_of(config.algorithm),
        config=config,
        parameters=n_parameters(loaded.learning.model),
        has_tokenizer=True,
        learnt_from=[("pairs", f"{pairs}. {UNKNOWN}")],
        outcome=outcome,
        prompt=next(iter(samples), loaded.prompts[0]),
        max_new_tokens=min(TOKENS, loaded.learning.max_length // 2),
    )


def _record(config: OfflineRun, folder: Path, *, resumed: bool) -> RunFolder:
    if resumed:
        return RunFolder(folder, draw_losses)
    return RunFolder.created(folder, described(name_of(config.algorithm), config), draw_losses)


def _header(config: OfflineRun, loaded: _Loaded) -> dict[str, Any]:
    """Returns what a person wants to know before the run."""
    heldout = 0 if loaded.heldout is None else len(loaded.heldout)
    return {
        "model": f"{config.model} ({n_parameters(loaded.learning.model) / 1e6:.1f} M parameters)",
        "pairs": f"{len(loaded.train):,}; {heldout:,} held out, {loaded.left_out:,} too long",
        "epochs": f"{config.algorithm.n_epochs}, {config.algorithm.batch_size} pairs per step",
        "threads": torch.get_num_threads(),
    }


def _start(config: OfflineRun, policy: nn.Module) -> dict[str, Any]:
    """Identifies file and model by SHA-256, and says what the run is told of what it learns."""
    data = hashlib.sha256(config.data.read_bytes()).hexdigest()
    return {
        "data": data,
        "model": digest_of_parameters(policy),
        "options": options_of(config),
    }


def _evaluation(folder: Path, start: Mapping[str, Any]) -> dict[str, float] | None:
    """Returns the evaluation of the untrained policy, if there is one.

    Raises:
        ValueError: If the run started from something else.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        form: dict[str, Any] = {"data": "", "model": "", "options": {}, "evaluation": {}}
        if isinstance(saved, dict) and "options" not in saved:  # the first runs did not write them
            saved["options"] = {}
        require_form(saved, form, "start")
    except ValueError as error:
        raise ValueError(f"{path} must hold what the run wrote: {error}") from error
    require_same(start["options"], saved["options"], path)
    for name in ("data", "model"):
        digest = start[name]
        if saved[name] != digest:
            raise ValueError(
                f"a run must go on with what it started from, but {name} has changed since: "
                f"SHA-256 {digest[:12]}… where {path} has {saved[name][:12]}…"
            )
    evaluation: dict[str, float] = saved["evaluation"]
    return evaluation


def _rows(evaluated: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, str]]:
    """Returns the cells of a table of figures."""
    return {
        name.removeprefix("eval/"): {when: f"{one[name]:.4f}" for when, one in evaluated.items()}
        for name in evaluated["before"]
    }


def _summary(
    agent: Offline[Any, Any, Any],
    loaded: _Loaded,
    evaluated: Mapping[str, Mapping[str, float]],
    seconds: float,
) -> dict[str, Any]:
    figures = figures_of(evaluated)
    return {
        **{name.removeprefix("eval/"): value for name, value in figures.items()},
        "pairs": len(loaded.train),
        "heldout_pairs": 0 if loaded.heldout is None else len(loaded.heldout),
        "left_out": loaded.left_out,
        "tokens": agent.n_tokens,
        **circumstances(agent, seconds),
    }
