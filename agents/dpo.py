"""Fine-tune a language model on preferences: `python -m agents.dpo`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command
from agents.runs.offline_presets import DPORun


@command("dpo")
def main() -> None:
    """Trains a model on a file."""
    from agents.command_line.options import read_options

    config = read_options(DPORun, prog="python -m agents.dpo")

    from agents.runs.offline_pipeline import run

    run(config)


if __name__ == "__main__":
    main()
