"""PPOConfig: every rule is checked, and its message names the field, the rule and the value."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from agents.algorithms.configs.ppo import PPOConfig
from agents.applications.registry import APPLICATIONS

BROKEN = [
    ({"n_episodes": 0}, "n_episodes must be at least 1, got 0"),
    ({"n_epochs": 0}, "n_epochs must be at least 1, got 0"),
    ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
    ({"n_episodes": 8, "batch_size": 9}, "batch_size must be at most n_episodes=8, got 9"),
    ({"micro_batch_size": 0}, "micro_batch_size must be None or at least 1, got 0"),
    ({"learning_rate": 0.0}, "learning_rate must be above 0, got 0.0"),
    ({"learning_rate": float("nan")}, "learning_rate must be above 0, got nan"),
    ({"max_grad_norm": float("inf")}, "max_grad_norm must be finite, got inf"),
    ({"adam_epsilon": 0.0}, "adam_epsilon must be above 0, got 0.0"),
    ({"max_grad_norm": 0.0}, "max_grad_norm must be above 0, got 0.0"),
    ({"kl_horizon": 0.0}, "kl_horizon must be above 0, got 0.0"),
    ({"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
    ({"gae_lambda": -0.1}, r"gae_lambda must be in \[0, 1\], got -0.1"),
    ({"vf_coef": -1.0}, "vf_coef must be at least 0, got -1.0"),
    ({"ent_coef": -1.0}, "ent_coef must be at least 0, got -1.0"),
    ({"kl_coef": -1.0}, "kl_coef must be at least 0, got -1.0"),
    ({"clip_range": 0.0}, r"clip_range must be in \(0, 1\), got 0.0"),
    ({"clip_range": 1.0}, r"clip_range must be in \(0, 1\), got 1.0"),
    ({"clip_range_high": 0.0}, "clip_range_high must be None or above 0, got 0.0"),
    ({"clip_range_vf": 0.0}, "clip_range_vf must be None or above 0, got 0.0"),
    ({"target_kl": 0.0}, "target_kl must be None or above 0, got 0.0"),
    ({"dual_clip": 1.0}, "dual_clip must be None or above 1, got 1.0"),
    ({"kl_target": 6.0, "kl_horizon": 51.0}, r"kl_horizon must be above 51.2\d*, got 51.0"),
    ({"kl_target": -2.0}, "kl_target must be None or above 0, got -2.0"),
    ({"kl_target": 6.0, "kl_coef": 0.0}, "kl_coef must be above 0 where kl_target is given"),
    ({"n_epochs": 1.5}, "n_epochs must be an int, got 1.5"),
    ({"n_episodes": 8.0}, "n_episodes must be an int, got 8.0"),
    ({"batch_size": True}, "batch_size must be an int, got True"),
    ({"seed": "a"}, "seed must be an int, got 'a'"),
    ({"micro_batch_size": 4.5}, "micro_batch_size must be an int or None, got 4.5"),
    ({"learning_rate": "1e-3"}, "learning_rate must be a float, got '1e-3'"),
    ({"clip_range": None}, "clip_range must be a float, got None"),
    ({"kl_coef": False}, "kl_coef must be a float, got False"),
    ({"target_kl": "low"}, "target_kl must be a float or None, got 'low'"),
    ({"whiten_rewards": "yes"}, "whiten_rewards must be a bool, got 'yes'"),
    ({"whiten_rewards": 1}, "whiten_rewards must be a bool, got 1"),
    ({"lr_schedule": "cosine"}, "lr_schedule must be 'constant' or 'linear', got 'cosine'"),
]


@pytest.mark.parametrize(("fields", "message"), BROKEN, ids=[str(fields) for fields, _ in BROKEN])
def test_broken_rule_is_named(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PPOConfig(**fields)  # type: ignore[arg-type]


def test_options_of_a_run_are_of_their_kinds() -> None:
    preset = APPLICATIONS["toy"].preset
    assert dataclasses.replace(preset, threads="measured", output=Path("elsewhere"))
    with pytest.raises(ValueError, match=r"total_episodes must be an int, got 1\.5"):
        dataclasses.replace(preset, total_episodes=1.5)
    with pytest.raises(ValueError, match="track must be a tuple, each part 'wandb' or 'trackio', "):
        dataclasses.replace(preset, track=("paper",))


def test_bounds_that_belong_to_the_range_are_accepted() -> None:
    config = PPOConfig(
        n_episodes=1,
        batch_size=1,
        n_epochs=1,
        micro_batch_size=1,
        gamma=0.0,
        gae_lambda=1.0,
        vf_coef=0.0,
        ent_coef=0.0,
        kl_coef=0.0,
    )
    assert PPOConfig(**dataclasses.asdict(config)) == config


def test_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PPOConfig().gamma = 0.5  # type: ignore[misc]


def test_importing_the_config_loads_no_torch() -> None:
    code = "import sys, agents, agents.algorithms.configs.ppo; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
