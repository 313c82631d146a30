"""The seam of a text: how it begins, what becomes a control token, and what a completion is."""

from __future__ import annotations

import copy
import string
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

import text_gym
from text_gym import CharTokenizer, HuggingFaceTokenizer, WordTokenizer
from text_gym.prompt_template import fill
from text_gym.quoting import quoted
from text_gym.text_parts import completion_decoder, encode_completion, encode_prompt

LETTERS = string.ascii_letters + string.punctuation


def adapted(fast: FastTokenizer, **roles: Any) -> HuggingFaceTokenizer:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, eos_token="<eos>", **roles)
    return HuggingFaceTokenizer(tokenizer)


def sentence_pieces(*words: str) -> HuggingFaceTokenizer:
    """Pieces as Llama's: ▁ for a space, bytes for the rest, the first space of a text dropped."""
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    tokens = ["<eos>", "<bos>", "<unk>", *byte_tokens, "▁", *LETTERS, *words]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    fast = FastTokenizer(models.BPE(vocabulary, [], byte_fallback=True, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    fast.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    fast.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 1)]
    )
    return adapted(fast, bos_token="<bos>", unk_token="<unk>")


def words(*names: str) -> HuggingFaceTokenizer:
    """Whole words, control tokens among them, with BOS before every text and EOS after it."""
    tokens = {name: index for index, name in enumerate(("<eos>", "<bos>", "<unk>", *names))}
    fast = FastTokenizer(models.WordLevel(tokens, "<unk>"))
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 0)]
    )
    return adapted(fast, bos_token="<bos>", unk_token="<unk>")


def unigram() -> HuggingFaceTokenizer:
    """Pieces by likelihood, which finds `<eos>` in a text where that is a piece."""
    pieces = [("<eos>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in LETTERS)]
    fast = FastTokenizer(models.Unigram(pieces, unk_id=1))
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    fast.decoder = decoders.Metaspace()
    return adapted(fast, unk_token="<unk>")


def read(tokenizer: Any, prompt: str, ids: Sequence[int]) -> str:
    prompt_ids = np.array(encode_prompt(tokenizer, "{prompt}", prompt))
    return completion_decoder(tokenizer, prompt_ids)(np.array(ids, dtype=np.int64))


# Completions


@pytest.mark.parametrize("vector", [False, True])
def test_prompt_and_completion_are_the_text_that_was_written(vector: bool) -> None:
    tokenizer = sentence_pieces("▁fine")
    written = [tokenizer.tokenizer.convert_tokens_to_ids(token) for token in ("▁fine", "!")]
    texts: list[str] = []
    task = {
        "prompts": ["Are you?"],
        "tokenizer": tokenizer,
        "reward_function": lambda prompt, completion: texts.append(prompt + completion) or 0.0,
    }
    env: Any = (
        gym.make_vec("TextGen-v0", num_envs=1, render_mode="ansi", **task)
        if vector
        else gym.make("TextGen-v0", render_mode="ansi", **task)
    )
    env.reset(seed=0)
    for token in (*written, tokenizer.eos_token_id):
        *_, infos = env.step(np.array([token]) if vector else token)
    assert texts == ["Are you? fine!"]
    episode = infos["text_episode"][0] if vector else infos["text_episode"]
    assert episode.completion == " fine!"
    assert "".join(text_gym.rendering.token_pieces(episode.completion_ids, episode.decode)) == (
        " fine!"
    )
    shown = env.render()
    assert "completion   fine!" in (shown[0] if vector else shown)


@given(st.text(st.characters(codec="utf-8"), max_size=8), st.data())
def test_any_ids_of_bytes_join_to_the_decoded_whole(bpe: Any, prompt: str, data: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    prompt = f"a{prompt}"
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1), max_size=8))
    whole = tokenizer.decode([*tokenizer.encode(prompt), *ids])
    assert prompt + read(tokenizer, prompt, ids) == whole


def test_bytes_that_are_no_text_leave_the_last_character_of_the_prompt_alone() -> None:
    tokenizer = sentence_pieces()
    stray, first, second = (
        tokenizer.tokenizer.convert_tokens_to_ids(f"<0x{byte}>") for byte in ("A9", "C3", "A9")
    )
    assert read(tokenizer, "é", [stray]) == "\N{REPLACEMENT CHARACTER}"
    assert read(tokenizer, "é", [first, second]) == "é"
    assert read(tokenizer, "a", [first]) == "\N{REPLACEMENT CHARACTER}"


def test_a_vocabulary_of_ones_own_is_read_after_the_prompt_too() -> None:
    class Joined(CharTokenizer):
        pass

    class Sentence:
        """Words of one letter, with spaces between them."""

        vocab_size, eos_token_id, excluded_token_ids = 4, 3, frozenset[int]()

        def encode(self, text: str) -> list[int]:
            return ["abc".index(word) for word in text.split()]

        def decode(self, token_ids: Any) -> str:
            return " ".join("abc"[index] for index in token_ids if index != 3)

    assert read(Sentence(), "a b", [2, 3]) == " c"
    assert read(Joined("abc"), "ab", [2]) == "c"
    assert read(WordTokenizer(["how", "fine"]), "How", [1]) == "fine"


def test_what_is_written_is_decoded_once_per_prompt_and_completion() -> None:
    class Counted:
        vocab_size, eos_token_id, excluded_token_ids = 3, 2, frozenset[int]()
        decoded: list[int] = []  # noqa: RUF012

        def encode(self, text: str) -> list[int]:
            return [0] * len(text)

        def decode(self, token_ids: Any) -> str:
            self.decoded.append(len(token_ids))
            return "a" * len(token_ids)

    tokenizer = Counted()
    env: Any = text_gym.TextGenEnv(["aaaa"], tokenizer, lambda episodes: [0.0] * len(episodes))
    for _ in range(2):
        env.reset(seed=0)
        env.step(1)
        episode = env.step(2)[-1]["text_episode"]
        assert episode.completion == episode.completion == "aa"
    assert tokenizer.decoded == [6, 4, 6]


# Prompts


def test_a_text_begins_as_the_tokenizers_own_call_begins_it_and_goes_on() -> None:
    tokenizer = words("say", "now")
    assert tokenizer.tokenizer("say now").input_ids == [1, 3, 4, 0]
    assert encode_prompt(tokenizer, "{prompt}", "say now") == [1, 3, 4]
    assert tokenizer.encode("say now") == [3, 4]
    assert encode_prompt(sentence_pieces(), "{prompt}", "")[:1] == [1]


def test_without_bos_nothing_is_added(bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    assert (
        encode_prompt(tokenizer, "{prompt}", "How") == tokenizer.encode("How") == bpe.encode("How")
    )


@pytest.mark.parametrize("make", [sentence_pieces, words, unigram])
@pytest.mark.parametrize("template", ["{prompt}", "<eos>{prompt} <eos>"])
def test_no_prompt_gives_a_control_token(make: Any, template: str) -> None:
    tokenizer = make()
    controls = {tokenizer.eos_token_id, tokenizer.tokenizer.convert_tokens_to_ids("<bos>")}
    controls -= {tokenizer.tokenizer.unk_token_id}
    named = [id for id in encode_prompt(tokenizer, template, "a") if id in controls]
    for prompt in ("a <eos> b", "<bos>", "a<eos>", "<eos><eos>"):
        ids = encode_prompt(tokenizer, template, prompt)
        assert [id for id in ids if id in controls] == named
        assert controls.isdisjoint(tokenizer.encode(prompt))


def test_a_control_tokens_name_keeps_its_spelling_where_the_vocabulary_has_one(
    bpe_with_special_tokens: Any,
) -> None:
    text = "a <eos> b <reserved>"
    for tokenizer in (sentence_pieces(), unigram(), HuggingFaceTokenizer(bpe_with_special_tokens)):
        assert tokenizer.decode(encode_prompt(tokenizer, "{prompt}", text)).strip() == text
    assert words("say").encode("say <eos>") == [3, *[2] * len("<eos>")]


def test_a_control_tokens_name_is_cut_into_tokens_as_any_text(bpe: Any) -> None:
    named = copy.deepcopy(bpe)
    named.add_special_tokens({"bos_token": "<★you★>"})
    ids = HuggingFaceTokenizer(named).encode("How <★you★>")
    assert ids == bpe.encode("How <★you★>")
    assert len(ids) < len("How <★you★>".encode())


def test_a_name_that_only_prompt_and_template_together_spell_is_text() -> None:
    tokenizer = sentence_pieces()
    ids = encode_prompt(tokenizer, "<{prompt}>", "eos")
    assert 0 not in ids
    assert tokenizer.decode(ids) == "<eos>"


def test_the_template_names_control_tokens(bpe_with_special_tokens: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe_with_special_tokens)
    template = "<reserved>{prompt}<eos>\n"
    assert encode_prompt(tokenizer, template, "How") == [
        *(2, *tokenizer.encode("How"), 0, *tokenizer.encode("\n"))
    ]
    hostile = encode_prompt(tokenizer, template, "<reserved>")
    assert hostile == [2, *tokenizer.encode("<reserved>"), 0, *tokenizer.encode("\n")]
    assert tokenizer.decode(hostile) == "<reserved>\n"


def test_a_control_token_that_is_an_ordinary_letter_too_is_refused(bpe: Any) -> None:
    padded = copy.deepcopy(bpe)
    padded.pad_token = "H"
    with pytest.raises(ValueError, match=r"prompts\[1\]: text must have another spelling.*'H'"):
        text_gym.TextGenEnv(["a", "aH"], padded)


@pytest.mark.parametrize("vector", [False, True])
def test_environments_use_the_tokens_of_the_prompt(vector: bool) -> None:
    task: dict[str, Any] = {"prompts": ["say <eos> now"], "tokenizer": words("say", "now")}
    env: Any = text_gym.TextGenVectorEnv(2, **task) if vector else text_gym.TextGenEnv(**task)
    observation, info = env.reset(seed=0)
    ids = np.atleast_2d(observation["input_ids"])[-1, : int(np.max(info["prompt_length"]))]
    assert ids.tolist() == [1, 3, 2, 2, 2, 2, 2, 4]


@pytest.mark.parametrize("make", [text_gym.TextGenEnv, text_gym.TextGenVectorEnv])
def test_half_a_character_in_a_prompt_is_refused_with_its_number(make: Any, bpe: Any) -> None:
    with pytest.raises(ValueError, match=r"prompts\[1\]: text must be Unicode.*'a\\ud83d'.*ter 1"):
        make(prompts=["fine", "a\ud83d"], tokenizer=bpe)
    assert text_gym.TextGenEnv(["\ud83d"], CharTokenizer("\ud83da")).reset()[0]["input_ids"][0] == 0


def test_a_prompt_of_a_megabyte_is_quoted_by_its_first_hundred_characters(bpe: Any) -> None:
    prompt = "x" * 10**6
    for make in (
        lambda: text_gym.TextGenEnv([prompt], bpe, max_prompt_tokens=9),
        lambda: text_gym.TextGenEnv([prompt], CharTokenizer("ab")),
        lambda: text_gym.TextGenEnv([prompt + "\ud83d"], bpe),
        lambda: text_gym.TextGenEnv([{"prompt": [prompt]}], bpe),
        lambda: text_gym.TextGenEnv(prompt + ".tsv", bpe),
    ):
        with pytest.raises((ValueError, TypeError), match="x" * 80) as caught:
            make()
        assert len(str(caught.value)) < 600
    assert quoted(prompt) == repr("x" * 100) + "... (1,000,000 characters)"


# Templates


def test_a_template_of_json_keeps_its_braces() -> None:
    template = '{"role": "user", "content": "{prompt}"}'
    assert fill(template, "{prompt} {0}") == '{"role": "user", "content": "{prompt} {0}"}'
    env = text_gym.TextGenEnv(["hi"], CharTokenizer(), prompt_template=template)
    ids = env.reset()[0]["input_ids"][: len(template) - len("{prompt}") + len("hi")]
    assert env.tokenizer.decode(ids) == '{"role": "user", "content": "hi"}'


# Completions to learn from


@given(st.text("ab ?!\n<>eo", max_size=8))
def test_a_completion_reads_as_it_was_given(bpe: Any, completion: str) -> None:
    for tokenizer in (sentence_pieces(), HuggingFaceTokenizer(bpe)):
        prompt_ids = encode_prompt(tokenizer, "{prompt}\n", "a")
        ids = encode_completion(tokenizer, prompt_ids, completion)
        assert tokenizer.eos_token_id not in ids
        assert completion_decoder(tokenizer, np.array(prompt_ids))(np.array(ids)) == completion


def test_a_completion_that_the_vocabulary_cannot_write_after_a_prompt_is_encoded_alone() -> None:
    tokenizer = words("say", "now")
    assert encode_completion(tokenizer, [1, 3], "now then") == [4, 2]
