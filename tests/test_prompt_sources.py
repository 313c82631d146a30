from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import text_gym
from text_gym import (
    CurriculumPrompts,
    EpochPrompts,
    GroupedPrompts,
    Prompt,
    TextGenEnv,
    TextGenVectorEnv,
    UniformPrompts,
    WeightedPrompts,
)
from text_gym.prompt_sources import as_prompt_source

LETTERS = list("abcdefgh")


def envs(n: int, source: Any, **changes: Any) -> TextGenVectorEnv:
    arguments = {"tokenizer": text_gym.CharTokenizer(), "max_new_tokens": 4, **changes}
    return TextGenVectorEnv(n, prompts=source, **arguments)


def started(n: int, source: Any, seed: int, mode: AutoresetMode, count: int = 24) -> list[str]:
    """Returns the first prompts in the order in which episodes start, under random actions."""
    vector = envs(n, source, autoreset_mode=mode)
    np_random = np.random.default_rng(seed)
    observations, infos = vector.reset(seed=seed)
    prompts: list[str] = []
    while len(prompts) < count:
        for row in np.flatnonzero(infos.get("_prompt_length", [])):
            length = infos["prompt_length"][row]
            prompts.append(vector.tokenizer.decode(observations["input_ids"][row, :length]))
        actions = np_random.integers(0, vector.tokenizer.vocab_size, n)
        actions[np_random.random(n) < 0.3] = vector.tokenizer.eos_token_id
        observations, _, ended, _, infos = vector.step(actions)
        if mode is AutoresetMode.DISABLED and ended.any():
            observations, infos = vector.reset(options={"reset_mask": ended})
    return prompts[:count]


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(
    "make",
    [lambda: EpochPrompts(LETTERS), lambda: GroupedPrompts(LETTERS, 3)],
    ids=["epochs", "groups"],
)
def test_shared_source_gives_one_sequence_whatever_the_number_of_rows(
    mode: AutoresetMode, make: Any
) -> None:
    sequences = [started(n, make(), 5, mode) for n in (1, 2, 7)]
    assert sequences[0] == sequences[1] == sequences[2]
    assert started(2, make(), 6, mode) != sequences[0]


def test_group_shares_a_prompt_and_a_number() -> None:
    vector = envs(8, GroupedPrompts(EpochPrompts(LETTERS), 4))
    observations, infos = vector.reset(seed=0)
    assert infos["group_id"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    first = observations["input_ids"][:, 0]
    assert len(set(first[:4])) == len(set(first[4:])) == 1
    assert first[0] != first[4]
    assert vector.reset(seed=0)[1]["group_id"].tolist() == infos["group_id"].tolist()
    assert vector.reset()[1]["group_id"].tolist() == [2, 2, 2, 2, 3, 3, 3, 3]


def test_group_can_straddle_resets_of_some_rows() -> None:
    vector = envs(3, GroupedPrompts(LETTERS, 2), autoreset_mode="Disabled")
    vector.reset(seed=0)
    mask = np.array([False, True, False])
    _, infos = vector.reset(options={"reset_mask": mask})
    assert infos["group_id"][1] == 1
    assert infos["_group_id"].tolist() == mask.tolist()


def test_single_environment_reports_prompt_and_group() -> None:
    env = TextGenEnv(GroupedPrompts(EpochPrompts(LETTERS), 2), text_gym.CharTokenizer())
    infos = [env.reset(seed=1 if start == 0 else None)[1] for start in range(4)]
    assert [info["group_id"] for info in infos] == [0, 0, 1, 1]
    assert infos[0]["prompt_id"] == infos[1]["prompt_id"] != infos[2]["prompt_id"]


def test_weights_are_frequencies() -> None:
    source = WeightedPrompts(["a", "b", "c"], [1, 0, 3])
    np_random = np.random.default_rng(0)
    drawn = [source.draw(np_random).text for _ in range(4000)]
    assert drawn.count("b") == 0
    assert abs(drawn.count("c") / 4000 - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 4000)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 2], "weights must be 3 finite numbers"),
        ([1, -1, 2], "weights must be 3 finite numbers"),
        ([1, np.nan, 2], "weights must be 3 finite numbers"),
        ([0, 0, 0], "weights must not all be 0"),
    ],
)
def test_bad_weights_are_refused(weights: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WeightedPrompts(["a", "b", "c"], weights)


def test_curriculum_moves_to_what_succeeds_half_of_the_time() -> None:
    source = CurriculumPrompts(["never", "half", "always"], threshold=1.0, rate=0.2, floor=0.05)
    for _ in range(100):
        source.observe("never", 0.0)
        source.observe("always", 1.0)
        source.observe("half", 1.0)
        source.observe("half", 0.0)
    np_random = np.random.default_rng(0)
    drawn = [source.draw(np_random).text for _ in range(1000)]
    # Weights: the floor, 4 p (1 - p) with p close to 1/2, the floor.
    assert drawn.count("half") / 1000 == pytest.approx(1 / 1.1, abs=0.03)
    assert drawn.count("never") > 0
    assert drawn.count("always") > 0


def test_curriculum_rate_worked_by_hand() -> None:
    source = CurriculumPrompts(["a", "b"], threshold=2.0, rate=0.5)
    source.observe("a", 2.0)  # a success: 0.5 + 0.5 * (1 - 0.5)
    source.observe("a", 1.9)  # a failure: 0.75 - 0.5 * 0.75
    assert source.success_rates == [0.375, 0.5]
    source.restart()
    assert source.success_rates == [0.5, 0.5]


@pytest.mark.parametrize("vector", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_environment_tells_the_curriculum_what_was_paid_in_the_end(
    vector: bool, wrapped: bool
) -> None:
    source = CurriculumPrompts(["a"], threshold=3.0, rate=1.0)
    arguments = {"tokenizer": text_gym.CharTokenizer(), "reward_function": lambda p, c: 0.0}
    if vector:
        env: Any = envs(1, source, reward_function=arguments["reward_function"])
        env = text_gym.wrappers.vector.Feedback(env, lambda p, c: 3.0) if wrapped else env
    else:
        env = TextGenEnv(source, **arguments)
        env = text_gym.wrappers.Feedback(env, lambda p, c: 3.0) if wrapped else env
    env.reset(seed=0)
    eos = env.unwrapped.tokenizer.eos_token_id
    env.step(np.array([eos]) if vector else eos)
    assert env.unwrapped.task.source.success_rates == [1.0 if wrapped else 0.0]
    assert source.success_rates == [0.5]


@pytest.mark.parametrize("name", ["rate", "floor"])
@pytest.mark.parametrize("value", [0.0, 1.1])
def test_bad_curriculum_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be in \(0, 1\], got {value}"):
        CurriculumPrompts(["a"], threshold=1.0, **{name: value})


def test_groups_of_none_are_refused() -> None:
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        GroupedPrompts(["a"], 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: EpochPrompts(LETTERS),
        lambda: GroupedPrompts(EpochPrompts(LETTERS), 3),
        lambda: CurriculumPrompts(LETTERS, threshold=1.0),
        lambda: UniformPrompts(LETTERS),
    ],
    ids=["epochs", "groups", "curriculum", "uniform"],
)
def test_restored_source_goes_on_as_if_never_stopped(make: Any) -> None:
    source, np_random = make(), np.random.default_rng(3)
    for _ in range(5):
        source.observe(source.draw(np_random).text, 1.0)
    state, random_state = source.get_state(), np_random.bit_generator.state
    expected = [source.draw(np_random) for _ in range(20)]
    restored, other = make(), np.random.default_rng()
    restored.set_state(state)
    other.bit_generator.state = random_state
    assert [restored.draw(other) for _ in range(20)] == expected


def test_prompt_id_names_a_listed_prompt() -> None:
    env = TextGenEnv(LETTERS, text_gym.CharTokenizer())
    observation, info = env.reset(options={"prompt_id": 3})
    assert env.tokenizer.decode(observation["input_ids"][:1]) == "d"
    assert info["prompt_id"] == 3
    vector = envs(3, LETTERS)
    observations, infos = vector.reset(options={"prompt_id": np.array([2, 0, 1])})
    assert vector.tokenizer.decode(observations["input_ids"][:, 0]) == "cab"
    assert infos["prompt_id"].tolist() == [2, 0, 1]
    observations, _ = vector.reset(options={"prompt_id": 7})
    assert vector.tokenizer.decode(observations["input_ids"][:, 0]) == "hhh"


@pytest.mark.parametrize(
    "make",
    [
        lambda: EpochPrompts(LETTERS),
        lambda: GroupedPrompts(EpochPrompts(LETTERS), 3),
        lambda: CurriculumPrompts(LETTERS, threshold=1.0),
    ],
    ids=["epochs", "groups", "curriculum"],
)
@pytest.mark.parametrize("vector", [False, True])
def test_environments_given_one_source_do_not_disturb_each_other(make: Any, vector: bool) -> None:
    def env(source: Any) -> Any:
        return envs(2, source) if vector else TextGenEnv(source, text_gym.CharTokenizer())

    def drawn(env: Any, meanwhile: Any) -> list[list[int]]:
        ids = [env.reset(seed=0)[1]["prompt_id"]]
        for seed in range(8):
            meanwhile(seed)
            ids.append(env.reset()[1]["prompt_id"])
        return [np.atleast_1d(one).tolist() for one in ids]

    source = make()
    training, test = env(source), env(source)
    alone = drawn(env(make()), lambda seed: None)
    assert drawn(training, lambda seed: test.reset(seed=seed)) == alone


@pytest.mark.parametrize("prompt_id", [8, -1, 1.0, "a", True])
def test_prompt_id_that_is_no_place_in_the_list_is_refused(prompt_id: Any) -> None:
    env = TextGenEnv(LETTERS, text_gym.CharTokenizer())
    with pytest.raises(ValueError, match="must be an integer below the 8 listed prompts"):
        env.reset(options={"prompt_id": prompt_id})


def test_prompt_id_needs_listed_prompts_and_excludes_a_prompt() -> None:
    env = TextGenEnv(lambda np_random: "a", text_gym.CharTokenizer(), max_prompt_tokens=3)
    with pytest.raises(ValueError, match="below the 0 listed prompts"):
        env.reset(options={"prompt_id": 0})
    with pytest.raises(ValueError, match="'prompt' or 'prompt_id', got both"):
        env.reset(options={"prompt_id": 0, "prompt": "a"})


@pytest.mark.parametrize("prompts", [UniformPrompts(["a"]), lambda np_random: "a"])
def test_sampling_is_refused_where_the_source_decides(prompts: Any) -> None:
    with pytest.raises(ValueError, match="sampling must be None where prompts is a callable"):
        as_prompt_source(prompts, "without_replacement")


def test_naming_a_prompt_draws_nothing() -> None:
    env = gym.make("TextGen-v0", prompts=LETTERS, tokenizer=text_gym.CharTokenizer())
    env.reset(seed=0)
    env.reset(options={"prompt": "zz"[:1]})
    after = env.reset()[0]["input_ids"][0]
    env.reset(seed=0)
    assert env.reset()[0]["input_ids"][0] == after
    assert Prompt("a") == Prompt("a", info={"prompt_id": 4})


def test_one_prompt_takes_nothing_from_the_stream() -> None:
    np_random, other = np.random.default_rng(3), np.random.default_rng(3)
    np_random.integers(5, dtype=np.int32)  # leaves half of a number behind
    other.integers(5, dtype=np.int32)
    assert UniformPrompts(["only"]).draw(np_random).text == "only"
    assert other.integers(1) == 0
    assert np_random.bit_generator.state == other.bit_generator.state


def test_a_source_tells_whether_it_learns() -> None:
    assert not UniformPrompts(LETTERS).learns
    assert CurriculumPrompts(LETTERS, threshold=1.0).learns
    assert GroupedPrompts(CurriculumPrompts(LETTERS, threshold=1.0), 2).learns


def test_a_task_draws_from_another_source_whose_prompts_fit() -> None:
    envs: Any = gym.make_vec("TextGen/CountingUp-v0", num_envs=4).unwrapped
    envs.task.draw_from(EpochPrompts(["7", "8"]))
    prompts = [str(envs.tokenizer.decode([ids[0]])) for ids in envs.reset(seed=0)[0]["input_ids"]]
    assert sorted(prompts[:2]) == sorted(prompts[2:]) == ["7", "8"]
    with pytest.raises(ValueError, match=r"1 to max_prompt_tokens=1 tokens, got 2 in '78'"):
        envs.task.draw_from(["78"])
    assert [one.text for one in envs.task.source.prompts] == ["7", "8"]
