"""The examples run, learn, and use only what is public."""

from __future__ import annotations

import ast
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import agents
from text_gym import Episode

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


def loaded(name: str) -> Any:
    """Imports an example as a module, whose classes can be pickled."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main_of(name: str) -> Any:
    return loaded(name).main


def improves(rewards: list[float], least: float) -> bool:
    return max(rewards[-3:]) >= least > max(rewards[:2])


@pytest.fixture(autouse=True)
def global_streams() -> Any:
    """Leaves torch's global stream as it was: examples seed it, as programs do."""
    with torch.random.fork_rng():
        yield


@pytest.mark.slow
def test_ppo_in_a_single_file() -> None:
    example = loaded("ppo_single_file")
    assert improves(example.main(example.Args(total_timesteps=10_240)), 15.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["leave_one_out", "grpo"])
def test_loops_of_ones_own(name: str) -> None:
    assert improves(main_of(name)(30), 18.0)


@pytest.mark.slow
def test_turns_are_learnt() -> None:
    assert improves(main_of("several_turns")(), 0.8)


@pytest.mark.slow
def test_a_tool_is_called_and_believed() -> None:
    assert improves(main_of("tool")(), 0.8)


def test_best_of_n_is_near_the_exact_answer() -> None:
    for sampled, exact in main_of("best_of_n")().values():
        assert sampled == pytest.approx(exact, abs=0.1)


def test_a_classifier_pays_every_text() -> None:
    rewards = main_of("classifier_reward")(50)
    assert len(rewards) > 50
    assert len(set(rewards)) > 10


def test_both_wrappers_take_the_price() -> None:
    assert main_of("own_wrapper")() == (2.5, 2.5)


@pytest.mark.slow
def test_stable_baselines3() -> None:
    plain, masked = main_of("sb3")(3000)
    assert plain > 2
    assert masked > 2


@pytest.mark.slow
def test_torchrl() -> None:
    assert improves(main_of("torchrl_ppo")(10), 2.0)


@pytest.mark.slow
def test_skrl() -> None:
    assert main_of("skrl_ppo")(400) > 0.6


class CountingTask:
    """A stand-in for a task of reasoning-gym: the place is asked for, and is the answer."""

    def __init__(self, name: str, size: int, seed: int) -> None:
        self.name, self.size = name, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, place: int) -> dict[str, Any]:
        said = {"question": f"{self.name} {place}?", "answer": str(place % 4)}
        return {**said, "metadata": {"source_dataset": self.name}}

    def score_answer(self, answer: str | None, entry: dict[str, Any]) -> float:
        assert entry["metadata"]["source_dataset"] == self.name
        return 1.0 if answer == entry["answer"] else 0.5 * (self.name == "letter_counting")


def test_tasks_are_paid_by_their_own_scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    library = types.SimpleNamespace(create_dataset=CountingTask)
    monkeypatch.setitem(sys.modules, "reasoning_gym", library)
    assert main_of("reasoning_tasks")(16) == (2 * 1.0 + 2 * 1.0 + 6 * 0.5) / 16


def test_tasks_of_reasoning_gym() -> None:
    reasoning_gym = pytest.importorskip("reasoning_gym")
    example = loaded("reasoning_tasks")
    tasks = {name: reasoning_gym.create_dataset(name, size=4, seed=0) for name in example.TASKS}
    prompts = example.prompts_of(tasks)
    asked = [{"prompt": one.text, "metadata": one.metadata} for one in prompts]
    right = [
        Episode.from_text(completion=str(p.reference), **a)
        for p, a in zip(prompts, asked, strict=True)
    ]
    assert example.OwnScores(tasks)(right).tolist() == [1.0] * 8
    assert 0 < example.main(64) < 0.5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_uses_what_is_public(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agents"):
            assert node.module == "agents"
            assert {alias.name for alias in node.names} <= set(agents.__all__)


def test_they_are_as_short_as_they_say() -> None:
    lines = {path.stem: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert lines["ppo_single_file"] <= 250
    assert lines["grpo"] <= 60
    assert "import agents" not in (EXAMPLES / "ppo_single_file.py").read_text(encoding="utf-8")


def test_each_is_listed() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({path.name})" in page for path in FILES)
