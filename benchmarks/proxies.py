"""Learnt rewards beside the known one: pairs that are judged, proxies, and texts to choose from.

Gold is VADER's sentiment, which simulated people like; a proxy is a reward model that learnt from
what they said. Texts and proxies are kept in a folder, so that a benchmark that was killed goes on.
Knows nothing of what is asked about proxies.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.applications.dialogue import DIALOGUE
from agents.policy.config import PolicyConfig
from agents.policy.precision import settled
from agents.reports.json_file import write_json
from agents.reward_models.reward_model import RewardModel
from agents.reward_models.training import train_reward_model
from agents.runs import sampling
from agents.runs.sampling_options import Sampling
from agents.supervised.pair_files import Preference
from benchmarks.dialogue_regret import reference_texts
from text_gym import Episode
from text_gym.feedback import Item, read_items
from text_gym.feedback.answers import Preferred
from text_gym.feedback.items import fitted
from text_gym.feedback.simulated.answering import Manner
from text_gym.feedback.simulated.judging import judge
from text_gym.rewards import Sentiment

Floats = NDArray[np.float64]

LEARNING = RewardModelConfig(learning_rate=1e-3, n_epochs=2)
"""How proxies learn."""
ENOUGH = 10_000
"""Judgements from which on proxies see each once: a second pass takes an hour in all."""


class Pool(NamedTuple):
    """Holds N texts of the untouched model to each of P held-out prompts.

    Attributes:
        prompts: (P·N,) each prompt N times.
        completions: (P·N,) those of one prompt together.
        gold: (P, N) known rewards.
    """

    prompts: Sequence[str]
    completions: Sequence[str]
    gold: Floats

    def by(self, proxy: RewardModel) -> Floats:
        """Returns what a proxy says of every text, (P, N)."""
        return proxy.score(self.prompts, self.completions).reshape(self.gold.shape)


def pool(folder: Path, n_prompts: int, n_texts: int, seed: int) -> Pool:
    """Returns texts to choose from, which are written if they are not there."""
    path = folder / f"pool-{n_prompts}x{n_texts}-seed{seed}.json"
    if not path.exists():
        rollout = reference_texts(DIALOGUE.preset, n_prompts, n_texts, seed)
        rows: dict[int, Any] = {}
        for info, score in zip(rollout.infos, rollout.scores.tolist(), strict=True):
            one = info["text_episode"]
            rows.setdefault(int(info["group_id"]), []).append([one.prompt, one.completion, score])
        folder.mkdir(parents=True, exist_ok=True)
        write_json(path, list(rows.values()))
    rows = json.loads(path.read_text(encoding="utf-8"))
    prompts, completions, gold = zip(*(row for group in rows for row in group), strict=True)
    return Pool(prompts, completions, np.array(gold).reshape(n_prompts, n_texts))


def pairs(folder: Path, n_prompts: int, per_prompt: int, seed: int) -> list[Item]:
    """Returns pairs of the untouched model's texts to prompts of training, in an order by lot."""
    path = folder / f"pairs-{n_prompts}x{per_prompt}-seed{seed}.jsonl"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        preset = DIALOGUE.preset
        sampling.run(
            Sampling(
                model=preset.model,
                prompts=preset.prompts,
                n_prompts=n_prompts,
                per_prompt=per_prompt,
                output=path,
                max_new_tokens=preset.max_new_tokens,
                seed=seed,
            )
        )
    different = [item for item in read_items(path) if len(item.completions) > 1]
    every = fitted(different, "compare")
    return [every[at] for at in np.random.default_rng(seed).permutation(len(every))]


def judged(items: Sequence[Item], accuracy: float, seed: int) -> list[Preference]:
    """Returns what simulated people say of pairs.

    Args:
        items: The pairs.
        accuracy: How often they prefer the better text.
        seed: Of what they say.
    """
    said = judge(items, Sentiment(), Manner(accuracy=accuracy), seed=seed)
    preferences = []
    for item, one in zip(items, said, strict=True):
        assert isinstance(one.answer, Preferred)
        first, second = (completion.text for completion in item.completions)
        texts = (first, second) if one.answer.completion == 0 else (second, first)
        preferences.append(Preference(str(item.prompt), *texts, 0.0, 1.0))
    return preferences


def proxy(folder: Path, name: str, said: Sequence[Preference], seed: int) -> RewardModel:
    """Returns the proxy of a name, which learns from what was said if it is not there.

    Args:
        folder: Where proxies are kept.
        name: Says all that it depends on.
        said: What it learns from.
        seed: Of its head, and of the order in which it sees pairs.
    """
    path = folder / name
    if not path.exists():
        learnt(said, seed).save(path)
    return RewardModel.load(path, autocast=True)


def learnt(said: Sequence[Preference], seed: int) -> RewardModel:
    """Returns a proxy that learns from what was said; see `proxy`."""
    config = dataclasses.replace(
        LEARNING, seed=seed, n_epochs=1 if len(said) >= ENOUGH else LEARNING.n_epochs
    )
    options = settled(PolicyConfig(value_network="none", autocast="auto"), torch.device("cpu"))
    return train_reward_model(said, config, options=options)


def gold(prompts: Sequence[str], completions: Sequence[str]) -> Floats:
    """Returns the known reward of n texts, (n,)."""
    texts = zip(prompts, completions, strict=True)
    return Sentiment()([Episode.from_text(*one) for one in texts])


def chosen_by(scores: Floats, worth: Floats, n: int) -> float:
    """Returns the mean worth of the best of n texts by a score, without bias.

    The i-th lowest of N scores is the highest of n drawn without replacement with probability
    C(i−1, n−1) / C(N, n).

    Args:
        scores: (P, N), by which the best is chosen.
        worth: (P, N), what it is worth.
        n: At least 1, at most N.

    Example:
        >>> chosen_by(np.array([[0.0, 1.0, 2.0]]), np.array([[5.0, 0.0, 3.0]]), 2)  # 0, 3 and 3
        2.0
    """
    order = np.argsort(scores, axis=1, kind="stable")
    return float((np.take_along_axis(worth, order, axis=1) @ _chances(scores.shape[1], n)).mean())


def wins_of_best(scores: Floats, gold: Floats, n: int) -> float:
    """Returns how often the best of n texts by a score is better than a text at random.

    A tie is half a win; both are texts of the same prompt.

    Args:
        scores: (P, N), by which the best is chosen.
        gold: (P, N), by which it wins.
        n: At least 1, at most N.

    Example:
        >>> scores = np.array([[0.0, 1.0]])
        >>> wins_of_best(scores, scores, 2)  # the better one, against itself and the other
        0.75
    """
    better = gold[:, :, None] > gold[:, None, :]
    equal = gold[:, :, None] == gold[:, None, :]
    return chosen_by(scores, (better + 0.5 * equal).mean(axis=2), n)


def _chances(n_texts: int, n: int) -> Floats:
    """Returns the probability of each rank to be the highest of n, (N,)."""
    # P(the highest has rank ≤ i) = Π_{j<n} (i + 1 − j) / (N − j)
    steps = (np.arange(n_texts)[:, None] + 1 - np.arange(n)) / (n_texts - np.arange(n))
    return np.asarray(np.diff(np.clip(steps, 0, None).prod(axis=1), prepend=0.0))
