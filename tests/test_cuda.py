"""The same on a GPU: skipped where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from transformers import GPT2Config, LlamaConfig, PreTrainedConfig

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.evaluation.evaluate import evaluate
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.rollout.decoding import model_backend
from agents.rollout.decoding.gpt2_backend import GPT2Backend
from agents.rollout.decoding.step_graph import FixedStep, StepGraph
from agents.rollout.writers.continuous_batching import TransformersWriter
from tests import test_offline, test_step_graph
from tests.members import MEMBERS, Member
from tests.test_turns import task
from text_gym import CharTokenizer, TextGenVectorEnv
from text_gym.constraints import BannedTokens
from text_gym.wrappers.vector import Constrain

pytestmark = pytest.mark.gpu

CUDA = "cuda"
GPT2 = GPT2Config(
    vocab_size=4, n_positions=8, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
)
LLAMA = LlamaConfig(
    vocab_size=4,
    hidden_size=32,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=8,
    bos_token_id=0,
    eos_token_id=0,
)
LORA = PolicyConfig(lora_rank=2)
OPTIONS = {
    "plain": PolicyConfig(),
    "bfloat16": PolicyConfig(autocast="bfloat16"),
    "separate": PolicyConfig(value_network="separate"),
    "lora": LORA,
    "frozen": PolicyConfig(frozen_blocks=1),
    "checkpointing": PolicyConfig(gradient_checkpointing=True),
}


def environments() -> Any:
    return TextGenVectorEnv(
        4,
        prompts=["a", "bcb", "cb"],
        tokenizer=CharTokenizer("abc"),
        reward_function=lambda prompt, completion: completion.count("a"),
        max_new_tokens=5,
        autoreset_mode="Disabled",
    )


def agent(
    config: PreTrainedConfig, options: PolicyConfig, device: str, envs: Any = None, **others: Any
) -> PPO:
    policy = CausalLMPolicy.from_config(config, options).to(device)
    settings = PPOConfig(n_episodes=12, batch_size=6, micro_batch_size=3, learning_rate=1e-3)
    return PPO(policy, envs or environments(), settings, **others)


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_ppo_learns(config: PreTrainedConfig, options: PolicyConfig) -> None:
    one = agent(config, options, CUDA)
    start = [part.detach().clone() for part in one.policy.trainable_parameters().values()]
    one.learn(36)
    moved = one.policy.trainable_parameters().values()
    assert not all(map(torch.equal, start, moved))
    assert all(part.device.type == CUDA for part in moved)


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_texts_are_scored_as_on_the_cpu(config: PreTrainedConfig) -> None:
    there, here = agent(config, PolicyConfig(), CUDA), agent(config, PolicyConfig(), "cpu")
    texts = there.collect().texts
    expected, _ = here.forward(texts.to(torch.device("cpu")))
    got, _ = there.forward(texts)
    given = [
        (mine, theirs) for mine, theirs in zip(got, expected, strict=True) if theirs is not None
    ]
    assert len(given) == 4
    for mine, theirs in given:
        assert_close(mine.cpu(), theirs, rtol=0, atol=1e-4)


def test_action_masks_hold() -> None:
    envs = Constrain(environments(), BannedTokens([2]))
    rollout = agent(GPT2, PolicyConfig(), CUDA, envs).collect()
    assert not (rollout.texts.input_ids[rollout.texts.completion_mask] == 2).any()


def test_prediction_and_evaluation_run() -> None:
    one = agent(GPT2, PolicyConfig(), CUDA)
    observations, _ = one.envs.reset(seed=0)
    actions, _ = one.predict(observations, action_masks=None)
    assert actions.shape == (4,)
    assert evaluate(one.policy, one.reference, environments(), 8, seed=0).figures["kl"] == 0


def test_a_checkpoint_goes_on(tmp_path: Path) -> None:
    one = agent(GPT2, PolicyConfig(), CUDA).learn(12)
    one.save(tmp_path / "saved")
    other = agent(GPT2, PolicyConfig(), CUDA)
    other.restore(tmp_path / "saved")
    for mine, theirs in zip(one.policy.parameters(), other.policy.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert other.learn(24).n_updates == 2


@pytest.mark.parametrize("member", MEMBERS, ids=str)
def test_every_algorithm_learns_and_goes_on(member: Member, tmp_path: Path) -> None:
    one = member.agent(device=CUDA).learn(16)
    one.save(tmp_path)
    other = member.agent(device=CUDA).restore(tmp_path)
    for mine, theirs in zip(one.policy.parameters(), other.policy.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert other.learn(32).n_updates == 2


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_a_seed_decides_what_is_written_and_learnt(config: PreTrainedConfig) -> None:
    one, other = (agent(config, PolicyConfig(), CUDA).learn(24) for _ in range(2))
    for mine, theirs in zip(one.policy.parameters(), other.policy.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("learner", [test_offline.sft, test_offline.dpo], ids=["sft", "dpo"])
def test_files_are_learnt_from(learner: Any) -> None:
    one = learner(test_offline.policy().to(CUDA))
    start = [part.detach().clone() for part in one.policy.parameters()]
    one.learn(2 * test_offline.N)
    assert not all(map(torch.equal, start, one.policy.parameters()))


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_what_others_add_is_read(config: PreTrainedConfig) -> None:
    envs = TextGenVectorEnv(
        4,
        **task(),
        reward_function=lambda prompt, completion: len(completion),
        autoreset_mode="Disabled",
    )
    long = type(config).from_dict(
        config.to_dict() | {"vocab_size": int(envs.single_action_space.n), "n_positions": 64}
    )
    long.max_position_embeddings = 64
    assert agent(long, PolicyConfig(), CUDA, envs).learn(12).n_updates == 1


def test_an_engine_writes() -> None:
    one = agent(GPT2, PolicyConfig(), CUDA, writer=TransformersWriter())
    assert one.learn(12).n_updates == 1


class Counted(StepGraph):
    recorded = 0

    def __init__(self, step: FixedStep) -> None:
        Counted.recorded += 1
        super().__init__(step)


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "recorded", 0)
    monkeypatch.setattr(model_backend, "StepGraph", Counted)
    monkeypatch.setattr(GPT2Backend, "supports", staticmethod(lambda policy: False))


@test_step_graph.every_model
@pytest.mark.parametrize(
    ("options", "most"),
    [(PolicyConfig(), 1e-4), (PolicyConfig(autocast="bfloat16"), 0.1), (LORA, 1e-4)],
    ids=["float32", "autocast", "lora"],
)
@pytest.mark.parametrize("ends", [True, False], ids=["ragged", "fixed"])
@pytest.mark.usefixtures("recording")
def test_recorded_steps_read_what_the_training_forward_reads(
    config: PreTrainedConfig, options: PolicyConfig, most: float, ends: bool
) -> None:
    one, error = test_step_graph.written(config, options, ends=ends, device=CUDA)
    other, _ = test_step_graph.written(config, options, ends=ends, device=CUDA)
    assert Counted.recorded > 2
    assert error < most
    assert torch.equal(one.texts.input_ids, other.texts.input_ids)
