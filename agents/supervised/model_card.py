"""The model card of the small-talk model: figures, samples and a template of its README.

Everything in the card is either written here, measured, or sampled from the model; no sentence of
the training data is copied.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from text_gym import HuggingFaceTokenizer
from text_gym.text_parts import completion_decoder

if TYPE_CHECKING:
    from agents.supervised.config import PretrainCommand

_TEMPLATE = """\
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


@dataclass(frozen=True)
class Figures:
    """What was measured of a pretrained model and of its training."""

    parameters: int
    train_pairs: int
    tokens: int
    minutes: float
    steps: int
    best_step: int
    validation_perplexity: float
    heldout_perplexity: float


def model_card(
    command: PretrainCommand, figures: Figures, samples: Sequence[tuple[str, str]]
) -> str:
    """Write the README of a model folder.

    Args:
        command: The command that trained the model.
        figures: What was measured.
        samples: Prompts and replies of the model.
    """
    config: dict[str, Any] = dataclasses.asdict(command)
    del config["output"], config["progress"]
    return _TEMPLATE.format(
        output=command.output.as_posix(),
        n_positions=command.shape.n_positions,
        config=json.dumps(config, indent=2),
        samples="\n".join(f"| {_cell(prompt)} | {_cell(reply)} |" for prompt, reply in samples),
        **dataclasses.asdict(figures),
    )


def sample_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    template: str,
    seed: int,
    max_new_tokens: int = 40,
) -> list[str]:
    """Draw one reply to each prompt at temperature 1, from the whole vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    vocabulary = HuggingFaceTokenizer(tokenizer)
    replies = []
    for prompt in prompts:
        prompt_ids = vocabulary.encode_prompt(template, prompt)
        ids = torch.tensor([prompt_ids])
        while ids.shape[1] < len(prompt_ids) + max_new_tokens:
            token = _next_token(model, ids, generator)
            if token == tokenizer.eos_token_id:
                break
            ids = torch.cat([ids, token], dim=1)
        read = completion_decoder(vocabulary, ids[0, : len(prompt_ids)].numpy())
        replies.append(read(ids[0, len(prompt_ids) :].numpy()))
    return replies


@torch.no_grad()
def _next_token(model: PreTrainedModel, ids: Tensor, generator: torch.Generator) -> Tensor:
    logits = model(ids, use_cache=False).logits[:, -1]
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
