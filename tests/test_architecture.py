"""The promises that no single module can keep: import directions, public names, packaging.

Knows the two packages only by their names and files; what they do is tested elsewhere.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
LISTED_FOLDERS = ("text_gym", "agents", "benchmarks", "docs")


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def packages_imported_by(code: str) -> set[str]:
    """Run `code` in a fresh interpreter and return the top-level packages that it imported."""
    result = run_python("-X", "importtime", "-c", code)
    report, errors = [], []
    for line in result.stderr.splitlines():
        (report if line.startswith("import time:") else errors).append(line)
    assert result.returncode == 0, "\n".join(errors)
    return {line.rsplit("|", 1)[1].strip().partition(".")[0] for line in report}


# Imports


def test_importing_text_gym_loads_no_heavy_library() -> None:
    imported = packages_imported_by("import text_gym")
    assert {"text_gym", "numpy", "gymnasium"} <= imported
    assert imported.isdisjoint({"agents", "sqlite3"})
    of_gymnasium = {"cloudpickle", "farama_notifications", "typing_extensions"}
    installed = {name for name in imported & packages_distributions().keys() if name[0] != "_"}
    assert installed <= {"text_gym", "numpy", "gymnasium"} | of_gymnasium


def test_importing_agents_loads_no_torch() -> None:
    imported = packages_imported_by("import agents")
    assert "agents" in imported
    assert imported.isdisjoint({"torch", "transformers"})


def test_import_contracts_hold() -> None:
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = run_python("-c", lint, "--no-logo", "--no-cache")
    assert result.returncode == 0, result.stdout + result.stderr


def test_agents_is_this_project_and_not_another_distribution() -> None:
    spec = importlib.util.find_spec("agents")
    assert spec is not None
    assert spec.origin == str(ROOT / "agents" / "__init__.py")


# Public names


def modules_of(package_name: str) -> Iterator[Any]:
    package = importlib.import_module(package_name)
    yield package
    for module in pkgutil.walk_packages(package.__path__, f"{package_name}."):
        yield importlib.import_module(module.name)


def is_documented(value: Any) -> bool:
    """Tell whether a class, function or module has a docstring that somebody wrote."""
    if not (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value)):
        return True
    generated_by_dataclass = f"{value.__name__}("
    return bool(value.__doc__) and not value.__doc__.startswith(generated_by_dataclass)


@pytest.mark.parametrize("package", ["text_gym", "agents"])
def test_every_public_name_resolves_and_is_documented(package: str) -> None:
    assert importlib.import_module(package).__all__
    faults = []
    for module in modules_of(package):
        for name in getattr(module, "__all__", ()):
            if not hasattr(module, name):
                faults.append(f"{module.__name__}.{name} does not exist")
            elif not is_documented(getattr(module, name)):
                faults.append(f"{module.__name__}.{name} has no docstring")
    assert faults == []


# The file tree in CONTRIBUTING.md


def paths_of(tree: str) -> set[str]:
    """Read a drawn tree: one path a line, four columns a level, whatever follows is a remark."""
    paths, parents = set(), []
    for line in tree.splitlines():
        entry = re.match(r"(?P<indent>(?:[│ ]   )*(?:[├└]── )?)(?P<name>[^\s│├└]+)", line)
        if entry is None:
            continue
        depth = len(entry["indent"]) // 4
        parents[depth:] = [entry["name"].rstrip("/")]
        paths.add("/".join(parents))
    return paths


def test_paths_of_reads_branches_and_ignores_remarks() -> None:
    tree = """
text_gym/             the environment
├── env.py            one text
├── rewards/
│   └── length.py     words/second
└── wrappers/
    └── feedback.py
docs/
"""
    assert paths_of(tree) == {
        "text_gym",
        "text_gym/env.py",
        "text_gym/rewards",
        "text_gym/rewards/length.py",
        "text_gym/wrappers",
        "text_gym/wrappers/feedback.py",
        "docs",
    }


def paths_in_tree() -> set[str]:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = re.search(r"<!-- tree -->\s*```\w*\n(.*?)```\s*<!-- /tree -->", page, re.DOTALL)
    assert block is not None, (
        "CONTRIBUTING.md has no fenced block between <!-- tree --> and <!-- /tree -->"
    )
    return paths_of(block[1])


def test_the_tree_lists_every_python_file() -> None:
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for folder in LISTED_FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    assert on_disk
    assert sorted(on_disk - paths_in_tree()) == []


def test_the_tree_lists_nothing_that_does_not_exist() -> None:
    listed = paths_in_tree()
    assert set(LISTED_FOLDERS) <= listed
    assert sorted(path for path in listed if not (ROOT / path).exists()) == []


# Packaging


def test_changelog_package_and_project_agree_on_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert newest is not None
    assert newest[1] == importlib.import_module("text_gym").__version__ == PROJECT["version"]


def test_the_lowest_versions_that_are_tested_are_the_lower_bounds() -> None:
    bounds = {
        canonicalize_name(one.name): Version(bound.version)
        for one in map(Requirement, requirements())
        for bound in one.specifier
        if bound.operator == ">="
    }
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert bounds == {name: Version(pins[name]) for name in bounds}


def requirements() -> Iterator[str]:
    """Yields what the packages, all their extras and the developers' tools require."""
    yield from PROJECT["dependencies"]
    for extra in PROJECT["optional-dependencies"].values():
        yield from extra
    yield from PYPROJECT["dependency-groups"]["dev"]


@pytest.mark.parametrize("script", sorted(PROJECT["scripts"]))
def test_console_script_shows_help_without_torch(script: str) -> None:
    module, function = PROJECT["scripts"][script].split(":")
    call = f"sys.argv = [{script!r}, '--help']; sys.exit({module}.{function}())"
    imported = packages_imported_by(f"import sys, {module}; {call}")
    assert module.partition(".")[0] in imported
    assert imported.isdisjoint({"matplotlib", "scipy", "tensorboard", "torch", "transformers"})


# What the tests themselves run under


def test_tests_cannot_reach_the_network() -> None:
    with (
        socket.socket() as outgoing,
        pytest.raises(pytest.fail.Exception, match="not use the network"),
    ):
        outgoing.connect(("192.0.2.1", 80))


def test_tests_compute_on_one_thread() -> None:
    torch = importlib.import_module("torch")
    assert torch.get_num_threads() == 1
