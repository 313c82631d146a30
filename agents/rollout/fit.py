"""Whether environments are such as a policy can write in, and what they say of themselves.

Asked before the first text is written; this module writes none.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.model.pretrained import end_texts_at
from agents.rollout.decoding.probe import require_exact_decoding


def autoreset_mode(envs: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    """Returns the environments' autoreset mode.

    Raises:
        ValueError: If they are no vector environment; if the mode is NEXT_STEP, whose reset steps
            would enter the batch as if they were decisions, or unknown; or if a finished row cannot
            idle under DISABLED.
    """
    if not isinstance(envs, VectorEnv):
        raise ValueError(
            f"envs must be a vector environment, as gym.make_vec makes one, got {envs!r:.100}"
        )
    mode = envs.metadata.get("autoreset_mode")
    if mode is AutoresetMode.DISABLED and isinstance(
        envs.unwrapped, SyncVectorEnv | AsyncVectorEnv
    ):
        raise ValueError(
            "envs must let a finished row idle under DISABLED, which Gymnasium's own vector "
            f"environments do not; give {type(envs.unwrapped).__name__} autoreset_mode 'SameStep'"
        )
    if mode not in (AutoresetMode.DISABLED, AutoresetMode.SAME_STEP):
        raise ValueError(f"envs must have autoreset_mode 'Disabled' or 'SameStep', got {mode}")
    return AutoresetMode(mode)


def require_episodes(envs: VectorEnv[Any, Any, Any], n_episodes: int) -> None:
    """Raises ValueError unless `n_episodes` are enough for every environment to write one."""
    if n_episodes < envs.num_envs:
        raise ValueError(
            f"n_episodes must be at least the number of environments, {envs.num_envs}, "
            f"got {n_episodes}"
        )


def vocabulary_mask(envs: VectorEnv[Any, Any, Any]) -> NDArray[np.bool_] | None:
    """Returns the tokens that are ever of use, (V,): the environments' own `vocabulary_mask`.

    Returns:
        None if they all are, or if the environments, like many, do not say.
    """
    told = _told(envs, "vocabulary_mask")
    return told[0] if told else None


def end_of_text_ids(envs: VectorEnv[Any, Any, Any]) -> frozenset[int] | None:
    """Returns the tokens that end a text: the environments' own `end_of_text_ids`.

    Returns:
        None if the environments do not say.
    """
    told = _told(envs, "end_of_text_ids")
    return frozenset[int]().union(*told) if told else None


def most_new_tokens(envs: VectorEnv[Any, Any, Any]) -> int:
    """Returns the most tokens that are written after a prompt: the environments' `max_new_tokens`.

    Of environments that do not say, no text has more tokens than there is room for.
    """
    told = _told(envs, "max_new_tokens")
    return max(told) if told else text_length(envs)


def _told(envs: VectorEnv[Any, Any, Any], name: str) -> Sequence[Any]:
    """Returns what the environments say under a name, of each or of all; nothing if they do not."""
    inner = envs.unwrapped
    if not isinstance(inner, SyncVectorEnv | AsyncVectorEnv):
        return [getattr(inner, name)] if hasattr(inner, name) else []
    return inner.get_attr(name) if all(inner.call("has_wrapper_attr", name)) else []


def require_fit(policy: CausalLMPolicy, envs: VectorEnv[Any, Any, Any]) -> None:
    """Raises ValueError unless a policy can write in the environments, as it will be trained."""
    autoreset_mode(envs)
    actions = envs.single_action_space
    if not isinstance(actions, spaces.Discrete) or actions.n != policy.vocab_size:
        raise ValueError(
            f"envs must have one action per output of the policy, Discrete({policy.vocab_size}), "
            f"got {actions}; HuggingFaceTokenizer(..., vocab_size={policy.vocab_size}) pads a "
            "vocabulary"
        )
    length = text_length(envs)
    if policy.max_length is not None and length > policy.max_length:
        raise ValueError(
            f"envs must have texts of at most {policy.max_length} tokens, the policy's positions, "
            f"got {length}"
        )
    require_exact_decoding(policy, length)


def warn_of_unheeded_ends(policy: CausalLMPolicy, envs: VectorEnv[Any, Any, Any]) -> None:
    """Warns if the model has several end-of-text tokens and some do not end the texts of `envs`.

    Of environments that do not tell by `end_of_text_ids` which tokens end a text, nothing is said.
    """
    ids, told = policy.end_of_text_ids, end_of_text_ids(envs)
    unheeded = [] if told is None else sorted(set(ids) - told)
    if len(ids) > 1 and unheeded:
        warnings.warn(
            f"the model's generation config ends a text at each of the tokens {list(ids)}, but in "
            f"the environment {unheeded} do not: give it stop_token_ids={unheeded}",
            stacklevel=3,
        )


def heed_ends(policy: CausalLMPolicy, envs: VectorEnv[Any, Any, Any]) -> None:
    """Lets a model that is saved end its texts where it learns to, if it would end them nowhere.

    A model that ends texts at one of the tokens at least at which `envs` end them stays as it is,
    and so does any where these do not tell by `end_of_text_ids`.
    """
    told = end_of_text_ids(envs)
    if told and told.isdisjoint(policy.end_of_text_ids):
        end_texts_at(policy.model, told)


def text_length(envs: VectorEnv[Any, Any, Any]) -> int:
    """Returns L, the most tokens of a text."""
    return int(envs.single_observation_space["input_ids"].shape[0])  # type: ignore[index]
