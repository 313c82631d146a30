"""Measure the server of human feedback under load: `python benchmarks/feedback_load.py`.

Simulated people judge at once on loopback, each thinking about a second, through the pages; then
the same while the server is killed (-9) and started again. What they were told is held against the
store.
Latencies include the people's own process, which shares the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from benchmarks.figures import RESULTS, Figure, figure, write_result
from text_gym.feedback import (
    Completion,
    Item,
    QualityRules,
    StudyConfig,
    create_study,
    open_study,
)
from text_gym.feedback.judgements import Judgement
from text_gym.feedback.simulated.answering import Manner
from text_gym.feedback.simulated.crowd import invite
from text_gym.feedback.simulated.visiting import Visitor
from text_gym.rewards import WordCount

LEASE = re.compile(r'name="lease" value="([^"]+)"')
PATIENCE = 30.0
"""Seconds for which somebody tries again when nobody answers."""


class Leave(Exception):
    """Ends a visit when its time is over."""


@dataclass
class Told:
    """Holds what the server told all people; lists grow from many threads."""

    seconds: list[float] = field(default_factory=list)
    """Of each response."""
    acknowledged: list[str] = field(default_factory=list)
    """Judgements that it said it has."""
    leases: list[tuple[str, int]] = field(default_factory=list)
    """Which lease was shown to whom, as often as it was shown."""
    resent: list[str] = field(default_factory=list)
    """What was sent again, because no answer had come."""
    faults: list[str] = field(default_factory=list)
    """What ended a visit before its time."""
    server_seconds: float = 0.0
    """Of processor time that the servers took."""


class Persistent:
    """A client that tries again while nobody answers, and notes what it is told."""

    def __init__(self, address: str, person: int, told: Told) -> None:
        self._client = httpx2.Client(base_url=address, follow_redirects=True, timeout=10.0)
        self._person, self._told = person, told
        self._chance = np.random.default_rng([1, person])

    def get(self, url: str) -> httpx2.Response:
        """Opens a page."""
        return self._ask("GET", url, {})

    def post(self, url: str, *, data: Mapping[str, str]) -> httpx2.Response:
        """Sends a form."""
        response = self._ask("POST", url, data)
        if response.status_code == 200 and "answer" in data:
            self._told.acknowledged.append(data["lease"])
        return response

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def _ask(self, method: str, url: str, data: Mapping[str, str]) -> httpx2.Response:
        patience = time.monotonic() + PATIENCE
        while True:
            start = time.perf_counter()
            try:
                response = self._client.request(method, url, data=dict(data))
            except httpx2.TransportError:
                if time.monotonic() > patience:
                    raise
                self._told.resent.append(url)
                time.sleep(self._chance.random())  # nobody reloads at the same moment as all others
                continue
            self._told.seconds.append(time.perf_counter() - start)
            self._note(response)
            return response

    def _note(self, response: httpx2.Response) -> None:
        shown = LEASE.search(response.text)
        if shown is not None:
            self._told.leases.append((shown[1], self._person))


class Server:
    """A study's server in a process of its own.

    Args:
        study: Folder of the study.
    """

    def __init__(self, study: Path) -> None:
        self._study = study
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Starts it, and returns how many seconds pass until it answers."""
        command = [sys.executable, "-m", "text_gym.feedback", "serve", str(self._study)]
        start = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port)], stdout=subprocess.DEVNULL
        )
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return time.perf_counter() - start
            if self._process.poll() is not None:
                raise RuntimeError(f"the server ended with {self._process.returncode}")
            time.sleep(0.01)

    def kill(self) -> None:
        """Ends it without a word."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def server_seconds() -> float:
    """Returns the processor time of the servers that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def study_of(folder: Path, items: int) -> Path:
    """Makes a study of pairs that each have to be judged once."""
    pairs = (Completion("Yes."), Completion("Yes, and gladly."))
    rules = QualityRules(least_seconds=0.0, seconds_per_word=0.0, same_side_run=items)
    config = StudyConfig(title="Load", gold_share=0.0, repeat_share=0.0, rules=rules)
    create_study(folder, config, (Item(f"i{at}", f"Question {at}?", pairs) for at in range(items)))
    return folder


def crowd(
    server: Server, links: list[str], seconds: float, think: float, told: Told
) -> list[threading.Thread]:
    """Sends everybody to the study at once, for some seconds."""
    end = time.monotonic() + seconds

    def sleep(duration: float) -> None:
        if time.monotonic() + duration > end:
            raise Leave
        time.sleep(duration)

    def one(person: int) -> None:
        manner, chance = Manner(accuracy=0.75, seconds=think), np.random.default_rng(person)
        with contextlib.closing(Persistent(server.address, person, told)) as client:
            visitor = Visitor(client, WordCount(), manner, chance, sleep=sleep)
            try:
                visitor.visit(links[person])
                told.faults.append(f"person {person} had nothing to do any more")
            except Leave:
                pass
            except (ConnectionError, KeyError, httpx2.TransportError) as error:
                told.faults.append(f"person {person}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=one, args=(person,)) for person in range(len(links))]
    for thread in threads:
        thread.start()
    return threads


def held_against_the_store(folder: Path, told: Told) -> dict[str, int]:
    """Counts what is wrong: lost, doubled, held twice, faults."""
    with open_study(folder).open() as store:
        kept = store.judgements.all()
    return {"faults": len(told.faults)} | wrongs(kept, told)


def wrongs(kept: list[Judgement], told: Told) -> dict[str, int]:
    """Counts judgements that are lost or doubled, and leases that two people held."""
    ids = {one.id for one in kept}
    holders = Counter(lease for lease, _ in set(told.leases))
    items = Counter(one.item for one in kept)
    return {
        "lost": len(set(told.acknowledged) - ids),
        "doubled": sum(count - 1 for count in items.values()) + len(kept) - len(ids),
        "leases held twice": sum(count > 1 for count in holders.values()),
    }


def measure(options: argparse.Namespace, kills: int) -> list[Figure]:
    """Runs a crowd, with the server killed now and then, and returns the figures."""
    with tempfile.TemporaryDirectory() as folder:
        enough = 3 * options.people * int(options.seconds / options.think)
        study = study_of(Path(folder) / "study", enough)
        told, server, before = Told(), Server(study), server_seconds()
        ready = [server.start()]
        links = invite(study, options.people)
        try:
            threads = crowd(server, links, options.seconds, options.think, told)
            for _ in range(kills):
                time.sleep(options.seconds / (kills + 1))
                server.kill()
                ready.append(server.start())
            for thread in threads:
                thread.join()
        finally:
            server.kill()
        told.server_seconds = server_seconds() - before
        for fault in told.faults:
            print(fault, file=sys.stderr)
        return figures(f"{kills} kills: " if kills else "", told, study, ready, options)


def figures(
    when: str, told: Told, study: Path, ready: list[float], options: argparse.Namespace
) -> list[Figure]:
    """Returns what was found."""
    milliseconds = 1000 * np.array(told.seconds)
    wrong = held_against_the_store(study, told)
    return [
        figure(f"{when}95 % of responses within", float(np.percentile(milliseconds, 95)), "ms",
               at_most=200.0),
        figure(f"{when}median response", float(np.median(milliseconds)), "ms"),
        figure(f"{when}judgements", float(len(told.acknowledged)), "in all",
               note=f"{options.people} people, {options.seconds:g} s"),
        figure(f"{when}sent again", float(len(told.resent)), "requests"),
        figure(f"{when}server's processor time", 1000 * told.server_seconds / len(milliseconds),
               "ms a response"),
        figure(f"{when}slowest start", max(ready), "s"),
        *(figure(f"{when}{name}", float(count), "", at_most=0.0) for name, count in wrong.items()),
    ]  # fmt: skip


def main() -> None:
    """Measures without kills and with them, and writes both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--think", type=float, default=1.0, help="mean seconds before an answer")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the JSON file")
    options = parser.parse_args()
    found = measure(options, kills=0) + measure(options, options.kills)
    settings: dict[str, Any] = {
        name: getattr(options, name) for name in ("people", "seconds", "think", "kills")
    }
    write_result("feedback_load", found, seed=0, settings=settings, folder=options.output)


if __name__ == "__main__":
    main()
