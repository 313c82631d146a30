"""A whole fine-tuning run: load, judge, learn, judge again, write down; and going on with one.

This pipeline is where `text_gym` and the agents meet; the algorithm itself knows neither prompts
nor rewards. Killed at any moment and resumed, a run writes what it would have written.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from rich.console import Console
from transformers.utils import logging as transformers_logging

from agents.algorithms.health_checks import TrainingStopped
from agents.algorithms.ppo import PPO
from agents.callbacks import BestScore
from agents.checkpoints.series import Checkpoints, latest
from agents.distributed import processes
from agents.evaluation.evaluate import Evaluation, evaluate
from agents.runs.console import ProgressBar, evaluations, key_values, replies
from agents.runs.environments import make_envs, make_reward
from agents.runs.interruption import Interruption
from agents.runs.models import load_policy
from agents.runs.presets import FineTuning
from agents.runs.profile import Profile, TimedReward
from agents.runs.prompts import load_prompts
from agents.runs.run_folder import RunFolder
from agents.runs.saved_config import described, read_config
from agents.runs.start import FILE, Start
from agents.runs.summary import header, paired_replies, run_name, summary
from text_gym import HuggingFaceTokenizer

CHECKPOINTS = "checkpoints"
SUMMARY = "summary.json"


def run(preset: str, config: FineTuning) -> Path:
    """Carries out a run and returns its folder.

    Raises:
        FileExistsError: If the run's folder exists.
        SystemExit: If the run was stopped; says first how to go on. With 130 or 143 after SIGINT or
            SIGTERM, with 1 where a health check found that it made no sense any more.
    """
    device = processes.init(use_cpu=config.device == "cpu")
    name = config.name or processes.all_gather_object(run_name(preset, config.ppo.seed))[0]
    return _carry_out(preset, config, config.output / name, device, resumed=False)


def resume(folder: Path) -> Path:
    """Goes on with a stopped run from its last checkpoint, and returns its folder.

    Raises:
        FileNotFoundError: If `folder` holds no run, or one that saves no checkpoints.
        CheckpointError: If none of its checkpoints can be used.
        ValueError: If what the run started from is not there any more.
        SystemExit: As `run`.
    """
    preset, config = read_config(folder)
    if (folder / SUMMARY).exists():
        Console().print(f"{folder}/ is finished; its figures are in {SUMMARY}")
        return folder
    if config.agent != "ppo":
        raise FileNotFoundError(
            f"folder must be of a run of agent ppo, the only one that saves checkpoints, got "
            f"{folder}, of {config.agent}; train it again under another name"
        )
    device = processes.init(use_cpu=config.device == "cpu")
    return _carry_out(preset, config, folder, device, resumed=True)


def _carry_out(
    preset: str, config: FineTuning, folder: Path, device: torch.device, *, resumed: bool
) -> Path:
    console = Console(quiet=not processes.is_main())
    torch.set_num_threads(config.threads)
    transformers_logging.disable_progress_bar()
    split = load_prompts(config.prompts, console)
    policy, tokenizer = load_policy(config)
    policy.to(device)
    reward = TimedReward(make_reward(config))
    envs = make_envs(config, split.own_share().train, tokenizer, config.num_envs, reward)
    eval_envs = make_envs(config, split.heldout, tokenizer, config.eval_episodes, reward)
    start = Start.of(split, policy)
    start = start.found_in(folder) if resumed else start
    # Of several processes, the first one writes and prints.
    record = _record(preset, config, folder, resumed=resumed) if processes.is_main() else None
    console.print(key_values(f"PPO: {preset}", header(config, split, policy)))

    progress, best, interruption = ProgressBar(console), BestScore(), Interruption()
    checkpoints = Checkpoints(
        folder / CHECKPOINTS, every=config.checkpoint_every, keep=config.keep_checkpoints
    )
    profile = Profile(reward)
    listening = [progress, best, profile, interruption, checkpoints]
    callbacks = listening if record is None else [record, *listening]
    agent = PPO(policy, envs, config.ppo, callbacks=callbacks)
    with (
        _advice_on_going_on(console, folder, interruption),
        nullcontext() if record is None else closing(record),
        closing(progress),
        interruption,
    ):
        before = start.evaluation or _judged(agent, eval_envs, config)
        if record is not None:
            record.write_json(FILE, dataclasses.asdict(start.judged(before)))
        _restore_latest(agent, folder / CHECKPOINTS, console)
        with interruption.deferred():
            agent.learn(config.total_episodes)
        interruption.stop_if_asked()
        after = _judged(agent, eval_envs, config)
        if record is not None:
            _save_model(agent, tokenizer, folder / "policy")
            record.write_json("replies.json", paired_replies(before, after))
            figures = summary(before, after, agent, record.tokens, record.seconds)
            figures |= {"best_score": best.score, "best_score_episodes": best.n_episodes}
            record.write_json(SUMMARY, figures)  # the last: a run that has it is finished
            _show(console, record, agent, before, after)
            if config.profile and profile.updates:
                console.print(profile.table())
    return folder


def _record(preset: str, config: FineTuning, folder: Path, *, resumed: bool) -> RunFolder:
    return RunFolder(folder) if resumed else RunFolder.created(folder, described(preset, config))


def _show(
    console: Console, record: RunFolder, agent: PPO, before: Evaluation, after: Evaluation
) -> None:
    console.print(replies(before, after), evaluations(before, after), sep="\n")
    console.print(
        f"{agent.n_episodes:,} episodes, {record.tokens:,} tokens in {record.seconds:.1f} s: "
        f"{record.tokens / record.seconds:,.0f} tokens/s. Written to {record.folder}/"
    )


def _restore_latest(agent: PPO, folder: Path, console: Console) -> None:
    """Goes on from the newest checkpoint that can be used, if any was saved."""
    checkpoint = latest(folder)
    if checkpoint is not None:
        agent.restore(checkpoint)
        console.print(f"Going on after {agent.n_episodes:,} episodes, from {checkpoint.name}")


def _judged(agent: PPO, envs: VectorEnv[Any, Any, Any], config: FineTuning) -> Evaluation:
    seed = config.ppo.seed
    return evaluate(agent.policy, agent.reference, envs, config.eval_episodes, seed=seed)


def _save_model(agent: PPO, tokenizer: Any, folder: Path) -> None:
    agent.policy.save_pretrained(folder)
    if isinstance(tokenizer, HuggingFaceTokenizer):
        tokenizer.tokenizer.save_pretrained(folder)


@contextmanager
def _advice_on_going_on(
    console: Console, folder: Path, interruption: Interruption
) -> Iterator[None]:
    """Ends the program with a line of advice, and no traceback, where the run is stopped inside."""
    try:
        yield
    except KeyboardInterrupt:
        line, code = (
            f"Stopped; go on with: python -m agents.resume {folder}",
            interruption.exit_code,
        )
    except TrainingStopped as reason:
        kept = latest(folder / CHECKPOINTS)
        where = "no checkpoint was saved yet" if kept is None else f"last good checkpoint: {kept}"
        line, code = f"Training stopped: {reason} ({where})", 1
    else:
        return
    console.print(line, soft_wrap=True, markup=False, highlight=False)
    sys.exit(code)
