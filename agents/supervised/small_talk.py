"""The material of the small-talk model: human conversations, in one stage."""

from __future__ import annotations

from pathlib import Path

from agents.supervised.config import PretrainCommand
from agents.supervised.from_scratch import train_tokenizer
from agents.supervised.material import Material, Stage
from agents.supervised.sequences import encode_pairs
from text_gym.small_talk import PROMPTS, TEMPLATE, chitchat_pairs

CARD = """\
---
language: en
license: mit
library_name: transformers
pipeline_tag: text-generation
---

# small_talk

A GPT-2 of {parameters:,} parameters that answers one turn of English small talk with another. It
is meant to be fine-tuned with reinforcement learning on a laptop: as the policy and the reference
of examples, tests and benchmarks.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{output}")
model = AutoModelForCausalLM.from_pretrained("{output}", dtype="float32")
context = tokenizer("How are you?\\n", return_tensors="pt")
reply = model.generate(**context, do_sample=True, top_k=0, max_new_tokens=40)
print(tokenizer.decode(reply[0]))
```

The context is the prompt and a newline; the reply follows, then `<|endoftext|>`. There is no
padding token. Contexts are at most {n_positions} tokens long.

## Data

The conversations of `chitchat-dataset` 0.9.0 (MIT;
Myers, Etchart and Fulda, *Conversational Scaffolding: An Analogy-Based Approach to Response
Prioritization in Open-Domain Dialogs*, 2020), in which two people chat in writing. Consecutive
messages of one person are one turn; consecutive turns are a prompt and a reply. Turns of more than
120 characters, with links, code or keyboard mashing are left out (`text_gym/small_talk.py`).
Training used {train_pairs:,} pairs. Conversations are split by a hash of their id; those of the
splits `rl` and `heldout` were never seen, and those of `validation` only decided when to stop and
which parameters to keep.

## Recipe

```
python -m agents.pretrain --output {output}
```

trains a byte-level BPE tokenizer and then the model, on prompts and replies alike, with this
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
| minutes on two shared CPU cores | {minutes:.1f} |
| perplexity per reply token, `validation` | {validation_perplexity:.2f} |
| perplexity per reply token, `heldout` | {heldout_perplexity:.2f} |

Perplexities are those of the saved float16 weights, computed in float32, and count end-of-text.

## Samples

First draws at temperature 1, not selected.

| prompt | reply |
|---|---|
{samples}

## Limits

The model is tiny and remembers only one turn. What it says about itself or the world is made up;
sentences can be false, incoherent or offensive, as the chats of the crowd that it learnt from can
be. It knows nothing but casual English, with that crowd's topics (students in the United States),
slang and spelling. Do not put it in front of users.

## Licence

MIT, as the data.
"""


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
    return Material(Path("runs/small_talk"), tokenizer, [stage], TEMPLATE, prompts, CARD)
