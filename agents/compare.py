"""Tabulate and draw runs beside one another: `python -m agents.compare RUN RUN`.

Reads what the runs have written, a running one's too, and loads no model.
"""

from __future__ import annotations

from agents.command_line.command import command


@command("compare")
def main() -> None:
    """Prints a table of runs and writes a page with their curves."""
    from agents.command_line.options import read_options
    from agents.runs.comparing_options import Comparing

    config = read_options(Comparing, prog="python -m agents.compare")

    from agents.runs.comparing import run

    run(config)


if __name__ == "__main__":
    main()
