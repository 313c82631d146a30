"""Make what a preset starts from: `python -m agents.prepare conversation`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command
from agents.preparing.command import PrepareCommand


@command("prepare")
def main() -> None:
    """Makes what the command line names."""
    import tyro

    from agents.command_line.options import read_options

    options = read_options(
        PrepareCommand,
        prog="python -m agents.prepare",
        config=(tyro.conf.PositionalRequiredArgs,),
    )

    from agents.preparing import conversation

    conversation.prepare(options)


if __name__ == "__main__":
    main()
