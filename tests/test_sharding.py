"""A policy whose parameters are shared out learns what it learns whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.tensor import DTensor
from torch.testing import assert_close
from transformers import GPT2Config, LlamaConfig, PreTrainedConfig

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.distributed.sharding import full_state_dict, shard
from agents.policy.causal_lm import CausalLMPolicy
from text_gym import CharTokenizer, TextGenVectorEnv

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="no torch.distributed")

GPT2 = GPT2Config(
    vocab_size=3, n_positions=8, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
)
LLAMA = LlamaConfig(
    vocab_size=3,
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=8,
    bos_token_id=0,
    eos_token_id=0,
)


def trained(config: PreTrainedConfig, sharded: bool) -> tuple[dict[str, torch.Tensor], int]:
    """Returns all parameters after three updates, and how many elements this process held."""
    envs = TextGenVectorEnv(
        4,
        prompts=["a", "bb", "ab", "ba"],
        tokenizer=CharTokenizer("ab"),
        reward_function=lambda prompt, completion: completion.count("a") - len(prompt),
        max_new_tokens=6,
        autoreset_mode="Disabled",
    )
    policy = CausalLMPolicy.from_config(config).double()
    reference = policy.frozen_copy()
    if sharded:
        shard(policy)
    settings = PPOConfig(
        n_episodes=16, batch_size=8, micro_batch_size=2, n_epochs=2, learning_rate=1e-2
    )
    PPO(policy, envs, settings, reference=reference).learn(48)
    held = sum(
        (part.to_local() if isinstance(part, DTensor) else part).numel()
        for part in policy.parameters()
    )
    return full_state_dict(policy), held


@pytest.mark.slow
@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_a_sharded_policy_learns_what_a_whole_one_learns(
    config: PreTrainedConfig, in_two_processes: Callable[[Callable[[], Any]], list[Any]]
) -> None:
    def work() -> tuple[Any, Any]:
        return trained(config, sharded=False), trained(config, sharded=True)

    for (expected, n_whole), (got, n_held) in in_two_processes(work):
        assert expected.keys() == got.keys()
        for name, value in expected.items():
            assert_close(got[name], value, rtol=0, atol=1e-10, msg=name)
        assert n_held < 0.6 * n_whole


def test_sharding_needs_several_processes() -> None:
    with pytest.raises(RuntimeError, match="shard needs several processes"):
        shard(CausalLMPolicy.from_config(GPT2))
