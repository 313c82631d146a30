"""A talk with models: every line is a prompt, and each model replies as it was trained to.

What is said goes through the same environment as in training: template, length, constraint, reward.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text
from transformers.utils import logging as transformers_logging

from agents.algorithms.configs.names import OFFLINE_ALGORITHMS
from agents.command_line.threads import number_of_threads
from agents.distributed import processes
from agents.policy.config import PolicyConfig
from agents.rollout.collect import collect_rollout
from agents.runs.chatting_options import Chatting
from agents.runs.console import printable, run_console
from agents.runs.environments import make_envs
from agents.runs.models import load_language_model
from agents.runs.rewards import load_reward
from agents.runs.saved_config import is_run, read_config, read_learner, read_offline_config
from agents.runs.writers import Manner, manner_of, source_of
from text_gym import Episode
from text_gym.prompts import as_prompt
from text_gym.rewards import RewardError, RewardFunction
from text_gym.rewards.function import score

_BEFORE = " (before)"


class Speaker:
    """Replies as one model does, and remembers the talk if it reads conversations.

    Args:
        model: The folder of a finished run, or a model.
        manner: How it writes.
        config: Of the talk.
        device: Where it computes.
    """

    def __init__(self, model: str, manner: Manner, config: Chatting, device: torch.device) -> None:
        options = PolicyConfig(value_network="none", temperature=manner.temperature)
        policy, self._tokenizer = load_language_model(source_of(model), options)
        self._policy = policy.to(device)
        self._manner = manner
        self._generator = torch.Generator(device).manual_seed(config.seed)
        self._said: list[dict[str, str]] = []

    def reply(self, line: str) -> Episode:
        """Returns what it says to a line."""
        self._said.append({"role": "user", "content": line})
        prompt = as_prompt(self._said if self._manner.chat else line)
        envs = make_envs(
            self._manner, [prompt], self._tokenizer, self._policy.end_of_text_ids, 1, _nothing
        )
        rollout = collect_rollout(self._policy, envs, 1, self._generator, seed=0)
        episode: Episode = rollout.infos[0]["text_episode"]
        self._said.append({"role": "assistant", "content": episode.completion})
        return episode


def run(config: Chatting, lines: Iterable[str] | None = None) -> None:
    """Talks until an empty line or the end of the input.

    Args:
        config: Who talks.
        lines: What is said; None: what is typed.

    Raises:
        FileNotFoundError: If a run is not finished, or something must be fetched first.
        ValueError: If no model is named, or one is not a causal language model.
    """
    models = _models(config)
    device = processes.init(use_cpu=config.device == "cpu")
    torch.set_num_threads(number_of_threads(config.threads))
    transformers_logging.disable_progress_bar()
    speakers = {
        name: Speaker(model, _manner(name, config), config, device)
        for name, model in models.items()
    }
    reward, console = _reward(config, device), run_console()
    for line in _typed(console) if lines is None else lines:
        if not line.strip():
            break
        for name, speaker in speakers.items():
            console.print(_shown(name, speaker.reply(line.strip()), reward))


def _models(config: Chatting) -> Mapping[str, str]:
    """Returns who talks, by what they are called."""
    if not config.models:
        raise ValueError("models must be named, got none")
    (first, *others) = config.models
    if others or not is_run(Path(first)):
        return {name: name for name in config.models}
    return {f"{first}{_BEFORE}": _begun_with(Path(first)), first: first}


def _begun_with(folder: Path) -> str:
    """Returns the model that a run began with."""
    offline = read_learner(folder) in OFFLINE_ALGORITHMS
    return str((read_offline_config if offline else read_config)(folder).config.model)


def _manner(name: str, config: Chatting) -> Manner:
    manner = manner_of(name.removesuffix(_BEFORE))
    return manner._replace(
        max_new_tokens=config.max_new_tokens or manner.max_new_tokens,
        # Whoever sits at the terminal says what comes next.
        responder=None,
        max_response_tokens=None,
        max_turn_tokens=None,
        max_turns=None,
    )


def _reward(config: Chatting, device: torch.device) -> RewardFunction | None:
    """Returns the reward of the first run among the models that has one."""
    for name in config.models:
        folder = Path(name)
        if is_run(folder) and read_learner(folder) not in OFFLINE_ALGORITHMS:
            return load_reward(read_config(folder).config.reward, device)
    return None


def _nothing(episodes: Any) -> Any:
    return [0.0] * len(episodes)


def _typed(console: Console) -> Iterable[str]:
    """Yields what is typed; where nobody can type, what the input holds."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    while True:
        try:
            yield console.input("> ")
        except EOFError:
            return


def _shown(name: str, episode: Episode, reward: RewardFunction | None) -> Text:
    shown = Text.assemble((f"{printable(name)}: ", "bold"), printable(episode.completion))
    return shown if reward is None else shown.append(f"  ({_worth(episode, reward)})", "dim")


def _worth(episode: Episode, reward: RewardFunction) -> str:
    """Returns what a reply is worth, or that a reward needs more than what was typed."""
    try:
        return f"reward {float(score(reward, [episode]).total[0]):.2f}"
    except RewardError:  # it reads an expected answer, say
        return "no reward without what came with the prompts of training"
