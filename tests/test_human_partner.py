"""People as the partner of a conversation: asked once, waited for, or done without as declared."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from starlette.testclient import TestClient

from text_gym.applications.conversation import ScriptedPartner
from text_gym.episode import Passage
from text_gym.feedback import (
    Correction,
    HumanPartner,
    Item,
    QualityRules,
    Skip,
    StudyConfig,
    create_study,
    waiting,
)
from text_gym.feedback.owner import serving
from text_gym.feedback.participation import Participation
from text_gym.feedback.server.app import make_app
from text_gym.feedback.simulated.answering import Manner
from text_gym.feedback.simulated.visiting import Visitor
from text_gym.feedback.study import Study
from text_gym.rewards.function import as_reward_function
from text_gym.tokenizers import CharTokenizer
from text_gym.turns import ResponderError, Turn

LENIENT = QualityRules(least_seconds=0.0, seconds_per_word=0.0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.005)


def study(folder: Path, mode: Any = "correct") -> Study:
    config = StudyConfig(mode=mode, gold_share=0.0, repeat_share=0.0, rules=LENIENT)
    return create_study(folder / "study", config, [])


@contextmanager
def at_work(study: Study, says: Callable[[Item], str | None]) -> Iterator[None]:
    """Lets a person answer whatever comes, beside the block; who says None skips."""
    over = threading.Event()

    def work() -> None:
        with study.open() as store:
            participation = Participation(study, store)
            ada = store.annotators.add("Ada")
            participation.agree(ada)
            participation.learn(ada)
            while not over.is_set():
                task = participation.task(ada)
                if task is not None:
                    text = says(task.item)
                    answer = Skip() if text is None else Correction(text)
                    participation.answer(ada, task.lease.id, answer)
                time.sleep(0.005)

    thread = threading.Thread(target=work)
    with serving(study.folder, "http://127.0.0.1:8000"):
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def turn(*said: str, prompt: str = "How are you?", room: int = 9) -> Turn:
    """The policy speaks first, then the partner, and so on."""
    writers = ("policy", "responder")
    passages = [
        Passage(writers[place % 2], np.array([7]), text)  # type: ignore[arg-type]
        for place, text in enumerate(said)
    ]
    return Turn(prompt, passages, "eos", room, 0, None, {})


def heard(item: Item) -> str:
    return " ".join(f"{one.role}:{one.text}" for one in item.prompt)  # type: ignore[union-attr]


def test_a_person_reads_who_said_what_and_writes_the_next_line(tmp_path: Path) -> None:
    made = study(tmp_path)
    partner = HumanPartner(made.folder, str.split)
    with at_work(made, heard):
        lines = partner([turn("fine", room=99), turn("fine", "good", "bye", room=99)])
    assert lines == [
        "user:How are you? assistant:fine",
        "user:How are you? assistant:fine user:good assistant:bye",
    ]
    assert partner.skipped == 0


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    made = study(tmp_path)
    with at_work(made, lambda item: "indeed"):
        HumanPartner(made.folder, str.split)([turn("fine")])
    again = HumanPartner(made.folder, str.split, on_timeout="stop", timeout=0.01)
    assert again([turn("fine"), turn("fine")]) == ["indeed", "indeed"]


def test_a_line_is_cut_to_the_words_there_is_room_for(tmp_path: Path) -> None:
    made = study(tmp_path)
    with at_work(made, lambda item: "  four words\nof text  "):
        partner = HumanPartner(made.folder, str.split)
        assert partner([turn("fine", room=3), turn("oh", room=9)]) == [
            "four words of",
            "four words of text",
        ]
        assert HumanPartner(made.folder, list)([turn("fine", room=3)]) == [None]


def test_a_line_is_read_up_to_what_cannot_be_spelled(tmp_path: Path) -> None:
    made = study(tmp_path)
    spell = CharTokenizer("abc ").encode
    with at_work(made, lambda item: "abc 🙂 abc" if "fine" in heard(item) else "🙂 abc"):
        assert HumanPartner(made.folder, spell)([turn("fine"), turn("oh")]) == ["abc", None]


def test_an_empty_line_ends_the_conversation(tmp_path: Path) -> None:
    made = study(tmp_path)
    partner = HumanPartner(made.folder, str.split, on_timeout="stop", timeout=60)
    with at_work(made, lambda item: " \n"):
        assert partner([turn("fine")]) == [None]
    assert partner.skipped == 0


def silent(item: Item) -> str | None:
    return None


def test_who_says_nothing_in_time_ends_the_conversation_and_is_counted(tmp_path: Path) -> None:
    made = study(tmp_path)
    partner = HumanPartner(made.folder, str.split, on_timeout="skip", timeout=0.1)
    with at_work(made, silent):
        assert partner([turn("fine")]) == [None]
    assert copy.deepcopy(partner).skipped == 1


def test_another_responder_may_go_on_for_people(tmp_path: Path) -> None:
    made = study(tmp_path)
    partner = HumanPartner(made.folder, str.split, ScriptedPartner(["I see."]), timeout=0.05)
    with at_work(made, silent):
        assert partner([turn("fine")]) == ["I see."]
    assert partner.skipped == 1


def test_or_the_run_stops(tmp_path: Path) -> None:
    made = study(tmp_path)
    partner = HumanPartner(made.folder, str.split, on_timeout="stop", timeout=0.05)
    with at_work(made, silent), pytest.raises(TimeoutError, match=r"within 0.05 s, but of 1"):
        partner([turn("fine")])


def test_nobody_there_is_said_once_to_who_waits(tmp_path: Path) -> None:
    made = study(tmp_path)
    partner = HumanPartner(made.folder, str.split, on_timeout="skip", timeout=0.01)
    with pytest.warns(RuntimeWarning, match="nobody serves the study"):
        partner([turn("fine")])


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    made = study(tmp_path)
    with pytest.raises(ValueError, match="a responder, got 'never'"):
        HumanPartner(made.folder, str.split, on_timeout="never")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout must be above 0 seconds, got 0"):
        HumanPartner(made.folder, str.split, timeout=0)
    with pytest.raises(ValueError, match="study must be of mode correct, got rate"):
        HumanPartner(study(tmp_path / "other", "rate").folder, str.split)


def test_a_conversation_is_held_in_a_vector_environment(tmp_path: Path) -> None:
    made = study(tmp_path)
    envs = gym.make_vec(
        "text_gym:TextGen/Conversation-v0",
        num_envs=2,
        autoreset_mode="Disabled",
        turns=2,
        responder=HumanPartner(made.folder, list),
    )
    envs.reset(seed=0)
    spell = envs.unwrapped.tokenizer  # type: ignore[attr-defined]
    with at_work(made, lambda item: "oh"):
        for token in [*spell.encode("ha"), spell.eos_token_id] * 2:
            _, _, terminations, _, infos = envs.step(np.array([token, token]))
    assert terminations.all()
    said = [[one.text for one in text.turns] for text in infos["text_episode"]]
    assert said == [["ha", "oh", "ha"]] * 2


def test_a_line_longer_than_the_room_is_cut_in_an_environment(tmp_path: Path) -> None:
    made = study(tmp_path)
    spell = gym.make("text_gym:TextGen/Conversation-v0").unwrapped.tokenizer.encode  # type: ignore[attr-defined]
    partner = HumanPartner(made.folder, lambda line: spell(f"{line}\n"))
    env = gym.make("text_gym:TextGen/Conversation-v0", responder=partner)
    env.reset(seed=0)
    with at_work(made, lambda item: "ab " * 10_000):
        info = env.step(env.unwrapped.tokenizer.eos_token_id)[-1]  # type: ignore[attr-defined]
    assert info["appended"] % 3 == 0  # whole words, and a new line after the last
    assert info["appended"] > 100


def test_the_run_that_stops_names_the_conversation(tmp_path: Path) -> None:
    made = study(tmp_path)
    partner = HumanPartner(made.folder, list, on_timeout="stop", timeout=0.01)
    env = gym.make("text_gym:TextGen/Conversation-v0", responder=partner)
    env.reset(seed=0)
    eos = env.unwrapped.tokenizer.eos_token_id  # type: ignore[attr-defined]
    with (
        serving(made.folder, "http://127.0.0.1:8000"),
        pytest.raises(ResponderError, match=r"TimeoutError: turns must be answered within 0.01 s"),
    ):
        env.step(eos)


class Writing:
    """A browser whose user writes the same line into every empty text."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, url: str) -> Any:
        return self.client.get(url)

    def post(self, url: str, *, data: Mapping[str, str]) -> Any:
        written = {**data, "text": "glad to hear it"} if data.get("text") == "" else data
        return self.client.post(url, data=written)


def test_a_line_written_on_the_page_is_what_the_policy_reads(tmp_path: Path) -> None:
    made = study(tmp_path)
    over = threading.Event()

    def visit() -> None:
        with made.open() as store:
            app = make_app(made, store)
            client = TestClient(app, base_url="http://127.0.0.1:8000", follow_redirects=True)
            nothing = as_reward_function(lambda prompt, completion: 0.0)
            chance = np.random.default_rng(0)
            person = Visitor(Writing(client), nothing, Manner(), chance, "Ann", lambda _: None)
            while not over.is_set():
                person.visit("/")
                time.sleep(0.005)

    partner = HumanPartner(made.folder, str.split, on_timeout="stop", timeout=60)
    thread = threading.Thread(target=visit)
    with serving(made.folder, "http://127.0.0.1:8000"):
        thread.start()
        try:
            assert partner([turn("fine")]) == ["glad to hear it"]
        finally:
            over.set()
            thread.join()
