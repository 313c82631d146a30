"""The exact solver against brute force in plain Python, identities, limits and sampling."""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text_gym import CharTokenizer, Episode, TextGenEnv, TextGenVectorEnv
from text_gym.constraints import BannedStrings, BannedTokens, EndsWith, MinimumLength
from text_gym.exact import RewardDistribution, Solution, count_completions, policy_of_weights, solve
from text_gym.exact.best_of_n import best_of_n, log_best_probs
from text_gym.exact.reward_distribution import frontier, reward_distribution
from text_gym.exact.tree import grow
from text_gym.rewards import RewardError
from text_gym.task import TextTask
from text_gym.wrappers import Constrain, Feedback, RemainingTokens

A, B, C, EOS = range(4)
LETTERS = CharTokenizer("abc")
Text = tuple[int, ...]


class WithHoles(CharTokenizer):
    """A vocabulary in which the letter c stands for no text."""

    def __init__(self) -> None:
        super().__init__("abc")
        self.excluded_token_ids = frozenset({C})


def paid(prompt: str, completion: str) -> float:
    """A reward with ties, of both signs."""
    return 1.5 * completion.count("ab") - 0.5 * completion.count("c") + (completion == "b")


TASKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one token": {"max_new_tokens": 1},
    "stop tokens": {"stop_token_ids": [B]},
    "truncating": {"limit": "truncate"},
    "holes": {"tokenizer": WithHoles()},
    "constant reward": {"reward_function": lambda prompt, completion: 0.25},
}


def arguments_of(name: str) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "prompts": ["ca"],
        "tokenizer": LETTERS,
        "reward_function": paid,
        "max_new_tokens": 4,
    }
    return {**defaults, **TASKS[name]}


class Brute:
    """Every completion of a task, by trying all sequences of tokens; floats and dicts only."""

    def __init__(self, name: str = "plain", **arguments: Any) -> None:
        task = {**arguments_of(name), **arguments}
        self.limit = task["max_new_tokens"]
        self.tokens = [t for t in range(4) if t not in task["tokenizer"].excluded_token_ids]
        self.enders = {EOS, *task.get("stop_token_ids", ())}
        truncates = task.get("limit") == "truncate"
        self.rewards: dict[Text, float] = {}
        for length in range(1, self.limit + 1):
            for text in itertools.product(self.tokens, repeat=length):
                ended = text[-1] in self.enders
                if any(token in self.enders for token in text[:-1]) or not (
                    ended or length == self.limit
                ):
                    continue
                letters = "".join("abc"[token] for token in text if token != EOS)
                reward = task["reward_function"]("ca", letters)
                self.rewards[text] = 0.0 if truncates and not ended else reward
        self.states = {text[:i] for text in self.rewards for i in range(len(text))}

    def probability(self, policy: int, text: Text) -> float:
        chance = 1.0
        for i, token in enumerate(text):
            odds = {t: math.exp(plain_logit(policy, text[:i], t)) for t in self.tokens}
            chance *= odds[token] / sum(odds.values())
        return chance

    def distribution(self, policy: int) -> dict[Text, float]:
        return {text: self.probability(policy, text) for text in self.rewards}

    def mean(self, chances: dict[Text, float]) -> float:
        return sum(chance * self.rewards[text] for text, chance in chances.items())


def plain_logit(policy: int, written: Text, token: int) -> float:
    key = sum((t + 1.7) * (i + 1) for i, t in enumerate((C, A, *written)))
    return 1.5 * math.sin(key * (policy + 1) + 2.3 * token)


def divergence(p: dict[Text, float], q: dict[Text, float]) -> float:
    return sum(chance * math.log(chance / q[text]) for text, chance in p.items())


def policy_of(number: int) -> Any:
    """The policy of `plain_logit`, as the solver takes it; padding must not be read."""

    def log_probs(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        assert input_ids.dtype == np.int64
        rows = []
        for ids, length in zip(input_ids.tolist(), lengths.tolist(), strict=True):
            assert ids[:2] == [C, A]
            logits = [plain_logit(number, tuple(ids[2:length]), token) for token in range(4)]
            total = math.log(sum(map(math.exp, logits)))
            rows.append([logit - total for logit in logits])
        return np.array(rows)

    return log_probs


def solution_of(name: str = "plain", **arguments: Any) -> Solution:
    return solve(TextGenEnv(**{**arguments_of(name), **arguments}))


def states_of(solution: Solution) -> Iterator[tuple[int, int, Text]]:
    for number, depth in enumerate(solution.tree.depths):
        for row, tokens in enumerate(depth.tokens.tolist()):
            yield number, row, tuple(tokens)


SOLUTION = solution_of()
REFERENCE = SOLUTION.tabulate(policy_of(1))

every_task = pytest.mark.parametrize("name", TASKS)


# Enumeration


@every_task
def test_every_completion_is_enumerated_once_with_the_reward_that_the_environment_pays(
    name: str,
) -> None:
    brute, solution = Brute(name), solution_of(name)
    env = TextGenEnv(**arguments_of(name))
    found = {}
    for batch in solution.tree.completions(chunk=5):
        for row, ids in zip(batch.rows.tolist(), batch.token_ids.tolist(), strict=True):
            assert tuple(ids) not in found
            found[tuple(ids)] = solution.rewards[batch.depth][row, ids[-1]]
    assert found == brute.rewards
    assert solution.n_completions == len(brute.rewards)
    assert {state for _, _, state in states_of(solution)} == brute.states
    assert solution.n_states == len(brute.states)
    for text, reward in found.items():
        env.reset()
        steps = [env.step(token) for token in text]
        assert steps[-1][1] == reward
        assert [step[2] or step[3] for step in steps] == [False] * (len(text) - 1) + [True]


@every_task
def test_completions_are_counted_beforehand(name: str) -> None:
    task = TextTask(**arguments_of(name))
    allowed = np.ones(4, np.bool_) if task.action_mask is None else task.action_mask == 1
    count = count_completions(task.stop_codes, allowed, task.max_new_tokens)
    assert count == len(Brute(name).rewards)


def test_the_count_is_that_worked_by_hand() -> None:
    codes = np.array([0] * 16 + [1], dtype=np.int8)
    everything = np.ones(17, dtype=np.bool_)
    assert count_completions(codes, everything, 5) == 69_905 + 16**5 == 1_118_481
    assert count_completions(np.array([0, 1]), np.ones(2, np.bool_), 3) == 4
    assert count_completions(np.array([1, 1]), np.ones(2, np.bool_), 3) == 2


def test_too_many_completions_are_refused_before_any_work(recording_reward: Any) -> None:
    reward = recording_reward()
    env = TextGenEnv(["ca"], LETTERS, reward, max_new_tokens=4)
    assert solve(env, max_completions=121).n_completions == 121
    reward.calls.clear()
    with pytest.raises(ValueError, match=r"max_completions must be .* got 120 for 121 texts"):
        solve(env, max_completions=120)
    huge = TextGenEnv(["hi"], CharTokenizer(), reward, max_new_tokens=5000)
    with pytest.raises(ValueError, match=r"got 2,000,000 for about 10\^98\d\d texts"):
        solve(huge)
    assert reward.calls == []


def test_episodes_are_those_of_the_environment() -> None:
    seen: list[Episode] = []

    def keep(episodes: Any) -> Any:
        seen.extend(episodes)
        return np.zeros(len(episodes))

    prompt = {"prompt": "ca", "reference": "b", "level": 3}
    solve(TextGenEnv([prompt], LETTERS, keep, max_new_tokens=2, stop_token_ids=[B]))
    assert {e.completion: (e.stop_reason, e.completion_ids.tolist()) for e in seen} == {
        "": ("eos", [EOS]),
        "b": ("stop", [B]),
        "a": ("eos", [A, EOS]),
        "c": ("eos", [C, EOS]),
        "aa": ("length", [A, A]),
        "ab": ("stop", [A, B]),
        "ac": ("length", [A, C]),
        "ca": ("length", [C, A]),
        "cb": ("stop", [C, B]),
        "cc": ("length", [C, C]),
    }
    assert {(e.prompt, e.reference, e.metadata["level"]) for e in seen} == {("ca", "b", 3)}
    assert seen[0].prompt_ids.tolist() == [C, A]


def test_only_one_batch_of_episodes_is_alive_at_a_time() -> None:
    alive: list[weakref.ref[Episode]] = []
    sizes: list[int] = []

    def count(episodes: Any) -> Any:
        sizes.append(len(episodes))
        assert sum(ref() is not None for ref in alive) <= 8
        alive.extend(weakref.ref(episode) for episode in episodes)
        return np.zeros(len(episodes))

    solve(TextGenEnv(["ca"], LETTERS, count, max_new_tokens=4), chunk=8)
    assert max(sizes) == 8
    assert sum(sizes) == 121


def test_a_reward_that_fails_is_blamed() -> None:
    with pytest.raises(RewardError, match="must return finite numbers"):
        solution_of(reward_function=lambda prompt, completion: math.nan)


def test_each_state_is_shown_to_a_policy_once_and_at_most_a_chunk_at_a_time() -> None:
    seen: list[Text] = []

    def spy(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        assert len(lengths) <= 7
        seen.extend(tuple(ids[:n]) for ids, n in zip(input_ids.tolist(), lengths, strict=True))
        return np.full((len(lengths), 4), -math.log(4))

    solution = solve(TextGenEnv(**arguments_of("plain")), chunk=7)
    solution.tabulate(spy)
    assert sorted(seen) == sorted((C, A, *state) for state in Brute().states)


# What is solved


def test_an_environment_a_vector_a_wrapped_one_and_a_task_are_the_same_task() -> None:
    arguments = arguments_of("stop tokens")
    tasks = [
        TextGenEnv(**arguments),
        TextGenVectorEnv(2, **arguments),
        RemainingTokens(TextGenEnv(**arguments)),
        gym.make("TextGen-v0", **arguments),
        TextTask(**arguments),
    ]
    returns = {solve(task).optimal_return for task in tasks}
    assert returns == {1.5}  # "ab" stops at b; "b" pays 1


def test_the_prompt_is_named_as_in_reset_unless_there_is_only_one() -> None:
    env = TextGenEnv(["a", "bb"], LETTERS, lambda prompt, completion: len(prompt), max_new_tokens=1)
    assert solve(env, "bb").optimal_return == solve(env, prompt_id=1).optimal_return == 2
    assert solve(env, "ab").tree.prompt_ids.tolist() == [A, B]
    with pytest.raises(ValueError, match=r"prompt must be given .* got None for 2 prompts"):
        solve(env)


def test_a_reward_function_may_be_given_and_must_be_under_a_wrapper_that_pays() -> None:
    env = TextGenEnv(**arguments_of("plain"))
    assert solve(env, reward_function=lambda p, c: c.count("c")).optimal_return == 4
    wrapped = Feedback(env, lambda prompt, completion: 7.0)
    with pytest.raises(ValueError, match=r"reward_function must be given .* in Feedback"):
        solve(wrapped)
    assert solve(wrapped, reward_function=lambda p, c: 7.0).optimal_return == 7


def test_constraints_restrict_what_is_enumerated() -> None:
    plain = TextGenEnv(**arguments_of("plain"))
    inner = Constrain(plain, [MinimumLength(1), BannedStrings(["ab"])])
    solution = solve(Constrain(RemainingTokens(inner), BannedTokens([C])))
    texts = {
        tuple(ids) for batch in solution.tree.completions(100) for ids in batch.token_ids.tolist()
    }
    assert texts == {
        text
        for text in Brute().rewards
        if len(text) >= 2 and C not in text and (A, B) not in itertools.pairwise(text)
    }
    assert solution.n_completions == len(texts)
    assert solution.optimal_return == 1.0  # "b"
    assert math.exp(solution.uniform_policy.tables[0][0, A]) == pytest.approx(0.5)
    ending = solve(Constrain(plain, EndsWith("cc")))
    assert ending.evaluate(policy_of(0)).expected_reward == pytest.approx(
        brute_mean_given(lambda text: "".join("abc"[t] for t in text if t < 3).endswith("cc"))
    )


def brute_mean_given(allowed: Any) -> float:
    """E[R] of policy 0, renormalised token by token over what can still end in an allowed text."""
    brute = Brute()
    texts = [text for text in brute.rewards if allowed(text)]

    def mean(written: Text) -> float:
        if written in brute.rewards:
            return brute.rewards[written]
        following = {text[len(written)] for text in texts if text[: len(written)] == written}
        odds = {t: math.exp(plain_logit(0, written, t)) for t in following}
        total = sum(odds.values())
        return sum(odd / total * mean((*written, t)) for t, odd in odds.items())

    return mean(())


def test_constraints_that_leave_too_much_are_refused_before_it_is_scored(
    recording_reward: Any,
) -> None:
    reward = recording_reward()
    env = TextGenEnv(["ca"], LETTERS, reward, max_new_tokens=4)
    with pytest.raises(ValueError, match=r"max_completions must be .* got 50"):
        solve(Constrain(env, BannedStrings(["cc"])), max_completions=50)
    with pytest.raises(ValueError, match="got 20 for 34 texts of at most 3 of 4 tokens"):
        solve(Constrain(env, BannedStrings(["cc"])), max_completions=20)  # 12 ended, 22 begun
    assert reward.calls == []


def test_few_allowed_tokens_of_many_do_not_make_tables_without_bound() -> None:
    def two_of_many(tokens: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.arange(1000) < 2, (len(tokens), 1000))

    codes = np.zeros(1000, dtype=np.int8)
    prompt = np.array([0])
    assert grow(prompt, codes, 2, two_of_many, 200).n_completions == 4
    with pytest.raises(ValueError, match="got 199 for 2 states times 1,000 tokens"):
        grow(prompt, codes, 2, two_of_many, 199)


# The highest reward


@every_task
def test_optimal_values_are_the_highest_rewards_still_to_be_had(name: str) -> None:
    brute, solution = Brute(name), solution_of(name)
    for number, row, state in states_of(solution):
        below = {t: r for t, r in brute.rewards.items() if t[: len(state)] == state}
        assert solution.optimal_values[number][row] == max(below.values())
        for token in brute.tokens:
            path = (*state, token)
            best = max(r for t, r in below.items() if t[: len(path)] == path)
            assert solution.optimal_action_values[number][row, token] == best
    assert solution.optimal_return == max(brute.rewards.values())
    best_texts = [t for t, r in brute.rewards.items() if r == solution.optimal_return]
    assert sorted(solution.optimal_completions(limit=1000)) == sorted(best_texts)
    assert len(solution.optimal_completions(limit=2)) == min(2, len(best_texts))


@every_task
def test_the_optimal_policy_has_the_optimal_return_and_no_regret(name: str) -> None:
    solution = solution_of(name)
    assert solution.evaluate(solution.optimal_policy).expected_reward == pytest.approx(
        solution.optimal_return, abs=1e-12
    )
    assert solution.regret(solution.optimal_policy) == pytest.approx(0, abs=1e-12)


def test_tokens_that_are_not_allowed_are_never_best_though_all_rewards_are_negative() -> None:
    solution = solution_of("holes", reward_function=lambda prompt, completion: -1 - len(completion))
    assert solution.optimal_return == -1
    assert solution.optimal_completions() == [(EOS,)]
    for depth, table in zip(solution.tree.depths, solution.optimal_policy.tables, strict=True):
        assert (table[~depth.allowed] == -np.inf).all()


def test_tokens_that_go_on_and_holes_are_no_completions_though_their_cells_hold_zero() -> None:
    free = solution_of("holes", reward_function=lambda prompt, completion: -len(completion))
    assert free.optimal_return == 0
    assert free.optimal_completions() == [(EOS,)]
    level = solution_of("holes", reward_function=lambda prompt, completion: 0.0)
    for depth, table in zip(level.tree.depths, level.optimal_policy.tables, strict=True):
        np.testing.assert_array_equal(table > -np.inf, depth.allowed)


# A given policy


@every_task
def test_reward_kl_and_entropy_of_a_policy_are_sums_over_completions(name: str) -> None:
    brute, solution = Brute(name), solution_of(name)
    p, q = brute.distribution(0), brute.distribution(1)
    assert sum(p.values()) == pytest.approx(1, abs=1e-12)
    found = solution.evaluate(policy_of(0), policy_of(1))
    assert found.expected_reward == pytest.approx(brute.mean(p), abs=1e-12)
    assert found.kl == pytest.approx(divergence(p, q), abs=1e-12)
    assert found.entropy == pytest.approx(-sum(x * math.log(x) for x in p.values()), abs=1e-12)
    assert solution.regret(policy_of(0)) == pytest.approx(
        max(brute.rewards.values()) - brute.mean(p), abs=1e-12
    )


@every_task
def test_values_of_a_policy_are_conditional_means(name: str) -> None:
    brute, solution = Brute(name), solution_of(name)
    chances = brute.distribution(0)
    found = solution.evaluate(policy_of(0))
    for number, row, state in states_of(solution):
        for token in [None, *brute.tokens]:
            path = state if token is None else (*state, token)
            below = {t: x for t, x in chances.items() if t[: len(path)] == path}
            mean = brute.mean(below) / sum(below.values())
            values = found.values if token is None else found.action_values
            where = row if token is None else (row, token)
            assert values[number][where] == pytest.approx(mean, abs=1e-12)


def test_the_divergence_from_itself_is_nothing_and_from_what_excludes_it_infinite() -> None:
    solution = solution_of()
    assert solution.evaluate(policy_of(0), policy_of(0)).kl == 0
    assert solution.evaluate(policy_of(0)).kl == 0
    best = solution.optimal_policy
    assert solution.evaluate(policy_of(0), best).kl == math.inf
    chances = Brute().distribution(0)
    log_chance = math.log(chances[A, B, A, B])
    assert solution.optimal_completions() == [(A, B, A, B)]
    assert solution.evaluate(best, policy_of(0)).kl == pytest.approx(-log_chance, abs=1e-12)
    assert solution.evaluate(best).entropy == 0


def test_a_table_is_the_policy_it_was_made_from_in_every_state_however_padded() -> None:
    solution = solution_of()
    table = solution.tabulate(policy_of(0))
    states = sorted(Brute().states)
    lengths = np.array([2 + len(state) for state in states])
    input_ids = np.zeros((len(states), 9), dtype=np.int64)
    for row, state in enumerate(states):
        input_ids[row, : len(state) + 2] = (C, A, *state)
    np.testing.assert_allclose(
        table(input_ids, lengths), policy_of(0)(input_ids, lengths), atol=1e-12
    )
    assert solution.tabulate(table) is table
    elsewhere = solution_of().tabulate(table)  # of another tree: asked like any function
    for ours, theirs in zip(elsewhere.tables, table.tables, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    shorter = solution_of(max_new_tokens=2)
    assert shorter.evaluate(table).entropy == pytest.approx(shorter.evaluate(policy_of(0)).entropy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ([A, A, B], "texts must begin with the prompt"),
        ([C], "texts must begin with the prompt"),
        ([C, A, EOS], "no text goes on from tokens"),
        ([C, A, B, EOS, B], "no text goes on from tokens"),
        ([C, A, B, B, B, B], "a state has at most 3 tokens written, got 4"),
    ],
)
def test_a_table_knows_nothing_of_what_is_no_state(text: list[int], message: str) -> None:
    table = solution_of().uniform_policy
    with pytest.raises(ValueError, match=message):
        table(np.array([text]), np.array([len(text)]))


@pytest.mark.parametrize(
    ("log_probs", "message"),
    [
        (lambda ids, n: np.zeros((len(n), 4)), "must return normalised log-probabilities"),
        (lambda ids, n: np.full((len(n), 4), np.nan), "must return normalised"),
        (lambda ids, n: np.full((len(n), 3), -np.log(3)), "must return shape"),
    ],
)
def test_a_function_that_returns_no_log_probs_is_refused(log_probs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message), np.errstate(all="raise"):
        solution_of().evaluate(log_probs)


def test_a_policy_must_give_something_to_an_allowed_token() -> None:
    def only_c(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return np.where(np.arange(4) == C, 0.0, -np.inf) + np.zeros((len(lengths), 1))

    assert solution_of().evaluate(only_c).expected_reward == -2.0
    with pytest.raises(ValueError, match="must give some allowed token a probability"):
        solution_of("holes").evaluate(only_c)


def test_sampling_in_the_environment_agrees_within_four_standard_errors() -> None:
    solution = solution_of("stop tokens")
    policy, reference = solution.tabulate(policy_of(0)), solution.tabulate(policy_of(1))
    found = solution.evaluate(policy, reference)
    n = 4000
    rows = np.arange(n)
    envs = TextGenVectorEnv(n, autoreset_mode="Disabled", **arguments_of("stop tokens"))
    random = np.random.default_rng(0)
    observations, _ = envs.reset(seed=0)
    rewards, log_p, log_q = np.zeros(n), np.zeros(n), np.zeros(n)
    running = np.ones(n, dtype=np.bool_)
    while running.any():
        alive = rows[running]
        ids, lengths = observations["input_ids"], observations["attention_mask"].sum(axis=1)
        says = policy(ids[alive], lengths[alive])
        drawn = (says + random.gumbel(size=says.shape)).argmax(axis=1)
        log_p[alive] += says[np.arange(len(alive)), drawn]
        log_q[alive] += reference(ids[alive], lengths[alive])[np.arange(len(alive)), drawn]
        actions = np.zeros(n, dtype=np.int64)
        actions[alive] = drawn
        observations, paid_now, terminated, truncated, _ = envs.step(actions)
        rewards += paid_now
        running &= ~(terminated | truncated)
    for samples, exact in (
        (rewards, found.expected_reward),
        (log_p - log_q, found.kl),
        (-log_p, found.entropy),
    ):
        assert abs(samples.mean() - exact) < 4 * samples.std() / math.sqrt(n)
        assert samples.std() > 0.1


# Reward against KL


@every_task
@pytest.mark.parametrize("beta", [0.1, 1.0, 30.0])
def test_the_soft_optimum_is_the_tilted_reference(name: str, beta: float) -> None:
    brute, solution = Brute(name), solution_of(name)
    p0 = brute.distribution(1)
    weights = {text: x * math.exp(brute.rewards[text] / beta) for text, x in p0.items()}
    total = sum(weights.values())
    tilted = {text: weight / total for text, weight in weights.items()}
    found = solution.soft_optimum(policy_of(1), beta)
    assert found.value == pytest.approx(beta * math.log(total), abs=1e-11)
    assert found.expected_reward == pytest.approx(brute.mean(tilted), abs=1e-11)
    assert found.kl == pytest.approx(divergence(tilted, p0), abs=1e-11)
    assert found.value == pytest.approx(found.expected_reward - beta * found.kl, abs=1e-11)
    log_probs = found.policy.completion_log_probs
    for text, chance in tilted.items():
        row = solution.tree.find(np.array([text[:-1]], dtype=np.int64))[0]
        assert math.exp(log_probs[len(text) - 1][row, text[-1]]) == pytest.approx(chance)


def test_soft_values_are_those_of_the_rest_of_the_text() -> None:
    brute, solution = Brute(), solution_of()
    found = solution.soft_optimum(policy_of(1), 0.5)
    p0 = brute.distribution(1)
    for number, row, state in states_of(solution):
        for token in [None, *brute.tokens]:
            path = state if token is None else (*state, token)
            below = {t: x for t, x in p0.items() if t[: len(path)] == path}
            mean = sum(x * math.exp(2 * brute.rewards[t]) for t, x in below.items())
            value = 0.5 * math.log(mean / sum(below.values()))
            if token is None:
                assert found.values[number][row] == pytest.approx(value, abs=1e-11)
            else:
                assert found.action_values[number][row, token] == pytest.approx(value, abs=1e-11)


@given(seed=st.integers(0, 10**6), beta=st.sampled_from([0.05, 0.5, 5.0]))
@settings(max_examples=40, deadline=None)
def test_no_policy_beats_the_soft_optimum_and_regret_is_the_divergence_from_it(
    seed: int, beta: float
) -> None:
    solution, reference = SOLUTION, REFERENCE
    best = solution.soft_optimum(reference, beta)
    random = np.random.default_rng(seed)
    near = [table + random.normal(scale=0.3, size=table.shape) for table in best.policy.tables]

    def policy(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        depth = int(lengths[0]) - 2
        logits = near[depth][solution.tree.find(input_ids[:, 2:])]
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    found = solution.evaluate(policy, reference)
    assert found.expected_reward - beta * found.kl <= best.value + 1e-12
    regret = solution.regret(policy, reference, beta)
    assert regret == pytest.approx(best.value - found.expected_reward + beta * found.kl, abs=1e-12)
    from_best = solution.evaluate(policy, best.policy).kl
    assert regret == pytest.approx(beta * from_best, rel=1e-9, abs=1e-12)


def test_the_soft_optimum_tends_to_the_best_reward_and_to_the_reference() -> None:
    brute = Brute()
    p0 = brute.distribution(1)
    cold = SOLUTION.soft_optimum(REFERENCE, 1e-9)
    assert cold.expected_reward == SOLUTION.optimal_return == 3.0
    assert cold.kl == pytest.approx(-math.log(p0[A, B, A, B]), abs=1e-9)
    hot = SOLUTION.soft_optimum(REFERENCE, 1e9)
    assert hot.expected_reward == pytest.approx(brute.mean(p0), abs=1e-8)
    assert hot.value == pytest.approx(brute.mean(p0), abs=1e-8)
    assert hot.kl == pytest.approx(0, abs=1e-12)
    with np.errstate(over="raise"):
        assert SOLUTION.soft_optimum(REFERENCE, 5e-324).expected_reward == 3.0
        assert SOLUTION.frontier(REFERENCE, 5e-324).expected_rewards == 3.0


def test_what_the_reference_never_writes_the_soft_optimum_never_writes() -> None:
    def no_b(input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        return np.where(np.arange(4) == B, -np.inf, -math.log(3)) + np.zeros((len(lengths), 1))

    found = SOLUTION.soft_optimum(no_b, 0.01)
    assert found.expected_reward == pytest.approx(0, abs=1e-12)  # "ab" and "b" are out of reach
    assert math.isfinite(found.kl)
    assert SOLUTION.evaluate(found.policy, no_b).kl == found.kl
    curve = SOLUTION.frontier(no_b, 0.01)
    assert curve.values[0] == pytest.approx(found.value, abs=1e-12)
    assert SOLUTION.reward_distribution(no_b).rewards.max() == 0
    coldest = SOLUTION.soft_optimum(no_b, 5e-324)
    assert coldest.value == coldest.expected_reward == 0


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
def test_a_beta_that_is_no_price_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match="beta must be above 0 and finite, got"):
        SOLUTION.soft_optimum(REFERENCE, beta)
    with pytest.raises(ValueError, match="betas must be above 0 and finite, got"):
        SOLUTION.frontier(REFERENCE, [1.0, beta])
    if beta != 0:
        with pytest.raises(ValueError, match="reference must be given where beta is not 0"):
            SOLUTION.regret(REFERENCE, beta=beta)


def test_the_frontier_is_the_curve_of_soft_optima_and_falls_with_the_price() -> None:
    betas = np.logspace(-0.5, 2, 25)
    curve = SOLUTION.frontier(REFERENCE, betas)
    for index in (0, 8, 16, 24):
        best = SOLUTION.soft_optimum(REFERENCE, betas[index])
        point = [column[index] for column in curve]
        assert point == pytest.approx(
            [best.beta, best.value, best.expected_reward, best.kl], abs=1e-11
        )
    assert (np.diff(curve.values) < 0).all()
    assert (np.diff(curve.expected_rewards) < 0).all()
    assert (np.diff(curve.kls) < 0).all()
    slopes = np.diff(curve.expected_rewards) / np.diff(curve.kls)  # dE[R]/dKL = β
    assert ((betas[:-1] < slopes) & (slopes < betas[1:])).all()
    np.testing.assert_allclose(curve.values, curve.expected_rewards - betas * curve.kls, atol=1e-12)


def test_the_frontier_of_a_coin_is_that_worked_by_hand() -> None:
    coin = RewardDistribution(np.array([0.0, 1.0]), np.log([0.5, 0.5]))
    curve = frontier(coin, [1.0])
    heads = math.e / (1 + math.e)
    entropy = -heads * math.log(heads) - (1 - heads) * math.log(1 - heads)
    assert curve.values[0] == pytest.approx(math.log((1 + math.e) / 2))
    assert curve.expected_rewards[0] == pytest.approx(heads)
    assert curve.kls[0] == pytest.approx(math.log(2) - entropy)


def test_rare_rewards_are_not_lost() -> None:
    rare = reward_distribution(np.array([1.0, 0.0, 1.0]), np.array([-900.0, 0.0, -900.0]))
    assert rare.log_probs.tolist() == pytest.approx([0.0, -900 + math.log(2)])
    assert frontier(rare, [1e-4]).values[0] == pytest.approx(1 - 1e-4 * (900 - math.log(2)))


# Best of n


@every_task
@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_best_of_n_is_that_of_all_tuples_of_draws(name: str, n: int) -> None:
    brute, solution = Brute(name, max_new_tokens=2), solution_of(name, max_new_tokens=2)
    p0 = brute.distribution(1)
    kept = dict.fromkeys(p0, 0.0)
    for draws in itertools.product(p0, repeat=n):
        first_best = max(draws, key=lambda text: brute.rewards[text])
        kept[first_best] += math.prod(p0[text] for text in draws)
    found = solution.best_of_n(policy_of(1), n)
    assert found.expected_reward == pytest.approx(brute.mean(kept), abs=1e-12)
    assert found.kl == pytest.approx(divergence(kept, p0), abs=1e-12)
    policy = solution.best_of_n_policy(policy_of(1), n)
    value = solution.evaluate(policy, policy_of(1))
    assert value.expected_reward == pytest.approx(found.expected_reward, abs=1e-12)
    assert value.kl == pytest.approx(found.kl, abs=1e-12)
    log_probs = policy.completion_log_probs
    for text, chance in kept.items():
        row = solution.tree.find(np.array([text[:-1]], dtype=np.int64))[0]
        assert math.exp(log_probs[len(text) - 1][row, text[-1]]) == pytest.approx(chance)


def test_the_best_of_n_does_not_exceed_its_bound_and_reaches_it_without_ties() -> None:
    for n in (1, 2, 8, 64, 4096):
        found = SOLUTION.best_of_n(REFERENCE, n)
        assert found.kl <= found.kl_bound + 1e-12
        assert found.kl_bound == pytest.approx(math.log(n) - (n - 1) / n)
        price = 1.0
        soft = SOLUTION.soft_optimum(REFERENCE, price)
        assert found.expected_reward - price * found.kl <= soft.value
    levels = 200_000
    fine = RewardDistribution(np.arange(levels) / levels, np.full(levels, -math.log(levels)))
    of_8 = best_of_n(fine, 8)
    assert of_8.kl == pytest.approx(of_8.kl_bound, abs=1e-3)
    assert of_8.kl < of_8.kl_bound
    assert of_8.expected_reward == pytest.approx(8 / 9, abs=1e-4)  # of the largest of 8 uniforms


@given(
    st.lists(st.floats(-40, 0), min_size=1, max_size=6),
    st.sampled_from([1, 2, 5, 1000, 10**9]),
)
def test_the_probabilities_of_the_best_add_up_to_one_even_in_the_tails(
    weights: list[float], n: int
) -> None:
    log_probs = np.array(weights) - np.logaddexp.reduce(weights)
    distribution = RewardDistribution(np.arange(len(weights), dtype=float), log_probs)
    log_best = log_best_probs(distribution, n)
    assert np.logaddexp.reduce(log_best) == pytest.approx(0, abs=1e-6)
    if n == 1:
        np.testing.assert_allclose(log_best, log_probs, rtol=1e-6, atol=1e-9)


def test_rounding_is_not_magnified_by_many_draws() -> None:
    log_probs = np.log(np.random.default_rng(0).dirichlet(np.ones(1000)))
    distribution = RewardDistribution(np.arange(1000.0), log_probs)
    assert abs(np.logaddexp.accumulate(log_probs)[-1]) > 1e-17  # there is something to magnify
    assert best_of_n(distribution, 10**17).expected_reward == pytest.approx(999, rel=1e-12)


def test_a_rare_best_reward_is_found_n_times_as_often() -> None:
    rare = RewardDistribution(np.array([0.0, 1.0]), np.array([np.log1p(-1e-18), np.log(1e-18)]))
    assert best_of_n(rare, 1000).expected_reward == pytest.approx(1e-15, rel=1e-9)


@pytest.mark.parametrize("n", [0, -3])
def test_there_must_be_a_draw(n: int) -> None:
    with pytest.raises(ValueError, match="n must be at least 1, got"):
        SOLUTION.best_of_n(REFERENCE, n)


def test_weights_of_completions_make_a_policy_even_where_they_are_nothing() -> None:
    weights = [np.full(table.shape, -np.inf) for table in SOLUTION.rewards]
    weights[1][A, EOS] = math.log(3.0)
    weights[0][0, EOS] = 0.0
    policy = policy_of_weights(SOLUTION.tree, weights)
    np.testing.assert_allclose(np.exp(policy.tables[0][0]), [0.75, 0, 0, 0.25], atol=1e-15)
    np.testing.assert_allclose(np.exp(policy.tables[1][A]), [0, 0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(np.exp(policy.tables[1][B]), [0.25] * 4)


# Dense rewards


def test_shaping_by_a_potential_moves_every_value_and_no_decision() -> None:
    random = np.random.default_rng(0)
    potentials = [random.integers(-8, 8, len(d.tokens)) / 8 for d in SOLUTION.tree.depths]
    shaped = []
    for number, depth in enumerate(SOLUTION.tree.depths):
        after = np.zeros(depth.allowed.shape)
        if number + 1 < len(potentials):
            after[depth.goes_on] = potentials[number + 1]
        shaped.append(SOLUTION.rewards[number] + after - potentials[number][:, None])
    dense = Solution(SOLUTION.tree, shaped)
    start = potentials[0][0]
    assert dense.optimal_return == SOLUTION.optimal_return - start
    assert dense.optimal_completions() == SOLUTION.optimal_completions()
    for number, potential in enumerate(potentials):
        ours, theirs = dense.optimal_policy.tables[number], SOLUTION.optimal_policy.tables[number]
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_allclose(
            dense.optimal_values[number], SOLUTION.optimal_values[number] - potential
        )
    soft, plain = (s.soft_optimum(REFERENCE, 0.5) for s in (dense, SOLUTION))
    assert soft.value == pytest.approx(plain.value - start, abs=1e-12)
    assert soft.kl == pytest.approx(plain.kl, abs=1e-12)
    of_4, plain_of_4 = (s.best_of_n(REFERENCE, 4) for s in (dense, SOLUTION))
    assert of_4.expected_reward == pytest.approx(plain_of_4.expected_reward - start, abs=1e-12)
