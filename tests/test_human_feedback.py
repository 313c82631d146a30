"""Feedback by people while a policy learns: asked once, waited for, or done without as declared."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from starlette.testclient import TestClient
from transformers import GPT2Config

from agents import PPO, CausalLMPolicy, PPOConfig
from text_gym import Episode
from text_gym.feedback import (
    Annotator,
    Answer,
    HumanFeedback,
    Item,
    Preferred,
    QualityRules,
    Ratings,
    Scale,
    Skip,
    StudyConfig,
    Tie,
    create_study,
    human_feedback,
    waiting,
)
from text_gym.feedback.owner import serving
from text_gym.feedback.participation import Participation
from text_gym.feedback.server.app import make_app
from text_gym.feedback.server.rates import Rates
from text_gym.feedback.simulated.answering import Manner
from text_gym.feedback.simulated.visiting import Visitor
from text_gym.feedback.study import Study
from text_gym.rewards.function import as_reward_function
from text_gym.wrappers import Feedback
from text_gym.wrappers.vector import Feedback as VectorFeedback

LENIENT = QualityRules(least_seconds=0.0, seconds_per_word=0.0, same_side_run=10_000)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.005)


def study(folder: Path, mode: Any = "rate", **changes: Any) -> Study:
    options = {"gold_share": 0.0, "repeat_share": 0.0, "rules": LENIENT, **changes}
    return create_study(folder / "study", StudyConfig(mode=mode, **options), [])


@contextmanager
def in_thread(work: Callable[[threading.Event], None]) -> Iterator[None]:
    over, failed = threading.Event(), []

    def run() -> None:
        try:
            work(over)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not failed, failed


@contextmanager
def at_work(study: Study, *people: tuple[str, float, Callable[[Item], Answer]]) -> Iterator[None]:
    """Lets people (name, weight, what they say) answer whatever comes, beside the block."""

    def work(over: threading.Event) -> None:
        with study.open() as store:
            participation = Participation(study, store)
            working = [enter(participation, *person) for person in people]
            while not over.is_set():
                for person, says in working:
                    task = participation.task(person)
                    if task is not None:
                        participation.answer(person, task.lease.id, says(task.item))
                time.sleep(0.005)

    with serving(study.folder, "http://127.0.0.1:8000"), in_thread(work):
        yield


def enter(
    participation: Participation, name: str, weight: float, says: Callable[[Item], Answer]
) -> tuple[Annotator, Callable[[Item], Answer]]:
    annotators = participation.store.annotators
    person = annotators.named(name) or annotators.add(name, weight=weight)
    participation.agree(person)
    participation.learn(person)
    return person, says


def by_words(item: Item) -> Answer:
    return Ratings({"quality": min(5, len(item.completions[0].text.split()))})


def longer(item: Item) -> Answer:
    first, second = (len(one.text) for one in item.completions)
    return Tie() if first == second else Preferred(int(second > first))


def texts(*completions: str, prompt: str = "Hi", reference: str | None = None) -> list[Episode]:
    return [Episode.from_text(prompt, one, reference=reference) for one in completions]


def items(study: Study) -> list[Item]:
    with study.open() as store:
        return store.items.all()


# What is paid


def test_ratings_are_places_between_the_ends_of_the_scale(tmp_path: Path) -> None:
    made = study(tmp_path)
    with at_work(made, ("Ann", 1.0, by_words)):
        paid = HumanFeedback(made.folder)(texts("a", "a b c", "a b c d e", "a"))
    assert paid.tolist() == [-1.0, 0.0, 1.0, -1.0]
    assert len(items(made)) == 3


def test_several_scales_and_people_are_averaged_by_weight(tmp_path: Path) -> None:
    scales = (Scale("kind", 0, 10), Scale("true", 1, 5))
    made = study(tmp_path, scales=scales, overlap=2, max_overlap=2)
    ann = ("Ann", 3.0, lambda item: Ratings({"kind": 10, "true": 3}))
    eve = ("Eve", 1.0, lambda item: Ratings({"kind": 0, "true": 1}))
    with at_work(made, ann, eve):
        paid = HumanFeedback(made.folder)(texts("a"))
    assert paid.tolist() == [(3 * 0.5 - 1.0) / 4]


def test_more_people_are_waited_for_where_they_disagree(tmp_path: Path) -> None:
    made = study(tmp_path, overlap=2, max_overlap=3)

    def late(item: Item) -> Answer:
        time.sleep(0.1)
        return Ratings({"quality": 5})

    ann = ("Ann", 1.0, lambda item: Ratings({"quality": 5}))
    eve = ("Eve", 1.0, lambda item: Ratings({"quality": 1}))
    with at_work(made, ann, eve, ("Ida", 1.0, late)):
        paid = HumanFeedback(made.folder)(texts("a"))
    assert paid.tolist() == pytest.approx([(1.0 - 1.0 + 1.0) / 3])


def test_comparisons_are_within_a_prompt_and_paid_by_wins_less_losses(tmp_path: Path) -> None:
    made = study(tmp_path, "compare")
    episodes = [*texts("a", "bb", "ccc"), *texts("d", "e", prompt="Ho"), *texts("a")]
    with at_work(made, ("Ann", 1.0, longer)):
        paid = HumanFeedback(made.folder)(episodes)
    assert paid.tolist() == [-1.0, 0.0, 1.0, 0.0, 0.0, -1.0]
    assert len(items(made)) == 4


def test_a_text_alone_is_compared_with_its_reference(tmp_path: Path) -> None:
    made = study(tmp_path, "compare")
    reward = HumanFeedback(made.folder)
    with at_work(made, ("Ann", 1.0, longer)):
        assert reward(texts("aaa", reference="bb")).tolist() == [1.0]
    with pytest.raises(ValueError, match="must have another text of their prompt in the call, or"):
        reward(texts("aaa", "aaa"))


# Asking and waiting


def test_what_was_judged_is_not_asked_again(tmp_path: Path) -> None:
    made = study(tmp_path)
    with at_work(made, ("Ann", 1.0, by_words)):
        first = HumanFeedback(made.folder)(texts("a", "a b"))
    again = HumanFeedback(made.folder, on_timeout="stop", timeout=0.01)
    assert again(texts("a b", "a")).tolist() == first[::-1].tolist()
    assert len(items(made)) == 2


def test_whoever_waits_is_told_that_nobody_serves_the_study(tmp_path: Path) -> None:
    made = study(tmp_path)
    reward = HumanFeedback(made.folder, on_timeout="skip", timeout=0.01)
    with pytest.warns(RuntimeWarning, match=r"nobody serves the study .*: python -m text_gym\.fee"):
        reward(texts("a"))
    with serving(made.folder, "http://127.0.0.1:8000"):
        reward(texts("a"))


def test_waiting_outlasts_any_time(tmp_path: Path) -> None:
    made = study(tmp_path)

    def late(item: Item) -> Answer:
        time.sleep(0.1)
        return by_words(item)

    with at_work(made, ("Ann", 1.0, late)):
        assert HumanFeedback(made.folder, timeout=0.01)(texts("a b c d")).tolist() == [0.5]


def silent_on_a(item: Item) -> Answer:
    return Skip() if item.completions[0].text == "a" else by_words(item)


def test_texts_of_which_nothing_is_said_are_skipped(tmp_path: Path) -> None:
    made = study(tmp_path)
    reward = HumanFeedback(made.folder, on_timeout="skip", timeout=0.5)
    with at_work(made, ("Ann", 1.0, silent_on_a)):
        assert reward(texts("a", "a b")).tolist() == [human_feedback.SKIPPED, -0.5]
    assert reward.skipped == 1


def test_texts_of_which_nothing_is_said_are_paid_by_another_reward(tmp_path: Path) -> None:
    made = study(tmp_path)
    reward = HumanFeedback(made.folder, on_timeout=lambda prompt, completion: 0.25, timeout=0.5)
    with at_work(made, ("Ann", 1.0, silent_on_a)):
        assert reward(texts("a", "a b")).tolist() == [0.25, -0.5]
    assert reward.skipped == 1


def test_a_run_stops_where_nothing_is_said(tmp_path: Path) -> None:
    made = study(tmp_path)
    reward = HumanFeedback(made.folder, on_timeout="stop", timeout=0.01)
    with (
        serving(made.folder, "http://127.0.0.1:8000"),
        pytest.raises(TimeoutError, match=r"within 0\.01 s, but of 2 nothing was said in the"),
    ):
        reward(texts("a", "a b"))


def test_what_was_said_in_time_counts_though_more_was_wanted(tmp_path: Path) -> None:
    made = study(tmp_path, overlap=2, max_overlap=2)
    reward = HumanFeedback(made.folder, on_timeout="stop", timeout=0.5)
    with at_work(made, ("Ann", 1.0, by_words)):
        assert reward(texts("a b c d")).tolist() == [0.5]


@pytest.mark.parametrize(
    ("mode", "options", "rule"),
    [
        ("rank", {}, "study must be of mode rate or compare, got rank of"),
        ("rate", {"on_timeout": "halt"}, "on_timeout must be one of wait, skip, stop, or a reward"),
        ("rate", {"timeout": 0}, "timeout must be above 0 seconds, got 0"),
    ],
)
def test_arguments_are_checked(
    mode: Any, options: dict[str, Any], rule: str, tmp_path: Path
) -> None:
    made = study(tmp_path, mode)
    with pytest.raises(ValueError, match=rule):
        HumanFeedback(made.folder, **options)


def test_copies_count_together_and_it_travels_to_other_processes(tmp_path: Path) -> None:
    reward = HumanFeedback(study(tmp_path).folder)
    assert copy.deepcopy(reward) is reward
    assert pickle.loads(pickle.dumps(reward)).study == reward.study


# In environments


def test_it_pays_in_one_environment_and_in_many(tmp_path: Path) -> None:
    made = study(tmp_path)
    reward = HumanFeedback(made.folder, timeout=10.0, on_timeout="stop")
    with at_work(made, ("Ann", 1.0, by_words)):
        env = Feedback(gym.make("TextGen-v0", max_new_tokens=2), reward)
        env.reset(seed=0)
        word = env.unwrapped.tokenizer.encode("fine")[0]
        env.step(word)
        _, paid, terminated, _, info = env.step(word)
        assert (paid, terminated) == (-0.5, True)
        assert info["reward_components"] == {"human_feedback": -0.5}
        envs = VectorFeedback(gym.make_vec("TextGen-v0", num_envs=3, max_new_tokens=2), reward)
        envs.reset(seed=0)
        envs.step(np.full(3, word))
        assert envs.step(np.full(3, word))[1].tolist() == [-0.5] * 3


def test_ppo_learns_from_what_is_said_on_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rates, "_lets_through", lambda self, request: True)
    made = study(tmp_path)
    reward = HumanFeedback(made.folder, on_timeout="stop", timeout=60.0)

    def visit(over: threading.Event) -> None:
        with made.open() as store:
            client = TestClient(
                make_app(made, store), base_url="http://127.0.0.1:8000", follow_redirects=True
            )
            letters = as_reward_function(lambda prompt, completion: len(completion) - 12.0)
            chance = np.random.default_rng(0)
            person = Visitor(client, letters, Manner(skill=0.3), chance, "Ann", lambda _: None)
            while not over.is_set():
                person.visit("/")
                time.sleep(0.005)

    with serving(made.folder, "http://127.0.0.1:8000"), in_thread(visit):
        envs = gym.make_vec(
            "TextGen-v0",
            num_envs=4,
            prompts=["hello"],
            max_new_tokens=3,
            autoreset_mode="Disabled",
        )
        sizes: dict[str, Any] = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 16}
        config = GPT2Config(vocab_size=int(envs.single_action_space.n), **sizes)
        options = PPOConfig(n_episodes=8, batch_size=8, n_epochs=1)
        agent = PPO(CausalLMPolicy.from_config(config), VectorFeedback(envs, reward), options)
        agent.learn(total_episodes=16)
    assert agent.n_updates == 2
    with made.open() as store:
        judged = {one.item for one in store.judgements.all()}
        assert judged == {item.id for item in store.items.all()}
        assert len(store.judgements.all()) == len(judged) > 1
