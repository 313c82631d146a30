"""The smallest tasks of several turns, on which Stable-Baselines3's PPO can learn beside ours.

A conversation: 33 words, "How are you?", two turns of at most four words, and a scripted partner of
five lines; the feedback is the sentiment of what the policy said. Sums with a calculator: four of
them, of one digit, in 19 tokens; the feedback says whether the answer is right. Knows nothing of
language models that were trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

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
from text_gym import CharTokenizer, Prompt, WordTokenizer
from text_gym.applications.scripted_partner import ScriptedPartner
from text_gym.small_talk import WORDS

LINES = (
    *("and you ?", "how was your day ?", "i am so tired today"),
    *("what is it ?", "it was a good day"),
)
"""Of the partner."""
SUMS = {"2+3": "5", "4+4": "8", "1+6": "7", "9-5": "4"}
SPELLED = "0123456789+-=.\nero"
"""In sums, and in what a calculator says of them: a number, or error."""
SHARED = {"learning_rate": 1e-3, "n_epochs": 4, "gae_lambda": 0.95, "ent_coef": 0.01}
"""Settings of both."""
Envs = VectorEnv[Any, Any, Any]


def conversation_envs(num_envs: int) -> Envs:
    """Returns the conversations."""
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


def calculator_envs(num_envs: int) -> Envs:
    """Returns the sums, of which "2+3=" is a call and "5" an answer."""
    return gym.make_vec(
        "text_gym:TextGen/Calculator-v0",
        num_envs=num_envs,
        prompts=[Prompt(asked, answer) for asked, answer in SUMS.items()],
        tokenizer=CharTokenizer(SPELLED),
        max_new_tokens=10,
        max_turn_tokens=5,
        max_turns=2,
        autoreset_mode=AutoresetMode.DISABLED,
    )


class Smallest(NamedTuple):
    """Describes a smallest task.

    Attributes:
        envs_of: Returns so many environments.
        paid: What the feedback is, in figures.
        texts: To learn from, and under `--quick`.
    """

    envs_of: Callable[[int], Envs]
    paid: str
    texts: tuple[int, int]


CONVERSATION = Smallest(conversation_envs, "sentiment", (2_048, 256))
CALCULATOR = Smallest(calculator_envs, "right", (8_192, 256))


def ours(envs_of: Callable[[int], Envs], seed: int, budget: int) -> dict[str, Any]:
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


def theirs(envs_of: Callable[[int], Envs], seed: int, budget: int) -> dict[str, Any]:
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


LEARNERS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "our PPO": ours,
    "SB3's PPO": theirs,
}


def sb3_figures(task: Smallest, cells: Cells, seeds: Sequence[int], *, quick: bool) -> list[Figure]:
    """Returns what both make of as many texts, over seeds."""
    budget, found = task.texts[quick], []
    for name, learn in LEARNERS.items():
        runs = [
            cells.found(
                {"smallest": name, "seed": seed, "budget": budget},
                lambda learn=learn, seed=seed: learn(task.envs_of, seed, budget),  # type: ignore[misc]
            )
            for seed in seeds
        ]
        last = [one["last"] for one in runs]
        found.append(figure(f"smallest, {name}: {task.paid} of the last 256", last, ""))
        seconds = [one["seconds"] for one in runs]
        found.append(figure(f"smallest, {name}: learning", seconds, "s of a core"))
    return found
