"""The config of a run as its folder holds it, and back again.

What is read back is checked: every option by its name and kind, and then by its own rule.
"""

from __future__ import annotations

import dataclasses
import json
import os
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from agents.algorithms.configs.names import ALGORITHMS, OFFLINE_ALGORITHMS, name_of
from agents.applications.fine_tuning import FineTuning
from agents.applications.registry import MODELS, POLICIES, PROMPTS
from agents.field_kinds import described_kind, is_of, kinds_of
from agents.runs.listed_prompts import anchored_prompts
from agents.runs.named_environments import anchored_arguments, anchored_id
from agents.runs.offline_presets import OFFLINE_RUNS, OfflineRun
from agents.runs.rewards import anchored_reward
from agents.runs.trust import require_trusted, trust
from agents.runs.wrappers import anchored_wrappers

T = TypeVar("T")


class Saved(Protocol):
    """A config of a run: a dataclass that says where to write."""

    @property
    def output(self) -> Path:
        """Folder of runs."""

    @property
    def name(self) -> str | None:
        """Folder of this run within it."""


S = TypeVar("S", bound=Saved)
F = TypeVar("F", bound=FineTuning)

_LATER = {
    "chat",
    "constraint",
    "env_args",
    "env_id",
    "eval_prompts",
    "max_response_tokens",
    "max_turn_tokens",
    "max_turns",
    "responder",
    "response_template",
    "sharded",
    "track",
    "wrappers",
    "writer",
}
"""Options that the first runs did not have, and did without: their defaults change nothing."""


class SavedConfig(NamedTuple, Generic[S]):
    """What to run: the preset it began with, and every option as it was resolved."""

    preset: str
    config: S


def anchored(config: F) -> F:
    """Returns a config all of whose paths are found from any working folder."""
    rewards: dict[str, Any] = {
        name: anchored_reward(value)
        for name in ("reward", "monitor", "select_by")
        if (value := getattr(config, name)) is not None
    }
    prompts: dict[str, Any] = {
        name: value if value in PROMPTS else anchored_prompts(value)
        for name in ("prompts", "eval_prompts")
        if (value := getattr(config, name)) is not None
    }
    changed: dict[str, Any] = {"model": anchored_model(config.model), **prompts, **rewards}
    if config.env_id is not None:
        changed["env_id"] = anchored_id(config.env_id)
        changed["env_args"] = anchored_arguments(config.env_args)
    if config.wrappers is not None:
        changed["wrappers"] = anchored_wrappers(config.wrappers)
    return dataclasses.replace(config, **changed)


def anchored_model(model: str) -> str:
    """Returns a run's `model` option so that it is found from any working folder."""
    known = model in {*MODELS, *POLICIES}
    return os.path.abspath(model) if not known and os.path.exists(model) else model


def described(preset: str, config: Any) -> dict[str, Any]:
    """Returns what `config.json` holds."""
    names = {"preset": preset, "learner": name_of(config.algorithm)}
    return names | dataclasses.asdict(config)


def trust_run(folder: Path) -> None:
    """Puts the code that a run's config names on record, as something to run; see `trust`.

    Raises:
        FileNotFoundError, ValueError: As `read_config`.
    """
    trust(_read(folder)[2])


def trust_runs(models: Iterable[str]) -> None:
    """Puts the code that runs name on record; see `trust_run`. What is no run names none."""
    for folder in map(Path, models):
        if is_run(folder):
            trust_run(folder)


def is_run(folder: Path) -> bool:
    """Tells the folder of a run from any other, that of a model included."""
    try:
        _read(folder)
    except (OSError, ValueError):
        return False
    return True


def read_preset(folder: Path) -> str:
    """Returns the name of the preset that a run began with; raises as `read_config`."""
    return _read(folder)[0]


def read_learner(folder: Path) -> str:
    """Returns the name of what learns in a run; raises as `read_config`."""
    return _read(folder)[1]


def read_config(folder: Path) -> SavedConfig[FineTuning]:
    """Reads what to run from the folder of a run, which is also where it goes on; see `read_as`."""
    return read_as(FineTuning, folder)


def read_as(kind: type[F], folder: Path) -> SavedConfig[F]:
    """Reads what to run from a folder, if it is a kind of fine-tuning.

    Raises:
        FileNotFoundError: If `folder` holds no run.
        ValueError: If the run was started by a version that knows other options, an option was
            edited to what it cannot be, or one names code that is not to be run; the message names
            it.
    """
    return _config(folder, kind, ALGORITHMS)


def read_unrun(folder: Path) -> SavedConfig[FineTuning]:
    """Reads as `read_config`, for whoever runs none of the code that is named: any may be."""
    return _unrun(folder, FineTuning, ALGORITHMS)


def read_offline_config(folder: Path) -> SavedConfig[OfflineRun]:
    """Reads what to run from the folder of a run that learns from a file; see `read_config`."""
    kind = OFFLINE_RUNS.get(read_learner(folder), OfflineRun)
    return _config(folder, kind, OFFLINE_ALGORITHMS)


def _config(folder: Path, kind: type[S], algorithms: Mapping[str, type]) -> SavedConfig[S]:
    saved = _unrun(folder, kind, algorithms)
    require_trusted(vars(saved.config), folder / "config.json")
    return saved


def _unrun(folder: Path, kind: type[S], algorithms: Mapping[str, type]) -> SavedConfig[S]:
    preset, learner, values = _read(folder)
    path = folder / "config.json"
    if learner not in algorithms:
        raise ValueError(f"{path} must have as learner one of {[*algorithms]}, got {learner!r}")
    config: Any = rebuilt(kind, values, f"{path}: ", {"algorithm": algorithms[learner]})
    return SavedConfig(preset, dataclasses.replace(config, output=folder.parent, name=folder.name))


def _read(folder: Path) -> tuple[str, str, dict[str, Any]]:
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"the folder of a run must hold config.json, got {folder}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path} must be JSON, as the run wrote it: {error}") from error
    preset = values.pop("preset", None) if isinstance(values, dict) else None
    if not isinstance(preset, str):
        raise ValueError(f"{path} must name the preset of the run, got {preset!r}")
    return preset, str(values.pop("learner", None)), values


def rebuilt(
    cls: type[T], values: Mapping[str, Any], where: str, known: Mapping[str, type] | None = None
) -> T:
    """Returns a dataclass from what JSON made of it, dataclasses in its fields included.

    Args:
        cls: The dataclass.
        values: By field.
        where: Begins every message.
        known: Which of several classes a field is of.
    """
    kinds = {**typing.get_type_hints(cls), **(known or {})}
    names = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    differing = sorted((values.keys() - names) | (names - values.keys() - _LATER))
    if differing:
        raise ValueError(
            f"{where}must have the options of this version of {cls.__name__}, but only one of them "
            f"has {differing}; go on with the version that started the run"
        )
    fields = {name: _value(kinds[name], value, where + name) for name, value in values.items()}
    try:
        return cls(**fields)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from error


def _value(kind: Any, value: Any, where: str) -> Any:
    """Returns a value of a kind, or of one of the kinds of a union, from what JSON made of it."""
    for one in kinds_of(kind):
        if isinstance(value, dict) and isinstance(one, type) and dataclasses.is_dataclass(one):
            return rebuilt(one, value, f"{where}.")
        if isinstance(value, list) and typing.get_origin(one) is tuple:
            (inner, *_) = typing.get_args(one)
            return tuple(_value(inner, part, f"{where}[{n}]") for n, part in enumerate(value))
        if isinstance(value, str) and one is Path:
            return Path(value)
        if is_of(value, one):
            return value
    raise ValueError(f"{where} must be {described_kind(kind)}, got {value!r:.100}")
