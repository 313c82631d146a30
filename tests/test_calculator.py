"""The calculator: what it computes and refuses, what is asked, and who is paid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from text_gym import Episode, Prompt
from text_gym.applications import ApplicationEnv
from text_gym.applications.calculator import RightAnswer, calculate, questions
from text_gym.applications.calculator.arithmetic import ERROR, LARGEST, LONGEST_RESULT
from text_gym.applications.calculator.questions import FORMS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2+3*4", "14"),
        ("(2+3)*4", "20"),
        ("12-37", "-25"),
        ("-(-3)", "3"),
        ("7/4", "1.75"),
        ("1/3", "0.333333"),
        ("0-1/10000000", "0"),
        ("2**10", "1024"),
        ("2**-2", "0.25"),
        (" 3 +4 ", "7"),
        ("10**9", "1000000000"),
    ],
)
def test_arithmetic_by_hand(text: str, value: str) -> None:
    assert calculate(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "()",
        "2+",
        "1/0",
        "0**-1",
        "10**9+1",
        "9**9**9",
        "2**33",
        "4**0.5",
        "1(2)",
        "1,2",
        "1//2",
        "2<3",
        "05",
        "abs(2)",
        "__import__('os')",
        "\uff12+3",
        "2+3\n",
        "(" * 32 + "1" + ")" * 32,
        "1/3/7/11/13/17/19/23/29/31/37",
    ],
)
def test_what_is_no_arithmetic_or_too_large_is_an_error(text: str) -> None:
    assert calculate(text) == ERROR


@given(st.text("0123456789+-*/(). =x", max_size=70))
def test_any_text_has_a_short_answer(text: str) -> None:
    said = calculate(text)
    assert len(said) <= LONGEST_RESULT
    assert said == ERROR or abs(float(said)) <= LARGEST


def test_sums_are_what_their_words_say() -> None:
    by_hand = {
        "{0} plus {1}, all times {2}": (2 + 3) * 5,
        "take {0} from {1} times {2}": 3 * 5 - 2,
        "take {0} from {1}": 3 - 2,
        "{0} times {1} minus {2}": 2 * 3 - 5,
    }
    symbols = dict(FORMS)
    for words, value in by_hand.items():
        assert calculate(symbols[words].format(2, 3, 5)) == str(value)


def test_the_numbers_of_a_held_out_sum_are_in_no_other_order_in_training() -> None:
    def numbers(split: Any) -> set[tuple[int, ...]]:
        texts = (one.text.replace(",", "") for one in questions(split, largest=20))
        return {tuple(sorted(int(w) for w in text.split() if w.isdigit())) for text in texts}

    assert not numbers("train") & numbers("heldout")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "test"}, r"split must be one of \('train', 'heldout'\), got 'test'"),
        ({"largest": 18}, "largest must be from 19 to 999, got 18"),
        ({"operands": 4}, "operands must be from 2 to 3, got 4"),
    ],
)
def test_arguments_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ApplicationEnv("Calculator", **changes)


def written(turns: Sequence[str], **changes: Any) -> tuple[float, Episode]:
    """Writes turns in answer to a sum, and returns what they earned and the text."""
    env = ApplicationEnv("Calculator", prompts=[Prompt("take 2 from 6 times 7", "40")], **changes)
    env.reset(seed=0)
    spell = env.tokenizer
    for turn in turns:
        for token in [*spell.encode(turn), spell.eos_token_id]:
            _, reward, terminated, _, info = env.step(token)
    assert terminated
    return float(reward), info["text_episode"]


def test_a_call_is_answered_and_the_answer_is_paid() -> None:
    reward, episode = written(["6*7-2=", "40"])
    assert [one.text for one in episode.turns] == ["6*7-2=", "40", "40"]
    assert reward == 1.0


@pytest.mark.parametrize(
    "turns", [["40"], ["6*7=", "42-2=", "40"], ["6**(=", "40"], ["6*7=", "40"], [" 40 "]]
)
def test_a_right_answer_is_paid_however_it_was_found(turns: list[str]) -> None:
    assert written(turns)[0] == 1.0


@pytest.mark.parametrize("turns", [["41"], [""], ["6*7-2=", "-40"], ["6=", "7=", "40="], ["0 40"]])
def test_another_answer_is_not_paid(turns: list[str]) -> None:
    assert written(turns)[0] == 0.0


def test_a_broken_call_is_answered_by_an_error() -> None:
    _, episode = written(["6*(7=", "40"])
    assert episode.turns[1].text.strip() == ERROR


def test_without_the_tool_a_text_has_one_turn() -> None:
    reward, episode = written(["6*7-2="], tool=False)
    assert (reward, len(episode.turns)) == (0.0, 1)
    assert written(["40"], tool=False)[0] == 1.0


def test_calls_without_end_run_out_of_room_and_not_of_luck() -> None:
    reward, episode = written(["1/3="] * 4, max_turns=None, max_new_tokens=60)
    assert (reward, episode.stop_reason) == (0.0, "eos")


def test_a_sum_without_its_result_cannot_be_paid() -> None:
    with pytest.raises(ValueError, match=r"reference must be given .* got None for 'six'"):
        RightAnswer()([Episode.from_text("six", "6")])
