"""Best-of-n: of n texts that a policy writes to a prompt, a reward keeps the best.

Nothing learns. The distribution of what is kept, π_n, has KL(π_n ‖ π) ≤ log n - (n - 1)/n, whatever
the reward; so KL(π_n ‖ π_ref) ≤ log n - (n - 1)/n + E_{π_n}[log π/π_ref].

Source: Stiennon et al. 2020, arXiv:2009.01325; that it is a bound, and how tight, Beirami et al.
2024, arXiv:2401.01879.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike
from torch import Tensor

from agents.algorithms.labelled import best_of_groups
from agents.evaluation.evaluate import describe, own_log_probs
from agents.evaluation.metrics import Evaluation
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.buffer import Rollout
from agents.rollout.collect import collect_rollout
from agents.rollout.groups import reported_groups

RewardFunction = Callable[[Sequence[Any]], ArrayLike]


class BestOfN:
    """Writes n texts to a prompt and keeps the one that a reward likes best.

    Args:
        policy: Writes.
        n: Texts to a prompt, at least 2.
        reward_function: Of the finished episodes, `info["text_episode"]`; chooses. None: the reward
            that the environments pay. What it chooses can be evaluated by theirs.

    Raises:
        ValueError: If `n` is below 2.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from transformers import GPT2Config
        >>> from agents import CausalLMPolicy
        >>> from text_gym.prompt_sources import GroupedPrompts
        >>> prompts = GroupedPrompts(["hello", "how are you ?"], size=4)
        >>> envs = gym.make_vec(
        ...     "TextGen-v0", num_envs=8, prompts=prompts, autoreset_mode="Disabled"
        ... )
        >>> sizes = dict(n_embd=16, n_layer=1, n_head=1, n_positions=24)
        >>> config = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        >>> best = BestOfN(CausalLMPolicy.from_config(config), n=4)
        >>> evaluation = best.evaluate(best.policy.frozen_copy(), envs, 10, seed=0)
        >>> len(evaluation.scores), round(evaluation.figures["kl"], 3)
        (10, 0.636)
    """

    def __init__(
        self, policy: CausalLMPolicy, n: int, reward_function: RewardFunction | None = None
    ) -> None:
        if n < 2:
            raise ValueError(f"n must be at least 2, got {n}")
        self.policy = policy
        self.n = n
        self.reward_function = reward_function

    @property
    def kl_bound(self) -> float:
        """The largest KL from the policy that writes, log n - (n - 1)/n."""
        return math.log(self.n) - (self.n - 1) / self.n

    def collect(self, envs: VectorEnv[Any, Any, Any], n_episodes: int, *, seed: int) -> Rollout:
        """Returns `n_episodes` kept texts, for which n times as many are written.

        Args:
            envs: Environments that give every prompt to n episodes and report their `group_id`, as
                those with `GroupedPrompts` do.
            n_episodes: Texts to keep.
            seed: Of prompts and sampling.

        Raises:
            KeyError: If a reward function chooses and the environments report no `text_episode`.
            ValueError: If the environments report no groups, or a group is not of n episodes, or a
                reward that chooses is not finite.
        """
        generator = torch.Generator(self.policy.device).manual_seed(seed)
        total = self.n * n_episodes
        written = collect_rollout(self.policy, envs, total, generator, seed=seed)
        kept = best_of_groups(self._scores(written), reported_groups(written, self.n))
        return written.select(kept).to(self.policy.device)

    def evaluate(
        self,
        reference: CausalLMPolicy,
        envs: VectorEnv[Any, Any, Any],
        n_episodes: int,
        *,
        seed: int,
        kl_coef: float | None = None,
    ) -> Evaluation:
        """Evaluates `n_episodes` kept texts by what the environments pay for them.

        Args:
            reference: What KL and perplexity are measured against.
            envs: As for `collect`; they must report `text_episode`.
            n_episodes: Texts to keep.
            seed: Of prompts and sampling.
            kl_coef: The price of a nat of KL in the objective; None: there is no objective.

        Returns:
            What `agents.evaluation.evaluate` does, but for `log_ratios`: their mean is an upper
            bound of the KL from the reference, and so is `objective` a lower one.

        Raises:
            KeyError, ValueError: As `collect`, or if the policy does not decode as it is trained.
        """
        kept = self.collect(envs, n_episodes, seed=seed)
        written = describe(kept, own_log_probs(self.policy, kept), reference, kl_coef)
        # So far they are of the policy that wrote, not of that which keeps one of n.
        log_ratios = [self.kl_bound + one for one in written.log_ratios]
        return dataclasses.replace(written, log_ratios=log_ratios)

    def _scores(self, written: Rollout) -> Tensor:
        if self.reward_function is None:
            scores = written.scores
        else:
            episodes = [info["text_episode"] for info in written.infos]
            scores = torch.as_tensor(self.reward_function(episodes), dtype=torch.float64)
        if not bool(scores.isfinite().all()):
            raise ValueError(
                "rewards must be finite to tell which text is best, got "
                f"{scores[~scores.isfinite()][0].item()}"
            )
        return scores


def write_pairs(rollout: Rollout, path: Path) -> int:
    """Writes texts as JSON lines of `prompt` and `completion`, which `python -m agents.sft` reads.

    Texts that the token limit ended are left out: whoever imitates a pair learns to end there.

    Args:
        rollout: Of environments that report `text_episode`; what `BestOfN.collect` kept.
        path: Of the file, which must be new.

    Returns:
        How many were written.

    Raises:
        FileExistsError: If there is something at `path`.
        KeyError: If the environments did not report `text_episode`.
    """
    ended = (~rollout.cut_off).nonzero().squeeze(1).tolist()
    episodes = [rollout.infos[row]["text_episode"] for row in ended]
    with path.open("x", encoding="utf-8") as file:
        for episode in episodes:
            row = {"prompt": episode.prompt, "completion": episode.completion}
            file.write(json.dumps(row) + "\n")
    return len(episodes)
