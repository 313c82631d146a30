"""Fine-tune a language model by reinforcement learning: `python -m agents.train dialogue`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

import argparse
import sys

from agents.algorithms.configs.names import ALGORITHMS
from agents.applications.fine_tuning import with_algorithm
from agents.applications.registry import PRESETS
from agents.command_line.command import command


@command("train")
def main() -> None:
    """Runs the preset named on the command line, with its options."""
    import tyro

    algorithm, arguments = _algorithm(sys.argv[1:])
    presets = dict(PRESETS)
    for name in presets.keys() & set(arguments):
        description, config = presets[name]
        presets[name] = (description, with_algorithm(config, algorithm))
    config = tyro.extras.overridable_config_cli(
        presets, prog="python -m agents.train", args=arguments, config=(tyro.conf.AvoidSubcommands,)
    )
    preset = next(argument for argument in arguments if argument in PRESETS)

    from agents.runs.pipeline import run

    run(preset, config)


def _algorithm(arguments: list[str]) -> tuple[str, list[str]]:
    """Returns the algorithm that `--algorithm` names, whose options follow, and the others."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--algorithm", choices=ALGORITHMS, default="ppo")
    known, others = parser.parse_known_args(arguments)
    return known.algorithm, others


if __name__ == "__main__":
    main()
