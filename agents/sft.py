"""Fine-tune a language model on pairs of prompt and completion: `python -m agents.sft`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command
from agents.runs.offline_presets import SFTRun


@command("sft")
def main() -> None:
    """Trains a model on a file."""
    from agents.command_line.options import read_options

    config = read_options(SFTRun, prog="python -m agents.sft")

    from agents.runs.offline_pipeline import run

    run(config)


if __name__ == "__main__":
    main()
