from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from rich.console import Console

import text_gym  # noqa: F401  # registers TextGen-v0
from agents.applications.toy_policy import toy_policy
from agents.evaluation.evaluate import evaluate
from agents.evaluation.intervals import mean_interval
from agents.evaluation.metrics import METRICS, Evaluation, Metric, paired_gains
from agents.policy.causal_lm import CausalLMPolicy
from agents.runs.console import evaluations
from agents.runs.summary import figures_of
from text_gym.metrics import distinct_n


@pytest.fixture
def policy() -> CausalLMPolicy:
    return toy_policy(33, 32, length=24, eos_probability=0.2)


def make_envs(n: int) -> gym.vector.VectorEnv:
    return gym.make_vec("TextGen-v0", num_envs=n, autoreset_mode="Disabled")


def test_toy_policy_ends_with_the_same_probability_in_every_state(policy: CausalLMPolicy) -> None:
    input_ids = torch.randint(0, 33, (5, 24), generator=torch.Generator().manual_seed(0))
    hidden = policy.hidden_states(input_ids, torch.ones_like(input_ids))
    probabilities = policy.logits(hidden.flatten(0, 1)).softmax(-1)
    torch.testing.assert_close(probabilities[:, 32], torch.full((120,), 0.2), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        probabilities[:, :32], torch.full((120, 32), 0.8 / 32), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1])
def test_toy_policy_refuses_a_probability_outside_the_open_interval(probability: float) -> None:
    with pytest.raises(ValueError, match=r"eos_probability must be in \(0, 1\)"):
        toy_policy(33, 32, length=24, eos_probability=probability)


def test_evaluation_of_the_toy_matches_its_known_distribution(policy: CausalLMPolicy) -> None:
    # A word is "not EOS": the number written before EOS is geometric, cut at 20. "?" is no word.
    words = sum(0.8**k for k in range(1, 21)) * 31 / 32
    evaluation = evaluate(policy, policy, make_envs(1000), 1000, seed=1)
    figures = evaluation.figures
    assert abs(figures["reward"] - words) < 3 * figures["reward_half_width"] / 1.96
    assert figures["kl"] == figures["kl_half_width"] == 0
    # Per token, the entropy of (0.2, 32 x 0.025); the sampled mean of -log p comes close.
    entropy = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8 / 32))
    assert abs(math.log(figures["perplexity"]) - entropy) < 0.1
    assert figures["largest_share"] == pytest.approx(0.2, abs=0.05)  # the empty text
    assert len(evaluation.completions) == len(evaluation.prompts) == len(evaluation.scores) == 1000


def test_same_seed_gives_the_same_evaluation_and_another_does_not(policy: CausalLMPolicy) -> None:
    envs = make_envs(8)
    first, again, other = (evaluate(policy, policy, envs, 8, seed=s) for s in (1, 1, 2))
    assert first == again
    assert first.completions != other.completions


def test_kl_is_measured_from_the_reference(policy: CausalLMPolicy) -> None:
    reference = toy_policy(33, 32, length=24, eos_probability=0.5)
    evaluation = evaluate(policy, reference, make_envs(2000), 2000, seed=0)
    end, word = math.log(0.2 / 0.5), math.log(0.8 / 0.5)
    # Each of the tokens before the end adds log(0.8/0.5); EOS, if it comes, log(0.2/0.5).
    exact = sum(0.8 ** (t - 1) * (0.2 * end + 0.8 * word) for t in range(1, 21))
    assert evaluation.figures["kl"] == pytest.approx(exact, abs=0.12)


def test_distinct_n_counts_pairs_over_all_texts() -> None:
    assert distinct_n(["a b c", "A b"], 2) == pytest.approx(2 / 3)
    assert distinct_n(["a b", "a b!"], 2) == 1 / 2  # punctuation is no word
    assert distinct_n(["a a a a"], 2) == pytest.approx(1 / 3)
    assert distinct_n(["a b", "c d"], 1) == 1


def test_distinct_n_of_texts_without_n_words_is_what_is_asked_for() -> None:
    assert distinct_n(["a"], 2) == distinct_n([], 2) == 0
    assert distinct_n(["a"], 2, without=1.0) == 1


@pytest.mark.parametrize("n", [0, True, 1.5])
def test_distinct_n_refuses_what_is_no_number_of_words(n: int) -> None:
    with pytest.raises(ValueError, match="n must be an integer of at least 1, received"):
        distinct_n(["a b"], n)


# Intervals


@pytest.mark.parametrize(
    ("values", "mean", "half_width"),
    [
        ([0.0, 2.0], 1.0, 12.7062),  # t(1) = 12.7062, s = sqrt(2), n = 2
        ([1.0, 2.0, 6.0], 3.0, 4.3027 * math.sqrt(7 / 3)),  # t(2) = 4.3027, s = sqrt(7)
        ([2.0] * 5 + [4.0] * 5, 3.0, 2.2622 * math.sqrt(10 / 9 / 10)),  # t(9) = 2.2622
        ([0.0, 1.0] * 500, 0.5, 1.96234 * math.sqrt(0.25 / 999)),  # t(999), almost 1.96
        ([5.0] * 3, 5.0, 0.0),
    ],
)
def test_half_widths_are_those_of_the_tables(
    values: list[float], mean: float, half_width: float
) -> None:
    interval = mean_interval(values)
    assert interval.mean == mean
    assert interval.half_width == pytest.approx(half_width, rel=2e-5)


def test_nineteen_of_twenty_intervals_of_few_values_hold_the_mean() -> None:
    samples = np.random.default_rng(0).normal(3.0, 2.0, (4000, 4))
    held = [abs(one.mean - 3) < one.half_width for one in map(mean_interval, samples)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.01)  # with 1.96 it would be 0.855


def test_one_value_says_nothing_of_its_spread_and_none_has_no_mean() -> None:
    assert mean_interval([7.0]).mean == 7
    assert math.isnan(mean_interval([7.0]).half_width)
    with pytest.raises(ValueError, match="values must be at least one, got none"):
        mean_interval([])


# Figures


def evaluation_of(
    scores: list[float],
    prompts: list[str],
    log_ratios: list[float] | None = None,
    kl_coef: float | None = None,
) -> Evaluation:
    n = len(scores)
    return Evaluation(
        prompts=prompts,
        completions=["text"] * n,
        references=[None] * n,
        scores=scores,
        lengths=[2] * n,
        log_ratios=log_ratios or [0.0] * n,
        ref_log_probs=[-3.0] * n,
        kl_coef=kl_coef,
    )


def test_the_objective_is_reward_less_the_price_of_kl_text_by_text() -> None:
    one = evaluation_of([1.0, 2.0, 6.0], ["a", "b", "c"], [2.0, 4.0, 9.0], kl_coef=0.5)
    # 0, 0 and 1.5: variance 0.75. Paired, the interval is narrower than that of the reward.
    assert one.figures["objective"] == 0.5
    assert one.figures["objective_half_width"] == pytest.approx(4.302653 * math.sqrt(0.75 / 3))
    assert one.figures["reward"] - 0.5 * one.figures["kl"] == one.figures["objective"]
    assert one.figures["perplexity"] == pytest.approx(math.exp(1.5))


def test_without_a_price_there_is_no_objective_anywhere() -> None:
    one = evaluation_of([1.0, 2.0], ["a", "b"])
    assert not any("objective" in name for name in one.figures)
    assert paired_gains(one, one).keys() == {"reward"}
    assert "objective" not in shown(one, one)
    assert "objective" in shown(*[evaluation_of([1.0, 2.0], ["a", "b"], kl_coef=0.0)] * 2)


def shown(before: Evaluation, after: Evaluation) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(evaluations({"before": before, "after": after}, "Held-out prompts"))
    return capture.get()


def test_the_table_has_every_figure_with_its_interval_and_the_gain() -> None:
    before = evaluation_of([0.0, 2.0], ["a", "b"], kl_coef=0.1)
    after = evaluation_of([3.0, 5.0], ["a", "b"], [10.0, 10.0], kl_coef=0.1)
    lines = [" ".join(line.split()) for line in shown(before, after).splitlines()]
    assert "reward 1.000 +/- 12.706 4.000 +/- 12.706" in lines
    assert "KL (nats per reply) 0.00 +/- 0.00 10.00 +/- 0.00" in lines
    assert "paired gain, reward +3.000 +/- 0.000" in lines
    assert "paired gain, objective +2.000 +/- 0.000" in lines


def test_a_new_metric_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def words(one: Evaluation) -> list[float]:
        return [float(len(text.split())) for text in one.completions]

    monkeypatch.setitem(METRICS, "words", Metric("words per reply", 1, words))
    monkeypatch.setitem(METRICS, "bleu", Metric("BLEU", 1, lambda one: None))
    one = evaluation_of([0.0, 2.0], ["a", "b"])
    assert figures_of({"after": one.figures})["words_half_width_after"] == 0
    assert "words per reply" in shown(one, one)
    assert "BLEU" not in shown(one, one)


def test_an_evaluation_is_of_the_same_texts_throughout() -> None:
    with pytest.raises(ValueError, match=r"the same texts throughout, got .*'scores': 1"):
        Evaluation(["a", "b"], ["", ""], [None, None], [0.0], [1, 1], [0.0, 0.0], [0.0, 0.0])


def test_paired_gain_is_the_mean_difference_with_its_own_interval() -> None:
    prompts = ["easy", "hard", "middling"]
    before, after = [9.0, -9.0, 0.0], [10.0, -7.0, 3.0]
    gain = paired_gains(evaluation_of(before, prompts), evaluation_of(after, prompts))["reward"]
    assert gain.mean == 2.0
    assert gain.half_width == pytest.approx(4.302653 * 1.0 / math.sqrt(3))


@pytest.mark.parametrize("other", [["a", "c"], ["b", "a"], ["a"]])
def test_paired_gains_refuse_other_prompts(other: list[str]) -> None:
    before = evaluation_of([0.0, 1.0], ["a", "b"])
    with pytest.raises(ValueError, match="before and after must be of the same two prompts"):
        paired_gains(before, evaluation_of([0.0] * len(other), other))
