"""Fine-tune a language model by reinforcement learning: `python -m agents.train dialogue`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agents.algorithms.configs.names import ALGORITHMS
from agents.applications.fine_tuning import in_environment
from agents.applications.registry import APPLICATIONS, PRESETS
from agents.command_line.command import command

_BESIDE = (
    "Fine-tune a language model. Beside the options below: --algorithm NAME learns by another "
    f"algorithm ({', '.join(ALGORITHMS)}), --config FILE begins with the options of a file "
    "(YAML, or a run's config.json), --print-config prints all of them and does nothing, --open "
    "shows the run's page in a browser."
)


@command("train")
def main() -> None:
    """Runs the preset named on the command line, with its options."""
    import tyro

    asked, arguments = _asked(sys.argv[1:])
    presets = dict(PRESETS)
    preset = arguments[0] if arguments and arguments[0] in presets else None
    if asked.config is not None:
        from agents.runs import config_file

        said = config_file.read(asked.config)
        if said.preset is not None and preset is None:
            preset = said.preset
            arguments = [preset, *arguments]
    if preset is not None:
        description, config = presets[preset]
        if asked.config is not None:
            config = said.applied_to(preset, asked.algorithm, asked.env_id)
        else:
            if asked.algorithm is not None:
                config = APPLICATIONS[preset].with_algorithm(asked.algorithm)
            if asked.env_id is not None:
                config = in_environment(config, asked.env_id)
        presets[preset] = (description, config)
    config = tyro.extras.overridable_config_cli(
        presets,
        prog="python -m agents.train",
        description=_BESIDE,
        args=arguments,
        config=(tyro.conf.AvoidSubcommands,),
    )
    assert preset is not None  # or the command line has been refused
    if asked.print_config:
        from agents.runs import config_file

        sys.stdout.write(config_file.printed(preset, config))
        return

    from agents.runs.pipeline import run

    run(preset, config, open_page=asked.open)


def _asked(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Returns what is said of a run as a whole, and the rest of the command line."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--algorithm", choices=ALGORITHMS)
    parser.add_argument("--env-id", "--env_id")  # replaces much of the preset, as those above do
    parser.add_argument("--config", type=Path)
    parser.add_argument("--print-config", action="store_true")
    parser.add_argument("--open", action="store_true")
    return parser.parse_known_args(arguments)


if __name__ == "__main__":
    main()
