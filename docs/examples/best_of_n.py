"""Best-of-n sampling beside the exact answer.

A task of 127 possible texts; texts are drawn at random, the best of each n by reward is kept, and
`text_gym.exact` says what its mean and its KL are without drawing any.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np

import text_gym
from text_gym.exact import solve


def main(n_draws: int = 4096) -> dict[int, tuple[float, float]]:
    """Returns, for each n, the mean of the best of n draws, and what it must be."""
    arguments = {
        "prompts": ["b"],
        "tokenizer": text_gym.CharTokenizer("ab"),
        "reward_function": lambda prompt, completion: float(completion.count("ab")),
        "max_new_tokens": 6,
    }
    solution = solve(text_gym.TextGenEnv(**arguments))
    envs = gym.make_vec("TextGen-v0", num_envs=64, autoreset_mode="SameStep", **arguments)
    envs.action_space.seed(0)
    envs.reset(seed=0)
    rewards: list[float] = []
    while len(rewards) < n_draws:
        _, reward, ended, _, _ = envs.step(envs.action_space.sample())
        rewards += reward[ended].tolist()
    found = {}
    for n in (1, 2, 4, 8):
        whole = np.array(rewards[: n_draws // n * n]).reshape(-1, n)
        exact = solution.best_of_n(solution.uniform_policy, n)
        found[n] = float(whole.max(1).mean()), exact.expected_reward
        print(f"best of {n}: {found[n][0]:.3f} of {n_draws:,} draws, exactly {found[n][1]:.3f},")
        print(f"    KL {exact.kl:.3f} nats, where the usual bound says {exact.kl_bound:.3f}")
    return found


if __name__ == "__main__":
    main()
