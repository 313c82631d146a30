"""One evaluation by all processes: each has some rows of the environments and judges their texts.

Prompts and their order are those of one process that has all rows; tokens are drawn from a random
stream of each process. Does not know when a run evaluates.
"""

from __future__ import annotations

from typing import Any

from gymnasium.utils import seeding
from gymnasium.vector import VectorEnv, VectorWrapper

from agents.distributed import processes
from agents.evaluation.evaluate import evaluate
from agents.evaluation.metrics import Evaluation
from agents.policy.causal_lm import CausalLMPolicy
from agents.runs.rewards import rescored
from text_gym import TextGenVectorEnv
from text_gym.rewards import RewardFunction

Envs = VectorEnv[Any, Any, Any]


class OwnRows(VectorWrapper):
    """Starts environments as what they are: rows of a larger vector, the others elsewhere.

    Args:
        envs: The rows of this process.
        first: The number of the first of them in the larger vector.
    """

    def __init__(self, envs: Envs, first: int) -> None:
        super().__init__(envs)
        self._first = first

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts new texts.

        Args:
            seed: Row i is seeded with `seed + i`; where rows share a source of prompts, they are
                given what the larger vector, seeded with `seed - first`, would give them.
            options: As the environments take them.
        """
        envs: Any = self.env.unwrapped
        if self._first and seed is not None and _share_prompts(envs):
            prompts = self._prompts(envs.task.source, seed - self._first)
            options = {**(options or {}), "prompt": prompts}
        return self.env.reset(seed=seed, options=options)

    def _prompts(self, source: Any, seed: int) -> list[Any]:
        source.restart()
        np_random, _ = seeding.np_random(seed)
        drawn = [source.draw(np_random) for _ in range(self._first + self.num_envs)]
        return drawn[self._first :]


def _share_prompts(envs: Any) -> bool:
    return isinstance(envs, TextGenVectorEnv) and envs.task.source.shared


def evaluate_together(
    policy: CausalLMPolicy,
    reference: CausalLMPolicy | None,
    envs: Envs,
    n_episodes: int,
    *,
    seed: int,
    kl_coef: float | None = None,
) -> Evaluation:
    """Lets a policy write `n_episodes` texts, some in each process, and evaluates them.

    Args:
        policy: The policy to evaluate, the same in all processes.
        reference: What KL and perplexity are measured against; None: they are NaN.
        envs: One for each text that is this process's; of several processes, `OwnRows`.
        n_episodes: Of the whole job.
        seed: Of prompts and sampling.
        kl_coef: The price of a nat of KL in the objective; None: there is no objective.

    Raises:
        KeyError, ValueError: As `evaluate`.
    """
    rows = processes.rows_of(n_episodes, "n_episodes")
    seed += rows.start
    own = evaluate(policy, reference, envs, len(rows), seed=seed, kl_coef=kl_coef)
    return Evaluation.joined(processes.all_gather_object(own))


def rescored_together(reward: RewardFunction, evaluation: Evaluation) -> list[float]:
    """Returns what another reward says of texts; each process asks it about some of them.

    Args:
        reward: The reward.
        evaluation: Of the texts of the whole job, which every process has.

    Raises:
        ValueError: As `rescored`.
    """
    rows = processes.rows_of(len(evaluation.scores), "n_episodes")
    own = rescored(reward, evaluation.of_rows(rows))
    return [score for part in processes.all_gather_object(own) for score in part]
