"""Conversation: partners, what a model sees of turns, and what the preset starts from."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import CausalLMPolicy, PolicyConfig
from agents.applications.conversation import made
from agents.applications.conversation.application import CONVERSATION, fitting, prompts
from agents.applications.conversation.partner import LanguageModelPartner
from agents.applications.conversation.turn_form import encode_turn
from agents.applications.dialogue import SMALL_TALK_MODEL
from agents.preparing import conversation as preparing
from agents.preparing.command import PrepareCommand
from agents.preparing.conversation_windows import windows
from agents.reward_models.reward_model import RewardModel
from agents.supervised.pair_files import Rating
from benchmarks import smallest_turns
from text_gym import HuggingFaceTokenizer, TextGenEnv
from text_gym.applications.scripted_partner import ScriptedPartner
from text_gym.episode import Passage
from text_gym.metrics import repeated_across
from text_gym.turns import Turn

ROOM = 22


@pytest.fixture(scope="module")
def tokenizer() -> HuggingFaceTokenizer:
    return HuggingFaceTokenizer.from_pretrained(SMALL_TALK_MODEL)


@pytest.fixture(scope="module")
def model() -> CausalLMPolicy:
    return CausalLMPolicy.from_pretrained(SMALL_TALK_MODEL, PolicyConfig(value_network="none"))


def turn(text: str, seed: int = 0, *, room: int = ROOM, before: Sequence[str] = ()) -> Turn:
    said = [*before, text]
    writers = ("policy", "responder")
    passages = [Passage(writers[i % 2], np.array([1]), one) for i, one in enumerate(said)]  # type: ignore[arg-type]
    return Turn("How are you?", tuple(passages), "eos", room, seed, None, {})


# The partner that needs no model


def test_a_scripted_partner_repeats_itself_with_the_seed() -> None:
    partner = ScriptedPartner([str(number) for number in range(100)])
    seeds = range(8)
    first = partner([turn("hello", seed) for seed in seeds])
    assert first == [partner([turn("something else", seed)])[0] for seed in seeds]
    assert len(set(first)) > 4


def test_nobody_answers_silence() -> None:
    assert ScriptedPartner(["Yes."])([turn(""), turn("?!"), turn("ok")]) == [None, None, "Yes."]


def test_a_partner_without_lines_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lines must hold at least one text, got \(\)"):
        ScriptedPartner(())


def test_conversations_are_as_long_as_there_is_something_to_say() -> None:
    env = TextGenEnv(responder=ScriptedPartner(["and you ?"]), max_response_tokens=12, max_turns=4)
    env.reset(seed=0)
    words, eos = env.tokenizer.encode("fine"), env.tokenizer.eos_token_id
    for token in [*words, eos, *words, eos, eos]:
        info = env.step(token)[-1]
    assert [one.text for one in info["text_episode"].turns] == [
        *("fine", "and you ?", "fine", "and you ?", "")
    ]


# The partner that is a model


@pytest.fixture(scope="module")
def partner(model: CausalLMPolicy, tokenizer: HuggingFaceTokenizer) -> LanguageModelPartner:
    return LanguageModelPartner(model, tokenizer, ROOM - 1)


def test_answers_depend_on_the_seed_and_not_on_the_batch(partner: LanguageModelPartner) -> None:
    turns = [turn("I am fine, and you?", seed) for seed in range(6)]
    together = partner(turns)
    assert together == [partner([one])[0] for one in turns]
    assert len(set(together)) > 3


def test_a_silent_turn_has_no_answer_in_the_midst_of_others(partner: LanguageModelPartner) -> None:
    first, none, last = partner([turn("Good!", 1), turn("...", 2), turn("Great!", 3)])
    assert none is None
    assert [first, last] == partner([turn("Good!", 1), turn("Great!", 3)])


def test_an_answer_is_one_line_that_fits_where_it_goes(
    partner: LanguageModelPartner, tokenizer: HuggingFaceTokenizer
) -> None:
    answers = partner([turn("What do you do all day?", seed, room=5) for seed in range(24)])
    said = [answer for answer in answers if answer is not None]
    assert said
    assert all(len(encode_turn(answer, 0, tokenizer)) <= 5 for answer in said)
    assert not any("\n" in answer or answer != answer.strip() for answer in said)


def test_a_long_conversation_is_read_from_its_end(partner: LanguageModelPartner) -> None:
    long_ago = ["this was said a long time ago and nobody remembers it any more"] * 20
    assert len(partner([turn("So?", seed, before=long_ago) for seed in range(3)])) == 3


def test_what_is_drawn_has_the_models_probabilities(
    model: CausalLMPolicy, tokenizer: HuggingFaceTokenizer
) -> None:
    partner = LanguageModelPartner(model, tokenizer, 1)
    context = [
        *encode_turn("How are you?", 0, tokenizer),
        *encode_turn("Fine.", 1, tokenizer),
    ]
    with torch.no_grad():
        probabilities = model.model(torch.tensor([context])).logits[0, -1].softmax(-1)
    expected: Counter[str | None] = Counter()
    for token, probability in enumerate(probabilities.tolist()):
        expected[tokenizer.decode([token]).strip() or None] += probability
    answers = Counter(partner([turn("Fine.", seed) for seed in range(500)]))
    for said, probability in expected.most_common(5):
        assert answers[said] / 500 == pytest.approx(probability, abs=0.05)


def test_a_model_without_room_to_read_is_no_partner(
    model: CausalLMPolicy, tokenizer: HuggingFaceTokenizer
) -> None:
    for max_tokens in (0, 128):
        with pytest.raises(ValueError, match=rf"must be from 1 to 127, got {max_tokens}"):
            LanguageModelPartner(model, tokenizer, max_tokens)


# What the model sees


def test_windows_hold_whole_turns_in_the_form_of_the_environment(
    tokenizer: HuggingFaceTokenizer,
) -> None:
    said = ["How are you?", "Fine.", "Good.", "And you?", "Tired."]
    (whole,) = windows(said, tokenizer, 128)
    env = TextGenEnv(
        said[:1],
        tokenizer,
        lambda prompt, completion: 0.0,
        prompt_template=CONVERSATION.preset.prompt_template,
        responder=lambda turns: [said[2 * one.number] for one in turns],
        response_template=CONVERSATION.preset.response_template,
        max_response_tokens=40,
        max_turns=3,
        max_new_tokens=60,
    )
    observation, info = env.reset()
    assert info["prompt_length"] == whole.prompt_length
    for text in (said[1], said[3]):
        for token in [*tokenizer.encode(text), tokenizer.eos_token_id]:
            observation = env.step(token)[0]
    seen = observation["input_ids"][: observation["attention_mask"].sum()]
    assert seen.tolist() == whole.ids


def test_windows_are_cut_between_turns_and_lose_only_what_stands_alone(
    tokenizer: HuggingFaceTokenizer,
) -> None:
    said = ["Hi", "Hello", "How are you?", "Fine"]
    sizes = [len(encode_turn(text, place, tokenizer)) for place, text in enumerate(said)]
    cut = list(windows(said, tokenizer, sum(sizes[:2])))
    assert tokenizer.decode(cut[0].ids) == "Hi\nHello"
    assert all(len(one.ids) <= sum(sizes[:2]) for one in cut)
    assert not list(windows(["Hi"], tokenizer, 128))


def test_prompts_leave_room_for_the_conversation(tokenizer: HuggingFaceTokenizer) -> None:
    preset = CONVERSATION.preset
    assert preset.max_response_tokens is not None
    room = 128 - preset.max_new_tokens - preset.max_response_tokens
    split = prompts()
    assert all(
        len(encode_turn(one.text, 0, tokenizer)) <= room for one in [*split.train, *split.heldout]
    )
    assert len(split.train) > 2_000
    assert len(fitting("heldout")) == len(split.heldout) > 1_000
    assert not {one.text for one in split.train} & {one.text for one in split.heldout}


# What is made


def test_what_is_missing_is_said_with_the_command_that_makes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path))
    for one in (made.MODEL, made.RATING):
        with pytest.raises(FileNotFoundError, match=r"`python -m agents\.prepare conversation`"):
            one.require()
        one.folder.mkdir()
        assert one.require() == one.folder


def test_another_setting_is_another_folder() -> None:
    settings: dict[str, Any] = {"epochs": 1}
    folders = {made.Made("model", {**settings, "epochs": n}).folder for n in (1, 2)}
    assert len(folders) == 2
    assert made.Made("model", {"epochs": 1}).folder in folders


@pytest.mark.slow
def test_ratings_pay_whole_conversations_in_deviations_of_where_the_preset_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path))
    sizes = {"conversations": 16, "normalised_over": 8}
    rating = dataclasses.replace(made.RATING, settings={**made.RATING.settings, **sizes})
    rows = [Rating("Hi", "\n".join(["Hello"] * n), float(n), 1.0) for n in range(1, 17)]
    monkeypatch.setattr(preparing, "RATING", rating)
    monkeypatch.setattr(preparing, "chitchat_stretches", lambda split: [("Hi", "Hello", "Bye")])
    monkeypatch.setattr(preparing, "chitchat_ratings", lambda split, *scales: rows)
    said: list[str] = []
    for _ in range(2):
        preparing.prepare(PrepareCommand("conversation", threads=1), said.append)
    steps, *folders = said
    assert steps.startswith("step 1: held-out loss")
    assert folders == 2 * [f"{one.name}: {one.folder}" for one in (made.MODEL, rating)]
    episodes = preparing.reference_conversations(8)
    rewards = RewardModel.load(rating.folder)(episodes)
    assert rewards.mean() == pytest.approx(0, abs=0.01)
    assert rewards.std() == pytest.approx(1, abs=0.01)
    whole = [one.continuation for one in episodes]
    assert any(len(one.turns) > 3 for one in episodes)
    assert whole == ["\n".join(turn.text for turn in one.turns) for one in episodes]


# Learning


def test_ours_and_sb3_learn_to_be_friendly_in_the_smallest_conversation() -> None:
    for learn in smallest_turns.LEARNERS.values():
        found = learn(smallest_turns.conversation_envs, 0, 1024)
        assert found["last"] > 0.7  # untrained: 0.34


# Metrics


@pytest.mark.parametrize(
    ("turns", "share"),
    [
        ([], 0.0),
        (["I like you, I like you"], 0.0),
        (["I like you", "I like you"], 1.0),
        (["I like you", "You like I like"], 1 / 3),
        (["One two", "three", "ONE TWO three"], 1 / 2),
    ],
)
def test_repetition_across_turns(turns: list[str], share: float) -> None:
    assert repeated_across(turns, 2) == pytest.approx(share)
