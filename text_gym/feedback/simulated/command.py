"""`python -m text_gym.feedback simulate STUDY`: its arguments, and what it prints.

Knows nothing of how people answer: see `crowd` and `answering`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from text_gym.feedback.simulated.answering import Manner
from text_gym.feedback.simulated.crowd import REWARDS, Crowd, invite, send

SECONDS, SECONDS_PER_WORD = 2.0, 0.1
"""Slow enough for the quality rules of a study as it is made."""


def describe(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments; the study's folder is there already."""
    person, crowd = Manner(), Crowd()
    parser.add_argument("--annotators", type=int, default=crowd.annotators)
    parser.add_argument("--spammers", type=int, default=0, help="so many answer without a look")
    parser.add_argument("--reward", choices=tuple(REWARDS), default=crowd.reward)
    parser.add_argument("--most", type=int, help="judgements of each; default: all there are")
    parser.add_argument("--accuracy", type=float, help="of preferring the better of two texts")
    parser.add_argument(
        "--skill", type=float, default=person.skill, help="log-odds for each unit of reward instead"
    )
    parser.add_argument("--tie", type=float, help="log-odds of a tie between equals; default: none")
    parser.add_argument("--side-bias", type=float, default=0.0, help="log-odds for the left side")
    parser.add_argument("--drift", type=float, default=0.0, help="how fast attention fades")
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="before an answer, on average"
    )
    parser.add_argument(
        "--seconds-per-word", type=float, default=SECONDS_PER_WORD, help="and for every word"
    )
    parser.add_argument("--seed", type=int, default=0)


def simulate(options: argparse.Namespace) -> str:
    """Sends simulated people to a study that is served, and returns what came of it.

    Raises:
        FileNotFoundError: If there is no study, or nobody serves it.
        ValueError: If an argument is out of bounds.
        ConnectionError: If the server refuses somebody, or does not answer.
    """
    crowd = Crowd(
        annotators=options.annotators,
        spammers=options.spammers,
        reward=options.reward,
        manner=Manner(
            skill=options.skill,
            accuracy=options.accuracy,
            tie=options.tie,
            side_bias=options.side_bias,
            drift=options.drift,
            seconds=options.seconds,
            seconds_per_word=options.seconds_per_word,
        ),
        most=options.most,
        seed=options.seed,
    )
    study: Path = options.study
    visits = send(invite(study, crowd.annotators), crowd)
    return (
        f"{sum(len(one.judged) for one in visits):,} judgements by {len(visits)} simulated people."
    )
