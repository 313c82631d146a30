"""Pretrain a small language model: `python -m agents.pretrain --output FOLDER`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

import argparse
import sys

from agents.command_line.command import command
from agents.supervised.config import COMMANDS, PretrainCommand

PROG = "python -m agents.pretrain"


@command("pretrain")
def main() -> None:
    """Trains a tokenizer and a small GPT-2 on a corpus and writes them to a folder."""
    from agents.command_line.options import read_options

    # The other options have defaults only once the corpus is known.
    parser = argparse.ArgumentParser(PROG, add_help=False, allow_abbrev=False)
    parser.add_argument("--corpus", choices=COMMANDS, default="small-talk")
    default = COMMANDS[parser.parse_known_args(sys.argv[1:])[0].corpus]
    options = read_options(PretrainCommand, prog=PROG, default=default)

    from agents.runs.pretraining import run

    run(options)


if __name__ == "__main__":
    main()
