"""The vocabulary of a pretrained model: a `transformers` tokenizer, as the environment uses one.

Text is data: whatever a prompt says, it becomes no control token. `transformers` is imported when
somebody asks to load a tokenizer, and not before.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from text_gym.prompt_template import FIELD
from text_gym.quoting import quoted


class HuggingFaceTokenizer:
    """Adapts a `transformers` tokenizer.

    Args:
        tokenizer: A `PreTrainedTokenizerBase` with an EOS token; it is copied.
        vocab_size: Number of actions; defaults to the highest id plus one. Give the model's
            embedding size when that is padded beyond the tokenizer: the ids in between are holes.

    Raises:
        ValueError: If the tokenizer has no EOS token, or `vocab_size` leaves out one of its ids.
    """

    def __init__(self, tokenizer: Any, *, vocab_size: int | None = None) -> None:
        name = tokenizer.name_or_path or type(tokenizer).__name__
        if tokenizer.eos_token_id is None:
            raise ValueError(
                f"tokenizer must have an EOS token, or no text could end, got {name!r} with "
                "eos_token=None"
            )
        used = set(tokenizer.get_vocab().values())
        smallest = max(used) + 1
        if vocab_size is not None and vocab_size < smallest:
            raise ValueError(
                f"vocab_size must be at least {smallest} for {name!r}, got {vocab_size}"
            )
        # Whoever gave it goes on using it, and it truncates for all threads while one truncates.
        self.tokenizer = tokenizer = copy.deepcopy(tokenizer)
        self.vocab_size = vocab_size or smallest
        self.eos_token_id = int(tokenizer.eos_token_id)
        holes = set(range(self.vocab_size)) - used
        # `all_special_ids` lists only those with a role (pad, bos, ...), not "<|reserved_0|>".
        added = tokenizer.added_tokens_decoder.items()
        special = set(tokenizer.all_special_ids) | {i for i, token in added if token.special}
        self.excluded_token_ids = frozenset((holes | special) - {self.eos_token_id})
        self._silent = self.excluded_token_ids | {self.eos_token_id}
        # An unknown word is text, though the token that stands for it is a special one.
        self._control = (special - {tokenizer.unk_token_id}) | {self.eos_token_id}
        self._control_of = {tokenizer.convert_ids_to_tokens(i): i for i in self._control}
        longest_first = sorted(self._control_of, key=len, reverse=True)
        self._control_names = re.compile(f"({'|'.join(map(re.escape, longest_first))})")
        self._beginning = _beginning(tokenizer)

    @classmethod
    def from_pretrained(cls, source: str | Path, **kwargs: Any) -> HuggingFaceTokenizer:
        """Loads a tokenizer from a folder, a hub id, or a GGUF file; code beside it is never run.

        Raises:
            ModuleNotFoundError: If `transformers` is not installed, or `gguf` for such a file.
            ValueError: If `transformers` does not know it without code of its own.
        """
        from transformers import AutoTokenizer

        path = Path(source)
        gguf = path.suffix == ".gguf"
        if gguf and find_spec("gguf") is None:
            raise ModuleNotFoundError("a GGUF file needs gguf: pip install 'text-gym[gguf]'")
        options = {"gguf_file": path.name} if gguf else {}
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                path.parent if gguf else source, trust_remote_code=False, **options
            )
        except ValueError as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                "source must be a tokenizer that transformers knows without code of its own, got "
                f"{source}: {reason}"
            ) from error
        return cls(tokenizer, **kwargs)

    def encode(self, text: str) -> list[int]:
        """Returns the ids of `text`; nothing is added before or after it.

        The name of a control token is text like any other.

        Raises:
            ValueError: If the text is no Unicode, or cannot be spelled without control tokens.
        """
        ids = self._call(text, split_special_tokens=True)
        if self._control.isdisjoint(ids):
            return ids
        return [part for token_id in ids for part in self._spelled(token_id)]

    def encode_prompt(self, template: str, prompt: str) -> list[int]:
        """Returns the ids of a prompt in a template, begun as the tokenizer begins every text.

        The name of a control token is that token in the template, and text in the prompt.

        Raises:
            ValueError: As `encode`.
        """
        return [*self._beginning, *self.encode_in(template, prompt)]

    def encode_in(self, template: str, text: str, field: str = FIELD) -> list[int]:
        """Returns the ids of a template with a text in the place of its field.

        The name of a control token is that token in the template, and text in the text.

        Raises:
            ValueError: As `encode`.
        """
        pieces = template.split(field)
        return self.encode_woven(pieces, [text] * (len(pieces) - 1))

    def encode_woven(self, pieces: Sequence[str], texts: Sequence[str]) -> list[int]:
        """Returns the ids of texts between the pieces of a template.

        The name of a control token is that token in a piece, and text in a text.

        Args:
            pieces: n + 1.
            texts: n.

        Raises:
            ValueError: As `encode`.
        """
        whole = "".join(part for pair in zip(pieces, [*texts, ""], strict=True) for part in pair)
        ids = self._call(whole, split_special_tokens=False)
        named = [
            self._control_of[n] for piece in pieces for n in self._control_names.findall(piece)
        ]
        if [token_id for token_id in ids if token_id in self._control] == named:
            return ids
        return self._encoded_apart(pieces, texts)

    def _encoded_apart(self, pieces: Sequence[str], texts: Sequence[str]) -> list[int]:
        """Encodes what stands between the control tokens of the pieces by itself."""
        ids: list[int] = []
        plain = ""
        for piece, text in zip(pieces, [*texts, ""], strict=True):
            for part in self._control_names.split(piece):
                if part in self._control_of:
                    ids += [*(self.encode(plain) if plain else []), self._control_of[part]]
                    plain = ""
                else:
                    plain += part
            plain += text
        return [*ids, *self.encode(plain)] if plain else ids

    def control_token_at_start(self, piece: str) -> tuple[int, str] | None:
        """Returns the control token that a piece of a template begins with, and its name."""
        found = self._control_names.match(piece)
        return None if found is None else (self._control_of[found[0]], found[0])

    def _call(self, text: str, *, split_special_tokens: bool) -> list[int]:
        _require_unicode(text)
        return list(
            self.tokenizer.encode(
                text, add_special_tokens=False, split_special_tokens=split_special_tokens
            )
        )

    def _spelled(self, token_id: int) -> list[int]:
        """Returns a token of a text; one that spells a control token's name, by its characters."""
        if token_id not in self._control:
            return [token_id]
        name = str(self.tokenizer.convert_ids_to_tokens(token_id))
        model = self.tokenizer.backend_tokenizer.model
        ids = [part.id for character in name for part in model.tokenize(character)]
        if not ids or not self._control.isdisjoint(ids):
            raise ValueError(
                f"text must have another spelling than the control token {token_id}, got {name!r}"
            )
        return ids

    def decode(self, token_ids: Iterable[int]) -> str:
        """Returns the text, EOS, special tokens and holes left out."""
        visible = [int(index) for index in token_ids if int(index) not in self._silent]
        return str(self.tokenizer.decode(visible, clean_up_tokenization_spaces=False))

    def __deepcopy__(self, memo: dict[int, Any]) -> HuggingFaceTokenizer:
        """Returns itself: environment specs are deep-copied by every wrapper."""
        return self


def _beginning(tokenizer: Any) -> list[int]:
    """Returns what the tokenizer's own call puts before every text: BOS, for many."""
    text, called = tokenizer.encode("a", add_special_tokens=False), tokenizer.encode("a")
    starts = range(len(called) - len(text) + 1)
    return list(called[: next(i for i in starts if called[i : i + len(text)] == text)])


def _require_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text must be Unicode without lone surrogates, got {quoted(text)}, "
            f"with {text[error.start]!r} at character {error.start}"
        ) from None
