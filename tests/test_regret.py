"""The benchmarks of regret and of PPO's details: the language, its answers, how runs are kept.

At sizes at which only the bookkeeping shows; what is learnt is no matter here.
"""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import PPO, PolicyConfig, PPOConfig
from benchmarks import ablations, enumerable, regret
from benchmarks.cells import Cells
from benchmarks.enumerable import Language, Point, Task
from benchmarks.faulty_ppo import DropoutLeftOn, EosAsPadding, FirstToFinish
from benchmarks.interquartile import bootstrapped, interquartile_mean, interval_figure
from benchmarks.learner import Learner, averaged, learnt

NO_VALUES = PolicyConfig(value_network="none")


@pytest.fixture(scope="module")
def language() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        yield Language()


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Fewer texts to learn the language from, and shorter ones."""
    patch.setattr(enumerable, "TEXTS", (1200, 60))
    patch.setattr(enumerable, "TOKENS", 3)


@pytest.fixture(params=list(enumerable.REWARDS))
def task(request: pytest.FixtureRequest, language: Language) -> Task:
    return language.tasks[request.param]


# The language


@pytest.mark.parametrize(
    ("reward", "prompt", "completion", "paid"),
    [
        (enumerable.vowels, "d", "abe", 0.4),
        (enumerable.doubled, "d", "dd", 1.0),
        (enumerable.doubled, "d", "dde", 1.0),
        (enumerable.doubled, "d", "edd", 0.0),
        (enumerable.backwards, "d", "cc", 1.0),
        (enumerable.backwards, "a", "hhb", 1.0),
        (enumerable.backwards, "d", "c", 0.0),
    ],
)
def test_rewards_by_hand(reward: Any, prompt: str, completion: str, paid: float) -> None:
    assert reward(prompt, completion) == paid


def test_the_source_goes_forwards_and_ends() -> None:
    texts = enumerable.source_texts(3000, seed=0)
    steps, ends = np.zeros(8), 0
    for ids, _ in texts:
        letters = [one for one in ids if one < 8]
        ends += len(letters) < len(ids)
        for first, second in pairwise(letters):
            steps[(second - first) % 8] += 1
    np.testing.assert_allclose(steps / steps.sum(), enumerable.STEPS, atol=0.02)
    assert ends / 3000 == pytest.approx(1 - (1 - enumerable.ENDS) ** enumerable.TOKENS, abs=0.03)
    assert max(len(ids) for ids, _ in texts) == 1 + enumerable.TOKENS


def test_a_policy_starts_as_the_reference(language: Language, task: Task) -> None:
    start = task.judge(language.policy(NO_VALUES))
    assert start.kl == pytest.approx(0, abs=1e-12)
    assert start.expected_reward == pytest.approx(task.start.expected_reward, rel=1e-9)
    assert task.regret(start, 0.3) == pytest.approx(1)


def test_policies_do_not_share_what_they_learn(language: Language) -> None:
    first, second = language.policy(NO_VALUES), language.policy(NO_VALUES)
    with torch.no_grad():
        first.head.weight.zero_()
    assert second.head.weight.abs().sum() > 0


@pytest.mark.parametrize("beta", [0.02, 1.0])
def test_the_optimum_has_no_regret_and_is_on_the_frontier(task: Task, beta: float) -> None:
    best = task.optimum(beta)
    assert task.regret(best, beta) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(task.frontier([beta])[0], best, rtol=1e-9)


def test_best_of_n_is_below_the_frontier(task: Task) -> None:
    rewards, kls = np.array(task.frontier(np.geomspace(0.01, 20, 400))).T
    for n in (2, 8, 64):
        point = task.best_of(n)
        reach = np.interp(point.kl, kls[::-1], rewards[::-1])
        assert task.start.expected_reward < point.expected_reward <= reach + 1e-3


def test_regret_is_the_share_of_the_gap_that_is_left(language: Language) -> None:
    task = language.tasks["dense"]
    best, start = task.optimum(0.1).objective(0.1), task.start.objective(0.1)
    halfway = Point(kl=1.0, expected_reward=(best + start) / 2 + 0.1)
    assert task.regret(halfway, 0.1) == pytest.approx(0.5)


# Runs


def test_a_cell_is_measured_once(tmp_path: Path) -> None:
    path, key = tmp_path / "folder" / "cells.jsonl", {"seed": 0, "config": {"rate": 0.1}}
    assert Cells(path).found(key, lambda: {"score": 0.5}) == {"score": 0.5}
    again = Cells(path)
    assert again.found(key, lambda: {"score": 0.9}) == {"score": 0.5}
    assert again.found({**key, "seed": 1}, lambda: {"score": 0.9}) == {"score": 0.9}
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2


def test_a_line_that_a_kill_left_half_written_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    for seed in range(2):
        Cells(path).found({"seed": seed}, lambda: {"score": 0.5})
    path.write_text(path.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    cells = Cells(path)
    assert cells.found({"seed": 0}, lambda: {"score": 0.9}) == {"score": 0.5}
    assert cells.found({"seed": 1}, lambda: {"score": 0.9}) == {"score": 0.9}
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["key"]["seed"] for line in lines] == [0, 1]


def test_the_interquartile_mean_by_hand() -> None:
    assert interquartile_mean(np.array([9.0, 1.0, 2.0, -5.0])) == 1.5
    # Of five, 0.25 of the second, the third, and 0.25 of the fourth, times five, over 2.5.
    assert interquartile_mean(np.array([0.0, 1.0, 2.0, 4.0, 99.0])) == pytest.approx(
        (0.75 * 1 + 2 + 0.75 * 4) / 2.5
    )


def test_intervals_know_which_task_a_run_is_of() -> None:
    exact = bootstrapped([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    assert (exact.low, exact.value, exact.high) == (0.5, 0.5, 0.5)
    noisy = bootstrapped(np.random.default_rng(0).normal(size=(1, 200)))
    assert noisy.low < noisy.value < noisy.high
    assert noisy.high - noisy.low == pytest.approx(4 / 200**0.5, rel=0.3)
    with pytest.raises(ValueError, match="at least one"):
        bootstrapped([])


def test_a_figure_of_an_interval_is_held_against_its_goal() -> None:
    one = interval_figure("regret", [0.01, 0.02, 0.03], "of the gap", at_most=0.05, note="why")
    assert (one.value, one.holds, one.repeats) == (pytest.approx(0.02), True, 3)
    assert one.lowest <= one.value <= one.highest
    assert one.note.endswith("why")


def test_a_run_that_a_health_check_stops_says_why(language: Language) -> None:
    learner = Learner("too fast", PPO, {"learning_rate": 1e3, "max_grad_norm": 1e9})
    config = learner.config(n_episodes=16, batch_size=8, normalize_advantage=False)
    policy = language.policy(learner.options(config))
    agent = learner.agent(policy, language.tasks["dense"].envs(16), config)
    assert "must" in learnt(agent, 160)


def test_averaged_weights_are_judged_where_there_are_any(language: Language) -> None:
    learner = Learner("averaging", PPO, {"ema_decay": 0.5})
    config = learner.config(n_episodes=16, batch_size=8, learning_rate=1e-2)
    policy = language.policy(learner.options(config))
    agent = learner.agent(policy, language.tasks["dense"].envs(16), config)
    assert learnt(agent, 16) == ""
    learnt_weight = policy.head.weight.clone()
    with averaged(agent):
        assert not torch.equal(policy.head.weight, learnt_weight)
    assert torch.equal(policy.head.weight, learnt_weight)


# Faults


def faulty(kind: type[PPO], language: Language, n_episodes: int = 64) -> PPO:
    config = PPOConfig(n_episodes=n_episodes, batch_size=32, n_epochs=1, learning_rate=1e-3)
    envs = language.tasks["dense"].envs(n_episodes)
    return kind(language.policy(PolicyConfig()), envs, config)


def test_eos_taken_for_padding_is_not_learnt(language: Language) -> None:
    agent = faulty(EosAsPadding, language)
    rollout = agent.collect()
    eos = enumerable.TOKENIZER.eos_token_id
    assert (rollout.texts.input_ids == eos).any()
    assert not (rollout.texts.input_ids[rollout.texts.completion_mask] == eos).any()
    paid = rollout.rewards[~rollout.texts.completion_mask]
    assert not paid.any()
    assert rollout.scores.sum() > 0
    assert agent.learn(64).n_updates == 1


def test_first_to_finish_is_shorter(language: Language) -> None:
    fair, hasty = (
        faulty(kind, language, 2048).collect().texts.lengths.float().mean()
        for kind in (PPO, FirstToFinish)
    )
    assert hasty < fair - 0.01  # the same texts, but for those that did not make it
    assert faulty(FirstToFinish, language).learn(64).n_updates == 1


def test_dropout_is_on_in_the_update_alone(language: Language) -> None:
    agent = faulty(DropoutLeftOn, language)
    agent.learn(64)
    assert not agent.policy.training
    assert agent.n_updates == 1


# Command lines


@pytest.mark.slow
def test_regret_is_measured_drawn_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shrink(monkeypatch)
    monkeypatch.setattr(regret, "LEARNERS", regret.LEARNERS[:2])
    arguments = ["regret.py", "--quick", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", [*arguments, "--picture", str(tmp_path / "frontier.png")])
    regret.main()
    lines = (tmp_path / "regret.jsonl").read_text(encoding="utf-8")
    assert len(lines.splitlines()) == 3 * 2 * 2  # rewards, prices and learners
    result = json.loads((tmp_path / "regret.json").read_text(encoding="utf-8"))
    goals = [one for one in result["figures"] if one["goal"] is not None]
    assert len(goals) == 3 * 2
    assert all(one["goal"] == 0.05 and one["repeats"] == 1 for one in goals)
    for name in ("frontier.png", "frontier-dark.png"):
        assert (tmp_path / name).stat().st_size > 10_000
    assert "| dense | β = 0.05 |" in capsys.readouterr().out
    monkeypatch.setattr(regret, "outcome", str)  # nothing is measured again
    regret.main()
    assert (tmp_path / "regret.jsonl").read_text(encoding="utf-8") == lines


def test_every_learner_has_a_setting_that_fits_the_budget() -> None:
    for learner in regret.LEARNERS:
        config = regret.config_of(regret.Cell("dense", 0.1, learner.name, 0), learner)
        assert all(episodes % config.n_episodes == 0 for episodes in regret.EPISODES)


@pytest.mark.slow
def test_details_are_changed_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shrink(monkeypatch)
    monkeypatch.setattr(ablations, "JUDGED", 256)
    monkeypatch.setattr(ablations, "VARIANTS", ablations.VARIANTS[:1])
    monkeypatch.setattr(ablations, "KL_VARIANTS", ablations.KL_VARIANTS[:1])
    monkeypatch.setattr(sys, "argv", ["ablations.py", "--quick", "--output", str(tmp_path)])
    ablations.main()
    result = json.loads((tmp_path / "ablations.json").read_text(encoding="utf-8"))
    names = [one["name"] for one in result["figures"]]
    assert names == [
        "language: PPO as it is",
        "language: advantages not whitened",
        "language: advantages not whitened − PPO",
        "language: KL in the loss, k1",
        "language: KL in the loss, k1 − PPO",
        "counting up: PPO as it is",
        "counting up: advantages not whitened",
        "counting up: advantages not whitened − PPO",
    ]
    table = capsys.readouterr().out
    assert "| KL in the loss, k1 |" in table
