"""Show all results in `benchmarks/README.md`: `python benchmarks/table.py`.

Rewrites what stands between the page's two markers, from `benchmarks/results/*.json` alone.
Measures nothing and imports no torch.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import RESULTS, ROOT, number, read_results

PAGE = ROOT / "benchmarks" / "README.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
HEADER = """\
| what | value | lowest to highest (repeats) | goal | holds |
| --- | ---: | ---: | ---: | --- |"""
SIGNS = {"at least": "≥", "at most": "≤"}


def render(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns the Markdown of results: a section each, of what it ran on, figures and notes."""
    if not results:
        return "Nothing has been measured yet.\n"
    return "\n".join(map(_section, results))


def updated(page: str, results: Sequence[Mapping[str, Any]]) -> str:
    """Returns the page with the results between its markers.

    Raises:
        ValueError: If the page lacks a marker.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"page must contain {BEGIN} and then {END}")
    return f"{before}{BEGIN}\n\n{render(results)}\n{END}{after}"


def _section(result: Mapping[str, Any]) -> str:
    rows = "\n".join(map(_row, result["figures"]))
    notes = dict.fromkeys(one["note"] for one in result["figures"] if one["note"])
    listed = "".join(f"- {', '.join(_names(result['figures'], note))}: {note}\n" for note in notes)
    return f"### {result['name']}\n\n{_source(result)}\n\n{HEADER}\n{rows}\n" + (
        f"\n{listed}" if listed else ""
    )


def _source(result: Mapping[str, Any]) -> str:
    machine, versions = result["machine"], result["versions"]
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    seed = "" if result["seed"] is None else f", seed {result['seed']}"
    return (
        f"{result['date']}, commit {result['commit']}{seed}; {machine['cpu']}{flags}, "
        f"{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['threads']} threads; "
        f"{packages}."
    )


def _row(one: Mapping[str, Any]) -> str:
    spread = f"{number(one['lowest'])} to {number(one['highest'])} ({one['repeats']})"
    goal = "" if one["goal"] is None else f"{SIGNS[one['rule']]} {number(one['goal'])}"
    holds = {None: "", True: "yes", False: "**no**"}[one["holds"]]
    return f"| {one['name']} | {number(one['value'])} {one['unit']} | {spread} | {goal} | {holds} |"


def _names(figures: Sequence[Mapping[str, Any]], note: str) -> list[str]:
    return [one["name"] for one in figures if one["note"] == note]


def main() -> None:
    """Rewrites the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of JSON files")
    parser.add_argument("--page", type=Path, default=PAGE, help="Markdown file with the markers")
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    results = read_results(options.results)
    options.page.write_text(updated(page, results), encoding="utf-8")
    print(f"{len(results)} results in {options.page}")


if __name__ == "__main__":
    main()
