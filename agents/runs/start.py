"""What a run started from: the prompts and the model, as digests, and how good the model was.

Checkpoints hold only what changes. Whoever goes on loads the rest anew, and it must be the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from agents.applications.split import Split
from agents.checkpoints.plain_values import require_form
from agents.evaluation.evaluate import Evaluation
from text_gym import Prompt

FILE = "start.json"
_TEXTS: dict[str, Any] = {"prompts": [""], "completions": [""], "scores": [0.0]}
_FIGURES = {field.name for field in dataclasses.fields(Evaluation)} - _TEXTS.keys()


@dataclass(frozen=True)
class Start:
    """Identifies prompts and model by SHA-256, and holds the judgement of the untrained policy."""

    prompts: str
    heldout: str
    model: str
    evaluation: Evaluation | None = None

    @classmethod
    def of(cls, split: Split, policy: nn.Module) -> Self:
        """Returns the start of a run that is not judged yet."""
        return cls(
            _of_prompts(split.train), _of_prompts(split.heldout), digest_of_parameters(policy)
        )

    def found_in(self, folder: Path) -> Self:
        """Returns this start with the judgement that a run's folder holds, if it was judged.

        Raises:
            ValueError: If that run started from something else.
        """
        path = folder / FILE
        if not path.is_file():
            return self
        saved = _read(path)
        for name in ("prompts", "heldout", "model"):
            if saved[name] != getattr(self, name):
                raise ValueError(
                    f"a run must go on with what it started from, but {name} has changed since: "
                    f"SHA-256 {getattr(self, name)[:12]}… where {path} has {saved[name][:12]}…"
                )
        return self.judged(saved["evaluation"])

    def judged(self, evaluation: Evaluation) -> Self:
        """Returns this start with a judgement."""
        return dataclasses.replace(self, evaluation=evaluation)


def _read(path: Path) -> dict[str, Any]:
    """Returns what a run's folder holds of its start.

    Raises:
        ValueError: If it is not what a run writes.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        require_form(saved, {"prompts": "", "heldout": "", "model": "", "evaluation": {}}, "start")
        figures = saved["evaluation"]
        # A figure that was not finite is null in the file.
        numbers = {name: 0.0 if value is None else value for name, value in figures.items()}
        require_form(numbers, dict.fromkeys(_FIGURES, 0.0) | _TEXTS, "evaluation")
    except ValueError as error:
        raise ValueError(f"{path} must hold what the run wrote: {error}") from error
    restored: dict[str, Any] = {
        name: math.nan if value is None else value for name, value in figures.items()
    }
    return {**saved, "evaluation": Evaluation(**restored)}


def _of_prompts(prompts: Sequence[Prompt]) -> str:
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(repr((prompt.text, prompt.reference, dict(prompt.metadata))).encode())
    return digest.hexdigest()


def digest_of_parameters(module: nn.Module) -> str:
    """Returns the SHA-256 of a model's parameters, their names and shapes."""
    digest = hashlib.sha256()
    for name, parameter in module.named_parameters():
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}".encode())
        values = parameter.detach().cpu().contiguous().flatten()
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()
