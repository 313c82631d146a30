"""Tasks of reasoning-gym as prompts, paid by their own scorers: `pip install reasoning-gym`.

Sums and letters to count here; others of its hundred names do, where plain ASCII spells them.
Another seed makes other questions, to evaluate on.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

import text_gym
from text_gym import Episode, Prompt

TASKS = ("basic_arithmetic", "letter_counting")


class OwnScores:
    """Pays what the task that a prompt is of says of the answer, in [0, 1].

    Args:
        tasks: By name.
    """

    name = "reasoning_gym"

    def __init__(self, tasks: Mapping[str, Any]) -> None:
        self.tasks = tasks

    def __call__(self, episodes: Sequence[Episode]) -> np.ndarray:
        """Returns the scores of n answers, (n,)."""
        return np.array([self._score(one) for one in episodes], dtype=np.float64)

    def _score(self, episode: Episode) -> float:
        entry = episode.metadata["entry"]
        task = self.tasks[entry["metadata"]["source_dataset"]]
        return float(task.score_answer(episode.completion.strip(), entry))


def prompts_of(tasks: Mapping[str, Any]) -> list[Prompt]:
    """Returns all questions, each with its answer as reference."""
    entries = [task[place] for task in tasks.values() for place in range(len(task))]
    return [Prompt(one["question"], one["answer"], {"entry": one}) for one in entries]


def main(n_questions: int = 64, guess: str = "2") -> float:
    """Answers the same to every question, and returns what that is paid on average."""
    import reasoning_gym  # here, so that this file can be read where it is missing

    tasks = {
        name: reasoning_gym.create_dataset(name, size=n_questions // len(TASKS), seed=0)
        for name in TASKS
    }
    vocabulary = text_gym.CharTokenizer(string.printable[:95] + "\n")
    envs = gym.make_vec(
        "TextGen-v0",
        num_envs=n_questions,
        prompts=prompts_of(tasks),
        sampling="without_replacement",
        tokenizer=vocabulary,
        reward_function=OwnScores(tasks),
        max_new_tokens=8,
        autoreset_mode="Disabled",
    )
    envs.reset(seed=0)
    for token in [*vocabulary.encode(guess), vocabulary.eos_token_id]:
        _, rewards, _, _, _ = envs.step(np.full(n_questions, token))
    return float(rewards.mean())


if __name__ == "__main__":
    print(f"paid on average for always saying 2: {main():.3f}")
