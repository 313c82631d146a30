"""Simulated people in a study that is served: through its pages, to the truth that they know."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from starlette.testclient import TestClient

from text_gym.feedback import (
    Answer,
    Completion,
    Correction,
    Item,
    Judgement,
    Places,
    Preferred,
    QualityRules,
    Ratings,
    StudyConfig,
    create_study,
)
from text_gym.feedback.aggregation.bradley_terry import fit_bradley_terry
from text_gym.feedback.aggregation.spammers import spammers
from text_gym.feedback.collected import tally
from text_gym.feedback.collecting import collect
from text_gym.feedback.command_line import run
from text_gym.feedback.server.app import make_app
from text_gym.feedback.server.rates import Rates
from text_gym.feedback.simulated.answering import Manner
from text_gym.feedback.simulated.visiting import Visit, Visitor
from text_gym.feedback.store import Store
from text_gym.feedback.study import STORE, Study
from text_gym.rewards.function import as_reward_function

LENIENT = QualityRules(least_seconds=0.0, seconds_per_word=0.0, same_side_run=10_000)


def words(prompt: str, completion: str) -> float:
    return 0.5 * len(completion.split())


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told to slow down: these people do not sleep."""
    monkeypatch.setattr(Rates, "_lets_through", lambda self, request: True)


def visit(app: Any, manner: Manner, person: int, most: int | None = None) -> Visit:
    client = TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=True)
    chance = np.random.default_rng(person)
    visitor = Visitor(
        client, as_reward_function(words), manner, chance, f"person {person}", lambda _: None
    )
    return visitor.visit("/", most)


def text_of(length: int) -> Completion:
    return Completion(" ".join(["word"] * length))


def opened(tmp_path: Path, config: StudyConfig, items: list[Item]) -> tuple[Study, Store]:
    study = create_study(tmp_path / "study", config, items)
    return study, study.open()


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(
    ("mode", "texts", "kind"),
    [
        ("compare", 2, Preferred),
        ("rank", 4, Places),
        ("rate", 1, Ratings),
        ("correct", 1, Correction),
    ],
)
def test_every_mode_is_judged_through_its_page(
    mode: Any, texts: int, kind: type[Answer], tmp_path: Path
) -> None:
    items = [
        Item(f"i{at}", f"Say {at}", tuple(map(text_of, range(1, texts + 1)))) for at in range(3)
    ]
    study, store = opened(tmp_path, StudyConfig(mode=mode, rules=LENIENT), items)
    with store:
        done = visit(make_app(study, store), Manner(), 0)
        kept = store.judgements.all()
    assert [one.id for one in kept] == done.judged
    assert len(kept) == 3
    assert all(isinstance(one.answer, kind) for one in kept)


@pytest.mark.usefixtures("unhurried")
def test_a_preference_for_long_texts_reaches_the_store_whatever_the_side(tmp_path: Path) -> None:
    items = [Item(f"i{at}", f"Say {at}", (text_of(1), text_of(9))) for at in range(12)]
    study, store = opened(tmp_path, StudyConfig(rules=LENIENT), items)
    with store:
        visit(make_app(study, store), Manner(skill=99.0), 0)
        kept = store.judgements.all()
    assert {one.answer for one in kept} == {Preferred(1)}
    assert {one.order for one in kept} == {(0, 1), (1, 0)}


def per_item(judgements: list[Judgement]) -> Iterator[int]:
    yield from Counter(one.item for one in judgements).values()


@pytest.mark.slow
@pytest.mark.usefixtures("unhurried")
def test_a_study_with_spammers_finds_the_truth_and_the_spammers(tmp_path: Path) -> None:
    whole = Item("all", "Say it", tuple(map(text_of, range(1, 13))))  # 66 pairs
    config = StudyConfig(overlap=5, max_overlap=5, repeat_share=0.0, rules=LENIENT)
    study, store = opened(tmp_path, config, [whole])
    with store:
        app = make_app(study, store)
        for person in range(5):
            visit(app, Manner(spam=1.0 if person == 0 else 0.0), person)
        collected = collect(study, store)
        spammer = store.annotators.named("person 0")
    assert set(per_item(list(collected.judgements))) == {5}
    counted = tally(collected)
    fit = fit_bradley_terry(counted.given)
    lengths = [len(text.completion.split()) for text in counted.texts]
    assert spearmanr(lengths, fit.scores).statistic >= 0.95
    assert spammer is not None
    assert counted.annotators[int(np.argmin(fit.skills))] == spammer.id
    named = {counted.annotators[at] for at in spammers(counted.given, fit)}
    assert named <= {spammer.id}  # of 66 answers it sometimes cannot be sure


# The command


def test_a_command_sends_a_crowd_to_a_served_study(tmp_path: Path) -> None:
    items = [Item(f"i{at}", f"Say {at}", (text_of(1), text_of(9))) for at in range(3)]
    folder = tmp_path / "study"
    create_study(folder, StudyConfig(rules=LENIENT, overlap=2, max_overlap=2), items)
    port = free_port()
    serve = [sys.executable, "-m", "text_gym.feedback", "serve", str(folder), "--port", str(port)]
    with subprocess.Popen(serve, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        wait_for(port)
        simulate = ["simulate", str(folder), "--annotators", "2", "--seconds", "0"]
        rewarded = ["--reward", "words", "--accuracy", "0.99", "--seconds-per-word", "0"]
        try:
            assert run([*simulate, *rewarded, "--most", "1"]) == 0
            assert run([*simulate, *rewarded]) == 0  # the same people come back
        finally:
            server.terminate()
    with Store(folder / STORE) as store:
        assert len(store.judgements.all()) == 6
        assert len(store.annotators.all()) == 2


def test_a_crowd_needs_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    create_study(folder, StudyConfig(), [Item("1", "Say", (text_of(1), text_of(2)))])
    assert run(["simulate", str(folder)]) == 1
    assert "is not served; serve it first" in capsys.readouterr().err
    assert run(["simulate", str(folder), "--annotators", "1", "--spammers", "2"]) == 1
    assert "got 1 and 2" in capsys.readouterr().err


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    pytest.fail("the server did not answer within a minute")
