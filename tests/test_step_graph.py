"""Steps of fixed shape, which a GPU records: replayed here without one, by computing them again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GPT2Config, LlamaConfig, PreTrainedConfig

from agents.policy.causal_lm import CausalLMPolicy, forward_in_chunks
from agents.policy.config import PolicyConfig
from agents.rollout.buffer import Rollout
from agents.rollout.collect import collect_rollout
from agents.rollout.decoding import model_backend, step_graph
from agents.rollout.decoding.gpt2_backend import GPT2Backend
from agents.rollout.decoding.step_graph import FixedStep, can_be_recorded
from benchmarks.tasks import LargeNumbers, Numbers, make_envs, random_prompts

SIZES: dict[str, Any] = {"vocab_size": 8, "bos_token_id": None, "eos_token_id": None}
GPT2 = GPT2Config(n_positions=200, n_embd=16, n_layer=2, n_head=2, **SIZES)
LLAMA = LlamaConfig(
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    pad_token_id=None,
    **SIZES,
)
GPT2.initializer_range = LLAMA.initializer_range = 0.4
every_model = pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])


class Replay:
    """A graph that computes its step again."""

    made = 0

    def __init__(self, step: FixedStep) -> None:
        self._step = step
        self.fits = step.fits
        Replay.made += 1

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        self._step.prepare(tokens)
        return self._step.hidden()


def written(
    config: PreTrainedConfig, options: PolicyConfig, *, ends: bool, device: str = "cpu"
) -> tuple[Rollout, float]:
    """Returns 12 texts of up to 70 tokens in 4 rows, and how far log-probs lie from training's."""
    policy = CausalLMPolicy.from_config(config, options).to(device)
    envs = make_envs(
        4,
        ends=ends,
        prompts=random_prompts(8, 8, 3, 0),
        tokenizer=Numbers(8),
        reward_function=LargeNumbers(8),
        max_new_tokens=70,
    )
    with torch.no_grad(), policy.autocasting():
        generator = torch.Generator(device).manual_seed(0)
        rollout = collect_rollout(policy, envs, 12, generator, seed=0).to(policy.device)
    return rollout, rollout.sampling_error(forward_in_chunks(policy, rollout.texts, 4).log_probs)


@pytest.fixture
def replaying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Replay, "made", 0)
    monkeypatch.setattr(model_backend, "StepGraph", Replay)
    monkeypatch.setattr(model_backend, "can_be_recorded", lambda policy: True)
    monkeypatch.setattr(GPT2Backend, "supports", staticmethod(lambda policy: False))


@every_model
@pytest.mark.parametrize("ends", [True, False], ids=["ragged", "fixed"])
@pytest.mark.usefixtures("replaying")
def test_replayed_steps_read_what_others_read(
    monkeypatch: pytest.MonkeyPatch, config: PreTrainedConfig, ends: bool
) -> None:
    replayed, error = written(config, PolicyConfig(dtype="float64"), ends=ends)
    assert Replay.made > 1
    assert error < 1e-6  # log-probs are kept in float32
    monkeypatch.setattr(model_backend, "can_be_recorded", lambda policy: False)
    plain, _ = written(config, PolicyConfig(dtype="float64"), ends=ends)
    assert torch.equal(plain.texts.input_ids, replayed.texts.input_ids)


@every_model
@pytest.mark.usefixtures("replaying")
def test_autocast_is_replayed(config: PreTrainedConfig) -> None:
    _, error = written(config, PolicyConfig(autocast="bfloat16"), ends=False)
    assert error < 0.05


@pytest.mark.usefixtures("replaying")
def test_a_graph_serves_as_many_steps_as_it_was_made_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_graph, "N_STEPS", 10)
    written(GPT2, PolicyConfig(), ends=False)
    assert Replay.made >= 3 * 7 - 3  # three texts of 70 tokens in each row, less the first steps


@every_model
def test_nothing_is_recorded_without_a_gpu(config: PreTrainedConfig) -> None:
    assert not can_be_recorded(CausalLMPolicy.from_config(config))
