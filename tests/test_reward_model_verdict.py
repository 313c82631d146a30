"""How good a reward model is found to be: worked numbers, and what the page shows of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agents.reward_models.verdict import check
from agents.reward_models.verdict_report import sections_of, write_report
from agents.supervised.pair_files import Preference, Rating, read_feedback, read_preferences
from tests.report_figures import missing_figures
from text_gym import Episode
from text_gym.feedback.proportion import wilson


class Known:
    """Says that a completion is worth the number that it is."""

    def __init__(self, nats: float = 1.0) -> None:
        self.nats = nats
        self.asked: list[str] = []

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> NDArray[np.float64]:
        self.asked += completions
        return np.array([float(text) for text in completions])


def pair(better: float, worse: float, prompt: str = "?", **fields: Any) -> Preference:
    return Preference(prompt, str(better), str(worse), 0.0, 1.0)._replace(**fields)


def test_accuracy_is_the_share_of_what_was_preferred() -> None:
    verdict = check(
        Known(), [pair(3, 1), pair(2, 1), pair(1, 4), pair(2, 2.0), pair(5, 1, tie=True)]
    )
    assert (verdict.n_comparisons, verdict.n_ties) == (4, 1)
    assert verdict.accuracy == wilson(2.5, 4)
    assert (
        verdict.gold is verdict.best_of_4 is verdict.agreement is verdict.rating_correlation is None
    )


def test_every_text_is_scored_once() -> None:
    model = Known()
    check(model, [pair(3, 1), pair(3, 2), Rating("?", "3", 7, 1)])
    assert sorted(model.asked) == ["1", "2", "3"]


def test_agreement_is_of_answers_about_the_same_two_texts() -> None:
    # Three answers about one pair: two of three pairs of answers differ; another pair, asked once.
    verdict = check(
        Known(), [pair(3, 1), pair(1, 3), pair(3, 1), pair(5, 4), pair(3, 1, prompt="!")]
    )
    assert verdict.agreement == wilson(1, 3)
    assert verdict.ceiling is not None
    assert verdict.ceiling.value == 0.5


def test_the_ceiling_is_that_of_people_who_are_as_often_wrong() -> None:
    # Right three times of four, two agree 10 times of 16.
    rows = [pair(2, 1, prompt=str(i)) for i in range(10) for _ in (0, 1)]
    rows += [row for i in range(10, 16) for row in (pair(2, 1, str(i)), pair(1, 2, str(i)))]
    verdict = check(Known(), rows)
    assert verdict.agreement is not None
    assert verdict.agreement.value == 10 / 16
    assert verdict.ceiling is not None
    assert verdict.ceiling.value == pytest.approx(0.75)
    assert verdict.ceiling.low < 0.75 < verdict.ceiling.high


def test_best_of_four_asks_for_the_first_place() -> None:
    first = [pair(9, worse, prompt="a") for worse in (1, 2, 3)]
    second = [pair(2, worse, prompt="b") for worse in (1, 3, 0)]
    third = [pair(5, worse, prompt="c") for worse in (1, 2)]
    verdict = check(Known(), [*first, *second, *third])
    assert verdict.best_of_4 is not None
    assert (verdict.best_of_4.n, verdict.best_of_4.right) == (2, wilson(1, 2))


def test_gold_says_which_order_and_which_of_four_is_right() -> None:
    def gold(episodes: Sequence[Episode]) -> list[float]:
        return [min(float(episode.completion), 3) for episode in episodes]

    rows = [pair(1, 2), pair(3, 4), pair(4, 2, tie=True), pair(2, 1, prompt="!"), pair(0, 3, "!")]
    verdict = check(Known(), rows, gold=gold)
    # Of 3 and 4 gold knows no better one; the model orders all others right, whatever was said.
    assert verdict.gold is not None
    assert (verdict.gold.n, verdict.gold.right) == (4, wilson(4, 4))
    assert verdict.gold_best_of_4 is not None
    assert (verdict.gold_best_of_4.n, verdict.gold_best_of_4.right) == (1, wilson(1, 1))


def test_a_model_that_is_as_sure_as_it_is_right_has_no_calibration_error() -> None:
    rows = [pair(2, 1, str(i)) if i < 3 else pair(1, 2, str(i)) for i in range(4)] * 10
    right = check(Known(nats=math.log(3)), rows)
    assert right.calibration_error == pytest.approx(0)
    assert right.accuracy == wilson(30, 40)
    too_sure = check(Known(nats=math.log(9)), rows)
    assert too_sure.calibration_error == pytest.approx(0.9 - 0.75)


def test_calibration_is_in_tenths_from_the_least_sure() -> None:
    rows = [pair(i / 10, 0, str(i)) for i in range(1, 31)] + [pair(0, 10, "!")]
    bins = check(Known(), rows).calibration
    assert [one.n for one in bins] == [4] + [3] * 9
    assert [one.right.value for one in bins] == [1] * 9 + [pytest.approx(2 / 3)]
    assert bins[0].predicted == pytest.approx(
        np.mean([1 / (1 + math.exp(-i / 10)) for i in range(1, 5)])
    )


def test_length_and_side_are_those_of_what_was_preferred() -> None:
    rows = [pair(1, 10.5, str(i), side="left") for i in range(5)]
    rows += [pair(22.25, 2, str(i), side="right") for i in range(20)]
    verdict = check(Known(), rows)
    assert [one.right.value for one in verdict.by_length] == [0, 1, 1, 1, 1]
    assert verdict.by_length[0].name == "-3 to -3 characters"
    assert verdict.by_length[-1].name == "+4 to +4 characters"
    assert {one.name: (one.n, one.right.value) for one in verdict.by_side} == {
        "left": (5, 0),
        "right": (20, 1),
    }


def test_ratings_are_held_against_the_order_of_rewards() -> None:
    rated = [Rating("?", str(i), score, 1) for i, score in enumerate((1, 2, 4, 3, 5))]
    verdict = check(Known(), rated)
    assert verdict.accuracy is None
    assert verdict.calibration_error is None
    assert verdict.rating_correlation is not None
    # Two neighbours swapped: ρ = 1 - 6·2/(5·24) = 0.9; z = 1.4722 ± 1.96·√(1.405/2).
    expected = (0.9, math.tanh(1.47222 - 1.64276), math.tanh(1.47222 + 1.64276))
    assert verdict.rating_correlation == pytest.approx(expected, abs=1e-4)


def test_nothing_to_check_on_is_refused() -> None:
    with pytest.raises(ValueError, match="rows must hold at least one preference or rating, got"):
        check(Known(), [])


def test_the_page_shows_nothing_that_its_json_lacks(tmp_path: Path) -> None:
    rows = [pair(i % 7, i % 5, str(i % 9), side="left") for i in range(60) if i % 7 != i % 5]
    rated = [Rating("?", str(i), i**2 % 7, 1) for i in range(9)]
    verdict = check(Known(), [*rows, *rated], gold=lambda episodes: np.arange(len(episodes)))
    page = write_report(verdict, [("model", "<b>")], tmp_path / "report")
    assert missing_figures(page.parent) == []
    figures = json.loads((page.parent / "report.json").read_text())["figures"]
    assert verdict.accuracy is not None
    assert figures["accuracy"]["low"] == verdict.accuracy.low
    assert figures["calibration"][0]["right"]["value"] == verdict.calibration[0].right.value
    assert len(sections_of(verdict)) == 3


def test_a_verdict_on_ratings_alone_has_no_empty_sections() -> None:
    verdict = check(Known(), [Rating("?", "1", 1, 1)])
    assert [section.title for section in sections_of(verdict)] == ["How often it is right"]


# Files


def test_ties_sides_and_ratings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    lines: list[dict[str, Any]] = [
        {"prompt": "a", "chosen": "b", "rejected": "c", "tie": True, "side": "left"},
        {"prompt": "a", "completion": "b", "score": 7, "scale": "witty", "low": None},
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_feedback(path) == [
        Preference("a", "b", "c", 0, 1, tie=True, side="left"),
        Rating("a", "b", 7, 1),
    ]
    with pytest.raises(ValueError, match="line 1: tie must be false, got True"):
        read_preferences(path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": "b", "rejected": "c", "tie": 1}, "tie must be true or false, got 1"),
        ({"chosen": "b", "rejected": "c", "side": "up"}, "side must be left or right, got 'up'"),
        ({"completion": "b", "score": None}, "score must be a finite number, got None"),
        ({"completion": "b", "score": "7"}, "score must be a finite number, got '7'"),
        (
            {"completion": "b", "score": 7, "scale": "other"},
            "scale must be the same of all ratings",
        ),
    ],
)
def test_what_is_wrong_with_feedback_is_said(row: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    first = {"prompt": "a", "completion": "b", "score": 7, "scale": "witty"}
    path.write_text(f"{json.dumps(first)}\n{json.dumps({'prompt': 'a', **row})}")
    with pytest.raises(ValueError, match=f"line 2: {message}"):
        read_feedback(path)
