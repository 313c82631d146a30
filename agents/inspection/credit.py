"""What each token of a text changed, was worth, was credited with and earned.

Reads a learner as it would learn from the texts, and changes nothing of it. What a text is worth is
a function that it is given.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from agents.algorithms.policy_gradient import PolicyGradient
from agents.rollout.buffer import Rollout

LOG_RATIO, VALUE, ADVANTAGE, SHARE = "log-ratio", "value", "advantage", "reward share"
MEANINGS = {
    LOG_RATIO: "log π/π_ref of the token, in nats: above 0, training made it likelier here",
    VALUE: "the reward that the value function expects before the token",
    ADVANTAGE: "what the algorithm credits the token with, KL penalty included",
    SHARE: "the reward of the text, less that of the text without the token",
}


@torch.no_grad()
def token_numbers(
    agent: PolicyGradient[Any],
    rollout: Rollout,
    reward: Callable[[Sequence[Any]], Any],
    *,
    most: int,
) -> list[dict[str, list[float]]]:
    """Returns what is known of each token of some texts, by name.

    What an algorithm lacks is left out: values, or credit that only an update computes.

    Args:
        agent: Whose policy wrote them.
        rollout: The texts, on the policy's device, with their `text_episode`; credit may depend on
            all of them.
        reward: Episodes → what each is worth.
        most: Texts to tell of, from the first on.
    """
    old, ref_log_probs = agent.forward(rollout.texts)
    advantages = agent.credit(rollout, old, ref_log_probs).advantages
    mask = rollout.texts.completion_mask
    parts: dict[str, Tensor | None] = {
        LOG_RATIO: old.log_probs - ref_log_probs,
        VALUE: old.values,
        ADVANTAGE: advantages if bool(advantages.any()) else None,
    }
    known = {name: part for name, part in parts.items() if part is not None}
    shares = reward_shares([info["text_episode"] for info in rollout.infos[:most]], reward)
    return [
        {name: part[row][mask[row]].tolist() for name, part in known.items()}
        | {SHARE: share.tolist()}
        for row, share in enumerate(shares)
    ]


def reward_shares(
    episodes: Sequence[Any], reward: Callable[[Sequence[Any]], Any]
) -> list[NDArray[np.float64]]:
    """Returns R(y) − R(y without token t) of every token, for each text.

    Shares need not add up to the reward: what two tokens do together is in both, or in neither.

    Source: Li, Monroe and Jurafsky 2016, "Understanding neural networks through representation
    erasure", arXiv:1612.08220.

    Args:
        episodes: Finished texts, each with its `completion_ids` (T,).
        reward: Episodes → what each is worth, (n,).

    Returns:
        For each text, (T,).
    """
    erased = [
        dataclasses.replace(one, completion_ids=np.delete(one.completion_ids, place))
        for one in episodes
        for place in range(len(one.completion_ids))
    ]
    whole = np.asarray(reward(list(episodes)), dtype=np.float64)
    without = np.asarray(reward(erased), dtype=np.float64) if erased else np.zeros(0)
    ends = np.cumsum([len(one.completion_ids) for one in episodes])
    parts = np.split(without, ends[:-1])
    return [worth - part for worth, part in zip(whole.tolist(), parts, strict=True)]
