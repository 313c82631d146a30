"""CausalLMPolicy against the model's own logits, for several architectures, saved and loaded."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    PreTrainedConfig,
)
from transformers.activations import NewGELUActivation

from agents.policy.action_masks import ActionMasks
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.model.pretrained import fuse_activations
from agents.policy.token_batch import TokenBatch
from agents.policy.value_files import VALUE_HEAD_FILE
from tests import gguf_files

V, L = 9, 12
SIZES = {
    "vocab_size": V,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": L,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}


def gpt2(**changes: object) -> GPT2Config:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": L, "initializer_range": 0.4}
    return GPT2Config(vocab_size=V, bos_token_id=0, eos_token_id=0, **(sizes | changes))


def llama(**changes: object) -> LlamaConfig:
    return LlamaConfig(**(SIZES | {"num_key_value_heads": 2, "initializer_range": 0.4} | changes))


def neox(**changes: object) -> GPTNeoXConfig:
    return GPTNeoXConfig(**(SIZES | {"initializer_range": 0.4} | changes))


ARCHITECTURES = [gpt2, llama, neox]
every_architecture = pytest.mark.parametrize(
    "config", ARCHITECTURES, ids=lambda make: make.__name__
)


def policy_of(config: PreTrainedConfig, temperature: float = 1.0, seed: int = 0) -> CausalLMPolicy:
    """A float64 policy whose value head is not zero."""
    policy = CausalLMPolicy.from_config(config, seed=seed, temperature=temperature).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        policy.value_head.weight.copy_(torch.randn(1, 16, generator=generator))
        policy.value_head.bias.fill_(0.5)
    return policy


def texts_of(
    rows: list[list[int]], prompt_lengths: list[int], masks: Tensor | None = None
) -> TokenBatch:
    """Pads `rows`; `masks` (B, T, V) bool."""
    width = max(map(len, rows))
    input_ids = torch.zeros(len(rows), width, dtype=torch.long)
    attention_mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        input_ids[i, : len(row)] = torch.tensor(row)
        attention_mask[i, : len(row)] = True
    chosen = attention_mask & (torch.arange(width) >= torch.tensor(prompt_lengths)[:, None])
    if masks is None:
        return TokenBatch(input_ids, attention_mask, chosen)
    index = torch.arange(len(rows) * width).reshape(len(rows), width)
    return TokenBatch(input_ids, attention_mask, chosen, ActionMasks(masks.reshape(-1, V), index))


ROWS = [[1, 2, 3, 4, 5, 6, 0], [7, 8, 0], [3, 3, 3, 3, 1]]
PROMPTS = [3, 1, 4]


# Numbers against the model's own


@every_architecture
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_statistics_are_those_of_the_models_own_logits(
    config: Callable[..., PreTrainedConfig], temperature: float
) -> None:
    policy = policy_of(config(), temperature)
    with torch.no_grad():
        statistics = policy(texts_of(ROWS, PROMPTS))
    for row, (tokens, prompt) in enumerate(zip(ROWS, PROMPTS, strict=True)):
        output = policy.model(input_ids=torch.tensor([tokens]), output_hidden_states=True)
        log_probabilities = torch.log_softmax(output.logits[0] / temperature, dim=-1)
        values = policy.value_head(output.hidden_states[-1][0]).squeeze(-1)
        for t in range(7):
            if not prompt <= t < len(tokens):
                assert all(part[row, t] == 0 for part in statistics[:3])
                continue
            said = log_probabilities[t - 1]
            assert statistics.log_probs[row, t] == pytest.approx(said[tokens[t]].item(), abs=1e-12)
            entropy = -(said.exp() * said).sum().item()
            assert statistics.entropies[row, t] == pytest.approx(entropy, abs=1e-12)
            assert statistics.values[row, t] == pytest.approx(values[t - 1].item(), abs=1e-12)
        assert statistics.bootstrap_values[row] == pytest.approx(values[-1].item(), abs=1e-12)


@every_architecture
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_padding_does_not_matter(
    config: Callable[..., PreTrainedConfig], dtype: torch.dtype, tolerance: float
) -> None:
    policy = policy_of(config()).to(dtype)
    together = policy(texts_of(ROWS, PROMPTS))
    for row, (tokens, prompt) in enumerate(zip(ROWS, PROMPTS, strict=True)):
        alone = policy(texts_of([tokens], [prompt]))
        for part, single in zip(together[:3], alone[:3], strict=True):
            assert_close(part[row : row + 1, : len(tokens)], single, rtol=0, atol=tolerance)
        assert_close(
            together.bootstrap_values[row : row + 1], alone.bootstrap_values, rtol=0, atol=tolerance
        )


def test_what_stands_in_the_padding_does_not_matter() -> None:
    policy, texts = policy_of(gpt2()), texts_of(ROWS, PROMPTS)
    rubbish = torch.where(texts.attention_mask, texts.input_ids, 5)
    for one, other in zip(policy(texts), policy(texts._replace(input_ids=rubbish)), strict=True):
        assert_close(one, other, rtol=0, atol=1e-12)


def test_chosen_positions_may_have_gaps() -> None:
    policy, texts = policy_of(gpt2()), texts_of(ROWS[:1], PROMPTS[:1])
    gaps = texts.completion_mask.clone()
    gaps[0, 4] = False
    expected, actual = policy(texts), policy(texts._replace(completion_mask=gaps))
    assert_close(actual.log_probs, torch.where(gaps, expected.log_probs, 0), rtol=0, atol=1e-12)
    assert_close(actual.bootstrap_values, expected.bootstrap_values, rtol=0, atol=1e-12)


@every_architecture
def test_probabilities_of_all_texts_sum_to_one(config: Callable[..., PreTrainedConfig]) -> None:
    policy = policy_of(config())
    rows = [[4, a, b] for a in range(V) for b in range(V)]
    log_probs = policy(texts_of(rows, [1] * len(rows))).log_probs.sum(dim=1)
    assert log_probs.exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_gradient_reaches_every_parameter() -> None:
    policy = policy_of(gpt2())
    statistics = policy(texts_of(ROWS, PROMPTS))
    (statistics.log_probs.sum() + statistics.values.sum()).backward()
    assert all(parameter.grad is not None for parameter in policy.parameters())


# Action masks


@given(seed=st.integers(0, 1_000))
@settings(max_examples=20)
def test_action_masks_renormalise(seed: int) -> None:
    policy = policy_of(gpt2(), temperature=0.8)
    masks = torch.rand(3, 7, V, generator=torch.Generator().manual_seed(seed)) < 0.5
    unmasked = texts_of(ROWS, PROMPTS)
    masks.scatter_(-1, unmasked.input_ids[..., None], True)
    statistics = policy(texts_of(ROWS, PROMPTS, masks))
    logits = policy.model(unmasked.input_ids, attention_mask=unmasked.attention_mask.long()).logits
    excluded = (logits[:, :-1] / 0.8).masked_fill(~masks[:, 1:], -math.inf)
    said = excluded.log_softmax(-1)
    chosen = unmasked.completion_mask[:, 1:]
    expected = said.gather(-1, unmasked.input_ids[:, 1:, None]).squeeze(-1)
    assert_close(statistics.log_probs[:, 1:][chosen], expected[chosen], rtol=0, atol=1e-12)
    entropies = -torch.where(masks[:, 1:], said.exp() * said, 0).sum(-1)
    assert_close(statistics.entropies[:, 1:][chosen], entropies[chosen], rtol=0, atol=1e-12)


# Construction


@every_architecture
def test_values_are_zero_at_first(config: Callable[..., PreTrainedConfig]) -> None:
    statistics = CausalLMPolicy.from_config(config())(texts_of(ROWS, PROMPTS))
    assert not statistics.values.any()
    assert not statistics.bootstrap_values.any()


def test_vocabulary_and_positions_are_the_models() -> None:
    policy = CausalLMPolicy.from_config(llama())
    assert (policy.vocab_size, policy.max_length) == (V, L)


def test_initialisation_is_a_function_of_the_seed_alone() -> None:
    before = torch.get_rng_state()
    one = CausalLMPolicy.from_config(gpt2(), seed=3)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    same, other = (CausalLMPolicy.from_config(gpt2(), seed=seed) for seed in (3, 4))
    assert_same_parameters(one, same)
    assert not torch.equal(
        one.head.weight,
        other.head.weight,
    )


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_temperature_must_be_above_0(temperature: float) -> None:
    with pytest.raises(ValueError, match=f"temperature must be above 0, got {temperature}"):
        CausalLMPolicy.from_config(gpt2(), temperature=temperature)


def test_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dropouts at 0, got .*'resid_pdrop': 0.1"):
        CausalLMPolicy(GPT2LMHeadModel(gpt2()))


def test_dropout_is_switched_off_and_stays_off(tmp_path: Path) -> None:
    GPT2LMHeadModel(gpt2(attn_pdrop=0.5)).save_pretrained(tmp_path)
    for policy in (CausalLMPolicy.from_config(gpt2()), CausalLMPolicy.from_pretrained(tmp_path)):
        policy.train()
        texts = texts_of(ROWS, PROMPTS)
        assert torch.equal(policy(texts).log_probs, policy(texts).log_probs)
        assert policy.model.config.attn_pdrop == 0


def test_the_callers_config_keeps_its_dropout() -> None:
    config = gpt2()
    CausalLMPolicy.from_config(config)
    assert config.resid_pdrop == 0.1


@pytest.mark.parametrize(
    "config",
    [
        CohereConfig(**SIZES, num_key_value_heads=2, logit_scale=0.25),
        GraniteConfig(**SIZES, num_key_value_heads=2, logits_scaling=8.0),
        Gemma2Config(**SIZES, num_key_value_heads=2, head_dim=4),
    ],
    ids=["logit_scale", "logits_scaling", "final_logit_softcapping"],
)
def test_models_that_change_their_logits_are_refused(config: PreTrainedConfig) -> None:
    with pytest.raises(
        ValueError, match=r"output layer times last hidden state, got \w+ForCausalLM"
    ):
        CausalLMPolicy.from_config(config)


def test_the_check_of_the_output_layer_leaves_nothing_behind() -> None:
    model = AutoModelForCausalLM.from_config(
        gpt2(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, summary_first_dropout=0.0)
    ).eval()
    input_ids = torch.tensor([[1, 2, 3]])
    before = model(input_ids).logits
    CausalLMPolicy(model)
    assert_close(model(input_ids).logits, before, rtol=0, atol=1e-6)


def test_a_frozen_copy_stays_behind() -> None:
    policy = policy_of(gpt2())
    frozen = policy.frozen_copy()
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert all(parameter.requires_grad for parameter in policy.parameters())
    texts = texts_of(ROWS, PROMPTS)
    before = frozen(texts).log_probs
    assert torch.equal(before, policy(texts).log_probs)
    with torch.no_grad():
        policy.head.weight += torch.randn(V, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(before, frozen(texts).log_probs)
    assert not torch.equal(before, policy(texts).log_probs)


# Saving and loading


def assert_same_parameters(one: torch.nn.Module, other: torch.nn.Module) -> None:
    pairs = list(zip(one.named_parameters(), other.named_parameters(), strict=True))
    assert pairs
    for (name, parameter), (other_name, other_parameter) in pairs:
        assert name == other_name
        assert torch.equal(parameter, other_parameter), name


@every_architecture
@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_policy_loads_as_a_plain_model(
    config: Callable[..., PreTrainedConfig], tied: bool, tmp_path: Path
) -> None:
    policy = policy_of(config(tie_word_embeddings=tied)).float()
    policy.save_pretrained(tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    input_ids = torch.tensor([[1, 2, 3]])
    assert_close(plain(input_ids).logits, policy.model(input_ids).logits, rtol=0, atol=1e-6)
    assert tied == (policy.head.weight is policy.model.get_input_embeddings().weight)


@every_architecture
def test_a_saved_policy_loads_with_its_value_head(
    config: Callable[..., PreTrainedConfig], tmp_path: Path
) -> None:
    policy = policy_of(config()).float()
    policy.save_pretrained(tmp_path)
    loaded = CausalLMPolicy.from_pretrained(tmp_path)
    assert_same_parameters(policy, loaded)
    loaded.save_pretrained(tmp_path)  # over the files it was read from
    assert_same_parameters(policy, CausalLMPolicy.from_pretrained(tmp_path))


def test_float64_is_loaded_where_asked_for(tmp_path: Path) -> None:
    policy = policy_of(gpt2())
    policy.save_pretrained(tmp_path)
    assert_same_parameters(policy, CausalLMPolicy.from_pretrained(tmp_path, dtype=torch.float64))
    assert CausalLMPolicy.from_pretrained(tmp_path).value_head.weight.dtype == torch.float32


def test_a_folder_without_value_head_gives_zero_values(tmp_path: Path) -> None:
    policy = policy_of(gpt2()).float()
    policy.save_pretrained(tmp_path)
    (tmp_path / VALUE_HEAD_FILE).unlink()
    loaded = CausalLMPolicy.from_pretrained(tmp_path)
    assert not loaded.value_head.weight.any()
    assert torch.equal(loaded.head.weight, policy.head.weight)


def test_temperature_of_a_loaded_policy_is_the_one_given(tmp_path: Path) -> None:
    policy = policy_of(gpt2(), temperature=0.5).float()
    policy.save_pretrained(tmp_path)
    loaded = CausalLMPolicy.from_pretrained(tmp_path, temperature=0.5)
    texts = texts_of(ROWS, PROMPTS)
    assert torch.equal(policy(texts).log_probs, loaded(texts).log_probs)


def test_loading_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    policy_of(gpt2()).save_pretrained(tmp_path)
    before = torch.get_rng_state()
    CausalLMPolicy.from_pretrained(tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_no_model_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        CausalLMPolicy.from_pretrained(tmp_path / "nowhere")


def interleaved(weight: np.ndarray, n_heads: int) -> np.ndarray:
    """Orders the rows of a rotary projection as llama.cpp does: pairs beside each other."""
    halves = weight.reshape(n_heads, 2, weight.shape[0] // n_heads // 2, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def write_gguf(model: torch.nn.Module, path: Path) -> None:
    """Writes a Llama model, unquantised and without a vocabulary."""
    config: Any = model.config
    writer = gguf_files.begun(config, path)
    for name, parameter in model.state_dict().items():
        weight = parameter.float().numpy()
        if "q_proj" in name:
            weight = interleaved(weight, config.num_attention_heads)
        if "k_proj" in name:
            weight = interleaved(weight, config.num_key_value_heads)
        writer.add_tensor(gguf_files.named(name), weight)
    gguf_files.finish(writer)


def test_a_gguf_file_loads_as_an_ordinary_model(tmp_path: Path) -> None:
    policy = policy_of(llama()).float()
    write_gguf(policy.model, tmp_path / "tiny.gguf")
    loaded = CausalLMPolicy.from_pretrained(tmp_path / "tiny.gguf")
    texts = texts_of(ROWS, PROMPTS)
    assert_close(loaded(texts).log_probs, policy(texts).log_probs, rtol=0, atol=1e-5)
    loaded(texts).log_probs.sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.trunk.parameters())
    loaded.save_pretrained(tmp_path / "folder")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "folder")
    logits = loaded.model(texts.input_ids).logits
    assert_close(plain(texts.input_ids).logits, logits, rtol=0, atol=1e-6)


def test_fused_activations_compute_what_the_librarys_do() -> None:
    config = GPT2Config(vocab_size=9, n_embd=16, n_layer=2, n_head=2, n_positions=8)
    config.bos_token_id = config.eos_token_id = 0
    plain = AutoModelForCausalLM.from_config(config).eval()
    fused = copy.deepcopy(plain)
    fuse_activations(fused)
    kinds = {type(part) for part in fused.modules()}
    assert NewGELUActivation not in kinds
    assert torch.nn.GELU in kinds
    input_ids = torch.arange(8)[None]
    assert_close(fused(input_ids).logits, plain(input_ids).logits, rtol=0, atol=1e-6)
    assert fused.state_dict().keys() == plain.state_dict().keys()
