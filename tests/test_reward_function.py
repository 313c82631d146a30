"""How reward functions are adapted, called, checked, blamed and added up."""

from __future__ import annotations

import copy
import functools
import math
import operator
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym.episode import Episode
from text_gym.rewards import (
    OnError,
    RewardError,
    WeightedSum,
    WordCount,
    as_reward_function,
    reward_name,
    score,
)

TWO = [Episode.from_text("Hi", "Hello there"), Episode.from_text("Bye", "Farewell")]


def letters(prompt: str, completion: str) -> float:
    return float(len(completion))


def weighted_letters(weight: float, prompt: str, completion: str) -> float:
    return weight * len(completion)


def batch_letters(episodes):
    return np.array([len(episode.completion) for episode in episodes], dtype=np.float64)


class CountsCalls:
    """A reward function that remembers the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, episodes):
        self.batches.append(len(episodes))
        return batch_letters(episodes)


class CallableObject:
    def __call__(self, prompt: str, completion: str) -> float:
        return float(len(prompt) + len(completion))

    def method(self, prompt: str, completion: str) -> float:
        return -float(len(completion))


def returning(values):
    """A batch reward function that returns `values`, whatever it is given."""

    def constant(episodes):
        return values

    return constant


# Adaptation


def test_a_plain_function_is_called_with_prompt_and_completion():
    reward = as_reward_function(lambda prompt, completion: 10 * len(prompt) + len(completion))
    np.testing.assert_array_equal(reward(TWO), [31.0, 38.0])


def test_a_partial_is_judged_by_the_parameters_that_are_left():
    reward = as_reward_function(functools.partial(weighted_letters, 2.0))
    np.testing.assert_array_equal(reward(TWO), [22.0, 16.0])


def test_a_callable_object_and_a_method_are_adapted():
    np.testing.assert_array_equal(as_reward_function(CallableObject())(TWO), [13.0, 11.0])
    np.testing.assert_array_equal(as_reward_function(CallableObject().method)(TWO), [-11.0, -8.0])


def test_a_builtin_with_a_readable_signature_is_adapted_and_its_bool_becomes_a_float():
    same = [Episode.from_text("a", "a"), Episode.from_text("a", "b")]
    rewards = as_reward_function(operator.eq)(same)
    np.testing.assert_array_equal(rewards, [1.0, 0.0])
    assert rewards.dtype == np.float64


def test_optional_parameters_do_not_count():
    def plain(prompt, completion, scale=3, *rest, unit="x", **options):
        return scale * len(completion)

    def batch(episodes, scale=3, *, unit="x"):
        return scale * batch_letters(episodes)

    np.testing.assert_array_equal(as_reward_function(plain)(TWO), [33.0, 24.0])
    assert as_reward_function(batch) is batch


@pytest.mark.parametrize("fn", [batch_letters, WordCount(), WeightedSum({"words": WordCount()})])
def test_a_reward_function_passes_through(fn):
    assert as_reward_function(fn) is fn


def test_adaptation_never_calls_the_function():
    def explode(prompt, completion):
        raise AssertionError("called")

    as_reward_function(explode)


def three(a, b, c):
    return 0.0


def keyword_only(episodes, *, judge):
    return 0.0


@pytest.mark.parametrize(
    ("fn", "received"),
    [
        (three, "(a, b, c)"),
        (lambda: 0.0, "()"),
        (lambda *texts: 0.0, "(*texts)"),
        (keyword_only, "(episodes, *, judge)"),
        (max, "whose signature cannot be read"),
        (3.0, "3.0, whose signature cannot be read"),
        (WordCount, "the class WordCount: construct it first"),
    ],
)
def test_any_other_signature_is_refused_with_the_rule_and_what_was_received(fn, received):
    with pytest.raises(TypeError) as caught:
        as_reward_function(fn)
    message = str(caught.value)
    assert message.startswith("fn: ")
    with pytest.raises(TypeError, match=r"^potential: a reward function takes one"):
        as_reward_function(fn, "potential")
    assert "one required positional argument" in message
    assert "two (prompt, completion)" in message
    assert message.endswith(received)


@pytest.mark.parametrize(
    ("fn", "given"),
    [
        (lambda completion, reference: 0.0, "'completion' would be given the prompt"),
        (lambda reference, completion: 0.0, "'reference' would be given the prompt"),
        (lambda prompt, reference: 0.0, "'reference' would be given the completion"),
        (lambda reply, prompt: 0.0, "'reply' would be given the prompt"),
        (lambda Response, x: 0.0, "'Response' would be given the prompt"),
        (lambda prompts, completions: 0.0, "'prompts' would be given the prompt"),
        (lambda episodes, completion: 0.0, "'episodes' would be given the prompt"),
        (lambda p, metadata: 0.0, "'metadata' would be given the completion"),
        (lambda completion: 0.0, "'completion' would be given the batch of episodes"),
        (lambda completions, **rest: 0.0, "'completions' would be given the batch of episodes"),
        (lambda prompt, completion, reference=None: 0.0, "'reference' would be given None"),
    ],
)
def test_a_parameter_named_for_something_else_is_refused(fn, given):
    with pytest.raises(TypeError, match="must be named for what it is given") as caught:
        as_reward_function(fn)
    assert given in str(caught.value)


@pytest.mark.parametrize(
    "fn",
    [
        lambda p, c: 0.0,
        lambda _, response: 0.0,
        lambda question, answer: 0.0,
        lambda x, /, completion: 0.0,
        lambda prompt, completion, length=3: 0.0,
        functools.partial(lambda prompt, completion, reference: 0.0, reference="a"),
    ],
    ids=["letters", "response", "answer", "positional", "optional", "partial"],
)
def test_other_names_ask_for_nothing_in_particular(fn):
    assert as_reward_function(fn)(TWO).tolist() == [0.0, 0.0]


# Names


class HTTPJudge2Reward:
    def __call__(self, episodes):
        return batch_letters(episodes)


class Named(HTTPJudge2Reward):
    name = "policy"


class Numbered(HTTPJudge2Reward):
    name = 7


def test_the_name_is_the_attribute_else_the_function_else_the_class_in_snake_case():
    assert reward_name(Named()) == "policy"
    assert reward_name(letters) == "letters"
    assert reward_name(HTTPJudge2Reward()) == "http_judge2_reward"
    assert reward_name(WordCount()) == "word_count"


def test_an_attribute_name_comes_before_the_name_of_the_function():
    def fn(episodes):
        return batch_letters(episodes)

    fn.name = "policy"
    assert reward_name(fn) == "policy"


def test_a_name_that_is_no_string_is_not_used():
    assert reward_name(Numbered()) == "numbered"


def test_adapted_partial_and_guarded_functions_keep_the_name_of_the_function_inside():
    partial = functools.partial(weighted_letters, 2.0)
    assert reward_name(partial) == "weighted_letters"
    assert reward_name(as_reward_function(partial)) == "weighted_letters"
    assert reward_name(OnError(letters, value=0.0)) == "letters"


# Scoring


def test_score_calls_a_batch_function_once_with_the_whole_batch():
    reward = CountsCalls()
    scores = score(reward, TWO)
    assert reward.batches == [2]
    np.testing.assert_array_equal(scores.total, [11.0, 8.0])
    assert list(scores.components) == ["counts_calls"]
    np.testing.assert_array_equal(scores.components["counts_calls"], [11.0, 8.0])


def test_score_reports_under_the_name_it_is_given():
    assert list(score(letters_reward(), TWO, name="long").components) == ["long"]
    with pytest.raises(RewardError, match="reward 'long' must return finite numbers"):
        score(returning([1.0, math.inf]), TWO, name="long")


def letters_reward():
    return as_reward_function(letters)


@pytest.mark.parametrize("kind", ["plain", "batch", "sum", "guarded"])
def test_an_empty_batch_is_answered_without_a_call(kind):
    reward = CountsCalls()
    fn = {
        "plain": letters_reward(),
        "batch": reward,
        "sum": WeightedSum({"letters": reward}),
        "guarded": OnError(reward, value=0.0),
    }[kind]
    scores = score(fn, [])
    assert scores.total.shape == (0,)
    assert scores.total.dtype == np.float64
    assert scores.components == {}
    assert reward.batches == []


@pytest.mark.parametrize(
    "values",
    [[1, 2], (1.0, 2.0), np.array([1, 2], dtype=np.int8), np.array([1, 2], dtype=np.float16)],
)
def test_any_real_numbers_become_float64(values):
    total = score(returning(values), TWO).total
    assert total.dtype == np.float64
    np.testing.assert_array_equal(total, [1.0, 2.0])


def test_later_changes_to_the_returned_array_do_not_change_the_scores():
    values = np.array([1.0, 2.0])
    scores = score(returning(values), TWO)
    values[:] = 9.0
    np.testing.assert_array_equal(scores.total, [1.0, 2.0])


@pytest.mark.parametrize(
    ("values", "shape"),
    [([1.0], "(1,)"), (np.ones((2, 1)), "(2, 1)"), (3.0, "()"), (None, "()"), ([], "(0,)")],
)
def test_the_wrong_number_of_values_is_refused(values, shape):
    with pytest.raises(ValueError, match="must return one number per episode") as caught:
        score(returning(values), TWO)
    message = str(caught.value)
    assert isinstance(caught.value, RewardError)
    assert message.startswith("reward 'constant' must")
    assert f"shape (2,); received shape {shape}: {values!r}" in message
    assert (
        "a batch of 2, first texts: prompt='Hi', completion='Hello there'; prompt='Bye'" in message
    )


@pytest.mark.parametrize(
    ("values", "received"),
    [
        ([1.0, "2.0"], "received '2.0'"),
        ([1.0, None], "received None"),
        ([1.0, Fraction(1, 2)], "received Fraction(1, 2)"),
        (np.array([1.0, 2.0j])[::-1], "received np.complex128(2j)"),
    ],
)
def test_what_is_no_real_number_is_refused_with_its_text(values, received):
    with pytest.raises(TypeError, match="must return real numbers") as caught:
        score(returning(values), TWO)
    message = str(caught.value)
    assert isinstance(caught.value, RewardError)
    assert message.startswith("reward 'constant' must")
    assert received in message
    if isinstance(values, list):
        assert message.endswith("on prompt='Bye', completion='Farewell'")


def test_an_object_array_is_refused_even_if_its_values_are_numbers():
    with pytest.raises(TypeError, match=r"received 1.0 \(dtype object\)"):
        score(returning(np.array([1.0, 2.0], dtype=object)), TWO)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_text(value):
    with pytest.raises(ValueError, match="must return finite numbers") as caught:
        score(returning([1.0, value]), TWO)
    assert isinstance(caught.value, RewardError)
    assert str(caught.value) == (
        f"reward 'constant' must return finite numbers; received {value}; "
        f"on prompt='Bye', completion='Farewell'"
    )


def test_an_adapted_function_is_checked_also_when_called_directly():
    with pytest.raises(TypeError, match="reward '<lambda>' must return real numbers; received '5'"):
        as_reward_function(lambda prompt, completion: "5")(TWO)
    with pytest.raises(TypeError, match="received None"):
        as_reward_function(lambda prompt, completion: None)(TWO)


# Blame


def divide(prompt: str, completion: str) -> float:
    return 1 / (len(completion) - 8)


def test_a_plain_function_that_raises_is_blamed_with_the_very_text():
    with pytest.raises(RewardError) as caught:
        score(as_reward_function(divide), TWO)
    assert str(caught.value) == (
        "reward 'divide' raised ZeroDivisionError: division by zero; "
        "on prompt='Bye', completion='Farewell'"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert isinstance(caught.value, RuntimeError)


def test_a_batch_function_that_raises_is_blamed_with_the_size_and_the_first_three_texts():
    def broken(episodes):
        raise KeyError("model")

    episodes = [Episode.from_text("p", completion) for completion in "abcd"]
    with pytest.raises(RewardError) as caught:
        score(broken, episodes)
    message = str(caught.value)
    assert message == (
        "reward 'broken' raised KeyError: 'model'; on a batch of 4, first texts: "
        "prompt='p', completion='a'; prompt='p', completion='b'; prompt='p', completion='c'"
    )
    assert isinstance(caught.value.__cause__, KeyError)


def test_values_that_numpy_cannot_read_are_blamed_on_the_reward():
    with pytest.raises(RewardError, match=r"^reward 'constant' raised ValueError: .*inhomogeneous"):
        score(returning([[1.0], [1.0, 2.0]]), TWO)


def test_stop_iteration_inside_a_reward_is_blamed_too():
    with pytest.raises(RewardError, match="raised StopIteration"):
        score(as_reward_function(lambda prompt, completion: next(iter(()))), TWO)


def test_an_interrupt_is_not_an_error_of_the_reward():
    def interrupted(episodes):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(interrupted, TWO)


def test_long_texts_are_cut_in_messages():
    episode = Episode.from_text("p", "x" * 1000)
    with pytest.raises(RewardError) as caught:
        score(returning([math.nan]), [episode])
    assert "x" * 199 + "... (1002 characters)" in str(caught.value)
    assert "x" * 201 not in str(caught.value)


# WeightedSum


def test_a_weighted_sum_adds_up_by_hand():
    reward = WeightedSum(
        {"letters": letters, "words": WordCount()}, weights={"letters": 0.5, "words": -3.0}
    )
    np.testing.assert_array_equal(reward(TWO), [11 / 2 - 3 * 2, 8 / 2 - 3 * 1])
    scores = score(reward, TWO)
    np.testing.assert_array_equal(scores.total, [-0.5, 1.0])
    np.testing.assert_array_equal(scores.components["letters"], [5.5, 4.0])
    np.testing.assert_array_equal(scores.components["words"], [-6.0, -3.0])
    assert list(scores.components) == ["letters", "words"]


def test_weights_are_one_unless_given():
    np.testing.assert_array_equal(WeightedSum({"a": letters, "b": letters})(TWO), [22.0, 16.0])


@given(
    completions=st.lists(st.text(max_size=20), min_size=1, max_size=5),
    weights=st.tuples(*[st.floats(-1e6, 1e6)] * 3),
)
def test_components_sum_to_the_total_and_both_ways_of_scoring_agree(completions, weights):
    episodes = [Episode.from_text("p", completion) for completion in completions]
    functions = {"letters": letters, "words": WordCount(), "batch": batch_letters}
    reward = WeightedSum(functions, weights=dict(zip(functions, weights, strict=True)))
    scores = score(reward, episodes)
    np.testing.assert_allclose(sum(scores.components.values()), scores.total, rtol=1e-12)
    np.testing.assert_array_equal(scores.total, reward(episodes))


def test_scoring_a_sum_with_its_components_calls_each_function_once():
    first, second = CountsCalls(), CountsCalls()
    score(WeightedSum({"first": first, "second": second}), TWO)
    assert first.batches == second.batches == [2]


def test_an_inner_sum_is_one_component_of_the_outer_one():
    inner = WeightedSum({"a": letters, "b": WordCount()})
    outer = WeightedSum({"inner": inner, "c": letters}, weights={"inner": 2.0, "c": 1.0})
    scores = score(outer, TWO)
    np.testing.assert_array_equal(scores.components["inner"], [2 * (11 + 2), 2 * (8 + 1)])
    np.testing.assert_array_equal(scores.total, [37.0, 26.0])


def test_a_component_is_blamed_under_its_name_in_the_sum_with_its_text():
    with pytest.raises(ValueError, match=r"^reward 'bad' must return finite .*completion='Hello"):
        score(WeightedSum({"good": letters, "bad": returning([math.nan, 1.0])}), TWO)
    with pytest.raises(RewardError, match=r"^reward 'divide' raised .* on prompt='Bye'"):
        score(WeightedSum({"good": letters, "divide": divide}), TWO)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_weight_that_overflows_is_refused():
    reward = WeightedSum({"big": returning([1e200, 0.0])}, weights={"big": 1e200})
    with pytest.raises(ValueError, match=r"'weighted_sum/big' .* received inf"):
        score(reward, TWO)


class Composite:
    """A foreign reward function with components."""

    def __init__(self, parts) -> None:
        self.parts = parts

    def __call__(self, episodes):
        raise AssertionError("score must use the components")

    def components(self, episodes):
        return self.parts


def test_score_uses_the_components_of_any_function_that_has_them():
    scores = score(Composite({"a": [1, 2], "b": [0.5, 0.5]}), TWO)
    np.testing.assert_array_equal(scores.total, [1.5, 2.5])
    assert scores.components["a"].dtype == np.float64


def test_foreign_components_are_checked():
    with pytest.raises(ValueError, match=r"reward 'composite/a' .* received shape \(1,\)"):
        score(Composite({"a": [1.0]}), TWO)
    with pytest.raises(ValueError, match="'composite' must return at least one component"):
        score(Composite({}), TWO)
    with pytest.raises(RewardError, match="reward 'composite' raised TypeError"):
        score(Composite(None), TWO)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_total_that_overflows_is_refused_though_each_component_is_finite():
    with pytest.raises(ValueError, match=r"'composite' .* received inf"):
        score(Composite({"a": [1e308, 0], "b": [1e308, 0]}), TWO)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1.0}, r"missing \['b'\], unknown \[\]"),
        ({"a": 1.0, "b": 1.0, "c": 2.0}, r"missing \[\], unknown \['c'\]"),
        ({}, r"functions \['a', 'b'\], received \{\}: missing \['a', 'b'\]"),
        ({"a": 1.0, "b": math.nan}, r"weights\['b'\] must be finite, got nan"),
    ],
)
def test_weights_must_name_the_functions_and_be_finite(weights, message):
    with pytest.raises(ValueError, match=message):
        WeightedSum({"a": letters, "b": letters}, weights=weights)


def test_an_empty_sum_is_refused():
    with pytest.raises(ValueError, match="functions must hold at least one reward function"):
        WeightedSum({})


def test_a_sum_refuses_what_is_no_reward_function():
    with pytest.raises(
        TypeError, match=r"^functions\['a'\]: .*received <function three.*\(a, b, c\)"
    ):
        WeightedSum({"a": three})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([letters], [1.0]), r"functions must be a mapping from names, got \[<function letters"),
        (({"a": letters}, [1.0]), r"weights must be a mapping from names, got \[1.0\]"),
        (({"a": letters}, {"a": "1"}), r"weights\['a'\] must be a number, got '1'"),
    ],
)
def test_a_sum_needs_names_and_numbers(arguments, message):
    with pytest.raises(TypeError, match=message):
        WeightedSum(*arguments)


def test_a_sum_does_not_see_later_changes_of_its_arguments():
    functions, weights = {"a": letters}, {"a": 1.0}
    reward = WeightedSum(functions, weights)
    functions["b"], weights["a"] = letters, 5.0
    np.testing.assert_array_equal(reward(TWO), [11.0, 8.0])


def test_a_sum_shows_its_parts():
    assert repr(WeightedSum({"words": WordCount()}, {"words": 2})) == (
        "WeightedSum({'words': WordCount()}, weights={'words': 2.0})"
    )


# OnError


def test_only_the_texts_that_fail_are_paid_the_stated_value():
    reward = OnError(divide, value=-1.0)
    with pytest.warns(RuntimeWarning, match=r"reward 'divide' raised ZeroDivisionError"):
        rewards = reward(TWO)
    np.testing.assert_array_equal(rewards, [1 / 3, -1.0])
    assert reward.failures == 1


def test_a_failing_batch_is_scored_again_one_by_one():
    batches = []

    def fails_on_farewell(episodes):
        batches.append(len(episodes))
        if any(episode.completion == "Farewell" for episode in episodes):
            raise ConnectionError("down")
        return batch_letters(episodes)

    reward = OnError(fails_on_farewell, value=-2.0)
    with pytest.warns(RuntimeWarning, match="down"):
        np.testing.assert_array_equal(reward(TWO), [11.0, -2.0])
    assert batches == [2, 1, 1]


@pytest.mark.parametrize("bad", [math.nan, None, "1", 1j])
def test_values_that_are_no_finite_numbers_are_failures(bad):
    reward = OnError(lambda prompt, completion: bad, value=0.5)
    with pytest.warns(RuntimeWarning, match="paid 0.5 instead"):
        np.testing.assert_array_equal(reward(TWO), [0.5, 0.5])
    assert reward.failures == 2


def test_only_the_first_failure_warns_and_all_are_counted():
    reward = OnError(divide, value=0.0)
    with pytest.warns(RuntimeWarning) as caught:
        reward(TWO * 2)
    assert len(caught) == 1
    assert reward.failures == 2
    reward(TWO)  # would raise: the test session turns warnings into errors
    assert reward.failures == 3


def test_without_a_failure_nothing_is_scored_twice():
    inner = CountsCalls()
    reward = OnError(inner, value=0.0)
    np.testing.assert_array_equal(reward(TWO), [11.0, 8.0])
    assert inner.batches == [2]
    assert reward.failures == 0


@pytest.mark.parametrize("failing_size", [2, 1])
def test_interrupts_pass_through_on_error(failing_size):
    def interrupted(episodes):
        if len(episodes) == failing_size:
            raise KeyboardInterrupt
        raise ConnectionError("down")

    with pytest.raises(KeyboardInterrupt):
        OnError(interrupted, value=0.0)(TWO)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_stated_value_must_be_finite(value):
    with pytest.raises(ValueError, match=f"value must be finite, got {value}"):
        OnError(letters, value=value)


# Copies


@pytest.mark.parametrize(
    "make",
    [
        letters_reward,
        lambda: OnError(letters, value=-1.0),
        lambda: WeightedSum({"a": letters, "b": WordCount()}, {"a": 2.0, "b": 1.0}),
    ],
    ids=["plain", "guarded", "sum"],
)
def test_composed_rewards_pickle_and_deepcopy_without_copying_what_is_inside(make):
    reward = make()
    loaded = pickle.loads(pickle.dumps(reward))
    np.testing.assert_array_equal(loaded(TWO), reward(TWO))
    assert repr(loaded) == repr(reward)
    assert copy.deepcopy(reward) is reward


def test_a_reward_error_pickles():
    with pytest.raises(RewardError) as caught:
        score(as_reward_function(divide), TWO)
    loaded = pickle.loads(pickle.dumps(caught.value))
    assert type(loaded) is RewardError
    assert str(loaded) == str(caught.value)
