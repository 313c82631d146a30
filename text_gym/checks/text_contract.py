"""What every recorded text must satisfy: observations, ends, feedback and masks.

Functions of recorded moments; no environment is stepped here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from text_gym.checks.failure import require
from text_gym.checks.text_rollout import Moment, Text
from text_gym.episode import Episode
from text_gym.text_parts import completion_decoder

TEXT_KEYS: dict[str, Any] = {"input_ids": np.int64, "attention_mask": np.int8}
STOP_REASONS = ("eos", "stop", "length")


def check_spaces(observation_space: Any, action_space: Any, tokenizer: Any) -> None:
    """Checks the two spaces against the vocabulary."""
    where = "action_space"
    require(isinstance(action_space, spaces.Discrete), where, "must be Discrete", action_space)
    require(action_space.start == 0, where, "must start at 0: an action is a token id")
    size, eos = int(tokenizer.vocab_size), tokenizer.eos_token_id
    require(action_space.n == size, where, f"must be Discrete({size}), one action a token id")
    require(0 <= eos < size, where, f"must contain EOS, token {eos}", action_space)
    where = "observation_space"
    require(isinstance(observation_space, spaces.Dict), where, "must be a Dict", observation_space)
    for key, dtype in TEXT_KEYS.items():
        where = f"observation_space[{key!r}]"
        space = observation_space.spaces.get(key)
        top = size - 1 if key == "input_ids" else 1
        rule = f"must be Box(0, {top}, (L,), {np.dtype(dtype)})"
        require(isinstance(space, spaces.Box) and len(space.shape) == 1, where, rule, space)
        bounds = spaces.Box(0, top, space.shape, dtype)
        require(space == bounds, where, rule, space)
    lengths = {key: observation_space[key].shape[0] for key in TEXT_KEYS}
    require(len(set(lengths.values())) == 1, where, "L must be the same for both keys", lengths)


def check_observations(text: Text, observation_space: Any) -> None:
    """Checks that the text stands at the left and grows by each action, and by nothing else.

    What somebody else adds at the end of a turn, `info["appended"]` counts.
    """
    prompt_length = text[0].info.get("prompt_length")
    rule = "info['prompt_length'] must say where the prompt ends, an int of at least 1"
    is_length = isinstance(prompt_length, int | np.integer) and prompt_length >= 1
    require(is_length, text[0].where, rule, prompt_length)
    context: list[int] = []
    for moment in text:
        ids = _checked_ids(moment, observation_space)
        if moment.action is None:
            rule = f"attention_mask must count the {prompt_length} tokens of info['prompt_length']"
            require(len(ids) == prompt_length, moment.where, rule, len(ids))
            context = ids
            continue
        context = [*context, moment.action]
        rule = "input_ids must be the text before with the action appended and nothing moved"
        kept = ids[: len(context)]
        require(kept == context, moment.where, f"{rule}, expected {context}", ids)
        rule = "info['appended'] must count the tokens that stand after the action"
        appended = moment.info.get("appended", 0)
        require(len(ids) - len(context) == appended, moment.where, rule, appended)
        context = ids


def _checked_ids(moment: Moment, observation_space: Any) -> list[int]:
    """Returns the ids that the mask counts, after checking how they are laid out."""
    observation, where = moment.observation, moment.where
    for key, dtype in TEXT_KEYS.items():
        array = observation.get(key)
        is_array = isinstance(array, np.ndarray) and array.dtype == dtype
        require(is_array, where, f"observation[{key!r}] must be a {np.dtype(dtype)} array", array)
    require(
        observation in observation_space, where, "observation must be in the space", observation
    )
    ids, mask = observation["input_ids"], observation["attention_mask"]
    length = int(mask.sum())
    rule = "attention_mask must be right-padded, ones and then zeros"
    require(mask[:length].all(), where, rule, mask.tolist())
    require(not ids[length:].any(), where, "input_ids must be 0 past the text", ids.tolist())
    listed: list[int] = ids[:length].tolist()
    return listed


def check_end(text: Text, tokenizer: Any) -> None:
    """Checks flags, stop reason and finished text of every moment."""
    for moment in text:
        where, info = moment.where, moment.info
        for name in ("terminated", "truncated"):
            flag = getattr(moment, name)
            require(type(flag) is bool, where, f"{name} must be a Python bool", type(flag))
        both = moment.terminated and moment.truncated
        require(not both, where, "terminated and truncated must not both be set")
        if not moment.ended:
            for key in ("stop_reason", "text_episode"):
                require(key not in info, where, f"info[{key!r}] must wait for the end of the text")
        goes_on = "appended" in info
        require(goes_on == ("turn" in info), where, "info must say both 'turn' and 'appended'")
        require(not (goes_on and moment.ended), where, "a text that ends must not be added to")
        if moment.action == tokenizer.eos_token_id:
            rule = "EOS must terminate the text, or somebody must go on with it"
            require(moment.terminated or goes_on, where, rule)
    _check_stop(text, tokenizer)


def _check_stop(text: Text, tokenizer: Any) -> None:
    last = text[-1]
    reason = last.info.get("stop_reason")
    # An outer TimeLimit truncates a text that does not know that it ends.
    allowed = STOP_REASONS if last.terminated else ("length", None)
    require(reason in allowed, last.where, f"info['stop_reason'] must be in {allowed}", reason)
    by_eos = last.action == tokenizer.eos_token_id
    rule = f"info['stop_reason'] must be 'eos' after EOS and only then (the action: {last.action})"
    require((reason == "eos") == by_eos, last.where, rule, reason)
    episode = last.info.get("text_episode")
    if last.truncated:
        rule = "info['text_episode'] must be left out of a truncated text, which is not paid for"
        require(episode is None, last.where, rule, episode)
        return
    rule = "info['text_episode'] must be the finished Episode"
    require(isinstance(episode, Episode), last.where, rule, episode)
    assert isinstance(episode, Episode)
    _check_episode(text, episode, tokenizer)


def _check_episode(text: Text, episode: Episode, tokenizer: Any) -> None:
    last, prompt_length = text[-1], int(text[0].info["prompt_length"])
    prompt_ids = text[0].observation["input_ids"][:prompt_length].tolist()
    actions = [moment.action for moment in text[1:]]
    expected = {
        "prompt_ids": prompt_ids,
        "completion_ids": actions,
        "stop_reason": last.info["stop_reason"],
    }
    if "appended" not in [key for moment in text for key in moment.info]:
        decode = completion_decoder(tokenizer, np.array(prompt_ids))
        expected["completion"] = decode(np.array(actions))
    for name, value in expected.items():
        got = getattr(episode, name)
        got = got.tolist() if isinstance(got, np.ndarray) else got
        rule = f"info['text_episode'].{name} must be {value!r}, what the text holds"
        require(got == value, last.where, rule, got)
    context = last.observation["input_ids"][: int(last.observation["attention_mask"].sum())]
    written = [token for one in episode.turns for token in one.token_ids.tolist()]
    rule = "info['text_episode'].turns must hold all tokens after the prompt, in order"
    require(prompt_ids + written == context.tolist(), last.where, rule, written)


def check_pay(text: Text, dense_reward: bool) -> None:
    """Checks that the text is paid once, at its end, and what its components say."""
    for moment in text:
        where, reward, info = moment.where, moment.reward, moment.info
        is_number = isinstance(reward, float | int) and not isinstance(reward, bool)
        require(is_number, where, "reward must be a float", type(reward))
        require(np.isfinite(reward), where, "reward must be finite", reward)
        if not (dense_reward or moment.ended):
            require(reward == 0, where, "reward must be 0 before the end of the text", reward)
        if moment.truncated and not dense_reward:
            require(reward == 0, where, "reward must be 0 where a text is truncated", reward)
        if moment.terminated:
            rule = "info['reward_components'] must have the terms of the feedback"
            require("reward_components" in info, where, rule, sorted(info))
        if "reward_components" in info:
            terms = info["reward_components"]
            total = sum(terms.values())
            rule = f"reward must be the sum {total} of info['reward_components']={terms}"
            require(np.isclose(reward, total), where, rule, reward)


def check_masks(text: Text, size: int) -> None:
    """Checks that the masks of both dialects agree and leave something to write."""
    for moment in text:
        mask, where = moment.info.get("action_mask"), moment.where
        if mask is not None:
            is_mask = isinstance(mask, np.ndarray) and mask.dtype == np.int8
            rule = f"info['action_mask'] must be int8 of shape ({size},)"
            require(is_mask and mask.shape == (size,), where, rule, mask)
            require(moment.mask is not None, where, "action_masks() must be there too")
        if moment.mask is None:
            continue
        method = np.asarray(moment.mask)
        rule = f"action_masks() must be bool of shape ({size},)"
        require(method.dtype == np.bool_ and method.shape == (size,), where, rule, moment.mask)
        allowed = np.ones(size, np.int8) if mask is None else mask
        rule = "action_masks() and info['action_mask'] must allow the same tokens"
        differing = np.flatnonzero(method.view(np.int8) != allowed).tolist()
        require(not differing, where, f"{rule}; they differ", differing)
        require(method.any(), where, "a mask must allow some token")


def check_limit(texts: list[Text]) -> None:
    """Checks that texts which end by the limit are of one length, and others no longer.

    Texts of several turns have several limits, and none is asked of them.
    """
    if any("appended" in moment.info for text in texts for moment in text):
        return
    lengths = {text[-1].where: len(text) - 1 for text in texts}
    full = [text for text in texts if text[-1].info.get("stop_reason") == "length"]
    for text in full:
        where, limit = text[-1].where, len(text) - 1
        longest = max(lengths.values())
        rule = f"a text must end by 'length' at the limit, where others went on to {longest} tokens"
        require(limit == longest, where, rule, limit)
