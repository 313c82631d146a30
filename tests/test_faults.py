"""Bad input and faults from outside: what is refused, how, and that nothing is lost by it.

Rewards that fail, prompts that end, broken vocabularies, strange texts, long runs. What a single
function refuses is tested beside it.
"""

from __future__ import annotations

import gc
import io
import itertools
import pickle
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st

from text_gym import (
    CharTokenizer,
    HuggingFaceTokenizer,
    Prompt,
    PromptSource,
    TextGenEnv,
    TextGenVectorEnv,
    rewards,
    wrappers,
)
from text_gym.constraints import BannedStrings, MinimumLength
from text_gym.rewards import RewardError
from text_gym.wrappers import vector

LETTERS = CharTokenizer("abc.")
A, B, C, DOT, EOS = range(5)
MODES = list(AutoresetMode)
NEXT_STEP, SAME_STEP, DISABLED = (
    AutoresetMode.NEXT_STEP,
    AutoresetMode.SAME_STEP,
    AutoresetMode.DISABLED,
)
EVERY_MODE = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ab", "c", "abca", "bb"],
        "tokenizer": LETTERS,
        "reward_function": lambda prompt, completion: 10.0 + len(completion),
        "max_new_tokens": 3,
    }
    return {**defaults, **arguments}


# Rewards that fail


def is_bad(episode: Any) -> bool:
    return "b" in episode.completion


def good_pay(episodes: Any) -> list[Any]:
    return [10.0 + len(episode.completion) for episode in episodes]


def raises(episodes: Any) -> Any:
    if any(map(is_bad, episodes)):
        raise KeyError("judge is down")
    return good_pay(episodes)


def not_a_number(episodes: Any) -> Any:
    return [
        float("nan") if is_bad(episode) else pay
        for episode, pay in zip(episodes, good_pay(episodes), strict=True)
    ]


def wrong_length(episodes: Any) -> Any:
    return [*good_pay(episodes), 1.0] if any(map(is_bad, episodes)) else good_pay(episodes)


def string(episodes: Any) -> Any:
    return [
        "bad" if is_bad(e) else pay for e, pay in zip(episodes, good_pay(episodes), strict=True)
    ]


def one_value(episodes: Any) -> Any:
    return 1.0 if any(map(is_bad, episodes)) else good_pay(episodes)


FAULTS = [raises, not_a_number, wrong_length, string, one_value]
EVERY_FAULT = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)


def inside(fault: Any, mode: AutoresetMode) -> Any:
    return TextGenVectorEnv(3, autoreset_mode=mode, **task_of(reward_function=fault))


def wrapped(fault: Any, mode: AutoresetMode) -> Any:
    envs = TextGenVectorEnv(3, autoreset_mode=mode, **task_of())
    return vector.NormalizeFeedback(vector.Feedback(vector.RemainingTokens(envs), fault))


def around_sync(fault: Any, mode: AutoresetMode) -> Any:
    fns = [lambda: TextGenEnv(**task_of())] * 3
    return vector.Feedback(SyncVectorEnv(fns, autoreset_mode=mode), fault)


def inside_sync(fault: Any, mode: AutoresetMode) -> Any:
    fns = [lambda: wrappers.Feedback(TextGenEnv(**task_of()), fault)] * 3
    return SyncVectorEnv(fns, autoreset_mode=mode)


def by_chunks(fault: Any, mode: AutoresetMode) -> Any:
    envs = TextGenVectorEnv(3, autoreset_mode=mode, **task_of())
    return vector.ChunkedFeedback(envs, fault, every=2)


LAYERS = [inside, wrapped, around_sync, inside_sync, by_chunks]
EVERY_LAYER = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.__name__)
PLAN = [[A, C, A], [EOS, C, A], [A, A, EOS], [C, EOS, C], [EOS, EOS, EOS]]


def run(envs: Any, seed: Any) -> list[Any]:
    """Plays good texts only, and returns all that is returned."""
    mode = envs.unwrapped.autoreset_mode
    results = [envs.reset(seed=seed)]
    for actions in PLAN:
        results.append(envs.step(np.array(actions)))
        ended = results[-1][2] | results[-1][3]
        if mode is DISABLED and ended.any():
            results.append(envs.reset(options={"reset_mask": ended}))
    return results


@EVERY_MODE
@EVERY_LAYER
@EVERY_FAULT
def test_a_vector_goes_on_after_a_reward_that_failed(
    fault: Any, layer: Any, mode: AutoresetMode
) -> None:
    envs, clean = layer(fault, mode), layer(fault, mode)
    envs.reset(seed=3)
    envs.step(np.array([A, C, A]))
    with pytest.raises(RewardError, match=rf"'{fault.__name__}'.*completion='ab'"):
        step_until_paid(envs, [B, C, A], [EOS, A, A])
    same = data_equivalence(run(envs, seed=5), run(clean, seed=5), exact=True)
    assert same
    same = data_equivalence(run(envs, seed=None), run(clean, seed=None), exact=True)
    assert same


def step_until_paid(envs: Any, *steps: list[int]) -> None:
    for actions in steps:
        envs.step(np.array(actions))


@EVERY_FAULT
@pytest.mark.parametrize("wrap", [False, True], ids=["inside", "wrapped"])
def test_an_environment_goes_on_after_a_reward_that_failed(fault: Any, wrap: bool) -> None:
    def make(reward: Any) -> Any:
        if not wrap:
            return TextGenEnv(**task_of(reward_function=reward))
        return wrappers.NormalizeFeedback(wrappers.Feedback(TextGenEnv(**task_of()), reward))

    def texts(env: Any, *plans: list[int]) -> list[Any]:
        return [[env.reset(), *map(env.step, plan)] for plan in plans]

    env, clean = make(fault), make(fault)
    env.reset(seed=1)
    clean.reset(seed=1)
    env.step(B)
    with pytest.raises(RewardError, match=rf"'{fault.__name__}'.*completion='b'"):
        env.step(EOS)
    plans = [A, EOS], [C, C, C], [EOS]
    same = data_equivalence(texts(env, *plans), texts(clean, *plans), exact=True)
    assert same


def test_a_chunk_whose_reward_failed_is_paid_with_the_next() -> None:
    failing = [False, True, False, False]

    def flaky(prompt: str, completion: str) -> float:
        if failing.pop(0):
            raise TimeoutError("judge is slow")
        return float(len(completion) ** 2)

    env = wrappers.ChunkedFeedback(TextGenEnv(**task_of(max_new_tokens=4)), flaky, every=1)
    env.reset(seed=0)
    assert env.step(A)[1] == 1.0
    with pytest.raises(RewardError, match=r"judge is slow.*completion='ab'"):
        env.step(B)
    assert [env.step(C)[1], env.step(EOS)[1]] == [9.0 - 1.0, 0.0]


@EVERY_MODE
def test_failures_that_a_caller_puts_a_value_on_stop_nothing(mode: AutoresetMode) -> None:
    reward = rewards.OnError(not_a_number, value=-1.0)
    envs = TextGenVectorEnv(2, autoreset_mode=mode, **task_of(reward_function=reward))
    envs.reset(seed=0)
    envs.step([B, C])
    with pytest.warns(RuntimeWarning, match="paid -1.0 instead"):
        _, paid, terminations, *_ = envs.step([EOS, EOS])
    assert (paid.tolist(), terminations.tolist(), reward.failures) == ([-1.0, 11.0], [True] * 2, 1)


# Prompts that end, or are no prompts


def finite(count: int) -> Any:
    texts = iter(["ab", "c", "abca", "bb"][:count])
    return lambda np_random: next(texts)


class Custom(PromptSource):
    """Yields what it is given, in order."""

    def __init__(self, *drawn: Any) -> None:
        self._drawn = iter(drawn)

    def draw(self, np_random: Any) -> Any:
        return next(self._drawn)


@pytest.mark.parametrize("prompts", [finite(1), Custom("ab")], ids=["function", "source"])
def test_prompts_that_end_say_so_and_end_no_loop_of_the_caller(prompts: Any) -> None:
    env = TextGenEnv(**task_of(prompts=prompts, max_prompt_tokens=4))

    def resets() -> Iterator[Any]:
        while True:
            yield env.reset()[1]["prompt_length"]

    lengths = resets()
    assert next(lengths) == 2
    with pytest.raises(RuntimeError, match="prompts must not end while episodes start, got StopIt"):
        list(itertools.islice(map(lambda _: env.reset(), range(3)), 3))
    observation, _ = env.reset(options={"prompt": "c"})  # the environment itself is well
    assert observation["input_ids"][:2].tolist() == [C, 0]
    assert env.step(EOS)[1] == 10.0


@EVERY_MODE
def test_prompts_that_end_within_a_vector_step_say_so(mode: AutoresetMode) -> None:
    envs = TextGenVectorEnv(
        2, autoreset_mode=mode, **task_of(prompts=finite(3), max_prompt_tokens=4)
    )
    envs.reset(seed=0)
    if mode is not SAME_STEP:
        assert envs.step([EOS, EOS])[1].tolist() == [10.0, 10.0]
    with pytest.raises(RuntimeError, match="prompts must not end while episodes start"):
        envs.reset() if mode is DISABLED else envs.step([EOS, EOS])
    observations, _ = envs.reset(options={"prompt": ["c", "bb"]})
    assert observations["input_ids"][:, :2].tolist() == [[C, 0], [B, B]]
    assert envs.step([B, C])[0]["input_ids"][:, :3].tolist() == [[C, B, 0], [B, B, C]]


@pytest.mark.parametrize("vectorised", [False, True])
@pytest.mark.parametrize("wrong", [None, 5, b"ab", ["ab"], {"text": "ab"}, Prompt(5)], ids=repr)  # type: ignore[arg-type]
def test_a_source_that_yields_no_text_is_blamed(wrong: Any, vectorised: bool) -> None:
    for prompts in (lambda np_random: wrong, Custom(wrong)):
        task = task_of(prompts=prompts, max_prompt_tokens=4)
        env = TextGenVectorEnv(2, **task) if vectorised else TextGenEnv(**task)
        with pytest.raises(TypeError, match=r"prompts must yield a str, a Prompt.*got"):
            env.reset(seed=0)


def test_a_source_may_yield_texts() -> None:
    env = TextGenEnv(**task_of(prompts=Custom("ab", {"prompt": "c"}), max_prompt_tokens=4))
    assert [env.reset()[1]["prompt_length"] for _ in range(2)] == [2, 1]


def test_what_a_source_raises_is_not_hidden() -> None:
    def broken(np_random: Any) -> str:
        raise FileNotFoundError("prompts.txt")

    env = TextGenEnv(**task_of(prompts=broken, max_prompt_tokens=4))
    with pytest.raises(FileNotFoundError, match=r"prompts\.txt"):
        env.reset(seed=0)


# Broken vocabularies


class Vocabulary:
    """The letters, with whatever is broken about them."""

    def __init__(self, **broken: Any) -> None:
        self.vocab_size = 5
        self.eos_token_id: Any = EOS
        self.excluded_token_ids: frozenset[int] = frozenset()
        self.__dict__.update(broken)

    def encode(self, text: str) -> list[int]:
        return LETTERS.encode(text)

    def decode(self, token_ids: Any) -> str:
        return LETTERS.decode(i for i in token_ids if i not in self.excluded_token_ids)


@pytest.mark.parametrize("make", [TextGenEnv, TextGenVectorEnv])
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"eos_token_id": None}, r"eos_token_id must be an integer in \[0, 5\).*got None"),
        ({"eos_token_id": 5}, r"eos_token_id must be an integer in \[0, 5\).*got 5"),
        ({"eos_token_id": -1}, r"eos_token_id must be an integer in \[0, 5\).*got -1"),
        ({"eos_token_id": "."}, r"eos_token_id must be an integer in \[0, 5\).*got '\.'"),
        ({"excluded_token_ids": frozenset({EOS})}, "that is not excluded, got 4"),
        ({"excluded_token_ids": frozenset({-1, 9})}, r"must be in \[0, 5\), got \[-1, 9\]"),
        (
            {"encode": lambda text: [0, 7]},
            r"encode must return a list of ids, integers in \[0, 5\), got \[0, 7\] of 'ab'",
        ),
        ({"encode": lambda text: [-1]}, r"integers in \[0, 5\), got \[-1\] of 'ab'"),
        ({"encode": lambda text: [0.5]}, r"integers in \[0, 5\), got \[0.5\] of 'ab'"),
        ({"encode": lambda text: [[0], [1]]}, r"got \[\[0\], \[1\]\] of 'ab'"),
        ({"encode": lambda text: "01"}, r"integers in \[0, 5\), got '01' of 'ab'"),
    ],
)
def test_a_broken_vocabulary_is_refused(make: Any, broken: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**task_of(tokenizer=Vocabulary(**broken)))


@pytest.mark.parametrize("make", [TextGenEnv, TextGenVectorEnv])
@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"excluded_token_ids": ()}, r"tokenizer.excluded_token_ids must be a set, got \(\)"),
        ({"vocab_size": "5"}, "tokenizer.vocab_size must be an integer, got '5'"),
    ],
)
def test_a_vocabulary_of_other_types_is_refused(make: Any, broken: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        make(**task_of(tokenizer=Vocabulary(**broken)))


def test_an_id_outside_the_vocabulary_in_a_drawn_prompt_is_refused() -> None:
    tokenizer = Vocabulary(encode=lambda text: [len(text)])
    prompts = Custom("a", "aaaaaaa")
    env = TextGenEnv(**task_of(tokenizer=tokenizer, prompts=prompts, max_prompt_tokens=4))
    env.reset()
    with pytest.raises(ValueError, match=r"integers in \[0, 5\), got \[7\]"):
        env.reset()


@EVERY_MODE
def test_holes_of_a_vocabulary_are_accepted_masked_and_silent(
    mode: AutoresetMode, bpe_with_special_tokens: Any
) -> None:
    size = len(bpe_with_special_tokens)
    tokenizer = HuggingFaceTokenizer(bpe_with_special_tokens, vocab_size=size + 9)
    envs = TextGenVectorEnv(2, autoreset_mode=mode, tokenizer=tokenizer, max_new_tokens=9)
    _, infos = envs.reset(seed=0)
    assert not infos["action_mask"][:, size:].any()
    fine = tokenizer.encode("fine")
    for token in (size, *fine, size + 8):
        observations, *_ = envs.step([token, token])
        assert observations in envs.observation_space
    *_, infos = envs.step([0, 0])
    last = infos.get("final_info", infos)
    assert [episode.completion for episode in last["text_episode"]] == ["fine", "fine"]
    assert last["text_episode"][0].completion_ids.tolist() == [size, *fine, size + 8, 0]


# Strange texts

STRANGE = [
    "שלום עולם",
    "e\u0301\u0327 a\u0300\u0323",
    "\u202eevil\u202c",
    "x\x1b[2J\x1b]0;owned\x07",
    "a\x00\x08\r\tb\x7f\x9b",
    "🙂👩‍👩‍👧 ☕\ufe0f",
    "私は元気です",
    "\ufffd\ufeff",
]


@pytest.mark.parametrize("text", STRANGE, ids=ascii)
def test_any_text_is_written_read_back_and_pickled_as_it_is(text: str, bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    seen: list[str] = []

    def reads(prompt: str, completion: str) -> float:
        seen.append(prompt + completion)
        return 1.0

    env = TextGenEnv(text, tokenizer, reads, max_new_tokens=100)
    env.reset(seed=0)
    for token in tokenizer.encode(text):
        env.step(token)
    *_, info = env.step(tokenizer.eos_token_id)
    assert seen == [text + text]
    assert pickle.loads(pickle.dumps(info["text_episode"])).completion == text


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_text_that_ends_within_a_character_is_read_with_a_replacement(
    cut: int, bpe: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    spelt = tokenizer.encode("é€🙂")[:cut]
    assert len(tokenizer.encode("é€🙂")) == 9  # a token for each byte
    envs = TextGenVectorEnv(
        1,
        autoreset_mode=DISABLED,
        tokenizer=tokenizer,
        reward_function=lambda prompt, completion: float(completion.count("\ufffd")),
        max_new_tokens=20,
        render_mode="human",
    )
    envs.reset(seed=0)
    for token in spelt:
        envs.step([token])
    _, paid, *_, infos = envs.step([tokenizer.eos_token_id])
    expected = "é€🙂".encode()[:cut].decode(errors="replace")
    assert infos["text_episode"][0].completion == expected
    assert infos["text_episode"][0].completion_ids.tolist() == [*spelt, 0]
    assert paid.tolist() == [float(cut not in (2, 5))]
    assert f"completion  {expected}" in capsys.readouterr().out


def test_bytes_that_begin_no_character_are_read_with_replacements(bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    second_byte = tokenizer.encode("é")[1]
    env = TextGenEnv(tokenizer=tokenizer, max_new_tokens=9, render_mode="ansi")
    env.reset(seed=0)
    for token in (second_byte, *tokenizer.encode("fine"), second_byte):
        env.step(token)
        assert "\ufffd" in env.render()
    assert env.step(0)[4]["text_episode"].completion == "\ufffdfine\ufffd"


def is_safe(shown: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in shown)


NASTY = st.text(st.characters(), min_size=1, max_size=12)


@given(prompt=NASTY, completion=NASTY)
def test_no_text_reaches_a_terminal_raw_from_any_environment(prompt: str, completion: str) -> None:
    tokenizer = CharTokenizer("".join(sorted(set(prompt + completion))))
    task = {"prompts": [prompt], "tokenizer": tokenizer, "max_new_tokens": 20}
    written = [*tokenizer.encode(completion), tokenizer.eos_token_id]
    for mode in ("ansi", "human"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdout", terminal := io.TextIOWrapper(io.BytesIO(), "utf-8"))
            env = TextGenEnv(**task, render_mode=mode)
            envs = TextGenVectorEnv(2, **task, render_mode=mode)
            shown = []
            env.reset(seed=0)
            envs.reset(seed=0)
            for token in written:
                env.step(token)
                envs.step([token, token])
                shown += [env.render() or "", *(envs.render() or ())]
            terminal.seek(0)
            shown.append(terminal.read())
        assert is_safe("\n".join(shown))
        assert "completion  " in "\n".join(shown)


def test_an_error_about_a_strange_text_is_safe_to_print(bpe: Any) -> None:
    def fails(prompt: str, completion: str) -> float:
        raise ValueError("cannot read it")

    tokenizer = HuggingFaceTokenizer(bpe)
    env = TextGenEnv("\x1b[31mHi", tokenizer, fails, max_new_tokens=50)
    env.reset(seed=0)
    for token in tokenizer.encode("\x1b]0;owned\x07 \u202e"):
        env.step(token)
    with pytest.raises(RewardError) as caught:
        env.step(tokenizer.eos_token_id)
    assert is_safe(str(caught.value))
    assert r"\x1b]0;owned\x07" in str(caught.value)


def test_empty_completions_are_paid_in_every_row() -> None:
    envs = TextGenVectorEnv(3, autoreset_mode=SAME_STEP, **task_of())
    envs.reset(seed=0)
    for _ in range(3):
        _, paid, terminations, _, infos = envs.step([EOS] * 3)
        assert (paid.tolist(), terminations.all()) == ([10.0] * 3, True)
        assert [e.completion for e in infos["final_info"]["text_episode"]] == ["", "", ""]


def test_a_very_long_text_is_kept_whole() -> None:
    length = 5_000
    task = task_of(max_new_tokens=length, reward_function=lambda prompt, text: float(len(text)))
    envs = TextGenVectorEnv(2, autoreset_mode=DISABLED, copy=False, **task)
    envs.reset(seed=0)
    tokens = np.random.default_rng(0).integers(4, size=(length, 2))
    for step, row in enumerate(tokens):
        observations, paid, terminations, _, infos = envs.step(row)
        assert terminations.any() == (step == length - 1)
    assert paid.tolist() == [float(length)] * 2
    for row, episode in enumerate(infos["text_episode"]):
        assert episode.completion == LETTERS.decode(tokens[:, row])
        ids = observations["input_ids"][row][: observations["attention_mask"][row].sum()]
        assert ids.tolist() == [*episode.prompt_ids, *episode.completion_ids]


# Random actions: ids, spaces and payments through every layer


class Ledger:
    """A reward that notes every text it pays for."""

    def __init__(self) -> None:
        self.paid: list[tuple[str, tuple[int, ...]]] = []

    def __call__(self, episodes: Any) -> Any:
        self.paid += [(e.prompt, tuple(e.completion_ids.tolist())) for e in episodes]
        return [1.0] * len(episodes)


ACTIONS = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=16)


@given(
    actions=ACTIONS,
    mode=st.sampled_from(MODES),
    limit=st.sampled_from(["terminate", "truncate"]),
    make=st.sampled_from(["native", "sync"]),
    seed=st.integers(0, 100),
)
def test_wrapped_vectors_pay_each_finished_text_once_and_a_truncated_one_never(
    actions: list[tuple[int, ...]], mode: AutoresetMode, limit: str, make: str, seed: int
) -> None:
    task = task_of(limit=limit, reward_function=(unused := Ledger()))
    base = (
        TextGenVectorEnv(3, autoreset_mode=mode, **task)
        if make == "native"
        else SyncVectorEnv([lambda: TextGenEnv(**task)] * 3, autoreset_mode=mode)
    )
    ledger = Ledger()
    envs: Any = vector.Feedback(vector.Feedback(base, Ledger()), ledger)
    if make == "native":
        envs = vector.RemainingTokens(envs)
    observations, _ = envs.reset(seed=seed)
    texts: list[Any] = [[] for _ in range(3)]
    resting, expected, total = np.zeros(3, dtype=bool), [], 0.0
    for action in actions:
        observations, paid, terminations, truncations, infos = envs.step(np.array(action))
        assert observations in envs.observation_space
        total += paid.sum()
        last = infos.get("final_info", infos)
        for row, token in enumerate(action):
            if resting[row]:
                texts[row] = []
                assert paid[row] == 0
                continue
            texts[row].append(token)
            done = token == EOS or len(texts[row]) == 3
            at_limit = done and token != EOS and limit == "truncate"
            assert (terminations[row], truncations[row]) == (done and not at_limit, at_limit)
            assert paid[row] == float(done and not at_limit)
            if terminations[row]:
                episode = last["text_episode"][row]
                seen = infos["final_obs"][row] if "final_obs" in infos else observations
                ids = seen["input_ids"] if "final_obs" in infos else seen["input_ids"][row]
                text = [*episode.prompt_ids.tolist(), *texts[row]]
                assert ids.tolist() == text + [0] * (7 - len(text))
                expected.append((episode.prompt, tuple(texts[row])))
            if done and mode is SAME_STEP:
                texts[row] = []
        resting = (terminations | truncations) & (mode is NEXT_STEP)
        if mode is DISABLED and (ended := terminations | truncations).any():
            envs.reset(options={"reset_mask": ended})
            texts = [[] if ended[row] else text for row, text in enumerate(texts)]
    assert ledger.paid == expected
    assert total == len(expected)
    assert unused.paid == []


@given(
    actions=st.lists(st.integers(0, 279), max_size=8),
    prompt=st.text(min_size=1, max_size=4).filter(lambda text: text.isprintable()),
    limit=st.sampled_from(["terminate", "truncate"]),
)
def test_with_a_real_vocabulary_ids_are_kept_and_texts_paid_once(
    actions: list[int], prompt: str, limit: str, bpe: Any
) -> None:
    ledger = Ledger()
    tokenizer = HuggingFaceTokenizer(bpe)
    env = wrappers.Feedback(
        TextGenEnv(tokenizer=tokenizer, max_prompt_tokens=20, max_new_tokens=6, limit=limit),
        ledger,
    )
    observation, info = env.reset(seed=0, options={"prompt": prompt})
    context = tokenizer.encode(prompt)
    total = 0.0
    for action in actions[:6]:
        token = action % tokenizer.vocab_size
        observation, reward, terminated, truncated, info = env.step(token)
        context.append(token)
        total += reward
        assert observation in env.observation_space
        assert observation["input_ids"].tolist() == context + [0] * (26 - len(context))
        assert observation["attention_mask"].sum() == len(context)
        if terminated or truncated:
            break
    finished = bool(actions) and terminated
    assert total == len(ledger.paid) == int(finished)
    if finished:
        length = len(tokenizer.encode(prompt))
        assert ledger.paid == [(prompt, tuple(context[length:]))]
        assert info["text_episode"].prompt_ids.tolist() == context[:length]


# A million steps


def growth_of(steps: Any, warm: int, count: int) -> int:
    """Returns by how many bytes memory grows while `steps` yields `count` times."""
    for _ in itertools.islice(steps, warm):
        pass
    gc.collect()
    tracemalloc.start()
    try:
        for _ in itertools.islice(steps, warm):  # what is in flight is allocated under tracing
            pass
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in itertools.islice(steps, count):
            pass
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


def random_steps(envs: Any) -> Iterator[None]:
    """Writes texts of 30 tokens on average."""
    rng = np.random.default_rng(0)
    envs.reset(seed=0)
    while True:
        actions = rng.integers(4, size=(100, envs.num_envs))
        actions[rng.random(actions.shape) < 1 / 30] = EOS
        for action in actions:
            envs.step(action)
            yield


def test_a_million_steps_leave_nothing_behind() -> None:
    envs = TextGenVectorEnv(200, autoreset_mode=SAME_STEP, **task_of(max_new_tokens=50))
    assert growth_of(random_steps(envs), warm=100, count=5_000) < 50_000


@pytest.mark.slow
@pytest.mark.parametrize("mode", [NEXT_STEP, SAME_STEP], ids=lambda mode: mode.name)
def test_steps_through_wrappers_leave_nothing_behind(mode: AutoresetMode) -> None:
    task = task_of(max_new_tokens=50, sampling="without_replacement")
    envs: Any = TextGenVectorEnv(20, autoreset_mode=mode, **task)
    envs = vector.Constrain(envs, [MinimumLength(2), BannedStrings(["ab"])])
    envs = vector.NoisyFeedback(vector.Feedback(envs, good_pay), std=0.1)
    envs = vector.DelayedFeedback(vector.NormalizeFeedback(envs), episodes=2)
    assert growth_of(random_steps(envs), warm=500, count=5_000) < 10_000


@pytest.mark.slow
def test_a_million_steps_of_one_environment_leave_nothing_behind() -> None:
    env = TextGenEnv(**task_of(max_new_tokens=50))

    def steps() -> Iterator[None]:
        rng = np.random.default_rng(0)
        env.reset(seed=0)
        while True:
            for action in rng.choice([A, B, EOS], p=[0.5, 0.47, 0.03], size=1_000).tolist():
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()
                yield

    assert growth_of(steps(), warm=2_000, count=1_000_000) < 50_000
