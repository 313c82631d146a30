"""The toy tasks: their optimum is the one they state, and they are at home in Gymnasium."""

from __future__ import annotations

import json
import pickle
from collections import deque
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from text_gym import Episode, TextGenEnv, TextGenVectorEnv
from text_gym.exact import solve
from text_gym.rewards import RewardError
from text_gym.tasks import OPTIMAL_RETURN, TOY_TASKS
from text_gym.tasks.balanced_brackets import BalancedLength, is_balanced
from text_gym.tasks.position_match import PositionMatch
from text_gym.tasks.random_walk import WalkOptimality, random_graph, shortest_walks

every_task = pytest.mark.parametrize("name", TOY_TASKS)

SMALL: dict[str, dict[str, Any]] = {
    "BalancedBrackets": {"max_new_tokens": 5, "depth": 2},
    "Copying": {"length": 2, "symbols": 3},
    "CountingUp": {"length": 3},
    "RandomWalk": {"n_nodes": 5, "max_length": 5, "edge_probability": 0.3},
    "Reversing": {"length": 3, "symbols": 2},
    "Sorting": {"length": 3, "symbols": 3},
    "WordCount": {"max_new_tokens": 3},
}
LARGE: dict[str, dict[str, Any]] = {
    "BalancedBrackets": {"max_new_tokens": 49, "depth": 5},
    "Copying": {"length": 12, "symbols": 2},
    "CountingUp": {"length": 9},
    "RandomWalk": {"n_nodes": 26, "max_length": 20, "graph_seed": 3},
    "Reversing": {"length": 1, "symbols": 26},
    "Sorting": {"length": 7, "symbols": 3},
    "WordCount": {"max_new_tokens": 49},
}
SIZES = {"default": {name: {} for name in TOY_TASKS}, "small": SMALL, "large": LARGE}


# Policies that know the task, written without looking at its reward


class Scripted:
    """Writes a completion that it decides on when it sees the prompt."""

    def __init__(self, env: Any) -> None:
        self.tokenizer = env.unwrapped.tokenizer
        self.limit = env.unwrapped.task.max_new_tokens
        self.reward = env.unwrapped.task.reward_function

    def __call__(self, observation: dict[str, Any], info: dict[str, Any]) -> deque[int]:
        prompt = self.tokenizer.decode(observation["input_ids"][: info["prompt_length"]].tolist())
        written = self.tokenizer.encode(self.write(prompt))
        return deque([*written, self.tokenizer.eos_token_id][: self.limit])

    def write(self, prompt: str) -> str:
        raise NotImplementedError


class Copy(Scripted):
    def write(self, prompt: str) -> str:
        return prompt


class Reverse(Scripted):
    def write(self, prompt: str) -> str:
        return "".join(reversed(prompt))


class Sort(Scripted):
    def write(self, prompt: str) -> str:
        return "".join(letter * prompt.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz")


class CountUp(Scripted):
    def write(self, prompt: str) -> str:
        return "".join(str(int(prompt) + i) for i in range(1, self.limit))


class Bracket(Scripted):
    """Opens and closes pairs while there is room, then closes what the prompt opened."""

    def write(self, prompt: str) -> str:
        pairs = (self.limit - len(prompt)) // 2
        closing = {"(": ")", "[": "]"}
        return "()" * pairs + "".join(closing[bracket] for bracket in reversed(prompt))


class Chatter(Scripted):
    def write(self, prompt: str) -> str:
        return " ".join(["fine"] * self.limit)


class Walk(Scripted):
    """Relaxes distances to the goal over all edges, and goes downhill."""

    def write(self, prompt: str) -> str:
        graph = self.reward.graph
        distance = {node: 0.0 if node == "a" else float("inf") for node in graph}
        for _ in graph:
            for node, after in graph.items():
                for other in after:
                    distance[node] = min(distance[node], distance[other] + 1)
        walk = prompt
        while walk[-1] != "a":
            walk += min(graph[walk[-1]], key=lambda node: distance[node])
        return walk[1:]


POLICIES: dict[str, type[Scripted]] = {
    "BalancedBrackets": Bracket,
    "Copying": Copy,
    "CountingUp": CountUp,
    "RandomWalk": Walk,
    "Reversing": Reverse,
    "Sorting": Sort,
    "WordCount": Chatter,
}


def make(name: str, **parameters: Any) -> Any:
    return gym.make(f"TextGen/{name}-v0", **parameters)


# The optimum


@every_task
@pytest.mark.parametrize("size", SIZES)
def test_a_policy_that_knows_the_task_has_the_stated_return_from_every_prompt(
    name: str, size: str
) -> None:
    env = make(name, **SIZES[size][name])
    policy = POLICIES[name](env)
    prompts = env.unwrapped.task.source.prompts
    for prompt_id in range(0, len(prompts), max(1, len(prompts) // 50)):
        observation, info = env.reset(options={"prompt_id": prompt_id})
        actions = policy(observation, info)
        total, ended = 0.0, False
        while not ended:
            _, reward, terminated, truncated, info = env.step(actions.popleft())
            total += reward
            ended = terminated or truncated
        assert not truncated
        assert total == env.unwrapped.optimal_return
    assert env.unwrapped.optimal_return == OPTIMAL_RETURN == env.spec.reward_threshold


@every_task
def test_no_completion_of_any_prompt_is_worth_more(name: str) -> None:
    env = make(name, **SMALL[name])
    for prompt_id in range(len(env.unwrapped.task.source.prompts)):
        solution = solve(env, prompt_id=prompt_id)
        assert solution.optimal_return == env.unwrapped.optimal_return
        assert min(table.min() for table in solution.rewards) >= 0
        uniform = solution.evaluate(solution.uniform_policy)
        assert 0 < uniform.expected_reward < 0.7  # neither hopeless nor solved at the start


@pytest.mark.parametrize("name", sorted(set(TOY_TASKS) - {"RandomWalk"}))
def test_the_default_size_can_be_solved_exactly(name: str) -> None:
    env = make(name)
    assert solve(env, prompt_id=0, max_completions=120_000).optimal_return == 1.0


@pytest.mark.parametrize("name", ["CountingUp", "Copying", "Reversing", "Sorting"])
def test_there_is_one_right_completion(name: str) -> None:
    env = make(name, **SMALL[name])
    policy = POLICIES[name](env)
    for prompt_id in range(len(env.unwrapped.task.source.prompts)):
        observation, info = env.reset(options={"prompt_id": prompt_id})
        written = tuple(policy(observation, info))
        assert solve(env, prompt_id=prompt_id).optimal_completions() == [written]


def test_all_prompts_are_there() -> None:
    def prompts_of(name: str, **parameters: Any) -> list[str]:
        return [prompt.text for prompt in make(name, **parameters).unwrapped.task.source.prompts]

    assert prompts_of("CountingUp") == ["0", "1", "2", "3", "4", "5"]
    assert len(set(prompts_of("Copying"))) == 4**4
    assert prompts_of("Sorting", length=2, symbols=2) == ["aa", "ab", "ba", "bb"]
    assert prompts_of("BalancedBrackets", depth=2) == ["(", "[", "((", "([", "[(", "[["]
    assert prompts_of("RandomWalk", n_nodes=4, edge_probability=0.5) == ["b", "c", "d"]
    assert prompts_of("WordCount") == ["and you?"]


# The rewards


def rewards_of(reward: Any, prompt: str, *completions: str, reference: str | None = None) -> Any:
    episodes = [Episode.from_text(prompt, text, reference=reference) for text in completions]
    return reward(episodes).tolist()


def test_a_match_is_counted_by_position_to_the_end_of_the_longer_text() -> None:
    texts = ["abc", "", "a", "bca", "abcd", "xbc", "abcabc"]
    assert rewards_of(PositionMatch(), "", *texts, reference="abc") == pytest.approx(
        [1, 0, 1 / 3, 0, 3 / 4, 2 / 3, 1 / 2]
    )
    for reference in (None, ""):
        with pytest.raises(ValueError, match="reference must be a text with something in it"):
            rewards_of(PositionMatch(), "", "abc", reference=reference)


def test_a_prompt_of_ones_own_needs_its_answer() -> None:
    env = make("Sorting", length=2)
    env.reset(options={"prompt": {"prompt": "dc", "reference": "cd"}})
    assert [env.step(token)[1] for token in (2, 3, 4)] == [0, 0, 1]
    env.reset(options={"prompt": "dc"})
    with pytest.raises(RewardError, match="reference must be a text"):
        env.step(4)


@pytest.mark.parametrize(
    ("text", "balanced"),
    [("", True), ("()", True), ("([()])[]", True), (")(", False), ("([)]", False), ("((", False)],
)
def test_brackets_are_balanced_if_each_is_closed_by_its_kind_in_order(
    text: str, balanced: bool
) -> None:
    assert is_balanced(text) is balanced


def test_balanced_completions_are_paid_by_length() -> None:
    reward = BalancedLength(6)
    assert rewards_of(reward, "(", ")", ")()", ")()()", "]", "", ")]") == pytest.approx(
        [1 / 5, 3 / 5, 1, 0, 0, 0]
    )
    assert rewards_of(reward, "([", "])", "])()()") == pytest.approx([1 / 3, 1])


def test_walks_are_paid_by_shortness() -> None:
    graph = {"a": "", "b": "ac", "c": "b", "d": "c"}
    assert shortest_walks(graph) == {"a": 1, "b": 2, "c": 3, "d": 4}
    reward = WalkOptimality(graph, max_length=6)
    walks = ["ba", "bcba", "a", "b", "cba", "", "bc"]
    assert rewards_of(reward, "c", *walks) == pytest.approx([1, 1 / 3, 0, 0, 0, 0, 0])
    assert rewards_of(reward, "d", "cba", "cbcba") == pytest.approx([1, 0])


@pytest.mark.parametrize("seed", range(5))
def test_the_goal_is_near_enough_to_every_node(seed: int) -> None:
    lengths = shortest_walks(random_graph(8, 4, 0.2, seed))
    assert len(lengths) == 8
    assert max(lengths.values()) < 4


def test_a_walk_ends_when_it_has_its_most_nodes() -> None:
    env = make("RandomWalk", n_nodes=3, max_length=4, edge_probability=0.5)
    env.reset(options={"prompt": "c"})
    steps = [env.step(token)[1:4] for token in (1, 2, 1)]
    assert steps == [(0, False, False), (0, False, False), (0, True, False)]


def test_the_goal_ends_a_walk() -> None:
    env = make("RandomWalk", n_nodes=2, max_length=4, edge_probability=0.9)
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step(0)
    assert (reward, terminated, truncated, info["stop_reason"]) == (1.0, True, False, "stop")


def test_the_graph_is_the_same_every_time_and_another_for_another_seed() -> None:
    assert random_graph(21, 10, 0.1, 0) == random_graph(21, 10, 0.1, 0)
    assert random_graph(21, 10, 0.1, 0) != random_graph(21, 10, 0.1, 1)
    graph = random_graph(21, 10, 0.1, 0)
    assert graph["a"] == ""
    assert not any(node in after for node, after in graph.items())
    assert 20 < sum(map(len, graph.values())) < 65  # 400 places for an edge at 0.1: 40 ± 6
    assert max(shortest_walks(graph).values()) < 10


# Gymnasium


@every_task
def test_gymnasium_and_sb3_find_no_fault(name: str) -> None:
    env = make(name)
    check_env(env.unwrapped, skip_render_check=False)
    check_env_for_sb3(env.unwrapped)


@every_task
def test_the_passive_checker_finds_no_fault_in_whole_episodes(name: str) -> None:
    env = make(name)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    for _ in range(60):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert observation in env.observation_space
        assert 0 <= reward <= 1
        if terminated or truncated:
            env.reset()


@every_task
def test_its_spec_round_trips_through_json_and_pickle(name: str) -> None:
    env = make(name, **SMALL[name])
    assert isinstance(env.unwrapped, TextGenEnv)
    for spec in (EnvSpec.from_json(env.spec.to_json()), pickle.loads(pickle.dumps(env.spec))):
        assert spec == env.spec
        assert spec.reward_threshold == 1.0
        again = gym.make(spec)
        assert again.observation_space == env.observation_space
        assert again.action_space == env.action_space
    assert json.loads(env.spec.to_json())["kwargs"] == {"name": name, **SMALL[name]}


@every_task
def test_the_native_vector_is_step_for_step_the_synchronous_one(name: str) -> None:
    task = f"TextGen/{name}-v0"
    native = gym.make_vec(task, num_envs=3, **SMALL[name])
    sync = gym.make_vec(task, num_envs=3, vectorization_mode="sync", **SMALL[name])
    assert isinstance(native, TextGenVectorEnv)
    assert isinstance(sync, SyncVectorEnv)
    assert native.unwrapped.optimal_return == 1.0
    assert native.spec.reward_threshold == 1.0
    native.action_space.seed(0)
    ours, theirs = native.reset(seed=0), sync.reset(seed=0)
    for _ in range(40):
        np.testing.assert_array_equal(ours[0]["input_ids"], theirs[0]["input_ids"])
        actions = native.action_space.sample()
        ours, theirs = native.step(actions), sync.step(actions)
        for mine, other in zip(ours[1:4], theirs[1:4], strict=True):
            np.testing.assert_array_equal(mine, other)


def test_the_vector_takes_what_the_native_vector_takes() -> None:
    envs = gym.make_vec(
        "TextGen/Copying-v0", num_envs=2, autoreset_mode="SameStep", copy=False, length=2
    )
    assert envs.metadata["autoreset_mode"].value == "SameStep"
    assert envs.single_observation_space["input_ids"].shape == (2 + 3,)
    assert not envs.reset(seed=0)[0]["input_ids"].flags.writeable


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("CountingUp", {"length": 0}, "length must be from 1 to 9, got 0"),
        ("CountingUp", {"length": 10}, "length must be from 1 to 9, got 10"),
        ("Copying", {"length": 0}, "length must be at least 1, got 0"),
        ("Reversing", {"symbols": 27}, "symbols must be from 1 to 26, got 27"),
        (
            "Sorting",
            {"length": 9},
            r"symbols\*\*length must be at most 100,000 prompts, got 4\*\*9",
        ),
        ("BalancedBrackets", {"depth": 11}, "depth must be from 1 to 10, got 11"),
        ("BalancedBrackets", {"max_new_tokens": 2}, "max_new_tokens must be at least 3, got 2"),
        ("WordCount", {"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ("RandomWalk", {"n_nodes": 1}, "n_nodes must be from 2 to 26, got 1"),
        ("RandomWalk", {"max_length": 2}, "max_length must be at least 3, got 2"),
        ("RandomWalk", {"edge_probability": 0.0}, "no such graph in 1,000 draws"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_rule_and_value(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, **parameters)


def test_a_task_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"name must be one of .*'Sorting'.*, got 'Chess'"):
        gym.make("TextGen/Sorting-v0", name="Chess")
