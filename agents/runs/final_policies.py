"""The policies that a run ends with: what it learnt, or its best moment, and an average."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from agents.algorithms.weight_average import WeightAverage
from agents.checkpoints.folder import replace_folder
from agents.policy.causal_lm import CausalLMPolicy
from text_gym import HuggingFaceTokenizer


def final_policies(
    average: WeightAverage | None,
    selected: AbstractContextManager[None] | None = None,
    *,
    name: str = "policy",
) -> Iterator[tuple[str, str]]:
    """Puts each policy in the agent's place in turn, and yields what it is called.

    Args:
        average: Of the parameters; None where none was kept.
        selected: Puts an earlier moment of the policy in its place, which is then what the run is
            for; None: that is the last.
        name: Of the folders, if they are of something else than policies.

    Yields:
        What its figures are called, and its folder within that of the run.
    """
    with selected or nullcontext():
        yield "after", name
    if selected is not None:
        yield "last", f"{name}-last"
    if average is not None:
        with average.in_place():
            yield "averaged", f"{name}-averaged"


def save_model(policy: CausalLMPolicy, tokenizer: Any, folder: Path) -> None:
    """Writes a model and its tokenizer, if it is one that transformers reads, whole or not."""

    def fill(partial: Path) -> None:
        policy.save_pretrained(partial)
        if isinstance(tokenizer, HuggingFaceTokenizer):
            tokenizer.tokenizer.save_pretrained(partial)

    replace_folder(folder, fill)
