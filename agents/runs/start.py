"""What a run started from: its options; prompts, model and reward, as digests; the model's figures.

Checkpoints hold only what changes. Whoever goes on loads the rest anew, and it must be the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from agents.algorithms.configs.names import name_of
from agents.applications.fine_tuning import SAYS_NOTHING, FineTuning
from agents.applications.split import Split
from agents.checkpoints.plain_values import require_form
from agents.evaluation.metrics import Evaluation
from agents.reports.json_file import finite
from agents.runs.named_environments import identity_of_environment
from agents.runs.rewards import digest_of_reward
from agents.runs.wrappers import identity_of_wrappers
from text_gym import HuggingFaceTokenizer, Prompt

FILE = "start.json"
_IDENTIFIED = ("prompts", "heldout", "model", "reward", "environment", "wrappers")
_CODE = {"reward", "environment", "wrappers"}
"""Of these, what may be code."""
_CONTENTS = {
    "model": "model",
    "prompts": "prompts",
    "eval_prompts": "heldout",
    "reward": "reward",
    "monitor": "reward",
    "select_by": "reward",
    "env_id": "environment",
    "env_args": "environment",
    "wrappers": "wrappers",
    "data": "data",
}
"""Options that may say something else as long as what they lead to is the same, elsewhere now."""
_LATER = {*_CODE, "changed", "options"}
"""What the first runs did not write."""
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
    environment: str
    wrappers: str
    changed: tuple[str, ...] = ()
    """Of these, what was code and says something else than when the run began."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the run was told of what it learns, as JSON gives it back."""
    evaluation: Evaluation | None = None

    @classmethod
    def of(cls, split: Split, policy: nn.Module, config: FineTuning) -> Self:
        """Returns the start of a run that is not evaluated yet."""
        rewards = [one for one in (config.reward, config.watched) if one]
        return cls(
            digest_of_prompts(split.train),
            digest_of_prompts(split.heldout),
            digest_of_parameters(policy),
            "".join(map(digest_of_reward, rewards)),
            _digest(config.env_id and identity_of_environment(config.env_id, config.env_args)),
            _digest(config.wrappers and identity_of_wrappers(config.wrappers)),
            options=options_of(config),
        )

    def found_in(self, folder: Path, *, code_may_differ: bool = False) -> Self:
        """Returns this start with the evaluation that a run's folder holds, if there is one.

        Args:
            folder: Of the run.
            code_may_differ: Whether reward, environment and wrappers may be others than when it
                began; then it is evaluated anew.

        Raises:
            ValueError: If that run started from something else.
        """
        path = folder / FILE
        if not path.is_file():
            return self
        saved = _read(path)
        differing = [
            one for one in _IDENTIFIED if saved.get(one, getattr(self, one)) != getattr(self, one)
        ]
        refused = [one for one in differing if one not in _CODE or not code_may_differ]
        options = saved.get("options", self.options)  # of a run from before they were written
        for name, then in options.items():
            now = self.options.get(name)
            if now != then and _CONTENTS.get(name) in refused:
                raise ValueError(_told(name, now, path, then))
        for name in refused:
            raise ValueError(_changed(name, getattr(self, name), path, saved[name]))
        changed = tuple(sorted({*saved.get("changed", ()), *differing}))
        found = dataclasses.replace(self, changed=changed, options=options)
        return found if differing else found.evaluated(saved["evaluation"])

    @property
    def remarks(self) -> dict[str, str]:
        """What a person should know of the start, by what it is about."""
        return {"changed since it began": ", ".join(self.changed)} if self.changed else {}

    def plain(self) -> dict[str, Any]:
        """Returns what a run's folder holds of this, in values that JSON can hold.

        Of texts, that is what figures are made of.
        """
        if self.evaluation is None:
            return dataclasses.asdict(self)
        texts = dataclasses.replace(self.evaluation, episodes=None)
        saved = dataclasses.asdict(dataclasses.replace(self, evaluation=texts))
        del saved["evaluation"]["episodes"]
        return saved

    def evaluated(self, evaluation: Evaluation) -> Self:
        """Returns this start with an evaluation."""
        return dataclasses.replace(self, evaluation=evaluation)


def require_model(folder: Path, policy: nn.Module) -> None:
    """Raises ValueError unless a run started from these parameters, or does not say."""
    path, digest = folder / FILE, digest_of_parameters(policy)
    if path.is_file() and (saved := _read(path)["model"]) != digest:
        raise ValueError(_changed("model", digest, path, saved))


def require_told(folder: Path, config: FineTuning) -> None:
    """Refuses a config that says something else than when a run began, before it is loaded.

    What it names may have moved; `Start.found_in` sees whether it is the same.

    Raises:
        ValueError: If it does; the message names the option.
    """
    path = folder / FILE
    if path.is_file():
        require_same(options_of(config), _read(path).get("options", {}), path)


def require_same(told: Mapping[str, Any], options: Mapping[str, Any], path: Path) -> None:
    """Refuses options of a run that are others than its file holds, but for what may have moved.

    Raises:
        ValueError: If one is; the message names it.
    """
    for name, then in options.items():
        now = told.get(name)
        may_have_moved = name in _CONTENTS and None not in (now, then)
        if now != then and not may_have_moved:
            raise ValueError(_told(name, now, path, then))


def _told(option: str, now: Any, path: Path, then: Any) -> str:
    return f"a run must go on as it began, but {option} is {now!r} where {path} has {then!r}"


def _changed(name: str, now: str, path: Path, then: str) -> str:
    return (
        f"a run must go on with what it started from, but {name} has changed since: SHA-256 "
        f"{now[:12]}… where {path} has {then[:12]}…"
    )


def _read(path: Path) -> dict[str, Any]:
    """Returns what a run's folder holds of its start.

    Raises:
        ValueError: If it is not what a run writes.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        form: dict[str, Any] = {**dict.fromkeys(_IDENTIFIED, ""), "evaluation": {}}
        form |= {"changed": [""], "options": {}}
        for name in _LATER - saved.keys():
            del form[name]
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


def options_of(config: Any) -> dict[str, Any]:
    """Returns all that says what a run learns, those of policy and algorithm by `policy.NAME`."""
    told = {"learner": name_of(config.algorithm)}
    for name, value in dataclasses.asdict(config).items():
        if isinstance(value, dict):
            told |= {f"{name}.{inner}": one for inner, one in value.items()}
        elif name not in SAYS_NOTHING:
            told[name] = value
    plain: dict[str, Any] = json.loads(json.dumps(finite(told), default=str))
    return plain


def _digest(identity: Any) -> str:
    """Returns the SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


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


def digest_of_tokenizer(tokenizer: HuggingFaceTokenizer | None) -> str:
    """Returns the SHA-256 of a tokenizer: its vocabulary and all of its rules.

    Of None, which is the environment's own, that of nothing.
    """
    if tokenizer is None:
        return hashlib.sha256().hexdigest()
    return hashlib.sha256(tokenizer.tokenizer.backend_tokenizer.to_str().encode()).hexdigest()
