"""Every command line that the documentation prints does what is said, made small by its options.

A command that is printed and stands in no table below fails the first test; so does one that stands
there and is printed no more.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, product
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.fetching.items import ITEMS, SHAKESPEARE, TRANSLATION
from agents.fetching.shakespeare import SPEECHES_FILE
from agents.supervised import small_talk as small_talk_material
from agents.supervised import verse as verse_material
from tests.test_site import written_pages
from text_gym.applications.translation import pairs as clauses
from text_gym.applications.verse import Form, keeps, subjects
from text_gym.feedback import StudyConfig, create_study
from text_gym.small_talk import chitchat_pairs

ROOT = Path(__file__).parents[1]
COMMAND = re.compile(
    r"(\w+=\S+ )?(\S*python[\d.]* \S|torchrun \S|accelerate launch \S|make [a-z-]+$)"
)
FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", flags=re.DOTALL | re.MULTILINE)

# The numbers of the presets that say how a batch is made up stay as they are: they must fit.
SMALL = "--total-episodes 256 --eval-episodes 8 --max-new-tokens 3 --device cpu --threads 1"
TOY = "--total-episodes 64 --eval-episodes 8 --threads 1"
NAMED = f"{SMALL} --algorithm.n-epochs 1 --name NAME"
PRETRAINED = (
    "--shape.n-embd 8 --shape.n-layer 1 --shape.n-head 1 --shape.vocabulary-size 300 "
    "--training.epochs 1 --threads 1"
)

EVALUATED = "--eval-episodes 4 --threads 1"
LOOP = (
    "--judgements 8 --total-episodes 256 --eval-episodes 8 --max-new-tokens 3 --device cpu "
    "--threads 1"
)

OWN_REWARDS = """
def politeness(prompt, completion):
    return float("thanks" in completion)

class Brevity:
    def __call__(self, episodes):
        return [1 / (1 + len(episode.completion_ids)) for episode in episodes]
"""

OWN_TASKS = """
import gymnasium
import text_gym

gymnasium.register(
    id="MyTasks/Sums-v0",
    entry_point="text_gym.env:TextGenEnv",
    vector_entry_point="text_gym.vector_env:TextGenVectorEnv",
    kwargs={
        "prompts": [{"prompt": f"2+{b}=", "reference": str(2 + b)} for b in range(10)],
        "tokenizer": text_gym.CharTokenizer("0123456789+="),
        "max_new_tokens": 3,
    },
)
"""

FEW = "--n-prompts 4 --max-new-tokens 3 --threads 1"

# Commands, in the order in which a person would give them, with the options that make them small.
IN_THIS_PROCESS: dict[str, dict[str, str]] = {
    "train": {
        "python -m agents.train --help": "",
        "python -m agents.train dialogue --help": "",
        "python -m agents.train dialogue --algorithm rloo --help": "",
        "python -m agents.train dialogue": NAMED,
        "python -m agents.resume runs/NAME": "",
        "python -m agents.resume runs/NAME --export FOLDER": "",
        "python -m agents.chat runs/NAME": "--device cpu --threads 1",
        "python -m agents.compare RUN RUN": "--help",
        # What it uploads is tried in tests/test_pushing.py.
        "python -m agents.push RUN OWNER/NAME": "--help",
        "python -m agents.push runs/NAME OWNER/NAME": "--help",
        "python -m agents.inspect runs/NAME": "--texts 16 --shown 2 --device cpu --threads 1",
        "python -m agents.train dialogue --ban-unwanted": SMALL,
        "python -m agents.train dialogue --writer transformers": SMALL,
        # Its model and how it is made are tried in tests/test_facts.py.
        "python -m agents.train facts": "--help",
        "python -m agents.evaluate": "--help",
        "python -m agents.evaluate small-talk runs/NAME": EVALUATED,
        "python -m agents.evaluate small-talk runs/NAME --best-of 4 --optimum-texts 32 "
        "--study people": EVALUATED,
        "python -m agents.train dialogue --select-by variety --stop-when parted": SMALL,
        "python -m agents.train dialogue --print-config": "",
        "python -m agents.train --config run.yaml": SMALL,
        "python -m agents.train dialogue --reward my_rewards.py:politeness": SMALL,
        "python -m agents.train dialogue --prompts questions.csv --eval-prompts others.csv": SMALL,
        "python -m agents.train toy "
        """--env-id TextGen/CountingUp-v0 --env-args '{"length": 3}'""": TOY,
        "python -m agents.train toy --env-id my_tasks.py:MyTasks/Sums-v0": TOY,
        "python -m agents.resume runs/NAME --trust-code": "",
        "python -m agents.train toy "
        """--wrappers '{"NoisyFeedback": {"std": 0.5}, "ClipFeedback": {"low": -1}}'""": SMALL,
        "python -m agents.train dialogue "
        """--reward '{"sentiment": 1, "my_rewards.py:Brevity": 0.5}'""": SMALL,
    },
    "files": {
        "python -m agents.sft": "--help",
        "python -m agents.dpo": "--help",
        "python -m agents.sft --model small-talk --data pairs.jsonl": "--threads 1 --name NAME",
        "python -m agents.sft --model small-talk --data pairs.jsonl "
        "--algorithm.learning-rate 3e-4": "--threads 1",
        "python -m agents.dpo --model runs/NAME/policy --data preferences.jsonl "
        "--policy.lora-rank 8": "--threads 1",
        "python -m agents.sample runs/NAME --prompts chitchat --n-prompts 100 "
        "--output items.jsonl": FEW,
        "python -m text_gym.feedback create ratings --items items.jsonl --mode rate "
        "--scale helpful --scale kind:0:10": "",
    },
    "rewards": {
        "python -m agents.reward_model train": "--help",
        "python -m agents.reward_model train --data preferences.jsonl --name NAME": "--threads 1",
        "python -m agents.reward_model check runs/NAME --gold sentiment --output report": (
            "--threads 1"
        ),
    },
    "loop": {
        "python -m agents.rlhf": "--help",
        "python -m agents.rlhf --help": "",
        "python -m agents.rlhf --name loop": f"--annotators simulated {LOOP}",
        "python -m agents.resume runs/loop": "",
        "python -m agents.rlhf --annotators simulated --judgements 1000 --accuracy 0.75": LOOP,
    },
    # Its own model takes a minute to make.
    "calculator": {
        "python -m agents.train calculator": f"{TOY} --model small-talk --reward word_count",
    },
    "Stable-Baselines3": {
        "python -m agents.train toy --name ours": TOY,
        "python -m agents.train toy --name mlp --algorithm sb3-ppo --num-envs 16": TOY,
        "python -m agents.train toy --name transformer --algorithm sb3-ppo --num-envs 16 "
        "--algorithm.network transformer": TOY,
    },
    "fetch": {
        "python -m agents.fetch smollm2": "",
        "python -m agents.fetch film-reviews": "",
        "python -m agents.fetch shakespeare": "",
        "python -m agents.fetch translation": "",
    },
    "verse": {
        "python -m agents.pretrain --corpus verse": PRETRAINED,
        "python -m agents.train verse": SMALL,
        "python -m agents.train verse --constraint haiku --reward variety": (
            "--total-episodes 256 --eval-episodes 8 --device cpu --threads 1"
        ),
        "python -m agents.train verse --reward couplet --prompt-template 'couplet {prompt} :' "
        "--max-new-tokens 22": "--total-episodes 256 --eval-episodes 8 --device cpu --threads 1",
    },
    "translation": {
        "python -m agents.pretrain --corpus translation": PRETRAINED,
        "python -m agents.train translation": SMALL,
    },
    "prepare": {
        "python -m agents.prepare conversation": "--help",
        "python -m agents.train conversation": "--help",
        'python -m agents.train conversation --reward \'{"sentiment": 1, "rating": 1}\'': "--help",
    },
    "pretrain": {
        "python -m agents.pretrain --output FOLDER": PRETRAINED,
    },
    "benchmarks": {
        "python benchmarks/env_throughput.py": "--steps 64 --rounds 1 --output .",
        "python benchmarks/exact_solver.py": "--characters 2 --steps 2 --output .",
        "python benchmarks/table.py": "--page page.md",
        # These measure for minutes; tests/test_benchmarks.py has their parts.
        "python benchmarks/turns.py": "--help",
        "python benchmarks/conversation.py": "--help",
        "python benchmarks/conversation.py --sb3": "--help",
        "python benchmarks/ablations.py": "--help",
        "python benchmarks/alternatives.py": "--help",
        "python benchmarks/gpu.py": "--help",
        "python benchmarks/growth.py": "--help",
        "python benchmarks/architectures.py": "--help",
        "python benchmarks/asking.py": "--help",
        "python benchmarks/busy_machine.py": "--help",
        "python benchmarks/calculator.py": "--help",
        "python benchmarks/calculator.py --sb3": "--help",
        "python benchmarks/cost_per_token.py": "--help",
        "python benchmarks/evaluation_table.py": "--help",
        "python benchmarks/efficiency.py": "--help",
        "python benchmarks/settings_grid.py": "--help",
        "python benchmarks/facts.py": "--help",
        "python benchmarks/family.py": "--help",
        "python benchmarks/feedback_load.py": "--help",
        "python benchmarks/human_ratings.py": "--help",
        "python benchmarks/memory.py": "--help",
        "python benchmarks/offline_family.py": "--help",
        "python benchmarks/over_optimisation.py": "--help",
        "python benchmarks/regret.py": "--help",
        "python benchmarks/dialogue_regret.py": "--help",
        "python benchmarks/reward_model.py": "--help",
        "python benchmarks/rollout.py": "--help",
        "python benchmarks/sb3_baseline.py": "--help",
        "python benchmarks/update.py": "--help",
        "python benchmarks/translation.py": "--help",
        "python benchmarks/verse.py": "--help",
        "python benchmarks/whole_ppo_sb3.py": "--help",
        "python benchmarks/whole_ppo_trl.py --trl-python PATH": "--help",
    },
}
IN_PROCESSES: dict[str, dict[str, str]] = {
    "torchrun": {
        "torchrun --nproc_per_node 2 -m agents.train dialogue": NAMED,
        "torchrun --nproc_per_node 2 -m agents.train dialogue --policy.sharded": SMALL,
        "torchrun --nproc_per_node 2 -m agents.resume runs/NAME": "",
    },
    "make": {"make train": "READY= BIN={folder}/bin"},
    "pytest": {".venv/bin/python -m pytest tests/test_kl.py -k hand": ""},
}
# Before a study is served, while it is, and afterwards.
SAMPLED = {
    "python -m agents.sample": "--help",
    ".venv/bin/python -m agents.sample small-talk --prompts small-talk --study study": FEW,
    "python -m agents.sample small-talk --prompts chitchat --n-prompts 100 --per-prompt 4 "
    "--study study": FEW,
    "python -m text_gym.feedback add study known.jsonl": "",
    "python -m text_gym.feedback prioritise study scores.jsonl": "",
}
SERVED = {
    ".venv/bin/python -m text_gym.feedback serve study",
    "python -m text_gym.feedback serve study",
    "python -m text_gym.feedback serve study --public-url https://feedback.example.org",
}
BESIDE = {
    "python -m text_gym.feedback link study Ann": "",
    "python -m text_gym.feedback link study Kim --role expert --weight 2": "",
    "python -m text_gym.feedback simulate study --annotators 5": (
        "--most 8 --seconds 0.7 --seconds-per-word 0"
    ),
}
JUDGED = {
    "python -m text_gym.feedback export study --output judged.jsonl": "",
    "python -m agents.dpo --model small-talk --data judged.jsonl": "--threads 1",
    "python -m text_gym.feedback forget study Ann": "",
}
STUDY = [*SAMPLED, *SERVED, *BESIDE, *JUDGED]
ACCELERATE = "accelerate launch --num_processes 2 -m agents.train dialogue"
DRY = {
    "make setup",
    "make check",
    "make test",
    "make test-lowest",
    "make format",
    "make docs",
    "make bench",
    "make bench-trl",
    "make bench-efficiency",
    "PYTHON=python3.13 make setup",
}
"""They install, run all tests, or measure for minutes: `make --dry-run`."""
ELSEWHERE = {
    # The hub cannot be reached from here.
    "python -m agents.train dialogue "
    """--prompts '{"hub:owner/name": {"split": "train", "prompt": "question", "reference": """
    """"answer"}}'""",
    # These install an old TRL, or write down what tests compare with.
    ".venv-trl/bin/python benchmarks/trl_ppo.py --help",
    ".venv-trl/bin/python benchmarks/trl_toys.py --help",
    ".venv/bin/python tests/golden/record_sb3_trpo.py",
    "/tmp/trl-1.12/bin/python tests/golden/record_trl.py ppo",
    "/tmp/trl-1.16/bin/python tests/golden/record_trl.py groups",
    "python -m venv /tmp/trl-1.12 && /tmp/trl-1.12/bin/pip install -r "
    "benchmarks/trl-requirements.txt",
    "python -m venv /tmp/trl-1.16 && /tmp/trl-1.16/bin/pip install torch==2.13.0 "
    "transformers==5.23.0 trl==1.16.0",
}


def printed() -> set[str]:
    """Returns the commands of all pages, and of the docstrings of what can be run."""
    pages = [*ROOT.glob("*.md"), *written_pages(), *ROOT.glob("benchmarks/*.md")]
    pages += ROOT.glob("agents/models/*/README.md")
    texts = [page.read_text("utf-8") for page in pages if page.name != "CHANGELOG.md"]
    modules = [*ROOT.glob("agents/*.py"), *ROOT.glob("benchmarks/*.py")]
    texts += [ast.get_docstring(ast.parse(one.read_text("utf-8"))) or "" for one in modules]
    return set(chain.from_iterable(map(commands, texts)))


def commands(text: str) -> Iterator[str]:
    """Yields the commands of a page: lines of blocks, and what stands between backticks."""
    blocks = (block.replace("\\\n", " ") for block in FENCE.findall(text))
    lines = [line for block in blocks for line in block.splitlines()]
    spans = re.findall(r"`([^`]+)`", FENCE.sub("", text))
    for candidate in (line.partition(" # ")[0] for line in chain(lines, spans)):
        command = " ".join(candidate.split())
        if COMMAND.match(command) and "<" not in command:
            yield command


def test_every_command_that_is_printed_is_run() -> None:
    run = chain(*IN_THIS_PROCESS.values(), *IN_PROCESSES.values(), [ACCELERATE], STUDY, DRY)
    assert printed() == {*run, *ELSEWHERE}


def test_commands_are_found_in_blocks_and_in_sentences() -> None:
    page = (
        "Say `make\ntest`, `make_vec`, `python -m <x>`.\n```console\ntorchrun \\\n  a  # b\n```\n"
    )
    assert list(commands(page)) == ["torchrun a", "make test"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to run commands in, where there is what they find on a machine in use."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path / "cache"))
    for item in ITEMS.values():
        item.folder.mkdir(parents=True)
    write_plays(SHAKESPEARE.folder / SPEECHES_FILE)
    write_clauses(TRANSLATION.folder / clauses.PAIRS_FILE, monkeypatch)
    shutil.copy(ROOT / "benchmarks" / "README.md", tmp_path / "page.md")
    prompts = [{"prompt": f"What comes after {i}?"} for i in range(20)]
    write_lines(tmp_path / "pairs.jsonl", [{**one, "completion": "More."} for one in prompts])
    preferred = {"chosen": "More.", "rejected": "Less."}
    write_lines(tmp_path / "preferences.jsonl", [{**one, **preferred} for one in prompts])
    (tmp_path / "run.yaml").write_text("preset: dialogue\n", encoding="utf-8")
    (tmp_path / "my_rewards.py").write_text(OWN_REWARDS, encoding="utf-8")
    for name in ("questions.csv", "others.csv"):
        (tmp_path / name).write_text("prompt,reference\nHow are you?,fine\n", encoding="utf-8")
    (tmp_path / "my_tasks.py").write_text(OWN_TASKS, encoding="utf-8")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@" {SMALL} --output {tmp_path}\n')
    python.chmod(0o755)
    return tmp_path


def write_plays(path: Path) -> None:
    """Writes speeches that are haiku about subjects of both splits."""
    # The longest word is what a haiku is about.
    nouns = [
        one
        for one in (*subjects("train"), *subjects("heldout"))
        if len(one) > 4 and keeps(one, Form("line", (1,)))
    ]
    poem = "The old, cold, dim pond,\na frog hops into the mud,\nno song but a {noun}."
    path.write_text("\n\n".join(poem.format(noun=noun) for noun in nouns), encoding="utf-8")


def write_clauses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes clauses of each split, and has them taken for those that are fetched."""
    names = map("".join, product("aeio", "lmnr", "aeio"))  # in letters that the task has
    write_lines(
        path,
        [
            {"book": book, "es": f"y dijo el {who}:", "en": f"and the {who} said:"}
            for who, book in zip(names, ["Gen", "Mark", "John"] * 20, strict=False)
        ],
    )
    monkeypatch.setattr(clauses, "PAIRS_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    clauses._splits.cache_clear()


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def leave_unfinished(folder: Path) -> None:
    """Makes a run one that was stopped at its end."""
    for summary in folder.glob("runs/*/summary.json"):
        summary.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_THIS_PROCESS)
def test_it_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = {split: chitchat_pairs(split)[:64] for split in ("train", "validation", "heldout")}
    monkeypatch.setattr(small_talk_material, "chitchat_pairs", pairs.__getitem__)
    monkeypatch.setattr(verse_material, "_WRITTEN", {"train": 64, "heldout": 4})
    for command, small in IN_THIS_PROCESS[name].items():
        leave_unfinished(folder)
        run_here(command, small, monkeypatch)


def run_here(command: str, small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs `python -m MODULE ...` or `python FILE ...` in this process."""
    _, *arguments = shlex.split(f"{command} {small}")
    is_module = arguments[0] == "-m"
    what, *options = arguments[1:] if is_module else arguments
    monkeypatch.setattr(sys, "argv", [what, *options])
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi there!\n"))
    for loaded in (what, f"{what}.__main__"):  # by another test, in the same process
        monkeypatch.delitem(sys.modules, loaded, raising=False)
    try:
        if is_module:
            runpy.run_module(what, run_name="__main__")
        else:
            runpy.run_path(str(ROOT / what), run_name="__main__")
    except SystemExit as end:
        if end.code:
            pytest.fail(f"{command} ends with {end.code}")


@pytest.mark.slow
@pytest.mark.parametrize("name", IN_PROCESSES)
def test_it_runs_in_processes_of_its_own(name: str, folder: Path) -> None:
    for command, small in IN_PROCESSES[name].items():
        leave_unfinished(folder)
        done = started(f"{command} {small.format(folder=folder)}", folder)
        assert done.returncode == 0, done.stdout + done.stderr
    if name == "torchrun":
        assert "Going on after 256 episodes" in done.stdout
        assert done.stdout.count("Written to") == 1


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="on GPUs it trains")
def test_accelerate_does_not_train_one_process_instead_of_two(folder: Path) -> None:
    done = started(f"{ACCELERATE} {NAMED}", folder)
    assert done.returncode == 1
    assert "`accelerate launch --num_processes` must be 1 where no GPU is used" in done.stderr
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("command", sorted(SERVED))
def test_a_study_is_served(command: str, folder: Path) -> None:
    create_study(folder / "study", StudyConfig(), [])
    with served(command, folder) as address, urllib.request.urlopen(address) as page:
        assert page.status == 200


@pytest.mark.slow
def test_a_study_goes_from_sampling_to_learning(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"prompt": "2 + 2 =", "completions": [" 4", " 5"], "id": "known"}
    write_lines(
        folder / "known.jsonl", [{**known, "purpose": "gold", "expected": {"preferred": 0}}]
    )
    write_lines(folder / "scores.jsonl", [{"id": "known", "score": 1.0}])
    for command, small in SAMPLED.items():
        run_here(command, small, monkeypatch)
    with served(min(SERVED), folder):
        for command, small in BESIDE.items():
            run_here(command, small, monkeypatch)
    for command, small in JUDGED.items():
        run_here(command, small, monkeypatch)


@contextmanager
def served(command: str, folder: Path) -> Iterator[str]:
    """Serves the study of a folder in a process of its own; yields its address."""
    address = f"http://127.0.0.1:{(port := _free_port())}/"
    command = [sys.executable, *shlex.split(command)[1:], "--port", str(port)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("Judge:")
        yield address
        server.send_signal(signal.SIGINT)
    assert server.returncode == 130


@pytest.mark.parametrize("command", sorted(DRY))
def test_make_knows_the_target(command: str, folder: Path) -> None:
    done = started(f"{command} --dry-run", folder)
    assert done.returncode == 0, done.stderr


def started(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as a shell would; what needs the repository, in it, the rest in `folder`."""
    here = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    here |= {
        "GLOO_SOCKET_IFNAME": "lo",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PET_MASTER_ADDR": "127.0.0.1",  # torchrun's options; accelerate has a fixed port
        "PET_MASTER_PORT": str(_free_port()),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        command.replace(".venv/bin/", ""),
        shell=True,
        cwd=folder if "agents." in command else ROOT,
        env=here,
        capture_output=True,
        text=True,
        check=False,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
