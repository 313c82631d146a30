"""Texts written for a check: what one environment returned, moment by moment.

Plays and records; it judges nothing but whether what was returned stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from text_gym.checks.failure import require
from text_gym.checks.returned_data import difference, frozen, overlap, overwrite


class Moment(NamedTuple):
    """Holds what one call returned, as it was then.

    Attributes:
        where: Which episode and step; step 0 is the reset.
        action: The token; None at a reset.
        observation: What is seen after it.
        reward: 0.0 at a reset.
        terminated: False at a reset.
        truncated: False at a reset.
        info: What the call reported.
        mask: What `action_masks()` returned then; None without that method.
    """

    where: str
    action: int | None
    observation: Any
    reward: Any
    terminated: Any
    truncated: Any
    info: Any
    mask: NDArray[Any] | None

    @property
    def ended(self) -> bool:
        """Whether the text is over."""
        return bool(self.terminated or self.truncated)


Text = list[Moment]


def plan_of(env: gym.Env[Any, Any], length: int) -> list[list[int]]:
    """Returns the tokens of a few texts: ended at once, soon, by the limit, at random, repeated.

    Each list is long enough to fill the context of `length` tokens.
    """
    n = int(env.get_wrapper_attr("action_space").n)
    eos = int(env.get_wrapper_attr("tokenizer").eos_token_id)
    rng = np.random.default_rng(0)
    tokens = rng.integers(n, size=(6, length + 1))
    others = [token for token in range(min(n, 64)) if token != eos]
    if others:
        tokens[:4] = rng.choice(others, size=(4, length + 1))
        tokens[5] = others[0]
    for text, place in ((0, 0), (1, 1), (3, 3)):
        tokens[text, place % (length + 1)] = eos
    plan: list[list[int]] = tokens.tolist()
    return plan


def play(
    env: gym.Env[Any, Any],
    plan: Sequence[Sequence[int]],
    *,
    seed: int = 0,
    overwriting: bool = False,
) -> list[Text]:
    """Writes the texts of a plan, each to its end, and returns every moment of them.

    Args:
        env: The environment.
        plan: The tokens of each text.
        seed: Of the first reset; the others go on with the stream.
        overwriting: Whether to change every array that was returned once it is recorded, as a
            caller may. Otherwise requires that nothing changes them later.

    Raises:
        ConformanceError: If what was returned changes later or overlaps, or a text does not end.
    """
    texts = []
    returned: list[tuple[Moment, Any]] = []
    for episode, tokens in enumerate(plan):
        observation, info = env.reset(seed=None if episode else seed)
        result: tuple[Any, ...] = (observation, 0.0, False, False, info)
        text = [_moment(env, f"episode {episode}, reset", None, result, returned, overwriting)]
        for step, token in enumerate(tokens, start=1):
            result = env.step(token)
            where = f"episode {episode}, step {step}"
            text.append(_moment(env, where, token, result, returned, overwriting))
            if text[-1].ended:
                break
        require(text[-1].ended, text[-1].where, "a text that fills the context must end")
        texts.append(text)
    for moment, data in returned:
        found = difference(_data(moment), data, "")
        require(found is None, moment.where, f"what was returned must not change later; {found}")
    return texts


def _moment(
    env: gym.Env[Any, Any],
    where: str,
    action: int | None,
    result: tuple[Any, ...],
    returned: list[tuple[Moment, Any]],
    overwriting: bool,
) -> Moment:
    masks = env.get_wrapper_attr("action_masks")() if env.has_wrapper_attr("action_masks") else None
    require(isinstance(result[-1], dict), where, "info must be a dict", result[-1])
    observation, reward, terminated, truncated, info = frozen(result)
    mask = frozen(masks)
    moment = Moment(where, action, observation, reward, terminated, truncated, info, mask)
    data = {"observation": result[0], "info": result[-1], "action_masks()": masks}
    if overwriting:
        overwrite(data)
        return moment
    pair = overlap(data, "")
    require(pair is None, where, "arrays returned together must not share memory", pair)
    returned.append((moment, data))
    return moment


def _data(moment: Moment) -> dict[str, Any]:
    return {
        "observation": moment.observation,
        "info": moment.info,
        "action_masks()": moment.mask,
    }
