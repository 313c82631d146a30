"""How a saved model translates: greedily, by beam search, by the best of several drawn texts.

Plain `transformers` decodes, so that what is measured is what others will get from the folder.
Knows nothing of how the model was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from text_gym import Episode
from text_gym.rewards import ChrF

MAX_NEW_TOKENS = 24
TEMPLATE = "{prompt}\n"
BEAMS = 4
_AT_ONCE = 128
"""Sources of a batch."""


class Translator:
    """Translates with the model of a folder.

    Args:
        folder: As `transformers` reads it.
    """

    def __init__(self, folder: Path) -> None:
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._tokenizer.pad_token = self._tokenizer.eos_token

    def greedy(self, sources: Sequence[str]) -> list[str]:
        """Returns the translation that takes the likeliest token at every step."""
        return [one for one, *_ in self._in_batches(sources, self._texts, do_sample=False)]

    def beam_search(self, sources: Sequence[str]) -> list[str]:
        """Returns the likeliest translation that a beam of four finds."""
        return [one for one, *_ in self._in_batches(sources, self._texts, num_beams=BEAMS)]

    def drawn(
        self, sources: Sequence[str], n: int, temperature: float, seed: int
    ) -> list[list[str]]:
        """Returns n translations of each source, drawn from the whole vocabulary."""
        options = {"do_sample": True, "top_k": 0, "temperature": temperature}
        options["num_return_sequences"] = n
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return self._in_batches(sources, self._texts, **options)

    def log_probs(self, sources: Sequence[str], texts: Sequence[str]) -> list[float]:
        """Returns the log-probability of a translation of each source, end of text included."""
        return [
            value
            for start in range(0, len(sources), _AT_ONCE)
            for value in self._log_probs(
                sources[start : start + _AT_ONCE], texts[start : start + _AT_ONCE]
            )
        ]

    @torch.no_grad()
    def _log_probs(self, sources: Sequence[str], texts: Sequence[str]) -> list[float]:
        contexts = [self._tokenizer.encode(TEMPLATE.format(prompt=one)) for one in sources]
        written = [[*self._tokenizer.encode(one), self._tokenizer.eos_token_id] for one in texts]
        rows = [torch.tensor(a + b) for a, b in zip(contexts, written, strict=True)]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        logits = self._model(ids, use_cache=False).logits[:, :-1]
        every = logits.log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2)
        return [
            float(row[len(a) - 1 : len(a) + len(b) - 1].sum())
            for row, a, b in zip(every, contexts, written, strict=True)
        ]

    def _in_batches(
        self, sources: Sequence[str], translate: Callable[..., list[list[str]]], **options: Any
    ) -> list[list[str]]:
        """Translates sources of similar length together, and returns texts in their order."""
        order = sorted(range(len(sources)), key=lambda at: len(sources[at]))
        found: dict[int, list[str]] = {}
        for start in range(0, len(order), _AT_ONCE):
            batch = order[start : start + _AT_ONCE]
            texts = translate([sources[at] for at in batch], **options)
            found.update(zip(batch, texts, strict=True))
        return [found[at] for at in range(len(sources))]

    @torch.no_grad()
    def _texts(self, sources: Sequence[str], **options: Any) -> list[list[str]]:
        prompts = [TEMPLATE.format(prompt=source) for source in sources]
        encoded = self._tokenizer(prompts, return_tensors="pt", padding=True)
        written: Tensor = self._model.generate(
            input_ids=encoded["input_ids"],
            attention_mask=encoded["attention_mask"],
            max_new_tokens=MAX_NEW_TOKENS,
            pad_token_id=self._tokenizer.pad_token_id,
            **options,
        )
        new = written[:, encoded["input_ids"].shape[1] :]
        texts = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        n = len(texts) // len(sources)
        return [texts[at * n : (at + 1) * n] for at in range(len(sources))]


def scores(texts: Sequence[str], references: Sequence[str]) -> list[float]:
    """Returns the reward of each text."""
    pairs = zip(texts, references, strict=True)
    rewards = ChrF()([Episode.from_text("", text, reference=one) for text, one in pairs])
    return [float(reward) for reward in rewards]


def best_of(drawn: Sequence[Sequence[str]], values: Sequence[Sequence[float]]) -> list[str]:
    """Returns the text of each group that has the highest value, the first of several."""
    return [
        max(zip(texts, known, strict=True), key=lambda pair: pair[1])[0]
        for texts, known in zip(drawn, values, strict=True)
    ]
