"""The models and environments that several benchmarks measure with.

A vocabulary of bare numbers, GPT-2 of a given size, and two ways for a text to end: only at the
token limit, or with a known probability at every token.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from transformers import GPT2Config

from agents.policy.causal_lm import CausalLMPolicy
from text_gym import Episode


class Numbers:
    """A vocabulary of V numbers, of which the last ends a text."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self.eos_token_id = vocab_size - 1
        self.excluded_token_ids: frozenset[int] = frozenset()

    def encode(self, text: str) -> list[int]:
        """Returns the numbers in a text."""
        return [int(word) for word in text.split()]

    def decode(self, token_ids: Iterable[int]) -> str:
        """Returns the numbers as text, EOS left out."""
        return " ".join(str(token) for token in token_ids if token != self.eos_token_id)


class LargeNumbers:
    """Pays the mean of the tokens, in units of V: cheap, and different for every text."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the means, (n,)."""
        return np.array([one.completion_ids.mean() / self.vocab_size for one in episodes])


class CountingUp:
    """Pays the share of T tokens that are one more, modulo V, than the token before.

    Of texts of exactly T tokens, all at once: one by one would take as long as a step of the model.
    """

    def __init__(self, vocab_size: int, length: int) -> None:
        self.vocab_size = vocab_size
        self.length = length

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the shares, (n,)."""
        last = [one.prompt_ids[-1] for one in episodes]
        texts = np.column_stack((last, np.stack([one.completion_ids for one in episodes])))
        right = (texts[:, :-1] + 1) % self.vocab_size == texts[:, 1:]
        return right.sum(axis=1) / self.length


def counting_prompts(vocab_size: int, length: int) -> list[str]:
    """Returns every prompt of `length` numbers that count up, modulo V."""
    return [
        " ".join(str((start + k) % vocab_size) for k in range(length))
        for start in range(vocab_size)
    ]


def random_prompts(n: int, vocab_size: int, length: int, seed: int) -> list[str]:
    """Returns n texts of `length` numbers, EOS not among them."""
    tokens = np.random.default_rng(seed).integers(0, vocab_size - 1, (n, length))
    return [" ".join(map(str, row)) for row in tokens.tolist()]


def make_envs(num_envs: int, *, ends: bool = True, **task: Any) -> VectorEnv[Any, Any, Any]:
    """Returns the native vector environment.

    Args:
        num_envs: Rows.
        ends: False: no token ends a text, so that every text has `max_new_tokens`, as
            `generate(eos_token_id=None)` gives them.
        **task: Of `TextGenEnv`.
    """
    envs = gym.make_vec(
        "text_gym:TextGen-v0", num_envs=num_envs, autoreset_mode=AutoresetMode.DISABLED, **task
    )
    if not ends:
        core: Any = envs.unwrapped
        core.task.stop_codes.fill(0)
    return envs


def gpt2(
    *,
    layers: int,
    width: int,
    heads: int,
    vocab_size: int,
    max_length: int,
    seed: int = 0,
    **options: Any,
) -> CausalLMPolicy:
    """Returns an untrained policy of a given size; `options` go to `CausalLMPolicy.from_config`."""
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=max_length,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
    )
    return CausalLMPolicy.from_config(config, seed=seed, **options)


@torch.no_grad()
def end_with_probability(policy: CausalLMPolicy, probability: float) -> CausalLMPolicy:
    """Makes the last token have this probability in every state, and all others the same.

    The completion's lengths are then geometric. The final normalisation of GPT-2 is given a bias of
    1, which makes the sum of a hidden state a constant that the output layer can read.

    Raises:
        ValueError: If the probability is not in (0, 1).
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability must be in (0, 1), got {probability}")
    logit = math.log(probability / (1 - probability) * (policy.vocab_size - 1))
    weight = policy.head.weight
    weight.zero_()
    weight[-1] = logit / weight.shape[1]
    norm: Any = policy.trunk.ln_f
    norm.bias.fill_(1.0)
    return policy
