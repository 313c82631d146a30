"""Stable-Baselines3 and sb3-contrib on a text.

SB3 wants one array instead of a dict, and environments that do not reset themselves: `PaddedTokens`
and `GymnasiumVecEnv` adapt ours. With masks, MaskablePPO never writes what may not be written.
"""

from __future__ import annotations

import numpy as np
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from agents import GymnasiumVecEnv
from text_gym import CharTokenizer, TextGenVectorEnv
from text_gym.constraints import MinimumLength
from text_gym.wrappers import vector


def environment(*, masks: bool = False) -> GymnasiumVecEnv:
    """Returns eight texts of up to three letters; every "a" is worth 1."""
    envs = TextGenVectorEnv(
        8, prompts=["c"], tokenizer=CharTokenizer("abc"), max_new_tokens=3,
        reward_function=lambda prompt, completion: float(completion.count("a")),
        autoreset_mode="Disabled",
    )  # fmt: skip
    constrained = vector.Constrain(envs, MinimumLength(3)) if masks else envs
    return GymnasiumVecEnv(vector.PaddedTokens(constrained))


def main(steps: int = 6000) -> tuple[float, float]:
    """Returns the mean reward of PPO, and of MaskablePPO that may not end early."""
    settings = {"n_steps": 64, "batch_size": 64, "learning_rate": 3e-3, "seed": 0, "device": "cpu"}
    plain = PPO("MlpPolicy", environment(), **settings).learn(steps)
    masked = MaskablePPO("MlpPolicy", environment(masks=True), **settings).learn(steps)
    by_plain, _ = evaluate_policy(plain, environment(), n_eval_episodes=64, warn=False)
    venv = environment(masks=True)
    observation, rewards = venv.reset(), []
    for _ in range(30):
        actions, _ = masked.predict(
            observation, action_masks=np.stack(venv.env_method("action_masks"))
        )
        observation, reward, ended, _ = venv.step(actions)
        rewards += reward[ended].tolist()
    return float(by_plain), float(np.mean(rewards))


if __name__ == "__main__":
    print("PPO {:.2f}, MaskablePPO {:.2f}, of 3".format(*main()))
