"""What every test runs under: no network, one thread per process, the same examples each time.

Knows nothing of the packages under test. The environment variables are set when this file is
imported, before any test imports the library that reads them; subprocesses inherit them.
"""

from __future__ import annotations

import os
import socket
from typing import Any

import hypothesis
import pytest

os.environ.update(
    HF_HUB_OFFLINE="1",
    MKL_NUM_THREADS="1",
    MPLBACKEND="Agg",
    OMP_NUM_THREADS="1",
    TOKENIZERS_PARALLELISM="false",
)

hypothesis.settings.register_profile("tests", deadline=None, derandomize=True)
hypothesis.settings.load_profile("tests")

LOOPBACK = {"127.0.0.1", "::1", "localhost"}


def refuse_remote(address: Any) -> None:
    """Fail the test that leaves this machine; paths of Unix sockets and loopback stay allowed."""
    if isinstance(address, tuple) and address[0] not in LOOPBACK:
        pytest.fail(f"tests must not use the network, but one connects to {address!r}")


def pytest_configure(config: pytest.Config) -> None:
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        refuse_remote(address)
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", connect_locally)
    config.add_cleanup(patch.undo)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
