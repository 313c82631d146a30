"""A whole fine-tuning run: load, evaluate, learn, evaluate again, write down; and going on.

This pipeline is where `text_gym` and the agents meet; the algorithm itself knows neither prompts
nor rewards. What a run needs is loaded in `loading.py`, what comes of it told in `finishing.py`,
and this file knows the order. Killed at any moment and resumed, a run writes what it would have
written.
"""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from agents.algorithms.configs.names import name_of
from agents.applications.fine_tuning import FineTuning
from agents.callbacks import BestScore, Callback
from agents.checkpoints.series import Checkpoints
from agents.distributed import processes
from agents.policy.precision import settled
from agents.runs.console import ProgressBar, key_values, run_console
from agents.runs.finishing import evaluate_now, evaluated_and_saved, finish, show
from agents.runs.going_on import CHECKPOINTS, advice_on_going_on, is_finished, restore_latest
from agents.runs.interruption import Interruption
from agents.runs.learners import LEARNERS
from agents.runs.loading import Loaded, load
from agents.runs.monitoring import MonitorFile
from agents.runs.owner import new_folder, owned, require_name, require_new
from agents.runs.profile import Profile
from agents.runs.run_folder import RunFolder
from agents.runs.run_page import RunPage
from agents.runs.saved_config import anchored, described, read_config, trust_run
from agents.runs.start import FILE, require_told
from agents.runs.summary import header, run_name
from agents.runs.texts_at_hand import texts_at_hand
from agents.runs.thread_choice import with_fastest_threads
from agents.runs.tracking import load_trackers
from agents.runs.trust import trust
from agents.runs.watching import Watching, watch


def run(preset: str, config: FineTuning, *, open_page: bool = False) -> Path:
    """Carries out a run and returns its folder.

    Args:
        preset: The name of what the config began as.
        config: Of the run.
        open_page: Whether a browser shows the run's page as training begins.

    Raises:
        FileExistsError: If the run's folder exists.
        ValueError: If the run's name is not one of a folder.
        SystemExit: If the run was stopped; says first how to go on. With 130 or 143 after SIGINT or
            SIGTERM, with 1 where a health check found that it made no sense any more.
    """
    if config.name is not None:
        require_name(config.name)
        require_new(config.output / config.name)  # before anything is loaded
    load_trackers(config.track)
    device = processes.init(use_cpu=config.device == "cpu")
    policy = settled(config.policy, device)
    config = anchored(dataclasses.replace(config, policy=policy))
    if config.threads == "measured":
        config = with_fastest_threads(config, lambda one: load(one, device).agent)
    loaded = load(config, device)
    trust(vars(config))
    with new_folder(config.output, config.name, run_name(preset, config.algorithm.seed)) as folder:
        return _carry_out(preset, config, loaded, folder, resumed=False, open_page=open_page)


def resume(folder: Path, *, trust_code: bool = False) -> Path:
    """Goes on with a stopped run from its last checkpoint, and returns its folder.

    Args:
        folder: Of the run.
        trust_code: Whether to run the code that its config names as that is now, even if it is
            another than the run began with or was never run here.

    Raises:
        FileNotFoundError: If `folder` holds no run, or one that saves no checkpoints.
        CheckpointError: If none of its checkpoints can be used.
        FolderInUse: If the run still goes on.
        ValueError: If its config was edited to what no run has, or to what this one did not begin
            with, or what the run started from is not there any more.
        SystemExit: As `run`.
    """
    if trust_code:
        trust_run(folder)
    preset, config = read_config(folder)
    if is_finished(folder):
        return folder
    if not LEARNERS[type(config.algorithm)].resumable:
        raise FileNotFoundError(
            "folder must be of a run of our own algorithms, which save checkpoints, got "
            f"{folder}, of {name_of(config.algorithm)}; train it again under another name"
        )
    device = processes.init(use_cpu=config.device == "cpu")
    with owned(folder):
        if is_finished(folder):  # by the one that held it
            return folder
        require_told(folder, config)
        loaded = load(config, device)
        start = loaded.start.found_in(folder, code_may_differ=trust_code)
        return _carry_out(preset, config, loaded._replace(start=start), folder, resumed=True)


class _Along(NamedTuple):
    """Those who go along with the learning, in every process."""

    progress: ProgressBar
    best: BestScore
    profile: Profile
    interruption: Interruption


def _carry_out(
    preset: str,
    config: FineTuning,
    loaded: Loaded,
    folder: Path,
    *,
    resumed: bool,
    open_page: bool = False,
) -> Path:
    console = run_console(quiet=not processes.is_main())
    config = dataclasses.replace(config, threads=loaded.threads)
    agent, resumable = loaded.agent, loaded.learner.resumable
    along = _Along(ProgressBar(console), BestScore(), Profile(loaded.reward), Interruption())
    texts = partial(texts_at_hand, loaded.envs)
    advice = advice_on_going_on(folder, resumable=resumable, texts=texts)
    with advice, along.interruption, ExitStack() as at_the_end:
        at_the_end.callback(along.progress.close)
        about = header(config, loaded.split, agent.policy) | loaded.start.remarks
        record, watching = None, None
        if processes.is_main():  # of several processes, the first one writes and prints
            record = _record(preset, config, folder, resumed=resumed)
            page = RunPage(record, folder.name, about, show=open_page)
            watching = watch(record, page, config, described(preset, config), at_the_end)
        agent.callbacks[:] = _called(config, loaded, along, watching, folder)
        console.print(key_values(f"{type(agent).__name__}: {preset}", about))
        before = loaded.start.evaluation or evaluate_now(loaded, config, "before")
        if record is not None:
            record.write_json(FILE, loaded.start.evaluated(before).plain())
        if resumed:
            restore_latest(agent, folder, record, console)
        _learn(config, loaded, along.interruption)
        evaluated = evaluated_and_saved(preset, config, loaded, folder, before)
        if watching is not None:
            finish(watching, evaluated, along.best, loaded)
            show(console, watching.record, loaded, evaluated)
            if config.profile and along.profile.updates:
                console.print(along.profile.table())
    return folder


def _called(
    config: FineTuning, loaded: Loaded, along: _Along, watching: Watching | None, folder: Path
) -> list[Callback]:
    """Returns who is called as the agent learns, in order; the last one saves the state of all."""
    callbacks = [] if watching is None else watching.callbacks
    callbacks += [*loaded.agent.callbacks, *along]
    if loaded.monitor is not None:
        callbacks.append(loaded.monitor)
        if watching is not None:
            callbacks.append(MonitorFile(loaded.monitor, watching.record))
    if loaded.learner.resumable:
        every, keep = config.checkpoint_every, config.keep_checkpoints
        callbacks.append(Checkpoints(folder / CHECKPOINTS, every=every, keep=keep))
    return callbacks


def _learn(config: FineTuning, loaded: Loaded, interruption: Interruption) -> None:
    """Lets the agent learn all that is left, or until somebody asks it to stop."""
    agent, monitor = loaded.agent, loaded.monitor
    with interruption.deferred():
        ended = monitor is not None and monitor.stopped  # before this process took it up
        agent.learn(agent.n_episodes if ended else config.total_episodes)
    interruption.stop_if_asked()


def _record(preset: str, config: FineTuning, folder: Path, *, resumed: bool) -> RunFolder:
    return RunFolder(folder) if resumed else RunFolder.created(folder, described(preset, config))
