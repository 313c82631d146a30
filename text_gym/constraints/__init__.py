"""Constraints: which texts may be written, as masks over the next token.

Give them to `text_gym.wrappers.Constrain`, or to its vector version:

| constraint           | which completions it allows                                 |
|----------------------|-------------------------------------------------------------|
| `MinimumLength`      | those of at least so many tokens                            |
| `BannedTokens`       | those without certain tokens                                |
| `AllowedTokens`      | those made of certain tokens                                |
| `BannedStrings`      | those that contain none of several strings                  |
| `BannedWords`        | those in which none of several words stands by itself       |
| `NoRepeatNgram`      | those in which no n tokens stand twice                      |
| `MatchRegex`         | those that match a regular expression as a whole            |
| `AllowedCompletions` | those of a list                                             |
| `EndsWith`           | those that end with a string                                |

All but `NoRepeatNgram` look ahead: a token is allowed only if, after it, the text can still be
finished in a way that all of them allow, within the token limit. With `limit="truncate"` a text
that is cut off is not finished, and need not satisfy them. `NoRepeatNgram` forbids what it forbids
without looking ahead, so beside constraints that keep a text from ending it may leave no token;
reading the mask is an error then.

A constraint of your own derives from `TokenConstraint` (the same tokens always), `TextConstraint`
(an automaton over the bytes of the text) or `HistoryConstraint` (anything else).

Nothing here knows environments. Importing the package needs numpy alone; `MatchRegex` loads
`outlines-core`.
"""

from text_gym.constraints.allowed_completions import AllowedCompletions
from text_gym.constraints.banned_strings import BannedStrings
from text_gym.constraints.banned_words import BannedWords
from text_gym.constraints.composition import Composition, EmptyMaskError
from text_gym.constraints.constraint import (
    Constraint,
    HistoryConstraint,
    Rule,
    TextConstraint,
    TokenConstraint,
    Vocabulary,
)
from text_gym.constraints.dfa import Dfa
from text_gym.constraints.ends_with import EndsWith
from text_gym.constraints.match_regex import MatchRegex
from text_gym.constraints.minimum_length import MinimumLength
from text_gym.constraints.no_repeat_ngram import NoRepeatNgram
from text_gym.constraints.tokens import AllowedTokens, BannedTokens

__all__ = [
    "AllowedCompletions",
    "AllowedTokens",
    "BannedStrings",
    "BannedTokens",
    "BannedWords",
    "Composition",
    "Constraint",
    "Dfa",
    "EmptyMaskError",
    "EndsWith",
    "HistoryConstraint",
    "MatchRegex",
    "MinimumLength",
    "NoRepeatNgram",
    "Rule",
    "TextConstraint",
    "TokenConstraint",
    "Vocabulary",
]
