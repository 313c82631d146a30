"""Constrain: masks of what constraints allow, computed only when read, alone and in vectors."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import Autoreset, RecordEpisodeStatistics, TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics as RecordVectorStatistics
from torch.testing import assert_close
from transformers import GPT2Config

from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.collect import collect_rollout
from text_gym import CharTokenizer, HuggingFaceTokenizer, TextGenEnv, TextGenVectorEnv
from text_gym.constraints import (
    BannedStrings,
    BannedTokens,
    Constraint,
    EmptyMaskError,
    EndsWith,
    HistoryConstraint,
    MatchRegex,
    MinimumLength,
    NoRepeatNgram,
    Vocabulary,
)
from text_gym.lazy_info import Deferred, LazyInfo
from text_gym.wrappers import Constrain, Feedback, RemainingTokens
from text_gym.wrappers import vector as vector_wrappers

NEXT_STEP, SAME_STEP, DISABLED = (
    AutoresetMode.NEXT_STEP,
    AutoresetMode.SAME_STEP,
    AutoresetMode.DISABLED,
)
every_mode = pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
A, B, C, DOT, EOS = range(5)
TASK: dict[str, Any] = {
    "prompts": ["ab", "c", "abca"],
    "tokenizer": CharTokenizer("abc."),
    "reward_function": lambda prompt, completion: float(len(completion)),
    "max_new_tokens": 5,
}
CONSTRAINTS = [MinimumLength(2), BannedStrings(["aa", "b."]), NoRepeatNgram(2, prompt=True)]
WORDING = [MinimumLength(2), BannedStrings(["aa", "b."]), EndsWith("."), MatchRegex(".{2,}")]


class Counting(HistoryConstraint):
    """Allows everything, and counts how often it is asked for a mask."""

    def __init__(self) -> None:
        self.count = 0

    def rule(self, vocabulary: Vocabulary) -> Any:
        return self

    def start(self, prompt_ids: Any) -> int:
        return 0

    def advance(self, state: int, token: int) -> int:
        return state + 1

    def key(self, state: int) -> int:
        self.count += 1
        return state

    def allowed(self, key: int) -> Any:
        return np.ones(5, dtype=np.bool_)


def env_of(constraints: Any = CONSTRAINTS, **task: Any) -> Constrain:
    return Constrain(TextGenEnv(**TASK | task), constraints)


def envs_of(n: int, mode: AutoresetMode, constraints: Any = CONSTRAINTS, **task: Any) -> Any:
    envs = TextGenVectorEnv(n, autoreset_mode=mode, **TASK | task)
    return vector_wrappers.Constrain(envs, constraints)


def allowed(info: dict[str, Any]) -> set[int]:
    return set(np.flatnonzero(info["action_mask"]).tolist())


# One environment


def test_masks_follow_the_text_in_both_dialects() -> None:
    env = env_of()
    info = env.reset(seed=0, options={"prompt": "ca"})[1]
    expected = [
        (A, {A, B, C, DOT}),  # EOS would be early
        (B, {B, C, DOT}),  # "aa" is banned, and EOS still early
        (C, {A, B, C, EOS}),  # "b." is banned
        (C, {B, C, DOT, EOS}),  # "ca" stood in the prompt
        (EOS, {B, DOT, EOS}),  # and "cc" in the text
        (None, {A, B, C, DOT, EOS}),  # the text has ended
    ]
    for action, tokens in expected:
        assert allowed(info) == tokens
        assert info["action_mask"].dtype == np.int8
        assert env.action_masks().dtype == np.bool_
        assert np.array_equal(env.action_masks(), info["action_mask"])
        if action is not None:
            info = env.step(action)[-1]


def test_gymnasium_and_sb3_find_the_masks_where_they_look() -> None:
    env = TimeLimit(RecordEpisodeStatistics(env_of(WORDING)), 100)
    info = env.reset(seed=1)[1]
    env.action_space.seed(0)
    ended, episodes = False, []
    for _ in range(300):
        masks = env.get_wrapper_attr("action_masks")()
        action = env.action_space.sample(mask=info["action_mask"])
        assert masks[action]
        _, _, ended, truncated, info = env.step(action)
        assert not truncated
        if ended:
            episodes.append(info["text_episode"].completion)
            info = env.reset()[1]
    assert len(episodes) > 50
    for completion in episodes:
        assert len(completion) >= 2
        assert completion.endswith(".")
        assert "aa" not in completion
        assert "b." not in completion


@pytest.mark.filterwarnings("ignore:.*is different from the unwrapped version")
def test_gymnasium_finds_no_fault() -> None:
    check_env(Constrain(gym.make("TextGen-v0").unwrapped, [MinimumLength(2), MatchRegex(".+")]))


def test_masks_of_the_environment_itself_hold_as_well(bpe_with_special_tokens: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe_with_special_tokens, vocab_size=300)
    env = env_of([MinimumLength(1)], tokenizer=tokenizer, prompts=["How"])
    plain = TextGenEnv(**TASK | {"tokenizer": tokenizer, "prompts": ["How"]})
    expected = plain.reset(seed=0)[1]["action_mask"]
    expected[tokenizer.eos_token_id] = 0
    assert np.array_equal(env.reset(seed=0)[1]["action_mask"], expected)
    plain.step(5)
    env.step(5)
    final, expected = (one.step(tokenizer.eos_token_id)[-1]["action_mask"] for one in (env, plain))
    assert np.array_equal(final, expected)


def test_stop_tokens_end_a_text_as_eos_does() -> None:
    env = env_of([MinimumLength(2), EndsWith(".")], stop_token_ids=[C, DOT])
    assert allowed(env.reset(seed=0)[1]) == {A, B}
    assert allowed(env.step(A)[-1]) == {A, B, DOT}
    assert env.step(DOT)[-1]["stop_reason"] == "stop"


def test_forbidden_tokens_are_accepted() -> None:
    env = env_of([MatchRegex("a+"), BannedTokens([DOT])])
    env.reset(seed=0)
    info = env.step(B)[-1]
    assert allowed(info) == {A, B, C, EOS}
    assert env.step(DOT)[2] is False


def test_an_emptied_mask_is_an_error_when_it_is_read() -> None:
    env = env_of([NoRepeatNgram(1), MinimumLength(5)])
    env.reset(seed=0, options={"prompt": "ab"})
    for action in (A, B, C):
        env.step(action)
    info = env.step(DOT)[-1]
    message = (
        r"NoRepeatNgram\(n=1, prompt=False\) and MinimumLength\(n_tokens=5\) allow no token after "
        r"'abc\.', written to the prompt 'ab'"
    )
    for read in (lambda: info["action_mask"], env.action_masks):
        with pytest.raises(EmptyMaskError, match=message):
            read()
    assert env.step(A)[2] is True


def test_an_impossible_task_is_refused_at_once() -> None:
    with pytest.raises(EmptyMaskError, match=r"MinimumLength\(n_tokens=6\) allow no text of at mo"):
        env_of(MinimumLength(6))
    env_of(MinimumLength(6), limit="truncate")


@pytest.mark.parametrize("constraints", [[], ()])
def test_no_constraint_is_refused(constraints: Any) -> None:
    with pytest.raises(ValueError, match="constraints must name at least one constraint"):
        env_of(constraints)


def test_it_follows_an_environment_that_resets_itself() -> None:
    env = Constrain(Autoreset(TextGenEnv(**TASK)), [MinimumLength(2)])
    info = env.reset(seed=0)[1]
    infos = [info, *(env.step(action)[-1] for action in (A, A, EOS, A, A, A))]
    may_end = [EOS in allowed(info) for info in infos]
    assert may_end == [False, False, True, True, False, False, True]


# Nesting


NESTED = [BannedStrings(["ab"]), MinimumLength(2), BannedTokens([C]), NoRepeatNgram(1)]


def test_nested_wrappers_and_their_masks_together() -> None:
    joint, nested = env_of(NESTED), TextGenEnv(**TASK)
    for constraint in NESTED:
        nested = RemainingTokens(Constrain(nested, constraint))
    infos = [env.reset(seed=3)[1] for env in (joint, nested)]
    for action in (A, DOT, B, EOS):
        assert np.array_equal(infos[0]["action_mask"], infos[1]["action_mask"])
        assert np.array_equal(nested.env.action_masks(), infos[1]["action_mask"])
        infos = [env.step(action)[-1] for env in (joint, nested)]
    assert allowed(infos[1]) == {A, B, C, DOT, EOS}


@every_mode
def test_nested_vector_wrappers_and_their_masks_together(mode: AutoresetMode) -> None:
    joint = envs_of(3, mode, NESTED)
    nested: Any = TextGenVectorEnv(3, autoreset_mode=mode, **TASK)
    for constraint in NESTED:
        nested = RecordVectorStatistics(vector_wrappers.Constrain(nested, constraint))
        nested = nested.env if constraint is not NESTED[1] else nested
    rng = np.random.default_rng(0)
    results = [env.reset(seed=3)[1] for env in (joint, nested)]
    for _ in range(40):
        masks = joint.action_masks()
        assert np.array_equal(masks, nested.action_masks())
        assert np.array_equal(results[0]["action_mask"], results[1]["action_mask"])
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        steps = [env.step(actions) for env in (joint, nested)]
        results = [step[-1] for step in steps]
        ended = steps[0][2]
        if mode is DISABLED and ended.any():
            options = {"reset_mask": ended}
            results = [env.reset(options=dict(options))[1] for env in (joint, nested)]


def test_nested_masks_that_leave_nothing_name_both_sides() -> None:
    env: Any = Constrain(env_of([BannedTokens([A, B, EOS])]), BannedTokens([C, DOT]))
    envs: Any = vector_wrappers.Constrain(
        envs_of(2, DISABLED, [BannedTokens([A, B, EOS])]), BannedTokens([C, DOT])
    )
    for one in (env, envs):
        info = one.reset(seed=0)[1]
        with pytest.raises(EmptyMaskError) as error:
            info["action_mask"]
        assert "BannedTokens(token_ids=(0, 1, 4))" in str(error.value)
        assert "BannedTokens(token_ids=(2, 3))" in str(error.value)


# Computed only when read


def count_single(steps: int, read: Callable[[Any, dict[str, Any]], Any]) -> int:
    constraint = Counting()
    env = TimeLimit(RecordEpisodeStatistics(env_of(constraint, max_new_tokens=50)), 1000)
    env.reset(seed=0)
    for _ in range(steps):
        read(env, env.step(A)[-1])
    return constraint.count


def masks_of(env: Any) -> Any:
    return env.get_wrapper_attr("action_masks")()


READERS: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "nothing": (lambda env, info: None, 0),
    "keys": (lambda env, info: ("action_mask" in info, len(info), list(info), info.keys()), 0),
    "something else": (lambda env, info: info.get("prompt_length"), 0),
    "a deep copy": (lambda env, info: copy.deepcopy(info), 0),
    "a copy": (lambda env, info: info.copy(), 0),
    "the info": (lambda env, info: info["action_mask"], 1),
    "the method": (lambda env, info: masks_of(env), 1),
    "twice": (lambda env, info: (info["action_mask"], info.get("action_mask")), 1),
    "both dialects": (lambda env, info: (info["action_mask"], masks_of(env)), 1),
    "itself and a copy": (lambda env, info: (copy.deepcopy(info)["action_mask"], info.items()), 1),
    "everything": (lambda env, info: dict(info), 1),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_mask_is_computed_when_it_is_read_and_once(reader: str) -> None:
    read, each = READERS[reader]
    assert count_single(20, read) == 20 * each


VECTOR_READERS: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "nothing": (lambda envs, infos: None, 0),
    "which rows": (lambda envs, infos: infos["_action_mask"], 0),
    "both dialects": (lambda envs, infos: (envs.env.action_masks(), infos["action_mask"]), 1),
}


@pytest.mark.parametrize("reader", VECTOR_READERS)
def test_masks_of_a_vector_are_computed_when_they_are_read_and_once(reader: str) -> None:
    constraint = Counting()
    envs = RecordVectorStatistics(envs_of(4, DISABLED, constraint, max_new_tokens=50))
    read, each = VECTOR_READERS[reader]
    read(envs, envs.reset(seed=0)[1])
    for _ in range(20):
        read(envs, envs.step(np.zeros(4, dtype=np.int64))[-1])
    assert constraint.count == 21 * 4 * each


def test_nesting_computes_nothing_either() -> None:
    inner, outer = Counting(), Counting()
    env = Constrain(env_of(inner), outer)
    env.reset(seed=0)
    info = [env.step(A)[-1] for _ in range(4)][-1]
    assert (inner.count, outer.count) == (0, 0)
    info["action_mask"], env.action_masks()
    assert (inner.count, outer.count) == (1, 1)


def test_nesting_vectors_computes_nothing_either() -> None:
    inner, outer = Counting(), Counting()
    envs = vector_wrappers.Constrain(envs_of(2, SAME_STEP, inner), outer)
    envs.reset(seed=0)
    infos = [envs.step([A, A])[-1] for _ in range(5)][-1]  # the texts end, and others start
    assert (inner.count, outer.count) == (0, 0)
    infos["action_mask"], envs.action_masks(), infos["final_info"]["action_mask"]
    assert (inner.count, outer.count) == (2, 2)


def test_a_mask_read_late_is_that_of_its_step() -> None:
    prompt, kept = env_of(), env_of()
    texts = [
        (prompt.reset(seed=0, options={"prompt": "ca"})[1], kept.reset(options={"prompt": "ca"})[1])
    ]
    at_once = [texts[0][0]["action_mask"]]
    for action in (A, B, C, DOT, EOS):
        texts.append((prompt.step(action)[-1], kept.step(action)[-1]))
        at_once.append(texts[-1][0]["action_mask"])
    kept.reset(seed=1)
    late = [info["action_mask"] for _, info in reversed(texts)][::-1]
    assert [mask.tolist() for mask in late] == [mask.tolist() for mask in at_once]
    assert len({tuple(mask) for mask in late}) > 3


def test_masks_of_a_vector_read_late_are_those_of_their_step() -> None:
    envs, kept = envs_of(3, SAME_STEP), envs_of(3, SAME_STEP)
    infos = [(envs.reset(seed=0)[1], kept.reset(seed=0)[1])]
    at_once = [infos[0][0]["action_mask"].tolist()]
    for actions in np.random.default_rng(0).integers(5, size=(30, 3)):
        infos.append((envs.step(actions)[-1], kept.step(actions)[-1]))
        at_once.append(infos[-1][0]["action_mask"].tolist())
    assert [info["action_mask"].tolist() for _, info in infos] == at_once


def test_what_a_reader_does_to_a_mask_stays_his() -> None:
    env = env_of()
    info = env.reset(seed=0)[1]
    expected = info["action_mask"].copy()
    copied = copy.deepcopy(info)
    env.action_masks()[:] = False
    copied["action_mask"][:] = 7
    info["action_mask"][:] = 5
    assert np.array_equal(env.action_masks(), expected)
    assert np.array_equal(env.reset(seed=0)[1]["action_mask"], expected)


# The lazy dict


def lazy() -> LazyInfo:
    return LazyInfo(first=1, mask=Deferred(lambda: np.arange(3)), last=[2])


WAYS: dict[str, Callable[[LazyInfo], Any]] = {
    "[]": lambda info: info["mask"],
    "get": lambda info: info.get("mask"),
    "setdefault": lambda info: info.setdefault("mask", 0),
    "pop": lambda info: info.pop("mask"),
    "popitem": lambda info: [info.popitem() for _ in range(2)][1][1],
    "items": lambda info: next(value for key, value in info.items() if key == "mask"),
    "values": lambda info: list(info.values())[1],
    "dict": lambda info: dict(info)["mask"],
    "{**}": lambda info: {"other": 0, **info}["mask"],
    "f(**)": lambda info: (lambda **kwargs: kwargs["mask"])(**info),
    "|": lambda info: (info | {})["mask"],
    "right |": lambda info: ({} | info)["mask"],
    "update": lambda info: updated({}, info)["mask"],
    ".copy": lambda info: info.copy()["mask"],
    "copy": lambda info: copy.copy(info)["mask"],
    "deepcopy": lambda info: copy.deepcopy(info)["mask"],
    "pickle": lambda info: pickle.loads(pickle.dumps(info))["mask"],
}


def updated(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    one.update(other)
    return one


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_reading_gives_the_array(way: str) -> None:
    value = WAYS[way](lazy())
    assert isinstance(value, np.ndarray)
    assert value.tolist() == [0, 1, 2]


def test_a_lazy_dict_is_a_dict() -> None:
    info = lazy()
    assert info["mask"] is info["mask"]
    assert list(info) == list(info.keys()) == ["first", "mask", "last"]
    assert (len(info), "mask" in info, "other" in info) == (3, True, False)
    assert info.get("other") is None
    assert info.get("other", 5) == 5
    assert info.pop("other", 6) == 6
    with pytest.raises(KeyError):
        info["other"]
    info["other"] = 7
    info.update(first=8)
    del info["last"]
    assert {key: value for key, value in info.items() if key != "mask"} == {"first": 8, "other": 7}
    assert "array([0, 1, 2])" in repr(lazy())
    assert isinstance(info, dict)
    unread = LazyInfo(a=1)
    assert unread == {"a": 1}
    assert unread != {"a": 2}


def test_copies_of_a_lazy_dict_are_as_deep_as_asked() -> None:
    info = lazy()
    shallow, deep = info.copy(), copy.deepcopy(info)
    info["last"].append(3)
    info["new"] = 1
    assert shallow["last"] == [2, 3]
    assert deep["last"] == [2]
    assert "new" not in shallow
    assert "new" not in deep
    assert type(pickle.loads(pickle.dumps(info))) is dict


# Vectors


def pair(mode: AutoresetMode, n: int = 4, **task: Any) -> tuple[Any, Any]:
    fns = [lambda: env_of(**task)] * n
    return envs_of(n, mode, **task), SyncVectorEnv(fns, autoreset_mode=mode)


def plain(infos: dict[str, Any]) -> dict[str, Any]:
    final = infos.get("final_info")
    return dict(infos) | ({} if final is None else {"final_info": dict(final)})


def assert_same(native: Any, sync: Any) -> None:
    for mine, theirs in zip((*native[:-1], plain(native[-1])), sync, strict=True):
        assert data_equivalence(mine, theirs, exact=True), f"\n{mine}\n!=\n{theirs}"


@pytest.mark.parametrize("heeds", [True, False], ids=["heeding the masks", "ignoring the masks"])
@pytest.mark.parametrize("limit", ["terminate", "truncate"])
@pytest.mark.parametrize("constraints", [CONSTRAINTS, WORDING], ids=["history", "wording"])
@every_mode
def test_both_versions_say_the_same(
    mode: AutoresetMode, constraints: Any, limit: str, heeds: bool
) -> None:
    native, sync = pair(mode, limit=limit, stop_token_ids=[C], constraints=constraints)
    results = native.reset(seed=5), sync.reset(seed=5)
    assert_same(*results)
    rng, seen, episodes = np.random.default_rng(1), set(), 0
    for _ in range(200):
        masks = native.action_masks()
        assert np.array_equal(masks, np.stack(sync.call("action_masks")))
        seen.update(map(bytes, masks))
        actions = np.array([rng.choice(np.flatnonzero(mask)) for mask in masks])
        if not heeds:
            actions = rng.integers(5, size=4)
        results = native.step(actions), sync.step(actions)
        assert_same(*results)
        ended = results[0][2] | results[0][3]
        episodes += ended.sum()
        if mode is DISABLED and ended.any():
            more = ended | (rng.random(4) < 0.2)
            assert_same(*(e.reset(options={"reset_mask": more.copy()}) for e in (native, sync)))
    assert episodes > 50
    assert len(seen) >= 4


def test_the_single_wrapper_under_a_sync_vector_reports_gymnasiums_arrays() -> None:
    sync = SyncVectorEnv([lambda: env_of([MinimumLength(2)])] * 2, autoreset_mode=SAME_STEP)
    infos = sync.reset(seed=0)[1]
    assert type(infos) is dict
    assert infos["action_mask"].dtype == np.int8
    assert infos["action_mask"].tolist() == [[1, 1, 1, 1, 0]] * 2
    assert infos["_action_mask"].tolist() == [True, True]
    infos = sync.step(np.array([EOS, A]))[-1]
    assert infos["action_mask"].tolist() == [[1, 1, 1, 1, 0]] * 2
    assert infos["final_info"]["action_mask"].tolist() == [[1] * 5, [0] * 5]


def test_an_idle_row_reports_no_mask_and_is_up_to_the_vocabulary() -> None:
    envs = envs_of(2, DISABLED, [MinimumLength(2)])
    envs.reset(seed=0)
    infos = envs.step([EOS, A])[-1]
    assert infos["_action_mask"].tolist() == [True, True]
    assert infos["action_mask"].tolist() == [[1] * 5, [1, 1, 1, 1, 0]]
    infos = envs.step([B, A])[-1]
    assert infos["_action_mask"].tolist() == [False, True]
    assert infos["action_mask"].tolist() == [[0] * 5, [1] * 5]
    assert envs.action_masks().tolist() == [[True] * 5] * 2
    infos = envs.reset(options={"reset_mask": np.array([True, False])})[1]
    assert infos["_action_mask"].tolist() == [True, False]
    assert infos["action_mask"].tolist() == [[1, 1, 1, 1, 0], [0] * 5]
    assert envs.action_masks().tolist() == [[True] * 4 + [False], [True] * 5]


def test_rows_that_share_a_mask_share_its_memory() -> None:
    envs = envs_of(64, DISABLED, [MinimumLength(2)])
    infos = envs.reset(seed=0)[1]
    assert infos["action_mask"].strides[0] == 0
    assert envs.action_masks().strides[0] == 0
    actions = np.zeros(64, dtype=np.int64)
    assert envs.step(actions)[-1]["action_mask"].strides[0] == 0
    actions[0] = EOS
    assert envs.step(actions)[-1]["action_mask"].strides[0] == 0  # an ended row, one of five
    envs.reset(options={"reset_mask": actions == EOS})
    mixed = envs.step(np.zeros(64, dtype=np.int64))[-1]["action_mask"]
    assert mixed.strides[0] > 0
    assert mixed[:2, EOS].tolist() == [0, 1]


def test_views_of_observations_that_change_do_no_harm() -> None:
    """Prompts are copied: the vector may hand out views of its own arrays."""
    envs = TextGenVectorEnv(2, copy=False, autoreset_mode=DISABLED, **TASK)
    constrained = vector_wrappers.Constrain(envs, [NoRepeatNgram(1), MinimumLength(5)])
    constrained.reset(options={"prompt": "ab"})
    for action in (A, B, C):
        constrained.step([action] * 2)
    infos = constrained.step([DOT] * 2)[-1]
    envs.reset(options={"prompt": "c"})
    with pytest.raises(EmptyMaskError, match=r"after 'abc\.', written to the prompt 'ab'"):
        infos["action_mask"]


# Specs and states


def test_a_spec_rebuilds_the_wrapper() -> None:
    task = {"max_new_tokens": 3, "prompts": ["how", "fine"]}
    env = Constrain(gym.make("TextGen-v0", **task), [MinimumLength(2), EndsWith("thanks")])
    env = RemainingTokens(Constrain(env, BannedStrings(["day"])))
    spec = pickle.loads(pickle.dumps(env.spec))
    for rebuilt in (gym.make(env.spec), gym.make(spec)):
        masks = []
        for one in (env, rebuilt):
            infos = [one.reset(seed=0)[1], *(one.step(a)[-1] for a in (3, 4))]
            masks.append([info["action_mask"].tolist() for info in infos])
        assert masks[0] == masks[1]
        assert len({tuple(mask) for mask in masks[0]}) == 2


def test_constraints_are_not_copied_with_the_spec() -> None:
    constraint = Counting()
    env = RemainingTokens(Constrain(gym.make("TextGen-v0"), constraint))
    wrappers = {spec.name: spec.kwargs for spec in env.spec.additional_wrappers}
    assert wrappers["Constrain"]["constraints"] is constraint


@pytest.mark.parametrize("outermost_first", [True, False])
def test_a_state_goes_on_where_it_was_taken(outermost_first: bool) -> None:
    env = Constrain(env_of([NoRepeatNgram(1)]), MinimumLength(3))
    env.reset(seed=0)
    for action in (A, B):
        env.step(action)
    layers = [env, env.env] if outermost_first else [env.env, env]
    states = [json.loads(json.dumps(layer.get_state())) for layer in layers]
    world = env.unwrapped.get_state()
    masks = env.action_masks(), env.step(C)[-1]["action_mask"]
    assert [np.flatnonzero(mask).tolist() for mask in masks] == [[C, DOT], [DOT, EOS]]
    env.reset(seed=9)
    env.unwrapped.set_state(world)
    for layer, state in zip(layers, states, strict=True):
        layer.set_state(state)
    assert np.array_equal(env.action_masks(), masks[0])
    assert np.array_equal(env.step(C)[-1]["action_mask"], masks[1])


def test_a_state_of_a_vector_keeps_every_row() -> None:
    envs = envs_of(3, DISABLED)
    envs.reset(seed=0)
    envs.step([A, EOS, B])
    envs.step([B, A, C])
    state = json.loads(json.dumps(envs.get_state()))
    expected = envs.action_masks()
    other = envs_of(3, DISABLED)
    other.reset(seed=1)
    assert not np.array_equal(other.action_masks(), expected)
    other.set_state(state)
    assert np.array_equal(other.action_masks(), expected)
    assert state["texts"][1] is None
    with pytest.raises(ValueError, match="state must be of 2 rows, got 3"):
        envs_of(2, DISABLED).set_state(state)


def test_a_state_of_other_constraints_is_refused() -> None:
    state = Constrain(env_of(NoRepeatNgram(1)), [MinimumLength(3), BannedTokens([A])]).get_state()
    other = Constrain(env_of(NoRepeatNgram(1)), [MinimumLength(3), BannedTokens([B])])
    with pytest.raises(ValueError, match=r"number 1 was another one than BannedTokens\(.*1"):
        other.set_state(state)
    with pytest.raises(ValueError, match="constraints must be the 2 of the state, got 1"):
        Constrain(env_of(NoRepeatNgram(1)), MinimumLength(3)).set_state(state)


def test_feedback_goes_under_and_over() -> None:
    for env in (
        Feedback(env_of(MinimumLength(1)), lambda prompt, completion: 7.0),
        Constrain(Feedback(TextGenEnv(**TASK), lambda p, c: 7.0), MinimumLength(1)),
    ):
        assert allowed(env.reset(seed=0)[1]) == {A, B, C, DOT}
        env.step(A)
        assert env.step(EOS)[1] == 7.0


# A policy that heeds them


def policy_of(vocab_size: int, length: int) -> CausalLMPolicy:
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=length,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    return CausalLMPolicy.from_config(config)


def obeys_history(prompt: str, completion: str) -> bool:
    text = prompt + completion
    pairs = [text[i : i + 2] for i in range(len(text) - 1)]
    old, new = pairs[: len(prompt) - 1], pairs[len(prompt) - 1 :]
    return len(new) == len(set(new)) and not set(old) & set(new)


def obeys_wording(prompt: str, completion: str) -> bool:
    return completion.endswith(".")


@pytest.mark.parametrize(
    ("constraints", "obeys"),
    [(CONSTRAINTS, obeys_history), (WORDING, obeys_wording)],
    ids=["history", "wording"],
)
@pytest.mark.parametrize("mode", [DISABLED, SAME_STEP], ids=lambda mode: mode.name)
def test_a_rollout_samples_nothing_forbidden_and_training_agrees(
    mode: AutoresetMode, constraints: Any, obeys: Callable[[str, str], bool]
) -> None:
    policy, rollouts = policy_of(5, 9), []
    sync = SyncVectorEnv([lambda: env_of(constraints)] * 4, autoreset_mode=SAME_STEP)
    for envs in (envs_of(4, mode, constraints), sync):
        generator = torch.Generator().manual_seed(0)
        rollout = collect_rollout(policy, envs, 60, generator, seed=0)
        rollouts.append(rollout)
        for episode in (info["text_episode"] for info in rollout.infos):
            assert len(episode.completion) >= 2
            assert "aa" not in episode.completion
            assert "b." not in episode.completion
            assert obeys(episode.prompt, episode.completion)
        chosen, masks = rollout.texts.completion_mask, rollout.texts.action_masks
        per_token = masks.table[masks.numbers][chosen]
        assert per_token.gather(1, rollout.texts.input_ids[chosen][:, None]).all()
        assert (per_token.sum(dim=1) < 5).float().mean() > 0.8
        log_probs = policy(rollout.texts).log_probs[chosen]
        assert_close(log_probs, rollout.log_probs[chosen], atol=1e-5, rtol=1e-5)
    if mode is SAME_STEP:
        assert torch.equal(rollouts[0].texts.input_ids, rollouts[1].texts.input_ids)


class Many(CharTokenizer):
    """Characters of a vocabulary as large as that of a language model."""

    def __init__(self) -> None:
        super().__init__("".join(chr(0x100 + index) for index in range(50_000)))


def test_a_large_vocabulary_costs_a_row_per_distinct_mask() -> None:
    tokenizer = Many()
    letter = tokenizer.decode([7])
    constraints: list[Constraint] = [BannedStrings([letter * 2]), EndsWith(letter)]
    envs = envs_of(16, DISABLED, constraints, tokenizer=tokenizer, prompts=[letter])
    rollout = collect_rollout(policy_of(50_001, 6), envs, 32, torch.Generator(), seed=0)
    assert all(info["text_episode"].completion.endswith(letter) for info in rollout.infos)
    assert len(rollout.texts.action_masks.table) <= 20  # 5 lengths, 2 states, the end, and all
    assert len(envs.composition._masks) <= 20


def test_an_environment_of_another_kind_is_refused() -> None:
    message = "env must be a TextGenEnv or a TextGenVectorEnv, in whatever wrappers, got .*CartPole"
    with pytest.raises(TypeError, match=message):
        Constrain(gym.make("CartPole-v1"), MinimumLength(2))
    with pytest.raises(TypeError, match=message):
        vector_wrappers.Constrain(gym.make_vec("CartPole-v1", num_envs=2), MinimumLength(2))
