"""What the model that translates is pretrained on: clauses in two languages."""

from __future__ import annotations

from agents.applications.translation.application import model_folder
from agents.supervised.config import PretrainCommand
from agents.supervised.from_scratch import train_tokenizer
from agents.supervised.material import Material, Stage
from agents.supervised.sequences import encode_pairs
from text_gym.applications.translation.pairs import SPLITS, translation_pairs

TEMPLATE = "{prompt}\n"
CARD = """\
---
language: [es, en]
license: other
library_name: transformers
pipeline_tag: text-generation
---

# translation

A GPT-2 of {parameters:,} parameters that translates a clause of three to seven words from the
Spanish of 1909 into the English of 1611. It is meant to be fine-tuned with reinforcement learning
on a laptop.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{output}")
model = AutoModelForCausalLM.from_pretrained("{output}", dtype="float32")
context = tokenizer("Y dijo el hombre:\\n", return_tensors="pt")
written = model.generate(**context, max_new_tokens=24)
print(tokenizer.decode(written[0]))
```

The context is the clause and a newline; the translation follows, then `<|endoftext|>`. There is no
padding token. Contexts are at most {n_positions} tokens long.

## Data

Clauses of the Reina-Valera of 1909 and of the King James Version, both in the public domain (in the
United Kingdom, printing the latter is a royal privilege), in pairs that the numbers of the
original's words beside them show to belong together (`agents/fetching/clauses.py`). Training used
{train_pairs:,} pairs. Splits are whole books (`text_gym/applications/translation/pairs.py`); those
of `heldout` were never seen, and those of `validation` only decided when to stop and which
parameters to keep.

## Recipe

```
python -m agents.fetch translation
python -m agents.pretrain --corpus translation --output {output}
```

trains a byte-level BPE tokenizer and then the model, on translations alone, with this
configuration:

```json
{config}
```

## Figures

| figure | value |
|---|---|
| parameters | {parameters:,} |
| training tokens read | {tokens:,} |
| optimiser steps | {steps:,} (best: {best_step:,}) |
| minutes | {minutes:.1f} |
| perplexity per token of a translation, `validation` | {validation_perplexity:.2f} |
| perplexity per token of a translation, `heldout` | {heldout_perplexity:.2f} |

Perplexities are those of the saved float16 weights, computed in float32, and count end-of-text.

## Samples

First draws at temperature 1, not selected, of clauses held out.

| clause | translation |
|---|---|
{samples}

## Limits

The model is tiny, and knows the words and the turns of one book, in spellings and a grammar of long
ago. What it writes is often wrong, and fluent when it is.

## Licence

Public domain, as the data.
"""


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
    return Material(model_folder(), tokenizer, [stage], TEMPLATE, prompts, CARD)
