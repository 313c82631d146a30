"""The options that every benchmark has."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.figures import RESULTS


def parser(description: str | None, *, repeats: int, quick_repeats: int) -> argparse.ArgumentParser:
    """Returns a parser with the common options.

    Args:
        description: The script's docstring.
        repeats: Rounds that count.
        quick_repeats: The same under `--quick`.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--quick", action="store_true", help="smaller and fewer: for `make bench`")
    made.add_argument(
        "--repeats",
        type=int,
        help=f"rounds that count; default {repeats}, under --quick {quick_repeats}",
    )
    made.add_argument("--threads", type=int, help="of torch; default: torch's own choice")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON file")
    made.set_defaults(full_repeats=repeats, quick_repeats=quick_repeats)
    return made


def parse(made: argparse.ArgumentParser) -> argparse.Namespace:
    """Reads the command line, settles `repeats` and sets torch's threads."""
    options = made.parse_args()
    if options.repeats is None:
        options.repeats = options.quick_repeats if options.quick else options.full_repeats
    if options.threads is not None:
        import torch

        torch.set_num_threads(options.threads)
    return options
