"""Train the toy beside busy processes: `python benchmarks/busy_machine.py`.

As many processes as there are cores do nothing but count. Compared are a command as it is, whose
threads give their core away while they wait; the same with GNU OpenMP's own choice, to wait on the
core; and one thread, which waits for nobody.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.figures import RESULTS, figure, write_result
from benchmarks.timing import interleaved, ratios

WAYS: Mapping[str, Mapping[str, str]] = {
    "two threads": {},
    "two threads that hold their core": {"GOMP_SPINCOUNT": "300000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
"""What the environment says in each; the second is what libgomp does by itself."""


@contextmanager
def busy(n_processes: int) -> Iterator[None]:
    """Keeps so many processes counting."""
    processes = [multiprocessing.Process(target=_count, daemon=True) for _ in range(n_processes)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()


def speed(environment: Mapping[str, str], episodes: int) -> float:
    """Returns the tokens per second of a training of the toy, in a process of its own."""
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    own = {name: value for name, value in os.environ.items() if name not in names}
    with tempfile.TemporaryDirectory() as folder:
        options = ["--output", folder, "--name", "run", "--device", "cpu"]
        options += ["--eval-episodes", "64", "--total-episodes", str(episodes)]
        subprocess.run(
            [sys.executable, "-m", "agents.train", "toy", *options],
            env={**own, **environment},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        summary = json.loads((Path(folder) / "run" / "summary.json").read_text(encoding="utf-8"))
    return float(summary["tokens_per_second"])


def main() -> None:
    """Measures in turns, on an idle and on a busy machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=256, help="of each training")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON file")
    options = parser.parse_args()
    cores = os.cpu_count() or 1
    trainings = {way: partial(speed, said, options.episodes) for way, said in WAYS.items()}
    figures = []
    for state, n_processes in (("idle", 0), ("busy", cores)):
        with busy(n_processes):
            speeds = interleaved(trainings, options.repeats, warmups=0)
        ours, *others = WAYS
        figures += [
            figure(f"{state}: {ours} / {other}", ratios(speeds, ours, other)) for other in others
        ]
        figures += [figure(f"{state}: {way}", speeds[way], "tokens/s") for way in WAYS]
    write_result(
        "busy_machine",
        figures,
        seed=0,
        settings={"episodes": options.episodes, "busy processes": cores},
        folder=options.output,
    )


def _count() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
