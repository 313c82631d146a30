"""Text to token ids and back: the vocabulary is the action space.

Characters and whole words need nothing but Python; for Hugging Face tokenizers see
`text_gym.hugging_face_tokenizer`. A tokenizer knows nothing of padding or lengths: there is no
padding token here, because padding is not an action.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from text_gym.hugging_face_tokenizer import HuggingFaceTokenizer
from text_gym.order import require_order
from text_gym.quoting import quoted


@runtime_checkable
class Tokenizer(Protocol):
    """What the environment asks of a vocabulary.

    Attributes:
        vocab_size: Number of token ids V; the action space is `Discrete(V)`.
        eos_token_id: The id that ends a text. An ordinary action, and never padding.
        excluded_token_ids: Ids that stand for no text: holes of the vocabulary and special tokens
            other than EOS. They decode to nothing and the environment's action mask excludes them.
    """

    @property
    def vocab_size(self) -> int: ...  # noqa: D102
    @property
    def eos_token_id(self) -> int: ...  # noqa: D102
    @property
    def excluded_token_ids(self) -> frozenset[int]: ...  # noqa: D102

    def encode(self, text: str) -> list[int]:
        """Returns the token ids of `text`, without EOS; no text gives a special token."""
        ...

    def decode(self, token_ids: Iterable[int]) -> str:
        """Returns the text of `token_ids`; EOS and excluded ids give nothing."""
        ...


class _ListedTokenizer:
    """Holds a fixed list of tokens; EOS is the id after the last."""

    _pieces: Sequence[str]
    """What each id adds to a text."""

    def __init__(self, tokens: Iterable[str], argument: str) -> None:
        require_order(tokens, argument)
        tokens = list(tokens)
        if not tokens:
            raise ValueError(f"{argument} must name at least one token, got {tokens!r}")
        repeated = sorted(token for token, count in Counter(tokens).items() if count > 1)
        if repeated:
            raise ValueError(f"{argument} must not repeat a token, got {repeated!r} more than once")
        self._tokens = tuple(tokens)
        self._ids = {token: index for index, token in enumerate(tokens)}
        self.eos_token_id = len(tokens)
        self.vocab_size = len(tokens) + 1
        self.excluded_token_ids: frozenset[int] = frozenset()

    def _look_up(self, tokens: Iterable[str], text: str) -> list[int]:
        try:
            return [self._ids[token] for token in tokens]
        except KeyError as error:
            raise ValueError(
                f"text must consist of the vocabulary's tokens, got {quoted(text)}, "
                f"in which {error.args[0]!r} is unknown"
            ) from None

    def _joined(self, token_ids: Iterable[int]) -> str:
        ids = token_ids.tolist() if isinstance(token_ids, np.ndarray) else token_ids
        return "".join([self._pieces[index] for index in ids])

    def __deepcopy__(self, memo: dict[int, Any]) -> _ListedTokenizer:
        return self  # never changes, and environment specs are deep-copied by every wrapper


class CharTokenizer(_ListedTokenizer):
    """Makes every character a token.

    Args:
        characters: The alphabet, each character once. Defaults to printable ASCII without control
            characters.

    Raises:
        TypeError: If `characters` is a set, which has no order.
        ValueError: If `characters` is empty or repeats one.

    Example:
        >>> tokenizer = CharTokenizer("ab ")
        >>> tokenizer.encode("ba"), tokenizer.eos_token_id, tokenizer.decode([1, 0, 3])
        ([1, 0], 3, 'ba')
    """

    def __init__(
        self, characters: str = string.ascii_letters + string.digits + string.punctuation + " "
    ) -> None:
        super().__init__(characters, "characters")
        self._pieces = (*self._tokens, "")

    def encode(self, text: str) -> list[int]:
        """Returns one id per character; raises ValueError for a character not in the alphabet."""
        return self._look_up(text, text)

    def decode(self, token_ids: Iterable[int]) -> str:
        """Returns the characters, EOS left out."""
        return self._joined(token_ids)


class WordTokenizer(_ListedTokenizer):
    """Makes every word of a fixed list a token; punctuation marks are words of their own.

    Args:
        words: The vocabulary, lower case. Encoding ignores case; decoding joins with spaces and
            puts no space before a closing mark.

    Raises:
        TypeError: If `words` is a text, or a set, which has no order.
        ValueError: If `words` is empty, repeats one, or has one that encoding would not find: with
            a capital letter, or of several words or marks.

    Example:
        >>> tokenizer = WordTokenizer(["how", "are", "you", "?"])
        >>> tokenizer.encode("How are you?"), tokenizer.decode([0, 1, 2, 3, 4])
        ([0, 1, 2, 3], 'how are you?')
    """

    _WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
    _CLOSING = frozenset(".,;:!?")

    def __init__(self, words: Sequence[str]) -> None:
        if isinstance(words, str):
            raise TypeError(f"words must be a list of words, got the text {quoted(words)}")
        super().__init__(words, "words")
        unknown = [word for word in self._tokens if self._words_of(word) != [word]]
        if unknown:
            raise ValueError(
                "words must be lower case, each a single word or mark, or no text would contain "
                f"them, got {quoted(unknown)}"
            )
        spaced = (word if word in self._CLOSING else f" {word}" for word in self._tokens)
        self._pieces = (*spaced, "")

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> WordTokenizer:
        """Returns the tokenizer of all words and marks of some texts, as they first occur.

        Example:
            >>> WordTokenizer.of_texts(["Is it?", "It is."]).decode([0, 1, 2, 3])
            'is it?.'
        """
        words = (word for text in texts for word in cls._words_of(text))
        return cls(list(dict.fromkeys(words)))

    def encode(self, text: str) -> list[int]:
        """Returns one id per word or mark; raises ValueError for a word not in the list."""
        return self._look_up(self._words_of(text), text)

    def decode(self, token_ids: Iterable[int]) -> str:
        """Returns the words joined by spaces, EOS left out."""
        return self._joined(token_ids).removeprefix(" ")

    @classmethod
    def _words_of(cls, text: str) -> list[str]:
        return cls._WORD.findall(text.lower())


class TransformersTokenizer(Protocol):
    """What is known of a tokenizer of `transformers` before it is wrapped."""

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        """Returns the tokens of ids."""


TokenizerLike = Tokenizer | TransformersTokenizer | str | Path
"""A `Tokenizer`, one of `transformers`, or a folder, hub id or GGUF file to load one from."""


def as_tokenizer(tokenizer: TokenizerLike) -> Tokenizer:
    """Accepts a `Tokenizer`, a `transformers` tokenizer, or where to load one from.

    Raises:
        TypeError: If `tokenizer` is none of these.
    """
    if isinstance(tokenizer, str | Path):
        return HuggingFaceTokenizer.from_pretrained(tokenizer)
    if hasattr(tokenizer, "convert_ids_to_tokens"):
        return HuggingFaceTokenizer(tokenizer)
    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    raise TypeError(
        "tokenizer must have vocab_size, eos_token_id, excluded_token_ids, encode and decode, or "
        f"be a transformers tokenizer, a folder, a hub id or a GGUF file, got {quoted(tokenizer)}"
    )


def action_mask(
    tokenizer: Tokenizer, stop_token_ids: Sequence[int] = ()
) -> NDArray[np.int8] | None:
    """Returns the read-only mask (V,) of ids that stand for text or end it; None if all do."""
    excluded = tokenizer.excluded_token_ids - set(stop_token_ids)
    if not excluded:
        return None
    mask = np.ones(tokenizer.vocab_size, dtype=np.int8)
    mask[list(excluded)] = 0
    mask.setflags(write=False)
    return mask
