"""Transformers' engine as a writer, on the CPU, with models of a few thousand parameters."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from transformers import GPT2Config, LlamaConfig

from agents import PolicyConfig
from agents.applications.registry import PRESETS
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.token_batch import TokenBatch
from agents.rollout.dictation import collect_dictated
from agents.rollout.writers.continuous_batching import TransformersWriter
from agents.rollout.writers.text_writer import Order, Written
from agents.runs import inspecting
from agents.runs.pipeline import run
from agents.runs.saved_config import read_config
from tests.members import MEMBERS
from tests.test_dictation import WithReserved, environments

V = 12
GPT2 = GPT2Config(
    vocab_size=V, n_embd=8, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0
)
LLAMA = LlamaConfig(
    vocab_size=V,
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=32,
    bos_token_id=0,
    eos_token_id=0,
)
GPT2.initializer_range = LLAMA.initializer_range = 0.4


def order_of(**changes: Any) -> Order:
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9], [4]]
    order = Order(prompts, budgets=[8, 3, 5, 8], stop_ids=[0, 3], allowed=None, seed=7)
    return order._replace(**changes)


def written(policy: CausalLMPolicy, order: Order) -> list[Written]:
    writer = TransformersWriter()
    writer.load(policy)
    return writer.write(order)


def log_probs_of(policy: CausalLMPolicy, prompt: list[int], text: Written) -> torch.Tensor:
    ids = torch.tensor([[*prompt, *text.token_ids]])
    chosen = torch.arange(ids.shape[1])[None] >= len(prompt)
    return policy(TokenBatch(ids, torch.ones_like(chosen), chosen)).log_probs[chosen]


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_log_probs_are_the_policys(config: Any, temperature: float) -> None:
    policy = CausalLMPolicy.from_config(config, temperature=temperature)
    order = order_of()
    for prompt, text in zip(order.prompts, written(policy, order), strict=True):
        ours = log_probs_of(policy, list(prompt), text)
        assert_close(torch.tensor(text.log_probs), ours.detach(), rtol=0, atol=1e-5)


def test_texts_end_at_stop_tokens_or_budgets() -> None:
    policy = CausalLMPolicy.from_config(GPT2)
    order = order_of(prompts=[[4]] * 16, budgets=[2, 6] * 8)
    texts = written(policy, order)
    for text, most in zip(texts, order.budgets, strict=True):
        assert not set(text.token_ids[:-1]) & {0, 3}
        ended = text.token_ids[-1] in (0, 3)
        assert text.stop_reason == ("stop" if ended else "length")
        assert len(text.token_ids) <= most
        assert ended or len(text.token_ids) == most
    assert {text.stop_reason for text in texts} == {"stop", "length"}


def test_the_seed_decides_and_no_other_stream_moves() -> None:
    policy = CausalLMPolicy.from_config(GPT2)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = written(policy, order_of())
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert written(policy, order_of()) == first
    assert written(policy, order_of(seed=8)) != first


def test_the_model_trains_as_before_between_orders() -> None:
    policy = CausalLMPolicy.from_config(LLAMA)
    order = order_of()
    text = written(policy, order)[0]
    before = log_probs_of(policy, list(order.prompts[0]), text)
    before.sum().backward()
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.mul_(1.1)
    after = written(policy, order)
    assert after[0].log_probs != text.log_probs


def test_tokens_that_are_not_allowed_are_not_written(caplog: pytest.LogCaptureFixture) -> None:
    policy = CausalLMPolicy.from_config(GPT2)
    allowed = np.ones(V, dtype=np.bool_)
    allowed[[1, 5, 9]] = False
    texts = written(policy, order_of(prompts=[[4]] * 16, budgets=[8] * 16, allowed=allowed))
    assert not {token for text in texts for token in text.token_ids} & {1, 5, 9}
    assert "SuppressTokens" not in caplog.text  # which would come with every order


def test_adapters_are_read_too() -> None:
    policy = CausalLMPolicy.from_config(LLAMA, PolicyConfig(lora_rank=2))
    with torch.no_grad():
        for name, parameter in policy.trainable_parameters().items():
            if "lora_B" in name:
                parameter.fill_(0.3)
    order = order_of()
    text = written(policy, order)[2]
    ours = log_probs_of(policy, list(order.prompts[2]), text)
    assert_close(torch.tensor(text.log_probs), ours.detach(), rtol=0, atol=1e-5)


def test_its_texts_are_what_the_environment_makes_of_them() -> None:
    envs = environments(4, tokenizer=WithReserved())
    config = GPT2Config(
        vocab_size=4, n_embd=8, n_layer=1, n_head=1, n_positions=12, bos_token_id=3, eos_token_id=3
    )
    policy = CausalLMPolicy.from_config(config)
    generator = torch.Generator().manual_seed(0)
    rollout = collect_dictated(TransformersWriter(), policy, envs, 6, generator, seed=0)
    assert len(rollout) == 6
    assert rollout.sampling_error(policy(rollout.texts).log_probs.detach()) < 1e-5


def test_a_run_names_its_writer(tmp_path: Path) -> None:
    config = dataclasses.replace(
        PRESETS["toy"][1],
        writer="transformers",
        output=tmp_path,
        name="run",
        total_episodes=64,
        eval_episodes=16,
        threads=1,
    )
    folder = run("toy", config)
    metrics = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 < metrics["rollout/writer_mismatch"] < 1e-6
    assert read_config(folder).config.writer == "transformers"
    assert inspecting._config(folder).writer == "own"  # or an engine would be built for nothing


@pytest.mark.slow
def test_each_process_writes_its_share_with_an_engine_of_its_own(
    in_two_processes: Callable[[Callable[[], Any]], list[Any]],
) -> None:
    member = next(one for one in MEMBERS if one.name == "REINFORCE")

    def work() -> Any:
        agent = member.agent(writer=TransformersWriter())
        own = agent.collect().texts.input_ids
        agent.learn(16)
        return own, list(agent.policy.trainable_parameters().values())

    (own, parameters), (others, same) = in_two_processes(work)
    assert own.shape != others.shape or not torch.equal(own, others)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(parameters, same, strict=True))


@pytest.mark.parametrize(
    ("option", "value"), [("responder", "haiku"), ("constraint", "haiku"), ("ban_unwanted", True)]
)
def test_a_run_says_at_once_what_no_engine_knows(option: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"writer must be 'own' where {option} is given"):
        dataclasses.replace(PRESETS["toy"][1], writer="transformers", **{option: value})


def test_an_engine_that_gives_up_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = CausalLMPolicy.from_config(GPT2)
    with pytest.raises(RuntimeError, match="gave up 1 texts"):
        written(policy, order_of(prompts=[[V + 40]], budgets=[2]))
