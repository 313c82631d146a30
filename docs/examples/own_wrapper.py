"""A wrapper of one's own, for one environment and for a vector.

It takes a price from the reward for every word that a text says twice. What is specific to text is
in `info["text_episode"]`; everything else is Gymnasium.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper

import text_gym  # noqa: F401  # registers TextGen-v0


def repeated(text: str) -> int:
    """Returns how many words of a text were said before."""
    words = text.split()
    return len(words) - len(set(words))


class RepetitionPrice(gym.Wrapper):
    """Takes `price` from the reward of a text for every word in it that was said before."""

    def __init__(self, env: gym.Env, price: float = 0.5) -> None:
        super().__init__(env)
        self.price = price

    def step(self, action: Any) -> Any:
        """Steps the environment; the reward of a finished text is less the price."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if "text_episode" in info:
            reward = float(reward) - self.price * repeated(info["text_episode"].completion)
        return observation, reward, terminated, truncated, info


class VectorRepetitionPrice(VectorWrapper):
    """The same for a vector environment, whose infos hold the episodes of rows that ended."""

    def __init__(self, env: VectorEnv, price: float = 0.5) -> None:
        super().__init__(env)
        self.price = price

    def step(self, actions: Any) -> Any:
        """Steps all environments."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        # Under SAME_STEP the last infos of a text stand in "final_info".
        ended = infos.get("final_info", infos)
        for row in np.flatnonzero(ended.get("_text_episode", ())):
            rewards[row] -= self.price * repeated(ended["text_episode"][row].completion)
        return observations, rewards, terminations, truncations, infos


def main() -> tuple[float, float]:
    """Returns what "fine fine thanks" is paid by each of them; the words are worth 3."""
    env = RepetitionPrice(gym.make("TextGen-v0"))
    vocabulary = env.unwrapped.tokenizer
    tokens = [*vocabulary.encode("fine fine thanks"), vocabulary.eos_token_id]
    env.reset(seed=0)
    for token in tokens:
        _, one, *_ = env.step(token)
    envs = VectorRepetitionPrice(gym.make_vec("TextGen-v0", num_envs=2))
    envs.reset(seed=0)
    for token in tokens:
        _, two, *_ = envs.step(np.array([token, token]))
    return float(one), float(two[0])


if __name__ == "__main__":
    print(main())
