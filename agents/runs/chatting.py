"""A talk with models: every line is a prompt, and each model replies as it was trained to.

What is said goes through the same environment as in training: template, length, constraint, reward.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text
from transformers.utils import logging as transformers_logging

from agents.algorithms.configs.names import OFFLINE_ALGORITHMS
from agents.command_line.threads import number_of_threads
from agents.distributed import processes
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.collect import collect_rollout
from agents.rollout.fit import require_fit
from agents.runs.chatting_options import Chatting
from agents.runs.console import printable, run_console
from agents.runs.environments import make_envs, unjudged
from agents.runs.models import load_policy
from agents.runs.named_models import Manner, load_named_model, manner_of
from agents.runs.rewards import load_reward
from agents.runs.saved_config import (
    is_run,
    read_config,
    read_learner,
    read_offline_config,
    trust_runs,
)
from text_gym import Episode, HuggingFaceTokenizer, Prompt
from text_gym.prompts import as_prompt
from text_gym.rewards import RewardError, RewardFunction
from text_gym.rewards.function import score

_BEFORE = " (before)"


class Unreadable(ValueError):
    """Says why a model cannot read what was typed."""


class Speaker:
    """Replies as one model does, and remembers the talk if it reads conversations.

    Args:
        policy: That writes.
        tokenizer: Its vocabulary; None: that of the environment.
        manner: How it writes.
        seed: Of what it draws.
    """

    def __init__(
        self,
        policy: CausalLMPolicy,
        tokenizer: HuggingFaceTokenizer | None,
        manner: Manner,
        seed: int,
    ) -> None:
        self._policy, self._tokenizer = policy, tokenizer
        self._manner = manner
        self._generator = torch.Generator(policy.device).manual_seed(seed)
        self._said: list[dict[str, str]] = []

    def reply(self, line: str) -> Episode:
        """Returns what it says to a line.

        Raises:
            Unreadable: If it has no tokens for the line, or no room; the line is not remembered.
        """
        said = [*self._said, {"role": "user", "content": line}]
        envs = self._asking(as_prompt(said if self._manner.chat else line))
        rollout = collect_rollout(self._policy, envs, 1, self._generator, seed=0)
        episode: Episode = rollout.infos[0]["text_episode"]
        self._said = [*said, {"role": "assistant", "content": episode.completion}]
        return episode

    def _asking(self, prompt: Prompt) -> Any:
        """Returns an environment of one prompt in which the model can write."""
        ends = self._policy.end_of_text_ids
        try:
            envs = make_envs(self._manner, [prompt], self._tokenizer, ends, 1, unjudged)
            require_fit(self._policy, envs)
        except ValueError as error:
            raise Unreadable(str(error).removeprefix("prompts[0]: ")) from error
        return envs


def run(config: Chatting, lines: Iterable[str] | None = None) -> None:
    """Talks until an empty line or the end of the input.

    Args:
        config: Who talks.
        lines: What is said; None: what is typed.

    Raises:
        FileNotFoundError: If a run is not finished, or something must be fetched first.
        ValueError: If no model is named, or one is not a causal language model.
    """
    if config.trust_code:
        trust_runs(config.models)
    names = _names(config)
    device = processes.init(use_cpu=config.device == "cpu")
    torch.set_num_threads(number_of_threads(config.threads))
    transformers_logging.disable_progress_bar()
    speakers = {name: _speaker(name, config, device) for name in names}
    reward, console = _reward(config, device), run_console()
    for line in _typed(console) if lines is None else lines:
        if not line.strip():
            break
        for name, speaker in speakers.items():
            console.print(_answered(name, speaker, line.strip(), reward))


def _names(config: Chatting) -> Sequence[str]:
    """Returns what those who talk are called: of one run alone, who it was before too."""
    if not config.models:
        raise ValueError("models must be named, got none")
    (first, *others) = config.models
    return config.models if others or not is_run(Path(first)) else (f"{first}{_BEFORE}", first)


def _speaker(name: str, config: Chatting, device: torch.device) -> Speaker:
    """Returns who is called so."""
    manner, run = _manner(name, config), Path(name.removesuffix(_BEFORE))
    if not name.endswith(_BEFORE):
        policy, tokenizer = load_named_model(name, manner.temperature)
    elif read_learner(run) in OFFLINE_ALGORITHMS:
        model = read_offline_config(run).config.model
        policy, tokenizer = load_named_model(model, manner.temperature)
    else:
        policy, tokenizer = load_policy(read_config(run).config)
    return Speaker(policy.to(device), tokenizer, manner, config.seed)


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
    """Returns the reward of the first run among the models that names one."""
    for name in config.models:
        folder = Path(name)
        if is_run(folder) and read_learner(folder) not in OFFLINE_ALGORITHMS:
            reward = read_config(folder).config.reward
            return None if reward is None else load_reward(reward, device)
    return None


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


def _answered(name: str, speaker: Speaker, line: str, reward: RewardFunction | None) -> Text:
    """Returns a reply, or why there is none: whoever types can say it in other words."""
    try:
        return _shown(name, speaker.reply(line), reward)
    except Unreadable as reason:
        return Text.assemble((f"{printable(name)}: ", "bold"), (printable(str(reason)), "dim"))


def _shown(name: str, episode: Episode, reward: RewardFunction | None) -> Text:
    shown = Text.assemble((f"{printable(name)}: ", "bold"), printable(episode.completion))
    return shown if reward is None else shown.append(f"  ({_worth(episode, reward)})", "dim")


def _worth(episode: Episode, reward: RewardFunction) -> str:
    """Returns what a reply is worth, or that a reward needs more than what was typed."""
    try:
        return f"reward {float(score(reward, [episode]).total[0]):.2f}"
    except RewardError:  # it reads an expected answer, say
        return "no reward without what came with the prompts of training"
