"""One evaluation by two processes: the prompts are those of one, each judges its own texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import pytest
from torch import distributed
from transformers import GPT2Config

from agents.distributed import processes
from agents.evaluation.metrics import Evaluation
from agents.policy.causal_lm import CausalLMPolicy
from agents.runs.shared_evaluation import OwnRows, evaluate_together, rescored_together
from text_gym import CharTokenizer
from text_gym.prompt_sources import EpochPrompts

pytestmark = pytest.mark.skipif(not distributed.is_available(), reason="no torch.distributed")

N_TEXTS = 7
GPT2 = GPT2Config(
    vocab_size=3, n_positions=8, n_embd=16, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
)
PROMPTS = ["a", "b", "ab", "ba", "aa"]


def evaluated(prompts: Any, temperature: float, calls: list[int] | None = None) -> Evaluation:
    """What all processes together find of a policy that hardly draws at low temperatures."""

    def reward(episodes: Any) -> list[float]:
        if calls is not None:
            calls.append(len(episodes))
        return [one.completion.count("a") - len(one.prompt) for one in episodes]

    rows = processes.rows_of(N_TEXTS, "n_episodes")
    envs = gym.make_vec(
        "TextGen-v0",
        num_envs=len(rows),
        prompts=prompts,
        tokenizer=CharTokenizer("ab"),
        reward_function=reward,
        max_new_tokens=6,
        autoreset_mode="Disabled",
    )
    policy = CausalLMPolicy.from_config(GPT2, temperature=temperature).double()
    reference = CausalLMPolicy.from_config(GPT2, seed=1).double()
    own = OwnRows(envs, rows.start)
    return evaluate_together(policy, reference, own, N_TEXTS, seed=3, kl_coef=0.5)


@pytest.mark.parametrize("prompts", [PROMPTS, EpochPrompts(PROMPTS)], ids=["each", "epochs"])
def test_where_nothing_is_left_to_chance_two_processes_find_what_one_does(
    prompts: Any, in_two_processes: Callable[[Callable[[], Any]], list[Any]]
) -> None:
    expected = evaluated(prompts, temperature=1e-3)
    assert len(set(expected.prompts)) > 2
    for got in in_two_processes(lambda: evaluated(prompts, temperature=1e-3)):
        assert got.prompts == expected.prompts
        assert got.completions == expected.completions
        assert got.scores == expected.scores
        assert got.log_ratios == pytest.approx(expected.log_ratios, abs=1e-9)
        assert got.figures == pytest.approx(expected.figures, abs=1e-9)


def test_each_process_judges_only_what_it_wrote_with_random_numbers_of_its_own(
    in_two_processes: Callable[[Callable[[], Any]], list[Any]],
) -> None:
    def work() -> tuple[int, Evaluation]:
        calls: list[int] = []
        found = evaluated(["a"], 1.0, calls)
        return sum(calls), found

    (first, mine), (second, theirs) = in_two_processes(work)
    assert (first, second) == (3, 4)
    assert mine == theirs
    assert mine.completions[:3] != mine.completions[3:6]


def test_another_reward_is_asked_about_each_text_by_one_process(
    in_two_processes: Callable[[Callable[[], Any]], list[Any]],
) -> None:
    def work() -> tuple[int, list[float], list[str]]:
        asked: list[int] = []

        def length(episodes: Any) -> list[float]:
            asked.append(len(episodes))
            return [float(len(one.completion)) for one in episodes]

        found = evaluated(["a"], 1.0)
        lengths = rescored_together(length, found)
        return sum(asked), lengths, list(found.completions)

    results = in_two_processes(work)
    assert [n for n, _, _ in results] == [3, 4]
    for _, lengths, completions in results:
        assert lengths == [len(one) for one in completions]


def test_a_process_without_a_text_is_refused(
    in_two_processes: Callable[[Callable[[], Any]], list[Any]],
) -> None:
    def work() -> str:
        with pytest.raises(ValueError, match="eval_episodes") as refused:
            processes.rows_of(1, "eval_episodes")
        return str(refused.value)

    message = "eval_episodes must be at least the number of processes, 2, got 1"
    assert in_two_processes(work) == [message] * 2
    assert processes.rows_of(1, "eval_episodes") == range(1)
