"""VLLMWriter, with a stand-in that has vLLM's signatures; and with vLLM where it is installed."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, GPT2Config

from agents import PolicyConfig
from agents.distributed import processes
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.dictation import collect_dictated
from agents.rollout.writers.text_writer import Order
from agents.rollout.writers.vllm_engine import VLLMWriter
from tests.fake_writers import TemperedWriter
from tests.test_continuous_batching import log_probs_of
from tests.test_dictation import WithReserved, environments

V = 12


@dataclass(kw_only=True)
class SamplingParams:
    """Takes what `vllm.SamplingParams` does, of that which is used."""

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    stop_token_ids: list[int]
    ignore_eos: bool
    allowed_token_ids: list[int] | None
    logprobs: int
    seed: int
    detokenize: bool


class LLM:
    """Answers as `vllm.LLM` does: from a copy of the weights, and from what it has read before."""

    def __init__(self, model: str, *, dtype: str, logprobs_mode: str, **engine: Any) -> None:
        self._model = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"  # or weights cannot be given
        self.logprobs_mode, self.engine = logprobs_mode, engine
        self.is_fresh = True

    def generate(
        self,
        prompts: list[dict[str, Any]],
        sampling_params: list[SamplingParams],
        *,
        use_tqdm: bool,
    ) -> list[Any]:
        assert self.is_fresh
        return [
            SimpleNamespace(outputs=[self._output(prompt["prompt_token_ids"], said)])
            for prompt, said in zip(prompts, sampling_params, strict=True)
        ]

    def _output(self, prompt: list[int], said: SamplingParams) -> Any:
        assert (said.top_p, said.top_k, said.ignore_eos) == (1.0, 0, True)
        allowed = None
        if said.allowed_token_ids is not None:
            allowed = np.isin(np.arange(self._model.config.vocab_size), said.allowed_token_ids)
        writer = TemperedWriter(said.temperature)
        writer.load(CausalLMPolicy(self._model))
        order = Order([prompt], [said.max_tokens], said.stop_token_ids, allowed, said.seed)
        (text,) = writer.write(order)
        log_probs = [
            {token: SimpleNamespace(logprob=log_prob)}
            for token, log_prob in zip(text.token_ids, text.log_probs, strict=True)
        ]
        return SimpleNamespace(
            token_ids=text.token_ids, logprobs=log_probs, finish_reason=text.stop_reason
        )

    def collective_rpc(
        self,
        method: str,
        timeout: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        assert method == "reload_weights"
        assert kwargs is not None
        state = {name: weight.clone() for name, weight in kwargs["weights_iterator"]}
        self._model.load_state_dict(state)
        self.is_fresh = False

    def reset_prefix_cache(self) -> bool:
        self.is_fresh = True
        return True


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")  # put back afterwards
    monkeypatch.delenv("VLLM_ENABLE_V1_MULTIPROCESSING")
    module = SimpleNamespace(LLM=LLM, SamplingParams=SamplingParams)
    monkeypatch.setitem(sys.modules, "vllm", module)  # type: ignore[arg-type]


def policy_of(**options: Any) -> CausalLMPolicy:
    config = GPT2Config(
        vocab_size=V, n_embd=64, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0
    )
    return CausalLMPolicy.from_config(config, PolicyConfig(**options))


ORDER = Order([[1, 2, 3], [4], [4]], [8, 3, 8], stop_ids=[0, 3], allowed=None, seed=7)


def require_the_policys_own(policy: CausalLMPolicy, writer: VLLMWriter) -> None:
    """Hold a writer to the policy before an update and after it."""
    for _ in range(2):
        writer.load(policy)
        texts = writer.write(ORDER)
        assert texts == writer.write(ORDER)
        assert texts[1].token_ids != texts[2].token_ids[:3]  # one prompt, two seeds
        for prompt, text, most in zip(ORDER.prompts, texts, ORDER.budgets, strict=True):
            ours = log_probs_of(policy, list(prompt), text).detach()
            assert_close(torch.tensor(text.log_probs), ours, rtol=0, atol=1e-5)
            assert not set(text.token_ids[:-1]) & {0, 3}
            ended = text.token_ids[-1] in (0, 3)
            assert text.stop_reason == ("stop" if ended else "length")
            assert ended or len(text.token_ids) == most
        with torch.no_grad():
            for parameter in policy.trainable_parameters().values():
                parameter.add_(0.05 * torch.randn(parameter.shape))
    allowed = np.ones(V, dtype=np.bool_)
    allowed[[1, 5, 9]] = False
    order = Order([[4]] * 8, [8] * 8, [0], allowed, seed=1)
    written = {token for text in writer.write(order) for token in text.token_ids}
    assert not written & {1, 5, 9}


@pytest.mark.parametrize("options", [{}, {"temperature": 0.6}, {"lora_rank": 2}], ids=str)
def test_it_writes_as_the_policy_does(stand_in: None, options: dict[str, Any]) -> None:
    policy = policy_of(**options)
    require_the_policys_own(policy, VLLMWriter(policy))


@pytest.mark.filterwarnings("default")
def test_the_engine_itself_writes_as_the_policy_does() -> None:
    pytest.importorskip("vllm", reason="vLLM has an environment of its own")
    policy = policy_of(temperature=0.6, lora_rank=2)
    writer = VLLMWriter(policy, max_model_len=32, enforce_eager=True, max_num_seqs=8)
    require_the_policys_own(policy, writer)


def test_it_is_told_what_makes_its_log_probs_comparable(stand_in: None) -> None:
    engine = VLLMWriter(policy_of(), max_model_len=32, gpu_memory_utilization=0.5)._llm
    assert engine.logprobs_mode == "processed_logprobs"
    assert engine.engine == {
        "skip_tokenizer_init": True,
        "generation_config": "vllm",
        "gpu_memory_utilization": 0.5,
        "max_model_len": 32,
    }


def test_its_texts_are_what_the_environment_makes_of_them(stand_in: None) -> None:
    envs = environments(4, tokenizer=WithReserved())
    config = GPT2Config(
        vocab_size=4, n_embd=8, n_layer=1, n_head=1, n_positions=12, bos_token_id=3, eos_token_id=3
    )
    policy = CausalLMPolicy.from_config(config)
    generator = torch.Generator().manual_seed(0)
    rollout = collect_dictated(VLLMWriter(policy), policy, envs, 6, generator, seed=0)
    assert rollout.sampling_error(policy(rollout.texts).log_probs.detach()) < 1e-5


def test_without_vllm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ImportError, match="pip install vllm, in an environment of its own"):
        VLLMWriter(policy_of())


def test_several_processes_are_refused(stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "world_size", lambda: 2)
    with pytest.raises(ValueError, match="in the only process, got 2"):
        VLLMWriter(policy_of())
