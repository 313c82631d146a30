"""Collecting episodes, in text_gym's environments and in foreign ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from numpy.typing import NDArray
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, GPT2Config

from agents import PPO, PPOConfig
from agents.evaluation.evaluate import evaluate
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.buffer import Rollout
from agents.rollout.collect import collect_rollout
from agents.rollout.fit import vocabulary_mask, warn_of_unheeded_ends
from agents.rollout.timer import Timer
from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv
from text_gym.constraints import MinimumLength
from text_gym.wrappers import Constrain

DISABLED, SAME_STEP = AutoresetMode.DISABLED, AutoresetMode.SAME_STEP
both_modes = pytest.mark.parametrize("mode", [DISABLED, SAME_STEP], ids=["disabled", "same_step"])
V, ROOM = 8, 9


class FakeEnvs(VectorEnv[Any, Any, Any]):
    """A vector environment that knows nothing of text_gym.

    A prompt is one or two copies of a token p, and the text ends after p tokens: length depends on
    the prompt alone. Choosing token a as the t-th of a text pays 10 t + a.

    Args:
        num_envs: Rows.
        mode: Autoreset mode.
        mask: Tokens allowed as the t-th of a text, as a function of t; None: all, unreported.
        limit: Tokens after which a text is truncated.
    """

    def __init__(
        self,
        num_envs: int,
        mode: AutoresetMode = DISABLED,
        *,
        mask: Callable[[int], NDArray[np.int8]] | None = None,
        limit: int = ROOM,
    ) -> None:
        self.num_envs, self.mask, self.limit = num_envs, mask, limit
        self.metadata = {"autoreset_mode": mode}
        self.single_action_space = spaces.Discrete(V)
        self.action_space = spaces.MultiDiscrete([V] * num_envs)
        self.single_observation_space = spaces.Dict(
            input_ids=spaces.Box(0, V - 1, (ROOM,), np.int64),
            attention_mask=spaces.Box(0, 1, (ROOM,), np.int8),
        )
        self.texts: list[list[int]] = [[] for _ in range(num_envs)]
        self.written = np.zeros(num_envs, dtype=int)
        self.ended = np.ones(num_envs, dtype=bool)
        self.streams: list[np.random.Generator] = []
        self.started: list[int] = []
        self.finished: list[int] = []
        self.seeds: list[int | None] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.seeds.append(seed)
        if seed is not None or not self.streams:
            self.streams = [np.random.default_rng((seed or 0) + i) for i in range(self.num_envs)]
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, dtype=bool))
        for row in np.flatnonzero(mask):
            self.begin(row)
        return self.observation(), self.masks(mask)

    def begin(self, row: int) -> None:
        p = int(self.streams[row].choice([1, 2, 6]))
        self.started.append(p)
        self.texts[row] = [p] * (1 + p % 2)
        self.written[row], self.ended[row] = 0, False

    def step(self, actions: NDArray[np.int64]) -> Any:
        rewards, final = np.zeros(self.num_envs), np.full(self.num_envs, None, dtype=object)
        done, cut = (np.zeros(self.num_envs, dtype=bool) for _ in range(2))
        goes_on = ~self.ended
        for row in np.flatnonzero(goes_on):
            rewards[row] = 10 * self.written[row] + actions[row]
            self.texts[row].append(int(actions[row]))
            self.written[row] += 1
            done[row] = self.written[row] == self.texts[row][0]
            cut[row] = self.written[row] == self.limit
            if done[row] or cut[row]:
                self.finished.append(self.texts[row][0])
                self.ended[row] = True
        over = done | cut
        last = {"asked": np.array([text[0] for text in self.texts]), "_asked": over.copy()}
        infos: dict[str, Any] = last if over.any() else {}
        if self.metadata["autoreset_mode"] is SAME_STEP and over.any():
            observation = self.observation()
            for row in np.flatnonzero(over):
                final[row] = {key: value[row].copy() for key, value in observation.items()}
                self.begin(row)
            infos = {
                "final_obs": final,
                "_final_obs": over,
                "final_info": last,
                "_final_info": over,
            }
        return self.observation(), rewards, done, cut, infos | self.masks(goes_on)

    def observation(self) -> dict[str, NDArray[Any]]:
        input_ids = np.zeros((self.num_envs, ROOM), dtype=np.int64)
        attention_mask = np.zeros((self.num_envs, ROOM), dtype=np.int8)
        for row, text in enumerate(self.texts):
            input_ids[row, : len(text)], attention_mask[row, : len(text)] = text, 1
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def masks(self, rows: NDArray[np.bool_]) -> dict[str, Any]:
        if self.mask is None:
            return {}
        masks = np.stack([self.mask(int(t)) for t in self.written])
        return {"action_mask": masks, "_action_mask": rows.copy()}


def policy_for(vocab_size: int, length: int, temperature: float = 1.0) -> CausalLMPolicy:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
    config = GPT2Config(vocab_size=vocab_size, n_positions=length, bos_token_id=0, eos_token_id=0)
    for name, value in sizes.items():
        setattr(config, name, value)
    return CausalLMPolicy.from_config(config, temperature=temperature)


POLICY = policy_for(V, ROOM, temperature=0.8)
ALPHABET = "abcd"
TEXT_POLICY = policy_for(len(ALPHABET) + 1, 10)
TEXT_TASK: dict[str, Any] = {
    "prompts": ["a", "bcd", "cb"],
    "tokenizer": CharTokenizer(ALPHABET),
    "reward_function": lambda prompt, completion: len(completion) + 0.5,
    "max_new_tokens": 7,
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows_of(rollout: Rollout) -> list[list[int]]:
    texts = zip(rollout.texts.input_ids, rollout.texts.attention_mask, strict=True)
    return [ids[mask].tolist() for ids, mask in texts]


def assert_same_rollouts(one: Rollout, other: Rollout) -> None:
    for mine, theirs in zip(one.texts[:3], other.texts[:3], strict=True):
        assert torch.equal(mine, theirs)
    for name in ("rewards", "log_probs", "truncated"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


# What is written down


@both_modes
def test_rewards_and_tokens_stand_where_they_were_paid_for(mode: AutoresetMode) -> None:
    rollout = collect_rollout(POLICY, FakeEnvs(3, mode), 8, seeded(), seed=0)
    assert len(rollout) == 8
    for episode, text in enumerate(rows_of(rollout)):
        prompt = 1 + text[0] % 2
        assert len(text) == prompt + text[0]
        expected = [0.0] * prompt + [10.0 * t + a for t, a in enumerate(text[prompt:])]
        width = rollout.rewards.shape[1]
        assert rollout.rewards[episode].tolist() == expected + [0.0] * (width - len(text))
        chosen = [False] * prompt + [True] * text[0] + [False] * (width - len(text))
        assert rollout.texts.completion_mask[episode].tolist() == chosen
        assert rollout.infos[episode]["asked"] == text[0]
        assert rollout.scores[episode].item() == sum(expected)
    assert rollout.texts.input_ids.shape[1] == max(map(len, rows_of(rollout)))
    assert torch.equal(rollout.texts.lengths, rollout.texts.input_ids[:, 0])
    assert not rollout.texts.input_ids[~rollout.texts.attention_mask].any()
    assert not rollout.log_probs[~rollout.texts.completion_mask].any()


@both_modes
def test_sampling_log_probs_are_those_of_the_training_forward(mode: AutoresetMode) -> None:
    policy = policy_for(V, ROOM, temperature=0.6).double()
    rollout = collect_rollout(policy, FakeEnvs(4, mode), 30, seeded(), seed=0)
    with torch.no_grad():
        expected = policy(rollout.texts).log_probs.float()
    assert_close(rollout.log_probs, expected, rtol=0, atol=1e-6)
    assert (rollout.log_probs[rollout.texts.completion_mask] < 0).all()


def test_tokens_are_drawn_from_the_policy() -> None:
    """The first token after the prompt [1, 1], by a chi-square test."""
    policy = policy_for(V, ROOM, temperature=1.5)
    rollout = collect_rollout(policy, FakeEnvs(64), 3_000, seeded(), seed=0)
    rows = [text for text in rows_of(rollout) if text[0] == 1]
    with torch.no_grad():
        logits = policy.model(torch.tensor([[1, 1]])).logits[0, -1] / 1.5
    expected = len(rows) * logits.softmax(-1)
    observed = torch.bincount(torch.tensor([text[2] for text in rows]), minlength=V)
    assert expected.min() > 5
    chi_square = ((observed - expected) ** 2 / expected).sum().item()
    assert chi_square < 24.3  # 0.999 quantile, 7 degrees of freedom


# Which episodes belong to a batch


@both_modes
@pytest.mark.parametrize("n_episodes", [4, 7, 8, 25])
def test_the_first_to_start_are_returned_not_the_first_to_finish(
    mode: AutoresetMode, n_episodes: int
) -> None:
    envs = FakeEnvs(4, mode)
    rollout = collect_rollout(POLICY, envs, n_episodes, seeded(), seed=1)
    prompts = rollout.texts.input_ids[:, 0].tolist()
    assert prompts == envs.started[:n_episodes]
    if mode is SAME_STEP and n_episodes > 4:  # surplus episodes are written, and left out
        assert sorted(prompts) != sorted(envs.finished[:n_episodes])


def test_long_texts_are_as_frequent_as_their_prompts() -> None:
    rollout = collect_rollout(POLICY, FakeEnvs(16), 2_000, seeded(), seed=0)
    counts = torch.bincount(rollout.texts.lengths, minlength=7)
    assert counts.sum() == counts[[1, 2, 6]].sum() == 2_000
    chi_square = ((counts[[1, 2, 6]] - 2_000 / 3) ** 2 / (2_000 / 3)).sum().item()
    assert chi_square < 13.8  # 0.999 quantile, 2 degrees of freedom


@pytest.mark.parametrize("n_episodes", [4, 7, 8, 25])
def test_both_modes_give_the_same_episodes(n_episodes: int) -> None:
    one, other = (
        collect_rollout(POLICY, FakeEnvs(4, mode), n_episodes, seeded(), seed=1)
        for mode in (DISABLED, SAME_STEP)
    )
    assert_same_rollouts(one, other)


@both_modes
def test_no_more_rows_are_reset_than_the_quota_needs(mode: AutoresetMode) -> None:
    envs = FakeEnvs(4, mode)
    collect_rollout(POLICY, envs, 9, seeded(), seed=0)
    assert (len(envs.started) == 9) == (mode is DISABLED)


def test_every_batch_starts_with_a_full_reset() -> None:
    envs = FakeEnvs(2)
    collect_rollout(POLICY, envs, 2, seeded(), seed=7)
    assert envs.seeds == [7]
    collect_rollout(POLICY, envs, 2, seeded())
    assert envs.seeds == [7, None]
    assert len(envs.started) == 4


def test_a_batch_must_have_an_episode_per_row() -> None:
    with pytest.raises(ValueError, match=r"n_episodes must be at least .* 4, got 3"):
        collect_rollout(POLICY, FakeEnvs(4), 3, seeded())


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, None])
def test_other_autoreset_modes_are_refused_by_name(mode: AutoresetMode | None) -> None:
    envs = FakeEnvs(2)
    envs.metadata = {"autoreset_mode": mode}
    with pytest.raises(ValueError, match=f"autoreset_mode 'Disabled' or 'SameStep', got {mode}"):
        collect_rollout(POLICY, envs, 2, seeded())
    assert not envs.seeds  # refused before anything happened


def test_a_single_environment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"envs must be a vector environment, as gym\.make_vec"):
        collect_rollout(POLICY, TextGenEnv(), 2, seeded())  # type: ignore[arg-type]


# Environments of text_gym, native and vectorised by Gymnasium


def text_envs(kind: str, n: int, **changes: Any) -> VectorEnv[Any, Any, Any]:
    task = TEXT_TASK | changes
    if kind == "sync":
        return SyncVectorEnv([lambda: TextGenEnv(**task)] * n, autoreset_mode=SAME_STEP)
    return TextGenVectorEnv(n, autoreset_mode=kind, **task)


@pytest.mark.parametrize("kind", ["Disabled", "SameStep", "sync"])
@pytest.mark.parametrize("n_episodes", [3, 8, 12])
def test_text_environments_give_the_same_rollouts(kind: str, n_episodes: int) -> None:
    rollout = collect_rollout(TEXT_POLICY, text_envs(kind, 3), n_episodes, seeded(), seed=5)
    reference = collect_rollout(TEXT_POLICY, text_envs("Disabled", 3), n_episodes, seeded(), seed=5)
    assert_same_rollouts(rollout, reference)
    assert [info["text_episode"] for info in rollout.infos] == [
        info["text_episode"] for info in reference.infos
    ]
    for text, info, score in zip(rows_of(rollout), rollout.infos, rollout.scores, strict=True):
        episode = info["text_episode"]
        assert text == [*episode.prompt_ids.tolist(), *episode.completion_ids.tolist()]
        assert score.item() == len(episode.completion) + 0.5
        assert info["stop_reason"] == episode.stop_reason
    assert not rollout.truncated.any()


@pytest.mark.parametrize("kind", ["Disabled", "SameStep", "sync"])
def test_the_token_limit_can_truncate(kind: str) -> None:
    envs = text_envs(kind, 3, limit="truncate", max_new_tokens=3)
    rollout = collect_rollout(TEXT_POLICY, envs, 30, seeded(), seed=5)
    at_limit = [info["stop_reason"] == "length" for info in rollout.infos]
    assert 0 < sum(at_limit) < 30
    assert rollout.truncated.tolist() == at_limit
    assert not rollout.scores[rollout.truncated].any()


def test_an_outer_time_limit_truncates() -> None:
    envs = SyncVectorEnv(
        [lambda: TimeLimit(TextGenEnv(**TEXT_TASK), 2)] * 3, autoreset_mode=SAME_STEP
    )
    rollout = collect_rollout(TEXT_POLICY, envs, 30, seeded(), seed=5)
    eos = len(ALPHABET)
    unfinished = [text[-1] != eos for text in rows_of(rollout)]
    assert 0 < sum(unfinished) < 30
    assert rollout.truncated.tolist() == unfinished
    assert rollout.texts.lengths.max() == 2


def test_the_end_of_the_text_wins_over_a_limit_at_the_same_step() -> None:
    """Both flags at once: the text is finished, so there is nothing to bootstrap from."""
    rollout = collect_rollout(POLICY, FakeEnvs(2, limit=2), 20, seeded(), seed=0)
    assert torch.equal(rollout.truncated, rollout.texts.input_ids[:, 0] == 6)
    assert rollout.truncated.any()


@both_modes
def test_episode_statistics_of_gymnasium_are_reported(mode: AutoresetMode) -> None:
    envs = RecordEpisodeStatistics(text_envs(mode.value, 3))
    rollout = collect_rollout(TEXT_POLICY, envs, 8, seeded(), seed=5)
    if mode is DISABLED:
        assert [info["episode"]["l"] for info in rollout.infos] == rollout.texts.lengths.tolist()
        assert [info["episode"]["r"] for info in rollout.infos] == rollout.scores.tolist()


# Action masks


def alternating(t: int) -> NDArray[np.int8]:
    """Even ids first, then odd ids, and so on; the last id always."""
    allowed = (np.arange(V) % 2 == t % 2).astype(np.int8)
    allowed[-1] = 1
    return allowed


@both_modes
def test_masks_hold_at_their_position(mode: AutoresetMode) -> None:
    policy = policy_for(V, ROOM, temperature=0.7).double()
    rollout = collect_rollout(policy, FakeEnvs(4, mode, mask=alternating), 60, seeded(), seed=0)
    assert rollout.texts.action_masks is not None
    table, numbers = rollout.texts.action_masks
    seen = set()
    for episode, text in enumerate(rows_of(rollout)):
        prompt = 1 + text[0] % 2
        for t, token in enumerate(text[prompt:]):
            assert alternating(t)[token]
            assert (
                table[numbers[episode, prompt + t]].tolist() == alternating(t).astype(bool).tolist()
            )
            seen.add((t, token))
    assert len(seen) > 15
    with torch.no_grad():
        statistics = policy(rollout.texts)
        free = policy(rollout.texts._replace(action_masks=None))
    assert_close(rollout.log_probs, statistics.log_probs.float(), rtol=0, atol=1e-6)
    chosen = rollout.texts.completion_mask
    assert (statistics.log_probs > free.log_probs)[chosen].all()
    assert statistics.entropies.max() <= np.log(5)


def test_both_modes_agree_under_masks() -> None:
    one, other = (
        collect_rollout(POLICY, FakeEnvs(4, mode, mask=alternating), 21, seeded(), seed=1)
        for mode in (DISABLED, SAME_STEP)
    )
    assert_same_rollouts(one, other)
    chosen, masks = one.texts.completion_mask, (one.texts.action_masks, other.texts.action_masks)
    mine, theirs = (part.table[part.numbers[chosen]] for part in masks if part is not None)
    assert torch.equal(mine, theirs)


class HoleyTokenizer(CharTokenizer):
    """Has an id, 1, that stands for no text."""

    def __init__(self) -> None:
        super().__init__(ALPHABET)
        self.excluded_token_ids = frozenset({1})


def assert_scored_as_trained(rollout: Rollout, policy: CausalLMPolicy) -> None:
    """Compares the log-probs of writing with those of the training forward, under the masks."""
    with torch.no_grad():
        expected = policy(rollout.texts).log_probs
    assert_close(rollout.log_probs, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["Disabled", "SameStep", "sync"])
def test_tokens_that_the_environment_excludes_are_never_written(kind: str) -> None:
    envs = text_envs(kind, 4, tokenizer=HoleyTokenizer(), prompts=["a", "cd"])
    rollout = collect_rollout(TEXT_POLICY, envs, 60, seeded(), seed=0)
    written = rollout.texts.input_ids[rollout.texts.completion_mask]
    assert set(written.tolist()) == {0, 2, 3, 4}
    assert_scored_as_trained(rollout, TEXT_POLICY)


@both_modes
def test_a_mask_that_no_reset_reports_holds_from_where_it_is_reported(mode: AutoresetMode) -> None:
    class FromTheSecondToken(FakeEnvs):
        def masks(self, rows: NDArray[np.bool_]) -> dict[str, Any]:
            later = rows & (self.written > 0)
            return super().masks(later) if later.any() else {}

    rollout = collect_rollout(
        POLICY, FromTheSecondToken(16, mode, mask=alternating), 16, seeded(), seed=0
    )
    assert rollout.texts.action_masks is not None
    table, numbers = rollout.texts.action_masks
    firsts = set()
    for episode, text in enumerate(rows_of(rollout)):
        prompt = 1 + text[0] % 2
        firsts.add(text[prompt])
        assert table[numbers[episode, prompt]].all()
        for t, token in enumerate(text[prompt + 1 :], 1):
            assert alternating(t)[token]
            assert np.array_equal(table[numbers[episode, prompt + t]], alternating(t))
    assert not firsts <= set(np.flatnonzero(alternating(0)).tolist())
    assert_scored_as_trained(rollout, POLICY)


@both_modes
def test_an_empty_prompt_is_refused_with_its_row(mode: AutoresetMode) -> None:
    class Wordless(FakeEnvs):
        def begin(self, row: int) -> None:
            super().begin(row)
            if row == 1 and len(self.started) > self.num_envs:
                self.texts[row] = []

    with pytest.raises(ValueError, match=r"prompt of at least one token.*row 1$"):
        collect_rollout(POLICY, Wordless(4, mode), 30, seeded(), seed=0)


def test_a_mask_that_allows_nothing_ends_the_rollout() -> None:
    envs = FakeEnvs(2, mask=lambda t: np.full(V, t < 2, dtype=np.int8))
    with pytest.raises(ValueError, match="action_mask must allow at least one token"):
        collect_rollout(POLICY, envs, 2, seeded(), seed=0)


def test_what_a_finished_row_allows_does_not_matter() -> None:
    class NothingAfterTheEnd(FakeEnvs):
        def masks(self, rows: NDArray[np.bool_]) -> dict[str, Any]:
            masks = np.ones((self.num_envs, V), dtype=np.int8) * ~self.ended[:, None]
            return {"action_mask": masks, "_action_mask": np.ones(self.num_envs, dtype=bool)}

    free = collect_rollout(POLICY, FakeEnvs(4), 21, seeded(), seed=1)
    assert_same_rollouts(free, collect_rollout(POLICY, NothingAfterTheEnd(4), 21, seeded(), seed=1))


def test_logits_that_are_not_finite_end_the_rollout() -> None:
    broken = policy_for(V, ROOM)
    with torch.no_grad():
        broken.trunk.wte.weight[1] = torch.inf  # type: ignore[index, union-attr]
    with pytest.raises(ValueError, match="logits must be finite, got nan"):
        collect_rollout(broken, FakeEnvs(4), 8, seeded(), seed=0)


@pytest.mark.parametrize("kind", ["Disabled", "SameStep", "sync", "async"])
def test_environments_say_which_tokens_are_ever_of_use(kind: str) -> None:
    def envs(**task: Any) -> VectorEnv[Any, Any, Any]:
        if kind != "async":
            return text_envs(kind, 2, **task)
        return AsyncVectorEnv([lambda: Constrain(TextGenEnv(**TEXT_TASK | task), MinimumLength(2))])

    with closing(envs(tokenizer=HoleyTokenizer(), prompts=["a"])) as holey:
        holey.reset(seed=0)
        mask = vocabulary_mask(holey)
        assert mask is not None
        assert mask.tolist() == [True, False, True, True, True]
    with closing(envs()) as whole:
        assert vocabulary_mask(whole) is None


def test_environments_need_not_say_which_tokens_are_of_use() -> None:
    assert vocabulary_mask(FakeEnvs(2)) is None
    for mode in ("sync", "async", "vector_entry_point"):
        with closing(gym.make_vec("CartPole-v1", 1, vectorization_mode=mode)) as envs:
            assert vocabulary_mask(envs) is None


def policy_that_ends_at(*ids: int) -> CausalLMPolicy:
    policy = policy_for(len(ALPHABET) + 1, 10)
    policy.model.generation_config.eos_token_id = list(ids)
    return policy


@pytest.mark.parametrize("kind", ["Disabled", "SameStep", "sync"])
def test_end_of_text_tokens_of_the_model_that_end_no_text_are_named(kind: str) -> None:
    advice = r"tokens \[4, 1, 2\], but in the environment \[1\] do not.*stop_token_ids=\[1\]"
    policy = policy_that_ends_at(4, 1, 2)
    assert policy.end_of_text_ids == (4, 1, 2)
    with pytest.warns(UserWarning, match=advice):
        PPO(policy, text_envs(kind, 2, stop_token_ids=[2]), PPOConfig(n_episodes=8, batch_size=8))
    with pytest.warns(UserWarning, match=advice):
        evaluate(policy, policy, text_envs(kind, 2, stop_token_ids=[2]), 4, seed=0)
    warn_of_unheeded_ends(policy, text_envs(kind, 2, stop_token_ids=[1, 2]))


def test_one_end_of_text_token_or_an_environment_that_does_not_tell_is_left_alone() -> None:
    warn_of_unheeded_ends(policy_that_ends_at(0), text_envs("Disabled", 2))
    warn_of_unheeded_ends(policy_that_ends_at(4, 99), text_envs("Disabled", 2))
    warn_of_unheeded_ends(policy_that_ends_at(4, 1), FakeEnvs(2))


@pytest.mark.parametrize(
    ("own", "stops", "saved"),
    [
        ([0], [], 4),  # a token that ends no text here
        ([99], [], 4),  # none of the vocabulary, as GPT-2's own is in a small one
        ([0], [2], [2, 4]),
        ([4, 99], [2], [4, 99]),  # as its maker wanted it
    ],
)
def test_what_is_saved_ends_its_texts_where_it_learnt_to(
    own: list[int], stops: list[int], saved: Any, tmp_path: Path
) -> None:
    policy = policy_that_ends_at(*own)
    envs = text_envs("Disabled", 2, stop_token_ids=stops)
    PPO(policy, envs, PPOConfig(n_episodes=8, batch_size=8)).policy.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert model.generation_config.eos_token_id == saved


def test_rows_that_report_no_mask_are_free() -> None:
    class OneMaskedRow(FakeEnvs):
        def masks(self, rows: NDArray[np.bool_]) -> dict[str, Any]:
            masks = np.zeros((self.num_envs, V), dtype=np.int8)
            masks[0, 3] = 1
            return {"action_mask": masks, "_action_mask": np.arange(self.num_envs) == 0}

    rollout = collect_rollout(POLICY, OneMaskedRow(2), 40, seeded(), seed=0)
    written = rollout.texts.input_ids[rollout.texts.completion_mask]
    assert len(set(written.tolist())) > 3


# Environments that break the contract


def break_by(change: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> type[FakeEnvs]:
    class Broken(FakeEnvs):
        def observation(self) -> dict[str, NDArray[Any]]:
            observation = super().observation()
            if self.written.any():
                observation["input_ids"] = change(observation["input_ids"])
            return observation

    return Broken


@both_modes
@pytest.mark.parametrize(
    "change",
    [
        lambda ids: np.roll(ids, 1, axis=1),
        lambda ids: np.where(ids == 0, 1, ids),
        lambda ids: 0 * ids,
    ],
    ids=["shifted", "padded with 1", "emptied"],
)
def test_environments_that_do_not_append_are_refused(
    mode: AutoresetMode, change: Callable[[NDArray[np.int64]], NDArray[np.int64]]
) -> None:
    with pytest.raises(ValueError, match="envs must append each action to input_ids"):
        collect_rollout(POLICY, break_by(change)(2, mode), 4, seeded(), seed=0)


# Determinism


def test_a_rollout_is_a_function_of_seed_and_generator() -> None:
    before = torch.get_rng_state()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state must stay untouched
    first = collect_rollout(POLICY, FakeEnvs(4), 9, seeded(1), seed=3)
    assert_same_rollouts(first, collect_rollout(POLICY, FakeEnvs(4), 9, seeded(1), seed=3))
    assert torch.equal(before, torch.get_rng_state())
    assert (state == np.random.get_state()[1]).all()  # noqa: NPY002
    for other in itertools.starmap(
        lambda sampling, prompts: collect_rollout(
            POLICY, FakeEnvs(4), 9, seeded(sampling), seed=prompts
        ),
        [(2, 3), (1, 4)],
    ):
        assert rows_of(first) != rows_of(other)


def test_the_environments_time_is_taken() -> None:
    timer = Timer()
    collect_rollout(POLICY, FakeEnvs(2), 4, seeded(), seed=0, timer=timer)
    assert timer.seconds["environment"] > 0


def test_the_registered_vector_environment_is_collected() -> None:
    envs = gym.make_vec("TextGen-v0", num_envs=4, autoreset_mode="Disabled")
    assert isinstance(envs.single_action_space, spaces.Discrete)
    policy = policy_for(int(envs.single_action_space.n), 24)
    rollout = collect_rollout(policy, envs, 6, seeded(), seed=0)
    completions = [info["text_episode"].completion for info in rollout.infos]
    words = [sum(word[0].isalpha() for word in text.split()) for text in completions]
    assert rollout.scores.tolist() == words
