"""The feedback that a run names: a reward of an application, of one's own code, or a learnt one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from agents.applications.registry import LEARNT_REWARDS, REWARDS
from agents.evaluation.metrics import Evaluation
from agents.reward_models.ensemble import RewardEnsemble
from agents.reward_models.reward_model import FILE, RewardModel
from agents.runs.named_arguments import distinct, named_arguments
from agents.runs.own_code import anchored_place, identity, is_place, load_object, made
from text_gym.rewards import RewardFunction, WeightedSum, as_reward_function, score

LEARNT = "reward_model"
"""Of what a run learns, within its folder."""
_KEYS = {"weight", "arguments"}


class Term(NamedTuple):
    """Names one reward, how much it counts, and what its maker is called with."""

    name: str
    weight: float
    arguments: Mapping[str, Any]


def load_reward(name: str, device: torch.device | str = "cpu") -> RewardFunction:
    """Returns the feedback of a name.

    Args:
        name: Of an application's reward; the place of one in code (`file.py:name` or
            `package.module:name`, a function or a class); a folder: of a reward model, of the run
            that it was learnt in, or of several such runs, of which the lowest reward counts; or
            several of these, as `terms` reads them.
        device: Where reward models compute.

    Raises:
        FileNotFoundError: If it must be made or fetched first; names the command.
        ValueError: If there is no such reward.
    """
    found = terms(name)
    if len(found) == 1 and found[0].weight == 1:
        return _load(found[0], device)
    return WeightedSum(
        {one.name: _load(one, device) for one in found}, {one.name: one.weight for one in found}
    )


def rescored(reward: RewardFunction, evaluation: Evaluation) -> list[float]:
    """Returns what another reward says of the texts of an evaluation.

    Raises:
        ValueError: If the evaluation was read from a file, which holds less than rewards look at.
    """
    if evaluation.episodes is None:
        raise ValueError("evaluation must hold its episodes to be scored again, got none")
    scores: list[float] = score(reward, evaluation.episodes).total.tolist()
    return scores


def terms(name: str) -> list[Term]:
    """Returns the rewards that an option names: one, or, as JSON, several with their weights.

    Raises:
        ValueError: If it begins as JSON and says something else.

    Example:
        >>> terms("sentiment")
        [Term(name='sentiment', weight=1.0, arguments={})]
        >>> terms('{"a": 2, "b.py:B": {"weight": 0.5, "arguments": {"n": 3}}}')[1]
        Term(name='b.py:B', weight=0.5, arguments={'n': 3})
    """
    return [_term(one, about) for one, about in named_arguments(name, "reward").items()]


def _term(name: str, about: Any) -> Term:
    about = about if isinstance(about, dict) else {"weight": about}
    weight, arguments = about.get("weight", 1), about.get("arguments", {})
    if (
        not about.keys() <= _KEYS
        or type(weight) not in (int, float)
        or not isinstance(arguments, dict)
    ):
        raise ValueError(
            f'reward {name!r} must have a weight, or {{"weight": number, "arguments": {{...}}}}, '
            f"got {about!r}"
        )
    return Term(name, float(weight), arguments)


def _load(term: Term, device: torch.device | str) -> RewardFunction:
    name = term.name
    if is_place(name):
        fn = made(load_object(name, "reward"), term.arguments, name, "reward")
        return as_reward_function(fn, f"reward {name!r}")
    if term.arguments:
        raise ValueError(f"reward {name!r} must be a place in code to take arguments, got {term}")
    if name in REWARDS:
        return REWARDS[name]()
    models = [RewardModel.load(one, device) for one in reward_models(name)]
    if not models:
        raise ValueError(
            f"reward must be one of {sorted([*REWARDS, *LEARNT_REWARDS])}, file.py:name or "
            "package.module:name, or the folder of a reward model, of its run, or of several such "
            f"runs, got {name!r}"
        )
    return models[0] if len(models) == 1 else RewardEnsemble(models)


def reward_models(name: str) -> list[Path]:
    """Returns the folders of the reward models that a name or a folder is of; see `load_reward`."""
    if name in LEARNT_REWARDS:
        return [LEARNT_REWARDS[name]()]
    folder = Path(name)
    for places in ([folder], [folder / LEARNT], sorted(folder.glob(f"*/{LEARNT}"))):
        found = [place for place in places if (place / FILE).is_file()]
        if found:
            return found
    return []


def anchored_reward(name: str) -> str:
    """Returns a run's `reward` option so that it is found from any working folder."""
    if not name.lstrip().startswith("{"):
        return _anchored(name)
    said = distinct(
        [
            (_anchored(one.name), {"weight": one.weight, "arguments": one.arguments})
            for one in terms(name)
        ]
    )
    return json.dumps(said, ensure_ascii=False)


def _anchored(name: str) -> str:
    if is_place(name):
        return anchored_place(name)
    known = name in REWARDS or name in LEARNT_REWARDS
    return os.path.abspath(name) if not known and os.path.isdir(name) else name


def digest_of_reward(name: str) -> str:
    """Returns the SHA-256 of what a reward is made of: names, code of the user's, learnt models."""
    digest = hashlib.sha256()
    for term in terms(name):
        about = (term.weight, dict(term.arguments), *_parts(term.name))
        digest.update(json.dumps(about, sort_keys=True).encode())
    return digest.hexdigest()


def _parts(name: str) -> list[str]:
    """Returns what identifies a reward, wherever it lies."""
    if is_place(name):
        return identity(name)
    if name in REWARDS:
        return [name]
    files = [file for one in reward_models(name) for file in sorted(one.iterdir())]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]
