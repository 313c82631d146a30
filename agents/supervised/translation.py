"""What the model that translates is pretrained on: clauses in two languages."""

from __future__ import annotations

from agents.applications.translation.application import model_folder
from agents.supervised.config import PretrainCommand
from agents.supervised.from_scratch import train_tokenizer
from agents.supervised.material import About, Material, Stage
from agents.supervised.sequences import encode_pairs
from text_gym.applications.translation.pairs import SPLITS, translation_pairs

TEMPLATE = "{prompt}\n"
ABOUT = About(
    title="translation",
    said=(
        "A small GPT-2 that translates a clause of three to seven words from the Spanish of "
        "1909 into the English of 1611. It is meant to be fine-tuned with reinforcement "
        "learning on a laptop."
    ),
    context="Y dijo el hombre:\n",
    form=("The context is the clause and a newline; the translation follows, then end-of-text."),
    data=(
        "Clauses of the Reina-Valera of 1909 and of the King James Version, both in the "
        "public domain (in the United Kingdom, printing the latter is a royal privilege), in "
        "pairs that the numbers of the original's words beside them show to belong together "
        "(agents/fetching/clauses.py). Splits are whole books; those of heldout were never "
        "seen, and those of validation only decided when to stop and which parameters to "
        "keep. A byte-level BPE tokenizer was trained on both languages; the model learnt "
        "translations alone."
    ),
    limits=(
        "The model is tiny, and knows the words and the turns of one book, in spellings and a "
        "grammar of long ago. What it writes is often wrong, and fluent when it is. Public "
        "domain, as the data."
    ),
    language=["es", "en"],
    options="--corpus translation",
    before=("python -m agents.fetch translation",),
)


def translation(command: PretrainCommand) -> Material:
    """Returns the pairs, encoded by a byte-level tokenizer that is trained on both languages."""
    shape = command.shape
    texts = (text for pair in translation_pairs("train") for text in (*pair, "\n"))
    tokenizer = train_tokenizer(texts, shape.vocabulary_size)
    parts = (
        encode_pairs(
            tokenizer, translation_pairs(split), template=TEMPLATE, max_length=shape.n_positions
        )
        for split in SPLITS
    )
    heldout = translation_pairs("heldout")
    prompts = [pair.spanish for pair in heldout[:: max(1, len(heldout) // 10)][:10]]
    stage = Stage("", command.training, *parts)
    return Material(model_folder(), tokenizer, [stage], TEMPLATE, prompts, ABOUT)
