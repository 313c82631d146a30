"""What is saved is what was trained: for every option, every adapter, and over what lay there."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model, inject_adapter_in_model
from peft.utils.warning import PeftWarning
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.policy.model import lora
from agents.policy.token_batch import TokenBatch
from agents.reward_models.network import RewardNetwork

V, L = 5, 12
LORA = PolicyConfig(lora_rank=2)
EXACT: dict[str, PolicyConfig] = {
    "nothing": PolicyConfig(),
    "temperature": PolicyConfig(temperature=0.5),
    "float64": PolicyConfig(dtype="float64"),
    "bfloat16": PolicyConfig(dtype="bfloat16"),
    "autocast": PolicyConfig(autocast="bfloat16"),
    "separate": PolicyConfig(value_network="separate"),
    "separate in bfloat16": PolicyConfig(value_network="separate", dtype="bfloat16"),
    "no values": PolicyConfig(value_network="none"),
    "action values": PolicyConfig(action_values=True),
    "separate action values": PolicyConfig(action_values=True, value_network="separate"),
    "frozen": PolicyConfig(frozen_blocks=1),
    "frozen and separate": PolicyConfig(frozen_blocks=2, value_network="separate"),
    "checkpointing": PolicyConfig(gradient_checkpointing=True),
    "to be shared out": PolicyConfig(sharded=True),
}
"""Options under which the very parameters that learn are saved."""
MERGED: dict[str, PolicyConfig] = {
    "lora": LORA,
    "lora, otherwise": PolicyConfig(
        lora_rank=3, lora_alpha=2, lora_seed=5, lora_targets=("c_attn", "q_proj", "down_proj")
    ),
    "lora and separate": dataclasses.replace(LORA, value_network="separate"),
    "lora above frozen blocks": dataclasses.replace(LORA, frozen_blocks=1),
    "lora and checkpointing": dataclasses.replace(LORA, gradient_checkpointing=True),
    "lora in float64": dataclasses.replace(LORA, dtype="float64"),
    "lora in bfloat16": dataclasses.replace(LORA, dtype="bfloat16"),
    "lora under autocast": dataclasses.replace(LORA, autocast="bfloat16"),
    "lora, without values": dataclasses.replace(LORA, value_network="none"),
    "lora, action values": dataclasses.replace(LORA, action_values=True),
}
"""Options under which adapters are merged, which rounds to the dtype of the weights."""
TEXTS = TokenBatch(
    input_ids=torch.tensor([[1, 2, 3, 1, 2, 0], [3, 1, 0, 0, 0, 0], [2, 2, 1, 4, 0, 0]]),
    attention_mask=torch.arange(6) < torch.tensor([6, 3, 5])[:, None],
    completion_mask=(torch.arange(6) < torch.tensor([6, 3, 5])[:, None]) & (torch.arange(6) >= 2),
)


def gpt2() -> GPT2Config:
    sizes = {"vocab_size": V, "n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": L}
    return GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, initializer_range=0.2)


def llama() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=V,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=L,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.2,
    )


every_architecture = pytest.mark.parametrize("config", [gpt2, llama], ids=["gpt2", "llama"])


def teach(policy: CausalLMPolicy) -> None:
    """Moves every parameter that learns by a step of its own."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in policy.trainable_parameters().values():
            part += 0.1 * torch.randn(part.shape, generator=generator).to(part)


@torch.no_grad()
def said(policy: CausalLMPolicy) -> dict[str, Tensor]:
    """All that a policy says of some texts."""
    parts = policy(TEXTS, distributions=True)._asdict()
    return {name: part for name, part in parts.items() if part is not None}


def saved_and_loaded(
    policy: CausalLMPolicy, folder: Path, options: PolicyConfig | None = None
) -> dict[str, Tensor]:
    """What a policy says that was loaded from where another was saved; that one is not touched."""
    before = {name: part.detach().clone() for name, part in policy.named_parameters()}
    policy.save_pretrained(folder)
    assert all(torch.equal(part, before[name]) for name, part in policy.named_parameters())
    plain = AutoModelForCausalLM.from_pretrained(folder)
    assert type(plain) is type(policy.model)
    assert not lora.adapted_layers(plain)
    return said(CausalLMPolicy.from_pretrained(folder, options))


# Every option


def test_every_option_is_among_those_tried() -> None:
    defaults, tried = PolicyConfig(), [*EXACT.values(), *MERGED.values()]
    for field in dataclasses.fields(PolicyConfig):
        default = getattr(defaults, field.name)
        assert any(getattr(options, field.name) != default for options in tried), field.name


@every_architecture
@pytest.mark.parametrize("options", EXACT.values(), ids=EXACT)
def test_a_policy_loads_as_it_was_saved(
    config: Callable[[], PreTrainedConfig], options: PolicyConfig, tmp_path: Path
) -> None:
    policy = CausalLMPolicy.from_config(config(), options)
    teach(policy)
    assert_close(saved_and_loaded(policy, tmp_path, options), said(policy), rtol=0, atol=0)


@every_architecture
@pytest.mark.parametrize("options", MERGED.values(), ids=MERGED)
def test_a_policy_with_adapters_loads_as_it_was_saved_to_rounding(
    config: Callable[[], PreTrainedConfig], options: PolicyConfig, tmp_path: Path
) -> None:
    policy = CausalLMPolicy.from_config(config(), options)
    teach(policy)
    rounds_to = options.autocast or options.dtype
    atol = 30 * torch.finfo(getattr(torch, rounds_to)).eps
    assert_close(saved_and_loaded(policy, tmp_path, options), said(policy), rtol=0, atol=atol)


def test_action_values_are_loaded_as_such_or_refused(tmp_path: Path) -> None:
    options = PolicyConfig(action_values=True)
    CausalLMPolicy.from_config(gpt2(), options).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"action_values must be as saved: .* gives 1 .*\(5, 16\)"):
        CausalLMPolicy.from_pretrained(tmp_path)


def test_whoever_wants_no_values_gets_none(tmp_path: Path) -> None:
    options = PolicyConfig(value_network="separate")
    CausalLMPolicy.from_config(gpt2(), options).save_pretrained(tmp_path)
    loaded = CausalLMPolicy.from_pretrained(tmp_path, PolicyConfig(value_network="none"))
    assert loaded.value_trunk is None
    assert loaded.value_head is None


# What lay there before


@pytest.mark.parametrize("before", [PolicyConfig(value_network="separate"), LORA])
@pytest.mark.parametrize("after", [PolicyConfig(), PolicyConfig(value_network="none")])
def test_what_was_saved_last_is_what_is_loaded(
    before: PolicyConfig, after: PolicyConfig, tmp_path: Path
) -> None:
    earlier = CausalLMPolicy.from_config(gpt2(), before, seed=1)
    teach(earlier)
    earlier.save_pretrained(tmp_path)
    policy = CausalLMPolicy.from_config(gpt2(), after)
    teach(policy)
    assert_close(saved_and_loaded(policy, tmp_path, after), said(policy), rtol=0, atol=0)
    files = {path.name for path in tmp_path.iterdir()}
    alone = tmp_path / "alone"
    policy.save_pretrained(alone)
    assert files == {path.name for path in alone.iterdir()}


def test_an_adapter_that_lay_there_is_not_applied_again(tmp_path: Path) -> None:
    policy = CausalLMPolicy.from_pretrained(folder_with_adapter(tmp_path))
    teach(policy)
    assert_close(saved_and_loaded(policy, tmp_path), said(policy), rtol=0, atol=1e-5)
    assert not list(tmp_path.glob("adapter*"))


# Adapters that a model brings


def new_model(config: PreTrainedConfig) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(without_dropout(config))


def without_dropout(config: PreTrainedConfig) -> PreTrainedConfig:
    for name in ("attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_first_dropout"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    return config


def adapted(config: PreTrainedConfig, **changes: Any) -> PreTrainedModel:
    is_gpt2 = isinstance(config, GPT2Config)
    targets = ["c_attn"] if is_gpt2 else ["q_proj", "v_proj"]
    settings = {"r": 2, "target_modules": targets, "fan_in_fan_out": is_gpt2} | changes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PeftWarning)  # that lora_bias may be impossible to merge
        return inject_adapter_in_model(LoraConfig(**settings), new_model(config))


def peft_model() -> PeftModel:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of transformers, to peft
        return get_peft_model(new_model(llama()), LoraConfig(target_modules=["q_proj"]))


def folder_with_adapter(folder: Path) -> Path:
    """A model, and beside it an adapter that changes it."""
    model = new_model(llama())
    model.save_pretrained(folder)
    model.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    model.save_pretrained(folder)
    assert {"adapter_config.json", "config.json"} <= {path.name for path in folder.iterdir()}
    return folder


FORMS: dict[str, tuple[Callable[[], PreTrainedConfig], dict[str, Any]]] = {
    "plain": (llama, {}),
    "rank-stabilised": (llama, {"use_rslora": True}),
    "dropout": (llama, {"lora_dropout": 0.5}),
    "dora": (llama, {"use_dora": True}),
    "dora on gpt2": (gpt2, {"use_dora": True}),
    "lora_bias": (gpt2, {"lora_bias": True}),
    "all biases": (gpt2, {"bias": "all"}),
}


@pytest.mark.parametrize("values", ["shared", "separate"])
@pytest.mark.parametrize(("config", "changes"), FORMS.values(), ids=FORMS)
def test_adapters_that_a_model_brings_learn_and_are_merged_when_it_is_saved(
    config: Callable[[], PreTrainedConfig], changes: dict[str, Any], values: Any, tmp_path: Path
) -> None:
    policy = CausalLMPolicy(adapted(config(), **changes), PolicyConfig(value_network=values))
    before = said(policy)
    teach(policy)
    assert not torch.equal(said(policy)["distributions"], before["distributions"])
    learning = policy.trainable_parameters()
    assert all(any(part in name for part in ("lora_", "bias", "value_")) for name in learning)
    assert_close(saved_and_loaded(policy, tmp_path), said(policy), rtol=0, atol=1e-5)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = TEXTS.input_ids
    assert_close(plain(ids).logits, policy.model(ids).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("changes", [{}, {"use_dora": True}])
def test_a_frozen_copy_of_adapters_stays_behind(changes: dict[str, Any]) -> None:
    policy = CausalLMPolicy(adapted(llama(), **changes))
    reference, before = policy.frozen_copy(), said(policy)["distributions"]
    assert torch.equal(said(reference)["distributions"], before)
    teach(policy)
    assert torch.equal(said(reference)["distributions"], before)


def test_a_frozen_copy_keeps_magnitudes_that_learnt_alone() -> None:
    policy = CausalLMPolicy(adapted(llama(), use_dora=True))
    with torch.no_grad():
        for name, part in policy.trainable_parameters().items():
            if "magnitude" in name:
                part *= 2
    assert torch.equal(said(policy.frozen_copy())["distributions"], said(policy)["distributions"])


def test_an_adapter_that_is_loaded_frozen_learns(tmp_path: Path) -> None:
    policy = CausalLMPolicy.from_pretrained(folder_with_adapter(tmp_path))
    learning = [name for name in policy.trainable_parameters() if not name.startswith("value_")]
    assert len(learning) == 2 * 2
    assert all("lora_" in name for name in learning)


def test_adapters_in_half_precision_learn_in_float32() -> None:
    policy = CausalLMPolicy(adapted(llama()).to(torch.bfloat16))
    assert {part.dtype for part in policy.trainable_parameters().values()} == {torch.float32}
    assert policy.head.weight.dtype == torch.bfloat16


def disabled(model: PreTrainedModel) -> PreTrainedModel:
    for layer in lora.adapted_layers(model):
        layer.enable_adapters(enabled=False)
    return model


def merged(model: PreTrainedModel) -> PreTrainedModel:
    for layer in lora.adapted_layers(model):
        layer.merge()
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: adapted(llama(), lora_bias=True), "adapters that can be merged: Impossible"),
        (lambda: adapted(llama(), target_modules=["embed_tokens"]), r"got peft\..*Embedding at "),
        (lambda: adapted(llama(), modules_to_save=["norm"]), "got peft.*ModulesToSaveWrapper at "),
        (
            lambda: inject_adapter_in_model(
                IA3Config(target_modules=["q_proj"], feedforward_modules=[]), new_model(llama())
            ),
            r"got peft\.tuners\.ia3.*Linear at model.layers.0.self_attn.q_proj",
        ),
        (lambda: disabled(adapted(llama())), "active and unmerged, got one disabled"),
        (lambda: merged(adapted(llama())), "active and unmerged, got one merged"),
        (lambda: adapted(llama(), target_modules=["lm_head"]), "as its output layer"),
        (
            peft_model,
            r"must be a PreTrainedModel, got a PeftModel; of a PeftModel give get_base_model\(\)",
        ),
    ],
)
def test_adapters_that_would_be_lost_are_refused(
    make: Callable[[], PreTrainedModel], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CausalLMPolicy(make())


def test_what_a_peft_model_is_around_is_a_policy() -> None:
    policy = CausalLMPolicy(peft_model().get_base_model())
    assert sum(".lora_" in name for name in policy.trainable_parameters()) == 2 * 2


def test_new_adapters_beside_others_are_refused() -> None:
    with pytest.raises(ValueError, match=r"lora_rank must be 0 .* brings adapters, got 2"):
        CausalLMPolicy(adapted(llama()), LORA)


def test_saving_and_loading_draw_no_bar_and_leave_others_theirs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = GPT2Config(vocab_size=V, n_embd=8, n_layer=1, n_head=1, n_positions=L)
    policy, before = CausalLMPolicy.from_config(config), logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    try:
        policy.save_pretrained(tmp_path)
        CausalLMPolicy.from_pretrained(tmp_path)
        RewardNetwork.from_pretrained(tmp_path).save_pretrained(tmp_path / "network")
        assert capsys.readouterr().err == ""
        assert logging.is_progress_bar_enabled()
        AutoModelForCausalLM.from_pretrained(tmp_path)
        assert "Loading weights" in capsys.readouterr().err
    finally:
        if not before:
            logging.disable_progress_bar()
