"""Fine-tune a language model by reinforcement learning: `python -m agents.train dialogue`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from agents.algorithms.configs.names import ALGORITHMS
from agents.applications.fine_tuning import FineTuning, in_environment
from agents.applications.registry import APPLICATIONS, PRESETS
from agents.command_line.command import command, end

if TYPE_CHECKING:
    from agents.runs.config_file import ConfigFile

_BESIDE = (
    "Beside a preset's own options: --algorithm NAME learns by another "
    f"algorithm ({', '.join(ALGORITHMS)}), --config FILE begins with the options of a file "
    "(YAML, or a run's config.json), --print-config prints all of them and does nothing, --open "
    "shows the run's page in a browser."
)
_PROG = "python -m agents.train"


@command("train")
def main() -> None:
    """Runs the preset named on the command line, with its options."""
    import tyro

    from agents.command_line.options import read_options

    asked, arguments = _asked(sys.argv[1:])
    file = None if asked.config is None else _read(asked.config)
    preset = None if file is None else file.preset
    if arguments and arguments[0] in PRESETS:
        preset, *arguments = arguments
    if preset is None:
        _say_presets(arguments, asked.config)
    config = read_options(
        FineTuning,
        prog=f"{_PROG} {preset}",
        description=f"{PRESETS[preset][0]} {_BESIDE}",
        default=_begun(preset, asked, file),
        args=arguments,
        config=(tyro.conf.AvoidSubcommands,),
    )
    if asked.print_config:
        from agents.runs import config_file

        sys.stdout.write(config_file.printed(preset, config))
        return

    from agents.runs.pipeline import run

    run(preset, config, open_page=asked.open)


def _read(path: Path) -> ConfigFile:
    from agents.runs import config_file

    return config_file.read(path)


def _say_presets(arguments: list[str], file: Path | None) -> NoReturn:
    """Ends a command that names no preset: with the help, if that is asked for."""
    import tyro

    if {"-h", "--help"} & set(arguments):
        tyro.extras.overridable_config_cli(
            PRESETS,
            prog=_PROG,
            description=f"Fine-tune a language model. {_BESIDE}",
            args=["--help"],
        )
    got = repr(arguments[0]) if arguments else "nothing"
    unsaid = "" if file is None else f", or {file} must name it (preset: dialogue)"
    end(
        2,
        f"the first argument must be a preset ({', '.join(PRESETS)}){unsaid}, got {got}",
        f"What each is: {_PROG} --help",
    )


def _begun(preset: str, asked: argparse.Namespace, file: ConfigFile | None) -> FineTuning:
    """Returns what a run does unless its options say otherwise."""
    if file is not None:
        return file.applied_to(preset, asked.algorithm, asked.env_id)
    application = APPLICATIONS[preset]
    algorithm = asked.algorithm
    config = application.preset if algorithm is None else application.with_algorithm(algorithm)
    return config if asked.env_id is None else in_environment(config, asked.env_id)


def _asked(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Returns what is said of a run as a whole, and the rest of the command line."""
    parser = argparse.ArgumentParser(
        _PROG, f"{_PROG} PRESET [OPTIONS]", add_help=False, allow_abbrev=False
    )
    parser.add_argument("--algorithm", choices=ALGORITHMS)
    parser.add_argument("--env-id", "--env_id")  # replaces much of the preset, as those above do
    parser.add_argument("--config", type=Path)
    parser.add_argument("--print-config", action="store_true")
    parser.add_argument("--open", action="store_true")
    return parser.parse_known_args(arguments)


if __name__ == "__main__":
    main()
