"""From judgements to a better model, round by round: `python -m agents.rlhf`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command


@command("rlhf")
def main() -> None:
    """Samples, has judged, learns a reward, fine-tunes, evaluates, and begins again."""
    import tyro

    from agents.command_line.options import read_options
    from agents.loop.options import DIALOGUE_LOOP, Loop

    config = read_options(
        Loop,
        prog="python -m agents.rlhf",
        default=DIALOGUE_LOOP,
        config=(tyro.conf.AvoidSubcommands,),
    )

    from agents.loop.pipeline import run

    run(config)


if __name__ == "__main__":
    main()
