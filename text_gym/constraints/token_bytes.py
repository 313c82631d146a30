"""What each token adds to the text, in bytes.

A token may stand for a part of a character, and its text may depend on whether it comes first
(lists of words have a space between, and none before the first). Beyond that the text of a sequence
must be the texts of its tokens one after another, which is checked. Bytes that are no text are read
as they are, however a decoder shows them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from text_gym.episode import TokenIds
from text_gym.hugging_face_tokenizer import HuggingFaceTokenizer
from text_gym.text_parts import completion_decoder
from text_gym.tokenizers import Tokenizer

_BYTE_TOKEN = re.compile("<0x([0-9A-F]{2})>")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class TokenBytes(NamedTuple):
    """The bytes that each token id adds, V entries each; None where it stands for no text.

    Attributes:
        first: At the start of a completion.
        later: After another token.
    """

    first: tuple[bytes | None, ...]
    later: tuple[bytes | None, ...]


def token_bytes(tokenizer: Tokenizer) -> TokenBytes:
    """Reads what each token adds to the text.

    Raises:
        ValueError: If the text of a sequence is not that of its tokens one after another, or
            a token stands for a part of a character that cannot be told.
    """
    silent = tokenizer.excluded_token_ids | {tokenizer.eos_token_id}
    visible = [token for token in range(tokenizer.vocab_size) if token not in silent]
    first: list[bytes | None] = [None] * tokenizer.vocab_size
    later: list[bytes | None] = [None] * tokenizer.vocab_size
    anchor = next((t for t in visible if _REPLACEMENT not in tokenizer.decode([t])), None)
    prompt_ids = np.array([] if anchor is None else [anchor], dtype=np.int64)
    read = completion_decoder(tokenizer, prompt_ids)
    for token in visible:
        alone = tokenizer.decode([token])
        if _REPLACEMENT in alone or anchor is None:
            first[token] = later[token] = _raw_bytes(tokenizer, token)
        else:
            before = tokenizer.decode([anchor])
            first[token] = read(np.array([token])).encode()
            later[token] = tokenizer.decode([anchor, token]).removeprefix(before).encode()
    pieces = TokenBytes(tuple(first), tuple(later))
    _check(read, pieces, visible)
    return pieces


def _raw_bytes(tokenizer: Tokenizer, token: int) -> bytes:
    """Returns the bytes of a token that decodes to no whole character."""
    if isinstance(tokenizer, HuggingFaceTokenizer):
        raw = str(tokenizer.tokenizer.convert_ids_to_tokens(token))
        byte = _BYTE_TOKEN.fullmatch(raw)
        if byte is not None:
            return bytes.fromhex(byte[1])
        if all(character in _BYTE_OF for character in raw):
            return bytes(_BYTE_OF[character] for character in raw)
    raise ValueError(
        f"every token must stand for known bytes, but token {token} decodes to "
        f"{tokenizer.decode([token])!r}"
    )


def _byte_alphabet() -> dict[str, int]:
    """Returns the byte that each character of a byte-level vocabulary stands for.

    Printable characters of Latin-1 stand for themselves, the other bytes in ascending order for
    the characters from U+0100 on: Radford et al., "Language Models are Unsupervised Multitask
    Learners", 2019, in its published vocabulary.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }


_BYTE_OF = _byte_alphabet()


def _check(read: Callable[[TokenIds], str], pieces: TokenBytes, visible: list[int]) -> None:
    random = np.random.default_rng(0)
    for length in (1, 2, 3, 8) * 8:
        ids = random.choice(visible, length) if visible else np.array([], dtype=np.int64)
        spelled = b"".join(
            (pieces.later if position else pieces.first)[token] or b""
            for position, token in enumerate(ids.tolist())
        ).decode(errors="replace")
        # How many replacement characters stand for bytes that are no text is the decoder's choice.
        if _REPLACEMENT not in spelled and read(ids) != spelled:
            raise ValueError(
                "constraints on the wording need a tokenizer whose tokens are written one after "
                f"another, but {ids.tolist()} reads {read(ids)!r} and not {spelled!r}"
            )
