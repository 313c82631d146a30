"""Who learns: a reference must stay, and be able to read; of a policy something must learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import GPT2Config

from agents.algorithms.configs.dpo import DPOConfig
from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.dpo import DPO
from agents.algorithms.examples import Preferences
from agents.algorithms.ppo import PPO
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.policy.token_batch import TokenBatch
from text_gym import CharTokenizer, TextGenVectorEnv


def policy_of(n_positions: int = 6, vocab_size: int = 3, **options: Any) -> CausalLMPolicy:
    sizes = {"vocab_size": vocab_size, "n_positions": n_positions}
    config = GPT2Config(**sizes, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    return CausalLMPolicy.from_config(config, PolicyConfig(**options))


def agent(policy: CausalLMPolicy, reference: CausalLMPolicy | None) -> PPO:
    envs = TextGenVectorEnv(
        4,
        prompts=["a", "b"],
        tokenizer=CharTokenizer("ab"),
        reward_function=lambda prompt, completion: float(completion.count("a")),
        max_new_tokens=5,
        autoreset_mode="Disabled",
    )
    config = PPOConfig(n_episodes=8, batch_size=4, learning_rate=1e-2)
    return PPO(policy, envs, config, reference=reference)


def partly_shared(policy: CausalLMPolicy) -> CausalLMPolicy:
    reference = policy.frozen_copy()
    reference.trunk.ln_f.weight = policy.trunk.ln_f.weight
    return reference


def view_of(policy: CausalLMPolicy) -> CausalLMPolicy:
    """Holds no parameter of the policy, but one that stands in the same memory."""
    reference = policy.frozen_copy()
    reference.trunk.ln_f.weight = torch.nn.Parameter(policy.trunk.ln_f.weight.detach())
    return reference


def unfrozen(policy: CausalLMPolicy) -> CausalLMPolicy:
    """Was apart when it was made."""
    reference = policy.frozen_copy()
    policy.requires_grad_(True)
    return reference


@pytest.mark.parametrize(
    ("options", "reference_of", "message"),
    [
        ({}, lambda policy: policy, r"got \d\d shared, the first model.transformer.wte.weight; po"),
        ({}, lambda policy: CausalLMPolicy(policy.model), r"got \d\d shared"),
        ({}, partly_shared, "got 1 shared, the first model.transformer.ln_f.weight"),
        ({}, view_of, "got 1 shared, the first model.transformer.ln_f.weight"),
        ({"frozen_blocks": 1}, unfrozen, r"got \d\d shared"),
        ({"lora_rank": 2}, lambda policy: policy, r"shared, the first .*lora_A"),
    ],
)
def test_a_reference_that_would_learn_with_the_policy_is_refused(
    options: dict[str, Any],
    reference_of: Callable[[CausalLMPolicy], CausalLMPolicy],
    message: str,
) -> None:
    policy = policy_of(**options)
    reference = reference_of(policy)
    with pytest.raises(ValueError, match=f"reference must share no tensor that learns.*{message}"):
        agent(policy, reference)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"vocab_size": 4}, "the policy's vocabulary of 3 tokens, got 4"),
        ({"n_positions": 5}, "positions for texts of 6 tokens, got 5"),
    ],
)
def test_a_reference_that_cannot_read_the_texts_is_refused(
    reference: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=f"reference must have {message}"):
        agent(policy_of(), policy_of(**reference))


@pytest.mark.parametrize("options", [{}, {"lora_rank": 2}, {"frozen_blocks": 1}])
def test_a_frozen_copy_and_another_model_are_references(options: dict[str, Any]) -> None:
    policy = policy_of(**options)
    agent(policy, policy.frozen_copy()).learn(8)
    agent(policy, policy_of(n_positions=9)).learn(8)


def test_a_policy_of_which_only_the_values_learn_is_refused() -> None:
    policy = policy_of()
    policy.model.requires_grad_(False)
    n = sum(part.numel() for part in policy.model.parameters())
    with pytest.raises(ValueError, match=f"language model that learn, got none of {n:,};"):
        agent(policy, None)


def dpo(policy: CausalLMPolicy, reference: CausalLMPolicy | None) -> DPO:
    ids, mask = torch.tensor([[1, 2, 0]]), torch.ones(1, 3, dtype=torch.bool)
    texts = TokenBatch(ids, mask, torch.tensor([[False, True, True]]))
    pairs = Preferences(texts, texts, torch.ones(1), torch.zeros(1))
    return DPO(policy, pairs, DPOConfig(batch_size=1), reference=reference)


def test_the_same_holds_where_a_file_is_learnt_from() -> None:
    policy = policy_of(value_network="none")
    dpo(policy, policy_of(n_positions=3))
    with pytest.raises(ValueError, match="reference must share no tensor"):
        dpo(policy, policy)
    with pytest.raises(ValueError, match="positions for texts of 3 tokens, got 2"):
        dpo(policy, policy_of(n_positions=2))
    with pytest.raises(ValueError, match="language model that learn, got none"):
        dpo(policy.requires_grad_(False), None)
