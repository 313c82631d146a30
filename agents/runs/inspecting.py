"""What a finished run changed: its policy and what it started from write to the same prompts.

Whatever `agents.inspection` finds in what they write is put into a report.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from rich.console import Console
from transformers.utils import logging as transformers_logging

from agents.algorithms.configs.names import OFFLINE_ALGORITHMS
from agents.algorithms.policy_gradient import PolicyGradient
from agents.applications.fine_tuning import FineTuning
from agents.applications.split import Split
from agents.command_line.threads import number_of_threads
from agents.distributed import processes
from agents.evaluation.evaluate import describe, own_log_probs
from agents.evaluation.metrics import METRICS, Evaluation, not_measured, paired_gains
from agents.inspection.credit import token_numbers
from agents.inspection.replies import explained
from agents.inspection.sections import (
    TokenShift,
    gain_section,
    monitor_section,
    shift_section,
    token_section,
    wording_section,
)
from agents.inspection.token_block import Reply
from agents.inspection.token_shifts import token_shifts
from agents.inspection.wording import shifts
from agents.policy.causal_lm import CausalLMPolicy
from agents.reports import Figure, Section, Table, write_report
from agents.rollout.buffer import Rollout
from agents.rollout.collect import collect_rollout
from agents.runs.console import printable, run_console
from agents.runs.environments import listed_prompts, load_responder, make_envs
from agents.runs.inspecting_options import Inspecting
from agents.runs.learners import LEARNERS
from agents.runs.models import load_policy, policy_options
from agents.runs.monitoring import FILE as MONITOR
from agents.runs.outcome import figure_of
from agents.runs.prompts import load_prompts
from agents.runs.rewards import load_reward
from agents.runs.saved_config import read_config, read_learner, trust_runs
from agents.runs.writing_bar import writing_bar
from text_gym import TextGenVectorEnv
from text_gym.rendering.pieces import token_pieces
from text_gym.rewards import RewardFunction
from text_gym.rewards.function import score


class _Written(NamedTuple):
    """What one policy wrote, and what is said of it."""

    rollout: Rollout
    evaluation: Evaluation


class _Loaded(NamedTuple):
    """A run as it can be asked."""

    agent: PolicyGradient[Any]
    reward: RewardFunction
    prompts: str


def run(config: Inspecting) -> Path:
    """Inspects a run and returns the path of the page.

    Raises:
        FileNotFoundError: If there is no finished run in the folder.
        ValueError: If the run learnt from a file, or by Stable-Baselines3.
    """
    if config.trust_code:
        trust_runs([str(config.run)])
    tuning = _config(config.run)
    device = processes.init(use_cpu=config.device == "cpu")
    torch.set_num_threads(number_of_threads(config.threads))
    transformers_logging.disable_progress_bar()
    console = run_console()
    loaded = _load(config.run, tuning, device, config.texts, console)
    before = _write(loaded, loaded.agent.reference, config)
    after = _write(loaded, loaded.agent.policy, config)
    sections = _sections(config, loaded, before, after)
    title = f"What training changed: {config.run.resolve().name}"
    figures = {
        "before": dict(before.evaluation.figures),
        "after": dict(after.evaluation.figures),
    }
    page = write_report(config.run / "inspection", title, sections, figures)
    console.print(f"Written to {printable(str(page))}")
    return page


def _config(folder: Path) -> FineTuning:
    if read_learner(folder) in OFFLINE_ALGORITHMS:
        raise ValueError(
            f"run must be one that learnt from a reward, got {folder}, of {read_learner(folder)}, "
            "which learnt from a file"
        )
    tuning = read_config(folder).config
    if not LEARNERS[type(tuning.algorithm)].resumable:
        raise ValueError(f"run must be one of our own algorithms, got {folder}, of sb3-ppo")
    if not (folder / "policy").is_dir():
        raise FileNotFoundError(
            f"run must be finished, got {folder}, which has no policy yet: finish it by python -m "
            f"agents.resume {folder}"
        )
    return dataclasses.replace(tuning, writer="own")  # nothing more is learnt


def _load(
    folder: Path, tuning: FineTuning, device: torch.device, n_texts: int, console: Console
) -> _Loaded:
    """Returns the run's agent as it ended, beside the reference that it began with."""
    split = load_prompts(tuning.prompts, console, tuning.eval_prompts)
    start, tokenizer = load_policy(tuning)
    words = (tokenizer, start.end_of_text_ids)
    if tuning.env_id is not None:
        split = Split(listed_prompts(tuning, *words), ())
    merged = dataclasses.replace(policy_options(tuning), lora_rank=0, frozen_blocks=0)
    policy = CausalLMPolicy.from_pretrained(folder / "policy", merged)
    reward = None if tuning.reward is None else load_reward(tuning.reward, device)
    group_size = getattr(tuning.algorithm, "group_size", 1)
    envs = make_envs(
        tuning,
        split.eval_prompts,
        *words,
        min(n_texts, tuning.num_envs),
        reward,
        responder=load_responder(tuning.responder, device),
        group_size=group_size,
    )
    learner = LEARNERS[type(tuning.algorithm)]
    agent = learner.build(policy.to(device), envs, envs, tuning)
    agent.reference = start.to(device).frozen_copy()
    return _Loaded(agent, reward or _reward_of(envs), split.evaluated_on)


def _reward_of(envs: VectorEnv[Any, Any, Any]) -> RewardFunction:
    """Returns what an environment pays, as a function that may be asked of parts of texts too."""
    texts: Any = envs.unwrapped
    if not isinstance(texts, TextGenVectorEnv):
        raise ValueError(
            "run must be in an environment whose vector_entry_point is a TextGenVectorEnv, to know "
            f"its reward of parts of texts, got {type(texts).__name__}"
        )
    reward: RewardFunction = texts.task.reward_function
    return reward


def _write(loaded: _Loaded, policy: CausalLMPolicy, config: Inspecting) -> _Written:
    """Lets a policy write to the same prompts as any other."""
    agent = loaded.agent
    size = getattr(agent.config, "group_size", 1)
    n = max(size, config.texts // size * size)
    generator = torch.Generator(policy.device).manual_seed(config.seed)
    with torch.no_grad():
        with writing_bar(agent.envs, n, "writing") as envs:
            rollout = collect_rollout(policy, envs, n, generator, seed=config.seed)
        rollout = rollout.to(policy.device)
        log_probs = own_log_probs(policy, rollout)
        evaluation = describe(rollout, log_probs, agent.reference, agent.config.kl_coef)
    return _Written(rollout, evaluation)


def _sections(
    config: Inspecting, loaded: _Loaded, before: _Written, after: _Written
) -> list[Section]:
    old, new = before.evaluation, after.evaluation
    wording = shifts(old.completions, new.completions)
    sections = [
        _figures_section(loaded.prompts, old, new),
        gain_section(explained(old, new)),
        token_section(_replies(loaded, after.rollout, config.shown)),
        wording_section(wording, len(old.completions), len(new.completions)),
        shift_section(_token_shifts(loaded.agent, after.rollout)),
    ]
    monitor = config.run / MONITOR
    if monitor.is_file():
        sections.append(monitor_section(json.loads(monitor.read_text(encoding="utf-8"))))
    return sections


def _figures_section(prompts: str, before: Evaluation, after: Evaluation) -> Section:
    """Returns the figures of both, unwanted words among them, and what the reward gained."""
    gains = paired_gains(before, after)
    missing = not_measured((before, after))
    rows: list[tuple[str | Figure | None, ...]] = []
    for name, metric in METRICS.items():
        old, new = (figure_of(one.figures, name) for one in (before, after))
        gain = gains.get(name)
        paired = None if gain is None else Figure(gain.mean, metric.digits, gain.half_width)
        if old is not None or new is not None or name in missing:
            rows.append((metric.label, old or missing.get(name), new, paired))
    headings = ("", "before", "after", "paired gain")
    return Section("Before and after", [Table(headings, rows, f"{prompts}; ±: 95 %")])


def _replies(loaded: _Loaded, rollout: Rollout, n: int) -> list[Reply]:
    """Returns the first replies, token by token."""
    numbers = token_numbers(
        loaded.agent,
        rollout,
        lambda episodes: score(loaded.reward, episodes).total,
        most=n,
    )
    episodes = [info["text_episode"] for info in rollout.infos[:n]]
    return [
        Reply(one.prompt, paid, token_pieces(one.completion_ids, one.decode), known)
        for one, paid, known in zip(episodes, rollout.scores[:n].tolist(), numbers, strict=True)
    ]


def _token_shifts(agent: PolicyGradient[Any], rollout: Rollout) -> list[TokenShift]:
    """Returns the tokens from the one that rose most to the one that fell most."""
    found = token_shifts(agent.policy, agent.reference, rollout.texts)
    decode = rollout.infos[0]["text_episode"].decode
    certain = np.flatnonzero(np.abs(found.more) > found.half_width)
    order = certain[np.argsort(-found.more[certain], kind="stable")].tolist()
    spelt = [repr(text) if text else "no text" for text in (decode(np.array([t])) for t in order)]
    return [
        TokenShift(f"{text} ({token})", *(float(part[token]) for part in found))
        for token, text in zip(order, spelt, strict=True)
    ]
