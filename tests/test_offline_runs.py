"""Runs that learn from a file: what the file may be, what a run writes, and going on with one."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from agents import DPO, SFT, DPOConfig, PolicyConfig, SFTConfig
from agents.algorithms.configs.names import ALGORITHMS, OFFLINE_ALGORITHMS
from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.applications.split import heldout_texts
from agents.checkpoints.series import latest
from agents.reward_models.learner import RewardLearner
from agents.reward_models.reward_model import RewardModel
from agents.runs import checking, offline_pipeline
from agents.runs.models import load_language_model
from agents.runs.offline_presets import (
    OFFLINE_RUNS,
    DPORun,
    OfflineRun,
    RewardModelCheck,
    RewardModelRun,
    SFTRun,
)
from agents.supervised.examples import encode_demonstrations, encode_preferences
from agents.supervised.from_scratch import new_gpt2, train_tokenizer
from agents.supervised.pair_files import (
    Demonstration,
    Preference,
    read_demonstrations,
    read_preferences,
)
from tests.card_code import front_matter, printed
from text_gym import HuggingFaceTokenizer

N_PAIRS = 30


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained model and a tokenizer of bytes and a few words."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["Count: 1 2 3 4 5 6 7 8 9"] * 9, 270)
    sizes = {"n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
    new_gpt2(tokenizer, **sizes, dropout=0.0, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def config(kind: str, model: Path, folder: Path, **changes: Any) -> OfflineRun:
    if kind == "sft":
        rows = [{"prompt": f"Count: {i}", "completion": f"{i + 1}"} for i in range(N_PAIRS)]
        learning: Any = SFTConfig(n_epochs=2, batch_size=4, learning_rate=1e-2, ema_decay=0.5)
    else:
        rows = [{"prompt": f"Count: {i}", "chosen": "7", "rejected": "99"} for i in range(N_PAIRS)]
        algorithm = {"dpo": DPOConfig, "reward-model": RewardModelConfig}[kind]
        learning = algorithm(n_epochs=2, batch_size=4, learning_rate=1e-2)
    if kind == "reward-model":
        rows[5]["tie"] = True
        rows[9] = {"prompt": "Count: 9", "completion": "8", "score": 4}
        rows[12] = {"prompt": "Count: 12", "completion": "88", "score": 2}
    options = {
        "model": str(model),
        "data": write(folder / "pairs.jsonl", *rows),
        "output": folder,
        "name": "run",
        "checkpoint_every": 3,
        "threads": 1,
        "algorithm": learning,
    }
    return OFFLINE_RUNS[kind](**{**options, **changes})


every_kind = pytest.mark.parametrize("kind", ["sft", "dpo", "reward-model"])
LEARNT = {"sft": "policy", "dpo": "policy", "reward-model": "reward_model"}
"""The folder of what a run has learnt."""


# Files


def test_fields_and_their_defaults(tmp_path: Path) -> None:
    pairs = write(
        tmp_path / "pairs.jsonl",
        {"prompt": "a", "completion": "", "id": 7},
        "  ",
        {"prompt": "é", "completion": "c", "weight": 2},
    )
    assert read_demonstrations(pairs) == [Demonstration("a", "", 1), Demonstration("é", "c", 2)]
    preferences = write(
        tmp_path / "preferences.jsonl",
        {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 0.5, "weight": 3},
        {"prompt": "a", "chosen": "b", "rejected": "", "margin": None},
    )
    assert read_preferences(preferences) == [
        Preference("a", "b", "c", 0.5, 3),
        Preference("a", "b", "", 0, 1),
    ]


GOOD = {"prompt": "a", "chosen": "b", "rejected": "c"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "a", "chosen": "b"}, r"rejected is missing, got the fields \['chosen', 'prom"),
        ({**GOOD, "chosen": 5}, "chosen must be a text, got 5"),
        ({**GOOD, "prompt": None}, "prompt must be a text, got None"),
        ({**GOOD, "rejected": "b"}, "rejected must differ from chosen, got 'b' for both"),
        ({**GOOD, "margin": -1}, "margin must be at least 0, got -1"),
        ({**GOOD, "weight": 0}, "weight must be above 0, got 0"),
        ({**GOOD, "weight": True}, "weight must be a finite number, got True"),
        ({**GOOD, "margin": float("inf")}, "margin must be a finite number, got inf"),
        ([1], r"a pair must be a JSON object, got \[1\]"),
        ("{", "Expecting property name"),
        ('{"prompt": "\\ud800", "chosen": "b", "rejected": "c"}', "surrogates not allowed"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_field(row: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "preferences.jsonl", GOOD, "", row)
    with pytest.raises(ValueError, match=rf"preferences\.jsonl, line 3: .*{message}"):
        read_preferences(path)


def test_a_file_of_other_pairs_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"line 1: completion is missing, got the fields \['cho"):
        read_demonstrations(write(tmp_path / "pairs.jsonl", GOOD))
    with pytest.raises(ValueError, match=r"empty\.jsonl must hold at least one pair"):
        read_demonstrations(write(tmp_path / "empty.jsonl", "", " "))


# Token ids


def test_completions_are_imitated_to_the_end_of_text_and_prompts_are_not(model: Path) -> None:
    tokenizer = HuggingFaceTokenizer.from_pretrained(model)
    rows = [Demonstration("Count: 1", "2", 0.5), Demonstration("", "x" * 40, 1.0)]
    examples = encode_demonstrations(rows, tokenizer, template="{prompt}\n", max_length=32)
    assert examples is not None
    prompt = tokenizer.encode("Count: 1\n")
    expected = [*prompt, *tokenizer.encode("2"), tokenizer.eos_token_id]
    assert examples.texts.input_ids.tolist() == [expected]
    assert examples.texts.completion_mask.tolist() == [[False] * len(prompt) + [True] * 2]
    assert examples.weights.tolist() == [0.5]
    nothing = encode_demonstrations(rows, tokenizer, template="{prompt}", max_length=2)
    assert nothing is None


def test_a_pair_is_left_out_if_either_text_is_too_long(model: Path) -> None:
    tokenizer = HuggingFaceTokenizer.from_pretrained(model)
    rows = [
        Preference("a", "b", "x" * 40, 0.0, 1.0),
        Preference("a", "x" * 40, "b", 0.0, 1.0),
        Preference("a", "b", "cd", 0.5, 2.0),
    ]
    examples = encode_preferences(rows, tokenizer, template="{prompt}", max_length=32)
    assert examples is not None
    assert (examples.margins.tolist(), examples.weights.tolist()) == ([0.5], [2.0])
    eos = tokenizer.eos_token_id
    assert examples.chosen.input_ids.tolist() == [[*tokenizer.encode("ab"), eos]]
    assert examples.rejected.input_ids.tolist() == [[*tokenizer.encode("acd"), eos]]
    with pytest.raises(ValueError, match=r"template must contain '{prompt}'"):
        encode_preferences(rows, tokenizer, template="", max_length=32)


# Runs


def outcome(folder: Path, kind: str) -> dict[str, Any]:
    """All that a run leaves but the times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    summary = json.loads((folder / "summary.json").read_text())
    del summary["seconds"]
    checkpoint = latest(folder / "checkpoints")
    assert checkpoint is not None
    start = json.loads((folder / "start.json").read_text())
    del start["options"]["data"]  # the folders of tests differ
    return {
        "metrics": [
            {k: v for k, v in json.loads(line).items() if not k.startswith("time/")}
            for line in lines
        ],
        "model": (folder / LEARNT[kind] / "model.safetensors").read_bytes(),
        "summary": summary,
        "start": start,
        "checkpoint": {p.name: p.read_bytes() for p in checkpoint.glob("*.safetensors")},
    }


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Runs of each kind that nothing disturbed."""
    folders: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in folders:
            run = config(kind, model, tmp_path_factory.mktemp(kind))
            folders[kind] = offline_pipeline.run(run)
        return folders[kind]

    return of


@every_kind
def test_a_run_writes_what_it_learnt(kind: str, finished: Callable[[str], Path]) -> None:
    folder = finished(kind)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["loss_after"] < summary["loss_before"]
    assert (summary["pairs"], summary["heldout_pairs"], summary["left_out"]) == (27, 3, 0)
    assert (summary["episodes"], summary["updates"]) == (2 * 27, 2 * 7)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 14
    assert [row["updates"] for row in rows if "eval/loss" in row] == [7, 14]
    assert rows[-1]["eval/loss"] == summary["loss_after"]
    assert (folder / "curves.png").exists()
    learnt = load_learnt(folder, kind)
    assert learnt.config.vocab_size == len(AutoTokenizer.from_pretrained(folder / LEARNT[kind]))


@every_kind
def test_the_card_loads_what_was_learnt(kind: str, finished: Callable[[str], Path]) -> None:
    folder = finished(kind) / LEARNT[kind]
    said = front_matter(folder)
    task = "text-classification" if kind == "reward-model" else "text-generation"
    assert (said["pipeline_tag"], said["tags"]) == (task, ["text-gym", kind])
    assert "license" not in said
    output = printed(folder)
    [prompt] = re.findall(r"Count: \d+", (folder / "README.md").read_text())[:1]
    if kind == "reward-model":
        expected = RewardModel.load(folder).score([prompt], ["..."])
        assert float(output) == pytest.approx(expected[0], abs=1e-5)
    else:
        assert output.startswith(prompt)


@every_kind
def test_the_page_tells_what_came_of_it(kind: str, finished: Callable[[str], Path]) -> None:
    html = (finished(kind) / "index.html").read_text()
    assert 'http-equiv="refresh"' not in html
    assert html.index("<h2>What came of it") < html.index("<h2>How it goes")
    assert ("Count: " in html) == (kind != "reward-model")


def load_learnt(folder: Path, kind: str) -> Any:
    """Returns the model that a run has learnt, by plain transformers."""
    classifies = kind == "reward-model"
    auto = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
    return auto.from_pretrained(folder / LEARNT[kind])


def test_the_average_is_saved_beside_the_model(finished: Callable[[str], Path]) -> None:
    models = [
        AutoModelForCausalLM.from_pretrained(finished("sft") / name).state_dict()
        for name in ("policy", "policy-averaged")
    ]
    name = "transformer.h.0.mlp.c_fc.weight"
    assert not torch.equal(models[0][name], models[1][name])
    assert not (finished("dpo") / "policy-averaged").exists()


def test_the_average_is_evaluated_beside_the_model(finished: Callable[[str], Path]) -> None:
    folder = finished("sft")
    summary = json.loads((folder / "summary.json").read_text())
    for when, name in (("after", "policy"), ("averaged", "policy-averaged")):
        assert summary[f"loss_{when}"] == pytest.approx(heldout_loss(folder, name), rel=1e-5)
    assert summary["loss_averaged"] != summary["loss_after"]
    assert "averaged" not in (finished("dpo") / "summary.json").read_text()


def heldout_loss(run: Path, name: str) -> float:
    """Returns the loss of a model that a run saved, on the pairs that it held out."""
    policy, tokenizer = load_language_model(str(run / name), PolicyConfig(value_network="none"))
    rows = read_demonstrations(run.parent / "pairs.jsonl")
    chosen = heldout_texts(row.prompt for row in rows)
    heldout = [row for row in rows if row.prompt in chosen]
    pairs = encode_demonstrations(heldout, tokenizer, template="{prompt}\n", max_length=32)
    assert pairs is not None
    return SFT(policy, pairs).evaluate(pairs)["eval/loss"]


@every_kind
def test_a_run_that_writes_no_texts_leaves_no_file_of_samples(
    kind: str, finished: Callable[[str], Path]
) -> None:
    assert not (finished(kind) / "samples.jsonl").exists()


@every_kind
@pytest.mark.parametrize("at", [0, 5, 13])
def test_killed_and_resumed_it_equals_a_run_that_never_was(
    kind: str,
    at: int,
    model: Path,
    finished: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    algorithm: Any = {"sft": SFT, "dpo": DPO, "reward-model": RewardLearner}[kind]
    update = algorithm.update

    def child() -> None:
        def killing(self: Any, batch: Any) -> Any:
            if self.n_updates == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return update(self, batch)

        algorithm.update = killing
        offline_pipeline.run(config(kind, model, tmp_path))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    folder = tmp_path / "run"
    assert not (folder / "summary.json").exists()
    updates: list[int] = []

    def counting(self: Any, batch: Any) -> Any:
        updates.append(self.n_updates)
        return update(self, batch)

    monkeypatch.setattr(algorithm, "update", counting)
    offline_pipeline.resume(folder)
    assert updates == [*range(at - at % 3, 14)]  # a checkpoint every third
    mine, theirs = outcome(folder, kind), outcome(finished(kind), kind)
    for name, value in theirs.items():
        assert mine[name] == value, name


def test_a_reward_model_is_checked_on_what_its_run_held_out(
    finished: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = finished("reward-model")
    verdict = checking.run(RewardModelCheck(model=folder, output=tmp_path / "report", threads=1))
    summary = json.loads((folder / "summary.json").read_text())
    assert verdict.n_comparisons + verdict.n_ties + verdict.n_ratings == summary["heldout_pairs"]
    assert verdict.accuracy is not None
    assert verdict.accuracy.value == summary["accuracy_after"]
    assert (tmp_path / "report" / "report.html").is_file()
    model, data = folder / "reward_model", folder.parent / "pairs.jsonl"
    assert checking.run(RewardModelCheck(model=model, data=data, threads=1)).n_ratings == 2


def test_what_a_reward_model_is_checked_on_must_be_known(
    finished: Callable[[str], Path], tmp_path: Path
) -> None:
    model = finished("reward-model") / "reward_model"
    with pytest.raises(ValueError, match="data must be named for a model that is not in a run"):
        checking.run(RewardModelCheck(model=model))
    with pytest.raises(ValueError, match=r"gold must be one of \[.*\], got 'kindness'"):
        checking.run(RewardModelCheck(model=model, gold="kindness"))


def test_with_another_file_or_model_it_does_not_go_on(model: Path, tmp_path: Path) -> None:
    run = config("sft", model, tmp_path)
    folder = offline_pipeline.run(run)
    (folder / "summary.json").unlink()
    lines = run.data.read_text().splitlines()
    write(run.data, *lines[::-1])
    with pytest.raises(ValueError, match="but data has changed since"):
        offline_pipeline.resume(folder)
    write(run.data, *lines)
    config_file = folder / "config.json"
    said = config_file.read_text()
    for name, value in {"prompt_template": "{prompt}", "max_length": 31}.items():
        config_file.write_text(json.dumps(json.loads(said) | {name: value}))
        with pytest.raises(
            ValueError, match=f"began, but {name} is .{{2,12}} where .*start.json has "
        ):
            offline_pipeline.resume(folder)
    config_file.write_text(said)
    offline_pipeline.resume(folder)
    assert (folder / "summary.json").exists()


@every_kind
def test_with_lora_a_merged_model_is_saved(kind: str, model: Path, tmp_path: Path) -> None:
    policy = PolicyConfig(value_network="none", lora_rank=2, lora_targets=("c_attn",))
    folder = offline_pipeline.run(config(kind, model, tmp_path, policy=policy))
    before = AutoModelForCausalLM.from_pretrained(model).state_dict()
    after = load_learnt(folder, kind).state_dict()
    moved = {n for n, tensor in after.items() if n in before and not torch.equal(tensor, before[n])}
    # A reward is normalised by the last bias.
    shifted = {"transformer.ln_f.bias"} if kind == "reward-model" else set()
    assert moved == {f"transformer.h.{i}.attn.c_attn.weight" for i in (0, 1)} | shifted


def test_pairs_that_are_all_too_long_are_refused(model: Path, tmp_path: Path) -> None:
    run = config("sft", model, tmp_path, max_length=3)
    with pytest.raises(ValueError, match=r"all 30 of .* are longer than 3 tokens"):
        offline_pipeline.run(run)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="max_length must be None or at least 2, got 1"):
        dataclasses.replace(run, max_length=1)


def test_a_run_of_a_file_is_told_from_one_of_prompts() -> None:
    assert not OFFLINE_ALGORITHMS.keys() & ALGORITHMS.keys()
    assert OFFLINE_RUNS.keys() == OFFLINE_ALGORITHMS.keys()
    assert {"sft": SFTRun, "dpo": DPORun, "reward-model": RewardModelRun} == OFFLINE_RUNS


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
def test_commands_run_resume_and_refuse(model: Path, tmp_path: Path) -> None:
    data = config("sft", model, tmp_path).data
    options = ["--model", str(model), "--data", str(data), "--output", str(tmp_path / "runs")]
    done = command("agents.sft", *options, "--name", "one", "--algorithm.n-epochs", "1")
    assert done.returncode == 0, done.stderr
    assert "Held-out pairs" in done.stdout
    assert "perplexity" in done.stdout
    again = command("agents.resume", str(tmp_path / "runs" / "one"))
    assert "is finished" in " ".join(again.stdout.split())
    refused = command("agents.dpo", *options)
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        f"{data}, line 1: chosen is missing, got the fields ['completion', 'prompt']"
    ]
