"""What a run started from: prompts, model and reward, as digests, and how good the model was.

Checkpoints hold only what changes. Whoever goes on loads the rest anew, and it must be the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from agents.applications.split import Split
from agents.checkpoints.plain_values import require_form
from agents.evaluation.metrics import Evaluation
from agents.runs.rewards import digest_of_reward
from text_gym import HuggingFaceTokenizer, Prompt

FILE = "start.json"
_IDENTIFIED = {"prompts", "heldout", "model", "reward"}
_FORM: dict[str, Any] = {
    "prompts": [""],
    "completions": [""],
    "references": [""],
    "scores": [0.0],
    "lengths": [0],
    "log_ratios": [0.0],
    "ref_log_probs": [0.0],
    "kl_coef": 0.0,
}
"""Of an evaluation."""
_NUMBERS = ("scores", "log_ratios", "ref_log_probs")
"""What may not have been finite, which is null in the file."""
_NULLS: dict[str, Any] = {**dict.fromkeys(_NUMBERS, 0.0), "references": "", "kl_coef": 0.0}
"""What null is checked as, where it may stand: there may be no expected answer and no price too."""


@dataclass(frozen=True)
class Start:
    """Identifies what a run started from by SHA-256; has the evaluation of the untrained policy."""

    prompts: str
    heldout: str
    model: str
    reward: str
    evaluation: Evaluation | None = None

    @classmethod
    def of(cls, split: Split, policy: nn.Module, rewards: Sequence[str]) -> Self:
        """Returns the start of a run that is not evaluated yet."""
        return cls(
            digest_of_prompts(split.train),
            digest_of_prompts(split.heldout),
            digest_of_parameters(policy),
            "".join(map(digest_of_reward, rewards)),
        )

    def found_in(self, folder: Path) -> Self:
        """Returns this start with the evaluation that a run's folder holds, if there is one.

        Raises:
            ValueError: If that run started from something else.
        """
        path = folder / FILE
        if not path.is_file():
            return self
        saved = _read(path)
        for name in _IDENTIFIED & saved.keys():
            if saved[name] != getattr(self, name):
                raise ValueError(
                    f"a run must go on with what it started from, but {name} has changed since: "
                    f"SHA-256 {getattr(self, name)[:12]}… where {path} has {saved[name][:12]}…"
                )
        return self.evaluated(saved["evaluation"])

    def evaluated(self, evaluation: Evaluation) -> Self:
        """Returns this start with an evaluation."""
        return dataclasses.replace(self, evaluation=evaluation)


def _read(path: Path) -> dict[str, Any]:
    """Returns what a run's folder holds of its start.

    Raises:
        ValueError: If it is not what a run writes.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        form: dict[str, Any] = {**dict.fromkeys(_IDENTIFIED, ""), "evaluation": {}}
        if "reward" not in saved:  # as the first runs wrote it
            del form["reward"]
        require_form(saved, form, "start")
        return {**saved, "evaluation": _evaluation(saved["evaluation"])}
    except ValueError as error:
        raise ValueError(f"{path} must hold what the run wrote: {error}") from error


def _evaluation(saved: Mapping[str, Any]) -> Evaluation:
    """Returns an evaluation from what JSON made of it.

    Raises:
        ValueError: If it is not one.
    """
    filled = {name: _filled(value, _NULLS.get(name)) for name, value in saved.items()}
    require_form(filled, _FORM, "evaluation")
    numbers = {name: _filled(saved[name], math.nan) for name in _NUMBERS}
    return Evaluation(**{**saved, **numbers})


def _filled(value: Any, filling: Any) -> Any:
    """Returns a value with something in the place of null, in a list too."""
    if isinstance(value, list):
        return [_filled(one, filling) for one in value]
    return filling if value is None else value


def digest_of_prompts(prompts: Sequence[Prompt]) -> str:
    """Returns the SHA-256 of prompts, with all that came with them."""
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


def digest_of_tokenizer(tokenizer: HuggingFaceTokenizer) -> str:
    """Returns the SHA-256 of a tokenizer: its vocabulary and all of its rules."""
    return hashlib.sha256(tokenizer.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
