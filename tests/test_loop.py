"""The whole loop on a model of a few thousand parameters: its files, and killing it anywhere."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForCausalLM

from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.algorithms.configs.trajectory_balance import TrajectoryBalanceConfig
from agents.algorithms.trajectory_balance import TrajectoryBalance
from agents.loop import collecting, pipeline, stage, stages
from agents.loop.manifest import FILE, digest_of, read_manifest
from agents.loop.options import Loop
from agents.reward_models.learner import RewardLearner
from agents.runs import sampling
from agents.runs.rewards import load_reward
from agents.runs.saved_config import read_preset
from agents.supervised.from_scratch import new_gpt2, train_tokenizer
from text_gym import Episode

STAGES = ("sample", "collect", "reward-model/1", "reward-model/2", "fine-tune", "evaluate")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained model, a tokenizer of bytes and a few words, and prompts."""
    folder = tmp_path_factory.mktemp("loop")
    tokenizer = train_tokenizer(["Count: 1 2 3 4 5 6 7 8 9"] * 9, 270)
    sizes = {"n_positions": 32, "n_embd": 16, "n_layer": 1, "n_head": 2}
    new_gpt2(tokenizer, **sizes, dropout=0.0, seed=0).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    rows = [{"prompt": f"Count: {at}"} for at in range(40)]
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def config(folder: Path, **changes: Any) -> Loop:
    options: dict[str, Any] = {
        "model": str(folder / "model"),
        "prompts": str(folder / "prompts.jsonl"),
        "reward": "word_count",
        "annotators": "simulated",
        "pairs": "disagreement",
        "judgements": 16,
        "rounds": 2,
        "reward_models": 2,
        "pool": 2,
        "max_new_tokens": 5,
        "total_episodes": 32,
        "num_envs": 8,
        "eval_episodes": 16,
        "checkpoint_every": 1,
        "algorithm": TrajectoryBalanceConfig(
            n_episodes=16, batch_size=8, group_size=4, kl_coef=0.1, replay_ratio=0
        ),
        "reward_algorithm": RewardModelConfig(n_epochs=2, batch_size=4),
        "output": folder / "runs",
        "name": "loop",
        "device": "cpu",
        "threads": 1,
    }
    return Loop(**{**options, **changes})


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    """A loop that nobody stopped, moved out of the way of those that are made at its place."""
    made = pipeline.run(config(folder))
    return shutil.move(made, folder / "finished")


@pytest.fixture
def place(folder: Path) -> Any:
    """Where loops are made, empty again afterwards: what is sampled names the model's folder."""
    yield folder / "runs" / "loop"
    shutil.rmtree(folder / "runs", ignore_errors=True)


def outcome(root: Path) -> dict[str, Any]:
    """Returns what a loop wrote that is not a matter of time: manifests, and what they name."""
    manifests = {path.relative_to(root): path for path in sorted(root.rglob(FILE))}
    found: dict[str, Any] = {str(name): path.read_text() for name, path in manifests.items()}
    for path in manifests.values():
        manifest = read_manifest(path.parent)
        assert manifest is not None
        found |= {name: digest_of(root / name) for name in manifest.outputs}
    return found | {"summary": (root / "summary.json").read_text()}


# What a loop writes


def test_every_stage_of_every_round_leaves_a_manifest(finished: Path) -> None:
    for number in (1, 2):
        for name in STAGES:
            assert read_manifest(finished / f"round-{number}" / name) is not None, name


def test_a_model_is_traced_to_its_judgements_by_hashes(finished: Path) -> None:
    """From the last policy back to the rows that its reward was learnt from, file by file."""
    made: dict[str, str] = {}
    for path in sorted(finished.rglob(FILE)):
        manifest = read_manifest(path.parent)
        assert manifest is not None
        made |= manifest.outputs
    policy = read_manifest(finished / "round-2" / "fine-tune")
    assert policy is not None
    read = {name: digest for name, digest in policy.inputs.items() if name != "prompts"}
    assert read.items() <= made.items()
    assert {"round-1/fine-tune/policy", "round-2/reward-model/1/reward_model"} < {*policy.inputs}
    reward = read_manifest(finished / "round-2" / "reward-model" / "1")
    assert reward is not None
    assert reward.inputs["round-2/collect/comparisons.jsonl"] in made.values()
    rows = (finished / "round-2/collect/comparisons.jsonl").read_text().splitlines()
    named = {one for row in rows for one in json.loads(row)["judgements"]}
    lines = (finished / "round-2/collect/judgements.jsonl").read_text().splitlines()
    said = {json.loads(one)["judgement"]["id"] for one in lines if "judgement" in json.loads(one)}
    assert named <= said
    assert len(said) == 16  # of both rounds


def test_a_later_round_asks_about_the_texts_of_the_tuned_model(finished: Path) -> None:
    sources = [
        {
            one["source"]
            for line in (finished / f"round-{number}/sample/items.jsonl").read_text().splitlines()
            for one in json.loads(line)["completions"]
        }
        for number in (1, 2)
    ]
    assert [len(each) for each in sources] == [1, 1]
    assert sources[0].pop().endswith("/model")
    assert sources[1].pop().endswith("/round-1/fine-tune/policy")


def test_a_stage_that_is_a_run_is_no_loop_to_whoever_goes_on_with_it(finished: Path) -> None:
    assert read_preset(finished) == "rlhf"
    for name in ("fine-tune", "reward-model/1"):
        assert read_preset(finished / "round-1" / name) != "rlhf"


def test_prompts_are_an_input_like_the_model(finished: Path) -> None:
    sampled = read_manifest(finished / "round-1" / "sample")
    assert sampled is not None
    assert sampled.inputs["prompts"] == digest_of(finished.parent / "prompts.jsonl")
    assert sampled.inputs["model"] == digest_of(finished.parent / "model")


def test_the_tuned_model_is_an_ordinary_one(finished: Path) -> None:
    AutoModelForCausalLM.from_pretrained(finished / "round-2" / "fine-tune" / "policy")


def test_the_summary_has_every_round_by_gold_and_by_proxy(finished: Path) -> None:
    rounds = json.loads((finished / "summary.json").read_text())["rounds"]
    assert [sorted(one) for one in rounds] == [["gold", "proxy"]] * 2
    assert all(0 <= one["gold"]["win_rate"]["value"] <= 1 for one in rounds)
    assert rounds[0]["gold"]["base"] == rounds[1]["gold"]["base"]  # the same texts


def test_the_report_shows_what_was_reached_and_what_it_was_made_of(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert "Round 2, proxy" in page
    digest = digest_of(finished / "round-2/collect/comparisons.jsonl")
    assert f"round-2/collect/comparisons.jsonl {digest[:12]}" in page


def test_a_reward_may_be_learnt_named_by_its_folder_its_run_or_several_runs(finished: Path) -> None:
    runs = finished / "round-1" / "reward-model"
    texts = [Episode.from_text("Count: 1", "2 3"), Episode.from_text("Count: 2", "")]
    first, same, second = (
        load_reward(str(runs / name))(texts) for name in ("1", "1/reward_model", "2")
    )
    np.testing.assert_array_equal(first, same)
    np.testing.assert_array_equal(load_reward(str(runs))(texts), np.minimum(first, second))


def test_a_reward_of_no_name_and_no_folder_is_refused(finished: Path) -> None:
    with pytest.raises(ValueError, match=r"reward must be one of .*or the folder of a rewa"):
        load_reward(str(finished / "round-1" / "sample"))


# Going on


def killed_at(kill: Callable[[Any], None], folder: Path, **changes: Any) -> None:
    """Runs a loop in a process of its own until `kill`, which patches it, has its way."""

    def child() -> None:
        with pytest.MonkeyPatch.context() as patch:
            kill(patch)
            pipeline.run(config(folder, **changes))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(timeout=120)
    assert process.exitcode == -signal.SIGKILL


def die(*_: Any, **__: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def at_the_end_of(name: str, number: int = 1) -> Callable[[Any], None]:
    """Kills a loop when a stage is done but for its manifest."""

    def kill(patch: Any) -> None:
        write = stage.write_manifest

        def writing(folder: Path, manifest: Any) -> None:
            if folder.match(f"round-{number}/{name}"):
                die()
            write(folder, manifest)

        patch.setattr(stage, "write_manifest", writing)

    return kill


def at_update(learner: Any, at: int) -> Callable[[Any], None]:
    """Kills a loop in an update of what learns."""

    def kill(patch: Any) -> None:
        update = learner.update

        def killing(self: Any, batch: Any) -> Any:
            return die() if self.n_updates == at else update(self, batch)

        patch.setattr(learner, "update", killing)

    return kill


def when(module: Any, name: str) -> Callable[[Any], None]:
    """Kills a loop at the call of a function."""
    return lambda patch: patch.setattr(module, name, die)


MOMENTS: dict[str, Callable[[Any], None]] = {
    "before anything is sampled": when(sampling, "sample"),
    "while the study is made": lambda patch: patch.setattr(Path, "rename", die),
    "before answers are entered": when(collecting, "enter"),
    "before they are written down": when(collecting, "export"),
    "while a reward is learnt": at_update(RewardLearner, 3),
    "while the policy learns": at_update(TrajectoryBalance, 1),
    "while it is evaluated": when(stages, "evaluate_models"),
    "before the summary": when(pipeline, "write_report"),
    **{f"at the end of {name}": at_the_end_of(name) for name in STAGES},
    "in the second round": at_the_end_of("collect", 2),
}
QUICK = "while the policy learns"


@pytest.mark.parametrize(
    "moment",
    [QUICK, *(pytest.param(one, marks=pytest.mark.slow) for one in MOMENTS if one != QUICK)],
)
def test_killed_and_resumed_it_writes_the_same_files(
    moment: str, folder: Path, finished: Path, place: Path
) -> None:
    killed_at(MOMENTS[moment], folder)
    assert not (place / "summary.json").exists()
    assert outcome(pipeline.resume(place)) == outcome(finished)


def test_what_is_done_is_not_done_again(
    folder: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pipeline.run(config(folder, rounds=1, reward_models=1, pairs="random"))
    before = outcome(made)
    (made / "summary.json").unlink()
    for module, name in (
        (sampling, "run"), (stages.pipeline, "run"), (stages.offline_pipeline, "run"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, None)
    assert outcome(pipeline.resume(made)) == before


def test_it_goes_on_by_the_command_that_goes_on_with_any_run(folder: Path, place: Path) -> None:
    killed_at(at_the_end_of("sample"), folder, rounds=1, reward_models=1, pairs="random")
    command = [sys.executable, "-m", "agents.resume", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (place / "summary.json").exists()


def test_it_does_not_go_on_with_another_model(folder: Path, place: Path) -> None:
    other = folder / "other"
    shutil.copytree(folder / "model", other)
    changes = {"model": str(other), "rounds": 1, "reward_models": 1, "pairs": "random"}
    killed_at(at_the_end_of("collect"), folder, **changes)
    (other / "generation_config.json").write_text("{}")
    with pytest.raises(ValueError, match="a loop must go on with what it began with, but model"):
        pipeline.resume(place)


def test_more_judgements_than_pairs_are_refused(folder: Path, place: Path) -> None:
    asked = dataclasses.replace(config(folder), judgements=200)
    with pytest.raises(ValueError, match="judgements must be at most as many as there are"):
        pipeline.run(asked)
