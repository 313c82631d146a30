"""Unwanted words: found, punished, counted, and kept from being written."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import VectorEnv
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.applications.registry import PRESETS
from agents.applications.toy_policy import toy_policy
from agents.evaluation.metrics import METRICS, Evaluation
from agents.runs.console import evaluations
from agents.runs.environments import make_envs
from agents.runs.pipeline import run
from agents.runs.summary import summary
from text_gym import Episode, Prompt, WordTokenizer
from text_gym.constraints import BannedWords
from text_gym.constraints.dfa import DEAD, Dfa
from text_gym.lexicon import unwanted_words, words_pattern
from text_gym.metrics import has_unwanted
from text_gym.rewards import Keyword, Unwanted
from text_gym.wrappers.vector import Constrain

WORDS = ["Oath", "hand job", "ha", "a$$", "oat"]
PARTS = [
    "oath",
    "OATH",
    "hand",
    " ",
    "  ",
    "job",
    "ha",
    "a$$",
    "oat",
    "s",
    "_",
    "1",
    "é",
    "猫",
    "!",
]

BANNED = BannedWords(WORDS).dfa()


def accepts(dfa: Dfa, content: bytes) -> bool:
    state = 0
    for byte in content:
        state = int(dfa.table[state, byte])
        if state == DEAD:
            return False
    return bool(dfa.accepts[state])


# What is found


def test_a_word_counts_where_it_stands_by_itself_in_any_case() -> None:
    pattern = words_pattern(WORDS)
    found = ["an oath", "OATH!", "éoath", "no hand job.", "a$$", "(ha)", "oat-meal"]
    not_found = ["oaths", "hand  job", "handjob", "aa$$", "a$$1", "hat", "_ha", "", "猫"]
    assert [bool(pattern.search(text)) for text in found] == [True] * len(found)
    assert [bool(pattern.search(text)) for text in not_found] == [False] * len(not_found)


@given(st.lists(st.sampled_from(PARTS), max_size=8).map("".join))
def test_what_is_found_and_what_is_banned_are_the_same(text: str) -> None:
    found = words_pattern(WORDS).search(text) is not None
    assert accepts(BANNED, text.encode()) is not found


def test_every_word_of_the_lexicon_is_found_and_banned() -> None:
    dfa = BannedWords(unwanted_words()).dfa()
    texts = [f"You {word.upper()}, sir" for word in unwanted_words()]
    assert len(texts) > 900
    assert all(has_unwanted(texts))
    assert not any(accepts(dfa, text.encode()) for text in texts)
    assert accepts(dfa, b"Good morning, how was the class?")


def test_banned_words_refuses_what_it_cannot_spell() -> None:
    with pytest.raises(ValueError, match="words must be in ASCII, got 'naïf'"):
        BannedWords(["naïf"])
    with pytest.raises(TypeError, match="words must be a list of strings"):
        BannedWords("oath")


def test_without_its_package_the_lexicon_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "better_profanity", None)
    unwanted_words.cache_clear()
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'text-gym\[safety\]'"):
        Unwanted()


# What is reported


def evaluation_of(*completions: str) -> Evaluation:
    n = len(completions)
    numbers = dict.fromkeys(("scores", "log_ratios", "ref_log_probs"), [0.0] * n)
    return Evaluation(["Hi"] * n, completions, [None] * n, lengths=[1] * n, **numbers)


def shown(evaluated: dict[str, Evaluation]) -> str:
    console = Console(width=150, markup=False)
    with console.capture() as capture:
        console.print(evaluations(evaluated, "Figures"))
    return capture.get()


def test_the_rate_of_unwanted_replies_is_among_the_figures() -> None:
    evaluated = {
        "before": evaluation_of("damn", "so", "so", "oh"),
        "after": evaluation_of("damn", "hell", "damn you", "oh"),
    }
    assert evaluated["before"].figures["unwanted_rate"] == 0.25
    assert evaluated["after"].figures["unwanted_rate"] == 0.75
    assert re.search(r"share with unwanted words +0\.250 \S+ \S+ +0\.750", shown(evaluated))


def test_a_rate_that_is_not_measured_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(texts: object) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr("agents.evaluation.metrics.has_unwanted", missing)
    evaluated = {when: evaluation_of("damn", "so") for when in ("before", "after")}
    assert METRICS["unwanted_rate"].of(evaluated["before"]) is None
    assert "not measured: pip install 'text-gym[safety]'" in shown(evaluated)

    class Agent:
        n_episodes = n_updates = seed = 0

    figures = summary(evaluated, Agent(), tokens=1, seconds=1.0)  # type: ignore[arg-type]
    assert figures["unwanted_rate"] == "not measured: pip install 'text-gym[safety]'"
    assert "unwanted_rate_after" not in figures


# What is held

TONGUE = WordTokenizer(["fine", "thanks", "damn", "hell", "you"])


def swearing(*, held: bool) -> VectorEnv:
    """Pays for each oath, and for "fine"."""
    envs = gym.make_vec(
        "TextGen-v0",
        num_envs=32,
        prompts=["you"],
        tokenizer=TONGUE,
        reward_function=Keyword(["damn", "hell", "fine"], mode="count"),
        max_new_tokens=6,
        autoreset_mode="Disabled",
    )
    return Constrain(envs, BannedWords(unwanted_words())) if held else envs


def oaths_after_training(*, held: bool) -> list[bool]:
    """Trains where oaths pay; returns of each text of the last batch whether it has one."""
    envs = swearing(held=held)
    policy = toy_policy(TONGUE.vocab_size, TONGUE.eos_token_id, length=8, eos_probability=0.2)
    settings = PPOConfig(n_episodes=64, batch_size=32, learning_rate=3e-3, kl_coef=0.0)
    rollout = PPO(policy, envs, settings).learn(64 * 6).collect()
    return has_unwanted([info["text_episode"].completion for info in rollout.infos])


def test_a_policy_that_is_paid_for_oaths_is_held_by_the_constraint_and_not_without_it() -> None:
    assert np.mean(oaths_after_training(held=False)) > 0.9
    assert not any(oaths_after_training(held=True))


def test_a_run_that_bans_unwanted_words_writes_none(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(["How are you ?", "you ?", "fine ?"]))
    preset = PRESETS["toy"][1]
    sizes = {"total_episodes": 64, "eval_episodes": 64, "num_envs": 64, "threads": 1}
    config = replace(preset, output=tmp_path, prompts=str(prompts), **sizes)
    vocabulary = gym.make("TextGen-v0").unwrapped.tokenizer
    banned = vocabulary.decode([0])

    def rate(name: str, *, ban: bool) -> float:
        folder = run("toy", replace(config, name=name, ban_unwanted=ban))
        replies = json.loads((folder / "replies.json").read_text())
        return float(np.mean([banned in reply["after"].split() for reply in replies]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.runs.environments.unwanted_words", lambda: (banned,))
        assert rate("held", ban=True) == 0.0
        assert rate("free", ban=False) > 0.0


def test_environments_mask_nothing_unless_asked() -> None:
    config, prompts = PRESETS["toy"][1], [Prompt("How are you ?")]
    reward = Unwanted()
    free = make_envs(config, prompts, None, (), 2, reward)
    held = make_envs(replace(config, ban_unwanted=True), prompts, None, (), 2, reward)
    assert isinstance(held, Constrain)
    assert not isinstance(free, Constrain)


def test_unwanted_pays_minus_one() -> None:
    episodes = [Episode.from_text("damn", text) for text in ("hello", "oh DAMN", "", "我")]
    assert Unwanted()(episodes).tolist() == [0.0, -1.0, 0.0, 0.0]
