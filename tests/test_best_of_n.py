"""Best-of-n against its exact distribution, its KL bound, and distillation into a policy."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents import SFT, BestOfN, CausalLMPolicy, Demonstrations, SFTConfig
from agents.algorithms.best_of_n import write_pairs
from agents.policy.config import PolicyConfig
from agents.supervised.pair_files import read_demonstrations
from tests.members import MEMBERS
from tests.test_learning import PROMPTS, REWARDS, Answers, answer_log_probs, paid, tiny_policy
from text_gym import TextGenVectorEnv
from text_gym.exact.best_of_n import RewardDistribution, best_of_n
from text_gym.prompt_sources import GroupedPrompts

N = 4


def environments(n: int = N) -> TextGenVectorEnv:
    return TextGenVectorEnv(
        12,
        autoreset_mode="Disabled",
        prompts=GroupedPrompts(list(PROMPTS), n),
        tokenizer=Answers(),
        reward_function=paid,
        max_new_tokens=1,
    )


def policy() -> CausalLMPolicy:
    valued = tiny_policy(Answers().vocab_size, 2, initializer_range=0.2)
    return CausalLMPolicy(valued.model, PolicyConfig(value_network="none"))


def test_reward_and_bound_agree_with_the_exact_distribution() -> None:
    writer = policy()
    log_probs = answer_log_probs(writer, Answers()).double().numpy()
    exact = []
    for rewards, said in zip(REWARDS, log_probs, strict=True):
        values = np.unique(rewards)
        masses = [np.logaddexp.reduce(said[rewards == value]) for value in values]
        exact.append(best_of_n(RewardDistribution(values, np.array(masses)), N))
    evaluation = BestOfN(writer, N).evaluate(
        writer.frozen_copy(), environments(), 1500, seed=0, kl_coef=0.1
    )
    expected = np.mean([one.expected_reward for one in exact])
    figures = evaluation.figures
    assert figures["reward"] == pytest.approx(expected, abs=2 * figures["reward_half_width"])
    assert figures["kl"] == pytest.approx(exact[0].kl_bound)
    assert all(one.kl <= figures["kl"] for one in exact)
    objective = figures["reward"] - 0.1 * figures["kl"]
    assert figures["objective"] == pytest.approx(objective)
    assert len(evaluation.scores) == len(evaluation.prompts) == 1500


def test_the_bound_from_another_reference_adds_the_log_ratio_of_the_kept_texts() -> None:
    best, reference = BestOfN(policy(), N), policy()
    with torch.no_grad():
        reference.head.weight.mul_(0.5)
    evaluation = best.evaluate(reference, environments(), 60, seed=0)
    kept = best.collect(environments(), 60, seed=0)
    mask = kept.texts.completion_mask
    differences = best.policy(kept.texts).log_probs - reference(kept.texts).log_probs
    ratio = float((differences * mask).sum(dim=1).mean().detach())
    assert evaluation.figures["kl"] == pytest.approx(math.log(4) - 3 / 4 + ratio, abs=1e-5)


def test_a_reward_of_its_own_chooses_and_the_environment_evaluates() -> None:
    def against(episodes: Sequence[Any]) -> list[float]:
        return [-paid(episode.prompt, episode.completion) for episode in episodes]

    writer = policy()
    envs = environments()
    scores = [
        BestOfN(writer, N, chooser).evaluate(writer, envs, 300, seed=0).figures["reward"]
        for chooser in (against, None)
    ]
    assert scores[0] < scores[1] - 0.2


def test_the_same_seed_keeps_the_same_texts() -> None:
    kept = [BestOfN(policy(), N).collect(environments(), 30, seed=seed) for seed in (0, 0, 1)]
    ids = [one.texts.input_ids.tolist() for one in kept]
    assert ids[0] == ids[1] != ids[2]


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="n must be at least 2, got 1"):
        BestOfN(policy(), 1)
    with pytest.raises(ValueError, match="exactly 4 episodes, but group 0 has 6"):
        BestOfN(policy(), N).collect(environments(6), 3, seed=0)
    with pytest.raises(ValueError, match=r"rewards must be finite .*, got nan"):
        BestOfN(policy(), N, lambda e: [math.nan] * len(e)).collect(environments(), 3, seed=0)


def test_distilled_by_supervised_training_the_policy_writes_better() -> None:
    writer = policy()
    best = BestOfN(writer, N)
    kept = best.collect(environments(), 600, seed=0)
    alone = float(best.policy(kept.texts).log_probs.sum().detach())
    examples = Demonstrations(kept.texts, torch.ones(len(kept)))
    SFT(writer, examples, SFTConfig(learning_rate=3e-3, n_epochs=4)).learn()
    assert float(writer(kept.texts).log_probs.sum().detach()) > alone
    before = BestOfN(policy(), N).evaluate(writer, environments(), 300, seed=1).figures["reward"]
    after = BestOfN(writer, 2).evaluate(writer, environments(2), 300, seed=1).figures["reward"]
    # Two draws of the distilled policy are worth four of the one that it was distilled from.
    assert after > before - 0.02


def test_written_pairs_are_what_sft_reads_without_texts_that_were_cut_off(tmp_path: Path) -> None:
    rloo = next(member for member in MEMBERS if member.name == "RLOO")
    kept = BestOfN(rloo.agent().policy, N).collect(rloo.environments(), 40, seed=0)
    reasons = [info["stop_reason"] for info in kept.infos]
    assert {"eos", "length"} <= set(reasons)
    path = tmp_path / "pairs.jsonl"
    assert write_pairs(kept, path) == reasons.count("eos")
    episodes = [info["text_episode"] for info in kept.infos if info["stop_reason"] == "eos"]
    assert [(row.prompt, row.completion) for row in read_demonstrations(path)] == [
        (episode.prompt, episode.completion) for episode in episodes
    ]
    assert json.loads(path.read_text().splitlines()[0]).keys() == {"prompt", "completion"}
    with pytest.raises(FileExistsError):
        write_pairs(kept, path)
