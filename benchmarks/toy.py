"""The toy that whole PPO is measured on: counting up, with a transformer of 2 layers × 64.

V = 32, prompts of 4 numbers that count up, completions of exactly T tokens, paid the share that is
one more, modulo V, than the token before; 64 texts per update, 4 epochs.
"""

from __future__ import annotations

from typing import Any

from gymnasium.vector import VectorEnv

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from benchmarks.floor import Model, Work, decoding, judging, updating
from benchmarks.tasks import CountingUp, Numbers, counting_prompts, gpt2, make_envs

VOCAB_SIZE, PROMPT, LAYERS, WIDTH, HEADS = 32, 4, 2, 64, 2
EPISODES, EPOCHS = 64, 4
LEARNING_RATE = 3e-3


def toy_envs(length: int) -> VectorEnv[Any, Any, Any]:
    """Returns one environment for each text of an update."""
    return make_envs(
        EPISODES,
        ends=False,
        prompts=counting_prompts(VOCAB_SIZE, PROMPT),
        tokenizer=Numbers(VOCAB_SIZE),
        reward_function=CountingUp(VOCAB_SIZE, length),
        max_new_tokens=length,
    )


def toy_policy(length: int, seed: int, options: PolicyConfig | None = None) -> CausalLMPolicy:
    """Returns the untrained policy."""
    return gpt2(
        layers=LAYERS,
        width=WIDTH,
        heads=HEADS,
        vocab_size=VOCAB_SIZE,
        max_length=PROMPT + length,
        seed=seed,
        options=options,
    )


def least_work(length: int) -> Work:
    """Counts an update: writing, judging by policy and reference, learning in every epoch."""
    model, lengths = Model.of(toy_policy(length, seed=0)), [length] * EPISODES
    work = decoding(model, PROMPT, lengths, rows=EPISODES)
    work += judging(model, PROMPT, lengths, passes=1)
    work += judging(model, PROMPT, lengths, passes=1)
    for _ in range(EPOCHS):
        work += updating(model, PROMPT, lengths, passes=1, steps=1)
    return work
