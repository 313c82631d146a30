"""Staying close to a reference policy, for learners that know nothing of KL: `ReferenceLogProb`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.number_rules import require_finite
from text_gym.task import Observation
from text_gym.wrappers.partial_episodes import PartialEpisodes
from text_gym.wrappers.reward_transform import RewardUpdate, Rows, Step, StepTransform, Values
from text_gym.wrappers.transform_wrapper import TransformWrapper
from text_gym.wrappers.vector_transform_wrapper import VectorTransformWrapper

LogProbs = Callable[[NDArray[np.int64], NDArray[np.intp]], Any]


class ReferenceTransform(StepTransform):
    """Adds β·log π₀(token | text before it) to every step.

    Raises:
        ValueError: If `beta` is not finite.
    """

    gives_feedback = False

    def __init__(self, log_probs: LogProbs, beta: float = 1.0, name: str = "reference") -> None:
        require_finite(beta, "beta")
        self.log_probs = log_probs
        self.beta = beta
        self.name = name

    def begin(self, rows: Rows, texts: PartialEpisodes) -> None:
        """Has nothing to note: the state before a token can be read off the text after it."""

    def apply(self, step: Step) -> RewardUpdate:
        """Returns the rewards from inside plus the weighted log-probs of the tokens just written.

        Raises:
            ValueError: If the reference does not return log-probs, or gives a token none.
        """
        everyone = np.arange(len(step.rows))
        states, lengths = step.texts.input_ids.copy(), step.texts.lengths - 1
        tokens = states[everyone, lengths]
        states[everyone, lengths] = 0
        log_probs = np.asarray(self.log_probs(states, lengths), dtype=np.float64)
        check_log_probs(log_probs, tokens)
        term = self.beta * log_probs[everyone, tokens]
        return RewardUpdate(step.rewards + term, {self.name: term})


def check_log_probs(log_probs: Values, tokens: NDArray[np.int64]) -> None:
    """Raises ValueError unless (k, V) log-probs are normalised, and finite at `tokens` (k,)."""
    if log_probs.ndim != 2 or len(log_probs) != len(tokens):
        raise ValueError(
            f"log_probs must return shape ({len(tokens)}, V), received {log_probs.shape}"
        )
    with np.errstate(over="ignore"):  # of raw logits, which are refused below
        sums = np.exp(log_probs).sum(axis=1)
    if not np.allclose(sums, 1.0, atol=1e-3):
        raise ValueError(
            "log_probs must return normalised log-probabilities (log_softmax of logits), received "
            f"rows whose probabilities sum to {sums}"
        )
    taken = log_probs[np.arange(len(tokens)), tokens]
    if not np.isfinite(taken).all():
        index = int(np.flatnonzero(~np.isfinite(taken))[0])
        raise ValueError(
            "log_probs must be finite at every token that is written (mask the policy as the "
            f"reference is masked), received {taken[index]} at token {tokens[index]}"
        )


class ReferenceLogProb(TransformWrapper):
    """Adds β·log π₀(token | text so far) to every step.

    Together with an entropy bonus of coefficient β, this makes a learner that knows nothing of KL
    (Stable-Baselines3, say) approximate E[R] − β·KL(π‖π₀), for −β·KL is β·E[Σ log π₀ − log π].
    Only approximate it: the usual entropy bonus rewards the entropy of the state at hand, not that
    of the states to come. Where it is stationary, π(a|s) ∝ exp(Q(s, a)/β) with a Q that leaves out
    future entropy, so that texts which end early, or go on predictably, are preferred: with R = 0
    the result is not π₀. With one step per text the two agree.

    Args:
        env: An environment with token ids as observations, as `TextGenEnv` has. The wrapper does
            not need finished texts.
        log_probs: The reference policy, `log_probs(input_ids, lengths) -> (k, V)`: for k texts,
            right-padded int64 (k, L), and their lengths (k,), the log-probs of the next token. It
            is called once per step, on the texts that were being written. Where an action mask
            binds the policy, renormalise under it here too.
        beta: β, in the units of the reward.
        name: Its name in `info["reward_components"]`.

    Raises:
        ValueError: If `beta` is not finite.

    Example:
        >>> import gymnasium as gym, numpy as np, text_gym
        >>> from text_gym.wrappers import ReferenceLogProb
        >>> def uniform(input_ids, lengths):
        ...     return np.full((len(lengths), 33), -np.log(33))
        >>> env = ReferenceLogProb(gym.make("TextGen-v0"), uniform, beta=0.5)
        >>> _ = env.reset(seed=0)
        >>> round(env.step(0)[1], 4)
        -1.7483
    """

    def __init__(
        self,
        env: gym.Env[Observation, Any],
        log_probs: LogProbs,
        beta: float = 1.0,
        name: str = "reference",
    ) -> None:
        super().__init__(env, ReferenceTransform, log_probs=log_probs, beta=beta, name=name)


class VectorReferenceLogProb(VectorTransformWrapper):
    """Adds β·log π₀(token | text so far) to every step.

    The reference is called once per step, on the texts that were being written.

    Arguments and errors are those of `text_gym.wrappers.ReferenceLogProb`.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        log_probs: LogProbs,
        beta: float = 1.0,
        name: str = "reference",
    ) -> None:
        super().__init__(env, ReferenceTransform, log_probs=log_probs, beta=beta, name=name)
