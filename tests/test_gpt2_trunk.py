"""GPT-2 read whole without the library's calls: the bits of the module's own forward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.testing import assert_close
from transformers import GPT2Config, LlamaConfig
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2Attention, GPT2Block

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.policy.model import gpt2_trunk
from agents.policy.model.blocks import recomputed
from agents.rollout.decoding.decoder import Decoder
from agents.rollout.decoding.gpt2_backend import GPT2Backend

V, B, T = 11, 5, 7
EVERYWHERE = torch.arange(B * T)
SOME = torch.tensor([2, 3, 9, 20, 34])


def gpt2(options: PolicyConfig | None = None, **changes: Any) -> CausalLMPolicy:
    sizes = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 2 * T}
    ids = {"bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.3}
    config = GPT2Config(vocab_size=V, **{**sizes, **ids, **changes})
    return CausalLMPolicy.from_config(config, options)


def texts() -> Tensor:
    return torch.randint(V, (B, T), generator=torch.Generator().manual_seed(0))


def by_the_module(policy: CausalLMPolicy, positions: Tensor) -> Tensor:
    ids = texts()
    hidden = policy.hidden_states(ids, torch.ones_like(ids), use_cache=False)
    return hidden.flatten(0, 1)[positions]


def by_us(policy: CausalLMPolicy, positions: Tensor) -> Tensor:
    trunk = policy.trunk
    assert gpt2_trunk.is_plain(trunk)
    with policy.autocasting():
        return gpt2_trunk.states_at(trunk, texts(), positions)


def gradients(policy: CausalLMPolicy, states: Tensor) -> dict[str, Tensor]:
    policy.zero_grad()
    states.square().sum().backward()
    learning = policy.trainable_parameters().items()
    return {name: part.grad.clone() for name, part in learning if part.grad is not None}


OPTIONS = {
    "plain": PolicyConfig(),
    "adapters": PolicyConfig(lora_rank=2),
    "frozen blocks": PolicyConfig(frozen_blocks=1),
    "bfloat16": PolicyConfig(autocast="bfloat16"),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize(
    "changes", [{}, {"activation_function": "relu"}, {"n_inner": 48}], ids=["", "relu", "inner"]
)
def test_states_and_gradients_are_the_modules_bits(
    options: PolicyConfig, changes: dict[str, Any]
) -> None:
    policy = gpt2(options, **changes)
    theirs, ours = by_the_module(policy, EVERYWHERE), by_us(policy, EVERYWHERE)
    assert torch.equal(ours, theirs)
    expected = gradients(policy, theirs)
    assert expected
    assert_close(gradients(policy, ours), expected, rtol=0, atol=0)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_states_at_some_positions_are_those_of_the_module(options: PolicyConfig) -> None:
    policy = gpt2(options)
    theirs, ours = by_the_module(policy, SOME), by_us(policy, SOME)
    exact = options.autocast is not None  # otherwise a product has other rows, and other bits
    assert_close(ours, theirs, rtol=0, atol=0 if exact else 1e-5)
    assert_close(gradients(policy, ours), gradients(policy, theirs), rtol=1e-4, atol=1e-4)


def test_the_last_layer_is_computed_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    policy, rows, forward = gpt2(), [], nn.GELU.forward

    def counting(self: nn.GELU, inner: Tensor) -> Tensor:
        rows.append(len(inner))
        return forward(self, inner)

    monkeypatch.setattr(nn.GELU, "forward", counting)
    by_us(policy, SOME)
    assert rows == [B * T, B * T, len(SOME)]


def test_whoever_hangs_on_a_module_is_not_passed_by() -> None:
    for part in (
        "",
        "h.0",
        "h.1.attn",
        "h.2.mlp",
        "wpe",
        "h.1.ln_1",
        "h.0.mlp.c_fc",
        "h.2.mlp.act",
    ):
        policy = gpt2()
        module = policy.trunk.get_submodule(part)
        for register in (
            module.register_forward_hook,
            module.register_forward_pre_hook,
            module.register_full_backward_hook,
        ):
            handle = register(lambda *_: None)
            assert not gpt2_trunk.is_plain(policy.trunk)
            assert not GPT2Backend.supports(policy)
            handle.remove()
            assert gpt2_trunk.is_plain(policy.trunk)
            assert GPT2Backend.supports(policy)
        with recomputed([module]):
            assert not gpt2_trunk.is_plain(policy.trunk)


@pytest.mark.parametrize(
    "register",
    [
        hooks.register_module_forward_hook,
        hooks.register_module_forward_pre_hook,
        hooks.register_module_full_backward_hook,
        hooks.register_module_full_backward_pre_hook,
    ],
    ids=lambda register: register.__name__,
)
def test_whoever_hangs_on_all_modules_is_not_passed_by(register: Any) -> None:
    policy = gpt2()
    handle = register(lambda *_: None)
    try:
        assert not gpt2_trunk.is_plain(policy.trunk)
        assert not GPT2Backend.supports(policy)
    finally:
        handle.remove()
    assert gpt2_trunk.is_plain(policy.trunk)
    assert GPT2Backend.supports(policy)


@pytest.mark.parametrize("part", ["wte", "h.0.ln_1", "h.1.attn.c_proj", "h.2.mlp.act", "ln_f"])
def test_whoever_looks_on_sees_what_is_decoded(part: str) -> None:
    policy, seen = gpt2(), []
    policy.trunk.get_submodule(part).register_forward_hook(lambda *call: seen.append(call[2]))
    decoder = Decoder(policy, {0: torch.tensor([1, 2])}, T)
    decoder.advance(torch.tensor([3]), [], {})
    assert len(seen) == 2


class OwnBlock(GPT2Block):
    pass


class OwnAttention(GPT2Attention):
    pass


class OwnMLP(GPT2MLP):
    pass


class OwnNorm(nn.LayerNorm):
    pass


class OwnEmbedding(nn.Embedding):
    pass


class OwnActivation(nn.GELU):
    pass


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ("h.1", OwnBlock),
        ("h.2.attn", OwnAttention),
        ("h.0.mlp", OwnMLP),
        ("h.0.ln_1", OwnNorm),
        ("h.2.ln_2", OwnNorm),
        ("ln_f", OwnNorm),
        ("wte", OwnEmbedding),
        ("wpe", OwnEmbedding),
        ("h.1.mlp.act", OwnActivation),
    ],
)
def test_parts_of_another_class_are_neither_trained_nor_decoded_as_gpt2(
    part: str, kind: type[nn.Module]
) -> None:
    policy = gpt2()
    assert gpt2_trunk.is_plain(policy.trunk)
    assert GPT2Backend.supports(policy)
    policy.trunk.get_submodule(part).__class__ = kind
    assert not gpt2_trunk.is_plain(policy.trunk)
    assert not GPT2Backend.supports(policy)


@pytest.mark.parametrize(
    ("part", "attribute", "value"),
    [("h.0.attn", "scaling", 1.0), ("h.1.attn", "is_causal", False), ("wte", "max_norm", 1.0)],
)
def test_parts_that_were_changed_are_neither_trained_nor_decoded_as_gpt2(
    part: str, attribute: str, value: Any
) -> None:
    policy = gpt2()
    setattr(policy.trunk.get_submodule(part), attribute, value)
    assert not gpt2_trunk.is_plain(policy.trunk)
    assert not GPT2Backend.supports(policy)


def change_an_epsilon(trunk: Any) -> None:
    trunk.h[1].ln_2.eps = 0.5


def change_an_activation(trunk: Any) -> None:
    trunk.h[1].mlp.act = nn.SiLU()


def change_a_norm(trunk: Any) -> None:
    trunk.h[1].ln_1 = nn.RMSNorm(trunk.config.n_embd)


@pytest.mark.parametrize("change", [change_an_epsilon, change_an_activation, change_a_norm])
def test_a_changed_part_is_decoded_as_it_is_trained(change: Any) -> None:
    policy = gpt2()
    change(policy.trunk)
    ids = texts()[0]
    decoder = Decoder(policy, {0: ids[:-1]}, T)
    decoder.advance(ids[-1:], [], {})
    with torch.no_grad():
        expected = policy.model(ids[None]).logits[0, -1]
    assert_close(decoder.logits()[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("part", ["drop", "h.0.attn.attn_dropout", "h.1.mlp.dropout"])
def test_dropout_is_left_to_the_module(part: str) -> None:
    trunk = gpt2().trunk
    dropout: Any = trunk.get_submodule(part)
    dropout.p = 0.1
    assert not gpt2_trunk.is_plain(trunk)


@pytest.mark.parametrize(
    "changes",
    [
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"reorder_and_upcast_attn": True},
        {"attn_implementation": "eager"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_unusual_attention_is_left_to_the_module(changes: dict[str, Any]) -> None:
    assert not gpt2_trunk.is_plain(gpt2(**changes).trunk)


def test_other_models_are_left_to_their_modules() -> None:
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
    }
    config = LlamaConfig(vocab_size=V, num_attention_heads=2, **sizes)
    assert not gpt2_trunk.is_plain(CausalLMPolicy.from_config(config).trunk)
