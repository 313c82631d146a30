"""Write completions that people judge: `python -m agents.sample`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command


@command("sample")
def main() -> None:
    """Samples completions into a study or a file."""
    from agents.command_line.options import read_options
    from agents.runs.sampling_options import Sampling

    config = read_options(Sampling, prog="python -m agents.sample")

    from agents.runs.sampling import run

    run(config)


if __name__ == "__main__":
    main()
