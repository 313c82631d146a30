"""The calculator: a small model learns to put sums to it, which it cannot do in its head."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agents.algorithms.configs.ppo import PPOConfig
from agents.applications.application import Application
from agents.applications.fine_tuning import FineTuning
from agents.applications.origin import Origin
from agents.policy.config import PolicyConfig

if TYPE_CHECKING:
    import torch

    from agents.applications.split import Split
    from text_gym.rewards import RewardFunction
    from text_gym.turns import Responder


def sums() -> Split:
    """Returns sums in words, and others whose numbers are in none of them."""
    from agents.applications.split import Split
    from text_gym.applications.calculator import questions

    return Split(questions("train"), questions("heldout"))


def _right_answer() -> RewardFunction:
    from text_gym.applications.calculator import RightAnswer

    return RightAnswer()


def _calculator(device: torch.device) -> Responder:  # noqa: ARG001  # it is no model
    from text_gym.applications.calculator import Calculator

    return Calculator()


def _starting_model() -> Path:
    from agents.applications.calculator.starting_model import starting_model

    return starting_model()


CALCULATOR = Application(
    name="calculator",
    description=(
        "A small model learns to put sums to a calculator; the first run trains it, for a minute."
    ),
    preset=FineTuning(
        model="calculator",
        prompts="sums",
        reward="right_answer",
        responder="calculator",
        response_template="{response}\n",
        max_response_tokens=36,
        max_turn_tokens=16,
        max_turns=3,
        max_new_tokens=32,
        total_episodes=8192,
        num_envs=128,
        eval_episodes=512,
        # At 1, a tuned model writes one wrong digit in a hundred by mere chance.
        policy=PolicyConfig(temperature=0.5),
        # λ = 1, because the value head starts at 0 and the reward is known only at the end.
        algorithm=PPOConfig(
            learning_rate=5e-4,
            n_episodes=128,
            batch_size=64,
            n_epochs=2,
            kl_coef=0.01,
            gae_lambda=1.0,
        ),
    ),
    prompts={"sums": sums},
    rewards={"right_answer": _right_answer},
    responders={"calculator": _calculator},
    models={"calculator": _starting_model},
    origins={"calculator": Origin("A small GPT-2 that this project trained on made-up sums.")},
    sources={"sums": "Sums in words, made up by chance."},
)
