"""Facts: answers in many forms, subjects in one split, honesty that pays, calibration by hand."""

from __future__ import annotations

import importlib
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from agents.applications.dialogue import SMALL_TALK_MODEL
from agents.applications.facts.application import COSTS
from agents.applications.facts.asking import log_probs_of, texts_of
from agents.applications.facts.start import demonstration, demonstrations, imitate
from agents.applications.registry import PROMPTS
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.runs.prompts import load_prompts
from benchmarks.facts import accuracy, at_equal_coverage, of_answered, of_several, two_facts
from benchmarks.facts import reward as reward_of
from text_gym import HuggingFaceTokenizer
from text_gym.applications.facts import (
    KINDS,
    REASONING,
    UNKNOWN,
    Honesty,
    Verdict,
    accuracy_at_coverage,
    as_prompts,
    calibration_curve,
    calibration_error,
    facts_of,
    is_right,
    is_unknown,
    mentions,
)
from text_gym.applications.facts.answers import plain_words
from text_gym.applications.installed_data import read_installed
from text_gym.checks import check_reward
from text_gym.constraints import MatchRegex
from text_gym.episode import Episode
from text_gym.rewards import score
from text_gym.wrappers import Constrain


def answers(kind: str, subject: str) -> tuple[str, ...]:
    both = facts_of("train", [kind]) + facts_of("heldout", [kind])
    return next(fact.answers for fact in both if fact.subject == subject)


# Answers


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("Bogota", True),
        (" BOGOTÁ.", True),
        ("The capital of Colombia is Bogotá.\nIt is large.", True),
        ("Medellín", False),
        ("Bogotá or Medellín", False),
        ("The capital of Colombia", False),
        ("", False),
        ("Colombia", False),
    ],
)
def test_a_reply_is_right_in_any_spelling_and_only_alone(reply: str, right: bool) -> None:
    assert is_right(reply, "What is the capital of Colombia?", ["Bogotá"]) == right


def test_words_of_the_question_count_where_the_answer_has_them() -> None:
    question = "What is the capital of Guatemala?"
    assert is_right("Guatemala City", question, ["Guatemala City"])
    assert not is_right("Guatemala", question, ["Guatemala City"])


def test_a_symbol_may_look_like_a_word() -> None:
    assert is_right("As", "What is the chemical symbol of arsenic?", ["As"])


def test_several_accepted_answers_are_right_together() -> None:
    question = "What is an official language of Switzerland?"
    assert is_right("German, French and Italian", question, ["German", "French", "Italian"])
    assert not is_right("German and Spanish", question, ["German", "French", "Italian"])


@settings(max_examples=50)
@given(st.text())
def test_plain_words_are_plain(text: str) -> None:
    words = plain_words(text)
    assert plain_words(" ".join(words)) == words


@settings(max_examples=50)
@given(st.text())
def test_nothing_is_right_and_unknown(reply: str) -> None:
    assert not (is_unknown(reply) and is_right(reply, "What is it?", ["Paris"]))


def test_an_answer_is_named_as_whole_words() -> None:
    assert mentions("It is Port Louis, I think", ["Port Louis"])
    assert not mentions("Port-au-Prince and Louisville", ["Port Louis"])


# Data


def test_no_subject_is_in_both_splits_and_none_is_missing() -> None:
    train, heldout = facts_of("train"), facts_of("heldout")
    assert {fact.subject for fact in train}.isdisjoint(fact.subject for fact in heldout)
    assert (len(train), len(heldout)) == (781, 433)
    assert {fact.kind for fact in train} == {fact.kind for fact in heldout} == set(KINDS)


def test_no_question_is_asked_twice_and_none_gives_its_answer_away() -> None:
    both = facts_of("train") + facts_of("heldout")
    assert len({fact.question for fact in both}) == len(both)
    for fact in both:
        assert is_right(fact.answers[0], fact.question, fact.answers)
        assert not is_right(fact.question, fact.question, fact.answers)


def test_what_is_said_of_some_subjects() -> None:
    assert answers("capital", "Brazil") == ("Brasília",)
    assert answers("symbol", "Gold") == ("Au",)
    assert answers("element", "Sulfur") == ("Sulfur", "Sulphur")
    assert answers("number", "Iron") == ("26",)
    assert "krone" in answers("currency", "Norway")
    assert answers("continent", "Peru")[0] == "South America"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "test"}, "split must be one of"),
        ({"kinds": ["rivers"]}, r"kinds must be some of .* got \['rivers'\]"),
        ({"kinds": []}, "kinds must be some of"),
        ({"most": 0}, "most must be at least 1, got 0"),
        ({"cost": -1.0}, "cost must be finite and at least 0, got -1.0"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gym.make("text_gym:TextGen/Facts-v0", **arguments)


def test_a_package_that_is_missing_is_named_with_its_extra() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"no_such.*pip install 'text-gym\[facts\]'"):
        read_installed("no_such", "*", sha256="", extra="facts")


def test_a_package_that_was_altered_is_refused(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "altered").mkdir()
    (tmp_path / "altered" / "__init__.py").write_text("raise AssertionError")
    (tmp_path / "altered" / "data.json").write_text("{}")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"altered/\*\.json must have the SHA-256 0000, got 2"):
        read_installed("altered", "*.json", sha256="0000", extra="facts")


def test_a_run_without_the_packages_says_what_installs_them(monkeypatch) -> None:
    monkeypatch.setitem(PROMPTS, "facts", lambda: importlib.import_module("no_such_module"))
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load_prompts("facts", Console())


# Honesty


def episode(reply: str, **kwargs: object) -> Episode:
    metadata = {"answers": ["Paris"]}
    return Episode.from_text("What is the capital of France?", reply, metadata=metadata, **kwargs)


def test_honesty_by_hand() -> None:
    replies = [episode("Paris"), episode("Lyon"), episode("I don't know."), episode("")]
    scores = score(Honesty(cost=2.0), replies)
    assert scores.total.tolist() == [1, -2, 0, -2]
    assert scores.components["right"].tolist() == [1, 0, 0, 0]
    check_reward(Honesty(), replies)


def test_an_answer_pays_above_the_threshold() -> None:
    for cost in COSTS:
        honesty = Honesty(cost)
        p = honesty.threshold
        assert p * 1 - (1 - p) * cost == pytest.approx(0)


def test_what_comes_before_the_answer_is_not_judged() -> None:
    honesty = Honesty(answer_after="Answer:")
    assert honesty.verdict(episode("Lyon is large.\nAnswer: Paris")) is Verdict.RIGHT
    assert honesty.verdict(episode("Paris")) is Verdict.WRONG
    assert honesty.verdict(episode("Hm.\nAnswer: I don't know")) is Verdict.UNKNOWN
    assert Honesty().verdict(episode("Lyon\0Paris")) is Verdict.WRONG


def test_a_prompt_without_answers_is_named() -> None:
    with pytest.raises(ValueError, match=r"'answers' for every prompt .* None for 'Who"):
        Honesty()([Episode.from_text("Who?", "I")])


# Calibration


def test_calibration_by_hand() -> None:
    confidence, right = [0.05, 0.05, 0.95, 0.95], [False, False, True, False]
    assert [one.size for one in calibration_curve(confidence, right)] == [2, 2]
    assert calibration_error(confidence, right) == pytest.approx((0.05 * 2 + 0.45 * 2) / 4)
    assert np.isnan(calibration_error([], []))
    assert np.isnan(accuracy_at_coverage([], [], 0.5))
    assert calibration_error([1.0, 0.0], [True, False]) == 0


def test_accuracy_at_coverage_by_hand() -> None:
    confidence, right = [0.9, 0.8, 0.8, 0.1], [True, True, False, False]
    assert accuracy_at_coverage(confidence, right, 0.25) == 1
    assert accuracy_at_coverage(confidence, right, 0.5) == pytest.approx(0.75)
    assert accuracy_at_coverage(confidence, right, 1) == 0.5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration_error([0.5], [True, False]), r"one shape \(n,\), got \(1,\)"),
        (lambda: calibration_error([1.5], [True]), r"in \[0, 1\], got 1.5"),
        (lambda: calibration_error([np.nan], [True]), r"in \[0, 1\], got nan"),
        (lambda: calibration_error([0.5], [True], n_bins=0), "n_bins must be at least 1, got 0"),
        (lambda: accuracy_at_coverage([0.5], [True], 0), r"in \(0, 1\], got 0"),
    ],
)
def test_bad_figures_are_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


# The environment


def test_every_question_and_its_answer_can_be_written() -> None:
    env = gym.make("text_gym:TextGen/Facts-v0", split="heldout")
    for place in (0, 100, -1):
        fact = facts_of("heldout")[place]
        _, info = env.reset(options={"prompt": as_prompts([fact])[0]})
        for token in [
            *env.unwrapped.tokenizer.encode(fact.answers[0]),
            env.unwrapped.tokenizer.eos_token_id,
        ]:
            _, reward, terminated, _, info = env.step(token)
        assert terminated
        assert reward == 1
        assert info["text_episode"].metadata["subject"] == fact.subject


def test_reasoning_is_kept_in_its_format() -> None:
    env = gym.make("text_gym:TextGen/Facts-v0", reasoning=True, kinds=("capital",), most=2)
    kept = Constrain(env, MatchRegex(r"[a-z ]{1,80}: [a-z' ]{1,30}"))
    _, info = kept.reset(seed=0)
    assert not info["action_mask"][env.unwrapped.tokenizer.encode("?")[0]]
    assert REASONING.count("Answer:") == 1


# Learning


@pytest.mark.slow
@pytest.mark.parametrize(("learner", "reached"), [("our PPO", 0.8), ("SB3 PPO", -0.2)])
def test_two_facts_are_learnt(learner: str, reached: float) -> None:
    scores = two_facts(learner)
    assert scores[0] < -0.8
    assert np.mean(scores[-3:]) > reached


def test_the_start_says_that_it_does_not_know_what_it_did_not_name() -> None:
    policy = CausalLMPolicy.from_pretrained(SMALL_TALK_MODEL, PolicyConfig(value_network="none"))
    tokenizer = HuggingFaceTokenizer.from_pretrained(SMALL_TALK_MODEL)
    prompts = as_prompts(facts_of("train", ["capital"])[:16])
    pairs = demonstrations(policy, tokenizer, prompts)
    assert sorted(pairs) == sorted((prompt.text, f"{UNKNOWN}.") for prompt in prompts)
    texts = texts_of(tokenizer, pairs)
    before = log_probs_of(policy, texts)
    imitate(policy, tokenizer, pairs)
    assert (log_probs_of(policy, texts) > before).all()


def test_what_was_named_is_imitated_in_its_usual_form() -> None:
    said = Episode.from_text(
        "Q?", "It is kiev, I think.", reference="Kyiv", metadata={"answers": ["Kyiv", "Kiev"]}
    )
    assert demonstration(said) == ("Q?", "Kyiv")


# What the benchmark makes of replies


FOUND = {
    "question": ["a", "b", "c", "d"],
    "verdict": [1, -1, 0, 1],
    "confidence": [0.9, 0.6, 0.8, 0.2],
}


def test_the_reward_of_replies_by_hand() -> None:
    assert reward_of(FOUND, 2.0) == pytest.approx((2 - 2 * 1) / 4)
    sure, right = of_answered(FOUND)
    assert sure.tolist() == [0.9, 0.6, 0, 0.2]
    assert accuracy(sure, right) == pytest.approx(2 / 3)


def test_policies_are_compared_where_both_answer_as_much() -> None:
    before = {"verdict": [-1, 1, -1, 1], "confidence": [0.9, 0.6, 0.8, 0.2]}
    gain = at_equal_coverage(before, FOUND, np.arange(4))
    assert gain == pytest.approx(2 / 3 - 1 / 3)


def test_the_best_and_the_commonest_of_several_replies() -> None:
    passes = [
        {"verdict": [1, -1], "reply": ["x", "y"]},
        {"verdict": [-1, -1], "reply": ["z", "y"]},
        {"verdict": [-1, 0], "reply": ["z", "?"]},
    ]
    figures = {one.name: one.value for one in of_several(passes, 1.0)}
    assert figures["best of n of SFT: right of answered"] == 1
    assert figures["best of n of SFT: answered"] == 0.5
    assert figures["commonest of n of SFT: reward, c = 1"] == -1
