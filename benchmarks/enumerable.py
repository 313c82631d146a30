"""A language small enough to know everything about: any policy on it is judged exactly.

Eight letters in a ring and EOS, at most five tokens, three prompts: 112,347 completions. The
reference is a transformer that learnt, in seconds, texts that mostly go forwards round the ring, so
that it is far from uniform. Three rewards differ in how often it meets them. Knows no learner.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import ArrayLike
from transformers import PreTrainedModel

from agents import CausalLMPolicy, PolicyConfig
from agents.policy.next_token import NextTokenLogProbs
from agents.supervised.config import PretrainConfig
from agents.supervised.sequences import TokenSequence
from agents.supervised.training import pretrain
from benchmarks.tasks import gpt2
from text_gym import CharTokenizer, TextGenVectorEnv
from text_gym.exact import Solution, TabularPolicy, solve
from text_gym.prompt_sources import GroupedPrompts

LETTERS = "abcdefgh"
TOKENIZER = CharTokenizer(LETTERS)
PROMPTS = ("a", "d", "g")
TOKENS = 5
LAYERS, WIDTH, HEADS = 1, 32, 2

STEPS = (0.12, 0.42, 0.20, 0.10, 0.06, 0.04, 0.03, 0.03)
"""Probabilities that the source goes on by 0 to 7 letters of the ring."""
ENDS = 0.12
"""Probability that it ends before a letter."""
TEXTS = 20_000, 2_000
"""Of the source, to learn from and held out."""

BETAS = (0.02, 0.05, 0.1, 0.3, 1.0)
"""Prices of KL, in reward per nat."""


def vowels(prompt: str, completion: str) -> float:  # noqa: ARG001  # as rewards are called
    """Pays, of five letters, the share that are vowels."""
    return sum(letter in "ae" for letter in completion) / TOKENS


def doubled(prompt: str, completion: str) -> float:
    """Pays for a text that begins with the prompt's letter twice: one in a hundred does."""
    return float(completion.startswith(2 * prompt))


def backwards(prompt: str, completion: str) -> float:
    """Pays for one that begins with the letter before it twice, which the source avoids."""
    return float(completion.startswith(2 * LETTERS[LETTERS.index(prompt) - 1]))


REWARDS: Mapping[str, Callable[[str, str], float]] = {
    "dense": vowels,
    "sparse": doubled,
    "adversarial": backwards,
}


def source_texts(n: int, seed: int) -> list[TokenSequence]:
    """Returns n texts of the source: a prompt and letters that go round the ring, or EOS."""
    np_random = np.random.default_rng(seed)
    texts = []
    for index in range(n):
        letter = LETTERS.index(PROMPTS[index % len(PROMPTS)])
        ids = [letter]
        while len(ids) <= TOKENS and ids[-1] != TOKENIZER.eos_token_id:
            letter = (letter + int(np_random.choice(len(STEPS), p=STEPS))) % len(LETTERS)
            ids.append(TOKENIZER.eos_token_id if np_random.random() < ENDS else letter)
        texts.append(TokenSequence(ids, prompt_length=1))
    return texts


def trained_reference(seed: int = 0) -> PreTrainedModel:
    """Returns a small GPT-2 that has learnt the source."""
    model = gpt2(
        layers=LAYERS,
        width=WIDTH,
        heads=HEADS,
        vocab_size=TOKENIZER.vocab_size,
        max_length=1 + TOKENS,
        seed=seed,
        options=PolicyConfig(value_network="none"),
    ).model
    config = PretrainConfig(
        epochs=4,
        batch_tokens=1024,
        learning_rate=3e-3,
        weight_decay=0.0,
        loss_on="completion",
        bfloat16=False,
        seed=seed,
    )
    learnt, held_out = (source_texts(n, seed + k) for k, n in enumerate(TEXTS))
    pretrain(model, learnt, held_out, config)
    return model


class Point(NamedTuple):
    """Says where a policy stands between reward and KL, on average over the prompts.

    Attributes:
        expected_reward: E[R].
        kl: To the reference, in nats per completion.
    """

    expected_reward: float
    kl: float

    def objective(self, beta: float) -> float:
        """Returns E[R] − β·KL."""
        return self.expected_reward - beta * self.kl


class Task:
    """Knows everything about one reward on the language.

    Args:
        name: Of `REWARDS`.
        reference: π₀.
    """

    def __init__(self, name: str, reference: CausalLMPolicy) -> None:
        self.name = name
        envs = self.envs(1)
        self._solutions = [solve(envs, prompt) for prompt in PROMPTS]
        log_probs = NextTokenLogProbs(reference)
        self._references = [solution.tabulate(log_probs) for solution in self._solutions]
        self._optima: dict[float, Point] = {}

    def envs(self, num_envs: int, group_size: int = 0) -> VectorEnv[Any, Any, Any]:
        """Returns environments whose prompts come in groups if a size is given."""
        return TextGenVectorEnv(
            num_envs,
            prompts=GroupedPrompts(PROMPTS, group_size) if group_size else PROMPTS,
            tokenizer=TOKENIZER,
            reward_function=REWARDS[self.name],
            max_new_tokens=TOKENS,
            autoreset_mode="Disabled",
        )

    def judge(self, policy: CausalLMPolicy) -> Point:
        """Returns where a policy stands, exactly."""
        log_probs = NextTokenLogProbs(policy, chunk=4096)
        return self._mean(lambda solution, reference: solution.evaluate(log_probs, reference))

    def best_of(self, n: int) -> Point:
        """Returns where the best of n texts of the reference stands, exactly."""
        return self._mean(lambda solution, reference: solution.best_of_n(reference, n))

    def optimum(self, beta: float) -> Point:
        """Returns where the policy stands that is best at a price of KL."""
        if beta not in self._optima:
            self._optima[beta] = self._mean(
                lambda solution, reference: solution.soft_optimum(reference, beta)
            )
        return self._optima[beta]

    def frontier(self, betas: ArrayLike) -> list[Point]:
        """Returns the points that no policy is above, one for each price of KL."""
        found = [
            solution.frontier(reference, betas)
            for solution, reference in zip(self._solutions, self._references, strict=True)
        ]
        rewards, kls = (
            np.mean([getattr(one, name) for one in found], axis=0)
            for name in ("expected_rewards", "kls")
        )
        return [Point(*pair) for pair in zip(rewards.tolist(), kls.tolist(), strict=True)]

    @cached_property
    def start(self) -> Point:
        """Where the reference stands."""
        return self.best_of(1)

    def regret(self, point: Point, beta: float) -> float:
        """Returns what is lost to the optimum, as a share of what the reference leaves."""
        best = self.optimum(beta).objective(beta)
        return (best - point.objective(beta)) / (best - self.start.objective(beta))

    def _mean(self, of: Callable[[Solution, TabularPolicy], Any]) -> Point:
        found = [of(*pair) for pair in zip(self._solutions, self._references, strict=True)]
        return Point(
            float(np.mean([one.expected_reward for one in found])),
            float(np.mean([one.kl for one in found])),
        )


class Language:
    """Holds the reference, and every reward on it solved."""

    def __init__(self, rewards: Sequence[str] = tuple(REWARDS)) -> None:
        self._model = trained_reference()
        reference = self.policy(PolicyConfig(value_network="none"))
        self.tasks = {name: Task(name, reference) for name in rewards}

    def policy(self, options: PolicyConfig) -> CausalLMPolicy:
        """Returns a policy that starts as the reference."""
        return CausalLMPolicy(copy.deepcopy(self._model), options)
