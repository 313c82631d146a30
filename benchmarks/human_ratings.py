"""How well real people's ratings are foretold: `python benchmarks/human_ratings.py`.

Of the conversations that people rated, a reward model learns from some and is tried on others, one
scale at a time, from their last 128 tokens. Beside it stands the length of the conversation alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.stats import spearmanr

from agents import PolicyConfig
from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.reward_models.human_ratings import chitchat_ratings
from agents.reward_models.training import train_reward_model
from agents.reward_models.verdict import rank_correlation
from benchmarks import command_line
from benchmarks.figures import Figure, figure, write_result
from text_gym.feedback.proportion import Interval
from text_gym.small_talk import RATING_SCALES, Split

CONVERSATIONS = 1_000, 40
"""That are learnt from, and under `--quick`."""
SETTINGS = {"learning_rate": 3e-4, "n_epochs": 1, "batch_size": 16}


def real_people(n: int, seed: int) -> Iterator[Figure]:
    """Yields how well ratings of conversations are foretold, with and without what was said."""
    for scale in RATING_SCALES:
        train = chitchat_ratings("train", scale)
        rows = [train[at] for at in np.random.default_rng(seed).permutation(len(train))[:n]]
        unseen = [row for split in UNSEEN for row in chitchat_ratings(split, scale)]
        ratings = [row.score for row in unseen]
        yield figure(f"{scale}: rated 5", float(np.mean(np.equal(ratings, 5))), MANY)
        config = RewardModelConfig(**SETTINGS, seed=seed)
        model = train_reward_model(rows, config, options=OPTIONS)
        texts = [row.prompt for row in unseen], [row.completion for row in unseen]
        rewards, lengths = (
            model.score(*texts),
            [len(p) + len(c) for p, c in zip(*texts, strict=True)],
        )
        for name, foretold in (("reward model", rewards), ("length alone", lengths)):
            rho = rank_correlation(foretold, ratings)
            assert rho is not None
            yield figure(f"{scale}: {name}", rho.value, RANK, note=_note(rho, len(unseen)))
        rest = partial_correlation(rewards, ratings, lengths)
        yield figure(f"{scale}: reward model, among equally long ones", rest, RANK, note=PARTIAL)


def partial_correlation(
    one: Sequence[float], other: Sequence[float], fixed: Sequence[float]
) -> float:
    """Returns the rank correlation of two quantities where a third is held fixed.

    Example:
        >>> round(partial_correlation([1, 2, 3, 4], [1, 3, 2, 4], [4, 3, 1, 2]), 3)
        0.873
    """
    both, first, second = (
        float(spearmanr(*pair).statistic) for pair in ((one, other), (one, fixed), (other, fixed))
    )
    return (both - first * second) / ((1 - first**2) * (1 - second**2)) ** 0.5


OPTIONS = PolicyConfig(value_network="none", autocast="auto")
MANY, RANK = "of conversations", "rank correlation"
PARTIAL = (
    "Partial rank correlation of reward and rating, the length of the conversation held fixed."
)
UNSEEN: tuple[Split, ...] = ("validation", "rl", "heldout")
"""Conversations that neither the reward model nor the language model beneath it has read."""


def _note(rho: Interval, n: int) -> str:
    return f"95 %: {rho.low:.3f} to {rho.high:.3f}, of {n} conversations."


def main() -> None:
    """Learns from each scale, and writes the figures."""
    options = command_line.parse(command_line.parser(__doc__, repeats=1, quick_repeats=1))
    n = CONVERSATIONS[options.quick]
    found = list(real_people(n, options.seed))
    settings = {"conversations": n, "training": SETTINGS}
    write_result(
        "human_ratings", found, seed=options.seed, settings=settings, folder=options.output
    )


if __name__ == "__main__":
    main()
