"""Checkpoints: what is restored, and that going on from one equals never having stopped."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium.vector import VectorEnv
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedConfig

from agents.callbacks import Callback
from agents.config import PPOConfig
from agents.policy import CausalLMPolicy
from agents.ppo import PPO
from text_gym import CharTokenizer, TextGenVectorEnv

ALPHABET = "abc"
V, L = len(ALPHABET) + 1, 8
CONFIG = PPOConfig(
    n_episodes=12,
    batch_size=4,
    n_epochs=2,
    learning_rate=3e-3,
    kl_coef=0.1,
    kl_target=0.01,
    kl_horizon=100,
    seed=5,
)


def environments() -> VectorEnv[Any, Any, Any]:
    return TextGenVectorEnv(
        4,
        autoreset_mode="Disabled",
        prompts=["a", "bcb", "cb"],
        tokenizer=CharTokenizer(ALPHABET),
        reward_function=lambda prompt, completion: completion.count("a"),
        max_new_tokens=5,
    )


def gpt2() -> PreTrainedConfig:
    config = GPT2Config(vocab_size=V, n_embd=16, n_layer=2, n_head=2, n_positions=L)
    config.initializer_range = 0.3
    config.bos_token_id = config.eos_token_id = 0
    return config


def llama() -> PreTrainedConfig:
    return LlamaConfig(
        vocab_size=V,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=L,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )


class Log(Callback):
    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        self.metrics.append({k: v for k, v in metrics.items() if not k.startswith("time/")})
        return True


def trained(config: PreTrainedConfig, dtype: torch.dtype = torch.float32) -> PPO:
    """An agent after two updates, whose reference is neither its start nor its end."""
    policy = CausalLMPolicy.from_config(config, temperature=0.8).to(dtype)
    reference = CausalLMPolicy.from_config(config, seed=1, temperature=0.8).to(dtype)
    return PPO(policy, environments(), CONFIG, reference=reference).learn(24)


def assert_same_parameters(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs), name


def assert_same_state(mine: Any, theirs: Any) -> None:
    assert type(mine) is type(theirs)
    if isinstance(mine, torch.Tensor):
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)
    elif isinstance(mine, dict):
        assert mine.keys() == theirs.keys()
        for key, value in mine.items():
            assert_same_state(value, theirs[key])
    elif isinstance(mine, list):
        for one, other in zip(mine, theirs, strict=True):
            assert_same_state(one, other)
    else:
        assert mine == theirs


@pytest.mark.parametrize("config", [gpt2(), llama()], ids=["gpt2", "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_everything_is_restored(
    config: PreTrainedConfig, dtype: torch.dtype, tmp_path: Path
) -> None:
    saved = trained(config, dtype)
    saved.save(tmp_path)
    loaded = PPO.load(tmp_path, environments())
    assert_same_parameters(saved.policy, loaded.policy)
    assert_same_parameters(saved.reference, loaded.reference)
    assert next(loaded.policy.parameters()).dtype == dtype
    assert not any(parameter.requires_grad for parameter in loaded.reference.parameters())
    assert all(parameter.requires_grad for parameter in loaded.policy.parameters())
    assert_same_state(saved.optimizer.state_dict(), loaded.optimizer.state_dict())
    assert torch.equal(saved.sampling.get_state(), loaded.sampling.get_state())
    assert torch.equal(saved.shuffling.get_state(), loaded.shuffling.get_state())
    assert loaded.config == saved.config
    assert (loaded.n_episodes, loaded.n_updates) == (24, 2)
    assert loaded.kl_controller.kl_coef == saved.kl_controller.kl_coef != CONFIG.kl_coef
    assert loaded.policy.temperature == loaded.reference.temperature == 0.8


@pytest.mark.parametrize("config", [gpt2(), llama()], ids=["gpt2", "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_going_on_from_a_checkpoint_equals_never_stopping(
    config: PreTrainedConfig, dtype: torch.dtype, tmp_path: Path
) -> None:
    saved = trained(config, dtype)
    saved.save(tmp_path)
    loaded = PPO.load(tmp_path, environments())
    logs = []
    for agent in (saved, loaded):
        agent.callbacks.append(Log())
        agent.envs.reset(seed=99)
        logs.append(agent.learn(60).callbacks[-1].metrics)  # type: ignore[attr-defined]
    assert_same_parameters(saved.policy, loaded.policy)
    assert_same_parameters(saved.policy.value_head, loaded.policy.value_head)
    assert logs[0] == logs[1]
    assert len(logs[0]) == 3


def test_saving_changes_nothing(tmp_path: Path) -> None:
    plain, saving = trained(gpt2()), trained(gpt2())
    saving.save(tmp_path)
    for agent in (plain, saving):
        agent.envs.reset(seed=99)
        agent.learn(36)
    assert_same_parameters(plain.policy, saving.policy)


def test_a_checkpoint_can_be_saved_over_the_one_it_was_loaded_from(tmp_path: Path) -> None:
    saved = trained(gpt2())
    saved.save(tmp_path)
    loaded = PPO.load(tmp_path, environments()).learn(36)
    loaded.save(tmp_path)
    again = PPO.load(tmp_path, environments())
    assert again.n_updates == 3
    assert_same_parameters(loaded.policy, again.policy)
    assert_same_parameters(saved.reference, again.reference)


def test_policy_and_reference_are_plain_models(tmp_path: Path) -> None:
    saved = trained(gpt2())
    saved.save(tmp_path)
    input_ids = torch.tensor([[1, 2, 3]])
    for name, policy in (("policy", saved.policy), ("reference", saved.reference)):
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / name)
        assert torch.equal(plain(input_ids).logits, policy.model(input_ids).logits)


def test_callbacks_are_given_to_load(tmp_path: Path) -> None:
    trained(gpt2()).save(tmp_path)
    log = Log()
    PPO.load(tmp_path, environments(), callbacks=(log,)).learn(36)
    assert len(log.metrics) == 1


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a checkpoint must not run code",))


def test_nothing_but_tensors_and_plain_values_is_unpickled(tmp_path: Path) -> None:
    trained(gpt2()).save(tmp_path)
    torch.save({"optimizer": Malicious()}, tmp_path / "state.pt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        PPO.load(tmp_path, environments())


def test_the_description_can_be_read(tmp_path: Path) -> None:
    trained(gpt2()).save(tmp_path)
    description = json.loads((tmp_path / "agent.json").read_text(encoding="utf-8"))
    assert description["config"]["kl_target"] == 0.01
    assert description["n_updates"] == 2


def test_no_checkpoint_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"agent\.json"):
        PPO.load(tmp_path, environments())


def test_a_checkpoint_needs_environments_that_fit(tmp_path: Path) -> None:
    trained(gpt2()).save(tmp_path)
    envs = TextGenVectorEnv(
        2, autoreset_mode="Disabled", prompts="a", tokenizer=CharTokenizer("abcde")
    )
    with pytest.raises(ValueError, match=r"Discrete\(4\), got Discrete\(6\)"):
        PPO.load(tmp_path, envs)
