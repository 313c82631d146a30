"""Vocabularies: text to ids and back, EOS, and the ids that stand for no text."""

from __future__ import annotations

import copy
import pickle
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym import CharTokenizer, HuggingFaceTokenizer, Tokenizer, WordTokenizer
from text_gym.tokenizers import action_mask, as_tokenizer

WORDS = ["how", "are", "you", "don't", "half-past", "私", "?", "!"]
PRINTABLE = string.ascii_letters + string.digits + string.punctuation + " "

# Characters


@given(st.text(PRINTABLE))
def test_characters_come_back_as_they_went_in(text: str) -> None:
    tokenizer = CharTokenizer()
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == tokenizer.decode([*ids, tokenizer.eos_token_id]) == text


def test_default_characters_are_printable_ascii_and_eos_follows_them() -> None:
    tokenizer = CharTokenizer()
    assert (tokenizer.vocab_size, tokenizer.eos_token_id) == (96, 95)
    assert tokenizer.excluded_token_ids == frozenset()
    assert sorted(tokenizer.decode(range(95))) == [chr(code) for code in range(32, 127)]


def test_eos_is_silent_wherever_it_stands() -> None:
    assert CharTokenizer("ab").decode(np.array([2, 0, 2, 1])) == "ab"


# Words


@given(st.lists(st.integers(0, len(WORDS) - 1)))
def test_words_come_back_as_they_were_written(ids: list[int]) -> None:
    tokenizer = WordTokenizer(WORDS)
    assert tokenizer.encode(tokenizer.decode(ids)) == ids


def test_words_ignore_case_and_split_marks_off() -> None:
    tokenizer = WordTokenizer(WORDS)
    assert tokenizer.encode("HOW are  You?!\n") == [0, 1, 2, 6, 7]
    assert tokenizer.encode("Don't half-past") == [3, 4]
    assert tokenizer.encode("") == []


def test_words_are_joined_by_spaces_but_not_before_a_closing_mark() -> None:
    tokenizer = WordTokenizer(WORDS)
    assert tokenizer.decode([6, 0, 1, 8, 2, 6, 7]) == "? how are you?!"
    assert tokenizer.decode([0, 6, 1]) == "how? are"
    assert tokenizer.decode([8]) == tokenizer.decode([]) == ""


# Both


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CharTokenizer(""), r"characters must name at least one token, got \[\]"),
        (lambda: CharTokenizer("abca"), r"characters must not repeat a token, got \['a'\]"),
        (lambda: WordTokenizer([]), r"words must name at least one token, got \[\]"),
        (lambda: WordTokenizer(["b", "a", "b"]), r"words must not repeat a token, got \['b'\]"),
        (lambda: WordTokenizer(["a", "Katze"]), r"words must be lower case.*got \['Katze'\]"),
        (lambda: WordTokenizer(["new york", "a"]), r"a single word or mark.*got \['new york'\]"),
        (lambda: WordTokenizer(["", "?!"]), r"a single word or mark.*got \['', '\?!'\]"),
        (lambda: CharTokenizer("ab").encode("abz"), r"vocabulary's tokens, got 'abz', .*'z'"),
        (lambda: WordTokenizer(WORDS).encode("how old"), r"got 'how old', .*'old' is unknown"),
    ],
)
def test_errors_of_a_list_name_the_argument_the_rule_and_the_value(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [CharTokenizer, WordTokenizer])
@pytest.mark.parametrize("unordered", [{"a", "b"}, frozenset("ab")])
def test_a_vocabulary_without_an_order_is_refused(make: Any, unordered: Any) -> None:
    with pytest.raises(TypeError, match=r"must be in an order.*give sorted\((words|characters)\)"):
        make(unordered)
    assert make(dict.fromkeys("ba").keys()).encode("b") == [0]


def test_a_text_is_no_list_of_words() -> None:
    with pytest.raises(TypeError, match="words must be a list of words, got the text 'how are'"):
        WordTokenizer("how are")


@pytest.mark.parametrize("tokenizer", [CharTokenizer("ab"), WordTokenizer(["a"])])
def test_a_list_is_a_tokenizer_shared_by_copies_and_pickles(tokenizer: Any) -> None:
    assert isinstance(tokenizer, Tokenizer)
    assert copy.deepcopy(tokenizer) is tokenizer
    assert pickle.loads(pickle.dumps(tokenizer)).encode("a") == [0]
    assert as_tokenizer(tokenizer) is tokenizer
    assert action_mask(tokenizer) is None


# Hugging Face


def test_a_byte_level_vocabulary_excludes_nothing(bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    assert isinstance(tokenizer, Tokenizer)
    assert (tokenizer.vocab_size, tokenizer.eos_token_id) == (len(bpe), 0)
    assert tokenizer.excluded_token_ids == frozenset()
    assert action_mask(tokenizer) is None


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_byte_level_vocabulary_spells_any_text(bpe: Any, text: str) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == tokenizer.decode(np.array([*ids, 0])) == text


def test_decoding_does_not_tidy_spaces_up(bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    assert tokenizer.decode(tokenizer.encode("you ? I 'm , fine .")) == "you ? I 'm , fine ."


def test_half_a_character_decodes_without_an_error(bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    first_byte = tokenizer.encode("🙂")[:1]
    assert tokenizer.decode(first_byte) == "\N{REPLACEMENT CHARACTER}"


def test_special_tokens_and_holes_are_excluded_and_silent(bpe_with_special_tokens: Any) -> None:
    size = len(bpe_with_special_tokens)
    tokenizer = HuggingFaceTokenizer(bpe_with_special_tokens, vocab_size=size + 3)
    assert tokenizer.vocab_size == size + 3
    assert tokenizer.excluded_token_ids == {1, 2, size, size + 1, size + 2}
    how = tokenizer.encode("How")
    assert tokenizer.decode([1, size, *how, 2, size + 2, 0]) == "How"


def test_a_plain_token_that_is_given_the_role_of_padding_is_excluded(bpe: Any) -> None:
    padded = copy.deepcopy(bpe)
    padded.pad_token = "H"
    assert HuggingFaceTokenizer(padded).excluded_token_ids == {padded.convert_tokens_to_ids("H")}


def test_the_mask_allows_eos_and_text_and_cannot_be_written(bpe_with_special_tokens: Any) -> None:
    size = len(bpe_with_special_tokens)
    mask = action_mask(HuggingFaceTokenizer(bpe_with_special_tokens, vocab_size=size + 1))
    assert mask is not None
    assert (mask.dtype, mask.shape) == (np.int8, (size + 1,))
    assert np.flatnonzero(mask == 0).tolist() == [1, 2, size]
    with pytest.raises(ValueError, match="read-only"):
        mask[1] = 1


def test_encoding_adds_no_special_token(bpe_with_special_tokens: Any) -> None:
    from tokenizers.processors import TemplateProcessing

    adds_eos = copy.deepcopy(bpe_with_special_tokens)
    adds_eos.backend_tokenizer.post_processor = TemplateProcessing(
        single="<eos> $A <eos>", special_tokens=[("<eos>", 0)]
    )
    assert adds_eos.encode("How")[0] == 0
    assert HuggingFaceTokenizer(adds_eos).encode("How") == bpe_with_special_tokens.encode("How")


def test_a_tokenizer_without_eos_is_refused(bpe: Any) -> None:
    endless = copy.deepcopy(bpe)
    endless.eos_token = None
    with pytest.raises(ValueError, match=r"tokenizer must have an EOS token.*eos_token=None"):
        HuggingFaceTokenizer(endless)


def test_a_vocabulary_smaller_than_its_highest_id_is_refused(bpe: Any) -> None:
    smallest = len(bpe)
    with pytest.raises(
        ValueError, match=rf"vocab_size must be at least {smallest}.*got {smallest - 1}"
    ):
        HuggingFaceTokenizer(bpe, vocab_size=smallest - 1)
    assert HuggingFaceTokenizer(bpe, vocab_size=smallest).vocab_size == smallest


def test_copies_of_environment_specs_share_the_tokenizer(bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    assert copy.deepcopy(tokenizer) is tokenizer


def test_a_folder_is_loaded(bpe: Any, tmp_path: Path) -> None:
    bpe.save_pretrained(tmp_path)
    for source in (tmp_path, str(tmp_path)):
        loaded = as_tokenizer(source)
        assert isinstance(loaded, HuggingFaceTokenizer)
        assert loaded.encode("How are you?") == HuggingFaceTokenizer(bpe).encode("How are you?")
        assert loaded.eos_token_id == 0


def test_a_gguf_file_is_loaded_from_its_folder(bpe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    asked = []

    class FakeAutoTokenizer:
        @staticmethod
        def from_pretrained(*arguments: Any, **keywords: Any) -> Any:
            asked.append((arguments, keywords))
            return bpe

    monkeypatch.setattr(transformers, "AutoTokenizer", FakeAutoTokenizer)
    assert HuggingFaceTokenizer.from_pretrained("a/b.gguf", vocab_size=400).vocab_size == 400
    assert asked == [((Path("a"),), {"gguf_file": "b.gguf", "trust_remote_code": False})]


def test_a_transformers_tokenizer_is_adapted(bpe: Any) -> None:
    adapted = as_tokenizer(bpe)
    assert isinstance(adapted, HuggingFaceTokenizer)
    assert adapted.decode(adapted.encode("how are you")) == "how are you"


def test_what_the_caller_does_with_a_tokenizer_changes_nothing(bpe: Any) -> None:
    given = copy.deepcopy(bpe)
    given.pad_token = given.eos_token
    adapted = as_tokenizer(given)
    expected = adapted.encode("how are you")
    given.add_tokens(["how are you"])
    assert adapted.encode("how are you") == expected
    given("how are you", truncation=True, max_length=1)
    assert adapted.tokenizer.backend_tokenizer.truncation is None


@pytest.mark.parametrize("wrong", [5, None, object(), ["a", "b"]])
def test_what_is_no_tokenizer_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"tokenizer must have vocab_size, .*got "):
        as_tokenizer(wrong)
