"""The reward of every completion of a tree, in batches of bounded size."""

from __future__ import annotations

import numpy as np

from text_gym.exact.recursion import Table
from text_gym.exact.tree import TextTree
from text_gym.rewards import RewardFunction
from text_gym.rewards.function import score
from text_gym.task import EncodedPrompt, TextTask


def score_completions(
    tree: TextTree,
    task: TextTask,
    start: EncodedPrompt,
    reward_function: RewardFunction,
    chunk: int,
) -> list[Table]:
    """Returns what each token is paid, (S, V) by depth: the reward where it finishes the text.

    The episodes of one batch are dropped before the next is made. Where the token limit truncates,
    a text that reaches it is not finished, and paid 0.

    Raises:
        RewardError: If the reward function raises, or does not return n finite numbers.
    """
    tables = [np.zeros(depth.allowed.shape) for depth in tree.depths]
    for batch in tree.completions(chunk):
        paid = np.array([task.pays_at(code) for code in batch.codes.tolist()])
        episodes = [
            task.episode(start, token_ids, code)
            for token_ids, code in zip(
                batch.token_ids[paid], batch.codes[paid].tolist(), strict=True
            )
        ]
        if episodes:
            where = (batch.rows[paid], batch.token_ids[paid, -1])
            tables[batch.depth][where] = score(reward_function, episodes).total
    return tables
