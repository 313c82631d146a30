"""A bar while another program downloads: how much has arrived, and how long the rest will take.

Watches the folder in which the download grows; knows neither the program nor the file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS = 0.2
"""From one look to the next."""


@contextmanager
def download_bar(folder: Path, megabytes: int, console: Console | None = None) -> Iterator[None]:
    """Shows a bar until the block ends.

    Args:
        folder: In which the download grows.
        megabytes: Of all that is downloaded.
        console: Where to; None: the terminal.
    """
    ended, total = threading.Event(), megabytes * 1_000_000
    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(TextColumn("downloading"), *columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)

        def watch() -> None:
            while not ended.wait(_SECONDS):
                bar.update(task, completed=min(size_of(folder), total))

        watcher = threading.Thread(target=watch, name="download bar")
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()


def size_of(folder: Path) -> int:
    """Returns the bytes of all files in a folder, of those that are still there when asked."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):  # it was moved meanwhile
                size += os.stat(os.path.join(place, name)).st_size
    return size
