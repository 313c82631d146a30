"""The bar while something is downloaded."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from agents.fetching.download_bar import download_bar, size_of


def test_what_has_arrived_is_counted_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "unpacked").mkdir()
    (tmp_path / "unpacked" / "part").write_bytes(b"12345")
    (tmp_path / "whole").write_bytes(b"123")
    assert size_of(tmp_path) == 8


def test_the_bar_ends_with_the_download_and_lets_its_error_through(tmp_path: Path) -> None:
    def download() -> None:
        with download_bar(tmp_path, 1, Console(file=screen)):
            raise RuntimeError("no network")

    screen = io.StringIO()
    with pytest.raises(RuntimeError, match="no network"):
        download()
    assert screen.getvalue().strip() == ""
    assert "download bar" not in {thread.name for thread in threading.enumerate()}
