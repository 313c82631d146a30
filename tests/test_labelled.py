"""Texts that a reward labels: the best of a group, and the best against the worst."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from agents import DPO, DPOConfig
from agents.algorithms.labelled import (
    best_against_worst,
    best_demonstrations,
    best_of_groups,
    reported_groups,
)
from agents.policy.token_batch import TokenBatch
from agents.rollout.buffer import Rollout
from tests.members import MEMBERS

RLOO = next(member for member in MEMBERS if member.name == "RLOO")


def rollout(scores: list[float], groups: list[int] | None) -> Rollout:
    """Return texts of one token, whose ids count up."""
    n = len(scores)
    ids = torch.stack([torch.zeros(n).long(), torch.arange(n)], dim=1)
    chosen = torch.tensor([[False, True]] * n)
    paid = torch.stack([torch.zeros(n), torch.tensor(scores)], dim=1)
    return Rollout(
        TokenBatch(ids, torch.ones(n, 2).bool(), chosen),
        paid,
        torch.zeros(n, 2),
        torch.zeros(n).bool(),
        [{}] * n,
        None if groups is None else torch.tensor(groups),
    )


def test_best_and_worst_by_hand() -> None:
    written = rollout([1.0, 5.0, 3.0, 0.0, 3.0, 5.0, 2.0, 2.0], [9, 4, 9, 4, 9, 4, 1, 1])
    assert best_of_groups(written.scores, reported_groups(written)).tolist() == [2, 1, 6]
    demonstrations = best_demonstrations(written)
    assert demonstrations.texts.input_ids[:, 1].tolist() == [2, 1, 6]
    assert demonstrations.weights.tolist() == [1, 1, 1]
    pairs = best_against_worst(written)
    assert pairs.chosen.input_ids[:, 1].tolist() == [2, 1]
    assert pairs.rejected.input_ids[:, 1].tolist() == [0, 3]
    assert pairs.margins.tolist() == [2, 5]


def test_texts_without_groups_or_differences_are_refused() -> None:
    with pytest.raises(ValueError, match="must report the group_id"):
        best_demonstrations(rollout([1.0, 2.0], None))
    with pytest.raises(ValueError, match="group 1 has 1"):
        best_demonstrations(rollout([1.0, 2.0, 3.0], [0, 0, 1]))
    with pytest.raises(ValueError, match="equal in all of the 2 groups"):
        best_against_worst(rollout([1.0, 1.0, 3.0, 3.0], [0, 0, 1, 1]))


def test_dpo_learns_from_pairs_that_a_reward_labels() -> None:
    """The task pays for the letter a; its environments see more of it after than before."""
    writer = RLOO.agent(n_episodes=256)
    written = writer.collect()
    pairs = best_against_worst(written)
    pairs = dataclasses.replace(pairs, weights=pairs.weights.double())
    config = DPOConfig(learning_rate=1e-2, n_epochs=3, batch_size=16)
    DPO(writer.policy, pairs, config).learn()
    assert writer.collect().scores.mean() > written.scores.mean() + 0.5


def test_pairs_keep_the_tokens_that_were_allowed() -> None:
    from text_gym import CharTokenizer
    from text_gym.constraints import BannedTokens
    from text_gym.wrappers.vector import Constrain

    banned = CharTokenizer("ab").encode("b")[0]
    envs = Constrain(RLOO.environments(["a", "aa"]), BannedTokens([banned]))
    agent = RLOO.agent(envs=envs, n_episodes=64)
    written = agent.collect()
    best = best_demonstrations(written)
    log_probs = agent.policy(best.texts).log_probs
    assert best.texts.action_masks is not None
    rows = best_of_groups(written.scores, reported_groups(written))
    assert_close(log_probs, written.select(rows).log_probs.double(), rtol=0, atol=1e-6)
