"""Putting questions to a policy, every one once, and what it thinks of replies to them.

Knows no training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import torch
from gymnasium.vector import AutoresetMode
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from agents.applications.facts.application import TEMPLATE
from agents.objectives.masked import masked_sum
from agents.policy.causal_lm import CausalLMPolicy, forward_in_chunks
from agents.policy.token_batch import TokenBatch
from agents.rollout.buffer import Rollout
from agents.rollout.collect import collect_rollout
from text_gym import HuggingFaceTokenizer, Prompt
from text_gym.applications.facts import facts
from text_gym.prompt_sources import EpochPrompts
from text_gym.text_parts import encode_completion

_SIDE_BY_SIDE = 48


def asked(
    policy: CausalLMPolicy,
    tokenizer: HuggingFaceTokenizer,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    seed: int,
    **of_the_task: Any,
) -> Rollout:
    """Returns one reply to each question, in an order that the seed decides.

    Args:
        policy: Replies, at its own temperature.
        tokenizer: Its own.
        prompts: The questions.
        max_new_tokens: Longest reply.
        seed: Of order and sampling.
        **of_the_task: Other arguments of `facts`.
    """
    task = facts(
        prompts=EpochPrompts(prompts),
        tokenizer=tokenizer,
        prompt_template=TEMPLATE,
        max_new_tokens=max_new_tokens,
        **of_the_task,
    )
    envs = gym.make_vec(
        "TextGen-v0",
        num_envs=min(_SIDE_BY_SIDE, len(prompts)),
        autoreset_mode=AutoresetMode.DISABLED,
        **task,
    )
    generator = torch.Generator(policy.device).manual_seed(seed)
    return collect_rollout(policy, envs, len(prompts), generator, seed=seed)


def texts_of(tokenizer: HuggingFaceTokenizer, pairs: Iterable[tuple[str, str]]) -> TokenBatch:
    """Returns questions with their replies, as a policy reads the ones and writes the others."""
    texts, lengths = [], []
    for question, reply in pairs:
        context = tokenizer.encode_prompt(TEMPLATE, question)
        written = encode_completion(tokenizer, context, reply)
        texts.append(torch.tensor([*context, *written, tokenizer.eos_token_id]))
        lengths.append(len(context))
    ids = pad_sequence(texts, batch_first=True)
    places = torch.arange(ids.shape[1])
    there = places < torch.tensor([len(text) for text in texts])[:, None]
    return TokenBatch(ids, there, there & (places >= torch.tensor(lengths)[:, None]))


@torch.no_grad()
def log_probs_of(policy: CausalLMPolicy, texts: TokenBatch) -> Tensor:
    """Returns what a policy thinks of replies, in nats, (B,)."""
    texts = texts.to(policy.device)
    log_probs = forward_in_chunks(policy, texts, _SIDE_BY_SIDE).log_probs
    return masked_sum(log_probs, texts.completion_mask, dim=1)
