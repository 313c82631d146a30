"""The two parts of a text and the seam between them: prompts into ids, completions out of them.

A tokenizer may begin every text in its own way, and may read a token in another way where
something stands before it. What that means for a prompt and what follows it is decided here, for
environments, supervised training and evaluation alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from text_gym.episode import TokenIds
from text_gym.hugging_face_tokenizer import HuggingFaceTokenizer
from text_gym.prompt_template import fill
from text_gym.tokenizers import CharTokenizer, Tokenizer, WordTokenizer
from text_gym.turns import RESPONSE


def encode_prompt(tokenizer: Tokenizer, template: str, prompt: str) -> list[int]:
    """Returns the ids that the policy sees of a prompt, shape (P,).

    Raises:
        ValueError: If the tokenizer cannot spell the text.
    """
    if isinstance(tokenizer, HuggingFaceTokenizer):
        return tokenizer.encode_prompt(template, prompt)
    return tokenizer.encode(fill(template, prompt))


def encode_response(tokenizer: Tokenizer, template: str, response: str) -> list[int]:
    """Returns the ids that the policy sees of what somebody else adds to a text, shape (R,).

    Args:
        tokenizer: Spells the text.
        template: In which `{response}` stands for the text; only here are control tokens named.
        response: The text.

    Raises:
        ValueError: If the tokenizer cannot spell the text.
    """
    if isinstance(tokenizer, HuggingFaceTokenizer):
        return tokenizer.encode_in(template, response, RESPONSE)
    return tokenizer.encode(fill(template, response, RESPONSE))


def encode_completion(
    tokenizer: HuggingFaceTokenizer, prompt_ids: Sequence[int], completion: str
) -> list[int]:
    """Returns ids that read as `completion` after a prompt, as far as the tokenizer has such ids.

    Raises:
        ValueError: If the tokenizer cannot spell the text.
    """
    ids = tokenizer.encode(completion)
    read = completion_decoder(tokenizer, np.array(prompt_ids, dtype=np.int64))
    if read(np.array(ids, dtype=np.int64)) == completion:
        return ids
    # Some put a space before every text, but not after a line break within it.
    line_break, joined = tokenizer.encode("\n"), tokenizer.encode(f"\n{completion}")
    within = joined[len(line_break) :]
    fits = [*line_break, *within] == joined
    return within if fits and read(np.array(within, dtype=np.int64)) == completion else ids


def completion_decoder(tokenizer: Tokenizer, prompt_ids: TokenIds) -> Callable[[TokenIds], str]:
    """Returns the function from the ids of a completion, or of its beginning, to its text.

    That is what stands after the prompt in the decoded whole, so that prompt and completion
    together are the text that was written. Only of a list of words it is the words alone, without
    the space before the first.

    Example:
        >>> decode = completion_decoder(WordTokenizer(["fine", "thanks"]), np.array([0]))
        >>> decode(np.array([0, 1]))
        'fine thanks'
    """
    if isinstance(tokenizer, CharTokenizer | WordTokenizer):
        return tokenizer.decode
    return _AfterPrompt(tokenizer, prompt_ids)


@dataclass(frozen=True)
class _AfterPrompt:
    """Reads completions of one prompt."""

    tokenizer: Tokenizer
    prompt_ids: TokenIds

    @cached_property
    def _prompt(self) -> str:
        return self.tokenizer.decode(self.prompt_ids)

    def __call__(self, completion_ids: TokenIds) -> str:
        whole = self.tokenizer.decode(np.concatenate([self.prompt_ids, completion_ids]))
        if whole.startswith(self._prompt):
            return whole[len(self._prompt) :]
        # Bytes that are no text may take the character before them along; it stands in the prompt.
        return self.tokenizer.decode(completion_ids)
