"""A policy for rewards that fail: pay a stated value instead, and count.

By default a reward that fails stops the run. This wrapper is how a caller chooses otherwise, for
a judge or a service that may be down. It does not know why the reward failed and never waits.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.number_rules import require_finite
from text_gym.rewards.function import (
    PlainFunction,
    RewardError,
    RewardFunction,
    as_reward_function,
    reward_name,
    score,
)


class OnError:
    """Pays `value` for every text on which a reward function fails.

    Raising, NaN, infinity and anything that is not a number are failures. When a batch fails, its
    texts are scored again one by one, so that only those that fail are paid `value`: what a text
    earns does not depend on its neighbours. The first failure warns; all are counted. To keep
    components apart in a `WeightedSum`, wrap its functions rather than the sum.

    Args:
        fn: A reward function, or a plain function of (prompt, completion).
        value: What a failure is paid, finite.

    Attributes:
        failures: Number of texts paid `value` so far. `copy.deepcopy` returns the object itself,
            so the count covers all copies of an environment in this process.

    Raises:
        ValueError: If `value` is not finite.

    Example:
        >>> import warnings
        >>> reward = OnError(lambda prompt, completion: 1 / len(completion), value=-1.0)
        >>> with warnings.catch_warnings(action="ignore"):
        ...     reward([Episode.from_text("Hi", "four"), Episode.from_text("Hi", "")])
        array([ 0.25, -1.  ])
        >>> reward.failures
        1
    """

    def __init__(self, fn: RewardFunction | PlainFunction, *, value: float) -> None:
        require_finite(value, "value")
        self.fn = as_reward_function(fn)
        self.value = float(value)
        self.failures = 0

    @property
    def name(self) -> str:
        """The name of the reward function inside."""
        return reward_name(self.fn)

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the rewards, shape (n,), with `value` where there is none."""
        try:
            return score(self.fn, episodes).total
        except RewardError:
            return np.array([self._score_one(episode) for episode in episodes], dtype=np.float64)

    def _score_one(self, episode: Episode) -> float:
        try:
            return float(score(self.fn, [episode]).total[0])
        except RewardError as error:
            self.failures += 1
            if self.failures == 1:
                warnings.warn(
                    f"{error}; paid {self.value} instead, and so will be later failures, which "
                    f"`failures` counts without another warning",
                    RuntimeWarning,
                    stacklevel=3,
                )
            return self.value

    def __repr__(self) -> str:
        return f"OnError({self.fn!r}, value={self.value})"

    def __deepcopy__(self, memo: dict[int, Any]) -> OnError:
        """Returns itself, so that `failures` counts in one place."""
        return self
