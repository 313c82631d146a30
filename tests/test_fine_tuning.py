from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.applications.dialogue import SMALL_TALK_MODEL
from agents.applications.fine_tuning import FineTuning
from agents.applications.registry import APPLICATIONS, PRESETS
from agents.applications.split import Split
from agents.evaluation.evaluate import evaluate
from agents.evaluation.metrics import Evaluation
from agents.runs import environments, models, pipeline, prompts
from agents.runs.console import evaluations, key_values, printable, replies, run_console
from tests.card_code import front_matter, printed
from text_gym import Prompt, small_talk
from text_gym.rewards import WordCount


def tiny(preset: str, output: Path, **changes: object) -> FineTuning:
    config = APPLICATIONS[preset].with_algorithm("ppo")
    ppo = dataclasses.replace(config.algorithm, n_episodes=16, batch_size=8, n_epochs=1)
    small = {"total_episodes": 32, "num_envs": 8, "eval_episodes": 8, "threads": 1}
    return dataclasses.replace(
        config, algorithm=ppo, output=output, name="run", **{**small, **changes}
    )


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny("dialogue", tmp_path_factory.mktemp("runs"), prompts="small-talk")
    return pipeline.run("dialogue", config)


def evaluation(texts: list[str]) -> Evaluation:
    """Returns one in which every reply repeats its prompt and earns one half."""
    n = len(texts)
    return Evaluation(texts, texts, [None] * n, [0.5] * n, [3] * n, [0.0] * n, [-1.0] * n)


def test_run_writes_everything_it_promises(run_folder: Path) -> None:
    names = {path.name for path in run_folder.iterdir()}
    assert {
        "config.json",
        "metrics.jsonl",
        "samples.jsonl",
        "replies.json",
        "curves.png",
        "summary.json",
        "policy",
    } <= names
    assert any(name.startswith("events.out.tfevents") for name in names)


def test_the_card_of_the_policy_loads_it(run_folder: Path) -> None:
    said = front_matter(run_folder / "policy")
    assert (said["license"], said["pipeline_tag"]) == ("mit", "text-generation")
    card = (run_folder / "policy" / "README.md").read_text()
    assert str(run_folder.parent) not in card
    replies = json.loads((run_folder / "replies.json").read_text())
    assert f"| {replies[0]['prompt']} | " in card.replace("\\", "")
    assert printed(run_folder / "policy").startswith(f"{replies[0]['prompt']}\n")


def test_summary_holds_the_figures_and_they_agree_with_the_metrics(run_folder: Path) -> None:
    summary = json.loads((run_folder / "summary.json").read_text())
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    assert summary["episodes"] == metrics[-1]["episodes"] == 32
    assert summary["tokens"] == sum(round(row["rollout/length_mean"] * 16) for row in metrics)
    assert summary["tokens_per_second"] == pytest.approx(summary["tokens"] / summary["seconds"])
    assert {"reward_before", "reward_after", "kl", "distinct_2_before"} <= summary.keys()
    scores = [row["score_after"] for row in json.loads((run_folder / "replies.json").read_text())]
    assert summary["reward_after"] == pytest.approx(np.mean(scores), abs=1e-6)


def test_resolved_config_names_the_algorithm_and_its_options(run_folder: Path) -> None:
    config = json.loads((run_folder / "config.json").read_text())
    assert config["learner"] == "ppo"
    assert config["algorithm"]["n_episodes"] == 16
    assert config["prompts"] == "small-talk"


def test_tuned_model_loads_with_plain_transformers(run_folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(run_folder / "policy")
    tokenizer = AutoTokenizer.from_pretrained(run_folder / "policy")
    assert model.config.vocab_size == len(tokenizer) == 2048
    start = AutoModelForCausalLM.from_pretrained(SMALL_TALK_MODEL, dtype=torch.float32)
    moved = (model.lm_head.weight - start.lm_head.weight).detach().abs().max()
    assert 0 < float(moved) < 0.1


def test_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    folders = [
        pipeline.run("toy", dataclasses.replace(tiny("toy", tmp_path), name=name))
        for name in ("first", "second")
    ]
    weights = [(folder / "policy" / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]


def test_existing_run_is_never_overwritten(run_folder: Path) -> None:
    config = tiny("toy", run_folder.parent)
    advice = f"go on with that run by: python -m agents.resume {run_folder}"
    with pytest.raises(FileExistsError, match=re.escape(advice)):
        pipeline.run("toy", config)


def test_every_end_of_text_token_of_the_model_ends_a_text(tmp_path: Path) -> None:
    model = shutil.copytree(SMALL_TALK_MODEL, tmp_path / "model")
    question_mark = AutoTokenizer.from_pretrained(model).convert_tokens_to_ids("?")
    generation = json.loads((model / "generation_config.json").read_text())
    generation["eos_token_id"] = [generation["eos_token_id"], question_mark]
    (model / "generation_config.json").write_text(json.dumps(generation))
    run = pipeline.run("tutorial", tiny("tutorial", tmp_path, model=str(model)))
    replies = json.loads((run / "replies.json").read_text())
    texts = [row[when] for row in replies for when in ("before", "after")]
    assert any(text.endswith("?") for text in texts)
    assert not any("?" in text[:-1] for text in texts)
    kept = json.loads((run / "policy" / "generation_config.json").read_text())
    assert kept["eos_token_id"] == generation["eos_token_id"]


def test_run_that_cannot_start_leaves_no_folder_behind(tmp_path: Path) -> None:
    config = tiny("tutorial", tmp_path / "runs", model=str(tmp_path / "nowhere"))
    with pytest.raises((OSError, ValueError)):
        pipeline.run("tutorial", config)
    assert not (tmp_path / "runs").exists()


def test_package_prompts_are_split_into_disjoint_halves() -> None:
    split = prompts.load_prompts("small-talk", Console())
    train, heldout = ({prompt.text for prompt in part} for part in split)
    assert train.isdisjoint(heldout)
    assert train | heldout == set(small_talk.PROMPTS)


def split_of(tmp_path: Path, texts: Sequence[str]) -> Split:
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(texts), encoding="utf-8")
    return prompts.load_prompts(str(path), Console())


def test_a_tenth_of_the_texts_of_a_file_is_held_out(tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(39)]
    split = split_of(tmp_path, [*texts, *texts])
    train, heldout = ([prompt.text for prompt in part] for part in split)
    assert len(heldout) == 2 * 3  # every text stands there twice
    assert set(train).isdisjoint(heldout)
    assert sorted(train + heldout) == sorted(texts * 2)
    assert split.eval_prompts is split.heldout
    assert split.evaluated_on == "Held-out prompts"
    assert split == split_of(tmp_path, [*texts, *texts])


@pytest.mark.parametrize("n", [1, 9])
def test_too_few_prompts_are_evaluated_on_and_called_what_they_are(tmp_path: Path, n: int) -> None:
    split = split_of(tmp_path, [f"text {number}" for number in range(n)])
    assert len(split.train) == n
    assert not split.heldout
    assert split.eval_prompts is split.train
    assert split.evaluated_on == "Prompts of training (none held out)"
    assert prompts.load_prompts("How are you?", Console()).eval_prompts == [Prompt("How are you?")]


def test_replies_to_prompts_held_out_are_what_is_evaluated(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluated(folder: Path) -> set[str]:
        return {row["prompt"] for row in json.loads((folder / "replies.json").read_text())}

    split = prompts.load_prompts("small-talk", Console())
    assert evaluated(run_folder) <= {prompt.text for prompt in split.heldout}
    summary = json.loads((run_folder / "summary.json").read_text())
    assert summary["heldout_prompts"] == len(split.heldout)
    capsys.readouterr()
    alone = pipeline.run("dialogue", tiny("dialogue", tmp_path, prompts="How are you?"))
    assert evaluated(alone) == {"How are you?"}
    assert json.loads((alone / "summary.json").read_text())["heldout_prompts"] == 0
    assert "Prompts of training (none held out)" in capsys.readouterr().out


def test_chitchat_prompts_come_from_conversations_that_pretraining_never_saw() -> None:
    pytest.importorskip("chitchat_dataset")
    split = prompts.load_prompts("chitchat", Console())
    assert {prompt.text for prompt in split.heldout} == {
        pair.prompt for pair in small_talk.chitchat_pairs("heldout")
    }
    assert len(split.train) > 4000


def test_missing_dataset_is_announced_and_the_package_prompts_serve(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(split: str) -> None:
        raise ModuleNotFoundError("the conversations need chitchat-dataset")

    monkeypatch.setattr(small_talk, "chitchat_pairs", missing)
    split = prompts.load_prompts("chitchat", Console(width=200))
    assert len(split.train) + len(split.heldout) == len(small_talk.PROMPTS)
    assert "chitchat-dataset; using the package's own prompts instead" in capsys.readouterr().out


def test_model_text_cannot_steer_the_terminal() -> None:
    assert printable("\x1b[31m[red]x\r") == r"\x1b[31m[red]x\r"


@pytest.mark.parametrize("text", ["[red]", "[/x]", "[bold]x[/bold]", ":smile:", "C:\\[x]"])
def test_nothing_in_a_text_is_markup(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    one, console = evaluation([text]), run_console()
    console.print(text)
    console.print(key_values(text, {"prompts": text}), replies(one, one, width=80))
    assert capsys.readouterr().out.count(text) == 6


@pytest.mark.parametrize("width", [20, 40, 80])
def test_the_replies_are_shown_on_any_terminal(width: int) -> None:
    one, console = evaluation(["How are you today?"]), Console(width=width)
    with console.capture() as capture:
        console.print(replies(one, one, width=width))
    lines = capture.get().splitlines()
    assert max(map(len, lines)) <= width
    assert " ".join(lines).count("today?") == 3


def test_what_is_printed_is_ascii_but_for_the_texts() -> None:
    one, file = evaluation(["Fine", "Well"]), io.TextIOWrapper(io.BytesIO(), "ascii")
    console = Console(width=20, file=file)
    console.print(key_values("a", {"name": "x" * 50}), evaluations({"a": one, "b": one}, "texts"))
    console.print(replies(one, one, width=20), replies(one, one, width=80))
    file.flush()  # raises if there is another character


def test_the_threads_in_use_are_reported(run_folder: Path) -> None:
    config = json.loads((run_folder / "config.json").read_text())
    summary = json.loads((run_folder / "summary.json").read_text())
    assert config["threads"] == summary["threads"] == 1


def test_every_preset_is_documented_and_valid() -> None:
    for description, config in PRESETS.values():
        assert description.endswith(".")
        assert config.num_envs <= config.algorithm.n_episodes
        assert config.eval_episodes >= 256


def test_help_shows_every_option_without_loading_torch() -> None:
    code = (
        "import sys\n"
        "from agents.train import main\n"
        "sys.argv = ['train', 'dialogue', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--algorithm.replay-ratio" in result.stdout


def test_replies_are_shown_side_by_side() -> None:
    console = Console(width=120, record=True)
    policy, _ = models.load_policy(tiny("toy", Path("unused")))
    config = tiny("toy", Path("unused"))
    envs = environments.make_envs(config, [Prompt("How are you?")], None, (), 8, WordCount())
    one = evaluate(policy, policy, envs, 8, seed=0)
    console.print(replies(one, one, width=console.width, n=3))
    shown = console.export_text()
    assert shown.count("How are you?") == 3
    assert f"{one.scores[0]:.2f} -> {one.scores[0]:.2f}" in shown
