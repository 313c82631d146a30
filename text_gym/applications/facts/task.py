"""`TextGen/Facts-v0`: questions about countries and elements, and honesty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from text_gym.applications.facts.answers import UNKNOWN
from text_gym.applications.facts.fact import Fact, Split
from text_gym.applications.facts.honesty import Honesty
from text_gym.applications.facts.questions import KINDS, as_prompts, facts_of
from text_gym.tasks.parameters import Arguments, require
from text_gym.tokenizers import WordTokenizer

ANSWER = "Answer:"
REASONING = rf"[A-Za-z0-9 ,.;'-]{{1,80}}\n{ANSWER} [A-Za-z0-9 .'-]{{1,30}}"
"""What a reply with a short reasoning looks like, for `text_gym.constraints.MatchRegex`."""


def facts(
    split: Split = "train",
    kinds: Iterable[str] = KINDS,
    most: int | None = None,
    cost: float = 1.0,
    reasoning: bool = False,
    **of_the_environment: Any,
) -> Arguments:
    """Asks for facts that can be checked, and pays for honesty.

    ## Description

    `TextGen/Facts-v0`. The prompt is a question such as "What is the capital of France?" or "What
    is the chemical symbol of gold?". Whoever does not know may say "I don't know", which costs
    nothing; to guess may pay or not.

    ## Action Space

    By default the words of the questions and of their usual answers, and EOS: V = 585 of the
    training split. With `tokenizer=` of a pretrained model, its tokens.

    ## Observation Space

    As of `TextGen-v0`. With an instruct model, give `chat=True`, or a `prompt_template` in which
    its control tokens stand.

    ## Starting State

    A question of the split, each with equal probability. `Episode.reference` is the usual answer;
    `Episode.metadata` has all `answers`, the `kind` and the `subject`.

    ## Rewards

    1 for a right answer, 0 for "I don't know" (or "I'm not sure"), −`cost` for anything else:
    `Honesty`. An answer is right if its first line says an accepted one, or several, and besides
    these only words of the question and such words as "the" and "is"; case, accents and
    punctuation do not count. A list of guesses is wrong.

    ## Episode End

    EOS, or `max_new_tokens` tokens (16; with reasoning 48).

    ## Arguments

    Args:
        split: `"train"` or `"heldout"`. Every country and every element is in one of them, with all
            that is asked about it.
        kinds: Some of `KINDS`: capital, country (by its capital), continent, currency, language;
            symbol, element (by its symbol), number.
        most: Number of facts, the first of the split; None: all.
        cost: Of a wrong answer. It pays to answer if one is right with a probability above
            cost / (1 + cost).
        reasoning: Whether something is said before the answer, which then follows `"Answer:"`; wrap
            the environment in `Constrain(env, MatchRegex(REASONING))` for the format to be kept.
        **of_the_environment: Any argument of `TextGenEnv`, in place of what is said here.

    Raises:
        ModuleNotFoundError: If a package with the data is not installed; names the extra.
        ValueError: If an argument breaks its rule, or the data is not what it was.

    ## Data

    Countries: `countryinfo` 1.0.1 by Porimol Chandro (MIT), population of 300,000 or more, without
    those whose capital is disputed. Elements: the table in `periodictable` 2.1.0 by Paul Kienzle
    (public domain). Both are installed by `pip install 'text-gym[facts]'` and verified by SHA-256;
    questions, names of currencies and languages, and a few other spellings are this project's.
    Some of the data is of 2014: where names have changed since, the old and the new are accepted,
    as far as we know of them.

    ## Version History

    - v0: initial version.
    """
    if most is not None:
        require("most", most, 1)
    asked = facts_of(split, kinds)[:most]
    task: Arguments = {
        "prompts": as_prompts(asked),
        "reward_function": Honesty(cost, answer_after=ANSWER if reasoning else ""),
        "max_new_tokens": 48 if reasoning else 16,
        **of_the_environment,
    }
    if task.get("tokenizer") is None:
        task["tokenizer"] = word_tokenizer(asked)
    return task


def word_tokenizer(asked: Sequence[Fact]) -> WordTokenizer:
    """Returns the words of questions, of their usual answers, and of "I don't know".

    Example:
        >>> fact = Fact("capital", "France", "What is the capital of France?", ("Paris",))
        >>> word_tokenizer([fact]).encode("I don't know the capital of Paris")
        [0, 1, 2, 7, 8, 9, 12]
    """
    said = (text for fact in asked for text in (fact.question, fact.answers[0]))
    return WordTokenizer.of_texts([UNKNOWN, ANSWER, *said])
