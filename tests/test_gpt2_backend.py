"""GPT-2 read without the library's calls: the same numbers as the module's own forward."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.testing import assert_close
from transformers import GPT2Config, LlamaConfig

from agents.policy.causal_lm import CausalLMPolicy, categorical
from agents.rollout.decoding.decoder import Decoder, backend_for
from agents.rollout.decoding.gpt2_backend import GPT2Backend
from agents.rollout.decoding.model_backend import ModelBackend
from agents.rollout.timer import Timer

V, L = 11, 24


def gpt2(**changes: object) -> CausalLMPolicy:
    sizes = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": L, "initializer_range": 0.3}
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    return CausalLMPolicy.from_config(GPT2Config(vocab_size=V, **{**sizes, **ids, **changes}))


def by_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GPT2Backend, "supports", staticmethod(lambda policy: False))


def written(policy: CausalLMPolicy) -> tuple[list[list[int]], torch.Tensor]:
    """Five rows, ten prompts of several lengths; a row ends at 0 and takes the next prompt."""
    generator = torch.Generator().manual_seed(1)
    waiting = [torch.randint(1, V, (1 + i % 4,), generator=generator) for i in range(10)]
    prompts = {row: waiting.pop() for row in range(5)}
    decoder = Decoder(policy, prompts, L)
    texts = [prompt.tolist() for prompt in prompts.values()]
    current = dict(enumerate(texts))
    log_probs = []
    while current:
        lines = [i for i, row in enumerate(decoder.rows) if row in current]
        tokens, log_prob = categorical.sample(decoder.logits(), generator)
        log_probs.append(log_prob[lines])
        for i in lines:
            current[decoder.rows[i]].append(int(tokens[i]))
        ended = [row for row, text in current.items() if text[-1] == 0 or len(text) == L]
        started = {row: waiting.pop() for row in ended if waiting}
        for row in ended:
            del current[row]
        for row, prompt in started.items():
            texts.append(prompt.tolist())
            current[row] = texts[-1]
        decoder.advance(tokens, ended, started)
    return texts, torch.cat(log_probs)


@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "relu", "silu"])
def test_texts_are_those_of_the_module_token_for_token(
    activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = gpt2(activation_function=activation)
    assert isinstance(backend_for(policy, 1, L, Timer()), GPT2Backend)
    lean_texts, lean_log_probs = written(policy)
    by_the_module(monkeypatch)
    assert isinstance(backend_for(policy, 1, L, Timer()), ModelBackend)
    texts, log_probs = written(policy)
    assert lean_texts == texts
    assert len(texts) == 10
    assert_close(lean_log_probs, log_probs, rtol=0, atol=1e-5)


@pytest.fixture
def uninitialised_memory_is_nan() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)  # fills what `empty` returns
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("uninitialised_memory_is_nan")
def test_a_prompt_longer_than_all_texts_so_far_reads_no_uninitialised_memory() -> None:
    policy = gpt2()
    short, long = torch.tensor([1, 2]), torch.tensor([3, 4, 5, 6, 7, 8])
    decoder = Decoder(policy, {0: short, 1: short}, L)
    decoder.advance(torch.tensor([0, 3]), [0], {0: long})
    decoder.advance(torch.tensor([2, 4]), [], {})
    for line, text in enumerate(([3, 4, 5, 6, 7, 8, 2], [1, 2, 3, 4])):
        expected = policy.model(torch.tensor([text])).logits[0, -1]
        assert_close(decoder.logits()[line], expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("uninitialised_memory_is_nan")
@pytest.mark.parametrize("dropped_after", [0, 21])  # well before the cache starts over, and just
def test_rows_that_are_kept_read_no_uninitialised_memory(dropped_after: int) -> None:
    policy = gpt2()
    short, long = torch.tensor([1, 2]), torch.arange(1, 11).repeat(2)
    decoder = Decoder(policy, {row: short for row in range(4)}, L)
    for step in range(dropped_after):
        ended = [0, 1] if step % 2 == 0 else [2, 3]
        decoder.advance(torch.full((4,), 3), ended, {row: short for row in ended})
    decoder.advance(torch.full((4,), 3), [2, 3], {})
    assert decoder.rows == [0, 1]
    for _ in range(3):
        decoder.advance(torch.tensor([3, 3]), [0], {0: short})
    decoder.advance(torch.tensor([3, 3]), [0], {0: long})
    decoder.advance(torch.tensor([2, 4]), [], {})
    for line, text in enumerate(([*long, 2], [1, 2, *[3] * 5, 4])):
        expected = policy.model(torch.tensor([text])).logits[0, -1]
        assert_close(decoder.logits()[line], expected, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("uninitialised_memory_is_nan")
@pytest.mark.parametrize("who", [(0, 1, 2), (2, 0, 1), (1,), (2, 0)])
@pytest.mark.parametrize("n_read", [0, 3, 22])
def test_what_others_add_is_read_as_the_module_reads_it(who: tuple[int, ...], n_read: int) -> None:
    """Three tokens for some rows or all; at last where the cache has no room ahead."""
    policy = gpt2()
    texts = {row: [row + 1, row + 2][: 1 + row % 2] for row in range(3)}
    decoder = Decoder(policy, {row: torch.tensor(text) for row, text in texts.items()}, L)
    for step in range(n_read):
        for text in texts.values():
            text.append(1 + step % 7)
        texts[step % 3] = [4, 9, 6]
        started = {step % 3: torch.tensor([4, 9, 6])}
        decoder.advance(torch.full((3,), 1 + step % 7), [step % 3], started)
    for row, text in texts.items():
        text += [row + 2, row + 1, 5, 7] if row in who else [row + 2]
    continued = {row: (torch.tensor(texts[row]), 3) for row in who}
    decoder.advance(torch.tensor([2, 3, 4]), [], {}, continued)
    decoder.advance(torch.tensor([2, 3, 4]), [], {})
    for row, text in texts.items():
        expected = policy.model(torch.tensor([[*text, row + 2]])).logits[0, -1]
        assert_close(decoder.logits()[row], expected, rtol=0, atol=1e-5)


def test_reading_leaves_no_graph_and_changes_no_parameter() -> None:
    policy = gpt2()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    decoder = Decoder(policy, {0: torch.tensor([1, 2])}, L)
    decoder.advance(torch.tensor([3]), [], {})
    assert not decoder.logits().requires_grad
    for name, value in policy.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    "changes",
    [
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"reorder_and_upcast_attn": True},
    ],
)
def test_other_kinds_of_gpt2_go_through_their_module(changes: dict[str, object]) -> None:
    assert not GPT2Backend.supports(gpt2(**changes))


def test_other_models_and_halves_go_through_their_module() -> None:
    llama = LlamaConfig(
        vocab_size=V,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=L,
        bos_token_id=0,
        eos_token_id=0,
    )
    assert not GPT2Backend.supports(CausalLMPolicy.from_config(llama))
    assert not GPT2Backend.supports(gpt2().bfloat16())


def test_a_projection_that_was_replaced_is_noticed() -> None:
    policy = gpt2()
    block = policy.model.transformer.h[0]  # type: ignore[union-attr,index]
    block.attn.c_attn = torch.nn.Sequential(block.attn.c_attn)  # type: ignore[union-attr]
    assert not GPT2Backend.supports(policy)
