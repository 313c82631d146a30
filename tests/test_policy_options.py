"""What of a policy learns, what it shares, and in which precision it computes: `PolicyConfig`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import (
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
)

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.callbacks import Callback
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.policy.model import lora
from agents.policy.model.blocks import blocks_of
from agents.policy.token_batch import TokenBatch
from agents.policy.value_files import VALUE_NETWORK_FILE
from text_gym import CharTokenizer, TextGenVectorEnv

V, L = 4, 12
SEPARATE = PolicyConfig(value_network="separate")
LORA = PolicyConfig(lora_rank=2)
FROZEN = PolicyConfig(frozen_blocks=1)
CHECKPOINTING = PolicyConfig(gradient_checkpointing=True)
AUTOCAST = PolicyConfig(autocast="bfloat16")
OPTIONS = {
    "separate": SEPARATE,
    "lora": LORA,
    "lora above frozen blocks": dataclasses.replace(LORA, frozen_blocks=1),
    "lora and separate": dataclasses.replace(LORA, value_network="separate"),
    "frozen": FROZEN,
    "frozen and separate": dataclasses.replace(FROZEN, value_network="separate"),
    "checkpointing": CHECKPOINTING,
    "lora and checkpointing": dataclasses.replace(LORA, gradient_checkpointing=True),
    "autocast": AUTOCAST,
    "lora in bfloat16": PolicyConfig(lora_rank=2, dtype="bfloat16"),
}


def gpt2(**changes: Any) -> GPT2Config:
    sizes = {"vocab_size": V, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": L}
    tokens = {"bos_token_id": 0, "eos_token_id": 0}
    return GPT2Config(initializer_range=0.4, **(sizes | tokens | changes))


def llama(**changes: Any) -> LlamaConfig:
    sizes = {
        "vocab_size": V,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": L,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "tie_word_embeddings": True,
    }
    return LlamaConfig(initializer_range=0.4, **(sizes | changes))


every_architecture = pytest.mark.parametrize("config", [gpt2, llama], ids=["gpt2", "llama"])
every_option = pytest.mark.parametrize("options", list(OPTIONS.values()), ids=list(OPTIONS))


def policy_of(config: PreTrainedConfig, options: PolicyConfig | None = None) -> CausalLMPolicy:
    """A policy whose value head is not zero."""
    policy = CausalLMPolicy.from_config(config, options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        policy.value_head.weight.copy_(torch.randn(1, 16, generator=generator))
    return policy


def some_texts() -> TokenBatch:
    input_ids = torch.tensor([[1, 2, 3, 1, 2, 0], [3, 1, 0, 0, 0, 0], [2, 2, 1, 3, 0, 0]])
    attention_mask = torch.arange(6) < torch.tensor([6, 3, 5])[:, None]
    return TokenBatch(input_ids, attention_mask, attention_mask & (torch.arange(6) >= 2))


def learn_something(policy: CausalLMPolicy) -> None:
    """Takes steps on every parameter that learns."""
    optimizer = torch.optim.SGD(policy.trainable_parameters().values(), lr=0.1)
    for _ in range(2):
        statistics = policy(some_texts())
        (statistics.log_probs.sum() + statistics.values.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()


def storages(module: nn.Module) -> set[int]:
    tensors = [*module.parameters(), *module.buffers()]
    return {tensor.untyped_storage().data_ptr() for tensor in tensors}


# What all options have in common


class Log(Callback):
    """Keeps what every update logs."""

    def __init__(self) -> None:
        self.metrics: list[Mapping[str, float]] = []

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        self.metrics.append(dict(metrics))
        return True


@every_architecture
@every_option
def test_ppo_learns_with_every_option(
    config: Callable[[], PreTrainedConfig], options: PolicyConfig
) -> None:
    envs = TextGenVectorEnv(
        4,
        prompts=["a", "bcb", "cb"],
        tokenizer=CharTokenizer("abc"),
        reward_function=lambda prompt, completion: completion.count("a"),
        max_new_tokens=5,
        autoreset_mode="Disabled",
    )
    log, policy = Log(), CausalLMPolicy.from_config(config(), options)
    before = {name: part.detach().clone() for name, part in policy.named_parameters()}
    sizes = PPOConfig(n_episodes=8, batch_size=4, n_epochs=2, learning_rate=1e-2)
    PPO(policy, envs, sizes, callbacks=[log]).learn(16)
    first, second = log.metrics
    assert first["rollout/kl"] == 0
    assert second["rollout/kl"] != 0
    for metrics in log.metrics:
        assert metrics["train/first_ratio_error"] <= max(1e-5, 8 * policy.rounding)
    learning = policy.trainable_parameters()
    for name, part in policy.named_parameters():
        assert torch.equal(part, before[name]) == (name not in learning), name


@every_architecture
@every_option
def test_the_reference_shares_what_does_not_learn_and_stays_behind(
    config: Callable[[], PreTrainedConfig], options: PolicyConfig
) -> None:
    policy, texts = policy_of(config(), options), some_texts()
    reference = policy.frozen_copy()
    assert not reference.trainable_parameters()
    learning = {part.data_ptr() for part in policy.trainable_parameters().values()}
    assert storages(reference).isdisjoint(learning)
    for name, part in reference.model.named_parameters():
        shared = part.data_ptr() in storages(policy)
        original = policy.model.get_parameter(name) if not options.lora_rank else None
        assert shared == (options.lora_rank > 0 or not original.requires_grad), name
    assert {part.data_ptr() for part in reference.buffers()} <= storages(policy)
    before = reference(texts).log_probs
    assert torch.equal(before, policy(texts).log_probs)
    learn_something(policy)
    assert torch.equal(before, reference(texts).log_probs)
    assert not torch.equal(before, policy(texts).log_probs)


def test_trainable_parameters_are_named_as_they_are_found() -> None:
    policy = policy_of(gpt2())
    assert list(policy.trainable_parameters()) == [name for name, _ in policy.named_parameters()]
    assert policy.trainable_parameters()["value_head.weight"] is policy.value_head.weight


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("temperature", 0.0, "above 0"),
        ("dtype", "float16", "'float32' or 'float64' or 'bfloat16'"),
        ("autocast", "float16", "'auto' or 'bfloat16' or None"),
        ("value_network", "own", "'shared' or 'separate' or 'none'"),
        ("lora_rank", -1, "at least 0"),
        ("lora_alpha", 0, "above 0"),
        ("frozen_blocks", -1, "at least 0"),
        ("frozen_blocks", 1.0, "an int"),
        ("lora_targets", "q_proj", "a tuple, each part a str"),
    ],
)
def test_a_field_that_breaks_its_rule_is_refused(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be {rule}, got {value!r}"):
        PolicyConfig(**{field: value})


def test_arguments_of_their_own_go_before_the_options() -> None:
    options = PolicyConfig(temperature=0.5, value_network="separate")
    policy = CausalLMPolicy.from_config(gpt2(), options, temperature=0.7)
    assert policy.options == dataclasses.replace(options, temperature=0.7)
    assert policy.temperature == 0.7


def test_float64_is_made_where_asked_for() -> None:
    policy = CausalLMPolicy.from_config(gpt2(), PolicyConfig(dtype="float64"))
    assert {part.dtype for part in policy.parameters()} == {torch.float64}


# The output layer and attention


def test_an_output_layer_of_another_kind_is_refused() -> None:
    model = LlamaForCausalLM(llama())
    model.lm_head = nn.Sequential(model.lm_head)
    with pytest.raises(ValueError, match=r"nn\.Linear as its output layer, got Sequential"):
        CausalLMPolicy(model)


def test_a_model_that_looks_ahead_is_refused() -> None:
    model = LlamaForCausalLM(llama())
    model.config.is_causal = False
    for block in model.model.layers:
        block.self_attn.is_causal = False
    with pytest.raises(ValueError, match="model must be causal, got one whose hidden states"):
        CausalLMPolicy(model)


# A separate value network


@every_architecture
def test_values_of_a_separate_network_teach_the_policy_nothing(
    config: Callable[[], PreTrainedConfig],
) -> None:
    policy = policy_of(config(), SEPARATE)
    policy(some_texts()).values.sum().backward()
    assert all(part.grad is None for part in policy.model.parameters())
    assert any(part.grad is not None for part in policy.value_trunk.parameters())
    policy.zero_grad(set_to_none=True)
    policy(some_texts()).log_probs.sum().backward()
    assert all(part.grad is None for part in policy.value_trunk.parameters())
    assert any(part.grad is not None for part in policy.model.parameters())


@every_architecture
def test_a_separate_network_starts_as_the_policys_own(
    config: Callable[[], PreTrainedConfig],
) -> None:
    separate, shared = policy_of(config(), SEPARATE), policy_of(config())
    assert torch.equal(separate(some_texts()).values, shared(some_texts()).values)
    assert not CausalLMPolicy.from_config(config(), SEPARATE)(some_texts()).values.any()


def test_a_reference_has_no_values() -> None:
    policy = policy_of(gpt2(), SEPARATE)
    reference = policy.frozen_copy()
    assert reference.value_trunk is None
    assert reference.value_head is None
    assert reference(some_texts()).values is None
    assert policy.value_head.weight.any()


def test_a_folder_with_a_value_network_gives_a_policy_with_one(tmp_path: Path) -> None:
    policy = policy_of(gpt2(), SEPARATE)
    learn_something(policy)
    policy.save_pretrained(tmp_path)
    loaded = CausalLMPolicy.from_pretrained(tmp_path)
    assert loaded.options == SEPARATE
    assert torch.equal(loaded(some_texts()).values, policy(some_texts()).values)
    (tmp_path / VALUE_NETWORK_FILE).unlink()
    assert CausalLMPolicy.from_pretrained(tmp_path).value_trunk is None


def test_a_value_network_shares_what_does_not_learn() -> None:
    policy = policy_of(gpt2(), dataclasses.replace(LORA, value_network="separate"))
    own = {part.data_ptr() for part in policy.value_trunk.parameters()} - storages(policy.model)
    learning = [part for part in policy.value_trunk.parameters() if part.requires_grad]
    assert own == {part.data_ptr() for part in learning}
    assert len(learning) == 2 * 2 * 4


# Frozen blocks


@every_architecture
def test_blocks_above_the_frozen_ones_learn(config: Callable[..., PreTrainedConfig]) -> None:
    policy = policy_of(config(tie_word_embeddings=False), FROZEN)
    lower, upper = blocks_of(policy.model)
    assert not any(part.requires_grad for part in lower.parameters())
    assert all(part.requires_grad for part in upper.parameters())
    assert not policy.model.get_input_embeddings().weight.requires_grad
    assert policy.head.weight.requires_grad
    statistics = policy(some_texts())
    (statistics.log_probs.sum() + statistics.values.sum()).backward()
    for name, part in policy.named_parameters():
        assert (part.grad is not None) == part.requires_grad, name


def test_a_tied_output_layer_does_not_learn_with_frozen_embeddings() -> None:
    assert not policy_of(gpt2(), FROZEN).head.weight.requires_grad


def test_more_frozen_blocks_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"frozen_blocks must be at most 2, .* got 3"):
        policy_of(gpt2(), PolicyConfig(frozen_blocks=3))


# Gradient checkpointing


def gradients(policy: CausalLMPolicy) -> dict[str, Tensor]:
    policy = policy.double()
    statistics = policy(some_texts())
    (statistics.log_probs.sum() + statistics.entropies.sum() + statistics.values.sum()).backward()
    return {name: part.grad for name, part in policy.trainable_parameters().items()}


@every_architecture
@pytest.mark.parametrize("options", [PolicyConfig(), SEPARATE, LORA, FROZEN])
def test_recomputed_activations_give_the_same_gradients(
    config: Callable[[], PreTrainedConfig], options: PolicyConfig
) -> None:
    kept = gradients(policy_of(config(), options))
    checkpointing = dataclasses.replace(options, gradient_checkpointing=True)
    assert_close(gradients(policy_of(config(), checkpointing)), kept, rtol=0, atol=1e-12)


def saved_elements(policy: CausalLMPolicy) -> int:
    """Returns how many numbers autograd keeps from a forward pass, parameters left out."""
    own, kept = storages(policy), {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        statistics = policy(some_texts())
    assert statistics.log_probs.requires_grad
    return sum(kept.values())


@every_architecture
def test_recomputed_activations_are_not_kept(config: Callable[..., PreTrainedConfig]) -> None:
    deep = config(num_hidden_layers=8) if config is llama else config(n_layer=8)
    kept = saved_elements(policy_of(deep))
    assert saved_elements(policy_of(deep, CHECKPOINTING)) < 0.25 * kept


def test_checkpointing_leaves_the_blocks_as_they_were() -> None:
    policy = policy_of(gpt2(), CHECKPOINTING)
    policy(some_texts())
    assert not any("forward" in vars(block) for block in blocks_of(policy.model))
    assert not policy.model.training


# LoRA


@every_architecture
def test_only_adapters_and_the_value_head_learn(config: Callable[[], PreTrainedConfig]) -> None:
    names = set(policy_of(config(), LORA).trainable_parameters())
    assert {"value_head.weight", "value_head.bias"} < names
    assert all(".lora_A." in name or ".lora_B." in name for name in names if "value" not in name)
    n_layers = 2 * (4 if config is gpt2 else 7)
    assert len(names) == 2 * n_layers + 2


@every_architecture
def test_a_fresh_adapter_changes_nothing(config: Callable[[], PreTrainedConfig]) -> None:
    assert torch.equal(
        policy_of(config(), LORA)(some_texts()).log_probs,
        policy_of(config())(some_texts()).log_probs,
    )


def test_a_fresh_reference_is_the_model_without_adapters() -> None:
    policy = policy_of(gpt2(), LORA)
    assert lora.adapted_layers(policy)
    assert not lora.adapted_layers(policy.frozen_copy())


def test_a_trained_reference_keeps_its_adapters() -> None:
    policy = policy_of(gpt2(), LORA)
    learn_something(policy)
    reference, texts = policy.frozen_copy(), some_texts()
    before = policy(texts).log_probs
    assert torch.equal(reference(texts).log_probs, before)
    learn_something(policy)
    assert torch.equal(reference(texts).log_probs, before)
    assert not torch.equal(policy(texts).log_probs, before)
    learning = {part.data_ptr() for part in policy.trainable_parameters().values()}
    fixed = {part.data_ptr() for part in policy.parameters()} - learning
    assert fixed < storages(reference)


@every_architecture
def test_adapters_may_be_left_out_of_what_is_saved(
    config: Callable[[], PreTrainedConfig], tmp_path: Path
) -> None:
    options = dataclasses.replace(LORA, value_network="separate")
    policy = policy_of(config(), options)
    learn_something(policy)
    policy.save_pretrained(tmp_path, merge=False)
    loaded = CausalLMPolicy.from_pretrained(tmp_path, options)
    learnt = policy.trainable_parameters()
    assert list(loaded.trainable_parameters()) == list(learnt)
    with torch.no_grad():
        for name, part in loaded.trainable_parameters().items():
            part.copy_(learnt[name])
    assert_close(loaded(some_texts()), policy(some_texts()), rtol=0, atol=0)


def test_adapters_are_a_function_of_their_seed() -> None:
    before = torch.get_rng_state()
    one, same, other = (
        policy_of(gpt2(), dataclasses.replace(LORA, lora_seed=seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.get_rng_state())
    for name, part in one.trainable_parameters().items():
        assert torch.equal(part, same.trainable_parameters()[name])
        if ".lora_A." in name:
            assert not torch.equal(part, other.trainable_parameters()[name])


def test_adapters_learn_in_float32() -> None:
    policy = policy_of(gpt2(), PolicyConfig(lora_rank=2, dtype="bfloat16"))
    assert {part.dtype for part in policy.trainable_parameters().values()} == {torch.float32}
    assert policy.head.weight.dtype == torch.bfloat16


def test_targets_are_names_or_their_ends() -> None:
    policy = policy_of(gpt2(), dataclasses.replace(LORA, lora_targets=("attn.c_proj", "c_fc")))
    adapted = {name for name, part in policy.model.named_modules() if hasattr(part, "lora_A")}
    blocks = [f"transformer.h.{number}" for number in range(2)]
    assert adapted == {f"{block}.{end}" for block in blocks for end in ("attn.c_proj", "mlp.c_fc")}


def test_frozen_blocks_get_no_adapters() -> None:
    policy = policy_of(gpt2(), dataclasses.replace(LORA, frozen_blocks=1))
    lower, upper = blocks_of(policy.model)
    assert not lora.adapted_layers(lower)
    assert len(lora.adapted_layers(upper)) == 4


@pytest.mark.parametrize("targets", [("lm_head",), ("q_proj",)])
def test_targets_that_leave_nothing_to_adapt_are_refused(targets: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="lora_targets must name linear layers"):
        policy_of(gpt2(), dataclasses.replace(LORA, lora_targets=targets))


def test_without_peft_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"pip install 'text-gym\[lora\]'"):
        policy_of(gpt2(), LORA)


# bfloat16


@every_architecture
def test_autocast_rounds_every_forward_pass_alike(config: Callable[[], PreTrainedConfig]) -> None:
    policy, exact, texts = policy_of(config(), AUTOCAST), policy_of(config()), some_texts()
    statistics = policy(texts)
    assert all(part.dtype == torch.float32 for part in statistics if part is not None)
    assert_close(statistics.log_probs, exact(texts).log_probs, rtol=0.1, atol=0.1)
    assert not torch.equal(statistics.log_probs, exact(texts).log_probs)
    hidden = policy.hidden_states(texts.input_ids, torch.ones_like(texts.input_ids))
    logits = policy.logits(hidden[:, :-1].flatten(0, 1)).view(3, 5, V)
    said = logits.log_softmax(-1).gather(-1, texts.input_ids[:, 1:, None]).squeeze(-1)
    chosen = texts.completion_mask[:, 1:]
    assert_close(statistics.log_probs[:, 1:][chosen], said[chosen], rtol=0, atol=1e-6)


def test_autocast_widens_the_rounding_by_the_spread_of_the_logits() -> None:
    policy, exact = policy_of(gpt2(), AUTOCAST), policy_of(gpt2())
    logits = exact.model(torch.tensor([[0, 0], [0, 1]])).logits
    wider = torch.finfo(torch.bfloat16).eps * logits.std(dim=-1).max().item()
    assert policy.rounding - exact.rounding == pytest.approx(wider, rel=1e-4)


def test_the_output_layer_stays_out_of_autocast() -> None:
    policy = policy_of(gpt2(), AUTOCAST)
    hidden = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    with policy.autocasting():
        logits = policy.logits(hidden)
    assert torch.equal(logits, hidden @ policy.head.weight.T)


def test_inside_one_autocast_numbers_are_the_same() -> None:
    policy, texts = policy_of(gpt2(), AUTOCAST), some_texts()
    with torch.no_grad():
        alone = policy(texts)
        with policy.autocasting():
            together = policy(texts)
    assert_close(alone, together, rtol=0, atol=0)
