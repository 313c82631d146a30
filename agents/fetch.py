"""Fetch a pretrained model or data for a run: `python -m agents.fetch smollm2`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command
from agents.fetching.command import FetchCommand
from agents.fetching.items import ITEMS


@command("fetch")
def main() -> None:
    """Fetches what the command line names."""
    import tyro

    from agents.command_line.options import read_options

    options = read_options(
        FetchCommand,
        prog="python -m agents.fetch",
        config=(tyro.conf.PositionalRequiredArgs,),
    )

    from agents.fetching.pipeline import fetch

    fetch(ITEMS[options.item])


if __name__ == "__main__":
    main()
