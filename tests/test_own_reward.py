"""A reward of the user's own, named on the command line by where it stands."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents.applications.fine_tuning import FineTuning
from agents.applications.registry import APPLICATIONS
from agents.runs import pipeline
from agents.runs.rewards import anchored_reward, digest_of_reward, load_reward
from agents.runs.saved_config import trust_runs
from text_gym import Episode

OWN = """
from dataclasses import dataclass
import beside

def polite(prompt, completion):
    return float(beside.WORD in completion)

@dataclass
class Counting:
    word: str = "so"

    def __call__(self, episodes):
        return [float(one.completion.split().count(self.word)) for one in episodes]

def broken(prompt, completion):
    return 1 / len(completion[:0])
"""
TEXTS = [Episode.from_text("Hi", "thanks so so"), Episode.from_text("Hi", "so")]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "beside.py").write_text("WORD = 'thanks'\n")
    path = tmp_path / "own_rewards.py"
    path.write_text(OWN)
    return path


def tiny(output: Path, reward: str) -> FineTuning:
    config = APPLICATIONS["toy"].with_algorithm("ppo")
    ppo = dataclasses.replace(config.algorithm, n_episodes=8, batch_size=8, n_epochs=1)
    return dataclasses.replace(
        config, algorithm=ppo, reward=reward, output=output, name="run", total_episodes=16,
        num_envs=8, eval_episodes=8, threads=1, checkpoint_every=1,
    )  # fmt: skip


def test_a_function_of_a_file_and_what_lies_beside_it(own: Path) -> None:
    assert load_reward(f"{own}:polite")(TEXTS).tolist() == [1.0, 0.0]


def test_a_class_is_constructed_with_arguments(own: Path) -> None:
    assert list(load_reward(f"{own}:Counting")(TEXTS)) == [2.0, 1.0]
    said = json.dumps({f"{own}:Counting": {"arguments": {"word": "thanks"}}})
    assert list(load_reward(said)(TEXTS)) == [1.0, 0.0]


def test_a_name_of_a_module(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(own.parent)
    assert load_reward("own_rewards:polite")(TEXTS).tolist() == [1.0, 0.0]


def test_several_are_added_up_with_their_weights(own: Path) -> None:
    said = json.dumps({f"{own}:polite": 2, f"{own}:Counting": {"weight": 0.5}, "word_count": -1})
    assert load_reward(said)(TEXTS).tolist() == [2 + 1 - 3, 0.5 - 1]


@pytest.mark.parametrize(
    ("reward", "rule"),
    [
        ("nowhere.py:polite", "name a file that exists, got 'nowhere.py:polite'"),
        ("nowhere.at_all:polite", "name a module that can be imported"),
        ("FILE:missing", r"name one of \['Counting', .*'polite'\] in .*, got '.*:missing'"),
        ('{"FILE:Counting": {"arguments": {"n": 1}}}', "takes: got an unexpected keyword"),
        ('{"FILE:polite": "much"}', "must have a weight, or .*, got {'weight': 'much'}"),
        ('{"sentiment": {"arguments": {"n": 1}}}', "must be a place in code to take arguments"),
        ("{}", "name at least one"),
        ('{"sentiment": 1, "sentiment": 2}', "names must be different"),
        ("{", "must be a name or JSON"),
    ],
)
def test_what_is_wrong_is_one_line(own: Path, reward: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        load_reward(reward.replace("FILE", str(own)))


def test_it_is_found_from_any_folder(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    assert anchored_reward("own_rewards.py:polite") == f"{own}:polite"
    several = anchored_reward('{"own_rewards.py:polite": 2}')
    monkeypatch.chdir(os.sep)
    assert load_reward(several)(TEXTS).tolist() == [2.0, 0.0]


def test_two_spellings_of_one_place_are_one_too_many(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(own.parent)
    with pytest.raises(ValueError, match="names must be different"):
        anchored_reward('{"own_rewards.py:polite": 1, "./own_rewards.py:polite": 2}')


def test_what_a_package_of_ones_own_lacks_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "__init__.py").write_text("import not_there_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        load_reward("lacking.rewards:polite")


def test_a_digest_is_of_what_the_code_says(own: Path, tmp_path: Path) -> None:
    before = digest_of_reward(f"{own}:polite")
    assert before != digest_of_reward(f"{own}:broken")
    moved = tmp_path / "moved.py"
    moved.write_text(OWN)
    assert digest_of_reward(f"{moved}:polite") == before
    own.write_text(OWN + "\n")
    assert digest_of_reward(f"{own}:polite") != before


@pytest.mark.slow
def test_a_run_goes_on_with_it_unless_it_has_changed(own: Path, tmp_path: Path) -> None:
    folder = pipeline.run("toy", tiny(tmp_path / "runs", f"{own}:polite"))
    (folder / "summary.json").unlink()  # as if it had been stopped
    pipeline.resume(folder)
    (folder / "summary.json").unlink()
    own.write_text(OWN.replace("float(", "2 * float("))
    with pytest.raises(ValueError, match=r"names code .* has changed since"):
        pipeline.resume(folder)
    trust_runs([str(folder)])
    with pytest.raises(ValueError, match="reward has changed since"):
        pipeline.resume(folder)
    pipeline.resume(folder, trust_code=True)
    assert json.loads((folder / "start.json").read_text())["changed"] == ["reward"]


@pytest.mark.slow
def test_an_error_in_it_shows_its_traceback_and_the_text(own: Path, tmp_path: Path) -> None:
    arguments = ["toy", "--reward", f"{own.name}:broken", "--eval-episodes", "4"]
    end = subprocess.run(
        [sys.executable, "-m", "agents.train", *arguments, "--output", str(tmp_path / "runs")],
        cwd=own.parent, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(pipeline.__file__).parents[2])},
    )  # fmt: skip
    assert end.returncode == 1
    lines = end.stderr.splitlines()
    first = lines.index("Traceback (most recent call last):")
    assert lines[first + 1].startswith(f'  File "{own}", line 16, in broken')
    assert lines[-3].startswith("ZeroDivisionError: ")
    assert "reward 'broken' raised ZeroDivisionError" in lines[-2]
    assert "prompt=" in lines[-2]
    assert "python -m agents.resume" in lines[-1]
    assert lines[-1].endswith(" --trust-code")
