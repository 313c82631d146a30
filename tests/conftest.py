"""What every test runs under: no network, one thread per process, the same examples each time.

Knows nothing of the packages under test. The environment variables are set when this file is
imported, before any test imports the library that reads them; subprocesses inherit them.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
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
    # A shell that starts the tests in the background has them ignore it, and commands respect that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    connect = socket.socket.connect

    def connect_locally(self: socket.socket, address: Any) -> None:
        refuse_remote(address)
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", connect_locally)
    config.add_cleanup(patch.undo)
    # Without it, every learner of Stable-Baselines3 leaves a folder among the temporary files.
    logs = tempfile.TemporaryDirectory()
    config.add_cleanup(logs.cleanup)
    patch.setenv("SB3_LOGDIR", logs.name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if not on_gpu:
        return
    import torch

    if not torch.cuda.is_available():
        for item in on_gpu:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


class RecordingReward:
    """A reward function that remembers what it was asked, and pays one per token written."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, episodes: Any) -> Any:
        self.calls.append([episode.completion for episode in episodes])
        return np.array([float(len(episode.completion_ids)) for episode in episodes])


@pytest.fixture
def recording_reward() -> type[RecordingReward]:
    return RecordingReward


def byte_level_bpe(special_tokens: list[str]) -> Any:
    """Train a byte-level BPE, so that it can spell any text; the first special token is EOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=special_tokens,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["How are you? Fine thanks, and you?"] * 9, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=special_tokens[0])


@pytest.fixture(scope="session")
def bpe() -> Any:
    """A `transformers` tokenizer whose only special token is EOS, id 0."""
    return byte_level_bpe(["<eos>"])


@pytest.fixture(scope="session")
def bpe_with_special_tokens() -> Any:
    """One with EOS (id 0), padding (id 1) and a special token that has no role (id 2)."""
    tokenizer = byte_level_bpe(["<eos>", "<pad>", "<reserved>"])
    tokenizer.pad_token = "<pad>"
    return tokenizer


@pytest.fixture
def in_two_processes(tmp_path: Path) -> Callable[[Callable[[], Any]], list[Any]]:
    """Run a function in each of two processes that `torch.distributed` connects."""
    from torch import load, multiprocessing

    def run(work: Callable[[], Any]) -> list[Any]:
        """Return what each process returned, by rank."""
        context = multiprocessing.get_context("fork")
        children = [
            context.Process(target=_connected, args=(work, tmp_path, rank)) for rank in (0, 1)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join(timeout=60)
        assert [child.exitcode for child in children] == [0, 0]
        return [load(tmp_path / f"{rank}.pt", weights_only=False) for rank in (0, 1)]

    return run


def _connected(work: Callable[[], Any], folder: Path, rank: int) -> None:
    import torch
    from torch import distributed

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    rendezvous = f"file://{folder / 'rendezvous'}"
    distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    torch.save(work(), folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()
