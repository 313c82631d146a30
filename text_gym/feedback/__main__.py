"""Starts the command line: see `command_line`."""

from __future__ import annotations

import sys

from text_gym.feedback.command_line import run


def main() -> None:
    """Runs one command and ends the program."""
    sys.exit(run())


if __name__ == "__main__":
    main()
