"""A reward for every turn of a text of several: `EachTurn`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.rewards.function import RewardFunction, as_reward_function, reward_name, score


class EachTurn:
    """Pays a reward function at the end of each of the policy's turns, instead of once at the end.

    What the function is given of a turn is an episode of its own: the completion is what the policy
    said in it, the prompt all that came before, a line for each side. An environment with a
    responder asks for it; of a text of one turn it is the reward of the text.

    Args:
        fn: A reward function, or a plain function of (prompt, completion).

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.rewards import EachTurn, WordCount
        >>> env = gym.make(
        ...     "TextGen-v0",
        ...     reward_function=EachTurn(WordCount()),
        ...     responder=lambda turns: ["and you ?" for turn in turns],
        ...     max_response_tokens=3,
        ...     max_turns=2,
        ... )
        >>> _ = env.reset(seed=0)
        >>> fine, thanks = env.unwrapped.tokenizer.encode("fine thanks")
        >>> eos = env.unwrapped.tokenizer.eos_token_id
        >>> [env.step(token)[1] for token in (fine, thanks, eos, fine, eos)]
        [0.0, 0.0, 2.0, 0.0, 1.0]
    """

    each_turn = True

    def __init__(self, fn: RewardFunction | Callable[[str, str], float]) -> None:
        self._fn = as_reward_function(fn)
        self.name = reward_name(self._fn)

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns the rewards of n turns, (n,)."""
        return score(self._fn, episodes).total

    def components(self, episodes: Sequence[Episode]) -> dict[str, NDArray[np.float64]]:
        """Returns the terms of the rewards of n turns by name, (n,) each."""
        return score(self._fn, episodes).components


def pays_each_turn(fn: Any) -> bool:
    """Tells whether a reward function is to be asked about every turn."""
    return bool(getattr(fn, "each_turn", False))
