"""What models that are compared are asked to do: the same prompts, reward, length and price of KL.

What the options leave open is what the runs among the models were asked, on which they must agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from rich.console import Console

from agents.algorithms.configs.names import OFFLINE_ALGORITHMS
from agents.applications.registry import PROMPTS
from agents.runs.evaluating_options import Evaluating
from agents.runs.listed_prompts import read_listed
from agents.runs.named_models import Manner, manner_of
from agents.runs.prompts import load_prompts
from agents.runs.rewards import load_reward
from agents.runs.saved_config import is_run, read_config, read_learner
from text_gym import Prompt
from text_gym.rewards import RewardFunction

T = TypeVar("T")
Said = Mapping[str, Mapping[str, Any]]
"""Options by run, and by their names."""


class Task(NamedTuple):
    """Holds what every model is asked to do.

    Attributes:
        prompts: What is replied to.
        manner: How.
        reward: What a reply is worth, by its name.
        reward_function: The same; None: what the environment pays.
        kl_coef: The price of a nat of KL; None: there is no objective.
    """

    prompts: Sequence[Prompt]
    manner: Manner
    reward: str
    reward_function: RewardFunction | None
    kl_coef: float | None


def task_of(config: Evaluating, console: Console, device: torch.device) -> Task:
    """Returns what is asked of the models: what the options say, else what the runs agree on.

    Raises:
        ValueError: If an option is left open and the runs do not agree on it, or nobody says it.
    """
    said = {name: _said(name) for name in config.named.values() if is_run(Path(name))}
    settled = {option: _settled(config, option, said) for option in _OPTIONS}
    in_its_own = settled["env_id"] is not None
    for option in ("prompts", "reward"):
        if settled[option] is None and not in_its_own:
            raise ValueError(f"{option} must be given where no run among the models says it")
    manner = {name: settled[name] for name in Manner._fields if settled[name] is not None}
    default = Manner(prompt_template=None, max_new_tokens=None) if in_its_own else Manner()
    reward = settled["reward"]
    return Task(
        prompts=_prompts(config, settled["prompts"], said, console),
        manner=default._replace(**manner),
        reward="that of the environment" if reward is None else reward,
        reward_function=None if reward is None else load_reward(reward, device),
        kl_coef=settled["kl_coef"],
    )


_OPTIONS = (*Manner._fields, "prompts", "reward", "kl_coef")


def _said(run: str) -> dict[str, Any]:
    """Returns the options of a run, but for those that are the same for all by themselves."""
    folder, manner = Path(run), manner_of(run)._asdict()
    if read_learner(folder) in OFFLINE_ALGORITHMS:  # learns from a file, whatever the length
        return {name: manner[name] for name in ("prompt_template", "temperature")}
    tuned = read_config(folder).config
    kl_coef = tuned.algorithm.kl_coef
    prompts = {"prompts": tuned.prompts, "eval_prompts": tuned.eval_prompts}
    return {**manner, **prompts, "reward": tuned.reward, "kl_coef": kl_coef}


def _settled(config: Evaluating, option: str, said: Said) -> Any:
    asked = getattr(config, option, None)
    if asked is not None:
        return asked
    return agreed(option, {run: one[option] for run, one in said.items() if option in one})


def agreed(option: str, said: Mapping[str, T]) -> T | None:
    """Returns what all runs say of an option; None if there are none.

    Args:
        option: Its name.
        said: By run.

    Raises:
        ValueError: If they say different things.

    Example:
        >>> agreed("reward", {"a": "sentiment", "b": "sentiment"})
        'sentiment'
    """
    values: Iterable[T] = said.values()
    different = list(dict.fromkeys(values))
    if len(different) > 1:
        raise ValueError(f"{option} must be given where runs do not agree on it, got {dict(said)}")
    return different[0] if different else None


def _prompts(
    config: Evaluating, name: str | None, said: Said, console: Console
) -> Sequence[Prompt]:
    """Returns the prompts of a file or a text, or those that a name or the runs hold out.

    Of None, which is those of an environment, there are none yet.
    """
    if config.prompts is not None and config.prompts not in PROMPTS:
        return read_listed(config.prompts)
    heldout = None if config.prompts is not None else _settled(config, "eval_prompts", said)
    return load_prompts(name, console, heldout).eval_prompts
