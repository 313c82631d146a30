"""What is published: the source distribution, the wheel, and the exact versions beside them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docs._scripts.package_readme import with_addresses
from tests.test_architecture import PROJECT, ROOT, requirements, run_python

NEEDED = {"gymnasium", "numpy"}
"""What the environment alone needs, of all that the package depends on."""

A_TEXT = """
import gymnasium as gym, text_gym
env = gym.make("TextGen-v0")
observation, info = env.reset(seed=0)
terminated = False
while not terminated:
    observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
envs = gym.make_vec("TextGen-v0", num_envs=2)
envs.reset(seed=0)
envs.step(envs.action_space.sample())
print(text_gym.__file__)
"""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the source distribution, and the wheel from what that holds."""
    folder = tmp_path_factory.mktemp("dist")
    build = run_python("-m", "build", "--no-isolation", "--outdir", str(folder))
    assert build.returncode == 0, build.stdout + build.stderr
    return folder


def test_wheel_holds_both_packages_with_their_data_and_nothing_else(distributions: Path) -> None:
    with zipfile.ZipFile(next(distributions.glob("*.whl"))) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {name.partition("/")[0] for name in packed} == {"text_gym", "agents"}
    models = (path for path in (ROOT / "agents" / "models").rglob("*") if path.is_file())
    data = {path.relative_to(ROOT).as_posix() for path in models}
    assert data, "agents/models is empty"
    feedback = ROOT / "text_gym" / "feedback"
    data |= {
        path.relative_to(ROOT).as_posix()
        for suffix in ("sql", "html", "css", "js", "svg")
        for path in feedback.rglob(f"*.{suffix}")
    }
    assert {"text_gym/py.typed", "agents/py.typed"} | data <= packed


def test_the_package_index_would_take_both(distributions: Path) -> None:
    files = sorted(map(str, distributions.iterdir()))
    assert [Path(file).suffix for file in files] == [".whl", ".gz"]
    check = run_python("-m", "twine", "check", "--strict", *files)
    assert check.returncode == 0, check.stdout + check.stderr


def test_the_wheel_writes_a_text_with_gymnasium_and_numpy_alone(
    distributions: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(next(distributions.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")
    names = {Requirement(one).name.replace("-", "_") for one in PROJECT["dependencies"]}
    missing = sorted(names - NEEDED)
    assert "torch" in missing
    code = f"import sys; sys.modules.update(dict.fromkeys({missing}))\n{A_TEXT}"
    end = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert end.returncode == 0, end.stderr
    assert end.stdout.startswith(str(tmp_path))


def test_no_link_of_the_published_readme_leads_beside_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    published = with_addresses(readme, "owner/name", "v1.0.0")
    targets = re.findall(r'\]\(([^)\s]+)\)|\b(?:src|srcset)="([^"]+)"', published)
    places = [one or other for one, other in targets]
    assert len(places) > 20
    assert [one for one in places if not one.startswith(("https://", "http://127", "#"))] == []
    own = re.compile(r"https://\S+?/owner/name/(?:blob/)?v1\.0\.0/([^#]+)")
    files = [found[1] for one in places if (found := own.match(one))]
    assert len(files) > 20
    assert [file for file in files if not (ROOT / file).exists()] == []


# Exact versions


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


APART = {"datasets", "trackio"}
"""In extras that are not in `all`, and so not installed where the tests run."""


def needed_by(name: str, extra: str) -> Iterator[Requirement]:
    """Yields what an installed distribution requires here, for one of its extras or for none."""
    for one in map(Requirement, metadata.requires(name) or ()):
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            yield one


def all_needed() -> set[str]:
    """Returns the names of everything that is needed here, by whatever needs it."""
    waiting, seen = (
        [one for one in map(Requirement, requirements()) if one.name not in APART],
        set(),
    )
    while waiting:
        one = waiting.pop()
        for key in {(canonicalize_name(one.name), extra) for extra in one.extras or {""}} - seen:
            seen.add(key)
            waiting += needed_by(*key)
    return {name for name, _ in seen} - {"text-gym"}


@pytest.mark.skipif(metadata.version("numpy") != pins()["numpy"], reason="other versions")
def test_whatever_is_needed_has_an_exact_version() -> None:
    of_the_cuda_build = re.compile("nvidia|cuda|triton")
    loose = {name for name in all_needed() - pins().keys() if not of_the_cuda_build.match(name)}
    assert loose == set()
    installed = {
        name: metadata.version(name).partition("+")[0] for name in all_needed() & pins().keys()
    }
    assert installed == {name: pins()[name] for name in installed}
