"""Several reward functions as one: their weighted sum, reported by component.

It does not know why the weights are what they are, and never changes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.number_rules import require_finite
from text_gym.quoting import quoted
from text_gym.rewards.function import PlainFunction, RewardFunction, as_reward_function, score


class WeightedSum:
    r"""Adds up reward functions, each times its weight.

    Immutable; `copy.deepcopy` returns the object itself, so that copying an environment's spec
    never copies a reward model. It pickles if its functions do. Of a sum inside a sum, the outer
    one reports the total under the inner one's name.

    Args:
        functions: Reward functions, or plain functions of (prompt, completion), by name.
        weights: A finite number for every name; all 1 if None.

    Raises:
        TypeError: If `functions` or `weights` is no mapping, a weight no number, or a function none
            of episodes or of prompt and completion.
        ValueError: If there are no functions, a name has no weight or a weight no function, or
            a weight is not finite.

    Example:
        >>> from text_gym.rewards import RegexFormat, WordCount
        >>> reward = WeightedSum(
        ...     {"words": WordCount(), "question": RegexFormat(r".*\?")},
        ...     weights={"words": 0.5, "question": 2.0},
        ... )
        >>> episodes = [Episode.from_text("Hi.", "How are you?"), Episode.from_text("Hi.", "Bye.")]
        >>> reward(episodes)
        array([3.5, 0.5])
        >>> reward.components(episodes)
        {'words': array([1.5, 0.5]), 'question': array([2., 0.])}
    """

    def __init__(
        self,
        functions: Mapping[str, RewardFunction | PlainFunction],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        for argument, given in (("functions", functions), ("weights", weights or {})):
            if not isinstance(given, Mapping):
                raise TypeError(f"{argument} must be a mapping from names, got {quoted(given)}")
        if not functions:
            raise ValueError("functions must hold at least one reward function, received none")
        weights = dict.fromkeys(functions, 1.0) if weights is None else weights
        _check_weights(weights, functions)
        self.functions = {
            name: as_reward_function(fn, f"functions[{name!r}]") for name, fn in functions.items()
        }
        self.weights = {name: float(weights[name]) for name in functions}

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the sums, shape (n,)."""
        return score(self, episodes).total

    def components(self, episodes: Sequence[Episode]) -> dict[str, NDArray[np.float64]]:
        """Returns the weighted parts by name, each of shape (n,); they sum to the reward."""
        return {
            name: self.weights[name] * score(fn, episodes, name=name).total
            for name, fn in self.functions.items()
        }

    def __repr__(self) -> str:
        return f"WeightedSum({self.functions!r}, weights={self.weights!r})"

    def __deepcopy__(self, memo: dict[int, Any]) -> WeightedSum:
        """Returns itself: it never changes."""
        return self


def _check_weights(weights: Mapping[str, float], functions: Mapping[str, Any]) -> None:
    missing, unknown = functions.keys() - weights.keys(), weights.keys() - functions.keys()
    if missing or unknown:
        raise ValueError(
            f"weights must name the functions {list(functions)}, received {dict(weights)}: "
            f"missing {sorted(missing)}, unknown {sorted(unknown)}"
        )
    for name, weight in weights.items():
        require_finite(weight, f"weights[{name!r}]")
