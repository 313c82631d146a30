"""Translation: its data in splits that share nothing, its environment, and what games it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from agents.applications.translation import application
from agents.fetching.items import TRANSLATION
from agents.supervised import translation as pretraining
from agents.supervised.config import ModelShape, PretrainCommand
from benchmarks import smallest_translation
from text_gym import Prompt
from text_gym.applications import ApplicationEnv, ApplicationVectorEnv
from text_gym.applications.translation import pairs
from text_gym.applications.translation.measures import copy_rate, length_ratio
from text_gym.applications.translation.pairs import translation_pairs
from text_gym.applications.translation.task import ALPHABET, translation
from text_gym.checks import check_text_env, check_vector_env

ROWS = [
    ("Gen", "y dijo el hombre:", "and the man said:"),
    ("Gen", "Y DIJO EL HOMBRE;", "and he said so;"),
    ("Gen", "y", "and"),
    ("Gen", "la luz es buena.", "the light is good."),
    ("Mark", "la tierra es mala.", "the earth is bad."),
    ("John", "el cielo es alto.", "the heaven is high."),
    ("John", "es bueno el día.", "The light is good!"),
    ("John", "la tierra es mala!", "the land is bad."),
]


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A few clauses in place of the real ones."""
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path))
    path = tmp_path / pairs.FOLDER / pairs.PAIRS_FILE
    path.parent.mkdir()
    lines = [json.dumps(dict(zip(("book", "es", "en"), row, strict=True))) for row in ROWS]
    path.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(pairs, "PAIRS_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    pairs._splits.cache_clear()
    yield path
    pairs._splits.cache_clear()


# Data


@pytest.mark.usefixtures("fetched")
def test_books_are_split_and_what_recurs_is_left_out() -> None:
    assert translation_pairs("train") == (ROWS[0][1:], ROWS[3][1:])
    assert translation_pairs("validation") == (ROWS[4][1:],)
    assert translation_pairs("heldout") == (ROWS[5][1:],)


@pytest.mark.skipif(not TRANSLATION.folder.is_dir(), reason="needs the fetched clauses")
def test_real_splits_share_no_clause_in_either_language() -> None:
    seen: set[str] = set()
    for split in ("train", "validation", "heldout"):
        sides = {
            "".join(filter(str.isalnum, side.lower()))
            for one in translation_pairs(split)
            for side in one
        }
        assert len(sides) > 1_000
        assert not sides & seen
        seen |= sides
    assert set("".join("".join(pair) for pair in translation_pairs("train"))) <= set(ALPHABET)


def test_both_packages_name_the_same_folder() -> None:
    assert TRANSLATION.folder.name == pairs.FOLDER


@pytest.mark.usefixtures("fetched")
def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match=r"split must be one of .*'heldout'.*, got 'test'"):
        translation(split="test")  # type: ignore[arg-type]


def test_altered_data_is_refused(fetched: Path) -> None:
    fetched.write_text("{}")
    with pytest.raises(ValueError, match=r"pairs.jsonl must have the SHA-256 .* remove its folder"):
        gym.make("TextGen/Translation-v0")


def test_missing_data_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"`python -m agents.fetch translation`"):
        gym.make("TextGen/Translation-v0")


# Environment


@pytest.mark.usefixtures("fetched")
def test_the_environment_conforms() -> None:
    options: dict[str, Any] = {"name": "Translation", "max_new_tokens": 8}
    check_env(gym.make("TextGen/Translation-v0", max_new_tokens=8).unwrapped)
    check_text_env(ApplicationEnv(**options))
    check_vector_env(lambda: ApplicationVectorEnv(3, **options), lambda: ApplicationEnv(**options))


@pytest.mark.usefixtures("fetched")
def test_the_reference_is_worth_one_and_a_copy_less() -> None:
    env = gym.make("TextGen/Translation-v0", split="heldout")
    for text, least, most in (("the heaven is high.", 1.0, 1.0), ("el cielo es alto.", 0.0, 0.3)):
        env.reset(seed=0)
        tokenizer = env.unwrapped.tokenizer  # type: ignore[attr-defined]
        for token in [*tokenizer.encode(text), tokenizer.eos_token_id]:
            *_, reward, terminated, _, info = env.step(token)
        assert terminated
        assert least <= float(reward) <= most
    assert info["text_episode"].reference == "the heaven is high."


def test_prompts_of_ones_own_need_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path))
    env = gym.make("TextGen/Translation-v0", prompts=[Prompt("el cielo", "heaven")])
    env.reset(seed=0)


# Preset


@pytest.mark.usefixtures("fetched")
def test_the_preset_learns_from_training_and_is_evaluated_on_books_held_out() -> None:
    train, heldout = application.clauses()
    assert [prompt.reference for prompt in train] == [ROWS[0][2], ROWS[3][2]]
    assert [prompt.text for prompt in heldout] == [ROWS[5][1]]


def test_a_model_that_is_missing_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"python -m agents.pretrain --corpus translation"):
        application.TRANSLATION.models["translation"]()
    folder = application.model_folder()
    folder.mkdir()
    (folder / "README.md").touch()
    assert application.TRANSLATION.models["translation"]() == folder


@pytest.mark.usefixtures("fetched")
def test_the_model_is_pretrained_on_the_pairs_of_training_alone() -> None:
    shape = ModelShape(vocabulary_size=300, n_positions=64)
    material = pretraining.translation(PretrainCommand(corpus="translation", shape=shape))
    (stage,) = material.stages
    assert [len(stage.train), len(stage.validation), len(stage.heldout)] == [2, 1, 1]
    assert material.folder == application.model_folder()
    assert list(material.prompts) == [ROWS[5][1]]


@pytest.mark.slow
def test_twelve_clauses_are_learnt_word_by_word() -> None:
    torch.set_num_threads(1)
    assert smallest_translation.reward_after(smallest_translation.OURS, 0, 64) < 0.3
    assert smallest_translation.reward_after(smallest_translation.OURS, 0, 2_560) > 0.5


# What games it


def test_length_is_measured_in_words_of_all_texts() -> None:
    assert length_ratio(["one two three", ""], ["one", "two"]) == 1.5
    with pytest.raises(ValueError, match="references must have a word, got none"):
        length_ratio(["a"], ["..."])


def test_copies_are_words_of_the_source_in_any_case() -> None:
    assert copy_rate(["Y dijo David:"], ["DAVID dijo it"]) == pytest.approx(2 / 3)
    assert copy_rate(["Y dijo"], [""]) == 0
