"""The page of a run: current while it learns, and what came of it afterwards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agents.evaluation.metrics import Evaluation
from agents.reports import Section
from agents.runs import run_page
from agents.runs.outcome import of_evaluations
from agents.runs.page_views import READING, WRITING, View
from agents.runs.run_folder import RunFolder
from agents.runs.run_page import RunPage

ROW = {
    "episodes": 8, "updates": 1, "rollout/score_mean": 0.25, "rollout/score_std": 0.0,
    "rollout/kl": 1.5, "rollout/entropy": 2.0, "train/first_ratio_error": 0.0,
}  # fmt: skip
SAMPLE = '{"episodes": 8, "prompt": "<b>Hi</b>", "completion": "so", "score": null}\n'


@pytest.fixture
def page(tmp_path: Path) -> RunPage:
    record = RunFolder(tmp_path)
    (tmp_path / "samples.jsonl").write_text(SAMPLE)
    return RunPage(record, "my run", {"reward": "word_count"})


def evaluation(text: str, score: float) -> Evaluation:
    return Evaluation(["Hi"], [text], [None], [score], [1], [0.0], [-1.0])


def outcome(before: str, after: str) -> Section:
    evaluated = {"before": evaluation(before, 0.0), "after": evaluation(after, 1.0)}
    return of_evaluations(evaluated, "Held-out prompts")


def test_before_the_first_update_there_is_what_was_asked(page: RunPage) -> None:
    page.on_training_start(None, 64)  # type: ignore[arg-type]
    html = page.path.read_text()
    assert "word_count" in html
    assert "How it goes" not in html
    assert f"every {run_page.SECONDS} seconds" in html


def test_while_it_learns_it_is_written_again_when_it_is_old(
    page: RunPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(run_page.time, "monotonic", lambda: now[0])
    page.on_training_start(None, 64)  # type: ignore[arg-type]
    page._record.history.append(ROW)
    now[0] = run_page.SECONDS - 1
    assert page.on_update_end(None, ROW)  # type: ignore[arg-type]
    assert "How it goes" not in page.path.read_text()
    now[0] = run_page.SECONDS
    page.on_update_end(None, ROW)  # type: ignore[arg-type]
    html = page.path.read_text()
    assert "Now Reward 0.250 after 8 episodes." in html
    assert "&lt;b&gt;Hi&lt;/b&gt;" in html


def test_a_diagnostic_that_is_not_well_says_look(page: RunPage) -> None:
    page._record.history.append(ROW)
    page.on_training_end(None)  # type: ignore[arg-type]
    html = page.path.read_text()
    verdicts = re.findall(r">(well|look)<", html)
    assert verdicts == ["look", "well"]  # no spread of rewards; entropy


def test_at_the_end_there_are_replies_before_and_after(page: RunPage) -> None:
    page._record.history.append(ROW)
    page.finish([outcome("sad", "glad")])
    html = page.path.read_text()
    assert html.index("<h2>What came of it") < html.index("sad") < html.index("glad")
    assert html.index("glad") < html.index("<h2>How it goes")
    assert "Held-out prompts" in html
    assert "<script" not in html


def test_it_asks_nobody_for_anything(page: RunPage) -> None:
    page._record.history.append(ROW)
    page.finish([outcome("a", "b")])
    html = page.path.read_text()
    assert not re.search(r"""(src|href)=["'](?!#)|url\(|<script""", html)


@pytest.mark.parametrize("view", [WRITING, READING])
def test_every_diagnostic_says_what_is_healthy(view: View) -> None:
    assert all(one.healthy.endswith(".") for one in view.diagnostics)
    assert len({one.name for one in view.diagnostics}) == len(view.diagnostics)


def test_what_learns_from_a_file_is_drawn_against_epochs(tmp_path: Path) -> None:
    record = RunFolder(tmp_path)
    page = RunPage(record, "my run", {}, view=READING)
    for step in range(1, 2001):
        row = {"episodes": step, "train/epoch": step / 1000, "train/loss": 1 / step}
        record.history.append({**row, "eval/loss": 0.5} if step == 1000 else row)
    page.on_training_end(None)  # type: ignore[arg-type]
    html = page.path.read_text()
    assert "Now training 0.001 after 2 epochs, held out 0.500 after 1 epochs." in html
    assert "Newest texts" not in html
    assert "Falls from epoch to epoch" in html  # though it was measured 1,000 steps ago
    assert max(len(line.split()) for line in re.findall('points="([^"]*)"', html)) == 501
