"""The environments of the baseline: measured, and without action masks.

Knows vector environments only, neither texts nor algorithms.
"""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from agents.rollout.timer import Timer
from agents.sb3_baseline.gymnasium_vec_env import GymnasiumVecEnv


class MeasuredVecEnv(GymnasiumVecEnv):
    """Measures how long the environments take.

    Args:
        envs: The vector environment, with autoreset mode DISABLED.

    Attributes:
        timer: Learns the seconds of `environment`.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        super().__init__(envs)
        self.timer = Timer()

    def step_wait(self) -> VecEnvStepReturn:
        """Steps all rows and resets those that finished."""
        with self.timer("environment"):
            return super().step_wait()


def require_no_masks(envs: VectorEnv[Any, Any, Any], seed: int) -> None:
    """Resets the environments to see whether they restrict what may be written.

    Raises:
        ValueError: If they do, because SB3's PPO would choose what is not allowed.
    """
    _, infos = envs.reset(seed=seed)
    if "action_mask" in infos:
        raise ValueError(
            "envs must allow every token, because Stable-Baselines3's PPO has no action masks "
            "(sb3-contrib's MaskablePPO has), got an action_mask in the infos of a reset"
        )
