"""Pretrain the small-talk language model: `python -m agents.pretrain --output FOLDER`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command
from agents.supervised.config import PretrainCommand


@command("pretrain")
def main() -> None:
    """Trains a tokenizer and a small GPT-2 on human small talk and writes them to a folder."""
    import tyro

    options = tyro.cli(PretrainCommand, prog="python -m agents.pretrain")

    from agents.supervised.pipeline import run

    run(options)


if __name__ == "__main__":
    main()
