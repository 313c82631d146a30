"""The options of a run in a file of the user's: YAML, or what another run has saved.

A file says as little as it likes; the preset says the rest, and the command line has the last word.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from agents.algorithms.configs.names import ALGORITHMS, name_of
from agents.applications.fine_tuning import FineTuning, in_environment
from agents.applications.registry import APPLICATIONS
from agents.runs.saved_config import described, rebuilt


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # there are no types
    """Reads `1e-4` as a number, as JSON and YAML 1.2 do; PyYAML's own rule wants a point in it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class ConfigFile(NamedTuple):
    """Holds what a file says.

    Attributes:
        path: Of the file.
        preset: The preset that it changes; None: it names none.
        algorithm: The name of the algorithm; None: the preset's own.
        options: By name, those of `policy` and `algorithm` within.
    """

    path: Path
    preset: str | None
    algorithm: str | None
    options: Mapping[str, Any]

    def applied_to(
        self, preset: str, algorithm: str | None, env_id: str | None = None
    ) -> FineTuning:
        """Returns a preset with what the file says.

        Args:
            preset: Of the command line, or the file's.
            algorithm: That the command line names; with another than the file's, what the file says
                of its own is left out. None: the file's.
            env_id: That the command line names. None: the file's.

        Raises:
            ValueError: If an option has no such name or value.
        """
        named = algorithm or self.algorithm
        application = APPLICATIONS[preset]
        config = application.preset if named is None else application.with_algorithm(named)
        options = dict(self.options) | ({} if env_id is None else {"env_id": env_id})
        if isinstance(options.get("env_id"), str):
            config = in_environment(config, options["env_id"])
        said_of = self.algorithm or name_of(application.preset.algorithm)
        if algorithm not in (None, said_of):
            options.pop("algorithm", None)
        return _changed(config, options, f"{self.path}: ")


def read(path: Path) -> ConfigFile:
    """Reads a file of options; of a run's `config.json`, all but the run's name.

    Raises:
        ValueError: If it is not a mapping, or names a preset or an algorithm that there is not.
    """
    try:
        said = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be YAML or JSON: {error}") from error
    if not isinstance(said, dict):
        raise ValueError(f"{path} must hold options by name, got {said!r:.100}")
    preset, algorithm = said.pop("preset", None), said.pop("learner", None)
    for name, known in ((preset, APPLICATIONS), (algorithm, ALGORITHMS)):
        if name is not None and (not isinstance(name, str) or name not in known):
            raise ValueError(f"{path} must name one of {[*known]}, got {name!r}")
    if path.name == "config.json":  # a run has written it, under its own name
        said.pop("name", None)
    return ConfigFile(path, preset, algorithm, said)


def printed(preset: str, config: FineTuning) -> str:
    """Returns all options of a run as YAML, which `read` reads."""
    plain = _plain(described(preset, config))
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def _changed(config: FineTuning, options: Mapping[str, Any], where: str) -> FineTuning:
    """Returns a config with some options of a file."""
    values = _plain(dataclasses.asdict(config))
    for name, value in options.items():
        if name not in values:
            raise ValueError(f"{where}there is no option {name!r}, only {sorted(values)}")
        if isinstance(values[name], dict) and isinstance(value, dict):
            unknown = sorted(f"{name}.{one}" for one in value.keys() - values[name].keys())
            if unknown:
                known = sorted(values[name])
                raise ValueError(f"{where}there is no option {unknown[0]!r}, only {known}")
            value = {**values[name], **value}
        values[name] = value
    return rebuilt(FineTuning, values, where, {"algorithm": type(config.algorithm)})
