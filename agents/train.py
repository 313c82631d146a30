"""Fine-tune a language model with PPO: `python -m agents.train dialogue`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

import sys

from agents.command_line.command import command
from agents.runs.presets import PRESETS


@command("train")
def main() -> None:
    """Runs the preset named on the command line, with its options."""
    import tyro

    config = tyro.extras.overridable_config_cli(PRESETS, prog="python -m agents.train")
    preset = next(argument for argument in sys.argv[1:] if argument in PRESETS)

    if config.agent == "ppo":
        from agents.runs.pipeline import run
    else:
        from agents.runs.sb3_run import run

    run(preset, config)


if __name__ == "__main__":
    main()
