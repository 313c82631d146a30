"""Tabulate and draw runs beside one another: `python -m agents.compare RUN RUN`.

Reads what the runs have written, a running one's too, and loads no model.
"""

from __future__ import annotations

from agents.command_line.command import command


@command("compare")
def main() -> None:
    """Prints a table of runs and writes a page with their curves."""
    import tyro

    from agents.runs.comparing_options import Comparing

    config = tyro.cli(Comparing, prog="python -m agents.compare")

    from agents.runs.comparing import run

    run(config)


if __name__ == "__main__":
    main()
