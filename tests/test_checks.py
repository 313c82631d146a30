"""The conformance checks: silent on what conforms, and precise about what is broken."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import random
import string
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv, CartPoleVectorEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper

from text_gym import (
    CharTokenizer,
    Episode,
    EpochPrompts,
    GroupedPrompts,
    HuggingFaceTokenizer,
    TextGenEnv,
    TextGenVectorEnv,
    rewards,
    wrappers,
)
from text_gym.checks import ConformanceError, check_reward, check_text_env, check_vector_env
from text_gym.checks.failure import require
from text_gym.checks.returned_data import difference
from text_gym.constraints import BannedStrings, MinimumLength

LETTERS = CharTokenizer("abc.")
A, B, C, DOT, EOS = range(5)
V = 5
MODES = list(AutoresetMode)
NEXT_STEP, SAME_STEP, DISABLED = (
    AutoresetMode.NEXT_STEP,
    AutoresetMode.SAME_STEP,
    AutoresetMode.DISABLED,
)


def letters(prompt: str, completion: str) -> float:
    return 10.0 + len(completion)


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ab", "c", "abca", "cc"],
        "tokenizer": LETTERS,
        "reward_function": letters,
        "max_new_tokens": 4,
    }
    return {**defaults, **arguments}


def env_of(**arguments: Any) -> TextGenEnv:
    return TextGenEnv(**task_of(**arguments))


def envs_of(mode: AutoresetMode, rows: int = 3, **arguments: Any) -> TextGenVectorEnv:
    return TextGenVectorEnv(rows, autoreset_mode=mode, **task_of(**arguments))


# What conforms


@pytest.mark.parametrize("limit", ["terminate", "truncate"])
def test_our_environments_conform(limit: str, bpe: Any, bpe_with_special_tokens: Any) -> None:
    holes = HuggingFaceTokenizer(bpe_with_special_tokens, vocab_size=300)
    for arguments in (
        {},
        task_of(stop_token_ids=[DOT], prompt_template=".{prompt}"),
        task_of(prompts=EpochPrompts(["a", "b", "c"])),
        task_of(prompts=GroupedPrompts(["a", "b", "c"], 3)),
        {"tokenizer": bpe, "max_new_tokens": 6},
        {"tokenizer": holes, "max_new_tokens": 3},
    ):
        check_text_env(gym.make("TextGen-v0", limit=limit, **arguments))
    check_text_env(env_of(max_new_tokens=2, limit=limit))
    check_text_env(gym.make("TextGen-v0", max_episode_steps=3, limit=limit))


def uniform(input_ids: Any, lengths: Any) -> Any:
    return np.full((len(lengths), V), -np.log(V))


# The wrapper, its arguments, and whether it pays before the end.
WRAPPED: dict[str, tuple[str, dict[str, Any], bool]] = {
    "annotators": ("Annotators", {"biases": [1.0, -2.0], "scales": [1.0, 0.5]}, False),
    "chunks": ("ChunkedFeedback", {"reward_function": letters, "every": 2}, True),
    "clip": ("ClipFeedback", {"low": 0.5, "high": 1.5}, False),
    "constraints": ("Constrain", {"constraints": [MinimumLength(2), BannedStrings(["ab"])]}, False),
    "delay": ("DelayedFeedback", {"episodes": 2}, False),
    "feedback": ("Feedback", {"reward_function": rewards.Length(2), "mode": "add"}, False),
    "noise": ("NoisyFeedback", {"std": 0.3, "flip": 0.2}, False),
    "normalization": ("NormalizeFeedback", {"center": True}, False),
    "overlong": ("OverlongPenalty", {"max_tokens": 4, "buffer": 3, "weight": 2.0}, False),
    "reference": ("ReferenceLogProb", {"log_probs": uniform, "beta": 0.7}, True),
    "remaining": ("RemainingTokens", {}, False),
    "shaping": ("PotentialShaping", {"potential": letters, "gamma": 0.9}, True),
    "sparse": ("SparseFeedback", {"fraction": 0.4}, False),
    "symbols": ("PaddedTokens", {}, False),
}
TEXT_WRAPPERS = [name for name in WRAPPED if name != "symbols"]  # which hides the ids
COMPARED = [name for name in WRAPPED if name != "normalization"]  # whose rows share statistics


def single(name: str) -> Any:
    kind, arguments, _ = WRAPPED[name]
    return getattr(wrappers, kind)(env_of(), **arguments)


def many(name: str, envs: Any) -> Any:
    kind, arguments, _ = WRAPPED[name]
    return getattr(wrappers.vector, kind)(envs, **arguments)


@pytest.mark.parametrize("name", TEXT_WRAPPERS)
def test_our_wrappers_conform(name: str) -> None:
    check_text_env(single(name), dense_reward=WRAPPED[name][2])


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_our_vector_environment_conforms(mode: AutoresetMode) -> None:
    for arguments in ({}, {"limit": "truncate", "stop_token_ids": [DOT]}):
        check_vector_env(
            lambda: envs_of(mode, **arguments),  # noqa: B023  # called within this round
            lambda: env_of(**arguments),  # noqa: B023
            idle_rows=True,
            steps=40,
        )
    check_vector_env(lambda: envs_of(mode, sampling="without_replacement"), steps=20)
    check_vector_env(
        lambda: TextGenVectorEnv(2, autoreset_mode=mode, copy=False, **task_of()), steps=20
    )


WRAPPED_VECTORS = [
    pytest.param(name, mode, id=f"{name} {mode.name}")
    for name, mode in zip(WRAPPED, itertools.cycle(MODES), strict=False)
]


@pytest.mark.parametrize(("name", "mode"), WRAPPED_VECTORS)
def test_our_vector_wrappers_conform(name: str, mode: AutoresetMode) -> None:
    make_single = (lambda: single(name)) if name in COMPARED else None
    check_vector_env(lambda: many(name, envs_of(mode)), make_single, idle_rows=True, steps=20)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
@pytest.mark.parametrize("name", WRAPPED)
def test_our_vector_wrappers_conform_under_every_mode(name: str, mode: AutoresetMode) -> None:
    make_single = (lambda: single(name)) if name in COMPARED else None
    check_vector_env(lambda: many(name, envs_of(mode)), make_single, idle_rows=True, steps=40)


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)
def test_gymnasium_vectors_conform(mode: AutoresetMode) -> None:
    check_vector_env(
        lambda: SyncVectorEnv([env_of] * 2, autoreset_mode=mode), lambda: env_of(), steps=20
    )
    check_vector_env(
        lambda: SyncVectorEnv([lambda: single("normalization")] * 2, autoreset_mode=mode), steps=20
    )
    check_vector_env(
        lambda: SyncVectorEnv([CartPoleEnv] * 2, autoreset_mode=mode), CartPoleEnv, steps=40
    )


def test_cart_pole_vector_conforms_as_far_as_no_single_one_is_compared() -> None:
    check_vector_env(lambda: CartPoleVectorEnv(3))
    with pytest.raises(ConformanceError, match="return what SyncVectorEnv returns"):
        check_vector_env(lambda: CartPoleVectorEnv(3), CartPoleEnv)  # one stream for all rows


@pytest.mark.slow
def test_a_vector_in_processes_conforms() -> None:
    made: list[Any] = []

    def make_envs() -> Any:
        made.append(AsyncVectorEnv([env_of] * 2, context="spawn"))
        return made[-1]

    try:
        check_vector_env(make_envs, env_of, steps=20)
    finally:
        for envs in made[1:]:  # the check closes the first, which it made only once
            envs.close(terminate=True)


@pytest.mark.parametrize(
    "reward",
    [
        rewards.DistinctNgrams(2),
        rewards.ExactMatch(),
        rewards.Keyword(["fine"]),
        rewards.Length(5),
        rewards.OnError(rewards.Keyword(["how"]), value=0.0),
        rewards.RegexFormat("f.*"),
        rewards.Sentiment(),
        rewards.WeightedSum({"words": rewards.WordCount(), "varied": rewards.DistinctNgrams(2)}),
        rewards.WordCount(),
        pytest.param(letters, id="letters"),
    ],
    ids=repr,
)
def test_our_rewards_conform(reward: Any) -> None:
    check_reward(reward)
    check_reward(
        reward,
        [Episode.from_text("a", "b", reference="b"), Episode.from_text("a", "", reference="")],
    )


def test_a_check_leaves_global_streams_as_they_were() -> None:
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    check_text_env(env_of())
    check_vector_env(lambda: envs_of(NEXT_STEP), steps=20)
    check_reward(letters)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


# Broken environments


class Altered(gym.Wrapper[Any, Any, Any, Any]):
    """Passes what an environment returns through a function before it is handed out."""

    def __init__(
        self,
        env: Any,
        step: Callable[..., Any] = lambda *result: result,
        reset: Callable[..., Any] = lambda *result: result,
    ) -> None:
        super().__init__(env)
        self.on_step, self.on_reset = step, reset

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self.on_reset(*self.env.reset(seed=seed, options=options))

    def step(self, action: Any) -> Any:
        return self.on_step(*self.env.step(action))


def each(change: Callable[[Any], Any], **arguments: Any) -> Altered:
    """An environment whose observations are changed."""
    return Altered(
        env_of(**arguments),
        step=lambda observation, *rest: (change(observation), *rest),
        reset=lambda observation, info: (change(observation), info),
    )


def ends(change: Callable[..., Any], **arguments: Any) -> Altered:
    """An environment whose last steps are changed."""

    def step(observation: Any, reward: Any, terminated: bool, truncated: bool, info: Any) -> Any:
        result = (observation, reward, terminated, truncated, info)
        return change(*result) if terminated or truncated else result

    return Altered(env_of(**arguments), step=step)


def cast(dtype: Any) -> Callable[[Any], Any]:
    return lambda observation: {**observation, "input_ids": observation["input_ids"].astype(dtype)}


def shifted_left(observation: Any) -> Any:
    """Drops the first token once the context is half full, as a sliding window does."""
    length = int(observation["attention_mask"].sum())
    if length < 5:
        return observation
    ids = np.roll(observation["input_ids"], -1)
    ids[length - 1 :] = 0
    mask = (np.arange(len(ids)) < length - 1).astype(np.int8)
    return {"input_ids": ids, "attention_mask": mask}


def left_padded(observation: Any) -> Any:
    length = int(observation["attention_mask"].sum())
    return {
        key: np.roll(value, len(value) - length).astype(value.dtype)
        for key, value in observation.items()
    }


def counting_padding(observation: Any) -> Any:
    return {**observation, "attention_mask": np.ones_like(observation["attention_mask"])}


def with_leftovers(observation: Any) -> Any:
    ids, mask = observation["input_ids"], observation["attention_mask"]
    return {"input_ids": np.where(mask, ids, DOT), "attention_mask": mask}


def without(key: str) -> Altered:
    def drop(*result: Any) -> Any:
        return *result[:-1], {k: v for k, v in result[-1].items() if k != key}

    return Altered(env_of(), step=drop, reset=drop)


def with_info(key: str, value: Any, *, only_last: bool = False, **arguments: Any) -> Altered:
    def add(*result: Any) -> Any:
        if only_last and not (result[2] or result[3]):
            return result
        return *result[:-1], {**result[-1], key: value}

    return Altered(env_of(**arguments), step=add)


class PaidEarly(Altered):
    """Pays on every step what the text is worth then."""

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        paid = reward if terminated else float(observation["attention_mask"].sum())
        return observation, paid, terminated, truncated, info


class PaidForRepeating(gym.Wrapper[Any, Any, Any, Any]):
    """Pays in the middle of a text, for a token that stands twice in a row."""

    last: Any = None

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        repeated, self.last = action == self.last, None if terminated else action
        goes_on = not (terminated or truncated)
        return observation, reward + 0.5 * (repeated and goes_on), terminated, truncated, info


@pytest.mark.parametrize("characters", ["ab", string.printable], ids=["few", "many"])
def test_a_reward_for_repeating_a_token_is_found(characters: str) -> None:
    env = TextGenEnv("a", CharTokenizer(characters), max_new_tokens=5)
    check_text_env(env)
    with pytest.raises(ConformanceError, match="reward must be 0 before the end of the text"):
        check_text_env(PaidForRepeating(env))


class Reusing(TextGenEnv):
    def _observation(self) -> Any:
        return {"input_ids": self._input_ids, "attention_mask": self._attention_mask}


class KeepingWhatItReturned(TextGenEnv):
    """Makes new ids for every step, from those that it handed out."""

    def _write(self, token_ids: Any) -> None:
        self._input_ids = self._input_ids.copy()
        super()._write(token_ids)

    def step(self, action: Any) -> Any:
        self._input_ids = self._input_ids.copy()
        return super().step(action)

    def _observation(self) -> Any:
        return {"input_ids": self._input_ids, "attention_mask": self._attention_mask.copy()}


class ReadingGlobalRandomness(TextGenEnv):
    def reset(self, **arguments: Any) -> Any:
        prompt = random.choice(["a", "b", "c"])
        return super().reset(seed=arguments.get("seed"), options={"prompt": prompt})


class SeedingGlobally(TextGenEnv):
    def reset(self, **arguments: Any) -> Any:
        np.random.seed(arguments.get("seed"))  # noqa: NPY002
        return super().reset(**arguments)


class IgnoringTheSeed(TextGenEnv):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(options=options)


class WithAStreamOfItsOwn(TextGenEnv):
    """Draws reproducibly, but not from `np_random`."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        if seed is not None:
            self.own = np.random.default_rng(seed)
        named = options or {"prompt": "abc"[self.own.integers(3)]}
        return super().reset(options=named)


class WarningAboutItsSpace(TextGenEnv):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        extra = spaces.Box(2.0, 2.0, (1,), np.float32)
        self.observation_space = spaces.Dict({**self.observation_space.spaces, "x": extra})

    def _observation(self) -> Any:
        return {**super()._observation(), "x": np.array([2.0], dtype=np.float32)}


class WithoutEos(TextGenEnv):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.tokenizer = copy.copy(self.tokenizer)
        self.tokenizer.eos_token_id = V


class WithPaddingAction(TextGenEnv):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.action_space = spaces.Discrete(V + 1)


class GoingOn(TextGenEnv):
    """Forgets that the text is over."""

    def step(self, action: Any) -> Any:
        result = super().step(action)
        self._stop_reason = None
        return result


class DrawingForGivenPrompts(TextGenEnv):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        result = super().reset(seed=seed, options=options)
        self.np_random.random()
        return result


class IgnoringOptions(TextGenEnv):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(seed=seed)


class EosIsOneToken(TextGenEnv):
    """Lets EOS pass as a token like any other."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.task.stop_codes[EOS] = 0


class LimitByContext(TextGenEnv):
    """Ends long prompts early."""

    def step(self, action: Any) -> Any:
        self._turn_limit = 6
        return super().step(action)


class Masked(TextGenEnv):
    """Offers masks; those of `info` are given."""

    def __init__(self, mask: Any, method: Any = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.mask, self.method = mask, method

    def _mask_info(self) -> Any:
        return {"action_mask": self.mask.copy()}

    def action_masks(self) -> Any:
        return self.mask.astype(np.bool_) if self.method is None else self.method.copy()


def stamped() -> Altered:
    clock = itertools.count()
    return Altered(env_of(), step=lambda *r: (*r[:-1], {**r[-1], "time": next(clock)}))


def without_eos_in_episode(o: Any, r: Any, terminated: Any, truncated: Any, info: Any) -> Any:
    episode = info["text_episode"]
    shortened = dataclasses.replace(episode, completion_ids=episode.completion_ids[:-1])
    return o, r, terminated, truncated, {**info, "text_episode": shortened}


def text_if_truncated(o: Any, r: Any, terminated: Any, truncated: Any, info: Any) -> Any:
    extra = {"text_episode": Episode.from_text()} if truncated else {}
    return o, r, terminated, truncated, {**info, **extra}


class Endless(gym.Wrapper[Any, Any, Any, Any]):
    """Never says that the text is over."""

    def step(self, action: Any) -> Any:
        if self.unwrapped._stop_reason is None:  # type: ignore[attr-defined]
            self.last = self.env.step(action)[0]
        return self.last, 0.0, False, False, {}


class MaskedWithoutMethod(TextGenEnv):
    def _mask_info(self) -> Any:
        return {"action_mask": np.ones(V, dtype=np.int8)}

    @property
    def action_masks(self) -> Any:
        raise AttributeError("action_masks")


class OtherSpaces(TextGenEnv):
    """States other spaces than it keeps."""

    def __init__(self, action: Any = None, **observations: Any) -> None:
        super().__init__(**task_of())
        self.action_space = self.action_space if action is None else action
        stated = {**self.observation_space.spaces, **observations}
        self.observation_space = spaces.Dict(stated)


ALL = np.ones(V, dtype=np.int8)
BROKEN_TEXT: dict[str, tuple[Callable[[], Any], str]] = {
    "shifted observation": (
        lambda: each(shifted_left),
        r"step \d: input_ids must be the text before with the action appended and nothing moved",
    ),
    "left padding": (
        lambda: each(left_padded),
        r"reset: attention_mask must be right-padded, ones and then zeros, got \[0",
    ),
    "padding counted in the mask": (
        lambda: each(counting_padding),
        r"attention_mask must count the \d tokens of info\['prompt_length'\], got 8",
    ),
    "leftovers past the text": (
        lambda: each(with_leftovers),
        r"reset: input_ids must be 0 past the text, got \[.*3, 3\]",
    ),
    "float32 ids": (
        lambda: each(cast(np.float32)),
        r"reset: observation\['input_ids'\] must be a int64 array, got array\(.*float32",
    ),
    "int32 ids": (lambda: each(cast(np.int32)), r"must be a int64 array, got array\(.*int32"),
    "an id outside the vocabulary": (
        lambda: each(lambda o: {**o, "input_ids": o["input_ids"] * 9}),
        "observation must be in the space",
    ),
    "a space of floats": (
        lambda: gym.wrappers.FlattenObservation(env_of()),
        "observation_space: must be a Dict",
    ),
    "no prompt_length": (lambda: without("prompt_length"), r"info\['prompt_length'\] must say"),
    "both flags": (
        lambda: ends(lambda o, r, terminated, truncated, i: (o, r, True, True, i)),
        "episode 0, step 1: terminated and truncated must not both be set",
    ),
    "numpy flags": (
        lambda: Altered(env_of(), step=lambda o, r, e, u, i: (o, r, np.bool_(e), u, i)),
        r"episode 0, step 1: terminated must be a Python bool, got <class 'numpy.bool",
    ),
    "numpy truncation": (
        lambda: Altered(env_of(), step=lambda o, r, e, u, i: (o, r, e, np.bool_(u), i)),
        "truncated must be a Python bool",
    ),
    "reward paid before the end": (
        lambda: PaidEarly(env_of()),
        r"episode 1, step 1: reward must be 0 before the end of the text, got \d",
    ),
    "reward paid twice over": (
        lambda: ends(lambda o, r, e, u, i: (o, 2 * r, e, u, i)),
        r"reward must be the sum 10.0 of info\['reward_components'\]=.*, got 20.0",
    ),
    "reward never paid": (
        lambda: ends(lambda o, r, e, u, i: (o, 0.0, e, u, i)),
        r"reward must be the sum 10.0 of .*, got 0.0",
    ),
    "a text that goes on after its end, to be paid again": (
        lambda: GoingOn(**task_of()),
        "and one more: step must raise gymnasium.error.ResetNeeded after the end",
    ),
    "no components": (lambda: without("reward_components"), r"\['reward_components'\] must have"),
    "reward at a truncating limit": (
        lambda: ends(lambda o, r, e, u, i: (o, r + 1.0 * u, e, u, i), limit="truncate"),
        "episode 2, step 4: reward must be 0 where a text is truncated, got 1.0",
    ),
    "a finished text at a truncating limit": (
        lambda: ends(text_if_truncated, limit="truncate"),
        r"episode 2, step 4: info\['text_episode'\] must be left out of a truncated text",
    ),
    "reward of 32 bits": (
        lambda: Altered(env_of(), step=lambda o, r, e, u, i: (o, np.float32(r), e, u, i)),
        "reward must be a float, got <class 'numpy.float32'>",
    ),
    "reward that is NaN": (
        lambda: ends(lambda o, r, e, u, i: (o, float("nan"), e, u, i)),
        "reward must be finite, got nan",
    ),
    "no finished text": (
        lambda: without("text_episode"),
        r"episode 0, step 1: info\['text_episode'\] must be the finished Episode, got None",
    ),
    "a finished text without its EOS": (
        lambda: ends(without_eos_in_episode),
        r"\['text_episode'\].completion_ids must be \[4\], what the text holds, got \[\]",
    ),
    "text in every info": (
        lambda: with_info("text_episode", Episode.from_text()),
        r"episode 0, step 1: info\['text_episode'\].prompt_ids must be|must wait for the end",
    ),
    "stop reason in every info": (
        lambda: with_info("stop_reason", "eos"),
        r"episode 1, step 1: info\['stop_reason'\] must wait for the end of the text",
    ),
    "wrong stop reason": (
        lambda: with_info("stop_reason", "length", only_last=True),
        r"info\['stop_reason'\] must be 'eos' after EOS and only then",
    ),
    "unknown stop reason": (
        lambda: with_info("stop_reason", "done", only_last=True),
        r"info\['stop_reason'\] must be in \('eos', 'stop', 'length'\), got 'done'",
    ),
    "a limit that depends on the prompt": (
        lambda: LimitByContext(**task_of(max_new_tokens=6)),
        r"a text must end by 'length' at the limit, where others went on to \d tokens",
    ),
    "EOS that ends nothing": (
        lambda: EosIsOneToken(**task_of()),
        "episode 0, step 1: EOS must terminate the text",
    ),
    "no EOS in the action space": (
        lambda: WithoutEos(**task_of()),
        r"action_space: must contain EOS, token 5, got Discrete\(5\)",
    ),
    "actions that are no token ids": (
        lambda: OtherSpaces(spaces.MultiDiscrete([V])),
        r"action_space: must be Discrete, got MultiDiscrete",
    ),
    "actions that start at 1": (
        lambda: OtherSpaces(spaces.Discrete(V, start=1)),
        "action_space: must start at 0: an action is a token id",
    ),
    "a mask in two dimensions": (
        lambda: OtherSpaces(attention_mask=spaces.Box(0, 1, (8, 1), np.int8)),
        r"observation_space\['attention_mask'\]: must be Box\(0, 1, \(L,\), int8\), got",
    ),
    "an unbounded space of ids": (
        lambda: OtherSpaces(input_ids=spaces.Box(0, 2**62, (8,), np.int64)),
        r"observation_space\['input_ids'\]: must be Box\(0, 4, \(L,\), int64\), got",
    ),
    "a mask of another length": (
        lambda: OtherSpaces(attention_mask=spaces.Box(0, 1, (9,), np.int8)),
        r"L must be the same for both keys, got \{'input_ids': 8, 'attention_mask': 9\}",
    ),
    "info that is no dict": (
        lambda: Altered(env_of(), step=lambda *r: (*r[:-1], [])),
        r"episode 0, step 1: info must be a dict, got \[\]",
    ),
    "no end": (
        lambda: Endless(env_of()),
        "episode 0, step 9: a text that fills the context must end",
    ),
    "masks in infos only": (
        lambda: MaskedWithoutMethod(**task_of()),
        r"reset: action_masks\(\) must be there too",
    ),
    "an action for padding": (
        lambda: WithPaddingAction(**task_of()),
        r"action_space: must be Discrete\(5\), one action a token id",
    ),
    "observation arrays used again": (
        lambda: Reusing(**task_of()),
        "what was returned must not change later; .*input_ids",
    ),
    "observation arrays that are the state": (
        lambda: KeepingWhatItReturned(**task_of()),
        "writing on what was returned must not change what follows; observation",
    ),
    "observation arrays that overlap": (
        lambda: each(
            lambda o: {
                "input_ids": (x := o["input_ids"]),
                "attention_mask": o["attention_mask"],
                "again": x,
            }
        ),
        r"arrays returned together must not share memory, got .*'input_ids'.*'again'",
    ),
    "global randomness read": (
        lambda: ReadingGlobalRandomness(**task_of()),
        "first run: the global stream of random must be neither read nor seeded",
    ),
    "global randomness seeded": (
        lambda: SeedingGlobally(**task_of()),
        "the global stream of numpy.random must be neither read nor seeded",
    ),
    "seed ignored": (
        lambda: IgnoringTheSeed(**task_of()),
        r"episode \d, reset: the same seed must give the same run; observation",
    ),
    "a stream beside np_random": (
        lambda: WithAStreamOfItsOwn(**task_of()),
        "check_env: .*random number generator",
    ),
    "a space that Gymnasium warns about": (
        lambda: WarningAboutItsSpace(**task_of()),
        "check_env: must not warn",
    ),
    "the time in infos": (stamped, r"the same seed must give the same run; info\['time'\] is"),
    "options ignored": (
        lambda: IgnoringOptions(**task_of()),
        r"options=\{'prompt': '\w+'\} must start from its tokens",
    ),
    "a draw for a given prompt": (
        lambda: DrawingForGivenPrompts(**task_of()),
        "a prompt named in options must draw nothing",
    ),
    "masks that disagree": (
        lambda: Masked(ALL, np.array([True, True, True, False, True]), **task_of()),
        r"must allow the same tokens; they differ, got \[3\]",
    ),
    "a mask of bools in infos": (
        lambda: Masked(ALL.astype(np.bool_), **task_of()),
        r"info\['action_mask'\] must be int8 of shape \(5,\)",
    ),
    "a mask of integers from the method": (
        lambda: Masked(ALL, ALL, **task_of()),
        r"action_masks\(\) must be bool of shape \(5,\)",
    ),
    "an empty mask": (lambda: Masked(0 * ALL, **task_of()), "a mask must allow some token"),
}


@pytest.mark.parametrize("name", BROKEN_TEXT)
def test_a_broken_text_environment_is_told_what_is_wrong(name: str) -> None:
    make, message = BROKEN_TEXT[name]
    with pytest.raises(ConformanceError, match=message):
        check_text_env(make())


# Broken vector environments


class AlteredVector(VectorWrapper):
    """Passes what a vector environment returns through a function before it is handed out."""

    def __init__(
        self,
        envs: Any,
        step: Callable[..., Any] = lambda *result: result,
        reset: Callable[..., Any] = lambda *result: result,
    ) -> None:
        super().__init__(envs)
        self.on_step, self.on_reset = step, reset

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self.on_reset(*self.env.reset(seed=seed, options=options))

    def step(self, actions: Any) -> Any:
        return self.on_step(*self.env.step(actions))


def steps(change: Callable[..., Any], mode: AutoresetMode = NEXT_STEP) -> Callable[[], Any]:
    return lambda: AlteredVector(envs_of(mode), step=change)


class UnbatchedSpace(TextGenVectorEnv):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.observation_space = self.single_observation_space


class UnbatchedActions(TextGenVectorEnv):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.action_space = spaces.MultiDiscrete([V] * (self.num_envs + 1))


class NamingItsMode(TextGenVectorEnv):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.metadata = {**self.metadata, "autoreset_mode": "NextStep"}


class ReusingVector(TextGenVectorEnv):
    def _observation(self) -> Any:
        texts = self._texts
        return {"input_ids": texts.input_ids, "attention_mask": texts.attention_mask}


class KeepingVector(TextGenVectorEnv):
    """Makes new ids for every call, from those that it handed out."""

    def _renew(self) -> None:
        self._texts.input_ids = self._texts.input_ids.copy()
        self._texts._flat_ids = self._texts.input_ids.reshape(-1)

    def reset(self, **arguments: Any) -> Any:
        self._renew()
        return super().reset(**arguments)

    def step(self, actions: Any) -> Any:
        self._renew()
        return super().step(actions)

    def _observation(self) -> Any:
        return {**super()._observation(), "input_ids": self._texts.input_ids}


class CountingTheReset(TextGenVectorEnv):
    """Takes the step that resets a row for the first of its budget."""

    def step(self, actions: Any) -> Any:
        resting = self._codes != 0
        result = super().step(actions)
        self._texts._limit[resting] -= 1
        return result


class SteppingAfterReset(TextGenVectorEnv):
    """Uses the action that NEXT_STEP says to ignore."""

    def step(self, actions: Any) -> Any:
        resting = np.flatnonzero(self._codes)
        *_, rewards, terminations, truncations, infos = super().step(actions)
        if resting.size:
            self._texts.append(resting, np.asarray(actions)[resting])
        return self._observation(), rewards, terminations, truncations, infos


class ResettingAll(TextGenVectorEnv):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(seed=seed)


class ReportingAll(TextGenVectorEnv):
    """Reports the prompt lengths of rows that were not reset."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        observations, infos = super().reset(seed=seed, options=options)
        infos["_prompt_length"][:] = True
        return observations, infos


class IdleRowsMove(TextGenVectorEnv):
    def step(self, actions: Any) -> Any:
        idle = np.flatnonzero(self._codes)
        _, *rest = super().step(actions)
        self._texts.input_ids[idle, 0] = np.asarray(actions)[idle]
        return self._observation(), *rest


class IdleRowsArePaid(TextGenVectorEnv):
    def step(self, actions: Any) -> Any:
        idle = self._codes != 0
        observations, rewards, *rest = super().step(actions)
        return observations, rewards + idle, *rest


class IdleRowsDraw(TextGenVectorEnv):
    def step(self, actions: Any) -> Any:
        for row in np.flatnonzero(self._codes):
            self._prompts.draw([row], self.np_random)
        return super().step(actions)


class IgnoringSeeds(TextGenVectorEnv):
    """Starts from the same stream whatever the seed."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(seed=None if seed is None else 5, options=options)


class UnseededVector(TextGenVectorEnv):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(options=options)


class UnlikeTheOthers(TextGenVectorEnv):
    """Adds to every seed a number of its own."""

    made = itertools.count()

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.number = next(self.made)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        shifted = seed + self.number if isinstance(seed, int) else seed
        return super().reset(seed=shifted, options=options)


class OneSeedForAllRows(TextGenVectorEnv):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        seeds = [seed] * self.num_envs if isinstance(seed, int) else seed
        return super().reset(seed=seeds, options=options)


class FirstSeedOfAList(TextGenVectorEnv):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        first = (
            next((one for one in seed if one is not None), None) if isinstance(seed, list) else seed
        )
        return super().reset(seed=first, options=options)


class SeedWithoutMask(TextGenVectorEnv):
    """Forgets the seed of a reset of some rows."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        partial = options is not None and not options["reset_mask"].all()
        return super().reset(seed=None if partial else seed, options=options)


class GlobalVector(TextGenVectorEnv):
    def step(self, actions: Any) -> Any:
        np.random.random()  # noqa: NPY002
        return super().step(actions)


class ClosingOnce(TextGenVectorEnv):
    def close(self, **arguments: Any) -> None:
        assert not self.closed, "it is closed"
        self.closed = True


def native(kind: Any, mode: AutoresetMode = NEXT_STEP) -> Callable[[], Any]:
    return lambda: kind(3, autoreset_mode=mode, **task_of())


def with_infos(change: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda *result: (*result[:-1], change(result[-1]))


def wrong_final_obs(*result: Any) -> Any:
    """Files the first observation of the next episode as the last of this one."""
    observations, *_, infos = result
    for row in np.flatnonzero(infos.get("_final_obs", False)):
        infos["final_obs"][row] = {key: value[row].copy() for key, value in observations.items()}
    return result


def final_obs_everywhere(*result: Any) -> Any:
    infos = result[-1]
    if "final_obs" in infos:
        infos["_final_obs"][:] = True
    return result


def final_obs_in_every_row(*result: Any) -> Any:
    infos = result[-1]
    for row in np.flatnonzero(~infos.get("_final_obs", np.ones(3, bool))):
        infos["final_obs"][row] = {key: value[row].copy() for key, value in result[0].items()}
    return result


def final_obs_batched(*result: Any) -> Any:
    infos = result[-1]
    for row in np.flatnonzero(infos.get("_final_obs", False)):
        infos["final_obs"][row] = copy.deepcopy(result[0])
    return result


def dropping(*keys: str) -> Callable[..., Any]:
    return with_infos(lambda infos: {k: v for k, v in infos.items() if k not in keys})


def with_mask(mask: Any) -> Callable[..., Any]:
    return with_infos(lambda infos: {**infos, "x": np.zeros(3), "_x": mask.copy()})


def final_infos(change: Callable[[Any], Any]) -> Callable[..., Any]:
    return with_infos(
        lambda infos: (
            {**infos, "final_info": change(infos["final_info"])} if "final_info" in infos else infos
        )
    )


def sharing_flags(o: Any, rewards: Any, terminations: Any, _: Any, infos: Any) -> Any:
    return o, rewards, terminations, terminations, infos


class ReusedRewards(AlteredVector):
    """Hands out the same array of rewards every step."""

    buffer = None

    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = self.env.step(actions)
        self.buffer = np.empty_like(rewards) if self.buffer is None else self.buffer
        self.buffer[:] = rewards
        return observations, self.buffer, *rest


Made = Callable[[], Any]
BROKEN_VECTORS: dict[str, tuple[Made, str]] = {
    "unbatched observations": (
        native(UnbatchedSpace),
        "observation_space: must be single_observation_space, batched",
    ),
    "unbatched actions": (native(UnbatchedActions), "action_space: must be single_action_space"),
    "mode as a string": (
        native(NamingItsMode),
        r"metadata\['autoreset_mode'\] must be a gymnasium.vector.AutoresetMode, got 'NextStep'",
    ),
    "observations outside the space": (
        steps(lambda o, *rest: ({**o, "input_ids": o["input_ids"].astype(np.float32)}, *rest)),
        r"step 1 after reset\(seed=0\): observations must be in the observation space",
    ),
    "integer rewards": (
        steps(lambda o, r, *rest: (o, r.astype(np.int64), *rest)),
        r"rewards must be a floating-point array of shape \(3,\)",
    ),
    "rewards in a list": (
        steps(lambda o, r, *rest: (o, r.tolist(), *rest)),
        r"rewards must be a floating-point array of shape \(3,\), got \[0.0",
    ),
    "a column of rewards": (
        steps(lambda o, r, *rest: (o, r[:, None], *rest)),
        r"rewards must be a floating-point array of shape \(3,\)",
    ),
    "rewards that are NaN": (
        steps(lambda o, r, *rest: (o, np.where(r == 0, np.nan, r), *rest)),
        "rewards must be finite",
    ),
    "integer flags": (
        steps(lambda o, r, e, u, i: (o, r, e.astype(np.int8), u, i)),
        r"terminations must be a bool array of shape \(3,\)",
    ),
    "no mask of an info": (
        steps(dropping("_stop_reason")),
        r"infos must have the mask '_stop_reason' of the rows that 'stop_reason' belongs to",
    ),
    "a mask of no info": (steps(dropping("stop_reason")), "must be the mask of a key"),
    "a mask of integers": (
        steps(with_mask(np.zeros(3, dtype=np.int8))),
        r"infos\['_x'\] must be bool of shape \(3,\)",
    ),
    "a mask of another shape": (
        steps(with_mask(np.zeros(2, dtype=np.bool_))),
        r"infos\['_x'\] must be bool of shape \(3,\)",
    ),
    "an info of one row": (
        steps(with_infos(lambda infos: {**infos, "x": np.zeros(2), "_x": np.zeros(3, np.bool_)})),
        r"infos\['x'\] must be an array with 3 rows",
    ),
    "the first observation as the last": (
        steps(wrong_final_obs, SAME_STEP),
        r"return what SyncVectorEnv returns; infos\['final_obs'\]\[\d\]",
    ),
    "no last observation": (
        steps(dropping("final_obs", "_final_obs"), SAME_STEP),
        r"infos\['_final_obs'\] must be True in exactly the rows that ended, \[.*True.*\], got",
    ),
    "no last info": (
        steps(dropping("final_info", "_final_info"), SAME_STEP),
        r"infos\['_final_info'\] must be True in exactly the rows that ended",
    ),
    "last observations of all rows by the mask": (
        steps(final_obs_everywhere, SAME_STEP),
        r"infos\['_final_obs'\] must be True in exactly the rows that ended",
    ),
    "last observations of all rows": (
        steps(final_obs_in_every_row, SAME_STEP),
        r"row \d: infos\['final_obs'\] must be None where no episode ended",
    ),
    "a batch for a last observation": (
        steps(final_obs_batched, SAME_STEP),
        r"row \d: infos\['final_obs'\] must be in the single observation space",
    ),
    "no mask in the last infos": (
        steps(final_infos(lambda infos: {"stop_reason": infos["stop_reason"]}), SAME_STEP),
        r"infos\['final_info'\] must have the mask '_stop_reason'",
    ),
    "last infos of rows that did not end": (
        steps(
            final_infos(lambda infos: {**infos, "_stop_reason": np.ones(3, np.bool_)}), SAME_STEP
        ),
        r"infos\['final_info'\]\['_stop_reason'\] must be False in rows \[",
    ),
    "a list of infos": (
        steps(with_infos(lambda infos: [{}, {}, {}])),
        "infos must be a dict, got",
    ),
    "an instance unlike the others": (
        native(UnlikeTheOthers),
        "the same seed must give a new instance the same run",
    ),
    "a reset that counts as a step": (
        native(CountingTheReset),
        "every call must return what SyncVectorEnv returns",
    ),
    "a reset that is paid": (
        steps(lambda o, r, *rest: (o, r + 1.0, *rest)),
        "rewards must be 0 or False in a row that is being reset",
    ),
    "an action that is not ignored": (
        native(SteppingAfterReset),
        "NEXT_STEP must ignore the action of a row that is being reset",
    ),
    "reset_mask ignored": (
        native(ResettingAll, DISABLED),
        r"reset of rows .*, row \d: a row not in reset_mask must not change",
    ),
    "infos of rows that were not reset": (
        native(ReportingAll, DISABLED),
        r"a row not in reset_mask must report nothing, got \['_prompt_length'\]",
    ),
    "an idle row that moves": (
        native(IdleRowsMove, DISABLED),
        r"row \d: a row that is idle must not change; the observation\['input_ids'\]\[0\] is",
    ),
    "an idle row that is paid": (
        native(IdleRowsArePaid, DISABLED),
        "rewards must be 0 or False in an idle row",
    ),
    "an idle row that draws": (
        native(IdleRowsDraw, DISABLED),
        "idle rows must ignore their actions and draw nothing",
    ),
    "observation arrays used again": (
        native(ReusingVector),
        r"what was returned must not change later; \['observations'\]",
    ),
    "observation arrays that are the state": (
        native(KeepingVector),
        "writing on what was returned must not change what follows; observations",
    ),
    "rewards used again": (
        lambda: ReusedRewards(envs_of(NEXT_STEP)),
        r"what was returned must not change later; \['rewards'\]",
    ),
    "flags that share memory": (
        steps(sharing_flags),
        r"arrays returned together must not share memory, got .*terminations.*truncations",
    ),
    "global randomness": (
        native(GlobalVector),
        "the global stream of numpy.random must be neither read nor seeded",
    ),
    "no seed": (native(UnseededVector), "the same seed must give the same run again"),
    "one seed whatever is given": (
        native(IgnoringSeeds),
        "different seeds must not all give the same, where resets without a seed vary",
    ),
    "one seed for all rows": (
        native(OneSeedForAllRows),
        r"reset\(seed=0\): every call must return what SyncVectorEnv returns",
    ),
    "the first seed of a list": (
        native(FirstSeedOfAList),
        r"reset\(seed=\[0, .*\]\): every call must return what SyncVectorEnv returns",
    ),
    "a seed that goes with no mask": (
        native(SeedWithoutMask, DISABLED),
        "reset_mask must go with a seed",
    ),
}


@pytest.mark.parametrize("name", BROKEN_VECTORS)
def test_a_broken_vector_environment_is_told_what_is_wrong(name: str) -> None:
    make, message = BROKEN_VECTORS[name]
    with pytest.raises(ConformanceError, match=message):
        check_vector_env(make, env_of, idle_rows=True, steps=30)


class KeepingRewards(AlteredVector):
    """Returns what was paid so far, and goes on from the array that it handed out."""

    def reset(self, **arguments: Any) -> Any:
        self.total = np.zeros(self.num_envs)
        return self.env.reset(**arguments)

    def step(self, actions: Any) -> Any:
        observations, paid, *rest = self.env.step(actions)
        self.total = self.total + paid
        return observations, self.total, *rest


def test_rewards_that_are_the_state_are_found() -> None:
    message = "writing on what was returned must not change what follows; rewards"
    with pytest.raises(ConformanceError, match=message):
        check_vector_env(lambda: KeepingRewards(envs_of(SAME_STEP)), steps=20)


@pytest.mark.parametrize(
    ("expected", "received", "found"),
    [
        ({"a": 1}, {"a": True}, r"info['a'] is True instead of 1"),
        ({"a": 1}, {"a": np.int64(1)}, r"info['a'] is np.int64(1) instead of 1"),
        ({"a": 1}, {}, "info['a'] is missing"),
        ({}, {"a": 1}, "info['a'] should not be there"),
        (["x"], ["y"], "info[0] is 'y' instead of 'x'"),
        (
            np.zeros(2),
            np.zeros(3),
            "info is float64 of shape (3,) instead of float64 of shape (2,)",
        ),
        (np.zeros(2), np.array([0, 1.0]), "info[1] is 1.0 instead of 0.0"),
        (np.array([np.nan]), np.array([np.nan]), None),
        (np.array([None, 1], object), np.array([None, 2], object), "info[1] is 2 instead of 1"),
    ],
)
def test_the_first_difference_is_named(expected: Any, received: Any, found: str | None) -> None:
    assert difference(expected, received, "info") == found


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(ConformanceError) as caught:
        require(False, "here", "a text must be short", "x" * 1000)
    assert len(str(caught.value)) < 400


def test_a_vector_that_closes_only_once_is_found_out() -> None:
    with pytest.raises(AssertionError, match="it is closed"):
        check_vector_env(native(ClosingOnce), steps=20)


def test_a_run_in_which_nothing_ends_proves_nothing() -> None:
    with pytest.raises(ConformanceError, match="some episode must end in 5 steps"):
        check_vector_env(lambda: CartPoleVectorEnv(2), steps=5)


def test_idle_rows_must_be_seen() -> None:
    with pytest.raises(ConformanceError, match="every row must end, to see it idle, or give more"):
        check_vector_env(lambda: envs_of(DISABLED, max_new_tokens=9), idle_rows=True, steps=2)


def test_a_check_leaves_the_state_of_wrappers_as_it_was() -> None:
    env = single("normalization")
    env.reset(seed=0)
    env.step(EOS)
    check_text_env(env)
    assert (env.transform.count, env.transform.mean) == (1, 10.0)


def test_another_space_than_that_of_the_single_environment_is_found() -> None:
    with pytest.raises(ConformanceError, match="single_observation_space: must be that of"):
        check_vector_env(lambda: envs_of(NEXT_STEP), lambda: env_of(max_new_tokens=9), steps=20)


class Rounded(TextGenVectorEnv):
    """Computes rewards to single precision."""

    def step(self, actions: Any) -> Any:
        observations, values, *rest = super().step(actions)
        return observations, values * (1 + 1e-7), *rest


def test_rewards_may_differ_from_those_of_single_environments_by_a_tolerance() -> None:
    check_vector_env(native(Rounded), env_of, steps=20, tolerance=1e-6)
    with pytest.raises(ConformanceError, match=r"SyncVectorEnv returns; rewards\[\d\] is"):
        check_vector_env(native(Rounded), env_of, steps=20)


# Broken rewards


class Broken:
    """A reward function that counts letters, and may be changed by subclasses."""

    def __call__(self, episodes: Any) -> Any:
        return np.array([float(len(episode.completion)) for episode in episodes])


class OneForAll(Broken):
    def __call__(self, episodes: Any) -> Any:
        return [1.0]


class NotANumber(Broken):
    def __call__(self, episodes: Any) -> Any:
        return np.where(super().__call__(episodes) > 0, 1.0, np.nan)


class Verdicts(Broken):
    def __call__(self, episodes: Any) -> Any:
        return ["good" for _ in episodes]


class Raising(Broken):
    def __call__(self, episodes: Any) -> Any:
        raise KeyError("judge is down")


class Ranking(Broken):
    """Pays by the rank among the batch."""

    def __call__(self, episodes: Any) -> Any:
        return super().__call__(episodes).argsort().argsort().astype(float)


class ByPlace(Broken):
    """Pays less the later a text stands; nothing off for the first."""

    def __call__(self, episodes: Any) -> Any:
        return super().__call__(episodes) - np.arange(len(episodes))


class Counting(Broken):
    calls = 0

    def __call__(self, episodes: Any) -> Any:
        self.calls += 1
        return super().__call__(episodes) + self.calls


class Random(Broken):
    def __call__(self, episodes: Any) -> Any:
        return np.random.random(len(episodes))  # noqa: NPY002


class Noting(Broken):
    def __call__(self, episodes: Any) -> Any:
        for episode in episodes:
            episode.metadata["seen"] = True
        return super().__call__(episodes)


class Clearing(Broken):
    def __call__(self, episodes: Any) -> Any:
        values = super().__call__(episodes)
        for episode in episodes:
            episode.completion_ids[:] = 0
        return values


class Sorting(Broken):
    def __call__(self, episodes: Any) -> Any:
        values = super().__call__(episodes)
        episodes.sort(key=lambda episode: episode.completion)
        return values


class SmallBatches(Broken):
    """Grows one array for all batches, and hands out a part of it."""

    def __init__(self) -> None:
        self.buffer = np.zeros(64)

    def __call__(self, episodes: Any) -> Any:
        self.buffer[: len(episodes)] = super().__call__(episodes)
        return self.buffer[: len(episodes)]


class Parts(Broken):
    """Has components that do not sum to what it pays."""

    def components(self, episodes: Any) -> Any:
        return {"letters": super().__call__(episodes), "bonus": np.ones(len(episodes))}


class Total(Parts):
    """Has components for each text, and one reward for all."""

    def __call__(self, episodes: Any) -> Any:
        return super().__call__(episodes).sum()


class LosesItself(Broken):
    """Pickles without what it knows."""

    weight = 1.0

    def __call__(self, episodes: Any) -> Any:
        return self.weight * super().__call__(episodes)

    def __getstate__(self) -> Any:
        return {"weight": 0.5}


BROKEN_REWARDS: dict[str, tuple[Any, str]] = {
    "a signature of three": (lambda a, b, c: 0.0, "a reward function takes one required"),
    "a class": (Broken, "received the class Broken: construct it first"),
    "wrong length": (OneForAll(), r"one number per episode, shape \(7,\); received shape \(1,\)"),
    "NaN": (NotANumber(), "must return finite numbers; received nan; on .*completion=''"),
    "strings": (Verdicts(), "must return real numbers; received 'good'"),
    "raising": (Raising(), "reward 'raising' raised KeyError: 'judge is down'"),
    "dependent on the batch": (
        Ranking(),
        "episode 0: a text must be paid alone what it is paid in a batch; got 0.0 instead of",
    ),
    "dependent on the place": (
        ByPlace(),
        "episode 1: a text must be paid alone what it is paid in a batch",
    ),
    "dependent on its state": (Counting(), "episode 0: a text must be paid the same again"),
    "random": (Random(), "the global stream of numpy.random must be neither read nor seeded"),
    "writing on metadata": (
        Noting(),
        r"an episode must not be changed; the episode.metadata\['seen'\] should not be there",
    ),
    "writing on ids": (
        Clearing(),
        r"an episode must not be changed; the episode.completion_ids\[0\] is 0 instead of 102",
    ),
    "sorting the list": (Sorting(), "the list of episodes must be left as it is"),
    "a lambda": (lambda prompt, completion: 0.0, "a reward must pickle .*got"),
    "an array used again": (SmallBatches(), "the array returned must not be used again"),
    "components that do not sum to it": (Parts(), "the components must sum to the reward"),
    "one reward for all beside components": (Total(), r"a reward must have shape \(7,\)"),
    "lost in a pickle": (LosesItself(), "a pickled copy must pay the same"),
}


@pytest.mark.parametrize("name", BROKEN_REWARDS)
def test_a_broken_reward_is_told_what_is_wrong(name: str) -> None:
    reward, message = BROKEN_REWARDS[name]
    with pytest.raises(ConformanceError, match=message):
        check_reward(reward)


class FavouringTheFirst(Broken):
    """Pays an empty text more where it is the first of several."""

    def __call__(self, episodes: Any) -> Any:
        values = super().__call__(episodes)
        if len(episodes) > 1:
            values[0] += episodes[0].completion == ""
        return values


def test_order_is_tried_backwards_too() -> None:
    episodes = [Episode.from_text("a", "b"), Episode.from_text("a", "")]
    with pytest.raises(ConformanceError, match="episode 1: a text must be paid the same at any"):
        check_reward(FavouringTheFirst(), episodes)


def test_a_tolerance_allows_for_rounding() -> None:
    class Rounding(Broken):
        def __call__(self, episodes: Any) -> Any:
            return super().__call__(episodes) * (1 + 1e-4 * len(episodes))

    with pytest.raises(ConformanceError, match="alone what it is paid in a batch"):
        check_reward(Rounding())
    with pytest.raises(ConformanceError, match="must pickle"):  # all before it passed
        check_reward(Rounding(), tolerance=1e-2)


def test_vectors_of_other_spaces_are_mixed_too() -> None:
    class Guess(gym.Env[Any, Any]):
        """Ends when the guess is right; actions and observations are nested."""

        observation_space = spaces.Tuple((spaces.Discrete(3), spaces.Box(0, 1, (2,), np.float32)))
        action_space = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(0, 1, (1,))})

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            super().reset(seed=seed)
            self.secret = int(self.np_random.integers(3))
            return self._observation(), {}

        def _observation(self) -> Any:
            return np.int64(self.secret), np.zeros(2, dtype=np.float32)

        def step(self, action: Any) -> Any:
            right = bool(action["a"] == self.secret)
            return self._observation(), float(action["b"][0]), right, False, {"right": right}

    for mode in MODES:
        make: Callable[[], VectorEnv[Any, Any, Any]] = lambda: SyncVectorEnv(  # noqa: E731
            [Guess] * 3,
            autoreset_mode=mode,  # noqa: B023  # called within this round
        )
        check_vector_env(make, Guess, steps=20)
