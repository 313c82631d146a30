"""The feedback that a run names: a reward of an application, or reward models that were learnt."""

from __future__ import annotations

from pathlib import Path

import torch

from agents.applications.registry import REWARDS
from agents.reward_models.ensemble import RewardEnsemble
from agents.reward_models.reward_model import FILE, RewardModel
from text_gym.rewards import RewardFunction

LEARNT = "reward_model"
"""Of what a run learns, within its folder."""


def load_reward(name: str, device: torch.device | str = "cpu") -> RewardFunction:
    """Returns the feedback of a name.

    Args:
        name: Of an application's reward; or a folder: of a reward model, of the run that it was
            learnt in, or of several such runs, of which the lowest reward counts.
        device: Where reward models compute.

    Raises:
        ValueError: If there is no such reward.
    """
    if name in REWARDS:
        return REWARDS[name]()
    models = [RewardModel.load(one, device) for one in reward_models(Path(name))]
    if not models:
        raise ValueError(
            f"reward must be one of {sorted(REWARDS)}, or the folder of a reward model, of its "
            f"run, or of several such runs, got {name!r}"
        )
    return models[0] if len(models) == 1 else RewardEnsemble(models)


def reward_models(folder: Path) -> list[Path]:
    """Returns the folders of the reward models that a folder is of; see `load_reward`."""
    for places in ([folder], [folder / LEARNT], sorted(folder.glob(f"*/{LEARNT}"))):
        found = [place for place in places if (place / FILE).is_file()]
        if found:
            return found
    return []
