"""Talk with a tuned model and the one that it began as: `python -m agents.chat runs/NAME`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command


@command("chat")
def main() -> None:
    """Replies to every line, by each of the models."""
    from agents.command_line.options import read_options
    from agents.runs.chatting_options import Chatting

    config = read_options(Chatting, prog="python -m agents.chat")

    from agents.runs.chatting import run

    run(config)


if __name__ == "__main__":
    main()
