"""What the processor waits for: how often a device is asked for a number, counted without one.

On a GPU every such question holds up the processor until all that was given to the device is done.
What would be asked there shows on the CPU as well, by the operations that have to know a number.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.distributed.fsdp import FSDPModule
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GPT2Config, LlamaConfig, PreTrainedConfig

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.collect import collect_rollout
from agents.rollout.decoding.kv_cache import RowCache
from agents.rollout.decoding.step_graph import FixedStep, asks_nothing
from benchmarks.tasks import LargeNumbers, Numbers, make_envs, random_prompts

ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim")
"""Operations whose result, or its shape, the processor has to know."""


class Asked(TorchDispatchMode):
    """Counts them, and tensors that become arrays."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        by_mask = name in ("index", "index_put_", "index_put") and any(
            part is not None and part.dtype is torch.bool for part in args[1]
        )
        if name in ASKING or by_mask:
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    mode, numpy = Asked(), torch.Tensor.numpy

    def counted(tensor: torch.Tensor, **options: Any) -> Any:
        mode.counts["numpy"] += 1
        return numpy(tensor, **options)

    with monkeypatch.context() as patch, mode:
        patch.setattr(torch.Tensor, "numpy", counted)
        yield mode.counts


SIZES: dict[str, Any] = {"vocab_size": 8, "bos_token_id": None, "eos_token_id": None}
GPT2 = GPT2Config(n_positions=64, n_embd=16, n_layer=2, n_head=2, **SIZES)
LLAMA = LlamaConfig(
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    pad_token_id=None,
    **SIZES,
)
ROWS = 4


def environments(length: int) -> Any:
    return make_envs(
        ROWS,
        ends=False,
        prompts=random_prompts(ROWS, 8, 3, 0),
        tokenizer=Numbers(8),
        reward_function=LargeNumbers(8),
        max_new_tokens=length,
    )


def counted(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> int:
    with asked(monkeypatch) as counts:
        work()
    return counts.total()


@pytest.mark.parametrize(
    ("question", "n"),
    [
        (lambda tensor: tensor.sum().item(), 1),
        (lambda tensor: bool(tensor.any()), 1),
        (lambda tensor: tensor.numpy(force=True), 1),
        (lambda tensor: tensor[tensor > 1], 1),
        (lambda tensor: tensor.nonzero(), 1),
        (lambda tensor: torch.where(tensor > 1, tensor, 0) @ tensor, 0),
    ],
    ids=["item", "bool", "array", "mask", "nonzero", "none"],
)
def test_a_question_is_counted(
    monkeypatch: pytest.MonkeyPatch, question: Callable[[torch.Tensor], object], n: int
) -> None:
    assert counted(monkeypatch, lambda: question(torch.arange(3.0))) == n


@pytest.mark.parametrize(("config", "most"), [(GPT2, 4), (LLAMA, 5)], ids=["gpt2", "llama"])
def test_a_step_of_writing_asks_for_no_more_than_it_did(
    monkeypatch: pytest.MonkeyPatch, config: PreTrainedConfig, most: int
) -> None:
    """Its tokens, their log-probs, whether logits are finite, and the longest text.

    Of other models than GPT-2 the library asks too: whether its mask can be left out.
    """
    policy, generator = CausalLMPolicy.from_config(config), torch.Generator()

    def asked_in(length: int) -> int:
        envs = environments(length)
        return counted(monkeypatch, lambda: collect_rollout(policy, envs, ROWS, generator, seed=0))

    short, long = asked_in(8), asked_in(24)
    assert long - short <= most * (24 - 8)


def llama_with(rope_type: str, **parameters: Any) -> LlamaConfig:
    config = copy.deepcopy(LLAMA)
    config.rope_parameters = {"rope_type": rope_type, "rope_theta": 10_000.0, **parameters}
    return config


SCALED: dict[str, Any] = {"factor": 2.0, "original_max_position_embeddings": 32}
FREQUENCIES = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
FACTORS = {"long_factor": [2.0] * 4, "short_factor": [1.0] * 4}


@pytest.mark.parametrize(
    ("config", "nothing"),
    [
        (GPT2, True),
        (LLAMA, True),
        (llama_with("linear", factor=2.0), True),
        (llama_with("yarn", **SCALED), True),
        (llama_with("llama3", **SCALED, **FREQUENCIES), True),
        (llama_with("longrope", **SCALED, **FACTORS), False),
        (llama_with("dynamic", factor=2.0), False),
    ],
    ids=["gpt2", "llama", "linear", "yarn", "llama3", "longrope", "dynamic"],
)
def test_a_step_to_be_recorded_asks_for_nothing(
    monkeypatch: pytest.MonkeyPatch, config: PreTrainedConfig, nothing: bool
) -> None:
    policy = CausalLMPolicy.from_config(config)
    cache = RowCache(n_layers=2, n_rows=ROWS, max_length=8)
    states = [(torch.zeros(ROWS, 2, 3, 8),) * 2] * 2
    cache.insert(torch.arange(ROWS), states, torch.full((ROWS,), 3))
    step = FixedStep(policy, cache)
    step.prepare(torch.arange(ROWS))
    with torch.no_grad():
        n_asked = counted(monkeypatch, step.hidden)
    assert asks_nothing(policy) == nothing
    assert n_asked == 0 or not nothing


def test_a_step_of_a_policy_shared_out_asks_other_processes() -> None:
    policy = CausalLMPolicy.from_config(LLAMA)
    assert asks_nothing(policy)
    policy.__class__ = type("Sharded", (FSDPModule, CausalLMPolicy), {})  # as sharding does
    assert not asks_nothing(policy)


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_a_micro_batch_asks_for_its_statistics(
    monkeypatch: pytest.MonkeyPatch, config: PreTrainedConfig
) -> None:
    one, four = (
        counted(monkeypatch, update_of(config, micro_batch_size=size)) for size in (ROWS, 1)
    )
    per_micro_batch = (four - one) / 3
    assert per_micro_batch <= 21
    assert one - per_micro_batch <= 4  # of the step: that it is sound, and the norm of its gradient


def update_of(config: PreTrainedConfig, **settings: Any) -> Callable[[], object]:
    policy = CausalLMPolicy.from_config(config)
    agent = PPO(policy, environments(8), PPOConfig(
        n_episodes=ROWS, batch_size=ROWS, n_epochs=1, **settings
    ))  # fmt: skip
    rollout = agent.collect()
    experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
    return lambda: agent.update(experience)


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
def test_a_policy_gives_shapes_where_there_are_no_numbers(config: PreTrainedConfig) -> None:
    policy = CausalLMPolicy.from_config(config).to("meta")
    ids = torch.zeros(3, 5, dtype=torch.long, device="meta")
    mask = torch.ones(3, 1, 5, 5, dtype=torch.bool, device="meta").tril()
    hidden = policy.hidden_states(ids, mask, use_cache=False)
    assert hidden.device.type == "meta"
    assert hidden.shape == (3, 5, 16)
    assert policy.logits(hidden[:, -1]).shape == (3, 8)
    assert policy.values(hidden).shape == (3, 5)
