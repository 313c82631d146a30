"""`TextGen/Calculator-v0`: its arguments, its responder and its reward."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from text_gym.applications.calculator.arithmetic import LONGEST_RESULT, calculate
from text_gym.applications.calculator.questions import Split, questions
from text_gym.episode import Episode
from text_gym.quoting import quoted
from text_gym.tasks.parameters import Arguments
from text_gym.tokenizers import CharTokenizer
from text_gym.turns import Turn

CALL = "="
"""What a turn ends with that the calculator is to answer."""
RESPONSE_TEMPLATE = "{response}\n"
MAX_TURNS = 3
MAX_TURN_TOKENS = 16
MAX_NEW_TOKENS = 32
MAX_RESPONSE_TOKENS = (MAX_TURNS - 1) * len(RESPONSE_TEMPLATE.format(response="0" * LONGEST_RESULT))
ALPHABET = string.digits + "+-*/(). =,\n" + string.ascii_lowercase


def calculator(
    *,
    split: Split = "train",
    largest: int = 99,
    operands: int = 2,
    tool: bool = True,
    **of_the_environment: Any,
) -> Arguments:
    r"""Asks for sums in words, and lends a calculator.

    ## Description

    `TextGen/Calculator-v0`. The prompt is a sum in words, such as `take 37 from 48`. A turn that
    ends with `=`, such as `48-37=`, is a call: the environment adds what it comes to, and the next
    turn begins. Any other turn is the answer, and ends the text:

        prompt      take 37 from 48
        policy      48-37=
        responder   11
        policy      11

    The calculator knows `+ - * / **` and brackets, numbers up to 10⁹ and texts of up to 64
    characters; of anything else it says `error`.

    ## Action Space

    47 characters and EOS, which ends a turn.

    ## Observation Space

    As in `TextGenEnv`; the prompt and each result are followed by a new line.

    ## Starting State

    One of 4,096 drawn sums of numbers from 10 to `largest`, repeats left out.

    ## Rewards

    1 if the last turn is the right number, else 0: `RightAnswer`. A text without an answer is worth
    0, and so is a call that was the last turn allowed.

    ## Episode End

    A turn that is no call; three turns; 16 tokens in one turn, or 32 in all.

    ## Arguments

    Args:
        split: `"train"` or `"heldout"`: sums of numbers that are in no sum of the other, in any
            order.
        largest: Number in a sum, from 19 to 999.
        operands: Most numbers of a sum, 2 or 3.
        tool: Whether there is a calculator. Without it a text has one turn.
        **of_the_environment: Of `TextGenEnv`, in place of the above.

    Raises:
        ValueError: If an argument is out of range.

    ## Data

    Made by rule, `text_gym.applications.calculator.questions`: nobody's, and nothing to install.

    ## Version History

    - v0: initial version.
    """
    turns = {
        "responder": Calculator(),
        "response_template": RESPONSE_TEMPLATE,
        "max_response_tokens": MAX_RESPONSE_TOKENS,
        "max_turn_tokens": MAX_TURN_TOKENS,
        "max_turns": MAX_TURNS,
    }
    return {
        "prompts": questions(split, largest=largest, operands=operands),
        "tokenizer": CharTokenizer(ALPHABET),
        "reward_function": RightAnswer(),
        "prompt_template": "{prompt}\n",
        "max_new_tokens": MAX_NEW_TOKENS,
        **(turns if tool else {}),
        **of_the_environment,
    }


@dataclass(frozen=True)
class Calculator:
    """Answers turns that end with `=` by what stands before; ends the text of others.

    It also ends a text in which there is no room left for a result.

    Example:
        >>> from text_gym.episode import Passage
        >>> said = Passage("policy", np.array([0, 1, 2, 3, 4]), "6*7=")
        >>> Calculator()([Turn("6 times 7", [said], "eos", 18, 0, "42", {})])
        ['42']
    """

    def __call__(self, turns: Sequence[Turn]) -> list[str | None]:
        """Returns the result for each turn that is a call, None for others."""
        return [self._answer(turn) for turn in turns]

    def _answer(self, turn: Turn) -> str | None:
        said = turn.text.strip()
        if not said.endswith(CALL) or turn.room <= LONGEST_RESULT:
            return None
        return calculate(said.removesuffix(CALL))


@dataclass(frozen=True)
class RightAnswer:
    r"""Rewards a text with 1 if its last line is the episode's reference, else 0.

    White space at the ends of the line does not count. Each turn is a line.

    Raises:
        ValueError: When called, if an episode has no reference.

    Example:
        >>> RightAnswer()([Episode.from_text("6 times 7", "6*7=\n42", reference="42")])
        array([1.])
    """

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns 1 or 0 for each episode, (n,)."""
        return np.array([self._is_right(episode) for episode in episodes], dtype=np.float64)

    def _is_right(self, episode: Episode) -> bool:
        if episode.reference is None:
            raise ValueError(
                "reference must be given with every prompt that RightAnswer scores, got None for "
                f"{quoted(episode.prompt)}"
            )
        return episode.completion.rpartition("\n")[2].strip() == episode.reference.strip()
