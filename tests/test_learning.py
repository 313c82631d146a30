"""PPO reaches optima that are known: the longest text, and the soft optimum π₀ exp(R/β) / Z."""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import GPT2Config

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.policy.causal_lm import CausalLMPolicy
from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def tiny_policy(vocab_size: int, length: int, initializer_range: float = 0.02) -> CausalLMPolicy:
    config = GPT2Config(vocab_size=vocab_size, n_embd=32, n_layer=1, n_head=2, n_positions=length)
    config.initializer_range = initializer_range
    config.tie_word_embeddings = False
    config.bos_token_id = config.eos_token_id = vocab_size - 1
    return CausalLMPolicy.from_config(config)


@pytest.mark.slow
def test_text_gen_is_solved() -> None:
    """20 words are the most that fit, and the policy begins by writing about four."""
    envs = gym.make_vec("TextGen-v0", num_envs=32, autoreset_mode="Disabled")
    eos, vocab_size = TextGenEnv().tokenizer.eos_token_id, TextGenEnv().tokenizer.vocab_size
    policy = tiny_policy(vocab_size, 24)
    with torch.no_grad():  # with a bias of 1 the last hidden state always sums to its width
        policy.trunk.ln_f.bias.fill_(1.0)
        policy.head.weight.zero_()
        policy.head.weight[eos] = math.log(0.25 * (vocab_size - 1)) / 32
    config = PPOConfig(n_episodes=64, batch_size=32, learning_rate=2e-3, kl_coef=0.0)
    agent = PPO(policy, envs, config)
    before = agent.collect().scores.mean().item()
    after = agent.learn(64 * 24).collect().scores.mean().item()
    assert before < 0.25 * 20
    assert after >= 0.95 * 20


ANSWERS = "abcd"
PROMPTS = "xyz"
BETA = 0.2
REWARDS = np.array(
    [[0.0, 0.3, 0.6, -0.5, 0.2], [0.5, 0.5, -0.5, 0.0, 0.0], [0.9, 0.0, 0.0, 0.0, 0.9]]
)
"""Of each answer (the last is to say nothing) to each prompt."""


def paid(prompt: str, completion: str) -> float:
    return float(REWARDS[PROMPTS.index(prompt), ANSWERS.find(completion) if completion else -1])


def answer_log_probs(policy: CausalLMPolicy, tokenizer: CharTokenizer) -> Tensor:
    """The exact distribution over answers to each prompt, (3, 5); `x`, `y`, `z` are never said."""
    ids = torch.tensor([tokenizer.encode(prompt) for prompt in PROMPTS])
    with torch.no_grad():
        logits = policy.model(ids).logits[:, -1]
    allowed = [*range(len(ANSWERS)), tokenizer.eos_token_id]
    return logits[:, allowed].log_softmax(-1)


class Answers(CharTokenizer):
    """Letters, of which those of the prompts are no answers."""

    def __init__(self) -> None:
        super().__init__(ANSWERS + PROMPTS)
        self.excluded_token_ids = frozenset(self.encode(PROMPTS))


@pytest.mark.slow
@pytest.mark.parametrize("whiten", [False, True])
def test_preferences_are_learnt_to_the_soft_optimum(whiten: bool) -> None:
    """E[R] - β KL(π ‖ π₀) is best at π₀ exp(R/β) / Z, where it is β log Z."""
    tokenizer = Answers()
    envs = TextGenVectorEnv(
        64,
        autoreset_mode="Disabled",
        prompts=list(PROMPTS),
        tokenizer=tokenizer,
        reward_function=paid,
        max_new_tokens=1,
    )
    policy = tiny_policy(tokenizer.vocab_size, 2, initializer_range=0.2)
    start = answer_log_probs(policy, tokenizer)
    rewards = torch.from_numpy(REWARDS).float()
    optimum = (start + rewards / BETA).log_softmax(-1)
    assert (start.exp() - optimum.exp()).abs().max() > 0.5

    config = PPOConfig(
        n_episodes=512,
        batch_size=256,
        n_epochs=2,
        learning_rate=3e-3,
        kl_coef=BETA,
        normalize_advantage=whiten,
    )
    PPO(policy, envs, config).learn(512 * 60)

    learnt = answer_log_probs(policy, tokenizer)
    assert_close(learnt.exp(), optimum.exp(), rtol=0, atol=0.03)
    best = BETA * (start + rewards / BETA).logsumexp(-1)
    reached = (learnt.exp() * (rewards - BETA * (learnt - start))).sum(-1)
    assert (reached <= best + 1e-6).all()
    assert_close(reached, best, rtol=0, atol=0.005)
