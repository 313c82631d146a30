"""The smallest version of translation: twelve clauses of two words, word by word, from nothing.

Small enough for Stable-Baselines3's PPO with its own networks, which learns it beside ours. Knows
nothing of Bibles.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import gymnasium as gym

from agents import PPO, Callback, PPOConfig
from agents.applications.toy_policy import toy_policy
from agents.sb3_baseline.agent import SB3PPO
from text_gym import Prompt, WordTokenizer

NOUNS = {"perro": "dog", "gato": "cat", "niño": "child", "pan": "bread"}
VERBS = {"come": "eats", "ve": "sees", "cae": "falls"}
OURS, THEIRS = "our PPO", "SB3 PPO"
MEAN_LENGTH = 2.3
"""Of the first texts: each token ends one with probability 0.25, and the third in any case."""


class LastScore(Callback):
    """Keeps what the texts of the last update were paid."""

    score = 0.0

    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        """Takes note."""
        self.score = metrics["rollout/score_mean"]
        return True


def envs_of(num_envs: int) -> Any:
    """Returns environments that ask for the clauses."""
    clauses = [
        Prompt(f"{noun} {verb}", f"{NOUNS[noun]} {VERBS[verb]}")
        for noun, verb in product(NOUNS, VERBS)
    ]
    return gym.make_vec(
        "text_gym:TextGen/Translation-v0",
        num_envs=num_envs,
        autoreset_mode="Disabled",
        prompts=clauses,
        prompt_template="{prompt}",
        tokenizer=WordTokenizer([*NOUNS, *VERBS, *NOUNS.values(), *VERBS.values()]),
        max_new_tokens=3,
    )


def reward_after(learner: str, seed: int, episodes: int) -> float:
    """Returns what the texts of the last update are paid, 1 being the most.

    Args:
        learner: `OURS` or `THEIRS`, with the same hyperparameters.
        seed: Of everything that is drawn.
        episodes: Texts to learn from.
    """
    config = PPOConfig(
        learning_rate=3e-3, n_episodes=64, batch_size=32, n_epochs=4, kl_coef=0.0, seed=seed
    )
    envs, last = envs_of(config.n_episodes), LastScore()
    vocab_size = int(envs.single_action_space.n)
    start = toy_policy(vocab_size, vocab_size - 1, length=8, eos_probability=0.25, seed=seed)
    agent: PPO | SB3PPO
    if learner == OURS:
        agent = PPO(start, envs, config, callbacks=[last])
    else:
        agent = SB3PPO("mlp", start, envs, config, mean_length=MEAN_LENGTH, callbacks=[last])
    agent.learn(episodes)
    return last.score
