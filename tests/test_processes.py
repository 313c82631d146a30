"""Two processes that learn together: one batch, one gradient, one policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import distributed
from torch.testing import assert_close
from transformers import GPT2Config

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.experience import Experience
from agents.algorithms.ppo import PPO
from agents.callbacks import Callback
from agents.distributed import processes
from agents.policy.action_masks import ActionMasks
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.token_batch import TokenBatch, concatenated
from agents.rollout.buffer import Rollout
from text_gym import CharTokenizer, TextGenVectorEnv

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="no torch.distributed")


def agent(num_envs: int = 4, callbacks: tuple[Callback, ...] = (), **changes: Any) -> PPO:
    envs = TextGenVectorEnv(
        num_envs,
        prompts=["a", "bb", "ab", "ba"],
        tokenizer=CharTokenizer("ab"),
        reward_function=lambda prompt, completion: completion.count("a") - len(prompt),
        max_new_tokens=6,
        autoreset_mode="Disabled",
    )
    config = GPT2Config(
        vocab_size=3, n_positions=8, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    settings = {"n_episodes": 16, "batch_size": 6, "n_epochs": 2, "learning_rate": 1e-2, **changes}
    policy = CausalLMPolicy.from_config(config).double()
    return PPO(policy, envs, PPOConfig(**settings), callbacks=callbacks)


InTwoProcesses = Callable[[Callable[[], Any]], list[Any]]


def gradients(one: PPO, experience: Experience) -> list[torch.Tensor]:
    one._accumulate(experience)
    return [parameter.grad for parameter in one.policy.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("n_episodes", [16, 1])
@pytest.mark.parametrize("micro_batch_size", [None, 3])
def test_the_gradient_is_that_of_one_process_with_the_joint_batch(
    n_episodes: int, micro_batch_size: int | None, in_two_processes: InTwoProcesses
) -> None:
    one = agent(micro_batch_size=micro_batch_size, clip_range_vf=0.1, ent_coef=0.1)
    rollout = one.collect()
    experience, _ = one.estimate(rollout, *one.forward(rollout.texts))
    experience = experience.select(torch.arange(n_episodes))
    expected = gradients(one, experience)
    for got in in_two_processes(lambda: gradients(one, experience)):
        for mine, theirs in zip(expected, got, strict=True):
            assert_close(mine, theirs, rtol=0, atol=1e-12)


class Log(Callback):
    def __init__(self) -> None:
        self.rows: list[Any] = []

    def on_rollout_end(self, agent: PPO, rollout: Rollout) -> None:
        self.rows.append(rollout.texts.input_ids)

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        told = {name: value for name, value in metrics.items() if not name.startswith("time/")}
        self.rows.append(told)
        self.rows.append([parameter.detach().clone() for parameter in agent.policy.parameters()])
        return True


def test_policies_texts_and_metrics_stay_identical_in_every_update(
    in_two_processes: InTwoProcesses,
) -> None:
    def work() -> list[Any]:
        log = Log()
        seed_of_rank = processes.rank()  # ranks start apart; rank 0's parameters must win
        one = agent(callbacks=(log,), kl_target=0.1, kl_horizon=100, whiten_rewards=True)
        with torch.no_grad():
            one.policy.head.weight.add_(seed_of_rank)
        one = PPO(one.policy, one.envs, one.config, callbacks=(log,))
        one.learn(48)
        return log.rows

    first, second = in_two_processes(work)
    assert len(first) == 9
    for mine, theirs in zip(first, second, strict=True):
        assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(first[0][:8], first[0][8:])


def test_rows_of_two_processes_start_like_the_rows_of_one_vector(
    in_two_processes: InTwoProcesses,
) -> None:
    def work() -> list[str]:
        one = agent(num_envs=4, n_episodes=8)
        rollout = one.collect()
        joint, _, _ = one.gather(rollout, *one.forward(rollout.texts))
        return [info["text_episode"].prompt for info in joint.infos]

    joint = agent(num_envs=8, n_episodes=8).collect()
    expected = [info["text_episode"].prompt for info in joint.infos]
    assert len(set(expected)) > 1
    assert in_two_processes(work) == [expected, expected]


def test_what_one_process_asks_for_stops_both(in_two_processes: InTwoProcesses) -> None:
    class Stop(Callback):
        def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
            return processes.rank() == 0 or agent.n_updates < 2

    def work() -> int:
        return agent(callbacks=(Stop(),)).learn(160).n_updates

    assert in_two_processes(work) == [2, 2]


def test_what_the_first_process_gets_or_raises_reaches_both(
    in_two_processes: InTwoProcesses,
) -> None:
    def raises() -> None:
        raise FileExistsError("there already")

    def work() -> tuple[int, str]:
        rank = processes.from_main(processes.rank)
        try:
            processes.from_main(raises)
        except FileExistsError as error:
            return rank, str(error)
        raise AssertionError

    assert in_two_processes(work) == [(0, "there already")] * 2


def test_a_batch_that_cannot_be_shared_out_is_refused(in_two_processes: InTwoProcesses) -> None:
    def work() -> str:
        try:
            agent(n_episodes=15)
        except ValueError as error:
            return str(error)
        return ""

    for message in in_two_processes(work):
        assert message.startswith("config.n_episodes must be a multiple of 2 process(es)")


def test_action_masks_of_both_processes_hold() -> None:
    """Each numbers its masks in its own order; the joint batch must keep them apart."""
    first = TokenBatch(
        torch.tensor([[1, 2]]),
        torch.ones(1, 2, dtype=torch.bool),
        torch.tensor([[False, True]]),
        ActionMasks(torch.tensor([[True, False, True]]), torch.tensor([[0, 0]])),
    )
    second = TokenBatch(
        torch.tensor([[1, 2, 0]]),
        torch.ones(1, 3, dtype=torch.bool),
        torch.tensor([[False, True, True]]),
        ActionMasks(
            torch.tensor([[True, True, True], [False, True, True]]), torch.tensor([[0, 1, 0]])
        ),
    )
    joint = concatenated([first, second])
    assert joint.action_masks is not None
    assert joint.input_ids.tolist() == [[1, 2, 0], [1, 2, 0]]
    assert joint.attention_mask.tolist() == [[True, True, False], [True, True, True]]
    allowed = joint.action_masks.table[joint.action_masks.numbers]
    assert allowed[0, 1].tolist() == [True, False, True]
    assert allowed[1].tolist() == [[True, True, True], [False, True, True], [True, True, True]]


def test_where_a_batch_has_no_masks_everything_was_allowed() -> None:
    free = TokenBatch(
        *(torch.ones(2, 2, dtype=kind) for kind in (torch.long, torch.bool, torch.bool))
    )
    masks = ActionMasks(torch.tensor([[True, False]]), torch.zeros(2, 2, dtype=torch.long))
    assert concatenated([free, free]).action_masks is None
    joint = concatenated([free, free._replace(action_masks=masks)])
    assert joint.action_masks is not None
    allowed = joint.action_masks.table[joint.action_masks.numbers]
    assert allowed[:2].all()
    assert allowed[2:].tolist() == [[[True, False]] * 2] * 2


def test_alone_a_process_exchanges_nothing() -> None:
    assert (processes.rank(), processes.world_size(), processes.is_main()) == (0, 1, True)
    value = object()
    assert processes.all_gather_object(value) == [value]
    one = agent()
    rollout = one.collect()
    judged = one.forward(rollout.texts)
    assert one.gather(rollout, *judged) == (rollout, *judged)


def test_what_a_job_has_is_shared_out_evenly(in_two_processes: InTwoProcesses) -> None:
    def work() -> tuple[int, str]:
        with pytest.raises(ValueError, match="num_envs") as refused:
            processes.share_of(15, "num_envs")
        return processes.share_of(16, "num_envs"), str(refused.value)

    message = "num_envs must be a multiple of the number of processes, 2, got 15"
    assert in_two_processes(work) == [(8, message)] * 2
    assert processes.share_of(15, "num_envs") == 15


def test_one_process_where_several_were_asked_for_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What `accelerate launch` without GPUs sets for its one process."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert processes.init(use_cpu=True).type == "cpu"
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(ValueError, match="must be 1 where no GPU is used"):
        processes.init(use_cpu=True)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "1")
    assert processes.init(use_cpu=True).type == "cpu"


@pytest.mark.parametrize("engine", ["DEEPSPEED", "FSDP", "MEGATRON_LM", "PARALLELISM_CONFIG"])
def test_a_launchers_section_that_has_no_effect_is_refused(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{engine}", "true")
    with pytest.raises(ValueError, match=rf"ACCELERATE_USE_{engine}=true.*--policy.sharded"):
        processes.init(use_cpu=True)
