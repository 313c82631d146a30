"""The reference's log-probs as reward, and what they do with an entropy bonus, exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv
from text_gym.exact import solve
from text_gym.wrappers import ReferenceLogProb, vector

A, B, EOS = range(3)
TOKENIZER = CharTokenizer("ab")
BETA = 0.7
State = tuple[int, ...]


def log_softmax(logits: Any) -> np.ndarray:
    logits = np.asarray(logits, dtype=np.float64)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def reference(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A policy that depends on the whole text before the length."""
    keys = [
        sum((i + 1.3) * (t + 1) for i, t in enumerate(ids[:n]))
        for ids, n in zip(input_ids.tolist(), lengths.tolist(), strict=True)
    ]
    return log_softmax([[np.sin(2 * k), np.cos(k), np.sin(k + 1)] for k in keys])


def reward_of(prompt: str, completion: str) -> float:
    return {"": 0.3, "a": -1.0, "b": 0.9}.get(completion, 0.4 * completion.count("a") - 0.2)


def task_of(**arguments: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["b"],
        "tokenizer": TOKENIZER,
        "reward_function": reward_of,
        "max_new_tokens": 3,
    }
    return {**defaults, **arguments}


class Tree:
    """Every state of the task with the rewards that the wrapped environment paid."""

    def __init__(self, limit: int = 3, reward: Any = reward_of, policy: Any = reference) -> None:
        self.env = ReferenceLogProb(
            TextGenEnv(**task_of(max_new_tokens=limit, reward_function=reward)), policy, BETA
        )
        self.limit = limit
        self.rewards: dict[State, float] = {}
        self.reference: dict[State, float] = {}
        self._visit(())

    def _visit(self, state: State) -> None:
        for token in range(3):
            path = (*state, token)
            self.env.reset(seed=0)
            _, reward, terminated, _, info = [self.env.step(t) for t in path][-1]
            self.rewards[path] = reward
            self.reference[path] = info["reward_components"]["reference"] / BETA
            if not terminated:
                self._visit(path)

    def is_open(self, state: State) -> bool:
        return (*state, A) in self.rewards

    @property
    def completions(self) -> list[State]:
        return [path for path in self.rewards if not self.is_open(path)]

    def along(self, values: dict[State, float], path: State) -> float:
        return sum(values[path[: i + 1]] for i in range(len(path)))

    def solve(self, value_of: Callable[[np.ndarray], float]) -> tuple[float, dict[State, float]]:
        """Go backwards with π ∝ exp(Q/β) and V = value_of(Q); return V(start), log π."""
        log_policy: dict[State, float] = {}

        def value(state: State) -> float:
            if not self.is_open(state):
                return 0.0
            paths = [(*state, token) for token in range(3)]
            q = np.array([self.rewards[path] + value(path) for path in paths])
            log_policy.update(zip(paths, log_softmax(q / BETA).tolist(), strict=True))
            return value_of(q)

        return value(()), log_policy

    def policy(self, log_policy: dict[State, float]) -> Any:
        """Return a policy by states as a function of token ids."""

        def log_probs(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
            states = [tuple(ids[1:n]) for ids, n in zip(input_ids.tolist(), lengths, strict=True)]
            return np.array([[log_policy[(*s, token)] for token in range(3)] for s in states])

        return log_probs

    def objective(self, log_policy: dict[State, float]) -> float:
        """E[R] − β·KL(π‖π₀), by summing over completions."""
        total = 0.0
        for path in self.completions:
            log_p, log_p0 = self.along(log_policy, path), self.along(self.reference, path)
            reward = self.along(self.rewards, path) - BETA * log_p0
            total += np.exp(log_p) * (reward - BETA * (log_p - log_p0))
        return total


def soft(q: np.ndarray) -> float:
    """The value with the entropy of this state and, by induction, of all that follow."""
    return BETA * float(np.log(np.exp(q / BETA).sum()))


def myopic(q: np.ndarray) -> float:
    """The value that a critic of rewards alone learns under π ∝ exp(Q/β)."""
    return float(np.exp(log_softmax(q / BETA)) @ q)


# What is paid


def test_a_text_is_paid_beta_times_its_log_probability() -> None:
    tree = Tree()
    assert len(tree.completions) == 15
    log_p0 = {path: tree.along(tree.reference, path) for path in tree.completions}
    assert sum(np.exp(list(log_p0.values()))) == pytest.approx(1.0)
    for path, log_prob in log_p0.items():
        feedback = reward_of("b", TOKENIZER.decode(path))
        paid = tree.along(tree.rewards, path)
        assert paid == pytest.approx(feedback + BETA * log_prob)
    first = reference(np.array([[B]]), np.array([1]))[0]
    assert [tree.reference[(token,)] for token in range(3)] == pytest.approx(first)


@pytest.mark.parametrize("autoreset", list(AutoresetMode), ids=lambda mode: mode.name)
def test_the_reference_sees_the_state_before_the_token_of_rows_being_written(
    autoreset: AutoresetMode,
) -> None:
    seen = []

    def spy(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        assert input_ids.dtype == np.int64
        seen.append([ids[:n] for ids, n in zip(input_ids.tolist(), lengths.tolist(), strict=True)])
        assert not any(ids[n:].any() for ids, n in zip(input_ids, lengths, strict=True))
        return np.full((len(lengths), 3), -np.log(3))

    envs = vector.ReferenceLogProb(
        TextGenVectorEnv(2, autoreset_mode=autoreset, **task_of(limit="truncate")), spy
    )
    envs.reset(seed=0)
    for actions in ([A, EOS], [B, A], [B, B], [A, A]):
        envs.step(np.array(actions))
    row_0 = [[B], [B, A], [B, A, B]]
    expected = {
        AutoresetMode.DISABLED: [[row_0[0], [B]], [row_0[1]], [row_0[2]]],
        AutoresetMode.NEXT_STEP: [[row_0[0], [B]], [row_0[1]], [row_0[2], [B]], [[B, B]]],
        AutoresetMode.SAME_STEP: [
            [row_0[0], [B]],
            [row_0[1], [B]],
            [row_0[2], [B, A]],
            [[B], [B, A, B]],
        ],
    }
    assert seen == expected[autoreset]


# With an entropy bonus


def test_with_the_entropy_of_all_states_the_optimum_is_that_of_the_kl_objective() -> None:
    tree = Tree()
    value, log_policy = tree.solve(soft)
    exponents = [
        tree.along(tree.reference, path) + reward_of("b", TOKENIZER.decode(path)) / BETA
        for path in tree.completions
    ]
    assert value == pytest.approx(BETA * np.log(np.exp(exponents).sum()))
    assert tree.objective(log_policy) == pytest.approx(value)
    tilted = np.exp(exponents) / np.exp(exponents).sum()
    policy = [np.exp(tree.along(log_policy, path)) for path in tree.completions]
    assert policy == pytest.approx(tilted)


def test_the_usual_bonus_stops_short_of_the_optimum() -> None:
    tree = Tree()
    optimum, _ = tree.solve(soft)
    _, log_policy = tree.solve(myopic)
    regret = optimum - tree.objective(log_policy)
    assert 0.01 < regret < 1.0


def test_the_exact_solver_measures_the_same_regret() -> None:
    tree = Tree()
    solution = solve(TextGenEnv(**task_of()))
    optimum, log_policy = tree.solve(soft)
    assert solution.soft_optimum(reference, BETA).value == pytest.approx(optimum)
    assert solution.regret(tree.policy(log_policy), reference, BETA) == pytest.approx(0, abs=1e-9)
    _, log_policy = tree.solve(myopic)
    regret = solution.regret(tree.policy(log_policy), reference, BETA)
    assert regret == pytest.approx(optimum - tree.objective(log_policy))


def test_with_one_step_per_text_the_usual_bonus_is_exact() -> None:
    tree = Tree(limit=1)
    optimum, exact = tree.solve(soft)
    _, log_policy = tree.solve(myopic)
    assert log_policy == pytest.approx(exact)
    assert tree.objective(log_policy) == pytest.approx(optimum)


def test_without_a_reward_the_usual_bonus_leaves_the_reference_for_predictable_texts() -> None:
    """By hand: π(a) ∝ π₀(a)·exp(−H(π₀(·|a))), where a text that ends has no entropy to come."""

    def zero(prompt: str, completion: str) -> float:
        return 0.0

    tree = Tree(limit=2, reward=zero)
    _, soft_policy = tree.solve(soft)
    assert soft_policy == pytest.approx(tree.reference)
    _, log_policy = tree.solve(myopic)
    entropies = []
    for token in (A, B):
        log_probs = np.array([tree.reference[(token, then)] for then in range(3)])
        entropies.append(float(-np.exp(log_probs) @ log_probs))
    first = np.array([tree.reference[(token,)] for token in range(3)])
    expected = log_softmax(first - [*entropies, 0.0])
    assert [log_policy[(token,)] for token in range(3)] == pytest.approx(expected)
    assert np.exp(log_policy[(EOS,)]) > 1.5 * np.exp(first[EOS])
    assert tree.objective(log_policy) < -0.05


# A reference that errs


@pytest.mark.parametrize(
    ("log_probs", "message"),
    [
        (lambda ids, n: np.zeros(3), r"must return shape \(1, V\), received \(3,\)"),
        (lambda ids, n: np.zeros((2, 3)), r"must return shape \(1, V\), received \(2, 3\)"),
        (lambda ids, n: np.zeros((1, 3)), r"normalised log-probabilities .* sum to \[3"),
        (lambda ids, n: np.full((1, 3), 1e6), "normalised log-probabilities"),
        (lambda ids, n: np.full((1, 3), np.nan), "normalised log-probabilities"),
        (
            lambda ids, n: np.array([[-np.inf, np.log(0.5), np.log(0.5)]]),
            "finite at every token that is written .* received -inf at token 0",
        ),
    ],
    ids=["one row too few dims", "rows", "logits", "large logits", "nan", "impossible token"],
)
def test_what_is_not_log_probs_is_refused(log_probs: Any, message: str) -> None:
    env = ReferenceLogProb(TextGenEnv(**task_of()), log_probs)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(A)


def test_a_masked_reference_may_exclude_tokens_that_are_not_written() -> None:
    def masked(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return np.tile([np.log(0.5), -np.inf, np.log(0.5)], (len(lengths), 1))

    env = ReferenceLogProb(TextGenEnv(**task_of()), masked, beta=2.0)
    env.reset(seed=0)
    assert env.step(A)[1] == pytest.approx(2 * np.log(0.5))


def test_the_observation_is_left_alone() -> None:
    envs = vector.ReferenceLogProb(TextGenVectorEnv(2, copy=False, **task_of()), reference)
    envs.reset(seed=0)
    observations = envs.step(np.array([B, B]))[0]
    assert observations["input_ids"].tolist() == [[B, B, 0, 0]] * 2
