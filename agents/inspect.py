"""Show what a run changed: `python -m agents.inspect runs/NAME`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command


@command("inspect")
def main() -> None:
    """Inspects a finished run, and writes a page about it."""
    from agents.command_line.options import read_options
    from agents.runs.inspecting_options import Inspecting

    config = read_options(Inspecting, prog="python -m agents.inspect")

    from agents.runs.inspecting import run

    run(config)


if __name__ == "__main__":
    main()
