"""Texts that a writer wrote, dictated to the environments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from transformers import GPT2Config

from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.buffer import Rollout
from agents.rollout.collect import collect_rollout
from agents.rollout.dictation import collect_dictated
from agents.rollout.writers.text_writer import Order, Written
from tests.fake_writers import RecallingWriter, TemperedWriter
from tests.test_rollout import FakeEnvs
from text_gym import CharTokenizer, TextGenVectorEnv
from text_gym.constraints import MinimumLength, NoRepeatNgram
from text_gym.wrappers.vector import Constrain

WORDS = CharTokenizer("abc")
PROMPTS = ["a", "bb", "cab", "c"]


class WithReserved(CharTokenizer):
    """Has a token, b, that nobody is to write."""

    def __init__(self) -> None:
        super().__init__("abc")
        self.excluded_token_ids = frozenset({1})


def environments(n: int = 4, **changes: Any) -> TextGenVectorEnv:
    settings = {
        "prompts": PROMPTS,
        "tokenizer": WORDS,
        "reward_function": lambda prompt, completion: completion.count("a") - 0.5 * len(prompt),
        "max_new_tokens": 6,
        "autoreset_mode": "Disabled",
    }
    return TextGenVectorEnv(n, **{**settings, **changes})


def policy_for(envs: Any) -> CausalLMPolicy:
    size = int(envs.single_action_space.n)
    config = GPT2Config(
        vocab_size=size, n_embd=8, n_layer=1, n_head=1, n_positions=12, initializer_range=0.6
    )
    config.bos_token_id = config.eos_token_id = 0
    return CausalLMPolicy.from_config(config)


def dictated(writer: Any, envs: Any, n_episodes: int, seed: int = 3) -> Rollout:
    generator = torch.Generator().manual_seed(0)
    return collect_dictated(writer, policy_for(envs), envs, n_episodes, generator, seed=seed)


def own(envs: Any, n_episodes: int, seed: int = 3) -> Rollout:
    generator = torch.Generator().manual_seed(0)
    return collect_rollout(policy_for(envs), envs, n_episodes, generator, seed=seed)


@pytest.mark.parametrize("tokenizer", [WORDS, WithReserved()], ids=["all", "some excluded"])
@pytest.mark.parametrize("limit", ["terminate", "truncate"])
def test_what_our_decoder_wrote_becomes_the_same_rollout(tokenizer: Any, limit: str) -> None:
    envs = environments(16, tokenizer=tokenizer, limit=limit)
    expected = own(envs, 16)
    assert len(set(expected.texts.lengths.tolist())) > 2
    got = dictated(RecallingWriter(expected), envs, 16)
    assert got.infos[0].keys() == expected.infos[0].keys()
    for name in ("rewards", "log_probs", "truncated"):
        assert torch.equal(getattr(got, name), getattr(expected, name))
    for ours, theirs in zip(got.texts[:3], expected.texts[:3], strict=True):
        assert torch.equal(ours, theirs)
    if expected.texts.action_masks is not None:
        assert torch.equal(*(one.texts.action_masks.table for one in (got, expected)))
        assert torch.equal(*(one.texts.action_masks.numbers for one in (got, expected)))
    assert [info["stop_reason"] for info in got.infos] == [
        info["stop_reason"] for info in expected.infos
    ]


def test_a_batch_larger_than_the_rows_is_written_in_rounds() -> None:
    envs = environments(4)
    got = dictated(TemperedWriter(), envs, 10)
    assert len(got) == 10
    scores = [info["text_episode"].completion.count("a") for info in got.infos]
    lengths = [len(info["text_episode"].prompt) for info in got.infos]
    assert_close(got.scores, torch.tensor(scores) - 0.5 * torch.tensor(lengths))


def test_a_writer_is_told_prompts_budgets_ends_and_what_is_allowed() -> None:
    envs = environments(4, tokenizer=WithReserved(), stop_token_ids=[2], max_new_tokens=3)
    writer = RecallingWriter(own(envs, 4))
    got = dictated(writer, envs, 4)
    (order,) = writer.orders
    texts = got.texts
    starts = (texts.attention_mask & ~texts.completion_mask).sum(dim=1).tolist()
    assert order.prompts == [
        ids[:n].tolist() for ids, n in zip(texts.input_ids, starts, strict=True)
    ]
    assert order.budgets == [3] * 4
    assert order.stop_ids == [2, WORDS.eos_token_id]
    assert order.allowed is not None
    assert np.flatnonzero(~order.allowed).tolist() == [1]


def test_the_seed_of_a_round_comes_from_the_generator() -> None:
    envs = environments(4)
    writer = RecallingWriter(own(envs, 4))
    dictated(writer, envs, 4)
    first = writer.orders[0].seed
    again = RecallingWriter(own(envs, 4))
    dictated(again, envs, 4)
    assert again.orders[0].seed == first
    generator = torch.Generator().manual_seed(1)
    other = RecallingWriter(own(envs, 4))
    collect_dictated(other, policy_for(envs), envs, 4, generator, seed=3)
    assert other.orders[0].seed != first


class Fixed:
    """Writes one text to every prompt."""

    def __init__(self, *token_ids: int) -> None:
        self._text = Written(token_ids, [0.0] * len(token_ids), "stop")

    def load(self, policy: CausalLMPolicy) -> None:
        pass

    def write(self, order: Order) -> list[Written]:
        return [self._text] * len(order.prompts)


def test_a_text_that_goes_on_past_its_end_in_the_environment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"after 3 tokens \(stop\), the environment does after 2"):
        dictated(Fixed(2, WORDS.eos_token_id, 2), environments(), 4)


def test_a_text_that_ends_before_the_environment_ends_it_is_refused() -> None:
    message = r"after 2 tokens \(stop\), the environment goes on; row 0, tokens \[2, 1\] after"
    with pytest.raises(ValueError, match=message):
        dictated(Fixed(2, 1), environments(), 4)


def test_constraints_are_refused_by_name() -> None:
    envs = Constrain(environments(), MinimumLength(2))
    with pytest.raises(ValueError, match="Constrain of TextGenVectorEnv report another"):
        dictated(Fixed(2), envs, 4)


def test_a_mask_that_changes_later_is_refused() -> None:
    envs = Constrain(environments(), NoRepeatNgram(2))
    with pytest.raises(ValueError, match="Constrain of TextGenVectorEnv report another"):
        dictated(Fixed(2, 2, 2), envs, 4)


def test_a_mask_that_no_reset_reports_is_refused() -> None:
    class Late(Constrain):
        def reset(self, **kwargs: Any) -> Any:
            observations, infos = super().reset(**kwargs)
            return observations, {k: v for k, v in infos.items() if not k.endswith("action_mask")}

    with pytest.raises(ValueError, match="Late of TextGenVectorEnv report another"):
        dictated(Fixed(2, 2, 2), Late(environments(), NoRepeatNgram(2)), 4)


def test_turns_are_refused() -> None:
    envs = environments(responder=lambda turns: ["a"] * len(turns), max_response_tokens=4)
    with pytest.raises(ValueError, match="texts of one turn"):
        dictated(Fixed(WORDS.eos_token_id), envs, 4)


def test_other_modes_and_silent_environments_are_refused() -> None:
    with pytest.raises(ValueError, match="'Disabled' for a writer"):
        dictated(Fixed(0), environments(autoreset_mode="SameStep"), 4)
    with pytest.raises(ValueError, match="end_of_text_ids"):
        dictated(Fixed(0), FakeEnvs(4), 4)


def test_fewer_episodes_than_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="number of environments, 4, got 3"):
        dictated(Fixed(0), environments(), 3)


def test_too_few_texts_are_refused() -> None:
    writer = Fixed(WORDS.eos_token_id)
    writer.write = lambda order: []  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="a text to each of 4 prompts, Fixed: 0"):
        dictated(writer, environments(), 4)


@pytest.mark.parametrize("text", [Written([2, 1], [0.0], "stop"), Written([], [], "stop")])
def test_tokens_without_log_probs_and_empty_texts_are_refused(text: Written) -> None:
    writer = Fixed(2)
    writer._text = text
    counts = f"{len(text.token_ids)} tokens and {len(text.log_probs)} log-probs in text 0"
    with pytest.raises(ValueError, match=f"Fixed gave {counts}"):
        dictated(writer, environments(), 4)
