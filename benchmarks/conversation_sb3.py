"""The smallest conversation, on which Stable-Baselines3's PPO can learn beside ours.

A vocabulary of 33 words, "How are you?", two turns of at most four words, and a scripted partner of
five lines. The feedback is the sentiment of what the policy said. Knows nothing of language models
that were trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3 import PPO as SB3PPO

from agents import PPO, PPOConfig
from agents.sb3_baseline.features import OneHotTexts
from agents.sb3_baseline.gymnasium_vec_env import GymnasiumVecEnv
from benchmarks import sb3_learner, toy_learner
from benchmarks.cells import Cells
from benchmarks.figures import Figure, figure
from benchmarks.learning_curve import LearningCurve
from benchmarks.tasks import gpt2
from text_gym.applications.scripted_partner import ScriptedPartner
from text_gym.small_talk import WORDS
from text_gym.tokenizers import WordTokenizer

LINES = (
    *("and you ?", "how was your day ?", "i am so tired today"),
    *("what is it ?", "it was a good day"),
)
"""Of the partner."""
CONVERSATIONS = 2_048, 256
"""To learn from, and under `--quick`."""
SHARED = {"learning_rate": 1e-3, "n_epochs": 4, "gae_lambda": 0.95, "ent_coef": 0.01}
"""Settings of both."""


def envs_of(num_envs: int) -> VectorEnv[Any, Any, Any]:
    """Returns the environments."""
    tokenizer = WordTokenizer((*WORDS, "?"))
    return gym.make_vec(
        "text_gym:TextGen/Conversation-v0",
        num_envs=num_envs,
        turns=2,
        prompts=["How are you?"],
        tokenizer=tokenizer,
        max_new_tokens=8,
        max_turn_tokens=4,
        responder=ScriptedPartner(LINES),
        max_response_tokens=max(len(tokenizer.encode(line)) for line in LINES),
        autoreset_mode=AutoresetMode.DISABLED,
    )


def ours(seed: int, budget: int) -> dict[str, Any]:
    """Lets our PPO learn, with a small transformer, until its budget is used up."""
    envs = envs_of(64)
    vocab_size = int(envs.single_action_space.n)  # type: ignore[attr-defined]
    length = envs.single_observation_space["input_ids"].shape[0]  # type: ignore[index]
    policy = gpt2(layers=2, width=64, heads=2, vocab_size=vocab_size, max_length=length, seed=seed)
    recorder = toy_learner.Recorder(LearningCurve(budget))
    config = PPOConfig(**SHARED, n_episodes=64, batch_size=32, kl_coef=0.0, seed=seed)
    recorder.curve.start()
    PPO(policy, envs, config, callbacks=[recorder]).learn(budget)
    return recorder.curve.found()


def theirs(seed: int, budget: int) -> dict[str, Any]:
    """Lets SB3's PPO learn, with its own network on one-hots."""
    envs = envs_of(16)
    size = {"vocab_size": int(envs.single_action_space.n)}  # type: ignore[attr-defined]
    recorder = sb3_learner.Recorder(LearningCurve(budget))
    with torch.random.fork_rng():  # SB3 seeds the global random states, and draws from them
        SB3PPO(
            "MultiInputPolicy",
            GymnasiumVecEnv(envs),
            **SHARED,
            n_steps=32,
            batch_size=256,
            policy_kwargs={
                "features_extractor_class": OneHotTexts,
                "features_extractor_kwargs": size,
            },
            device="cpu",
            seed=seed,
        ).learn(sb3_learner.FOREVER, callback=recorder)
    return recorder.curve.found()


LEARNERS: Mapping[str, Callable[[int, int], dict[str, Any]]] = {
    "our PPO": ours,
    "SB3's PPO": theirs,
}


def sb3_figures(cells: Cells, seeds: Sequence[int], *, quick: bool) -> list[Figure]:
    """Returns what both make of as many conversations, over seeds."""
    budget, found = CONVERSATIONS[quick], []
    for name, learn in LEARNERS.items():
        runs = [
            cells.found(
                {"smallest": name, "seed": seed, "budget": budget},
                lambda learn=learn, seed=seed: learn(seed, budget),  # type: ignore[misc]
            )
            for seed in seeds
        ]
        last = [one["last"] for one in runs]
        found.append(figure(f"smallest, {name}: sentiment of the last 256", last, ""))
        seconds = [one["seconds"] for one in runs]
        found.append(figure(f"smallest, {name}: learning", seconds, "s of a core"))
    return found
