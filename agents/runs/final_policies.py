"""The policies that a run ends with: the one that learnt, and its average beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.algorithms.weight_average import WeightAverage
from agents.checkpoints.folder import replace_folder
from agents.policy.causal_lm import CausalLMPolicy
from text_gym import HuggingFaceTokenizer


def final_policies(average: WeightAverage | None) -> Iterator[tuple[str, str]]:
    """Puts each policy in the agent's place in turn, and yields what it is called.

    Yields:
        What its figures are called, and its folder within that of the run.
    """
    yield "after", "policy"
    if average is not None:
        with average.in_place():
            yield "averaged", "policy-averaged"


def save_model(policy: CausalLMPolicy, tokenizer: Any, folder: Path) -> None:
    """Writes a model and its tokenizer, if it is one that transformers reads, whole or not."""

    def fill(partial: Path) -> None:
        policy.save_pretrained(partial)
        if isinstance(tokenizer, HuggingFaceTokenizer):
            tokenizer.tokenizer.save_pretrained(partial)

    replace_folder(folder, fill)
