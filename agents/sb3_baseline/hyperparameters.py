"""The hyperparameters of our PPO in the terms of Stable-Baselines3's.

What has the same meaning is passed on, what has another is converted, and what SB3 cannot do is
refused, by name. SB3 counts transitions where we count episodes; `update_sizes` converts.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from agents.algorithms.configs.ppo import PPOConfig

SAME_MEANING = (
    "n_epochs",
    "gamma",
    "gae_lambda",
    "clip_range",
    "ent_coef",
    "max_grad_norm",
    "target_kl",
    "seed",
)
"""Fields that are passed on as they are. SB3's seed sets the global random states, and `target_kl`
is compared with the same estimate, minibatch by minibatch."""

CONVERTED = {
    "learning_rate": "a schedule that counts episodes, with `lr_schedule`, and not steps",
    "lr_schedule": "see `learning_rate`",
    "adam_epsilon": "`optimizer_kwargs` of the policy",
    "n_episodes": "`n_steps`, by the mean length of texts",
    "batch_size": "the same number of minibatches per epoch, of transitions instead of episodes",
    "clip_range_vf": "clips the same way, but SB3 takes no maximum of both errors",
    "vf_coef": "halved, because SB3's value loss has no factor ½",
    "normalize_advantage": "`normalize_advantage`: per minibatch instead of over the whole batch",
}
"""Fields that SB3 has in another form."""

WITHOUT_EFFECT = {
    "micro_batch_size": "splits a minibatch without changing its gradient",
    "kl_in": "says where KL is paid, which has no price here",
    "kl_estimator": "of the KL in the loss",
    "kl_horizon": "of the adaptive controller, which `kl_target` switches on",
}
"""Fields that change nothing here, whatever they are."""

REFUSED: dict[str, tuple[Any, str]] = {
    "kl_coef": (
        0.0,
        "it has no reference policy (docs/stable_baselines3.md tells how an environment can pay "
        "for KL instead)",
    ),
    "kl_target": (None, "it has no reference policy"),
    "clip_range_high": (None, "its clip range is symmetric"),
    "dual_clip": (None, "it has no second clip"),
    "ema_decay": (None, "it averages no weights"),
    "whiten_rewards": (False, "it takes rewards as the environment pays them"),
}
"""Fields that must have their neutral value, and why."""


class UpdateSizes(NamedTuple):
    """Says how much data an update of SB3 takes.

    Attributes:
        n_steps: Steps of every environment per update.
        batch_size: Transitions per optimiser step.
    """

    n_steps: int
    batch_size: int


def sb3_arguments(config: PPOConfig) -> dict[str, Any]:
    """Returns the keyword arguments of `stable_baselines3.PPO` that say what `config` says.

    All but the sizes (`update_sizes`), the learning rate and the policy.

    Raises:
        ValueError: If `config` asks for something that SB3's PPO cannot do.
    """
    for name, (neutral, reason) in REFUSED.items():
        value = getattr(config, name)
        if value != neutral:
            raise ValueError(
                f"{name} must be {neutral} for Stable-Baselines3's PPO, because {reason}, "
                f"got {value!r}"
            )
    return {
        **{name: getattr(config, name) for name in SAME_MEANING},
        "clip_range_vf": config.clip_range_vf,
        "vf_coef": config.vf_coef / 2,
        "normalize_advantage": config.normalize_advantage,
    }


def update_sizes(config: PPOConfig, num_envs: int, mean_length: float) -> UpdateSizes:
    """Returns the sizes at which SB3 learns from as many episodes, in as many optimiser steps.

    Args:
        config: Counts in episodes.
        num_envs: Environments side by side.
        mean_length: Of the texts, in tokens.

    Example:
        >>> update_sizes(PPOConfig(n_episodes=64, batch_size=32), num_envs=16, mean_length=5.0)
        UpdateSizes(n_steps=20, batch_size=160)
    """
    # Two steps at least: advantages of a single transition cannot be normalised.
    n_steps = max(2, round(config.n_episodes * mean_length / num_envs))
    minibatches = math.ceil(config.n_episodes / config.batch_size)
    return UpdateSizes(n_steps, math.ceil(n_steps * num_envs / minibatches))
