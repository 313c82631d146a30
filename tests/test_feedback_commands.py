"""The command line of human feedback: from a file to a study, to its pages, to an export."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from text_gym.feedback import Judgement, Preferred, open_study
from text_gym.feedback.command_line import run
from text_gym.feedback.server.serving import Place

ITEMS = [
    {"id": "one", "prompt": "The film was", "completions": [" good.", " bad."]},
    {"id": "two", "prompt": "The book was", "completions": [" long.", " short."]},
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    assert run(["create", str(folder), "--items", str(write(tmp_path, *ITEMS)), "--reason"]) == 0
    return folder


def write(folder: Path, *rows: object, name: str = "items.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def judged(study: Path) -> Judgement:
    with open_study(study).open() as store:
        ann = store.annotators.add("Ann")
        one = Judgement("j", ann.id, "one", (1, 0), Preferred(0), 1.0, 9.0, 1)
        store.judgements.add(one)
    return one


def test_a_study_is_made_as_the_options_say(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    arguments = [
        "create", str(folder), "--items", str(write(tmp_path, *ITEMS)), "--mode", "rate",
        "--scale", "helpful", "--scale", "kind:0:10", "--overlap", "2", "--title", "T", "--crowd",
    ]  # fmt: skip
    assert run(arguments) == 0
    config = open_study(folder).config
    assert config.bounds == {"helpful": (1, 5), "kind": (0, 10)}
    assert (config.title, config.overlap, config.max_overlap, config.crowd) == ("T", 2, 2, True)
    with open_study(folder).open() as store:
        assert len(store.items.all()) == 4


def test_preferences_from_elsewhere_are_judged_anew(tmp_path: Path) -> None:
    rows = [{"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}]
    path = write(tmp_path, *rows)
    folder = tmp_path / "study"
    arguments = ["create", str(folder), "--items", str(path), "--format", "trl-preference"]
    assert run(arguments) == 0
    with open_study(folder).open() as store:
        (item,) = store.items.all()
        assert [one.text for one in item.completions] == [" blue.", " green."]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "nowhere"], "there is no study in 'nowhere'"),
        (["create", "new", "--items", "nowhere.jsonl"], "nowhere.jsonl"),
        (["link", "{study}", "x" * 41], "a pseudonym must have 1 to 40 characters"),
        (["forget", "{study}", "Nobody"], "pseudonym must be that of an annotator, got 'Nobody'"),
        (["create", "{study}", "--items", "{items}"], "the folder of a study must be new"),
        (["create", "new", "--items", "{items}", "--overlap", "0"], "overlap must be at least 1"),
        (["serve", "{study}", "--public-url", "example.org"], "public_url must be an address"),
        (["prioritise", "{study}", "{items}"], "line 1: a line must have id"),
    ],
)
def test_what_can_be_mended_is_one_line(
    study: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    items = study.parent / "items.jsonl"
    assert run([one.format(study=study, items=items) for one in arguments]) == 1
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_bad_line_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, ITEMS[0], {"prompt": "p", "completions": [3]})
    assert run(["create", str(tmp_path / "study"), "--items", str(path)]) == 1
    assert "items.jsonl, line 2: a completion must be" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_a_link_is_printed_and_only_its_hash_is_kept(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["link", str(study), "Eve", "--role", "expert", "--weight", "2"]) == 0
    link = re.fullmatch(r"http://127\.0\.0\.1:8000/link/([\w-]{43})\n", capsys.readouterr().out)
    assert link is not None
    kept = b"".join(path.read_bytes() for path in study.iterdir() if path.is_file())
    assert link[1].encode() not in kept
    with open_study(study).open() as store:
        (eve,) = store.annotators.all()
        assert (eve.role, eve.weight) == ("expert", 2.0)
    assert run(["link", str(study), "Eve"]) == 1


def test_what_was_judged_leaves_and_comes_in_elsewhere(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = judged(study)
    path = tmp_path / "export.jsonl"
    assert run(["export", str(study), "--format", "plain", "--output", str(path)]) == 0
    other = tmp_path / "other"
    assert run(["create", str(other), "--items", str(write(tmp_path, name="none.jsonl"))]) == 0
    capsys.readouterr()
    for new in ("2 new items, 1 new", "0 new items, 0 new"):
        assert run(["add", str(other), str(path), "--format", "plain"]) == 0
        assert new in capsys.readouterr().out
    with open_study(other).open() as store:
        assert store.judgements.all() == [one]


def test_an_export_names_its_rows(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judged(study)
    capsys.readouterr()
    assert run(["export", str(study)]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["chosen"], row["judgements"]) == (" good.", ["j"])


def test_scores_say_what_comes_first(study: Path, tmp_path: Path) -> None:
    for first in ("two", "one"):
        path = write(tmp_path, {"id": first, "score": 1.5}, name="scores.jsonl")
        assert run(["prioritise", str(study), str(path)]) == 0
        with open_study(study).open() as store:
            overlap = (1, 1)
            found = store.leases.next_item("a", "work", expert=False, at=0.0, overlap=overlap)
            assert found == first


def test_a_person_is_forgotten(study: Path) -> None:
    judged(study)
    assert run(["forget", str(study), "Ann"]) == 0
    with open_study(study).open() as store:
        assert store.judgements.all() == []
        assert store.judgements.remains() == [("one", '{"preferred": 0}', 1)]


# Where a study is served


@pytest.mark.parametrize(
    ("place", "is_open", "address", "hosts"),
    [
        (Place(), True, "http://127.0.0.1:8000", {"127.0.0.1", "localhost", "[::1]"}),
        (Place("::1", 80), True, "http://[::1]:80", {"127.0.0.1", "localhost", "[::1]"}),
        (Place(links_only=True), False, "http://127.0.0.1:8000", None),
        (Place("192.168.0.7"), False, "http://192.168.0.7:8000", {"192.168.0.7"}),
        (Place(public_url="https://f.org/"), False, "https://f.org", None),
    ],
)
def test_only_this_machine_comes_in_without_a_link(
    place: Place, is_open: bool, address: str, hosts: set[str] | None
) -> None:
    assert (place.is_open, place.address) == (is_open, address)
    assert hosts is None or set(place.hosts) == hosts


def test_the_server_says_how_to_come_in_and_ends_in_order(study: Path, tmp_path: Path) -> None:
    port = 18_500 + sum(map(ord, tmp_path.name)) % 1000
    command = [sys.executable, "-m", "text_gym.feedback", "serve", str(study), "--port", str(port)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as server:
        assert server.stdout is not None
        assert server.stderr is not None
        lines = [next(server.stdout) for _ in range(4)]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
            assert response.status == 200
            assert b"Welcome" in response.read()
        again = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        server.send_signal(signal.SIGINT)
        assert server.wait(20) in (0, 130)
        assert server.stderr.read() == ""
    assert lines[0] == f"Judge:        http://127.0.0.1:{port}/\n"
    assert again.returncode == 1
    assert f"is served by process {server.pid} at http://127.0.0.1:{port}" in again.stderr
    assert again.stderr.count("\n") == 1


def test_the_server_is_small_and_soon_ready(study: Path) -> None:
    port = 19_777
    command = [sys.executable, "-m", "text_gym.feedback", "serve", str(study), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        next(server.stdout)
        started = time.perf_counter()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as response:
            response.read()
        assert time.perf_counter() - started < 5
        status = Path(f"/proc/{server.pid}/status").read_text()
        server.kill()
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident is not None
    assert int(resident[1]) < 100 * 1024
