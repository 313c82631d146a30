"""The material of the small-talk model: human conversations, in one stage."""

from __future__ import annotations

from pathlib import Path

from agents.supervised.config import PretrainCommand
from agents.supervised.from_scratch import train_tokenizer
from agents.supervised.material import About, Material, Stage
from agents.supervised.sequences import encode_pairs
from text_gym.small_talk import PROMPTS, TEMPLATE, chitchat_pairs

ABOUT = About(
    title="small_talk",
    said=(
        "A small GPT-2 that answers one turn of English small talk with another. It is meant "
        "to be fine-tuned with reinforcement learning on a laptop: as the policy and the "
        "reference of examples, tests and benchmarks."
    ),
    context="How are you?\n",
    form=("The context is the prompt and a newline; the reply follows, then end-of-text."),
    data=(
        "The conversations of chitchat-dataset 0.9.0 (MIT licence; Myers, Etchart and Fulda, "
        "Conversational Scaffolding: An Analogy-Based Approach to Response Prioritization in "
        "Open-Domain Dialogs, 2020), in which two people chat in writing. Consecutive "
        "messages of one person are one turn; consecutive turns are a prompt and a reply. "
        "Turns of more than 120 characters, with links, code or keyboard mashing are left out "
        "(text_gym/small_talk.py). Conversations are split by a hash of their id; those of "
        "the splits rl and heldout were never seen, and those of validation only decided when "
        "to stop and which parameters to keep. A byte-level BPE tokenizer was trained on the "
        "same texts; the model learnt prompts and replies."
    ),
    limits=(
        "The model is tiny and remembers only one turn. What it says about itself or the "
        "world is made up; sentences can be false, incoherent or offensive, as the chats of "
        "the crowd that it learnt from can be. It knows nothing but casual English, with that "
        "crowd's topics (students in the United States), slang and spelling. Do not put it in "
        "front of users. MIT licence, as the data."
    ),
    license="mit",
    options="--output FOLDER",
)


def small_talk(command: PretrainCommand) -> Material:
    """Returns the pairs of turns, encoded by a byte-level tokenizer that is trained on them."""
    shape = command.shape
    texts = (text for pair in chitchat_pairs("train") for text in (*pair, "\n"))
    tokenizer = train_tokenizer(texts, shape.vocabulary_size)
    parts = (
        encode_pairs(
            tokenizer, chitchat_pairs(split), template=TEMPLATE, max_length=shape.n_positions
        )
        for split in ("train", "validation", "heldout")
    )
    prompts = PROMPTS[:: len(PROMPTS) // 10][:10]
    stage = Stage("", command.training, *parts)
    return Material(Path("runs/small_talk"), tokenizer, [stage], TEMPLATE, prompts, ABOUT)
