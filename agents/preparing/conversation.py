"""Making what the conversation preset starts from, in order: its model, then the model of ratings.

Each is a folder in the cache that appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.applications.conversation.application import CONVERSATION, fitting, partner
from agents.applications.conversation.made import MODEL, RATING
from agents.applications.dialogue import SMALL_TALK_MODEL
from agents.command_line.threads import number_of_threads
from agents.fetching.cache import fill_once
from agents.policy.config import PolicyConfig
from agents.preparing.command import PrepareCommand
from agents.preparing.conversation_windows import windows
from agents.reward_models.human_ratings import chitchat_ratings
from agents.reward_models.training import train_reward_model
from agents.rollout.collect import collect_rollout
from agents.runs.console import ProgressBar
from agents.runs.environments import make_envs, unjudged
from agents.runs.models import load_language_model
from agents.runs.writing_bar import writing_bar
from agents.supervised.config import PretrainConfig
from agents.supervised.pair_files import Rating
from agents.supervised.sequences import TokenSequence
from agents.supervised.training import Evaluation, pretrain
from text_gym import Episode, HuggingFaceTokenizer
from text_gym.small_talk import Split, chitchat_stretches

SEED = 0


def prepare(command: PrepareCommand, say: Callable[[str], None] = print) -> None:
    """Makes what is not there yet.

    Args:
        command: What to make.
        say: Told what happens, a line at a time.
    """
    torch.set_num_threads(number_of_threads(command.threads))
    transformers_logging.disable_progress_bar()
    fill_once(MODEL.folder, partial(fill_model, say=say))
    say(f"{MODEL.name}: {MODEL.folder}")
    fill_once(RATING.folder, fill_rating)
    say(f"{RATING.name}: {RATING.folder}")


def fill_model(folder: Path, *, say: Callable[[str], None]) -> None:
    """Lets the small-talk model read conversations, and writes it to a folder."""

    def told(found: Evaluation) -> None:
        say(f"step {found.step}: held-out loss {found.heldout_loss:.4f} nats per token")

    settings = MODEL.settings
    tokenizer = AutoTokenizer.from_pretrained(SMALL_TALK_MODEL, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        SMALL_TALK_MODEL, dtype=torch.float32, trust_remote_code=False
    )
    train, validation = (
        conversation_windows(split, HuggingFaceTokenizer(tokenizer), settings["windows"])
        for split in ("train", "validation")
    )
    config = PretrainConfig(**settings["training"], seed=SEED)
    pretrain(model, train, validation, config, on_evaluation=told, progress=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def conversation_windows(
    split: Split, tokenizer: HuggingFaceTokenizer, max_length: int
) -> list[TokenSequence]:
    """Returns the conversations of a split, cut into windows."""
    stretches = chitchat_stretches(split)
    return [one for turns in stretches for one in windows(turns, tokenizer, max_length)]


def fill_rating(folder: Path) -> None:
    """Learns how people rated their conversations, and writes the reward model to a folder.

    Its rewards have mean 0 and variance 1 over conversations that the model of the preset, before
    it is fine-tuned, has with its partner.
    """
    settings = RATING.settings
    model = train_reward_model(
        rated(settings["conversations"], settings["scales"]),
        RewardModelConfig(**settings["training"], seed=SEED),
        model=MODEL.folder,
        options=PolicyConfig(value_network="none", autocast="auto"),
        callbacks=[ProgressBar(figures={"loss": "train/loss"})],
    )
    episodes = reference_conversations(settings["normalised_over"])
    prompts, rest = zip(*((one.prompt, one.continuation) for one in episodes), strict=True)
    model.normalized(prompts, rest).save(folder)


def rated(n: int, scales: Sequence[str]) -> list[Rating]:
    """Returns rated conversations for training, those left out that nobody answered."""
    rows = [row for row in chitchat_ratings("train", *scales) if row.completion]
    order = np.random.default_rng(SEED).permutation(len(rows))
    return [rows[place] for place in order[:n]]


def reference_conversations(n: int) -> list[Episode]:
    """Returns conversations of the preset's model, before it is fine-tuned, with its partner."""
    policy, tokenizer = load_language_model(str(MODEL.folder), PolicyConfig(value_network="none"))
    envs = make_envs(
        CONVERSATION.preset,
        fitting("train"),
        tokenizer,
        policy.end_of_text_ids,
        n,
        unjudged,
        responder=partner(policy.device),
    )
    generator = torch.Generator().manual_seed(SEED)
    with writing_bar(envs, n, "talking") as watched:
        rollout = collect_rollout(policy, watched, n, generator, seed=SEED)
    return [info["text_episode"] for info in rollout.infos]
