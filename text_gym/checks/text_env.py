"""`check_text_env`: what is asked of every environment in which a text is written.

The rules for single texts are in `text_gym.checks.text_contract`; here are those that compare
runs, and Gymnasium's own checks.
"""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from text_gym.checks.failure import ConformanceError, require
from text_gym.checks.isolation import global_streams, restore, wrapper_states
from text_gym.checks.returned_data import difference
from text_gym.checks.text_contract import (
    check_end,
    check_limit,
    check_masks,
    check_observations,
    check_pay,
    check_spaces,
)
from text_gym.checks.text_rollout import Text, plan_of, play
from text_gym.quoting import quoted


def check_text_env(env: gym.Env[Any, Any], *, dense_reward: bool = False) -> None:
    """Checks that an environment keeps the contract of `TextGenEnv`.

    Spaces: token ids and nothing else, EOS among them. Observations: right-padded ids and mask of
    the right dtypes, zeros past the text, one token appended a step. Episodes: one flag, a Python
    bool, at the end; `stop_reason` and `text_episode` exactly where they belong; the feedback paid
    once, never at a truncating limit, and the sum of its components; nothing goes on after the end.
    Masks: `info["action_mask"]` and `action_masks()` agree. Randomness: a seed decides everything,
    global streams are left alone, a prompt given in `options` draws nothing. Nothing that was
    returned changes later, or changes the environment if it is written to. Last come Gymnasium's
    own checks of `env.unwrapped`, where a warning fails too.

    Args:
        env: An environment with the attribute `tokenizer`, in wrappers or not. Wrappers that hide
            the ids (`PaddedTokens`), autoreset, or change rewards without saying so in
            `info["reward_components"]` cannot pass. It has to be reset after the check.
        dense_reward: Whether rewards are paid before the end too, as `ChunkedFeedback`,
            `PotentialShaping` and `ReferenceLogProb` do.

    Raises:
        ConformanceError: If a rule is broken; says which, in which episode and step, and by what.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> from text_gym.checks import check_text_env
        >>> check_text_env(gym.make("TextGen-v0"))
        >>> class Impatient(gym.Wrapper):
        ...     def step(self, action):
        ...         observation, reward, terminated, truncated, info = self.env.step(action)
        ...         return observation, reward + 0.1, terminated, truncated, info
        >>> check_text_env(Impatient(gym.make("TextGen-v0")))
        Traceback (most recent call last):
        ...
        text_gym.checks.failure.ConformanceError: episode 0, step 1: reward must be the sum 0.0 ...
    """
    tokenizer = env.get_wrapper_attr("tokenizer")
    check_spaces(env.observation_space, env.action_space, tokenizer)
    plan = plan_of(env, env.observation_space["input_ids"].shape[0])  # type: ignore[index]
    states = wrapper_states(env)
    with global_streams(0, "the first run"):
        texts = play(env, plan)
    for text in texts:
        check_observations(text, env.observation_space)
        check_end(text, tokenizer)
        check_pay(text, dense_reward)
        check_masks(text, int(env.action_space.n))  # type: ignore[attr-defined]
    check_limit(texts)
    _check_repeatable(env, plan, states, texts)
    _check_given_prompt(env, texts)
    _check_finished(env, plan)
    restore(states)
    _check_gymnasium(env.unwrapped)


def _check_repeatable(
    env: gym.Env[Any, Any], plan: list[list[int]], states: list[tuple[Any, Any]], texts: list[Text]
) -> None:
    restore(states)
    with global_streams(1, "the second run"):
        again = play(env, plan)
    _require_same(texts, again, "the same seed must give the same run")
    restore(states)
    overwritten = play(env, plan, overwriting=True)
    _require_same(texts, overwritten, "writing on what was returned must not change what follows")


def _require_same(texts: list[Text], again: list[Text], rule: str) -> None:
    for text, other in zip(texts, again, strict=True):
        for moment, received in zip(text, other, strict=False):
            for name in ("observation", "reward", "terminated", "truncated", "info", "mask"):
                found = difference(getattr(moment, name), getattr(received, name), name)
                require(found is None, moment.where, f"{rule}; {found}")


def _prompt(result: tuple[Any, Any]) -> tuple[int, ...]:
    observation, info = result
    return tuple(observation["input_ids"][: info["prompt_length"]].tolist())


def _check_given_prompt(env: gym.Env[Any, Any], texts: list[Text]) -> None:
    """A prompt that the caller names must be the one, and draw nothing."""
    env.reset(seed=0)
    expected = [_prompt(env.reset()) for _ in range(5)]
    env.reset(seed=0)
    drawn = []
    finished = [text for text in texts if "text_episode" in text[-1].info]
    for place in range(5):
        if finished:
            text = finished[place % len(finished)]
            episode = text[-1].info["text_episode"]
            prompt = episode.metadata.get("messages", episode.prompt)
            given = _prompt(env.reset(options={"prompt": prompt}))
            wanted = _prompt((text[0].observation, text[0].info))
            rule = f"options={{'prompt': {quoted(prompt)}}} must start from its tokens {wanted}"
            require(given == wanted, "reset", rule, given)
        drawn.append(_prompt(env.reset()))
    rule = f"a prompt named in options must draw nothing; expected the prompts {expected} then"
    require(drawn == expected, "reset", rule, drawn)


def _check_finished(env: gym.Env[Any, Any], plan: list[list[int]]) -> None:
    last = play(env, plan[:1])[0][-1]
    if not last.terminated:
        return
    try:
        env.step(plan[0][0])
    except ResetNeeded:
        return
    raise ConformanceError(
        f"{last.where}, and one more: step must raise gymnasium.error.ResetNeeded after the end"
    )


def _check_gymnasium(env: gym.Env[Any, Any]) -> None:
    where = "gymnasium.utils.env_checker.check_env"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(env, skip_render_check=env.spec is None)
        except Exception as error:
            raise ConformanceError(f"{where}: {error}") from error
    messages = [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
    require(not messages, where, "must not warn", messages)
