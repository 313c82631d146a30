"""The config of a run as its folder holds it, and back again."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from agents.runs.presets import FineTuning

T = TypeVar("T")


class SavedConfig(NamedTuple):
    """What to run: the preset it began with, and every option as it was resolved."""

    preset: str
    config: FineTuning


def described(preset: str, config: FineTuning) -> dict[str, Any]:
    """Returns what `config.json` holds."""
    return {"preset": preset, **dataclasses.asdict(config)}


def read_config(folder: Path) -> SavedConfig:
    """Reads what to run from the folder of a run, which is also where it goes on.

    Raises:
        FileNotFoundError: If `folder` holds no run.
        ValueError: If the run was started by a version that knows other options.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"the folder of a run must hold config.json, got {folder}")
    values = json.loads(path.read_text(encoding="utf-8"))
    preset = values.pop("preset", None)
    if preset is None:
        raise ValueError(f"{path} must name the preset of the run, got {sorted(values)}")
    config = _rebuilt(FineTuning, values, path)
    return SavedConfig(preset, dataclasses.replace(config, output=folder.parent, name=folder.name))


def _rebuilt(cls: type[T], values: Mapping[str, Any], path: Path) -> T:
    """Returns a dataclass from what JSON made of it, dataclasses in its fields included."""
    kinds = typing.get_type_hints(cls)
    names = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if names != values.keys():
        differing = sorted(names ^ values.keys())
        raise ValueError(
            f"{path} must have the options of this version of {cls.__name__}, but only one of them "
            f"has {differing}; go on with the version that started the run"
        )
    return cls(**{name: _value(kinds[name], value, path) for name, value in values.items()})


def _value(kind: Any, value: Any, path: Path) -> Any:
    union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    for one in typing.get_args(kind) if union and value is not None else (kind,):
        if dataclasses.is_dataclass(one) and isinstance(one, type) and isinstance(value, Mapping):
            return _rebuilt(one, value, path)
        if typing.get_origin(one) is tuple and isinstance(value, list):
            return tuple(value)
    return value
