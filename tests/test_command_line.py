"""How the commands begin and end: one or two lines, an exit status of their kind, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from agents.command_line.command import command, command_line

COMMANDS = (
    "train",
    "resume",
    "pretrain",
    "fetch",
    "prepare",
    "sample",
    "evaluate",
    "chat",
    "compare",
)
LIBRARIES = ("matplotlib", "rich", "safetensors", "tensorboard", "tyro")


def ended(body: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command that does what `body` says, in a process of its own."""
    code = (
        "import os, signal, sys\n"
        "from agents.command_line.command import command\n"
        "sys.argv = ['train.py', 'toy', '--name', 'a b']\n"
        "@command('train')\n"
        f"def main():\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
        "main()\n"
    )
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([sys.executable, "-c", code], text=True, check=False, **options)


# Signals


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "body",
    [
        "signal.raise_signal({})",
        "exec('signal.raise_signal({})')",  # as dataclasses and named tuples are made
        """
        try:
            signal.raise_signal({})
        except BaseException:
            raise SystemError("initialisation failed")
        """,
    ],
)
def test_a_signal_before_training_says_how_to_start_again(
    body: str, number: int, status: int
) -> None:
    end = ended(body.format(int(number)))
    assert end.stderr == "Stopped; start again with: python -m agents.train toy --name 'a b'\n"
    assert end.returncode == status


def test_signals_that_are_ignored_stay_ignored() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        earlier = signal.signal(number, signal.SIG_IGN)  # which a child inherits
        try:
            end = ended(f"signal.raise_signal({int(number)}); print('done')")
        finally:
            signal.signal(number, earlier)
        assert (end.stdout, end.stderr, end.returncode) == ("done\n", "", 0)


# Outputs


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_stops_nothing(tmp_path: Path, unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    end = ended(
        f"""
        for _ in range(3):
            print("x" * 100_000)
            print("y" * 100_000, file=sys.stderr)
        open({str(tmp_path / "model")!r}, "w").close()
        """,
        stdout=writing,
        stderr=writing,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    assert end.returncode == 0
    assert (tmp_path / "model").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("body", ["print('x')", "print('x', end='')", "sys.stdout.write('x')"])
def test_an_output_that_is_full_is_said_once(body: str) -> None:
    with Path("/dev/full").open("w") as full:
        end = ended(body, stdout=full)
    assert end.stderr == (
        "No space left on device\nWhen that is mended: python -m agents.train toy --name 'a b'\n"
    )
    assert end.returncode == 1


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", r"sch\xf6n \u2192"), ("latin-1", r"schön \u2192"), ("utf-8", "schön →")],
)
def test_what_an_output_cannot_write_is_escaped(encoding: str, shown: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    end = ended("print('schön →')", env=environment, encoding=encoding)
    assert (end.stdout, end.stderr, end.returncode) == (f"{shown}\n", "", 0)


def test_outputs_of_others_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with command("train"):
        assert sys.stdout is before


# Errors


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (
            "open('/nowhere/at/all')",
            [
                "No such file or directory: /nowhere/at/all",
                "When that is mended: python -m agents.train toy --name 'a b'",
            ],
        ),
        ("raise FileNotFoundError('fetch it\\nfirst')", ["fetch it first"]),
        ("import nowhere", ["No module named 'nowhere'"]),
        (
            "from agents.command_line.threads import number_of_threads; number_of_threads(0)",
            ["threads must be a number of at least 1, got 0"],
        ),
    ],
)
def test_what_was_foreseen_is_said_without_a_traceback(body: str, lines: list[str]) -> None:
    end = ended(body)
    assert end.stderr.splitlines() == lines
    assert end.returncode == 1


@pytest.mark.parametrize(
    "body",
    [
        "int('x')",
        "from text_gym.rendering import printable; printable(3)",
        "raise ValueError('of somebody else')",
        "import agents.nowhere",
        "from agents import nowhere",
    ],
)
def test_a_mistake_keeps_its_traceback(body: str) -> None:
    end = ended(body)
    assert end.stderr.startswith("Traceback")
    assert end.returncode == 1


def test_a_thread_says_in_a_line_what_the_machine_refused() -> None:
    end = ended(
        """
        from threading import Thread
        for work in (lambda: open("/nowhere"), lambda: 1 / 0):
            thread = Thread(target=work)
            thread.start()
            thread.join()
        """
    )
    first, second, *_ = end.stderr.splitlines()
    assert first == "No such file or directory: /nowhere"
    assert second.startswith("Exception in thread")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("missing", [*((one,) for one in LIBRARIES), LIBRARIES])
def test_without_the_extra_every_command_names_it(name: str, missing: tuple[str, ...]) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({missing}))\n"
        f"sys.argv = ['agents.{name}']\n"
        f"runpy.run_module('agents.{name}', run_name='__main__')\n"
    )
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    wanted = f"agents.{name} needs {', '.join(missing)}: pip install 'text-gym[train]'\n"
    assert (end.stderr, end.returncode) == (wanted, 1)


def test_an_import_hook_that_refuses_a_library_is_understood() -> None:
    code = (
        "import sys\n"
        "class Refusal:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'tyro': raise ImportError('refused')\n"
        "sys.meta_path.insert(0, Refusal())\n"
        "from agents.fetch import main\n"
        "main()\n"
    )
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert end.stderr == "agents.fetch needs tyro: pip install 'text-gym[train]'\n"


# Several processes


def test_advice_starts_as_many_processes_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_line("agents.resume", "my runs/x") == "python -m agents.resume 'my runs/x'"
    two = "torchrun --nproc_per_node 2 -m agents.resume runs/x"
    assert command_line("agents.resume", "runs/x", n_processes=2) == two
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command_line("agents.resume", "runs/x") == two


@pytest.mark.parametrize(
    ("body", "first", "second"),
    [
        (
            "signal.raise_signal(signal.SIGTERM)",
            "Stopped; start again with: torchrun --nproc_per_node 2 -m agents.train toy --name"
            " 'a b'\n",
            "",
        ),
        ("import nowhere", "No module named 'nowhere'\n", "process 1: No module named 'nowhere'\n"),
    ],
)
def test_of_several_processes_the_first_advises_and_each_tells_its_errors(
    body: str, first: str, second: str
) -> None:
    for rank, said in enumerate((first, second)):
        end = ended(body, env={**os.environ, "WORLD_SIZE": "2", "RANK": str(rank)})
        assert end.stderr == said
