"""A policy whose parameters are shared out: it learns, is saved and goes on as a whole one does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
from torch.testing import assert_close
from transformers import LlamaConfig

from agents import CausalLMPolicy, PolicyConfig
from agents.algorithms.ppo import PPO
from agents.callbacks import Callback
from agents.checkpoints import checkpoint
from agents.checkpoints.folder import require_whole
from agents.checkpoints.shares import read_shares, write_shares
from agents.distributed import processes
from agents.distributed.sharding import shard, whole
from agents.evaluation.evaluate import evaluate
from agents.rollout.writers.continuous_batching import TransformersWriter
from tests.members import MEMBERS, Member

pytestmark = [
    pytest.mark.skipif(not distributed.is_available(), reason="no torch.distributed"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

InTwoProcesses = Callable[[Callable[[], Any]], list[Any]]
BY_NAME = {member.name: member for member in MEMBERS}
PPO_AVERAGED = BY_NAME["PPO averaged"]
OTHERS = ("REINFORCE", "RLOO", "GRPO", "CISPO", "expert iteration", "trajectory balance")
LLAMA = LlamaConfig(
    vocab_size=3,
    hidden_size=16,
    intermediate_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=8,
    bos_token_id=0,
    eos_token_id=0,
)
OPTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "adapters": {"lora_rank": 2, "value_network": "separate"},
    "frozen": {"frozen_blocks": 1, "gradient_checkpointing": True},
}


def parameters_of(policy: CausalLMPolicy) -> dict[str, Tensor]:
    """All of them, whole, in every process."""
    named = policy.named_parameters()
    return {name: processes.full_tensor(part.detach()).clone() for name, part in named}


def n_held(policy: CausalLMPolicy) -> int:
    """How many elements this process holds."""
    local = (getattr(part, "_local_tensor", part) for part in policy.parameters())
    return sum(part.numel() for part in local)


def sharded(member: Member = PPO_AVERAGED, **changes: Any) -> Any:
    return member.agent(options=member.options(sharded=True), **changes)


def assert_learns_the_same(member: Member, **options: Any) -> None:
    """A whole policy and a sharded one, of this many processes, are the same in the end."""
    agents = [
        member.agent(options=member.options(sharded=one, **options), micro_batch_size=2).learn(32)
        for one in (False, True)
    ]
    expected, got = (parameters_of(agent.policy) for agent in agents)
    for name, value in expected.items():
        assert_close(got[name], value, rtol=0, atol=1e-10, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_a_sharded_policy_learns_what_a_whole_one_learns(
    options: str, in_two_processes: InTwoProcesses
) -> None:
    in_two_processes(lambda: assert_learns_the_same(PPO_AVERAGED, **OPTIONS[options]))


@pytest.mark.slow
def test_so_does_one_of_another_architecture(in_two_processes: InTwoProcesses) -> None:
    def work() -> tuple[Any, Any]:
        config = PPO_AVERAGED.config()
        both = []
        for one in (False, True):
            policy = CausalLMPolicy.from_config(LLAMA, PolicyConfig(sharded=one)).double()
            both.append(PPO(policy, PPO_AVERAGED.environments(), config).learn(32).policy)
        assert n_held(both[1]) < 0.6 * n_held(both[0])
        return parameters_of(both[0]), parameters_of(both[1])

    for expected, got in in_two_processes(work):
        for name, value in expected.items():
            assert_close(got[name], value, rtol=0, atol=1e-10, msg=name)


@pytest.mark.slow
def test_other_algorithms_move_it_as_they_move_a_whole_one(
    in_two_processes: InTwoProcesses,
) -> None:
    def work() -> None:
        for name in OTHERS:
            assert_learns_the_same(BY_NAME[name])

    in_two_processes(work)


def test_what_is_put_in_its_place_after_an_evaluation_is_evaluated_next(
    in_two_processes: InTwoProcesses,
) -> None:
    def log_ratios(agent: Any) -> Any:
        envs = PPO_AVERAGED.environments()
        return evaluate(agent.policy, agent.reference, envs, 4, seed=0).log_ratios

    def work() -> list[tuple[Any, Any]]:
        both = []
        for agent in (PPO_AVERAGED.agent().learn(32), sharded().learn(32)):
            last = log_ratios(agent)
            with agent.average.in_place():
                both.append((last, log_ratios(agent)))
        return both

    for whole_one, shared_out in in_two_processes(work):
        assert whole_one[0] != whole_one[1]
        assert shared_out[0] == pytest.approx(whole_one[0], abs=1e-10)
        assert shared_out[1] == pytest.approx(whole_one[1], abs=1e-10)


class Log(Callback):
    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_update_end(self, agent: Any, metrics: Any) -> bool:
        told = {name: value for name, value in metrics.items() if not name.startswith("time/")}
        self.rows.append(told)
        return True


@pytest.mark.slow
def test_gone_on_with_it_is_what_it_would_have_become_bit_for_bit(
    tmp_path: Path, in_two_processes: InTwoProcesses
) -> None:
    folder = tmp_path / "checkpoint"

    def work() -> tuple[Any, ...]:
        never_stopped, resumed, loaded = Log(), Log(), Log()
        one = sharded(callbacks=(never_stopped,)).learn(16)
        one.save(folder)
        saved = parameters_of(one.policy)
        one.learn(48)
        other = sharded(callbacks=(resumed,)).restore(folder).learn(48)
        third = PPO.load(folder, PPO_AVERAGED.environments(), callbacks=(loaded,)).learn(48)
        logs = [log.rows for log in (never_stopped, resumed, loaded)]
        agents = (one, other, third)
        averages = [
            {name: processes.full_tensor(part) for name, part in agent.tensors().items()}
            for agent in agents
        ]
        return saved, logs, [parameters_of(agent.policy) for agent in agents], averages

    (saved, logs, ends, averages), _ = in_two_processes(work)
    assert len(logs[0]) == 3
    for kept in (1, 2):
        assert_close(logs[kept], logs[0][1:], rtol=0, atol=0, equal_nan=True)
        assert_close(ends[kept], ends[0], rtol=0, atol=0)
        assert_close(averages[kept], averages[0], rtol=0, atol=0)
    sizes = [path.stat().st_size for path in sorted((folder / "parameters").iterdir())]
    assert len(sizes) == 2
    assert max(sizes) < 0.7 * sum(sizes)
    # One process reads the parameters, and cannot go on.
    policy = PPO_AVERAGED.agent(options=PPO_AVERAGED.options()).policy
    checkpoint.restore_policy(policy, folder)
    assert_close(parameters_of(policy), saved, rtol=0, atol=0)
    read = CausalLMPolicy.from_pretrained(folder / "policy", dtype=torch.float64)
    assert_close(parameters_of(read), saved, rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"policy must be that of the checkpoint, but sharded"):
        PPO_AVERAGED.agent().restore(folder)


def test_what_fails_in_one_process_leaves_the_earlier_checkpoint(
    tmp_path: Path, in_two_processes: InTwoProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoint"

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    def work() -> str:
        one = sharded().learn(16)
        checkpoint.save(one, folder, models=False)
        if processes.rank() == 1:
            monkeypatch.setattr(HuggingFaceStorageWriter, "write_data", full)
        with pytest.raises(OSError, match="No space left") as failed:
            checkpoint.save(one.learn(32), folder, models=False)
        return str(failed.value)

    assert in_two_processes(work) == ["[Errno 28] No space left on device"] * 2
    require_whole(folder)
    assert not list(tmp_path.glob(".checkpoint.*"))


def test_one_process_may_have_something_to_save_where_another_has_nothing(
    tmp_path: Path, in_two_processes: InTwoProcesses
) -> None:
    def work() -> tuple[dict[str, Tensor], bool]:
        own = {"a": torch.ones(2)} if processes.is_main() else {}
        write_shares(tmp_path / "some", own)
        write_shares(tmp_path / "none", {})
        return read_shares(tmp_path / "some", {}), (tmp_path / "none").exists()

    for read, none in in_two_processes(work):
        assert_close(read, {"a": torch.ones(2)}, rtol=0, atol=0)
        assert not none


def test_it_is_whole_in_the_first_process_only(in_two_processes: InTwoProcesses) -> None:
    def work() -> tuple[Any, Any]:
        options = PolicyConfig(sharded=True, lora_rank=2)
        policy = PPO_AVERAGED.agent(options=options).policy
        one = whole(policy)
        return parameters_of(policy), one and parameters_of(one)

    (expected, got), (_, none) = in_two_processes(work)
    assert none is None
    assert_close(got, expected, rtol=0, atol=0)


def refusal(make: Callable[[], Any]) -> str:
    with pytest.raises(ValueError, match="must be") as refused:
        make()
    return str(refused.value)


def test_what_cannot_be_shared_out_is_refused_by_name(in_two_processes: InTwoProcesses) -> None:
    def work() -> list[str]:
        return [
            refusal(lambda: sharded(BY_NAME["TRPO"])),
            refusal(lambda: sharded(BY_NAME["ACER"])),
            refusal(lambda: sharded(writer=TransformersWriter())),
            refusal(lambda: sharded(n_episodes=20)),
            refusal(lambda: sharded(n_episodes=18, batch_size=9)),
        ]

    steps = (
        "config.n_episodes must be a multiple of batch_size, and that of the number of processes"
    )
    expected = [
        "policy.sharded must be False for TRPO, got True",
        "policy.sharded must be False for ACER, got True",
        "writer must be None where policy.sharded is True, for no engine finds the shares, got "
        "TransformersWriter",
        f"{steps}, 2, where policy.sharded is True, got 20 and 8",
        f"{steps}, 2, where policy.sharded is True, got 18 and 9",
    ]
    assert in_two_processes(work) == [expected] * 2


def test_sharding_needs_several_processes() -> None:
    with pytest.raises(ValueError, match=r"policy.sharded must be False in one process, got True"):
        sharded()
    with pytest.raises(ValueError, match=r"start several by `torchrun --nproc_per_node N"):
        shard(PPO_AVERAGED.agent().policy)
