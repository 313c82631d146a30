"""Publish a model and its card: `python -m agents.push runs/NAME OWNER/NAME`.

Reads the command line and nothing more; what uploads is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command
from agents.runs.pushing_options import Pushing


@command("push")
def main() -> None:
    """Uploads what a run has made to the Hugging Face Hub."""
    from agents.command_line.options import read_options

    config = read_options(Pushing, prog="python -m agents.push")

    from agents.runs.pushing import run

    run(config)


if __name__ == "__main__":
    main()
