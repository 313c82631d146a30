"""The probe of decoding: whom it accepts and refuses, with which words; and the batch's guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BloomConfig,
    FalconConfig,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    OpenAIGPTConfig,
    OPTConfig,
    Phi3Config,
    PreTrainedConfig,
    Qwen3Config,
)

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.health_checks import TrainingStopped, require_exact_sampling
from agents.algorithms.ppo import PPO
from agents.evaluation import evaluate as evaluation
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.rollout.buffer import Rollout
from agents.rollout.decoding.decoder import Decoder
from agents.rollout.decoding.probe import (
    decoding_tolerance,
    disagreement,
    require_exact_decoding,
    sampling_tolerance,
)
from text_gym import CharTokenizer, TextGenVectorEnv

V, L = 5, 16
IDS: dict[str, Any] = {
    "vocab_size": V,
    "bos_token_id": None,
    "eos_token_id": V - 1,
    "pad_token_id": None,
}
SIZES: dict[str, Any] = IDS | {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
}
ORIGINAL = 12


def gpt2(**changes: Any) -> PreTrainedConfig:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "initializer_range": 0.3}
    return GPT2Config(**(IDS | sizes | changes))


def long_rope(original: int) -> PreTrainedConfig:
    factors = {"short_factor": [1.0] * 4, "long_factor": [3.0] * 4}
    return Phi3Config(
        **SIZES,
        original_max_position_embeddings=original,
        rope_scaling={"rope_type": "longrope", **factors},
    )


def bart() -> PreTrainedConfig:
    layers = {"encoder_layers": 1, "decoder_layers": 1, "decoder_attention_heads": 2}
    sizes = {"d_model": 16, "num_hidden_layers": 1, "is_decoder": True, "init_std": 0.3}
    return BartConfig(**(IDS | layers | sizes))


SOUND: dict[str, PreTrainedConfig] = {
    "gpt2": gpt2(),
    "llama": LlamaConfig(**SIZES),
    "sliding window": MistralConfig(**SIZES, sliding_window=3),
    "one head of keys": LlamaConfig(**(SIZES | {"num_key_value_heads": 1})),
    "neox": GPTNeoXConfig(**SIZES),
    "qwen3": Qwen3Config(**SIZES, head_dim=8),
    "gemma": GemmaConfig(**SIZES, head_dim=8),
    "alibi": BloomConfig(**IDS, hidden_size=16, n_layer=2, n_head=2, initializer_range=0.3),
    "parallel blocks": FalconConfig(**SIZES, alibi=False, new_decoder_architecture=True),
    "mpt": MptConfig(vocab_size=V, d_model=16, n_heads=2, n_layers=2, max_seq_len=64),
    "learned positions": OPTConfig(**(SIZES | {"ffn_dim": 24, "init_std": 0.3})),
    "long rotary, short texts": long_rope(original=L),
}


def environments(**changes: Any) -> TextGenVectorEnv:
    task = {"prompts": ["a", "aaaaaaa"], "tokenizer": CharTokenizer("abcd"), "max_new_tokens": 9}
    reward = {"reward_function": lambda prompt, completion: float(completion.count("a"))}
    return TextGenVectorEnv(4, autoreset_mode="Disabled", **(task | reward | changes))


def agent(policy: CausalLMPolicy, kind: type[PPO] = PPO, **changes: Any) -> PPO:
    settings = {"n_episodes": 16, "batch_size": 8, **changes}
    return kind(policy, environments(), PPOConfig(**settings))


def refusal(config: PreTrainedConfig, length: int = L) -> str:
    policy = CausalLMPolicy.from_config(config)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the caller looks at the message)
        require_exact_decoding(policy, length)
    assert "\n" not in str(caught.value)
    assert type(policy.model).__name__ in str(caught.value)
    return str(caught.value)


# Whom it accepts


@pytest.mark.parametrize("name", SOUND)
def test_sound_architectures_agree_within_rounding_at_every_length(name: str) -> None:
    policy = CausalLMPolicy.from_config(SOUND[name])
    for length in (2, 3, 5, 8, L):
        assert disagreement(policy, length).nats <= decoding_tolerance(policy.rounding)
    require_exact_decoding(policy, L)


@pytest.mark.parametrize("name", ["gpt2", "llama", "sliding window", "neox", "learned positions"])
def test_in_double_precision_they_agree_exactly(name: str) -> None:
    policy = CausalLMPolicy.from_config(SOUND[name]).double()
    assert disagreement(policy, L).nats < 1e-10


def test_a_text_of_one_token_leaves_nothing_to_decode() -> None:
    require_exact_decoding(CausalLMPolicy.from_config(bart()), 1)


def test_autocast_and_temperature_widen_the_bound() -> None:
    exact = CausalLMPolicy.from_config(gpt2())
    cold = CausalLMPolicy.from_config(gpt2(), temperature=0.1)
    assert cold.rounding == pytest.approx(10 * exact.rounding)
    autocast = CausalLMPolicy.from_config(gpt2(), PolicyConfig(autocast="bfloat16"))
    assert autocast.rounding > 100 * exact.rounding
    for policy in (cold, autocast):
        require_exact_decoding(policy, L)


def test_nothing_is_disturbed() -> None:
    policy = CausalLMPolicy.from_config(SOUND["llama"])
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    stream = torch.get_rng_state()
    require_exact_decoding(policy, L)
    assert torch.equal(stream, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())
    assert all(parameter.grad is None for parameter in policy.parameters())


# Whom it refuses


def test_a_decoder_that_ignores_positions_is_refused_with_the_numbers() -> None:
    message = refusal(bart())
    assert message.startswith("policy must decode as it is trained")
    assert "to within 3e-05 nats (rounding), but BartForCausalLM differs by" in message
    assert message.endswith("in texts of up to 16 tokens")


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (OpenAIGPTConfig(vocab_size=V, n_embd=16, n_layer=1, n_head=2), "OpenAIGPTLMHeadModel"),
        (MambaConfig(vocab_size=V, hidden_size=16, num_hidden_layers=1), "MambaForCausalLM"),
    ],
    ids=["no cache", "no keys"],
)
def test_models_without_an_ordinary_cache_are_refused(config: Any, name: str) -> None:
    message = refusal(config)
    assert f"keys and values of every layer; {name} does not" in message
    assert "of its 1 layers, got those of 0" in message


def test_long_rotary_texts_are_refused_past_the_original_length_only() -> None:
    policy = CausalLMPolicy.from_config(long_rope(ORIGINAL))
    require_exact_decoding(policy, ORIGINAL)
    for length in (ORIGINAL + 1, 3 * ORIGINAL):
        assert "Phi3ForCausalLM differs by" in refusal(long_rope(ORIGINAL), length)


def test_an_architecture_that_fails_is_refused_with_its_own_words() -> None:
    message = refusal(gpt2(n_positions=8))
    assert "texts of up to 16 tokens" in message
    assert "IndexError: index out of range" in message


def test_running_out_of_memory_is_no_fault_of_the_architecture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def exhausted(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    policy = CausalLMPolicy.from_config(gpt2())
    monkeypatch.setattr(Decoder, "advance", exhausted)
    with pytest.raises(torch.OutOfMemoryError):
        require_exact_decoding(policy, L)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("fault", ["restart", "growth", "limit"])
def test_faults_of_one_moment_only_are_found(
    name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = CausalLMPolicy.from_config(SOUND[name])
    advance = Decoder.advance

    def spoiled(self: Any, tokens: Any, ended: Any, prompts: Any) -> None:
        advance(self, tokens, ended, prompts)
        lengths = getattr(self._backend, "_lengths", None)
        lengths = self._backend._cache.lengths if lengths is None else lengths
        moments = {
            "restart": bool(prompts),
            "growth": not prompts,
            "limit": int(lengths.max()) == L - 1,
        }
        if moments[fault]:
            self._backend.hidden = self._backend.hidden * 1.01

    monkeypatch.setattr(Decoder, "advance", spoiled)
    with pytest.raises(ValueError, match="must decode as it is trained"):
        require_exact_decoding(policy, L)


@pytest.mark.parametrize(
    "config", [MptConfig(vocab_size=V, d_model=16, n_heads=2, n_layers=1, max_seq_len=8), gpt2()]
)
def test_texts_beyond_a_models_own_limit_are_refused(config: Any) -> None:
    limit = 8 if isinstance(config, MptConfig) else 64
    policy = CausalLMPolicy.from_config(config)
    assert policy.max_length == limit
    with pytest.raises(ValueError, match=f"at most {limit} tokens, .*, got {limit + 1}"):
        PPO(policy, environments(prompts=["a"], max_new_tokens=limit))


def test_an_agent_is_not_built_around_a_model_that_decodes_otherwise() -> None:
    with pytest.raises(ValueError, match=r"must decode as it is trained.*BartForCausalLM"):
        agent(CausalLMPolicy.from_config(bart()))


# What was sampled


class Misled(PPO):
    """Samples as if every log-prob were another."""

    off: float

    def collect(self) -> Rollout:
        rollout = super().collect()
        rollout.log_probs[3, 8] += self.off
        return rollout


def misled_by(nats: float) -> type[PPO]:
    return type("Misled", (Misled,), {"off": nats})


@pytest.mark.parametrize("off", [0.01, -3.0, float("nan")])
def test_texts_of_another_distribution_stop_the_run_unmoved(off: float) -> None:
    one = agent(CausalLMPolicy.from_config(gpt2()), misled_by(off))
    before = [parameter.detach().clone() for parameter in one.policy.parameters()]
    with pytest.raises(TrainingStopped, match=r"to within 0.001 nats, got a difference of") as said:
        one.learn(16)
    assert f"{abs(off):.3g}; nothing was learnt" in str(said.value)
    assert all(map(torch.equal, before, one.policy.parameters()))


def test_rounding_does_not_stop_a_run() -> None:
    agent(CausalLMPolicy.from_config(gpt2()), misled_by(9e-4)).learn(32)


def test_the_bound_follows_the_precision() -> None:
    require_exact_sampling(1.2, rounding=0.02)
    with pytest.raises(TrainingStopped, match=r"to within 1.28 nats, got a difference of 1.3"):
        require_exact_sampling(1.3, rounding=0.02)
    assert sampling_tolerance(1e-7) == 1e-3
    assert decoding_tolerance(1e-7) == 3e-5


def test_an_evaluation_of_another_distribution_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    collect: Callable[..., Rollout] = evaluation.collect_rollout

    def misled(*arguments: Any, **keywords: Any) -> Rollout:
        rollout = collect(*arguments, **keywords)
        rollout.log_probs[0] += 0.5
        return rollout

    policy = CausalLMPolicy.from_config(gpt2())
    evaluation.evaluate(policy, policy, environments(), 8, seed=0)
    monkeypatch.setattr(evaluation, "collect_rollout", misled)
    with pytest.raises(ValueError, match=r"difference of 0\.5\d* from GPT2LMHeadModel"):
        evaluation.evaluate(policy, policy, environments(), 8, seed=0)
