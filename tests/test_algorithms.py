"""What holds for every member of the family, by one parametrised test each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.testing import assert_close

from agents import (
    Callback,
    CausalLMPolicy,
    GRPOConfig,
    PolicyConfig,
    REINFORCEConfig,
    RLOOConfig,
)
from agents.policy.value_files import VALUE_HEAD_FILE
from agents.rollout.buffer import Rollout
from tests.members import GROUP_SIZE, MEMBERS, Member
from text_gym import CharTokenizer
from text_gym.constraints import BannedTokens, Constraint, MinimumLength
from text_gym.wrappers.vector import Constrain

every_member = pytest.mark.parametrize("member", MEMBERS, ids=str)
replaying = pytest.mark.parametrize(
    "member", [m for m in MEMBERS if m.algorithm in ("ACER", "TrajectoryBalance")], ids=str
)
with_groups = pytest.mark.parametrize("member", [m for m in MEMBERS if m.needs_groups], ids=str)


class Log(Callback):
    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []
        self.texts: list[list[int]] = []

    def on_rollout_end(self, agent: Any, rollout: Rollout) -> None:
        self.texts += rollout.texts.input_ids.tolist()

    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        self.metrics.append({k: v for k, v in metrics.items() if not k.startswith("time/")})
        return True


def parameters(agent: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in agent.policy.named_parameters()}


@every_member
def test_it_learns_from_its_own_texts(member: Member) -> None:
    log = Log()
    agent = member.agent(callbacks=(log,))
    before = parameters(agent)
    agent.learn(32)
    assert (agent.n_updates, agent.n_episodes) == (2, 32)
    assert any(not torch.equal(before[name], after) for name, after in parameters(agent).items())
    assert log.metrics[0]["rollout/kl"] == pytest.approx(0, abs=1e-9)
    assert all(metrics["train/first_ratio_error"] < 1e-9 for metrics in log.metrics)


@every_member
def test_a_resumed_agent_equals_one_that_was_never_stopped(member: Member, tmp_path: Path) -> None:
    whole_log, log = Log(), Log()
    whole = member.agent(callbacks=(whole_log,)).learn(64)
    member.agent().learn(32).save(tmp_path)
    resumed = member.agent(callbacks=(log,)).restore(tmp_path).learn(64)
    loaded = type(resumed).load(tmp_path, member.environments()).learn(64)
    assert log.metrics == whole_log.metrics[2:]
    assert log.texts == whole_log.texts[-len(log.texts) :]
    for other in (resumed, loaded):
        for name, tensor in parameters(whole).items():
            assert torch.equal(tensor, parameters(other)[name]), name
        assert_close(other.tensors(), whole.tensors(), rtol=0, atol=0)


@every_member
@pytest.mark.skipif(not distributed.is_available(), reason="no torch.distributed")
def test_two_processes_learn_one_policy(
    member: Member, in_two_processes: Callable[[Callable[[], Any]], list[Any]]
) -> None:
    def work() -> Any:
        log = Log()
        agent = member.agent(callbacks=(log,)).learn(32)
        return parameters(agent), log.metrics, log.texts

    first, second = in_two_processes(work)
    assert_close(first, second, rtol=0, atol=0, equal_nan=True)
    assert len(first[2]) == 32


@every_member
@pytest.mark.skipif(not distributed.is_available(), reason="no torch.distributed")
def test_the_gradient_of_two_processes_is_that_of_one(
    member: Member, in_two_processes: Callable[[Callable[[], Any]], list[Any]]
) -> None:
    agent = member.agent()
    rollout = agent.collect()
    experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))

    def gradients() -> list[torch.Tensor]:
        agent._accumulate(experience)
        return [p.grad for p in agent.policy.parameters() if p.grad is not None]

    expected = gradients()
    for got in in_two_processes(gradients):
        assert_close(expected, got, rtol=0, atol=1e-12)


@every_member
def test_micro_batches_add_up(member: Member) -> None:
    whole, parts = member.agent(n_epochs=1).learn(16), member.agent(n_epochs=1, micro_batch_size=3)
    parts.learn(16)
    # TRPO's equations are solved by iterations that amplify rounding.
    tolerance = 1e-5 if member.algorithm == "TRPO" else 1e-6
    for name, tensor in parameters(whole).items():
        assert_close(parameters(parts)[name], tensor, rtol=0, atol=tolerance)


@every_member
def test_an_optimiser_step_reads_each_text_once(member: Member) -> None:
    agent = member.agent()
    rollout = agent.collect()
    experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
    read: list[int] = []
    agent.policy.trunk.register_forward_hook(lambda *_: read.append(1))
    agent._accumulate(experience)
    assert len(read) == 1


@every_member
def test_with_lora_only_adapters_and_values_learn(member: Member) -> None:
    agent = member.agent(options=member.options(lora_rank=2))
    before = parameters(agent)
    agent.learn(32)
    moved = {name for name, t in parameters(agent).items() if not torch.equal(t, before[name])}
    assert any("lora" in name for name in moved)
    assert all("lora" in name or name.startswith("value_head") for name in moved)


@every_member
def test_masks_of_the_environment_are_honoured(member: Member) -> None:
    log = Log()
    banned = CharTokenizer("ab").encode("b")[0]
    envs = Constrain(member.environments(["a", "aa"]), BannedTokens([banned]))
    agent = member.agent(envs=envs, callbacks=(log,)).learn(48)
    assert all(banned not in text for text in log.texts)
    assert all(metrics["train/first_ratio_error"] < 1e-9 for metrics in log.metrics)
    assert log.metrics[0]["rollout/kl"] == pytest.approx(0, abs=1e-9)
    assert agent.n_updates == 3


@every_member
def test_values_are_where_they_are_learnt_and_nowhere_else(member: Member, tmp_path: Path) -> None:
    agent = member.agent().learn(16)
    agent.policy.save_pretrained(tmp_path)
    stored = (tmp_path / VALUE_HEAD_FILE).exists()
    learning = any("value" in name for name in agent.policy.trainable_parameters())
    assert stored == learning == member.learns_values
    wrong = PolicyConfig(value_network="none" if member.learns_values else "separate")
    with pytest.raises(ValueError, match=r"must have value_network '.*', got '.*'"):
        member.agent(options=wrong)


@pytest.mark.parametrize("member", [m for m in MEMBERS if m.learns_values], ids=str)
def test_a_separate_value_network_learns(member: Member) -> None:
    agent = member.agent(options=member.options(value_network="separate"))
    before = parameters(agent)
    agent.learn(32)
    assert any(
        name.startswith("value_trunk") and not torch.equal(tensor, before[name])
        for name, tensor in parameters(agent).items()
    )


@with_groups
def test_environments_without_groups_are_refused(member: Member) -> None:
    agent = member.agent(envs=Member("PPO", "PPO").environments())
    before = parameters(agent)
    with pytest.raises(ValueError, match=r"must report the group_id .*GroupedPrompts"):
        agent.learn(16)
    assert_close(parameters(agent), before, rtol=0, atol=0)


@with_groups
def test_groups_of_another_size_are_refused(member: Member) -> None:
    agent = member.agent(group_size=2 * GROUP_SIZE)
    with pytest.raises(ValueError, match="exactly 8 episodes, but group 0 has 4"):
        agent.learn(16)


@pytest.mark.parametrize("config_class", [RLOOConfig, GRPOConfig])
def test_a_group_size_that_does_not_divide_the_batch_is_refused(config_class: Any) -> None:
    with pytest.raises(ValueError, match="group_size must be a divisor of n_episodes=16, got 3"):
        config_class(n_episodes=16, batch_size=8, group_size=3)


class Excluding(CharTokenizer):
    """Has ids that stand for no text."""

    def __init__(self, *excluded: int) -> None:
        super().__init__("abc")
        self.excluded_token_ids = frozenset(excluded)


@replaying
@pytest.mark.parametrize(
    ("now", "message"),
    [
        ((1, 2), "differs at 1 of 4 tokens, the first 2"),
        ((), "differs at 1 of 4 tokens, the first 1"),
    ],
)
def test_replay_under_another_vocabulary_mask_is_refused(
    member: Member, now: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    def agent(*excluded: int) -> Any:
        envs = member.environments(["a", "aa"], tokenizer=Excluding(*excluded))
        return member.agent(envs=envs)

    agent(1).learn(32).save(tmp_path)
    agent(1).restore(tmp_path).learn(48)
    with pytest.raises(ValueError, match=f"envs must have the vocabulary mask .*{message}"):
        agent(*now).restore(tmp_path)


@replaying
def test_replay_under_other_constraints_is_refused(member: Member, tmp_path: Path) -> None:
    def agent(*constraints: Constraint) -> Any:
        return member.agent(envs=Constrain(member.environments(["a", "aa"]), constraints))

    agent(BannedTokens([1]), MinimumLength(2)).learn(32).save(tmp_path)
    agent(BannedTokens([1]), MinimumLength(2)).restore(tmp_path).learn(48)
    with pytest.raises(ValueError, match=r"number 1 was another .* MinimumLength\(n_tokens=3\)"):
        agent(BannedTokens([1]), MinimumLength(3)).restore(tmp_path)
    with pytest.raises(ValueError, match=r"constraints must be the 2 of the state, got 1"):
        agent(BannedTokens([1])).restore(tmp_path)


@replaying
def test_texts_with_masks_are_not_replayed_beside_texts_without(member: Member) -> None:
    agent = member.agent().learn(16)
    agent.envs = Constrain(agent.envs, BannedTokens([1]))
    before = parameters(agent)
    with pytest.raises(
        ValueError, match="action_mask as for the 1 batches to replay, False, got T"
    ):
        agent.learn(32)
    assert_close(parameters(agent), before, rtol=0, atol=0)


def test_an_option_of_values_is_refused_where_none_are_learnt() -> None:
    with pytest.raises(ValueError, match=r"vf_coef must be left out with .*'batch_mean'.*got 0\.5"):
        REINFORCEConfig(baseline="batch_mean", vf_coef=0.5)
    with pytest.raises(TypeError, match="unexpected keyword argument 'vf_coef'"):
        RLOOConfig(vf_coef=0.5)  # type: ignore[call-arg]


def test_texts_that_were_cut_off_get_no_advantage_where_they_are_filtered() -> None:
    dapo = next(member for member in MEMBERS if member.name == "DAPO")
    for filtered in (False, True):
        agent = dapo.agent(filter_truncated=filtered, normalize_advantage=False, max_redraws=0)
        rollout = agent.collect()
        experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
        cut_off, paid = rollout.cut_off, experience.advantages.ne(0).any(dim=1)
        assert cut_off.any()
        assert not cut_off.all()
        assert bool(paid[cut_off].any()) is not filtered
        assert paid[~cut_off].any()


def test_groups_of_equal_rewards_are_drawn_again_within_the_bound() -> None:
    dapo = next(member for member in MEMBERS if member.name == "DAPO")
    collected: list[int] = []

    def agent(max_redraws: int, reward: Callable[[str, str], float]) -> Any:
        envs = dapo.environments(reward_function=reward)
        return dapo.agent(envs=envs, max_redraws=max_redraws)

    def only_where_b(prompt: str, completion: str) -> float:
        collected.append(1)
        return completion.count("a") if prompt == "bb" else 0.0

    for max_redraws in (0, 3):
        collected.clear()
        rollout = agent(max_redraws, only_where_b).collect()
        assert len(rollout) == 16
        assert len(collected) == 16 * (max_redraws + 1)
    informative = {info["text_episode"].prompt for info in rollout.infos}
    assert "bb" in informative
    groups = rollout.group_ids.bincount()
    assert groups[groups > 0].tolist() == [GROUP_SIZE] * 4


def test_a_policy_without_values_says_so() -> None:
    rloo = next(member for member in MEMBERS if member.name == "RLOO")
    policy: CausalLMPolicy = rloo.agent().policy
    assert policy.value_head is None
    assert policy.value_trunk is None
