"""Fetch a pretrained model or data for a run: `python -m agents.fetch smollm2`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.fetching.command import FetchCommand
from agents.fetching.items import ITEMS
from agents.fetching.wheels import FetchError


def main() -> None:
    """Fetches what the command line names; a failure is one line and exit status 1."""
    import tyro

    command = tyro.cli(
        FetchCommand,
        prog="python -m agents.fetch",
        config=(tyro.conf.PositionalRequiredArgs,),
    )

    from agents.fetching.pipeline import fetch

    try:
        fetch(ITEMS[command.item])
    except (FetchError, ModuleNotFoundError) as error:
        raise SystemExit(f"python -m agents.fetch {command.item}: {error}") from error


if __name__ == "__main__":
    main()
