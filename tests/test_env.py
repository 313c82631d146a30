"""The environment's contract: what Gymnasium asks of it, and what it promises beyond that."""

from __future__ import annotations

import copy
import io
import pickle
import random
import re
import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env, data_equivalence
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from text_gym import CharTokenizer, HuggingFaceTokenizer, TextGenEnv, TextGenVectorEnv, small_talk
from text_gym.rewards import RewardError, WordCount
from text_gym.wrappers import Feedback, RemainingTokens

LETTERS = CharTokenizer("abc.")
A, B, C, DOT, EOS = range(5)


def env_of(**arguments: Any) -> TextGenEnv:
    """An environment over the letters a, b, c and "." that pays 10 plus one per character."""
    defaults: dict[str, Any] = {
        "prompts": ["ab"],
        "tokenizer": LETTERS,
        "reward_function": lambda prompt, completion: 10 + len(completion),
        "max_new_tokens": 3,
    }
    return TextGenEnv(**{**defaults, **arguments})


def run(env: Any, actions: list[int]) -> list[tuple[Any, ...]]:
    env.reset(seed=0)
    return [env.step(action) for action in actions]


def prompts_drawn(env: Any, count: int, seed: int | None = None) -> list[list[int]]:
    drawn = []
    for index in range(count):
        observation, info = env.reset(seed=seed if index == 0 else None)
        drawn.append(observation["input_ids"][: info["prompt_length"]].tolist())
    return drawn


# Gymnasium and Stable-Baselines3


def checked_environments(bpe: Any, bpe_with_special_tokens: Any) -> dict[str, dict[str, Any]]:
    with_holes = HuggingFaceTokenizer(
        bpe_with_special_tokens, vocab_size=len(bpe_with_special_tokens) + 5
    )
    return {
        "default": {},
        "prompts": {"prompts": ["How are you?", "how"], "sampling": "without_replacement"},
        "bpe": {"tokenizer": bpe, "prompts": small_talk.PROMPTS, "max_new_tokens": 6},
        "masked": {
            "tokenizer": with_holes,
            "stop_token_ids": [50],
            "prompt_template": "{prompt}\n",
        },
        "truncating": {"limit": "truncate", "max_new_tokens": 2},
    }


NAMES = ["default", "prompts", "bpe", "masked", "truncating"]


@pytest.mark.parametrize("name", NAMES)
def test_gymnasium_and_sb3_find_no_fault(name: str, bpe: Any, bpe_with_special_tokens: Any) -> None:
    arguments = checked_environments(bpe, bpe_with_special_tokens)[name]
    env = gym.make("TextGen-v0", **arguments)
    check_env(env.unwrapped)
    check_env_for_sb3(env.unwrapped)


@pytest.mark.parametrize("name", NAMES)
def test_the_passive_checker_finds_no_fault_in_whole_episodes(
    name: str, bpe: Any, bpe_with_special_tokens: Any
) -> None:
    arguments = checked_environments(bpe, bpe_with_special_tokens)[name]
    env = gym.make("TextGen-v0", render_mode="ansi", **arguments)
    env.action_space.seed(0)
    for seed in range(3):
        env.reset(seed=seed)
        ended = False
        while not ended:
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            assert observation in env.observation_space
            assert isinstance(env.render(), str)
            ended = terminated or truncated
    env.close()
    env.close()


def test_it_can_be_made_without_importing_the_package() -> None:
    code = (
        "import gymnasium; env = gymnasium.make('text_gym:TextGen-v0'); env.reset(seed=0); "
        "print(env.spec.id, env.step(0)[1])"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.stdout.split() == ["TextGen-v0", "0.0"], result.stderr


def test_the_default_task_is_small_talk_paid_by_the_word() -> None:
    env = gym.make("TextGen-v0")
    observation, info = env.reset(seed=0)
    assert info == {"prompt_length": 4, "prompt_id": 0}
    assert observation["input_ids"].shape == (24,)
    assert env.action_space == gym.spaces.Discrete(33)
    *_, last = [env.step(env.unwrapped.tokenizer.encode("fine")[0]) for _ in range(20)]
    assert (last[1], last[2], last[3]) == (20.0, True, False)
    assert last[4]["text_episode"].prompt == "How are you?"


WITH_ARGUMENTS = {"prompts": ["how are you?", "you are"], "max_new_tokens": 5, "limit": "truncate"}


@pytest.mark.parametrize("wrapped", [False, True])
def test_its_spec_round_trips_through_pickle_and_json(wrapped: bool) -> None:
    env = gym.make("TextGen-v0", **WITH_ARGUMENTS)
    if wrapped:
        env = RemainingTokens(env)
    assert env.spec is not None
    for spec in (
        pickle.loads(pickle.dumps(env.spec)),
        EnvSpec.from_json(env.spec.to_json()),
        env.spec,
    ):
        again = gym.make(spec)
        assert again.spec == env.spec
        assert data_equivalence(again.reset(seed=3), env.reset(seed=3), exact=True)
        assert data_equivalence(again.step(2), env.step(2), exact=True)


def test_its_spec_remembers_a_reward_wrapper() -> None:
    env = Feedback(gym.make("TextGen-v0"), WordCount(), weight=3.0)
    again = gym.make(pickle.loads(pickle.dumps(env.spec)))
    assert isinstance(again, Feedback)
    assert run(again, [0] * 20)[-1][1] == 60.0


def test_an_outer_time_limit_truncates_and_pays_nothing() -> None:
    env = gym.make("TextGen-v0", max_episode_steps=2)
    *_, last = run(env, [0, 0])
    assert last[1:4] == (0.0, False, True)
    assert "text_episode" not in last[4]


# The contract


@given(
    actions=st.lists(st.integers(0, 4), max_size=6),
    prompt=st.text("abc.", min_size=1, max_size=4),
    limit=st.sampled_from(["terminate", "truncate"]),
    stops=st.sampled_from([(), (DOT,), (DOT, A, EOS)]),
)
def test_a_text_is_its_prompt_and_the_actions_and_is_paid_for_at_its_end(
    actions: list[int], prompt: str, limit: str, stops: tuple[int, ...]
) -> None:
    env = env_of(prompts=["abca", prompt], max_new_tokens=4, limit=limit, stop_token_ids=stops)
    observation, info = env.reset(seed=1, options={"prompt": prompt})
    assert info == {"prompt_length": len(prompt)}
    context = LETTERS.encode(prompt)
    for step in range(len(actions) + 1):
        assert observation in env.observation_space
        assert observation["input_ids"].tolist() == context + [0] * (8 - len(context))
        assert observation["attention_mask"].tolist() == [1] * len(context) + [0] * (
            8 - len(context)
        )
        if step == len(actions):
            return
        action = actions[step]
        observation, reward, terminated, truncated, info = env.step(action)
        context.append(action)
        reason = (
            "eos"
            if action == EOS
            else ("stop" if action in stops else ("length" if step == 3 else None))
        )
        paid = reason is not None and not (reason == "length" and limit == "truncate")
        text = "".join("abc."[token] for token in context[len(prompt) :] if token != EOS)
        assert type(reward) is float
        assert reward == (10 + len(text) if paid else 0)
        assert terminated is paid
        assert truncated is (reason is not None and not paid)
        keys = {"stop_reason", "text_episode", "reward_components"} if paid else {"stop_reason"}
        assert info.keys() == (keys if reason else set())
        if reason is not None:
            assert info["stop_reason"] == reason
            if paid:
                episode = info["text_episode"]
                assert (episode.prompt, episode.completion) == (prompt, text)
                assert episode.prompt_ids.tolist() + episode.completion_ids.tolist() == context
                assert (episode.stop_reason, episode.reference) == (reason, None)
                assert list(info["reward_components"].values()) == [reward]
            assert observation["input_ids"].tolist() == context + [0] * (8 - len(context))
            with pytest.raises(ResetNeeded, match=rf"after the end of the text \({reason}\)"):
                env.step(A)
            return


def test_at_the_limit_a_stop_token_is_a_stop_and_eos_is_eos() -> None:
    for limit in ("terminate", "truncate"):
        env = env_of(limit=limit, stop_token_ids=[DOT])
        for last_token, reason in ((DOT, "stop"), (EOS, "eos")):
            *_, last = run(env, [A, A, last_token])
            assert (last[2], last[3], last[4]["stop_reason"]) == (True, False, reason)


def test_a_limit_of_one_token_is_a_bandit() -> None:
    (only,) = run(env_of(max_new_tokens=1), [C])
    assert only[1:4] == (11.0, True, False)
    assert only[4]["text_episode"].completion == "c"


def test_an_episode_carries_what_came_with_its_prompt() -> None:
    prompt = {"prompt": "ab", "reference": "c", "level": 2}
    env = env_of(prompts=[prompt], prompt_template="{prompt}.")
    observation, info = env.reset(seed=0)
    assert observation["input_ids"][: info["prompt_length"]].tolist() == [A, B, DOT]
    episode = env.step(EOS)[4]["text_episode"]
    assert (episode.prompt, episode.reference, episode.metadata) == ("ab", "c", {"level": 2})
    assert episode.prompt_ids.tolist() == [A, B, DOT]


def test_the_reward_function_is_called_once_per_text_and_not_before_its_end(
    recording_reward: Any,
) -> None:
    reward = recording_reward()
    env = env_of(reward_function=reward)
    env.reset(seed=0)
    env.step(A)
    env.step(B)
    assert reward.calls == []
    assert env.step(C)[1] == 3.0
    run(env, [EOS])
    assert reward.calls == [["abc"], [""]]


def test_a_reward_function_without_length_is_still_the_one_that_pays() -> None:
    class Empty:
        def __len__(self) -> int:
            return 0

        def __call__(self, episodes: Any) -> Any:
            return [7.0] * len(episodes)

    assert run(env_of(reward_function=Empty()), [EOS])[0][1] == 7.0


def test_nothing_is_decoded_before_the_end() -> None:
    class CountsDecoding(CharTokenizer):
        decoded = 0

        def decode(self, token_ids: Any) -> str:
            self.decoded += 1
            return super().decode(token_ids)

    tokenizer = CountsDecoding("abc.")
    env = env_of(tokenizer=tokenizer, reward_function=lambda episodes: [0.0] * len(episodes))
    *_, last = run(env, [A, B, EOS])
    assert tokenizer.decoded == 0
    assert last[4]["text_episode"].completion == "ab"
    assert tokenizer.decoded == 1


# Prompts and randomness


def test_the_same_seed_gives_the_same_prompts_and_none_goes_on() -> None:
    prompts = ["a", "b", "c", "ab", "bc"]
    first = prompts_drawn(env_of(prompts=prompts), 20, seed=5)
    env = env_of(prompts=prompts)
    assert prompts_drawn(env, 20, seed=5) == first
    assert prompts_drawn(env, 20, seed=6) != first
    assert prompts_drawn(env, 20, seed=5) == first
    assert len({tuple(prompt) for prompt in first}) == 5


def test_steps_and_given_prompts_draw_nothing() -> None:
    env = env_of(prompts=["a", "b", "c", "ab", "bc"])
    expected = prompts_drawn(env, 10, seed=5)
    drawn = prompts_drawn(env, 1, seed=5)
    for _ in range(9):
        env.step(A)
        env.reset(options={"prompt": "cc"})
        env.step(EOS)
        drawn += prompts_drawn(env, 1)
    assert drawn == expected


def test_global_random_streams_are_neither_read_nor_changed() -> None:
    prompts = ["a", "b", "c", "ab"]
    env = env_of(prompts=prompts)
    expected = prompts_drawn(env, 10, seed=1)
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002  # the global stream is what must not matter
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert prompts_drawn(env, 10, seed=1) == expected
    env.step(EOS)
    after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    assert after == before


def test_without_replacement_each_prompt_comes_once_an_epoch_and_a_seed_restarts_it() -> None:
    env = env_of(prompts=["a", "b", "c", "ab"], sampling="without_replacement")
    first = prompts_drawn(env, 8, seed=2)
    assert sorted(first[:4]) == sorted(first[4:]) == [[A], [A, B], [B], [C]]
    prompts_drawn(env, 3)
    assert prompts_drawn(env, 8, seed=2) == first


def test_a_function_of_prompts_uses_the_stream_of_the_environment() -> None:
    env = env_of(
        prompts=lambda np_random: "abc"[np_random.integers(3)] * int(np_random.integers(1, 3)),
        max_prompt_tokens=2,
    )
    assert env.observation_space["input_ids"].shape == (5,)
    assert prompts_drawn(env, 20, seed=4) == prompts_drawn(env, 20, seed=4)
    assert prompts_drawn(env, 20, seed=4) != prompts_drawn(env, 20, seed=5)


def test_a_caller_may_name_the_prompt() -> None:
    env = env_of(max_prompt_tokens=4)
    given = {"prompt": "cab", "reference": "b"}
    observation, info = env.reset(options={"prompt": given})
    assert observation["input_ids"][: info["prompt_length"]].tolist() == [C, A, B]
    assert env.step(EOS)[4]["text_episode"].reference == "b"


def test_the_room_for_prompts_is_that_of_the_longest_under_the_template() -> None:
    env = env_of(prompts=["a", "abc"], prompt_template=".{prompt}.")
    assert env.observation_space["input_ids"].shape == (5 + 3,)
    assert env_of(max_prompt_tokens=9).observation_space["input_ids"].shape == (9 + 3,)


# Masks


def test_a_vocabulary_that_is_all_text_has_no_mask_in_info() -> None:
    env = env_of()
    _, info = env.reset(seed=0)
    assert "action_mask" not in info
    assert all("action_mask" not in step[4] for step in run(env, [A, A, A]))
    mask = env.action_masks()
    assert (mask.dtype, mask.shape, mask.all()) == (np.bool_, (5,), True)


def test_a_vocabulary_with_special_tokens_has_its_mask_in_every_info(
    bpe_with_special_tokens: Any,
) -> None:
    env = TextGenEnv(tokenizer=bpe_with_special_tokens, max_new_tokens=2)
    _, info = env.reset(seed=0)
    infos = [info, *(step[4] for step in run(env, [50, 51]))]
    expected = np.ones(len(bpe_with_special_tokens), dtype=np.int8)
    expected[[1, 2]] = 0
    for info in infos:
        assert data_equivalence(info["action_mask"], expected, exact=True)
    assert data_equivalence(env.action_masks(), expected.astype(np.bool_), exact=True)
    assert env.action_space.sample(mask=infos[0]["action_mask"]) not in (1, 2)


def test_an_excluded_token_is_accepted_and_reads_as_nothing(bpe_with_special_tokens: Any) -> None:
    env = TextGenEnv(tokenizer=bpe_with_special_tokens)
    *_, last = run(env, [1, 2, *env.tokenizer.encode("How"), 0])
    assert last[4]["text_episode"].completion == "How"
    assert last[4]["text_episode"].completion_ids[:2].tolist() == [1, 2]


# What is handed out


def scribble(data: Any) -> None:
    """Overwrites every array and dict that can be reached."""
    if isinstance(data, dict):
        for value in data.values():
            scribble(value)
        data.clear()
    elif isinstance(data, tuple):
        for value in data:
            scribble(value)
    elif isinstance(data, np.ndarray):
        data.fill(3)


def test_writing_on_what_was_handed_out_changes_nothing_later(bpe_with_special_tokens: Any) -> None:
    arguments = {
        "tokenizer": bpe_with_special_tokens,
        "prompts": ["How", "How are you?"],
        "max_new_tokens": 3,
        "render_mode": "ansi",
    }
    clean, scribbled = TextGenEnv(**arguments), TextGenEnv(**arguments)
    for seed in (0, 1, 0):
        expected, returned = clean.reset(seed=seed), scribbled.reset(seed=seed)
        assert data_equivalence(returned, expected, exact=True)
        scribble(returned)
        for action in (40, 41, 42):
            expected, returned = clean.step(action), scribbled.step(action)
            assert data_equivalence(returned, expected, exact=True)
            if "text_episode" in returned[4]:
                assert not returned[4]["text_episode"].prompt_ids.flags.writeable
                scribble(returned[4]["text_episode"].completion_ids)
            scribble(returned)
            scribble(scribbled.action_masks())
            assert scribbled.render() == clean.render()


def test_what_was_handed_out_does_not_change_later() -> None:
    env = env_of()
    outputs, copies = [], []
    for output in (env.reset(seed=0), *(env.step(action) for action in (A, B, C))):
        outputs.append(output)
        copies.append(copy.deepcopy(output))
    run(env, [C, C, C])
    assert data_equivalence(outputs, copies, exact=True)


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": []}, r"prompts must hold at least one prompt, got \[\]"),
        ({"max_prompt_tokens": 1}, r"1 to max_prompt_tokens=1 tokens, got 2 in 'ab'"),
        ({"prompts": ["a", ""]}, r"prompts\[1\]: a prompt must have at least 1 token, got 0 in ''"),
        ({"prompts": [""]}, r"prompts\[0\]: a prompt must have at least 1 token, got 0 in ''"),
        (
            {"prompts": ["a", "ab"], "max_prompt_tokens": 1},
            r"prompts\[1\]: a prompt must have 1 to max_prompt_tokens=1 tokens, got 2 in 'ab'",
        ),
        ({"sampling": ["random"]}, r"sampling must be one of .*got \['random'\]"),
        ({"prompts": ["ax"]}, r"tokens, got 'ax', in which 'x' is unknown"),
        ({"prompts": lambda np_random: "a"}, r"max_prompt_tokens must be given.*got None"),
        (
            {"prompts": lambda np_random: "a", "max_prompt_tokens": 0},
            r"max_prompt_tokens must be at least 1, got 0",
        ),
        ({"max_new_tokens": 0}, r"max_new_tokens must be at least 1, got 0"),
        ({"limit": "stop"}, r"limit must be 'terminate' or 'truncate', got 'stop'"),
        ({"sampling": "random"}, r"sampling must be one of .*got 'random'"),
        ({"prompt_template": "{}"}, r"prompt_template must contain '\{prompt\}', got '\{\}'"),
        ({"stop_token_ids": [0, 5]}, r"stop_token_ids must be integers in \[0, 5\), got \[5\]"),
        ({"stop_token_ids": [-1]}, r"stop_token_ids must be integers in \[0, 5\), got \[-1\]"),
        ({"stop_token_ids": [True]}, r"stop_token_ids must be integers in \[0, 5\), got \[True\]"),
        ({"stop_token_ids": ["."]}, r"stop_token_ids must be integers in \[0, 5\), got \['.'\]"),
        ({"render_mode": "depth_array"}, r"render_mode must be None or one of .*got 'depth_array'"),
    ],
)
def test_a_wrong_argument_is_named_with_its_rule_and_value(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        env_of(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_new_tokens": 2.0}, "max_new_tokens must be an integer, got 2.0"),
        ({"max_new_tokens": "3"}, "max_new_tokens must be an integer, got '3'"),
        ({"max_new_tokens": None}, "max_new_tokens must be an integer, got None"),
        ({"max_new_tokens": True}, "max_new_tokens must be an integer, got True"),
        ({"max_prompt_tokens": "9"}, "max_prompt_tokens must be an integer, got '9'"),
        ({"prompt_template": None}, r"prompt_template must be a text with '\{prompt\}', got None"),
        ({"stop_token_ids": 3}, "stop_token_ids must list token ids, got 3"),
        ({"chat": "no"}, "chat must be True or False, got 'no'"),
        ({"responder": 3, "max_response_tokens": 9}, "responder must be a callable or None, got 3"),
        ({"responder": list, "max_response_tokens": "9"}, "max_response_tokens must be an integer"),
        (
            {"responder": list, "max_response_tokens": 9, "response_template": None},
            r"response_template must be a text with '\{response\}', got None",
        ),
        (
            {"prompts": lambda: "a", "max_prompt_tokens": 4},
            r"prompts must be a callable fn\(np_random\) of one argument, .* signature \(\)",
        ),
        ({"reward_function": lambda a, b, c: 0.0}, "reward_function: a reward function takes one"),
    ],
)
def test_an_argument_of_another_type_is_named_with_its_rule_and_value(
    arguments: dict[str, Any], message: str
) -> None:
    for make in (env_of, TextGenVectorEnv):
        with pytest.raises(TypeError, match=message):
            make(**arguments)


def test_numbers_of_numpy_are_numbers() -> None:
    assert env_of(max_new_tokens=np.int64(3)).max_new_tokens == 3


def test_a_tokenizer_without_eos_cannot_make_an_environment(bpe: Any) -> None:
    endless = copy.deepcopy(bpe)
    endless.eos_token = None
    with pytest.raises(ValueError, match="tokenizer must have an EOS token"):
        env_of(tokenizer=endless)


def test_a_prompt_that_is_drawn_or_given_must_fit() -> None:
    env = env_of(prompts=lambda np_random: "abc", max_prompt_tokens=2)
    with pytest.raises(ValueError, match=r"max_prompt_tokens=2 tokens, got 3 in 'abc'"):
        env.reset(seed=0)
    with pytest.raises(ValueError, match=r"got 0 in ''"):
        env.reset(options={"prompt": ""})
    with pytest.raises(TypeError, match=r"prompts must yield a str.*got 5"):
        env.reset(options={"prompt": 5})


@pytest.mark.parametrize("options", [{"promt": "ab"}, {"reset_mask": None}, {1: 2}], ids=repr)
def test_an_unknown_option_is_refused_and_changes_nothing(options: Any) -> None:
    env, clean = env_of(prompts=["a", "b"]), env_of(prompts=["a", "b"])
    env.reset(seed=0)
    clean.reset(seed=0)
    with pytest.raises(ValueError, match=rf"options must be among.*{re.escape(repr([*options]))}"):
        env.reset(seed=5, options=options)
    assert [env.reset()[1] for _ in range(8)] == [clean.reset()[1] for _ in range(8)]


def test_stop_tokens_may_come_from_an_iterator() -> None:
    envs = [
        gym.make("TextGen-v0", prompts=["a"], tokenizer=CharTokenizer("ab."), stop_token_ids=ids)
        for ids in (map(int, ["2"]), {2}, np.array([2]))
    ]
    for env in envs:
        env.reset()
        assert env.step(2)[2]


@pytest.mark.parametrize(
    "action",
    [5, -1, 1.0, True, np.True_, np.array([1]), np.array(1.0), "a", None, np.int64(5)],
    ids=repr,
)
def test_an_action_outside_the_space_is_refused_and_changes_nothing(action: Any) -> None:
    env = env_of()
    observation, _ = env.reset(seed=0)
    with pytest.raises(ValueError, match=rf"action must be in .*got {re.escape(repr(action))}"):
        env.step(action)
    assert env.step(A)[0]["attention_mask"].sum() == observation["attention_mask"].sum() + 1


@pytest.mark.parametrize("action", [1, np.int64(1), np.int32(1), np.uint8(1), np.array(1)])
def test_any_integer_is_an_action(action: Any) -> None:
    assert run(env_of(), [action])[0][0]["input_ids"][2] == B


def test_stepping_and_rendering_need_a_reset() -> None:
    with pytest.raises(ResetNeeded, match="reset must be called before step"):
        env_of().step(A)
    with pytest.raises(ResetNeeded, match="reset must be called before render"):
        env_of(render_mode="ansi").render()


def raises(prompt: str, completion: str) -> float:
    raise KeyError("judge is down")


def nan(prompt: str, completion: str) -> float:
    return float("nan")


def text(prompt: str, completion: str) -> Any:
    return "very good"


def two(episodes: Any) -> Any:
    return [1.0, 2.0]


@pytest.mark.parametrize("reward", [raises, nan, text, two])
def test_a_reward_that_fails_stops_the_step_and_shows_the_text(reward: Any) -> None:
    env = env_of(reward_function=reward)
    env.reset(seed=0)
    env.step(C)
    with pytest.raises(RewardError, match=rf"'{reward.__name__}'.*prompt='ab', completion='c'"):
        env.step(EOS)
    with pytest.raises(ResetNeeded):
        env.step(A)
    env.reset()
    env.step(A)


# Rendering


def test_ansi_shows_prompt_completion_stop_reason_and_reward() -> None:
    env = env_of(render_mode="ansi", prompt_template="..{prompt}.")
    env.reset(seed=0)
    assert env.render() == "prompt      ab\ncompletion  "
    env.step(C)
    assert env.render() == "prompt      ab\ncompletion  c"
    env.step(EOS)
    assert env.render() == (
        "prompt      ab\ncompletion  c\nstop        eos\nreward      11.0000 (<lambda> 11.0000)"
    )
    env.reset()
    assert env.render() == "prompt      ab\ncompletion  "


def test_gymnasium_lists_ansi_frames() -> None:
    env = gym.make("TextGen-v0", render_mode="ansi_list")
    run(env, [0, 1])
    frames = env.render()
    assert [type(frame) for frame in frames] == [str, str, str]


def test_human_prints_each_text_once_as_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    env = env_of(render_mode="human", prompts=["ab"], limit="truncate", max_new_tokens=2)
    env.reset(seed=0)
    env.step(C)
    assert env.render() is None
    assert capsys.readouterr().out == ""
    env.step(EOS)
    env.render()
    assert capsys.readouterr().out.splitlines() == [
        "prompt      ab",
        "completion  c",
        "stop        eos",
        "reward      11.0000 (<lambda> 11.0000)",
        "",
    ]
    run(env, [C, C])
    assert capsys.readouterr().out.splitlines()[-2:] == ["stop        length", ""]


@pytest.mark.parametrize(("encoding", "o"), [("ascii", r"\xf6"), ("latin-1", "ö"), ("utf-8", "ö")])
def test_human_prints_what_the_terminal_lacks_as_escapes(
    encoding: str, o: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task: dict[str, Any] = {"prompts": "ö", "tokenizer": CharTokenizer("ö"), "render_mode": "human"}
    printed = io.BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding, write_through=True))
        run(TextGenEnv(**task), [0, 1])
        envs = TextGenVectorEnv(1, **task)
        envs.reset(seed=0)
        for action in (0, 1):
            envs.step([action])
        shown = printed.getvalue().decode(encoding)
    assert re.findall(r"completion  (.*)", shown) == [o, o]


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for render_mode in ("ansi", "human"):
        env = TextGenEnv("\x1b]0;", CharTokenizer("\x1b[31m]0;"), render_mode=render_mode)
        run(env, [0, 1, 2, 3, 4, env.tokenizer.eos_token_id])
        shown = env.render() or capsys.readouterr().out
        assert "\x1b" not in shown
        assert r"completion  \x1b[31m" in shown
        assert r"prompt      \x1b]0;" in shown


def test_no_render_mode_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    env = env_of()
    run(env, [EOS])
    assert env.render() is None
    assert capsys.readouterr().out == ""
