"""The model that learns to use the calculator: trained once on demonstrations, kept in the cache.

It knows how sums are put to the calculator and how they are answered without, and does either as it
comes. A GPT-2 of a hundred and seventy thousand parameters, whose tokens are bytes.
"""

from __future__ import annotations

from pathlib import Path

import tokenizers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import GPT2Config, PreTrainedTokenizerFast

from agents.algorithms.configs.sft import SFTConfig
from agents.algorithms.sft import SFT
from agents.applications.calculator.demonstrations import answered, demonstrations
from agents.fetching.cache import fill_once
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from text_gym import HuggingFaceTokenizer
from text_gym.applications.calculator import questions
from text_gym.cache import cache_folder

CALLS = 0.6
"""Share of the demonstrations with the calculator: the policy has to find out which are paid."""
SUMS = 16_384
TRAINING = SFTConfig(learning_rate=3e-3, n_epochs=5, batch_size=32)
_EOS = "<|endoftext|>"
_RECIPE = 1
"""Part of the folder's name: to be raised with any change of what is trained, and how."""


def starting_model() -> Path:
    """Returns the folder of the model; trains it if absent, about a minute on one core."""
    folder = cache_folder() / f"calculator-{_RECIPE}"
    if not folder.is_dir():
        fill_once(folder, _train)
    return folder


def _train(folder: Path) -> None:
    tokenizer = HuggingFaceTokenizer(byte_tokenizer())
    policy = CausalLMPolicy.from_config(shape(tokenizer), PolicyConfig(value_network="none"))
    shown = demonstrations(answered(questions("train", most=SUMS), calls=CALLS, seed=0), tokenizer)
    SFT(policy, shown, TRAINING).learn()
    policy.save_pretrained(folder)
    tokenizer.tokenizer.save_pretrained(folder)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Returns a tokenizer of 257 tokens: end of text and the bytes."""
    tokens = [_EOS, *sorted(ByteLevel.alphabet())]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = tokenizers.Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=_EOS, clean_up_tokenization_spaces=False
    )


def shape(tokenizer: HuggingFaceTokenizer) -> GPT2Config:
    """Returns the shape of the model, which has room for the longest text."""
    return GPT2Config(
        vocab_size=tokenizer.vocab_size,
        n_positions=128,
        n_embd=64,
        n_layer=3,
        n_head=4,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
