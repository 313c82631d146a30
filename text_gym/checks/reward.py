"""`check_reward`: what is asked of every reward function, on a batch of finished texts."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.checks.failure import ConformanceError, require
from text_gym.checks.isolation import global_streams
from text_gym.checks.returned_data import difference, frozen
from text_gym.episode import Episode
from text_gym.rewards import PlainFunction, RewardError, RewardFunction, as_reward_function, score

WHERE = "check_reward"
EPISODES: tuple[tuple[str, str, str], ...] = (
    ("How are you?", "fine thanks, and you?", "fine"),
    ("How are you?", "", "fine"),
    ("2 + 2 =", " 4", "4"),
    ("Say it again.", "again " * 40, "again"),
    ("Ça va ?", "שלום, e\u0301t\u00e9 \U0001f642", "oui"),
    ("How are you?", "so \x1b[31mgood\x00\n", "good"),
    ("How are you?", "fine thanks, and you?", "fine"),
)


def check_reward(
    fn: RewardFunction | PlainFunction,
    episodes: Sequence[Episode] | None = None,
    *,
    tolerance: float = 1e-6,
) -> None:
    """Checks a reward function.

    It must take a batch of episodes, or (prompt, completion); return one finite real number for
    each episode; give a text the same reward again, alone as in a batch, and at any place of it;
    leave the episodes and the global random streams alone; not reuse the array it returned;
    have components, if any, that sum to it; and pickle, so that environments in other processes
    can have it (a lambda does not).

    Args:
        fn: A `RewardFunction` or a plain `fn(prompt, completion) -> float`.
        episodes: What to score: two or more that do not all deserve the same. By default a few
            with a reference each, among them an empty, a long and a non-Latin completion.
        tolerance: How far rewards that must agree may differ, absolutely and relatively. A model
            may round differently in a larger batch.

    Raises:
        ConformanceError: If a rule is broken; says which, on which text, and by what.

    Example:
        >>> from text_gym.checks import check_reward
        >>> from text_gym.rewards import WordCount
        >>> check_reward(WordCount())
        >>> class Best:
        ...     def __call__(self, episodes):
        ...         lengths = [len(episode.completion) for episode in episodes]
        ...         return [float(length == max(lengths)) for length in lengths]
        >>> check_reward(Best())
        Traceback (most recent call last):
        ...
        text_gym.checks.failure.ConformanceError: episode 0: a text must be paid alone what it ...
    """
    batch = _default_episodes() if episodes is None else list(episodes)
    try:
        reward = as_reward_function(fn)
    except TypeError as error:
        raise ConformanceError(f"{WHERE}: {error}") from error
    before = frozen(batch)
    with global_streams(0, WHERE):
        expected = _scored(reward, batch)
    _check_unchanged(before, batch)

    def agree(received: NDArray[np.float64], rule: str, places: Sequence[int]) -> None:
        for place, value in zip(places, received.tolist(), strict=True):
            close = np.isclose(value, expected[place], rtol=tolerance, atol=tolerance)
            found = f"{value} instead of {expected[place]} for {batch[place]!r}"
            require(close, f"episode {place}", f"{rule}; got {found}")

    order = list(range(len(batch)))
    agree(_scored(reward, batch), "a text must be paid the same again", order)
    for place in order:
        alone = _scored(reward, [batch[place]])
        agree(alone, "a text must be paid alone what it is paid in a batch", [place])
    backwards = order[::-1]
    there = _scored(reward, [batch[place] for place in backwards])
    agree(there, "a text must be paid the same at any place of the batch", backwards)
    agree(_scored(_pickled(reward), batch), "a pickled copy must pay the same", order)
    _check_direct_call(reward, batch, lambda values, rule: agree(values, rule, order))


def _default_episodes() -> list[Episode]:
    return [
        Episode.from_text(
            prompt,
            completion,
            reference=reference,
            metadata={"level": index},
            stop_reason="length" if index % 3 == 2 else "eos",
        )
        for index, (prompt, completion, reference) in enumerate(EPISODES)
    ]


def _scored(reward: RewardFunction, episodes: list[Episode]) -> NDArray[np.float64]:
    """Scores as environments do, which checks the values, and then that the list is as it was."""
    given = list(episodes)
    try:
        total = score(reward, given).total
    except RewardError as error:
        raise ConformanceError(f"{WHERE}: {error}") from error
    same = len(given) == len(episodes) and all(map(lambda a, b: a is b, given, episodes))
    require(same, WHERE, "the list of episodes must be left as it is", given)
    return total


def _check_unchanged(before: list[Episode], episodes: list[Episode]) -> None:
    for place, (was, now) in enumerate(zip(before, episodes, strict=True)):
        found = difference(was, now, "the episode")
        require(found is None, f"episode {place}", f"an episode must not be changed; {found}")


def _pickled(reward: RewardFunction) -> Any:
    try:
        return pickle.loads(pickle.dumps(reward))
    except Exception as error:
        raise ConformanceError(
            f"{WHERE}: a reward must pickle (a function of a module, or an object of a class of "
            f"one), got {type(error).__name__}: {error}"
        ) from error


def _check_direct_call(
    reward: RewardFunction,
    episodes: list[Episode],
    agree: Callable[[NDArray[np.float64], str], None],
) -> None:
    """Calls the function itself: `score` asks its components instead, if it has any."""
    raw = reward(list(episodes))
    values = np.array(raw, dtype=np.float64)
    rule = f"a reward must have shape ({len(episodes)},), also beside its components"
    require(values.shape == (len(episodes),), WHERE, rule, values)
    agree(values, "the components must sum to the reward")
    reward(episodes[::-1])
    agree(np.asarray(raw, dtype=np.float64), "the array returned must not be used again")
