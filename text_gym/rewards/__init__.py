"""Reward functions: feedback on finished texts, in batches.

A reward function maps n finished episodes to n numbers. Write one of your own as a plain
`fn(prompt, completion)` or as a batch function `fn(episodes)`, or take one from here:

| reward           | what a completion is worth                        | range           |
|------------------|---------------------------------------------------|-----------------|
| `WordCount`      | its number of words, in any script                | 0, 1, 2, ...    |
| `Length`         | minus its distance from a target length           | ..., -2, -1, 0  |
| `Keyword`        | whether, or how often, given words occur in it    | [0, 1] or count |
| `RegexFormat`    | 1 if the whole of it matches a pattern            | {0, 1}          |
| `ExactMatch`     | 1 if it equals the episode's reference            | {0, 1}          |
| `ChrF`           | its nearness to the episode's reference           | [0, 1]          |
| `DistinctNgrams` | the share of its n-grams that are distinct        | (0, 1]          |
| `Sentiment`      | how positive its English is, by VADER             | [-1, 1]         |
| `Unwanted`       | −1 if it has a word of a lexicon of profanities   | {-1, 0}         |
| `EachTurn`       | another reward, at the end of every turn          | any             |
| `WeightedSum`    | several rewards added up, reported by component   | any             |
| `OnError`        | another reward, or a stated value where it fails  | any             |

Nothing here knows environments, policies or training; wrappers apply these functions to the
episodes of an environment. Importing the package needs numpy alone.

Example:
    >>> from text_gym.episode import Episode
    >>> episodes = [
    ...     Episode.from_text("How are you?", "Fine, thank you!"),
    ...     Episode.from_text("How are you?", "so so so so"),
    ... ]
    >>> def polite(prompt: str, completion: str) -> float:
    ...     return float("thank" in completion)
    >>> reward = WeightedSum(
    ...     {"polite": polite, "variety": DistinctNgrams(1), "length": Length(3, unit="words")},
    ...     weights={"polite": 2.0, "variety": 1.0, "length": 0.5},
    ... )
    >>> reward(episodes)
    array([ 3.  , -0.25])
    >>> for name, values in score(reward, episodes).components.items():
    ...     print(name, values)
    polite [2. 0.]
    variety [1.   0.25]
    length [ 0.  -0.5]
"""

from __future__ import annotations

from text_gym.rewards.chrf import ChrF
from text_gym.rewards.each_turn import EachTurn
from text_gym.rewards.exact_match import ExactMatch
from text_gym.rewards.function import (
    PlainFunction,
    RewardError,
    RewardFunction,
    Scores,
    as_reward_function,
    reward_name,
    score,
)
from text_gym.rewards.keyword import Keyword
from text_gym.rewards.length import Length
from text_gym.rewards.on_error import OnError
from text_gym.rewards.regex_format import RegexFormat
from text_gym.rewards.repetition import DistinctNgrams
from text_gym.rewards.sentiment import Sentiment
from text_gym.rewards.unwanted import Unwanted
from text_gym.rewards.weighted_sum import WeightedSum
from text_gym.rewards.word_count import WordCount
from text_gym.words import count_words

__all__ = [
    "ChrF",
    "DistinctNgrams",
    "EachTurn",
    "ExactMatch",
    "Keyword",
    "Length",
    "OnError",
    "PlainFunction",
    "RegexFormat",
    "RewardError",
    "RewardFunction",
    "Scores",
    "Sentiment",
    "Unwanted",
    "WeightedSum",
    "WordCount",
    "as_reward_function",
    "count_words",
    "reward_name",
    "score",
]
