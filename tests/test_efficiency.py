"""The benchmark of efficiency: curves, profiles, ratios, and a small round of what runs here."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import contestants, efficiency
from benchmarks.efficiency import Cell, Part, figures_of, profiles_of, soonest
from benchmarks.efficiency_picture import band, profile
from benchmarks.interquartile import bootstrapped, bootstrapped_ratio
from benchmarks.learning_curve import LearningCurve, Reached
from benchmarks.trl_learner import TRLLearner

ROOT = Path(__file__).parents[1]


class Clock:
    """Goes on by a second at every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Returns seconds."""
        self.now += 1
        return self.now


def test_a_share_is_reached_by_the_mean_of_the_last_256_texts() -> None:
    curve = LearningCurve(budget=1000, clock=Clock())
    curve.add([0.0] * 200)
    curve.add([1.0] * 200)
    # Of texts 145 to 400, 56 are 0; at text 328, half of the last 256 was.
    assert curve.reached == {0.5: Reached(328, 2.0)}
    curve.add([1.0] * 44)
    assert curve.reached[0.8] == Reached(405, 3.0)
    assert curve.reached[0.95].episodes == 444
    assert not curve.is_done
    curve.add([0.0] * 600)
    assert curve.is_done
    assert 0.99 not in curve.reached


def test_seconds_count_from_the_start() -> None:
    curve = LearningCurve(budget=1000, clock=Clock())
    curve.start()
    curve.add([1.0] * 256)
    assert curve.reached[0.99] == Reached(256, 1.0)
    assert curve.found()["reached"] == {
        share: [256, 1.0] for share in ("0.5", "0.8", "0.95", "0.99")
    }


def test_a_profile_gives_every_task_the_same_weight() -> None:
    needed = [[10.0, 10.0, 10.0, 10.0], [np.inf]]
    places = np.array([9.0, 10.0, 100.0])
    assert profile(needed, places).tolist() == [0.0, 0.5, 0.5]
    assert band(needed, places).tolist() == [[0.0, 0.5, 0.5], [0.0, 0.5, 0.5]]
    low, high = band([[1.0, 20.0] * 5], places)
    assert low[1] < 0.5 < high[1]


def test_the_interval_of_a_ratio_knows_the_noise_of_both_sides() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 1, 200))
    quiet = bootstrapped_ratio(10 + noise[0], [[5.0, 5.0]])
    assert quiet.value == pytest.approx(2, rel=0.02)
    noisy = bootstrapped_ratio(10 + noise[0], 5 + noise[1])
    assert noisy.high - noisy.low > 1.5 * (quiet.high - quiet.low)
    with pytest.raises(ValueError, match="at least one"):
        bootstrapped_ratio([1.0], [])


def test_runs_that_do_not_differ_have_no_interval_to_the_last_digit() -> None:
    for seed in range(20):
        table = np.random.default_rng(seed).uniform(100, 10_000, size=(7, 1))
        one = bootstrapped(table, draws=100)
        assert one.low == one.value == one.high


# Figures


def a_run(texts: int | None, seconds: float = 8.0, **more: float) -> dict[str, Any]:
    reached = {} if texts is None else {"0.95": [texts, seconds / 2]}
    return {"reached": reached, "episodes": 1000, "seconds": seconds, **more}


def runs_of(learner: str, toy: str, *texts: int | None, **more: float) -> dict[Cell, Any]:
    return {Cell(learner, toy, seed): a_run(one, **more) for seed, one in enumerate(texts)}


class Named:
    """Has a name and nothing else."""

    def __init__(self, name: str) -> None:
        self.name = name

    def plain(self) -> dict[str, Any]:
        """Says nothing."""
        return {}

    def run(self, toy: str, seed: int, budget: int) -> dict[str, Any]:
        """Is never run."""
        raise AssertionError(self.name)


PARTS = [
    Part([Named("quick"), Named("slow")], rivals=False),
    Part([Named("rival"), Named("other")], slower=3.0),
]


def test_the_best_of_ours_is_held_against_the_best_rival() -> None:
    runs = (
        runs_of("slow", "Sorting", 900, 900)
        | runs_of("quick", "Sorting", 200, 200)
        | runs_of("rival", "Sorting", None, 400, beside=2.0)
        | runs_of("other", "Sorting", None, None, beside=2.0)
    )
    found = {one.name: one for one in figures_of(runs, PARTS, budget=1000)}
    one = found["Sorting: texts to 95%, quick / rival"]
    assert one.value == pytest.approx(200 / 700)
    assert (one.goal, one.holds) == (1.1, True)
    assert "2 of 2 and 1 of 2 runs" in one.note
    # One run that came half way through its 8 seconds, and one that never came; ours took 2.
    time = found["rival / trajectory balance, larger batches: processor time to 95%"]
    assert (time.lowest, time.highest, time.goal) == (2.0, 4.0, 3.0)
    assert found["other: to 95%"].value == 1000


@pytest.mark.parametrize("texts", [(300, 300), (200, None), (None, None)])
def test_ours_must_not_need_more_and_must_come_so_far(texts: tuple[int | None, ...]) -> None:
    runs = runs_of("quick", "Sorting", *texts) | runs_of("rival", "Sorting", 250, 250, beside=1.0)
    [one] = [one for one in figures_of(runs, PARTS, budget=1000) if one.goal == 1.1]
    assert one.holds is False


def test_one_run_is_reported_and_not_judged() -> None:
    runs = runs_of("quick", "Sorting", 200) | runs_of("rival", "Sorting", 250, 300, beside=1.0)
    [one] = [one for one in figures_of(runs, PARTS, budget=1000) if " / rival" in one.name]
    assert (one.goal, one.holds) == (None, None)


def test_where_no_run_came_so_far_nothing_is_claimed() -> None:
    runs = runs_of("quick", "Sorting", None) | runs_of("rival", "Sorting", None, beside=1.0)
    assert all(one.goal != 1.1 for one in figures_of(runs, PARTS, budget=1000))
    assert soonest(runs, ["nobody"], "Sorting", 1000) is None


def test_profiles_are_of_learners_with_runs_on_every_toy() -> None:
    runs = (
        runs_of("quick", "Sorting", 200)
        | runs_of("quick", "Copying", None)
        | runs_of("rival", "Sorting", 300)
    )
    assert profiles_of(runs)[0.95] == {"quick": [[200.0], [np.inf]]}


# TRL


def fake_python(folder: Path, version: str) -> Path:
    report = {"found": {"reached": {}}, "versions": {"trl": version}}
    path = folder / "python"
    lines = (f'echo "$@" > {folder}/arguments', "echo noise", f"echo '{json.dumps(report)}'")
    path.write_text("\n".join(("#!/bin/sh", *lines, "")), encoding="utf-8")
    path.chmod(0o755)
    return path


def test_trl_is_told_a_toy_and_answers_with_its_curve(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "1.16.0")
    learner = TRLLearner("TRL GRPO", python, "1.16.0", "grpo", {"learning_rate": 0.5})
    assert learner.run("Sorting", seed=7, budget=512) == {"reached": {}}
    told = (tmp_path / "arguments").read_text(encoding="utf-8")
    for option in ("grpo --task Sorting --seed 7 --budget 512", '{"learning_rate": 0.5}'):
        assert option in told
    assert "python" not in learner.plain()  # where it lies is no part of what it does


def test_another_trl_is_refused(tmp_path: Path) -> None:
    learner = TRLLearner("TRL PPO", fake_python(tmp_path, "1.16.0"), "1.12.0", "ppo", {})
    with pytest.raises(RuntimeError, match=r"must have trl 1\.12\.0"):
        learner.run("Sorting", seed=0, budget=512)


def test_a_trl_that_fails_says_why(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\necho broken >&2\nexit 1\n", encoding="utf-8")
    (tmp_path / "python").chmod(0o755)
    learner = TRLLearner("TRL PPO", tmp_path / "python", "1.12.0", "ppo", {})
    with pytest.raises(RuntimeError, match="broken"):
        learner.run("Sorting", seed=0, budget=512)


def test_trls_side_does_without_agents_and_its_libraries() -> None:
    for name in ("trl_toys", "learning_curve"):
        tree = ast.parse((ROOT / "benchmarks" / f"{name}.py").read_text(encoding="utf-8"))
        imported = {
            (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        assert not any(one.startswith("agents") for one in imported)
        ours = {one for one in imported if one.startswith("benchmarks")}
        assert ours <= {"benchmarks.learning_curve"}


# A round


@pytest.mark.parametrize("contestant", contestants.OURS, ids=lambda one: one.name)
def test_every_setting_of_ours_is_one_that_its_algorithm_accepts(contestant: Any) -> None:
    json.dumps(contestant.plain())  # a key of its cells
    config = contestant.learner.config(**contestant.shared)
    assert all(budget % config.n_episodes == 0 for budget in efficiency.BUDGET)


@pytest.mark.parametrize(
    "contestant", [contestants.BEST, *contestants.SB3], ids=lambda one: one.name
)
def test_a_contestant_learns_until_its_budget_is_used_up(contestant: Any) -> None:
    found = contestant.run("WordCount", seed=0, budget=256)
    assert 256 <= found["episodes"] < 256 + 64
    assert found["seconds"] > 0
    assert 0.2 < found["last"] <= 1


def test_runs_are_measured_resumed_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficiency, "BUDGET", (0, 256))
    monkeypatch.setattr(efficiency, "TIMED", ("WordCount",))
    monkeypatch.setattr(efficiency, "OURS", contestants.OURS[2:3])
    monkeypatch.setattr(efficiency, "SB3_TRANSFORMER", contestants.SB3[1])
    arguments = ["efficiency.py", "--quick", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    efficiency.main()
    lines = (tmp_path / "efficiency.jsonl").read_text(encoding="utf-8")
    assert len(lines.splitlines()) == 3
    result = json.loads((tmp_path / "efficiency.json").read_text(encoding="utf-8"))
    assert result["settings"]["runs"] == {"Dr. GRPO": 1, "SB3 PPO": 1, "SB3 A2C": 1}
    assert any("processor time to 95%" in one["name"] for one in result["figures"])
    assert (tmp_path / "efficiency.png").stat().st_size > 10_000
    # A second seed is asked for when time is up: what there is stays, and is shown.
    monkeypatch.setattr(sys, "argv", [*arguments, "--repeats", "2", "--minutes", "0"])
    efficiency.main()
    assert (tmp_path / "efficiency.jsonl").read_text(encoding="utf-8") == lines
