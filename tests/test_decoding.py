"""Decoder and its cache: token by token, every row equals the full forward of its own text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    OPTConfig,
    PreTrainedConfig,
)

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.rollout.decoding.decoder import Decoder
from agents.rollout.decoding.gpt2_backend import GPT2Backend
from agents.rollout.decoding.kv_cache import RowCache
from agents.rollout.decoding.model_backend import ModelBackend
from agents.rollout.decoding.probe import decoding_tolerance, require_exact_decoding

V, L = 9, 10
SIZES = {
    "vocab_size": V,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": L,
    "initializer_range": 0.4,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}


def gpt2() -> PreTrainedConfig:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 4, "n_positions": L, "initializer_range": 0.4}
    return GPT2Config(vocab_size=V, bos_token_id=0, eos_token_id=0, **sizes)


def llama() -> PreTrainedConfig:
    return LlamaConfig(**SIZES, num_key_value_heads=2)


def neox() -> PreTrainedConfig:
    return GPTNeoXConfig(**SIZES)


def sliding_window() -> PreTrainedConfig:
    return MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=3)


CONFIGS = {make.__name__: make for make in (gpt2, llama, neox, sliding_window)}
POLICIES = {name: CausalLMPolicy.from_config(make()).double() for name, make in CONFIGS.items()}


def full_logits(policy: CausalLMPolicy, text: Tensor) -> Tensor:
    with torch.no_grad():
        return (
            policy.model(input_ids=text[None], use_cache=False).logits[0, -1] / policy.temperature
        )


class Schedule:
    """Random texts in rows: tokens, ends and new prompts, all from one seed.

    With `n_prompts`, there are so many to begin with, and several rows share one.
    """

    def __init__(self, seed: int, end_rate: float, restart_rate: float, n_prompts: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.end_rate, self.restart_rate = end_rate, restart_rate
        self.prompts: list[Tensor] = []
        self.prompts = [self.prompt() for _ in range(n_prompts)]

    def chance(self, rate: float) -> bool:
        return torch.rand((), generator=self.generator).item() < rate

    def prompt(self) -> Tensor:
        if self.prompts:
            return self.prompts[int(torch.randint(len(self.prompts), (), generator=self.generator))]
        length = int(torch.randint(1, L, (1,), generator=self.generator))
        return torch.randint(V, (length,), generator=self.generator)


def assert_decoding_equals_full_forward(
    policy: CausalLMPolicy, schedule: Schedule, n_rows: int, n_steps: int, tolerance: float
) -> int:
    """Follows a schedule and returns how many logits were compared."""
    texts = {row: schedule.prompt() for row in range(n_rows)}
    decoder = Decoder(policy, texts, L)
    compared = 0
    for _ in range(n_steps):
        logits = decoder.logits()
        assert texts.keys() <= set(decoder.rows)
        for line, row in enumerate(decoder.rows):
            if row in texts:
                expected = full_logits(policy, texts[row])
                assert_close(logits[line], expected, rtol=0, atol=tolerance)
                compared += 1
        tokens = torch.randint(V, (len(decoder.rows),), generator=schedule.generator)
        ended, prompts = [], {}
        for line, row in enumerate(decoder.rows):
            if row not in texts:
                continue
            texts[row] = torch.cat([texts[row], tokens[line : line + 1]])
            if len(texts[row]) == L or schedule.chance(schedule.end_rate):
                ended.append(row)
                del texts[row]
                if schedule.chance(schedule.restart_rate):
                    texts[row] = prompts[row] = schedule.prompt()
        decoder.advance(tokens, ended, prompts)
        if not texts:
            break
    return compared


@pytest.mark.parametrize("name", CONFIGS)
@given(
    seed=st.integers(0, 10_000),
    n_rows=st.integers(1, 6),
    end_rate=st.sampled_from([0.0, 0.1, 0.4]),
    restart_rate=st.sampled_from([0.7, 0.95, 1.0]),
    n_prompts=st.sampled_from([0, 1, 3]),
)
@settings(max_examples=16)
def test_random_schedules_equal_the_full_forward(
    name: str, seed: int, n_rows: int, end_rate: float, restart_rate: float, n_prompts: int
) -> None:
    schedule = Schedule(seed, end_rate, restart_rate, n_prompts)
    assert assert_decoding_equals_full_forward(POLICIES[name], schedule, n_rows, 25, 1e-10)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_many_more_steps_than_slots_equal_the_full_forward(name: str) -> None:
    # 100 steps in 2 * 10 slots: the cache starts over at least nine times.
    schedule = Schedule(0, end_rate=0.1, restart_rate=1.0)
    compared = assert_decoding_equals_full_forward(POLICIES[name], schedule, 4, 100, 1e-10)
    assert compared == 400


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_single_precision_is_close_to_the_full_forward(name: str) -> None:
    policy = CausalLMPolicy.from_config(CONFIGS[name](), temperature=0.7)
    schedule = Schedule(1, end_rate=0.1, restart_rate=0.9)
    assert assert_decoding_equals_full_forward(policy, schedule, 5, 40, 2e-5)


@pytest.mark.parametrize("n_prompts", [0, 2], ids=["", "shared"])
def test_states_that_a_model_projects_may_be_of_another_dtype(n_prompts: int) -> None:
    """A product comes last, which autocast computes in bfloat16, before a float32 output layer."""
    config = OPTConfig(**SIZES, ffn_dim=24, word_embed_proj_dim=8, init_std=0.3)
    policy = CausalLMPolicy.from_config(config, PolicyConfig(autocast="bfloat16"))
    require_exact_decoding(policy, L)
    schedule = Schedule(3, end_rate=0.2, restart_rate=1.0, n_prompts=n_prompts)
    tolerance = decoding_tolerance(policy.rounding)
    assert assert_decoding_equals_full_forward(policy, schedule, 4, 30, tolerance) == 120


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_rows_run_up_to_the_last_position(name: str) -> None:
    # Never ending early, every text is written to exactly L tokens, all positions of the model.
    schedule = Schedule(2, end_rate=0.0, restart_rate=1.0)
    assert assert_decoding_equals_full_forward(POLICIES[name], schedule, 3, 30, 1e-10) == 90


def test_texts_of_one_token_that_all_end_at_once() -> None:
    policy = POLICIES["llama"]
    prompts = {row: torch.tensor([row + 1]) for row in range(3)}
    decoder = Decoder(policy, prompts, L)
    for step in range(2 * L + 3):
        for line, row in enumerate(decoder.rows):
            assert_close(
                decoder.logits()[line], full_logits(policy, prompts[row]), rtol=0, atol=1e-10
            )
        prompts = {row: torch.tensor([(row + step) % V]) for row in range(3)}
        decoder.advance(torch.zeros(3, dtype=torch.long), [0, 1, 2], prompts)


def test_ended_rows_never_influence_others() -> None:
    """What ended rows are fed makes not the smallest difference."""
    policy = POLICIES["gpt2"]
    outcomes = []
    for rubbish in (0, 7):
        decoder = Decoder(policy, {row: torch.tensor([1, 2, row]) for row in range(5)}, L)
        decoder.advance(torch.tensor([1, 2, 3, 4, 5]), ended=[4], prompts={})
        assert decoder.rows == [0, 1, 2, 3, 4]  # one of five is not worth a copy
        for token in range(5):
            tokens = torch.full((5,), token)
            tokens[4] = rubbish
            decoder.advance(tokens, [], {})
        outcomes.append(decoder.logits()[:4])
    assert torch.equal(*outcomes)


def test_rows_are_dropped_when_few_are_left() -> None:
    decoder = Decoder(POLICIES["gpt2"], {row: torch.tensor([1]) for row in (3, 5, 8, 9)}, L)
    decoder.advance(torch.tensor([1, 2, 3, 4]), ended=[5, 9], prompts={})
    assert decoder.rows == [3, 8]
    expected = [full_logits(POLICIES["gpt2"], torch.tensor(text)) for text in ([1, 1], [1, 3])]
    assert_close(decoder.logits(), torch.stack(expected), rtol=0, atol=1e-10)


def test_a_row_that_restarts_is_not_dropped_with_those_that_end() -> None:
    decoder = Decoder(POLICIES["gpt2"], {row: torch.tensor([1]) for row in range(4)}, L)
    decoder.advance(torch.tensor([1, 2, 3, 4]), [0, 1, 2], {1: torch.tensor([5, 6, 7])})
    assert decoder.rows == [1, 3]
    expected = [full_logits(POLICIES["gpt2"], torch.tensor(text)) for text in ([5, 6, 7], [1, 4])]
    assert_close(decoder.logits(), torch.stack(expected), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_prompt_is_read_once_for_all_rows_that_begin_with_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    for backend in (GPT2Backend, ModelBackend):

        def counting(self: Any, tokens: Any, prompts: Any, *, original: Any = backend.read) -> None:
            read.append(len(prompts))
            original(self, tokens, prompts)

        monkeypatch.setattr(backend, "read", counting)
    policy = POLICIES[name]
    short, long = torch.tensor([1, 2]), torch.tensor([3, 4, 5, 6])
    decoder = Decoder(policy, {0: short, 1: long, 2: short, 3: long, 4: short}, L)
    decoder.advance(torch.arange(5), [], {})
    decoder.advance(torch.arange(5), [0, 4], {0: long, 4: long})  # of rows that are two tokens on
    decoder.advance(torch.arange(5), [1, 2], {1: short})  # which nobody writes after any more
    assert read == [2, 0, 0, 1]
    texts = {0: [*long, 0], 1: [*short], 3: [*long, 3, 3, 3], 4: [*long, 4]}
    expected = [full_logits(policy, torch.tensor(text)) for text in texts.values()]
    assert_close(decoder.logits()[list(texts)], torch.stack(expected), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_prompt_is_shared_by_rows_that_others_have_added_to(name: str) -> None:
    policy = POLICIES[name]
    prompt, other = torch.tensor([1, 2, 3]), torch.tensor([4])
    decoder = Decoder(policy, {0: prompt, 1: other}, L)
    longer = torch.tensor([1, 2, 3, 5, 6, 7])
    decoder.advance(torch.tensor([5, 5]), [], {}, {0: (longer, 2)})
    decoder.advance(torch.tensor([8, 8]), [1], {1: prompt})
    expected = [full_logits(policy, text) for text in (torch.tensor([*longer, 8]), prompt)]
    assert_close(decoder.logits(), torch.stack(expected), rtol=0, atol=1e-10)


def test_action_masks_and_temperature_reach_the_logits() -> None:
    policy = CausalLMPolicy.from_config(gpt2(), temperature=0.5)
    decoder = Decoder(policy, {0: torch.tensor([1, 2])}, L)
    mask = torch.ones(1, V, dtype=torch.bool)
    mask[0, 4] = False
    logits = decoder.logits(mask)[0]
    with torch.no_grad():
        own = policy.model(torch.tensor([[1, 2]])).logits[0, -1]
    assert_close(logits[mask[0]], own[mask[0]] / 0.5, rtol=0, atol=1e-5)
    assert torch.softmax(logits, -1)[4] == 0


def test_what_others_add_is_read_without_the_longer_texts_beside_it() -> None:
    """GPT-Neo knows no more places than L, and here the texts together would fill more."""
    sizes = {"hidden_size": 16, "num_layers": 2, "num_heads": 4, "window_size": L}
    config = GPTNeoConfig(
        vocab_size=V,
        max_position_embeddings=L,
        attention_types=[[["global", "local"], 1]],
        bos_token_id=0,
        eos_token_id=0,
        **sizes,
    )
    policy = CausalLMPolicy.from_config(config).double()
    long, short = torch.arange(L - 2) % V, torch.tensor([1, 2])
    decoder = Decoder(policy, {0: long, 1: short}, L)
    longer = torch.tensor([1, 2, 4, 5, 6, 7])
    decoder.advance(torch.tensor([3, 4]), [], {}, {1: (longer, 3)})
    expected = [
        full_logits(policy, text) for text in (torch.cat([long, torch.tensor([3])]), longer)
    ]
    assert_close(decoder.logits(), torch.stack(expected), rtol=0, atol=1e-5)


def test_decoding_keeps_no_graph() -> None:
    decoder = Decoder(POLICIES["gpt2"], {0: torch.tensor([1])}, L)
    decoder.advance(torch.tensor([1]), [], {})
    assert not decoder.logits().requires_grad


def prompts_of(*keys: list[float]) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of one layer, one head, size 1; the keys are the given numbers."""
    states = torch.tensor(keys)[:, None, :, None]
    return [(states, -states)]


class Written(RowCache):
    """A cache of one layer that can be written and read without a model."""

    def write(self, *keys: float) -> list[list[float]]:
        """Writes one token per row and returns the keys of each row's own text, in order."""
        mask = self.attention_mask()
        states = torch.tensor(keys)[:, None, None, None]
        seen, values = self.update(states, -states, 0)
        assert torch.equal(values, -seen)
        assert seen.shape[2] == mask.shape[1] == self.get_seq_length() + 1
        self.advance()
        return [row[own].tolist() for row, own in zip(seen[:, 0, :, 0], mask, strict=True)]


def test_cache_holds_each_rows_own_text() -> None:
    cache = Written(n_layers=1, n_rows=2, max_length=3)
    cache.insert(torch.tensor([0, 1]), prompts_of([1, 2], [0, 5]), torch.tensor([2, 1]))
    assert cache.write(3, 6) == [[1, 2, 3], [5, 6]]
    cache.clear([0])
    cache.insert(torch.tensor([0]), prompts_of([7]), torch.tensor([1]))
    assert cache.write(8, 9) == [[7, 8], [5, 6, 9]]  # the fifth slot
    cache.clear([1])
    assert cache.write(10, 11) == [[7, 8, 10], [11]]  # the sixth and last: it starts over
    cache.keep(torch.tensor([1]))
    assert cache.write(12) == [[11, 12]]


def test_cache_reads_no_more_slots_than_the_longest_text_needs() -> None:
    cache = RowCache(n_layers=1, n_rows=2, max_length=4)
    cache.insert(torch.tensor([0, 1]), prompts_of([1, 2, 3], [0, 0, 5]), torch.tensor([3, 1]))
    assert cache.get_seq_length() == 3
    cache.keep(torch.tensor([1]))
    assert cache.get_seq_length() == 1


def test_the_token_about_to_be_written_is_attended_to() -> None:
    cache = RowCache(n_layers=1, n_rows=2, max_length=4)
    cache.insert(torch.tensor([0, 1]), prompts_of([1, 2, 3], [0, 0, 5]), torch.tensor([3, 1]))
    assert cache.attention_mask().int().tolist() == [[1, 1, 1, 1], [0, 0, 1, 1]]


@pytest.mark.parametrize("make", [gpt2, llama], ids=["gpt2", "llama"])
def test_decoder_takes_prompts_of_the_full_length_less_one(
    make: Callable[[], PreTrainedConfig],
) -> None:
    policy = POLICIES[make.__name__]
    prompt = torch.arange(L - 1) % V
    decoder = Decoder(policy, {0: prompt, 1: prompt[:2]}, L)
    assert_close(decoder.logits()[0], full_logits(policy, prompt), rtol=0, atol=1e-10)
    decoder.advance(torch.tensor([3, 4]), [0], {0: prompt})
    text = torch.tensor([*prompt[:2].tolist(), 4])
    expected = torch.stack([full_logits(policy, prompt), full_logits(policy, text)])
    assert_close(decoder.logits(), expected, rtol=0, atol=1e-10)
