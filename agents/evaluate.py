"""Compare models on the same prompts: `python -m agents.evaluate`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command


@command("evaluate")
def main() -> None:
    """Evaluates models, prints a table and writes a report."""
    from agents.command_line.options import read_options
    from agents.runs.evaluating_options import Evaluating

    config = read_options(Evaluating, prog="python -m agents.evaluate")

    from agents.runs.evaluating import run

    run(config)


if __name__ == "__main__":
    main()
