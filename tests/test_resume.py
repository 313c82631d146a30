"""Runs that are stopped: killed anywhere and resumed, they write what they would have written."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import distributed
from torch.testing import assert_close

from agents import resume as command
from agents.algorithms.health_checks import TrainingStopped
from agents.algorithms.ppo import PPO
from agents.applications.fine_tuning import FineTuning
from agents.applications.registry import PRESETS
from agents.checkpoints.folder import MANIFEST, CheckpointError, write_folder
from agents.checkpoints.series import latest
from agents.command_line.signals import exit_status
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.runs import going_on, learners, pipeline
from agents.runs.exporting import export
from agents.runs.interruption import Interruption
from agents.runs.owner import LOCK, FolderInUse, owned
from agents.runs.run_folder import RunFolder
from agents.runs.saved_config import anchored, described, read_config

PROMPTS = ["How are you ?", "you ?", "are you fine ?", "thanks", "fine thanks", "and you ?"]
N_UPDATES = 30
N_KILLS = 20


def small(output: Path, name: str, **changes: Any) -> FineTuning:
    """The toy, with prompts of which none comes twice in an epoch, and an adaptive KL price."""
    config = PRESETS["toy"][1]
    ppo = dataclasses.replace(
        config.algorithm, n_episodes=8, batch_size=4, n_epochs=1, kl_coef=0.1, kl_target=1.0
    )
    prompts = output / "prompts.txt"
    prompts.write_text("\n".join(PROMPTS))
    options = {
        "prompts": str(prompts),
        "total_episodes": 8 * N_UPDATES,
        "max_new_tokens": 8,
        "num_envs": 8,
        "eval_episodes": 8,
        "threads": 1,
        "checkpoint_every": 1,
        "algorithm": ppo,
        "output": output,
        "name": name,
    }
    return dataclasses.replace(config, **{**options, **changes})


def outcome(folder: Path) -> dict[str, Any]:
    """All that a run leaves but the times and what TensorBoard shows of the metrics."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    metrics = [
        {key: value for key, value in json.loads(line).items() if not key.startswith("time/")}
        for line in lines
    ]
    summary = json.loads((folder / "summary.json").read_text())
    for name in ("seconds", "tokens_per_second"):
        del summary[name]
    checkpoint = latest(folder / "checkpoints")
    assert checkpoint is not None
    files = sorted(checkpoint.rglob("*.safetensors"))
    # Tensors and not bytes: which of two remarks about them stands first is left to chance.
    tensors = {
        (str(path.relative_to(checkpoint)), name): tensor.numpy().tobytes()
        for path in files
        for name, tensor in load_file(path).items()
    }
    return {
        "metrics": metrics,
        "samples": (folder / "samples.jsonl").read_bytes(),
        "model": (folder / "policy" / "model.safetensors").read_bytes(),
        "summary": summary,
        "replies": (folder / "replies.json").read_bytes(),
        "start": _start(folder),
        "streams and environments": (checkpoint / "processes.json").read_bytes(),
        "checkpoint": (checkpoint.name, tensors),
    }


def _start(folder: Path) -> dict[str, Any]:
    """What a run says that it started from; the folders of tests differ."""
    start: dict[str, Any] = json.loads((folder / "start.json").read_text())
    del start["options"]["prompts"]
    return start


def assert_same_outcome(one: Path, other: Path) -> None:
    mine, theirs = outcome(one), outcome(other)
    for name, value in mine.items():
        assert value == theirs[name], name


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    return pipeline.run("toy", small(tmp_path_factory.mktemp("runs"), "undisturbed"))


# Killed


@pytest.fixture(scope="module")
def start_process() -> Callable[..., BaseProcess]:
    """Starts a process that has imported everything already; alone it would take seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["agents.runs.pipeline"])

    def start(target: Callable[..., Any], *args: Any) -> BaseProcess:
        process: BaseProcess = context.Process(target=target, args=args)  # type: ignore[attr-defined]
        process.start()
        return process

    return start


def wait_for_training(process: BaseProcess, folder: Path) -> None:
    """Waits until training begins in this process too, or the process is over."""
    sessions = len(list(folder.glob("events.*")))
    while process.is_alive() and len(list(folder.glob("events.*"))) == sessions:
        time.sleep(0.002)


class Killer:
    """Kills processes at random moments, so many times in all.

    Args:
        update: Seconds that an update takes.
    """

    def __init__(self, update: float, n_kills: int) -> None:
        self.update = update
        self.left = n_kills
        self.moments = random.Random(0)

    def kills(self, process: BaseProcess, folder: Path) -> bool:
        """Tells whether it came before the end; afterwards the process is over in any case."""
        while process.is_alive() and not (folder / "config.json").exists():
            time.sleep(0.002)
        if self.left:
            if self.moments.random() < 0.8:  # else while it loads, evaluates or restores
                wait_for_training(process, folder)
            time.sleep(self.moments.uniform(0, 4 * self.update))
            process.kill()
            self.left -= 1
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        return process.exitcode != 0


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_it_equals_a_run_that_never_was(
    finished: Path, start_process: Callable[..., BaseProcess], tmp_path: Path
) -> None:
    update = json.loads((finished / "summary.json").read_text())["seconds"] / N_UPDATES
    killer, n_runs, reached = Killer(update, N_KILLS), 0, set()
    while killer.left:
        n_runs += 1
        folder = tmp_path / f"run{n_runs}"
        process = start_process(pipeline.run, "toy", small(tmp_path, folder.name))
        newest = ""
        while killer.kills(process, folder):
            checkpoint = latest(folder / "checkpoints")
            name = "" if checkpoint is None else checkpoint.name
            assert name >= newest, "it went on from before the last checkpoint"
            newest = name
            reached.add((n_runs, newest))
            process = start_process(pipeline.resume, folder)
        assert_same_outcome(folder, finished)
    assert len(reached) >= 3, "the kills must find it at different points"


class Counter:
    """Counts over processes, by the size of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self) -> None:
        with self.path.open("ab") as file:
            file.write(b".")

    def taken(self) -> int:
        """Returns how many were counted since it was asked last."""
        count = self.path.stat().st_size if self.path.exists() else 0
        self.path.write_bytes(b"")
        return count


@pytest.fixture
def updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Counts the updates that this process and its children make."""
    counter, update = Counter(tmp_path / "updates"), PPO.update

    def counting(self: PPO, *args: Any) -> Any:
        counter.add()
        return update(self, *args)

    monkeypatch.setattr(PPO, "update", counting)
    return counter


def is_killed(work: Callable[[], Any], number: int, *, after: bool) -> bool:
    """Tells whether a process that does `work` reaches its n-th rename or removal of a folder.

    It is killed just before, or just after it.
    """
    calls = itertools.count()

    def killing(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            reached = next(calls) == number
            if reached and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args, **kwargs)
            if reached:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    def child() -> None:
        for module, name in ((os, "rename"), (os, "replace"), (shutil, "rmtree")):
            setattr(module, name, killing(getattr(module, name)))
        work()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(timeout=60)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def assert_nothing_is_left_over(folder: Path) -> None:
    names = {path.name for path in folder.rglob(".*")}
    assert names == {LOCK}
    assert len(list((folder / "checkpoints").iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killed_around_every_rename_it_equals_a_run_that_never_was(
    after: bool, updates: Counter, tmp_path: Path
) -> None:
    def config(name: str) -> FineTuning:
        return small(tmp_path, name, total_episodes=8 * 3, keep_checkpoints=1)

    expected = pipeline.run("toy", config("undisturbed"))
    updates.taken()
    for number in itertools.count():
        folder = tmp_path / f"run{number}"
        if not is_killed(partial(pipeline.run, "toy", config(folder.name)), number, after=after):
            break
        if (folder / "config.json").exists():
            pipeline.resume(folder)
        else:
            pipeline.run("toy", config(folder.name))
        assert updates.taken() <= 3 + 1, "what was saved was made again"
        assert_same_outcome(folder, expected)
        assert_nothing_is_left_over(folder)
    assert number >= 10


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_resume_killed_around_every_rename_can_be_resumed(
    after: bool, updates: Counter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(name: str) -> FineTuning:
        return small(tmp_path, name, total_episodes=8 * 4, keep_checkpoints=1)

    expected = pipeline.run("toy", config("undisturbed"))
    with monkeypatch.context() as patch:
        patch.setattr(PPO, "update", at_update(3, kill))
        with pytest.raises(Killed):
            pipeline.run("toy", config("begun"))
    begun = tmp_path / "begun"
    # As killed between the two renames of a checkpoint that is saved again.
    (begun / "checkpoints" / "update-000002").rename(begun / "checkpoints/.update-000002.replaced")
    updates.taken()
    for number in itertools.count():
        folder = tmp_path / f"run{number}"
        shutil.copytree(begun, folder)
        if not is_killed(partial(pipeline.resume, folder), number, after=after):
            break
        pipeline.resume(folder)
        assert updates.taken() <= 2 + 1, "what was saved was made again"
        assert_same_outcome(folder, expected)
        assert_nothing_is_left_over(folder)
    assert number >= 10


# One owner


def owning(folder: Path, started: Any) -> None:
    with owned(folder):
        started.set()
        time.sleep(60)


def test_the_lock_of_a_killed_process_dies_with_it(stopped: Path, finished: Path) -> None:
    context = multiprocessing.get_context("fork")
    started = context.Event()
    holder = context.Process(target=owning, args=(stopped, started))
    holder.start()
    assert started.wait(timeout=30)
    before = {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    with pytest.raises(FolderInUse, match=r"belong to nobody else, but .*run is that of a run"):
        pipeline.resume(stopped)
    assert before == {path: path.read_bytes() for path in stopped.rglob("*") if path.is_file()}
    holder.kill()
    holder.join()
    pipeline.resume(stopped)
    assert_same_outcome(stopped, finished)


@pytest.mark.slow
def test_of_two_resumes_at_once_one_runs_and_the_other_is_refused_in_one_line(
    stopped: Path, finished: Path
) -> None:
    command_line = [sys.executable, "-m", "agents.resume", str(stopped)]
    both = [
        subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ends = [(process.communicate(timeout=120)[1], process.returncode) for process in both]
    assert sorted(status for _, status in ends) == [0, 1]
    (refusal,) = [said for said, status in ends if status]
    assert refusal.startswith("the folder of a run must belong to nobody else")
    assert refusal.count("\n") == 1
    assert_same_outcome(stopped, finished)


def test_a_run_under_the_name_of_one_that_goes_on_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    context = multiprocessing.get_context("fork")
    started = context.Event()
    holder = context.Process(target=owning, args=(tmp_path / "run", started))
    holder.start()
    assert started.wait(timeout=30)
    with pytest.raises(FolderInUse):
        pipeline.run("toy", small(tmp_path, "run"))
    holder.kill()
    holder.join()


# Interrupted


def at_update(number: int, action: Callable[[], None]) -> Callable[[PPO, Any, Any], Any]:
    """Returns an `update` of PPO that does something else too, while update `number` goes on."""
    update = PPO.update

    def with_action(self: PPO, *args: Any) -> Any:
        if self.n_updates == number - 1:
            action()
        return update(self, *args)

    return with_action


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_update_saves_and_says_how_to_go_on(
    number: int,
    code: int,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(PPO, "update", at_update(5, lambda: signal.raise_signal(number)))
        with pytest.raises(SystemExit) as stopped:
            pipeline.run("toy", small(tmp_path, "run", checkpoint_every=4))
    assert stopped.value.code == code
    newest = latest(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert newest.name == "update-000005"
    assert capfd.readouterr().err.endswith(
        "Stopping after the update under way; once more to stop at once.\n"
        f"Stopped; go on with: python -m agents.resume {tmp_path / 'run'}\n"
    )
    pipeline.resume(tmp_path / "run")
    assert_same_outcome(tmp_path / "run", finished)


def test_a_second_signal_stops_at_once(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(PPO, "update", at_update(5, twice))
        with pytest.raises(SystemExit) as stopped:
            pipeline.run("toy", small(tmp_path, "run", checkpoint_every=2))
    assert stopped.value.code == 130
    newest = latest(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert newest.name == "update-000004"
    pipeline.resume(tmp_path / "run")
    assert_same_outcome(tmp_path / "run", finished)


def test_outside_of_training_a_signal_stops_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        with pytest.raises(KeyboardInterrupt) as stopped:
            signal.raise_signal(signal.SIGTERM)
        assert exit_status(stopped.value) == 143
    assert signal.getsignal(signal.SIGINT) is before


def test_in_another_thread_signals_are_left_alone() -> None:
    def enter() -> None:
        with Interruption():
            seen.append(signal.getsignal(signal.SIGINT))

    seen: list[Any] = []
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


@pytest.mark.slow
def test_the_commands_stop_at_ctrl_c_and_go_on(finished: Path, tmp_path: Path) -> None:
    config = small(tmp_path, "run")
    options = {
        "prompts": config.prompts,
        "total-episodes": config.total_episodes,
        "max-new-tokens": config.max_new_tokens,
        "num-envs": config.num_envs,
        "eval-episodes": config.eval_episodes,
        "threads": 1,
        "checkpoint-every": 1,
        "output": tmp_path,
        "name": "run",
        "algorithm.n-episodes": config.algorithm.n_episodes,
        "algorithm.batch-size": config.algorithm.batch_size,
        "algorithm.n-epochs": config.algorithm.n_epochs,
        "algorithm.kl-coef": config.algorithm.kl_coef,
        "algorithm.kl-target": config.algorithm.kl_target,
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    python = [sys.executable, "-m"]
    folder = tmp_path / "run"
    with subprocess.Popen(
        [*python, "agents.train", "toy", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and latest(folder / "checkpoints") is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.endswith(f"Stopped; go on with: python -m agents.resume {folder}\n")
    result = subprocess.run([*python, "agents.resume", str(folder)], timeout=120)
    assert result.returncode == 0
    assert_same_outcome(folder, finished)


# Several processes


def in_two_processes(work: Callable[[], Any], folder: Path) -> list[int | None]:
    """Runs `work` in each of two connected processes, and returns their exit codes."""

    def connected(rank: int) -> None:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        rendezvous = f"file://{folder / 'rendezvous'}"
        distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
        work()

    context = multiprocessing.get_context("fork")
    children = [context.Process(target=connected, args=(rank,)) for rank in (0, 1)]
    for child in children:
        child.start()
    for child in children:
        child.join(timeout=60)
    (folder / "rendezvous").unlink()
    return [child.exitcode for child in children]


@pytest.mark.slow
@pytest.mark.skipif(not distributed.is_available(), reason="no torch.distributed")
@pytest.mark.parametrize("sharded", [False, True])
def test_two_processes_stop_together_and_go_on_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharded: bool
) -> None:
    # Made here, because they write the file of prompts that both processes read.
    options: dict[str, Any] = {"num_envs": 4, "total_episodes": 48}
    if sharded:
        options |= {"policy": PolicyConfig(sharded=True), "select_by": "objective"}
        options |= {"monitor_every": 2}
    configs = [small(tmp_path, name, **options) for name in ("one", "other")]

    def interrupt() -> None:
        if distributed.get_rank() == 1:
            signal.raise_signal(signal.SIGINT)

    one, other = tmp_path / "one", tmp_path / "other"
    assert in_two_processes(lambda: pipeline.run("toy", configs[0]), tmp_path) == [0, 0]
    with monkeypatch.context() as patch:
        patch.setattr(PPO, "update", at_update(3, interrupt))
        assert in_two_processes(lambda: pipeline.run("toy", configs[1]), tmp_path) == [
            130,
            130,
        ]
    newest = latest(other / "checkpoints")
    assert newest is not None
    assert newest.name == "update-000003"
    first, second = json.loads((newest / "processes.json").read_text())
    assert first["streams"]["sampling"] != second["streams"]["sampling"]
    assert first["envs"] != second["envs"]
    alone = r"False in one process" if sharded else r"2 process\(es\) must be resumed by as many"
    with pytest.raises(ValueError, match=alone):
        pipeline.resume(other)

    def refused() -> None:
        with pytest.raises(FolderInUse):
            pipeline.resume(other)

    with owned(other):
        assert in_two_processes(refused, tmp_path) == [0, 0]
    export(other, tmp_path / "exported")
    CausalLMPolicy.from_pretrained(tmp_path / "exported")
    assert in_two_processes(lambda: pipeline.resume(other), tmp_path) == [0, 0]
    assert_same_outcome(one, other)
    export(other, tmp_path / "last")
    policy = one / ("policy-last" if sharded else "policy")
    weights = [folder / "model.safetensors" for folder in (tmp_path / "last", policy)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


# Its policy


def test_the_policy_of_a_stopped_run_is_exported(stopped: Path, tmp_path: Path) -> None:
    to = tmp_path / "exported"
    export(stopped, to)
    checkpoint = latest(stopped / "checkpoints")
    assert checkpoint is not None
    saved = load_file(checkpoint / "parameters.safetensors")
    policy = CausalLMPolicy.from_pretrained(to)
    assert saved.keys() == dict(policy.named_parameters()).keys()
    for name, parameter in policy.named_parameters():
        assert_close(parameter.detach(), saved[name], rtol=0, atol=0)
    with pytest.raises(FileExistsError, match=r"to must be a new folder, got .*exported"):
        export(stopped, to)
    file = stopped / "config.json"
    with pytest.raises(NotADirectoryError, match=rf"to must be within a folder, .*{file} is none"):
        export(stopped, file / "one" / "other")


def test_no_policy_is_exported_of_a_run_that_goes_on(stopped: Path, tmp_path: Path) -> None:
    with owned(stopped), pytest.raises(FolderInUse):
        export(stopped, tmp_path / "exported")


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *line: str) -> str:
    """What the command says as it ends with status 1."""
    monkeypatch.setattr(sys, "argv", ["resume", *line])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="1"):
        command.main()
    return capsys.readouterr().err


def test_a_policy_is_exported_without_the_code_that_its_run_names(
    stopped: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    theirs, path = tmp_path / "theirs.py", stopped / "config.json"
    theirs.write_text("raise AssertionError\n")
    said = json.loads(path.read_text()) | {"reward": f"{theirs}:reward"}
    path.write_text(json.dumps(said))
    export(stopped, tmp_path / "exported")
    CausalLMPolicy.from_pretrained(tmp_path / "exported")
    asked = (str(stopped), "--export", str(tmp_path / "other"), "--trust-code")
    assert refusal(monkeypatch, capsys, *asked) == (
        f"--trust-code must be left out beside --export, which runs no code that {stopped} names\n"
    )


@pytest.mark.parametrize(
    ("preset", "learner", "module"),
    [
        ("sft", "sft", "sft"),
        ("reward-model", "reward-model", "reward_model"),
        ("rlhf", "ppo", "rlhf"),
    ],
)
def test_nothing_is_exported_of_a_run_of_another_command(
    preset: str,
    learner: str,
    module: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"preset": preset, "learner": learner}))
    rule = f"--export takes runs of agents.train, got {tmp_path}, one of agents.{module}\n"
    asked = (str(tmp_path), "--export", str(tmp_path / "exported"))
    assert refusal(monkeypatch, capsys, *asked) == rule


def test_no_policy_is_exported_that_was_none_of_the_run(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.applications.toy.EOS_PROBABILITY", 0.3)
    with pytest.raises(ValueError, match="must go on with what it started from, but model has"):
        export(stopped, tmp_path / "exported")
    shutil.rmtree(stopped / "checkpoints")
    with pytest.raises(FileNotFoundError, match="run must be a folder with a checkpoint, got"):
        export(stopped, tmp_path / "exported")


# Stopped by a guard


def test_a_guard_ends_the_run_with_one_line(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def stop() -> None:
        raise TrainingStopped("the loss must be finite, got nan: lower learning_rate")

    folder, config = tmp_path / "run", small(tmp_path, "run", checkpoint_every=3)
    lines = []
    for number, begin in (
        (1, lambda: pipeline.run("toy", config)),
        (5, lambda: pipeline.resume(folder)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(PPO, "update", at_update(number, stop))
            with pytest.raises(SystemExit) as stopped:
                begin()
        assert stopped.value.code == 1
        lines.append(capfd.readouterr().err.splitlines()[-1])
    reason = "Training stopped: the loss must be finite, got nan: lower learning_rate"
    assert lines == [
        f"{reason} (no checkpoint was saved yet)",
        f"{reason} (last good checkpoint: {folder}/checkpoints/update-000003)",
    ]
    pipeline.resume(folder)
    assert_same_outcome(folder, finished)


# Stopped by the machine


def test_a_full_disk_ends_the_run_with_what_to_do(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "metrics.jsonl")

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(PPO, "update", at_update(5, fill))
        patch.setattr(going_on, "users_traceback", lambda error: [])  # as if `fill` were ours
        with pytest.raises(SystemExit, match="1"):
            pipeline.run("toy", small(tmp_path, "run"))
    assert capfd.readouterr().err.splitlines()[-2:] == [
        "No space left on device: metrics.jsonl",
        f"When that is mended, go on with: python -m agents.resume {folder}",
    ]
    pipeline.resume(folder)
    assert_same_outcome(folder, finished)


@pytest.mark.slow
@pytest.mark.parametrize("kibibytes", [10, 200])  # a log, the model
def test_files_that_do_not_fit_end_the_command_with_what_to_do(
    tmp_path: Path, kibibytes: int
) -> None:
    resource = pytest.importorskip("resource")
    options = ["--total-episodes", "640", "--eval-episodes", "64", "--output", str(tmp_path)]
    end = subprocess.run(
        [sys.executable, "-m", "agents.train", "toy", "--name", "run", *options],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (kibibytes * 1024,) * 2),
    )
    *said, advice = end.stderr.splitlines()
    assert all("File too large" in line for line in said)
    assert advice.endswith(f"go on with: python -m agents.resume {tmp_path / 'run'}")
    assert end.returncode == 1


# What is found when a run goes on


class Killed(BaseException):
    """What nothing in a run catches."""


def kill() -> None:
    raise Killed


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of which five updates are done and saved, and half of the sixth."""
    with monkeypatch.context() as patch:
        patch.setattr(PPO, "update", at_update(6, kill))
        with pytest.raises(Killed):
            pipeline.run("toy", small(tmp_path, "run", keep_checkpoints=3))
    return tmp_path / "run"


def test_a_damaged_newest_checkpoint_costs_an_update_and_no_more(
    stopped: Path, finished: Path
) -> None:
    newest = stopped / "checkpoints" / "update-000005"
    with (newest / "optimizer.safetensors").open("r+b") as file:
        file.truncate(1000)
    with pytest.warns(UserWarning, match="update-000005 is damaged: optimizer"):
        pipeline.resume(stopped)
    assert_same_outcome(stopped, finished)


def test_a_run_may_be_moved(stopped: Path, finished: Path) -> None:
    moved = pipeline.resume(stopped.rename(stopped.with_name("elsewhere")))
    assert_same_outcome(moved, finished)


def test_no_update_that_was_saved_is_made_again(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    update = PPO.update

    def noting(self: PPO, *args: Any) -> Any:
        made.append(self.n_updates + 1)
        return update(self, *args)

    monkeypatch.setattr(PPO, "update", noting)
    pipeline.resume(stopped)
    assert made == list(range(6, N_UPDATES + 1))


def test_the_untrained_policy_is_evaluated_once(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = []
    evaluate = learners.evaluate_together

    def noting(*args: Any, **kwargs: Any) -> Any:
        evaluated.append(evaluate(*args, **kwargs))
        return evaluated[-1]

    monkeypatch.setattr(learners, "evaluate_together", noting)
    pipeline.resume(stopped)
    summary = json.loads((stopped / "summary.json").read_text())
    assert [one.figures["reward"] for one in evaluated] == [summary["reward_after"]]


def test_changed_prompts_are_refused(stopped: Path) -> None:
    (stopped.parent / "prompts.txt").write_text("\n".join([*PROMPTS[1:], "today"]))
    with pytest.raises(ValueError, match="must go on with what it started from, but prompts has"):
        pipeline.resume(stopped)


def test_a_changed_model_is_refused(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.applications.toy.EOS_PROBABILITY", 0.3)
    with pytest.raises(ValueError, match="must go on with what it started from, but model has"):
        pipeline.resume(stopped)


def test_prompts_and_model_are_found_again_from_elsewhere(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small(tmp_path, "run")
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(PPO, "update", at_update(3, kill))
        with pytest.raises(Killed):
            pipeline.run("toy", dataclasses.replace(config, prompts="prompts.txt"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    pipeline.resume(Path("../run"))
    assert_same_outcome(tmp_path / "run", finished)


def test_only_what_is_there_is_taken_for_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("toy", "model", "chitchat", "a folder"):
        (tmp_path / name).mkdir()
    (tmp_path / "prompts.txt").write_text("Hi")
    config = small(tmp_path, "run")

    def found(**changes: Any) -> tuple[str, str]:
        anchor = anchored(dataclasses.replace(config, **changes))
        return anchor.model, anchor.prompts

    assert found(model="toy", prompts="chitchat") == ("toy", "chitchat")
    assert found(model="owner/model", prompts="a folder") == (
        "owner/model",
        str(tmp_path / "a folder"),
    )
    assert found(model="model", prompts="prompts.txt") == (
        str(tmp_path / "model"),
        str(tmp_path / "prompts.txt"),
    )
    assert found(prompts="How are you? " * 100)[1] == "How are you? " * 100


@pytest.mark.parametrize("lost", [1, 10_000])
def test_a_checkpoint_that_counts_on_lost_lines_is_passed_over(
    lost: int, stopped: Path, finished: Path
) -> None:
    metrics = stopped / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-lost])
    if lost == 1:
        with pytest.warns(UserWarning, match=r"metrics\.jsonl must have .* update-000004 instead"):
            pipeline.resume(stopped)
        assert_same_outcome(stopped, finished)
    else:
        with pytest.raises(CheckpointError, match="none of the 3 checkpoints"):
            pipeline.resume(stopped)


def test_no_path_in_a_checkpoint_leads_to_a_file_of_the_user(stopped: Path, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("years of work")
    for folder in list((stopped / "checkpoints").iterdir()):
        description = json.loads((folder / "agent.json").read_text())
        (state,) = [c["state"] for c in description["callbacks"] if c["callback"] == "RunFolder"]
        state["sizes"][str(thesis)] = 0
        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        (copy / "agent.json").write_text(json.dumps(description))
        (copy / MANIFEST).unlink()
        write_folder(folder, partial(shutil.copytree, copy, dirs_exist_ok=True))
        shutil.rmtree(copy)
    with pytest.raises(CheckpointError, match=r"\['sizes'\] must have the keys .*thesis"):
        pipeline.resume(stopped)
    assert thesis.read_text() == "years of work"


def test_figures_that_are_not_finite_outlive_a_stop(stopped: Path) -> None:
    path = stopped / "start.json"
    saved = json.loads(path.read_text())
    saved["evaluation"]["ref_log_probs"][0] = None
    path.write_text(json.dumps(saved))
    pipeline.resume(stopped)
    summary = json.loads((stopped / "summary.json").read_text(), parse_constant=pytest.fail)
    assert summary["perplexity_before"] is None


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: saved["evaluation"].pop("log_ratios"),
        lambda saved: saved.pop("model"),
        lambda saved: saved["evaluation"].update(scores=["good"]),
        lambda saved: saved["evaluation"]["prompts"].__setitem__(0, None),
        lambda saved: saved["evaluation"]["lengths"].pop(),
        lambda saved: saved["evaluation"].update(kl_coef="much"),
    ],
    ids=["missing", "digest", "scores", "prompt", "text", "price"],
)
def test_an_edited_start_is_refused_by_its_name(change: Any, stopped: Path) -> None:
    path = stopped / "start.json"
    saved = json.loads(path.read_text())
    change(saved)
    path.write_text(json.dumps(saved))
    with pytest.raises(ValueError, match=r"start\.json must hold what the run wrote: "):
        pipeline.resume(stopped)


def edit(folder: Path, **changes: Any) -> None:
    """Changes what a run's config says; `algorithm` and `policy` in part."""
    path = folder / "config.json"
    said = json.loads(path.read_text())
    for name, value in changes.items():
        said[name] = {**said[name], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(said))


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"prompt_template": "{prompt}{prompt}"}, "prompt_template is '{prompt}{prompt}' where "),
    ({"max_new_tokens": 7}, "max_new_tokens is 7 where .*start.json has 8$"),
    ({"num_envs": 4}, "num_envs is 4 where .*start.json has 8$"),
    ({"eval_episodes": 6}, "eval_episodes is 6 where .*start.json has 8$"),
    ({"total_episodes": 320}, "total_episodes is 320 where .*start.json has 240$"),
    ({"ban_unwanted": True}, "ban_unwanted is True where .*start.json has False$"),
    ({"reward": "variety"}, "reward is 'variety' where .*start.json has 'word_count'$"),
    (
        {"eval_prompts": "small-talk"},
        "eval_prompts is 'small-talk' where .*start.json has None$",
    ),
    ({"monitor": "variety"}, "monitor is 'variety' where .*start.json has None$"),
    ({"algorithm": {"learning_rate": 0.5}}, "algorithm.learning_rate is 0.5 where .* has 0.0"),
    ({"policy": {"temperature": 2.0}}, "policy.temperature is 2.0 where .* has 1.0$"),
]


def test_a_changed_option_is_refused_by_its_name(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PPO, "learn", pytest.fail)
    config = (stopped / "config.json").read_text()
    for change, said in CHANGES:
        edit(stopped, **change)
        with pytest.raises(ValueError, match=said):
            pipeline.resume(stopped)
        (stopped / "config.json").write_text(config)


def test_other_prompts_are_refused_by_their_names(stopped: Path, tmp_path: Path) -> None:
    (tmp_path / "others.txt").write_text("\n".join(PROMPTS[1:]))
    edit(stopped, prompts=str(tmp_path / "others.txt"))
    with pytest.raises(
        ValueError, match=r"prompts is '.*others.txt' where .* has '.*prompts.txt'$"
    ):
        pipeline.resume(stopped)


def test_what_says_nothing_of_what_is_learnt_may_change(stopped: Path, finished: Path) -> None:
    edit(stopped, checkpoint_every=3, keep_checkpoints=1, profile=True)
    pipeline.resume(stopped)
    mine, theirs = outcome(stopped), outcome(finished)
    for name in ("metrics", "model", "start", "summary"):
        assert mine[name] == theirs[name]


def test_prompts_may_be_moved(stopped: Path, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").rename(tmp_path / "moved.txt")
    edit(stopped, prompts=str(tmp_path / "moved.txt"))
    pipeline.resume(stopped)
    assert_same_outcome(stopped, finished)


def test_a_run_from_before_options_were_written_goes_on(stopped: Path, finished: Path) -> None:
    path = stopped / "start.json"
    start = json.loads(path.read_text())
    del start["options"]
    path.write_text(json.dumps(start))
    pipeline.resume(stopped)
    assert_same_outcome(stopped, finished)


def test_the_best_score_so_far_outlives_a_stop(stopped: Path) -> None:
    pipeline.resume(stopped)
    lines = (stopped / "metrics.jsonl").read_text().splitlines()
    scores = [json.loads(line)["rollout/score_mean"] for line in lines]
    summary = json.loads((stopped / "summary.json").read_text())
    assert summary["best_score"] == max(scores)
    assert summary["best_score_episodes"] == 8 * (1 + scores.index(max(scores)))


def test_a_finished_run_is_left_alone(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    assert pipeline.resume(finished) == finished
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before
    assert "is finished" in capsys.readouterr().out


def test_what_cannot_be_gone_on_with_is_said_in_one_line(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(monkeypatch, capsys, str(stopped.parent)) == (
        f"the folder of a run must hold config.json, got {stopped.parent}\n"
    )
    for path in (stopped / "checkpoints").glob("*/agent.json"):
        path.unlink()
    assert refusal(monkeypatch, capsys, str(stopped)).startswith("none of the 3 checkpoints in ")


def test_help_is_shown_without_loading_torch() -> None:
    code = (
        "import sys\n"
        "from agents.resume import main\n"
        "sys.argv = ['resume', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "which holds its config.json" in result.stdout


# Its config


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_comes_back_as_it_was(preset: str, tmp_path: Path) -> None:
    config = dataclasses.replace(PRESETS[preset][1], output=tmp_path, name="run")
    RunFolder.created(tmp_path / "run", described(preset, config))
    assert read_config(tmp_path / "run") == (preset, config)


def test_a_config_of_another_version_is_refused(tmp_path: Path) -> None:
    RunFolder.created(tmp_path / "run", described("toy", small(tmp_path, "run")))
    path = tmp_path / "run" / "config.json"
    for change in (
        {"wings": 2},
        {"algorithm": {**json.loads(path.read_text())["algorithm"], "wings": 2}},
    ):
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
        with pytest.raises(ValueError, match=r"only one of them has \['wings'\]"):
            read_config(tmp_path / "run")
        RunFolder(tmp_path / "run").write_json(
            "config.json", described("toy", small(tmp_path, "run"))
        )
    for text in ("{}", "[]", '{"preset": 3}'):
        path.write_text(text)
        with pytest.raises(ValueError, match="must name the preset of the run"):
            read_config(tmp_path / "run")
    path.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json must be JSON, as the run wrote it"):
        read_config(tmp_path / "run")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("total_episodes", "many", "total_episodes must be an int, got 'many'"),
        ("total_episodes", True, "total_episodes must be an int, got True"),
        ("prompts", 3, "prompts must be a str or None, got 3"),
        ("learner", "cat", r"must have as learner one of .* got 'cat'"),
        ("threads", 1.5, "threads must be an int or 'measured' or None, got 1.5"),
        ("policy.lora_targets", [1], r"policy\.lora_targets\[0\] must be a str, got 1"),
        ("policy", "large", "policy must be a PolicyConfig, got 'large'"),
        ("algorithm.clip_range", None, r"algorithm\.clip_range must be a float, got None"),
        ("algorithm.clip_range", 2, r"algorithm\.clip_range must be in \(0, 1\), got 2"),
    ],
)
def test_an_edited_config_names_the_key(
    option: str, value: Any, message: str, tmp_path: Path
) -> None:
    RunFolder.created(tmp_path / "run", described("toy", small(tmp_path, "run")))
    path = tmp_path / "run" / "config.json"
    content = json.loads(path.read_text())
    *outer, name = option.split(".")
    (content[outer[0]] if outer else content)[name] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"config\.json:? {message}") as error:
        read_config(tmp_path / "run")
    assert "\n" not in str(error.value)
