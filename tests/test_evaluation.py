from __future__ import annotations

import math

import gymnasium as gym
import pytest
import torch

import text_gym  # noqa: F401  # registers TextGen-v0
from agents.applications.toy_policy import toy_policy
from agents.evaluation.evaluate import Evaluation, distinct_n, evaluate, paired_gain
from agents.policy.causal_lm import CausalLMPolicy


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
    assert abs(evaluation.reward - words) < 3 * evaluation.reward_half_width / 1.96
    assert evaluation.kl == 0
    # Per token, the entropy of (0.2, 32 x 0.025); the sampled mean of -log p comes close.
    entropy = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8 / 32))
    assert abs(math.log(evaluation.perplexity) - entropy) < 0.1
    assert evaluation.largest_share == pytest.approx(0.2, abs=0.05)  # the empty text
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
    assert evaluation.kl == pytest.approx(exact, abs=0.12)


def test_distinct_n_counts_pairs_over_all_texts() -> None:
    assert distinct_n(["a b c", "A b"], 2) == pytest.approx(2 / 3)
    assert distinct_n(["a a a a"], 2) == pytest.approx(1 / 3)
    assert distinct_n(["a"], 2) == 0
    assert distinct_n(["a b", "c d"], 1) == 1


def evaluation_of(scores: list[float], prompts: list[str]) -> Evaluation:
    texts = ["text"] * len(scores)
    return Evaluation(0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, prompts, texts, scores)


def test_paired_gain_is_the_mean_difference_with_its_own_interval() -> None:
    prompts = ["easy", "hard", "middling"]
    before, after = [9.0, -9.0, 0.0], [10.0, -7.0, 3.0]
    gain = paired_gain(evaluation_of(before, prompts), evaluation_of(after, prompts))
    assert gain.mean == 2.0
    assert gain.half_width == pytest.approx(1.96 * 1.0 / math.sqrt(3))


@pytest.mark.parametrize("other", [["a", "c"], ["b", "a"], ["a"]])
def test_paired_gain_refuses_other_prompts(other: list[str]) -> None:
    before = evaluation_of([0.0, 1.0], ["a", "b"])
    with pytest.raises(ValueError, match="before and after must be of the same two prompts"):
        paired_gain(before, evaluation_of([0.0] * len(other), other))
