"""Completions for people to judge: what is written, how it came about, and where it goes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agents.runs import sampling
from agents.runs.named_models import Manner
from agents.runs.offline_presets import SFTRun
from agents.runs.sampling_options import Sampling
from agents.runs.saved_config import described
from agents.runs.start import digest_of_tokenizer
from agents.supervised.from_scratch import new_gpt2, train_tokenizer
from text_gym import HuggingFaceTokenizer
from text_gym.feedback import Item, StudyConfig, create_study, open_study, read_items

PROMPTS = ["Count: 1", "Count: 2", "Count: 3", "Count: 4"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained model and a tokenizer of bytes and a few words."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["Count: 1 2 3 4 5 6 7 8 9"] * 9, 270)
    sizes = {"n_positions": 64, "n_embd": 16, "n_layer": 2, "n_head": 2}
    new_gpt2(tokenizer, **sizes, dropout=0.0, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def asked(model: Path, folder: Path, **changes: Any) -> Sampling:
    """Asks for three completions of up to four tokens to each prompt."""
    prompts = folder / "prompts.jsonl"
    rows = [{"prompt": text, "reference": "5", "topic": "sums"} for text in PROMPTS]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options: dict[str, Any] = {
        "model": str(model),
        "prompts": str(prompts),
        "per_prompt": 3,
        "max_new_tokens": 4,
        "num_envs": 5,
        "threads": 1,
        "device": "cpu",
    }
    return Sampling(**{**options, **changes})


def sampled(model: Path, folder: Path, **changes: Any) -> list[Item]:
    path = folder / "items.jsonl"
    path.unlink(missing_ok=True)
    sampling.run(asked(model, folder, output=path, **changes))
    return read_items(path)


def in_study(folder: Path) -> list[Item]:
    with open_study(folder).open() as store:
        return store.items.all()


# What is written


def test_every_prompt_has_its_completions_and_what_came_with_it(
    model: Path, tmp_path: Path
) -> None:
    items = sampled(model, tmp_path)
    assert sorted(str(item.prompt) for item in items) == PROMPTS
    assert all(len({one.text for one in item.completions}) == 3 for item in items)
    assert all(item.metadata == {"topic": "sums", "reference": "5"} for item in items)
    assert {one.source for item in items for one in item.completions} == {str(model)}


def test_log_probs_are_those_of_the_tokens_under_the_model(model: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model).eval()
    for item in sampled(model, tmp_path, prompt_template="{prompt} ", temperature=0.5):
        prompt = tokenizer.encode(f"{item.prompt} ", add_special_tokens=False)
        for one in item.completions:
            ids = one.provenance["token_ids"]
            with torch.no_grad():
                logits = network(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1]
            log_probs = (logits / 0.5).log_softmax(dim=-1)[range(len(ids)), ids]
            assert one.provenance["log_probs"] == pytest.approx(log_probs.tolist(), abs=1e-5)


def test_a_completion_says_how_it_came_about(model: Path, tmp_path: Path) -> None:
    how, *others = map(shared, sampled(model, tmp_path))
    assert all(one == how for one in others)
    assert how["sampling"] == {
        **Manner(max_new_tokens=4)._asdict(),
        "per_prompt": 3,
        "num_envs": 5,
    }
    assert how["seed"] == 0
    assert how["tokenizer"] == digest_of_tokenizer(HuggingFaceTokenizer.from_pretrained(model))
    assert len(how["model"]) == len(how["prompts"]) == 64


def shared(item: Item) -> dict[str, Any]:
    """Returns what all completions of an item say of how they came about."""
    own = ("stop_reason", "token_ids", "log_probs")
    said = [{k: v for k, v in one.provenance.items() if k not in own} for one in item.completions]
    assert all(one == said[0] for one in said)
    return said[0]


def test_the_same_seed_writes_the_same_file_and_another_does_not(
    model: Path, tmp_path: Path
) -> None:
    one = {"prompts": "Count: 1"}  # of several, their order would differ too
    (first,) = sampled(model, tmp_path, seed=1, **one)
    assert sampled(model, tmp_path, seed=1, **one) == [first]
    (other,) = sampled(model, tmp_path, seed=2, **one)
    assert {one.text for one in other.completions} != {one.text for one in first.completions}
    assert other.id != first.id


def test_some_of_the_prompts_are_drawn_by_lot(model: Path, tmp_path: Path) -> None:
    drawn = [
        {str(item.prompt) for item in sampled(model, tmp_path, n_prompts=2, seed=seed)}
        for seed in range(6)
    ]
    assert {len(one) for one in drawn} == {2}
    assert len(set().union(*drawn)) > 2


def test_equal_completions_are_kept_once_and_leave_no_pair(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alike = {"temperature": 1e-6}
    assert [len(item.completions) for item in sampled(model, tmp_path, **alike)] == [1] * 4
    sampling.run(asked(model, tmp_path, study=tmp_path / "study", **alike))
    assert in_study(tmp_path / "study") == []
    assert "4 prompts were left out: all of their completions are equal." in capsys.readouterr().out


# Where it goes


def test_a_new_folder_becomes_a_study_of_pairs_to_which_more_is_added(
    model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    sampling.run(asked(model, tmp_path, study=folder))
    pairs = in_study(folder)
    assert open_study(folder).config == StudyConfig(title="study")
    assert len(pairs) == 12
    assert all(len(item.completions) == 2 for item in pairs)
    sampling.run(asked(model, tmp_path, study=folder))
    assert in_study(folder) == pairs
    sampling.run(asked(model, tmp_path, study=folder, seed=1))
    assert len(in_study(folder)) == 24


def test_a_study_that_is_there_gets_what_it_shows(model: Path, tmp_path: Path) -> None:
    create_study(tmp_path / "study", StudyConfig(mode="rate"), [])
    sampling.run(asked(model, tmp_path, study=tmp_path / "study", per_prompt=1))
    assert len(in_study(tmp_path / "study")) == 4


@pytest.mark.parametrize(
    ("mode", "count", "rule"),
    [
        ("compare", 1, "per_prompt must be at least 2 for a study of mode compare, got 1"),
        ("rank", 1, "per_prompt must be at least 2 for a study of mode rank, got 1"),
        ("rank", 6, "per_prompt must be at most 5 for a study of mode rank, got 6"),
    ],
)
def test_what_a_study_cannot_show_is_refused_before_anything_is_loaded(
    mode: Any, count: int, rule: str, tmp_path: Path
) -> None:
    create_study(tmp_path / "study", StudyConfig(mode=mode), [])
    with pytest.raises(ValueError, match=rule):
        sampling.run(asked(Path("none"), tmp_path, study=tmp_path / "study", per_prompt=count))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "items.jsonl").write_text("kept")
    with pytest.raises(FileExistsError, match=r"output must be a new file, got .*items\.jsonl"):
        sampling.run(asked(Path("none"), tmp_path, output=tmp_path / "items.jsonl"))
    with pytest.raises(FileNotFoundError, match=r"there is no study in .*: it has no study\.json"):
        sampling.run(asked(Path("none"), tmp_path, study=tmp_path))


def test_options_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="study or output must say where completions go, got nei"):
        Sampling(model="small-talk", prompts="Hi")
    with pytest.raises(ValueError, match="n_prompts must be at least 1, got 0"):
        Sampling(model="small-talk", prompts="Hi", output=tmp_path, n_prompts=0)


# Runs


def run_folder(folder: Path, **changes: Any) -> Path:
    """Makes what the folder of a run holds that trained on demonstrations."""
    config = SFTRun(model="small-talk", data=Path("pairs.jsonl"), **changes)
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(described("sft", config), default=str))
    return folder


def test_the_policy_of_a_run_writes_as_it_learnt_to(model: Path, tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", prompt_template="Q: {prompt}")
    (folder / "policy").symlink_to(model)
    (item, *_) = sampled(folder, tmp_path, max_new_tokens=None)
    assert shared(item)["sampling"]["prompt_template"] == "Q: {prompt}"
    assert shared(item)["sampling"]["max_new_tokens"] == 32


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match=r"finish it by python -m agents\.resume .*run"):
        sampled(folder, tmp_path)


def test_manners_come_from_the_options_before_the_run(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    config = asked(folder, tmp_path, output=tmp_path / "new", temperature=0.5)
    assert sampling._manner(config) == sampling.Manner("{prompt}\n", 4, 0.5)
    plain = dataclasses.replace(config, model="small-talk", max_new_tokens=None, temperature=None)
    assert sampling._manner(plain) == sampling.Manner()
