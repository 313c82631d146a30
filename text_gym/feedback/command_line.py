"""The command line of human feedback: `python -m text_gym.feedback serve STUDY`.

Knows how arguments are spelt and how errors end, and nothing of what a command does; the libraries
of the pages are loaded by `serve` alone.
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from text_gym.feedback import commands
from text_gym.feedback.access import LINK_DAYS
from text_gym.feedback.annotators import ROLES
from text_gym.feedback.answers import MODES
from text_gym.feedback.config import Scale, StudyConfig
from text_gym.feedback.formats import EXPORTS
from text_gym.feedback.owner import StudyInUse
from text_gym.feedback.simulated import command

_LIBRARIES = ("starlette", "uvicorn", "jinja2", "python_multipart")


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status.

    What somebody can mend is one line on the standard error output, and status 1.
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        return 130
    except (OSError, ValueError, KeyError, StudyInUse, ModuleNotFoundError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    except sqlite3.OperationalError as error:
        print(
            f"the store in {options.study} cannot be read or written: {error}; what was "
            "acknowledged is kept, mend the cause and start again",
            file=sys.stderr,
        )
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="text-gym-feedback", description="Collect human feedback on texts."
    )
    commands_of = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, what, describe, run_command in _COMMANDS:
        one = commands_of.add_parser(name, help=what, description=what)
        one.add_argument("study", type=Path, metavar="STUDY", help="the study's folder")
        describe(one)
        one.set_defaults(run=run_command)
    return parser


def _describe_create(parser: argparse.ArgumentParser) -> None:
    plain = StudyConfig()
    parser.add_argument("--items", type=Path, required=True, help="a file; see --format")
    parser.add_argument("--format", choices=commands.IMPORTS, default="items")
    parser.add_argument("--mode", choices=MODES, default=plain.mode)
    parser.add_argument("--title", default=plain.title)
    parser.add_argument("--question", default="", help="instead of the mode's own")
    parser.add_argument(
        "--scale", action="append", type=_scale, metavar="NAME[:LOWEST:HIGHEST]",
        help="of the mode rate; may be given several times",
    )  # fmt: skip
    parser.add_argument("--strength", action="store_true", help="ask how much better")
    parser.add_argument("--reason", action="store_true", help="ask why")
    parser.add_argument("--overlap", type=int, default=1, help="judgements of each item")
    parser.add_argument("--max-overlap", type=int, help="where people disagree")
    parser.add_argument("--crowd", action="store_true", help="Mechanical Turk or Prolific")
    parser.add_argument("--contact", default="", help="whom annotators may write to")
    parser.add_argument("--guidelines", type=Path, help="a text file")
    parser.add_argument("--consent", type=Path, help="a text file")


def _describe_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="to listen on")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--public-url", default="", help="under which people reach the server")
    parser.add_argument("--links-only", action="store_true", help="nobody comes in without a link")


def _describe_add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--format", choices=commands.IMPORTS, default="items")


def _describe_link(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pseudonym", metavar="NAME")
    parser.add_argument("--role", choices=ROLES, default="annotator")
    parser.add_argument("--weight", type=float, default=1.0)
    parser.add_argument("--days", type=float, default=LINK_DAYS, help="for which it is good")


def _describe_forget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pseudonym", metavar="NAME")


def _describe_prioritise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scores", type=Path, metavar="FILE", help="lines of id and score (JSON)")


def _describe_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=tuple(EXPORTS), default="trl-preference")
    parser.add_argument("--output", type=Path, help="a file; without it, the standard output")


def _create(options: argparse.Namespace) -> None:
    config = StudyConfig(
        title=options.title,
        mode=options.mode,
        question=options.question,
        scales=tuple(options.scale or (Scale(),)),
        ask_strength=options.strength,
        ask_reason=options.reason,
        overlap=options.overlap,
        max_overlap=options.max_overlap or options.overlap,
        crowd=options.crowd,
        contact=options.contact,
    )
    made = commands.create(
        options.study, config, options.items, options.format, options.guidelines, options.consent
    )
    print(made)


def _serve(options: argparse.Namespace) -> None:
    try:
        from text_gym.feedback.server.serving import Place, serve
    except ModuleNotFoundError as error:
        if error.name not in _LIBRARIES:
            raise
        raise ModuleNotFoundError(
            f"the pages need {error.name}: pip install 'text-gym[feedback]'", name=error.name
        ) from error
    place = Place(options.host, options.port, options.public_url, options.links_only)
    serve(options.study, place, lambda line: print(line, flush=True))


def _export(options: argparse.Namespace) -> None:
    if options.output is None:
        commands.write_export(options.study, options.format, sys.stdout.write)
        return
    beside = options.output.with_name(f"{options.output.name}.partial")
    with beside.open("w", encoding="utf-8", newline="\n") as file:
        commands.write_export(options.study, options.format, file.write)
    beside.replace(options.output)


def _scale(text: str) -> Scale:
    name, *ends = text.split(":")
    try:
        lowest, highest = map(int, ends or (1, 5))
        return Scale(name, lowest, highest)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


_COMMANDS = (
    ("create", "make a study of a file of items", _describe_create, _create),
    ("serve", "serve the pages of a study", _describe_serve, _serve),
    (
        "add",
        "add items, or what was judged elsewhere",
        _describe_add,
        lambda o: print(commands.add(o.study, o.file, o.format)),
    ),
    (
        "link",
        "make a secret link for an annotator",
        _describe_link,
        lambda o: print(commands.link(o.study, o.pseudonym, o.role, o.weight, o.days)),
    ),
    (
        "forget",
        "delete whatever is kept of an annotator",
        _describe_forget,
        lambda o: print(commands.forget(o.study, o.pseudonym)),
    ),
    (
        "prioritise",
        "say which items come first",
        _describe_prioritise,
        lambda o: print(commands.prioritise(o.study, o.scores)),
    ),
    ("export", "write what was collected", _describe_export, _export),
    (
        "simulate",
        "send simulated annotators to a study that is served",
        command.describe,
        lambda o: print(command.simulate(o)),
    ),
)
