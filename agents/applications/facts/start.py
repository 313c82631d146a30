"""The model that the preset starts from: SmolLM2, taught to be brief, and that it may not know.

It is asked every question of the training split, and then imitates the usual answer where it named
one, and "I don't know" where it did not (R-tuning, Zhang et al. 2024, arXiv:2311.09677). Made once,
in the cache folder. Nothing of the held-out split is asked here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from agents.algorithms.configs.sft import SFTConfig
from agents.algorithms.examples import Demonstrations
from agents.algorithms.sft import SFT
from agents.applications.facts.asking import asked, texts_of
from agents.fetching.cache import fill_once
from agents.fetching.items import SMOLLM2, require
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from text_gym import Episode, HuggingFaceTokenizer, Prompt
from text_gym.applications.facts import UNKNOWN, as_prompts, facts_of, mentions

GREEDY = 0.02
"""A temperature at which next to nothing but the likeliest token is chosen."""
LONGEST_REPLY = 24
"""Of the model before it has learnt to be brief."""
LEARNING = SFTConfig(learning_rate=1e-3, n_epochs=1, batch_size=16)
POLICY = PolicyConfig(autocast="auto", value_network="none", lora_rank=16, lora_alpha=32)
_RECIPE = 1
"""Part of the folder's name: to be raised with any change of what is learnt, and how."""


def facts_start() -> Path:
    """Returns the folder of the model, from the cache or made now.

    Raises:
        FileNotFoundError: If SmolLM2 must be fetched first; names the command.
        ModuleNotFoundError: If the packages with the facts are not installed; names the extra.
    """
    base = require(SMOLLM2)
    folder = base.with_name(f"{base.name}-facts-{_RECIPE}")
    if not folder.is_dir():
        fill_once(folder, partial(_make, base))
    return folder


def demonstrations(
    policy: CausalLMPolicy, tokenizer: HuggingFaceTokenizer, prompts: Sequence[Prompt]
) -> list[tuple[str, str]]:
    """Returns each question with its usual answer if the policy names it, else with `UNKNOWN`."""
    rollout = asked(policy, tokenizer, prompts, max_new_tokens=LONGEST_REPLY, seed=0)
    episodes: list[Episode] = [info["text_episode"] for info in rollout.infos]
    return [demonstration(one) for one in episodes]


def demonstration(episode: Episode) -> tuple[str, str]:
    """Returns what to reply to a question, after what was replied."""
    line = episode.completion.strip().split("\n")[0]
    knows = mentions(line, episode.metadata["answers"])
    return episode.prompt, str(episode.reference) if knows else f"{UNKNOWN}."


def imitate(
    policy: CausalLMPolicy, tokenizer: HuggingFaceTokenizer, pairs: Sequence[tuple[str, str]]
) -> None:
    """Trains a policy to reply as the pairs do, in place."""
    texts = texts_of(tokenizer, pairs)
    SFT(policy, Demonstrations(texts, torch.ones(len(pairs))), LEARNING).learn()


def _make(base: Path, folder: Path) -> None:
    policy = CausalLMPolicy.from_pretrained(base, POLICY)
    tokenizer = HuggingFaceTokenizer.from_pretrained(base, vocab_size=policy.vocab_size)
    greedy = dataclasses.replace(POLICY, temperature=GREEDY, lora_rank=0)
    prompts = as_prompts(facts_of("train"))
    pairs = demonstrations(CausalLMPolicy(policy.model, greedy), tokenizer, prompts)
    imitate(policy, tokenizer, pairs)
    policy.save_pretrained(folder)
    tokenizer.tokenizer.save_pretrained(folder)
