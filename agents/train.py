"""Fine-tune a language model by reinforcement learning: `python -m agents.train dialogue`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

import argparse
import sys

from agents.algorithms.configs.names import ALGORITHMS
from agents.applications.registry import APPLICATIONS, PRESETS
from agents.command_line.command import command


@command("train")
def main() -> None:
    """Runs the preset named on the command line, with its options."""
    import tyro

    algorithm, arguments = _algorithm(sys.argv[1:])
    presets = dict(PRESETS)
    for name in presets.keys() & set(arguments):
        description, config = presets[name]
        if algorithm is not None:
            config = APPLICATIONS[name].with_algorithm(algorithm)
        presets[name] = (description, config)
    config = tyro.extras.overridable_config_cli(
        presets, prog="python -m agents.train", args=arguments, config=(tyro.conf.AvoidSubcommands,)
    )
    preset = next(argument for argument in arguments if argument in PRESETS)

    from agents.runs.pipeline import run

    run(preset, config)


def _algorithm(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Returns the algorithm that `--algorithm` names, None for the preset's own, and the rest."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--algorithm", choices=ALGORITHMS)
    known, others = parser.parse_known_args(arguments)
    return known.algorithm, others


if __name__ == "__main__":
    main()
