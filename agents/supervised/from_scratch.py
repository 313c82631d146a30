"""A small GPT-2 and a tokenizer of one's own, in the files that transformers reads.

This module knows no training data and no training loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import tokenizers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, WhitespaceSplit
from tokenizers.trainers import BpeTrainer
from transformers import (
    GPT2Config,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.gpt2 import GPT2LMHeadModel

from agents.supervised.training import isolated_rng

EOS_TOKEN = "<|endoftext|>"
UNKNOWN_TOKEN = "<|unknown|>"


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer whose only special token is end-of-text.

    Nothing is normalised, so that decoding gives back every text exactly. Where no text contains
    two newlines in a row, a newline is a token of its own.

    Args:
        texts: Training texts.
        vocabulary_size: Number of tokens: end-of-text, the 256 bytes, and merges.

    Returns:
        A tokenizer without padding token, which `save_pretrained` writes.

    Raises:
        ValueError: If the vocabulary has no room for end-of-text and the bytes.
    """
    if vocabulary_size < 257:
        raise ValueError(f"vocabulary_size must be at least 257, got {vocabulary_size}")
    tokenizer = tokenizers.Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[EOS_TOKEN],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS_TOKEN, clean_up_tokenization_spaces=False
    )


def word_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Returns a tokenizer of whole words between spaces, ids in the order given.

    Of two special tokens, one ends a text and one stands for every other word.
    """
    tokens = [EOS_TOKEN, UNKNOWN_TOKEN, *words]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN_TOKEN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS_TOKEN,
        unk_token=UNKNOWN_TOKEN,
        clean_up_tokenization_spaces=False,
    )


def new_gpt2(
    tokenizer: PreTrainedTokenizerBase,
    *,
    n_positions: int,
    n_embd: int,
    n_layer: int,
    n_head: int,
    dropout: float,
    seed: int,
) -> GPT2LMHeadModel:
    """Initialise a GPT-2 for a tokenizer, with input and output embeddings tied."""
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=n_positions,
        n_embd=n_embd,
        n_layer=n_layer,
        n_head=n_head,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        summary_first_dropout=0.0,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with isolated_rng(seed):
        return GPT2LMHeadModel(config)


def save_half_precision(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path
) -> None:
    """Write model and tokenizer: weights in float16, dropout 0, loadable with `from_pretrained`.

    The model itself is converted too.
    """
    model.config.resid_pdrop = model.config.embd_pdrop = model.config.attn_pdrop = 0.0
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
