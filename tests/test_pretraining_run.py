"""A pretraining run: what it leaves of a model, and what is said of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agents.runs import pretraining
from agents.supervised import small_talk
from agents.supervised.config import ModelShape, PretrainCommand, PretrainConfig
from tests.card_code import front_matter, printed
from tests.test_tracking import Library

PAIRS = [(f"how are you {n}", f"fine {n}") for n in range(40)]


@pytest.fixture(scope="module")
def library() -> Library:
    return Library("trackio")


@pytest.fixture(scope="module")
def folder(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("model")
    command = PretrainCommand(
        output=output,
        shape=ModelShape(vocabulary_size=270, n_positions=128, n_embd=8, n_layer=1, n_head=1),
        training=PretrainConfig(epochs=2, eval_every=2, batch_tokens=256),
        threads=1,
        track=("trackio",),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small_talk, "chitchat_pairs", lambda split: PAIRS)
        patch.setitem(sys.modules, "trackio", library)
        pretraining.run(command)
    return output


def test_the_card_loads_the_model_and_has_its_figures(folder: Path) -> None:
    assert front_matter(folder)["license"] == "mit"
    card = (folder / "README.md").read_text()
    assert "| texts learnt from | 40 |" in card
    assert "python -m agents.pretrain --output FOLDER\n" in card
    assert str(folder) not in card
    assert printed(folder).startswith("How are you?\n")


def test_metrics_and_page_lie_beside_the_model(folder: Path) -> None:
    training = folder / "training"
    rows = [json.loads(line) for line in (training / "metrics.jsonl").read_text().splitlines()]
    assert [row["updates"] for row in rows[:2]] == [2, 4]
    assert rows[-1]["train/epoch"] == 2
    assert rows[-1]["eval/loss"] > 0
    assert {"metrics.csv", "curves.png"} <= {path.name for path in training.iterdir()}
    html = (training / "index.html").read_text()
    assert 'http-equiv="refresh"' not in html
    assert html.index("<h2>What came of it") < html.index("<h2>How it goes")
    assert "after 2 epochs." in html


def test_its_losses_and_what_the_model_writes_are_sent(folder: Path, library: Library) -> None:
    assert [step for _, step in library.logged[:2]] == [2, 4]
    assert library.logged[0][0]["eval/loss"] > 0
    outcome, _ = library.logged[-1]
    assert outcome["eval/train_pairs"] == 40
    assert outcome["replies"][0] == ["prompt", "reply"]
    assert library.ended == 1
    assert "trackio" not in (folder / "README.md").read_text()
