"""What a benchmark found: figures, the goals they are held against, and the file they are kept in.

A result is one JSON file: the figures, and what they depend on (machine, versions, commit, seed,
settings). Knows nothing of what is measured; `benchmarks.table` shows results.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"

PACKAGES = ("torch", "transformers", "numpy", "gymnasium", "stable-baselines3", "text-gym")
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
"""Those that decide which matrix kernels run."""

Rule = Literal["at least", "at most"]


@dataclass(frozen=True)
class Figure:
    """Holds one number that a benchmark reports.

    Attributes:
        name: What was measured, unique within its result.
        value: The median over repeats.
        unit: Of the value; "×" for a ratio.
        goal: What the value is held against; None: it is only reported.
        rule: On which side of the goal the value should be; None where there is no goal.
        holds: Whether it is; None where there is no goal.
        lowest: Over repeats.
        highest: Over repeats.
        repeats: Number of measurements.
        note: What a reader has to know to read the figure right.
    """

    name: str
    value: float
    unit: str
    goal: float | None
    rule: Rule | None
    holds: bool | None
    lowest: float
    highest: float
    repeats: int
    note: str = ""


def figure(
    name: str,
    samples: Sequence[float] | float,
    unit: str = "×",
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """Returns the figure of repeated measurements of one quantity.

    Args:
        name: What was measured.
        samples: One value per repeat, or a single one.
        unit: Of the samples.
        at_least: The goal, if more is better.
        at_most: The goal, if less is better.
        note: What a reader has to know.

    Raises:
        ValueError: If there is no sample, or a goal on both sides.

    Example:
        >>> figure("ours / theirs", [1.4, 1.7, 1.6], at_least=1.5).holds
        True
    """
    values = [samples] if isinstance(samples, int | float) else list(samples)
    if not values:
        raise ValueError(f"samples must hold at least one value, got none for {name!r}")
    if at_least is not None and at_most is not None:
        raise ValueError(f"one of at_least and at_most may be given, got both for {name!r}")
    value = statistics.median(values)
    goal = at_most if at_least is None else at_least
    rule: Rule = "at most" if at_least is None else "at least"
    reached = None if goal is None else value >= goal if rule == "at least" else value <= goal
    return Figure(
        name,
        value,
        unit,
        goal,
        None if goal is None else rule,
        reached,
        min(values),
        max(values),
        len(values),
        note,
    )


def write_result(
    name: str,
    figures: Sequence[Figure],
    *,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    versions: Mapping[str, str] | None = None,
    folder: Path = RESULTS,
) -> Path:
    """Prints figures, writes them as `<name>.json` with what they depend on, and returns its path.

    Args:
        name: Of the result.
        figures: What was found.
        seed: The run's.
        settings: The sizes that were chosen, as plain values.
        versions: Of packages that another interpreter imported.
        folder: Where results are kept.
    """
    for one in figures:
        print(line(one))
    result = {
        "name": name,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "commit": commit(),
        "seed": seed,
        "settings": dict(settings or {}),
        "machine": machine(),
        "versions": _versions() | dict(versions or {}),
        "figures": [asdict(one) for one in figures],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written to {path}")
    return path


def read_results(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """Returns all results of a folder, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def line(one: Figure) -> str:
    """Returns a figure as one line of text."""
    spread = f" [{number(one.lowest)}, {number(one.highest)}]" if one.repeats > 1 else ""
    verdict = {None: "", True: ": holds", False: ": FALLS SHORT"}[one.holds]
    goal = "" if one.goal is None else f"  goal {one.rule} {number(one.goal)}{verdict}"
    return f"{one.name:64} {number(one.value):>10} {one.unit}{spread}{goal}"


def number(value: float) -> str:
    """Returns a number with three digits, or all of them before the point.

    Example:
        >>> number(18234.4), number(1.5), number(0.01234)
        ('18,234', '1.5', '0.0123')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def commit() -> str:
    """Returns the commit of the working tree, with `+` if a file that counts has changed."""
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!*.md")
    return f"{head or 'unknown'}{'+' if changed else ''}"


def machine() -> dict[str, Any]:
    """Describes the processor, its memory and the threads in use."""
    cpuinfo = _fields(Path("/proc/cpuinfo"))
    flags = set(cpuinfo.get("flags", cpuinfo.get("Features", "")).split())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": cpuinfo.get("model name", platform.processor() or platform.machine()),
        "cores": os.cpu_count(),
        "flags": [flag for flag in CPU_FLAGS if flag in flags],
        "memory_gib": round(memory / 2**30),
        "threads": _threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _threads() -> int:
    import torch  # only the script that measures needs it, not the table

    return torch.get_num_threads()


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in PACKAGES
    }


def _fields(path: Path) -> dict[str, str]:
    """Returns the `name : value` lines of a file under /proc, the first of each name."""
    if not path.exists():
        return {}
    found: dict[str, str] = {}
    for text in path.read_text(encoding="utf-8").splitlines():
        name, _, value = text.partition(":")
        found.setdefault(name.strip(), value.strip())
    return found


def _git(*arguments: str) -> str:
    """Returns what git prints; nothing where there is no repository."""
    try:
        process = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return process.stdout.strip() if process.returncode == 0 else ""
