"""A whole fine-tuning run: load, judge, learn, judge again, write down; and going on with one.

This pipeline is where `text_gym` and the agents meet; the algorithm itself knows neither prompts
nor rewards. Killed at any moment and resumed, a run writes what it would have written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch
from gymnasium.vector import VectorEnv
from rich.console import Console
from transformers.utils import logging as transformers_logging

from agents.algorithms.acer import ACER
from agents.algorithms.configs.names import name_of
from agents.algorithms.expert_iteration import ExpertIteration
from agents.algorithms.grpo import GRPO
from agents.algorithms.policy_gradient import PolicyGradient
from agents.algorithms.ppo import PPO
from agents.algorithms.reinforce import REINFORCE
from agents.algorithms.rloo import RLOO
from agents.algorithms.trajectory_balance import TrajectoryBalance
from agents.algorithms.trpo import TRPO
from agents.applications.fine_tuning import FineTuning
from agents.applications.split import Split
from agents.callbacks import BestScore
from agents.checkpoints.series import Checkpoints
from agents.command_line.threads import number_of_threads
from agents.distributed import processes
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.policy.causal_lm import CausalLMPolicy
from agents.runs.console import (
    ProgressBar,
    evaluations,
    key_values,
    printable,
    replies,
    run_console,
)
from agents.runs.environments import make_envs, make_reward
from agents.runs.going_on import (
    CHECKPOINTS,
    SUMMARY,
    advice_on_going_on,
    is_finished,
    restore_latest,
    save_model,
)
from agents.runs.interruption import Interruption
from agents.runs.models import load_policy
from agents.runs.owner import new_folder, owned, require_name, require_new
from agents.runs.profile import Profile, TimedReward
from agents.runs.prompts import load_prompts
from agents.runs.run_folder import RunFolder
from agents.runs.saved_config import anchored, described, read_config
from agents.runs.start import FILE, Start
from agents.runs.summary import figures_of, header, paired_replies, run_name, summary

AGENTS: Mapping[type, type[PolicyGradient[Any]]] = {
    agent.config_class: agent
    for agent in (PPO, REINFORCE, RLOO, GRPO, TrajectoryBalance, ExpertIteration, TRPO, ACER)
}
"""The algorithm that each config is of."""


def run(preset: str, config: FineTuning) -> Path:
    """Carries out a run and returns its folder.

    Raises:
        FileExistsError: If the run's folder exists.
        ValueError: If the run's name is not one of a folder.
        SystemExit: If the run was stopped; says first how to go on. With 130 or 143 after SIGINT or
            SIGTERM, with 1 where a health check found that it made no sense any more.
    """
    if config.name is not None:
        require_name(config.name)
        require_new(config.output / config.name)  # before anything is loaded
    device = processes.init(use_cpu=config.device == "cpu")
    config = anchored(config)
    loaded = _load(config, device)
    with new_folder(config.output, config.name, run_name(preset, config.algorithm.seed)) as folder:
        return _carry_out(preset, config, loaded, folder, resumed=False)


def resume(folder: Path) -> Path:
    """Goes on with a stopped run from its last checkpoint, and returns its folder.

    Raises:
        FileNotFoundError: If `folder` holds no run, or one that saves no checkpoints.
        CheckpointError: If none of its checkpoints can be used.
        FolderInUse: If the run still goes on.
        ValueError: If its config was edited to what no run has, or what the run started from is not
            there any more.
        SystemExit: As `run`.
    """
    preset, config = read_config(folder)
    if is_finished(folder):
        return folder
    if type(config.algorithm) not in AGENTS:
        raise FileNotFoundError(
            "folder must be of a run of our own algorithms, which save checkpoints, got "
            f"{folder}, of {name_of(config.algorithm)}; train it again under another name"
        )
    device = processes.init(use_cpu=config.device == "cpu")
    with owned(folder):
        if is_finished(folder):  # by the one that held it
            return folder
        return _carry_out(preset, config, _load(config, device), folder, resumed=True)


class _Loaded(NamedTuple):
    """What a run needs and does not write."""

    threads: int
    split: Split
    policy: CausalLMPolicy
    tokenizer: Any
    reward: TimedReward
    envs: VectorEnv[Any, Any, Any]
    eval_envs: VectorEnv[Any, Any, Any]


def _load(config: FineTuning, device: torch.device) -> _Loaded:
    threads = number_of_threads(config.threads)
    torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    num_envs = processes.share_of(config.num_envs, "num_envs")
    split = load_prompts(config.prompts, run_console(quiet=not processes.is_main()))
    policy, tokenizer = load_policy(config)
    policy.to(device)
    reward = TimedReward(make_reward(config))
    words = (tokenizer, policy.end_of_text_ids)
    envs = make_envs(
        config,
        split.own_share().train,
        *words,
        num_envs,
        reward,
        group_size=getattr(config.algorithm, "group_size", 1),
    )
    eval_envs = make_envs(config, split.judged, *words, config.eval_episodes, reward)
    return _Loaded(threads, split, policy, tokenizer, reward, envs, eval_envs)


def _carry_out(
    preset: str, config: FineTuning, loaded: _Loaded, folder: Path, *, resumed: bool
) -> Path:
    console = run_console(quiet=not processes.is_main())
    threads, split, policy, tokenizer, reward, envs, eval_envs = loaded
    config = dataclasses.replace(config, threads=threads)
    start = Start.of(split, policy)
    start = start.found_in(folder) if resumed else start
    progress, best, interruption = ProgressBar(console), BestScore(), Interruption()
    checkpoints = Checkpoints(
        folder / CHECKPOINTS, every=config.checkpoint_every, keep=config.keep_checkpoints
    )
    profile = Profile(reward)
    callbacks = [progress, best, profile, interruption, checkpoints]
    agent = AGENTS[type(config.algorithm)](policy, envs, config.algorithm, callbacks=callbacks)
    with advice_on_going_on(folder), interruption, ExitStack() as at_the_end:
        at_the_end.callback(progress.close)
        record = None
        if processes.is_main():  # of several processes, the first one writes and prints
            record = _record(preset, config, folder, resumed=resumed)
            at_the_end.callback(record.close)
            agent.callbacks.insert(0, record)
        console.print(
            key_values(f"{type(agent).__name__}: {preset}", header(config, split, policy))
        )
        before = start.evaluation or _judged(agent, eval_envs, config)
        if record is not None:
            record.write_json(FILE, dataclasses.asdict(start.judged(before)))
        restore_latest(agent, folder, record, console)
        with interruption.deferred():
            agent.learn(config.total_episodes)
        interruption.stop_if_asked()
        after = _judged(agent, eval_envs, config)
        averaged = _averaged(agent, eval_envs, config, tokenizer, folder)
        if record is not None:
            save_model(agent.policy, tokenizer, folder / "policy")
            record.write_json("replies.json", paired_replies(before, after))
            figures = summary(before, after, agent, record.tokens, record.seconds)
            if averaged is not None:
                figures |= figures_of(averaged, "averaged")
            figures |= {"best_score": best.score, "best_score_episodes": best.n_episodes}
            figures["heldout_prompts"] = len(split.heldout)
            record.write_json(SUMMARY, figures)  # the last: a run that has it is finished
            _show(console, record, agent, (before, after, averaged), split.judged_as)
            if config.profile and profile.updates:
                console.print(profile.table())
    return folder


def _record(preset: str, config: FineTuning, folder: Path, *, resumed: bool) -> RunFolder:
    return RunFolder(folder) if resumed else RunFolder.created(folder, described(preset, config))


def _show(
    console: Console,
    record: RunFolder,
    agent: PolicyGradient[Any],
    judged: tuple[Evaluation, Evaluation, Evaluation | None],
    judged_as: str,
) -> None:
    before, after, averaged = judged
    figures = evaluations(before, after, judged_as, averaged=averaged)
    console.print(replies(before, after, width=console.width), figures, sep="\n")
    console.print(
        f"{agent.n_episodes:,} episodes, {record.tokens:,} tokens in {record.seconds:.1f} s: "
        f"{record.tokens / record.seconds:,.0f} tokens/s. "
        f"Written to {printable(str(record.folder))}/"
    )


def _judged(
    agent: PolicyGradient[Any], envs: VectorEnv[Any, Any, Any], config: FineTuning
) -> Evaluation:
    seed = config.algorithm.seed
    return evaluate(agent.policy, agent.reference, envs, config.eval_episodes, seed=seed)


def _averaged(
    agent: PolicyGradient[Any],
    envs: VectorEnv[Any, Any, Any],
    config: FineTuning,
    tokenizer: Any,
    folder: Path,
) -> Evaluation | None:
    """Judges and saves the averaged policy beside the other, if the run averages."""
    if not agent.average:
        return None
    with agent.average.in_place():
        evaluation = _judged(agent, envs, config)
        if processes.is_main():
            save_model(agent.policy, tokenizer, folder / "policy-averaged")
    return evaluation
