"""A whole fine-tuning run: load, evaluate, learn, evaluate again, write down; and going on.

This pipeline is where `text_gym` and the agents meet; the algorithm itself knows neither prompts
nor rewards. Killed at any moment and resumed, a run writes what it would have written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from gymnasium.vector import VectorEnv
from rich.console import Console
from transformers.utils import logging as transformers_logging

from agents.algorithms.configs.names import name_of
from agents.applications.fine_tuning import FineTuning
from agents.applications.split import Split
from agents.callbacks import BestScore
from agents.checkpoints.series import Checkpoints
from agents.command_line.threads import number_of_threads
from agents.distributed import processes, sharding
from agents.evaluation.metrics import Evaluation
from agents.monitoring.monitor import Monitor
from agents.policy.precision import settled
from agents.reports.json_file import write_whole
from agents.reports.model_card import CARD
from agents.runs.console import (
    ProgressBar,
    evaluations,
    key_values,
    printable,
    replies,
    run_console,
)
from agents.runs.environments import listed_prompts, load_responder, make_envs
from agents.runs.final_policies import final_policies
from agents.runs.going_on import (
    CHECKPOINTS,
    advice_on_going_on,
    is_finished,
    restore_latest,
)
from agents.runs.interruption import Interruption
from agents.runs.learners import LEARNERS, Learner
from agents.runs.models import load_policy
from agents.runs.monitoring import MonitorFile, make_monitor, told, verdict
from agents.runs.outcome import of_evaluations
from agents.runs.owner import new_folder, owned, require_name, require_new
from agents.runs.profile import Profile, TimedReward
from agents.runs.prompts import load_prompts
from agents.runs.rewards import load_reward
from agents.runs.run_card import (
    Made,
    card_of_policy,
    limits_of,
    said_of_reward,
    source_of_prompts,
)
from agents.runs.run_folder import RunFolder
from agents.runs.run_page import RunPage
from agents.runs.saved_config import anchored, described, read_config, trust_run
from agents.runs.shared_evaluation import OwnRows
from agents.runs.start import FILE, Start
from agents.runs.summary import header, n_parameters, paired_replies, run_name, summary
from agents.runs.texts_at_hand import texts_at_hand
from agents.runs.tracking import load_trackers
from agents.runs.trust import trust
from agents.runs.watching import Watching, watch
from agents.runs.writing_bar import writing_bar
from text_gym import HuggingFaceTokenizer


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
    loaded = _load(config, device)
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
        ValueError: If its config was edited to what no run has, or what the run started from is not
            there any more.
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
        loaded = _load(config, device)
        start = loaded.start.found_in(folder, code_may_differ=trust_code)
        return _carry_out(preset, config, loaded._replace(start=start), folder, resumed=True)


class _Loaded(NamedTuple):
    """What a run needs and does not write."""

    threads: int
    split: Split
    start: Start
    tokenizer: Any
    reward: TimedReward | None
    envs: VectorEnv[Any, Any, Any]
    eval_envs: VectorEnv[Any, Any, Any]
    learner: Learner
    agent: Any
    monitor: Monitor | None


def _load(config: FineTuning, device: torch.device) -> _Loaded:
    threads = number_of_threads(config.threads)
    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    num_envs = processes.share_of(config.num_envs, "num_envs")
    rows = _eval_rows(config)
    quiet = run_console(quiet=not processes.is_main())
    split = load_prompts(config.prompts, quiet, config.eval_prompts)
    policy, tokenizer = load_policy(config)
    words = (tokenizer, policy.end_of_text_ids)
    learnt_from = split.own_share().train
    if config.env_id is not None:
        split = Split(listed_prompts(config, *words), ())
    start = Start.of(split, policy, config)
    policy.to(device)
    reward = None if config.reward is None else load_reward(config.reward, device)
    timed = None if reward is None else TimedReward(reward)
    responder = load_responder(config.responder, device)
    envs = make_envs(
        config,
        learnt_from,
        *words,
        num_envs,
        timed,
        responder=responder,
        group_size=getattr(config.algorithm, "group_size", 1),
        training=True,
    )
    prompts = split.eval_prompts
    eval_envs = OwnRows(
        make_envs(config, prompts, *words, len(rows), reward, responder=responder), rows.start
    )
    learner = LEARNERS[type(config.algorithm)]
    monitor = make_monitor(config, learner, eval_envs, device)
    agent = learner.build(policy, envs, eval_envs, config)
    return _Loaded(
        threads, split, start, tokenizer, timed, envs, eval_envs, learner, agent, monitor
    )


def _eval_rows(config: FineTuning) -> range:
    """Returns which of the texts that are evaluated are this process's."""
    if config.policy.sharded:  # all processes take part in every forward pass of the reference
        sharding.require_several()
        processes.share_of(config.eval_episodes, "eval_episodes")
    return processes.rows_of(config.eval_episodes, "eval_episodes")


def _carry_out(
    preset: str,
    config: FineTuning,
    loaded: _Loaded,
    folder: Path,
    *,
    resumed: bool,
    open_page: bool = False,
) -> Path:
    console = run_console(quiet=not processes.is_main())
    split, learner, agent = loaded.split, loaded.learner, loaded.agent
    config = dataclasses.replace(config, threads=loaded.threads)
    start = loaded.start
    progress, best, interruption = ProgressBar(console), BestScore(), Interruption()
    profile = Profile(loaded.reward)
    monitor = loaded.monitor
    agent.callbacks += [progress, best, profile, interruption]
    if monitor is not None:
        agent.callbacks.append(monitor)
    texts = partial(texts_at_hand, loaded.envs)
    advice = advice_on_going_on(folder, resumable=learner.resumable, texts=texts)
    with advice, interruption, ExitStack() as at_the_end:
        at_the_end.callback(progress.close)
        about = header(config, split, agent.policy) | start.remarks
        record, watching = None, None
        if processes.is_main():  # of several processes, the first one writes and prints
            record = _record(preset, config, folder, resumed=resumed)
            page = RunPage(record, folder.name, about, show=open_page)
            watching = watch(record, page, config, described(preset, config), at_the_end)
            agent.callbacks[:0] = watching.callbacks
            if monitor is not None:
                agent.callbacks.append(MonitorFile(monitor, record))
        if learner.resumable:
            agent.callbacks.append(_checkpoints(config, folder))
        title = f"{type(agent).__name__}: {preset}"
        console.print(key_values(title, about))
        before = start.evaluation or _evaluated(loaded, config, "before")
        if record is not None:
            record.write_json(FILE, start.evaluated(before).plain())
        if resumed:
            restore_latest(agent, folder, record, console)
        with interruption.deferred():
            ended = monitor is not None and monitor.stopped  # before this process took it up
            agent.learn(agent.n_episodes if ended else config.total_episodes)
        interruption.stop_if_asked()
        evaluated = _evaluated_and_saved(preset, config, loaded, folder, before)
        if watching is not None:
            _finish(watching, evaluated, best, loaded)
            _show(console, watching.record, loaded, evaluated)
            if config.profile and profile.updates:
                console.print(profile.table())
    return folder


def _evaluated(loaded: _Loaded, config: FineTuning, when: str) -> Evaluation:
    console, n = run_console(quiet=not processes.is_main()), loaded.eval_envs.num_envs
    with writing_bar(loaded.eval_envs, n, f"evaluating, {when}", console) as envs:
        return loaded.learner.evaluate(loaded.agent, envs, config)


def _evaluated_and_saved(
    preset: str, config: FineTuning, loaded: _Loaded, folder: Path, before: Evaluation
) -> dict[str, Evaluation]:
    """Evaluates and saves the policies that the run ends with, each with its card."""
    learner, agent = loaded.learner, loaded.agent
    evaluated, selected = {"before": before}, None
    if config.select_by is not None and loaded.monitor is not None:
        selected = loaded.monitor.best_in_place(agent.policy)
    for when, name in final_policies(agent.average, selected):
        evaluated[when] = _evaluated(loaded, config, when)
        learner.save(agent, loaded.tokenizer, folder / name)
        if processes.is_main():
            compared = {"before": before, when: evaluated[when]}
            _write_card(preset, config, loaded, folder / name, compared)
    return evaluated


def _write_card(
    preset: str,
    config: FineTuning,
    loaded: _Loaded,
    folder: Path,
    evaluated: Mapping[str, Evaluation],
) -> None:
    """Writes the model card of a policy, if it is one that transformers reads."""
    if not folder.is_dir():
        return
    learnt_from = [
        ("prompts", source_of_prompts(config)),
        ("reward", said_of_reward(config.reward, loaded.reward and loaded.reward.function)),
    ]
    made = Made(
        run=folder.parent.name,
        preset=preset,
        config=config,
        parameters=n_parameters(loaded.agent.policy.model),
        has_tokenizer=isinstance(loaded.tokenizer, HuggingFaceTokenizer),
        learnt_from=learnt_from,
        outcome=of_evaluations(evaluated, loaded.split.evaluated_on),
        prompt=evaluated["before"].prompts[0],
        max_new_tokens=config.max_new_tokens or max(evaluated["before"].lengths),
    )
    write_whole(folder / CARD, card_of_policy(made, limits_of(config)))


def _checkpoints(config: FineTuning, folder: Path) -> Checkpoints:
    every, keep = config.checkpoint_every, config.keep_checkpoints
    return Checkpoints(folder / CHECKPOINTS, every=every, keep=keep)


def _record(preset: str, config: FineTuning, folder: Path, *, resumed: bool) -> RunFolder:
    return RunFolder(folder) if resumed else RunFolder.created(folder, described(preset, config))


def _finish(
    watching: Watching,
    evaluated: Mapping[str, Evaluation],
    best: BestScore,
    loaded: _Loaded,
) -> None:
    record = watching.record
    figures = summary(evaluated, loaded.agent, record.tokens, record.seconds)
    figures |= {"best_score": best.score, "best_score_episodes": best.n_episodes}
    figures["heldout_prompts"] = len(loaded.split.heldout)
    if loaded.monitor is not None:
        figures["monitor"] = verdict(loaded.monitor)
    outcome = of_evaluations(evaluated, loaded.split.evaluated_on)
    watching.finish(outcome, figures, paired_replies(evaluated["before"], evaluated["after"]))


def _show(
    console: Console,
    record: RunFolder,
    loaded: _Loaded,
    evaluated: Mapping[str, Evaluation],
) -> None:
    console.print(
        replies(evaluated["before"], evaluated["after"], width=console.width),
        evaluations(evaluated, loaded.split.evaluated_on),
        sep="\n",
    )
    console.print(
        f"{loaded.agent.n_episodes:,} episodes, {record.tokens:,} tokens in "
        f"{record.seconds:.1f} s: "
        f"{record.tokens / record.seconds:,.0f} tokens/s. "
        f"Written to {printable(str(record.folder))}/"
    )
    if loaded.monitor is not None:
        console.print(printable(told(loaded.monitor)))
