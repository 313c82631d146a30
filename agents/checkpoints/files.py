"""The files of a checkpoint, written and read back: JSON and tensors.

What is read back is of the kind that was saved, or the file to blame is named. Does not know what
the files mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from agents.agent import Trained
from agents.checkpoints.folder import CheckpointError
from agents.checkpoints.plain_values import require_form
from agents.checkpoints.shares import read_shares
from agents.distributed.sharding import is_sharded


def write_json(path: Path, content: Any) -> None:
    """Writes values that JSON gives back as they were; see `plain`."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")


def read_json(folder: Path, name: str, like: Any) -> Any:
    """Returns what a JSON file holds, of the form of `like`; see `require_form`."""
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, RecursionError, ValueError) as error:
        raise CheckpointError(
            f"the checkpoint {folder} cannot be used: {name} is no JSON"
        ) from error
    with blaming(folder, name, ValueError):
        require_form(content, like, name.removesuffix(".json"))
    return content


def read_tensors(folder: Path, name: str, policy: Trained) -> dict[str, Tensor]:
    """Returns tensors of a checkpoint, shared out as the policy is."""
    try:
        if _is_shared_out(folder):
            shared = policy.trainable_parameters() if is_sharded(policy) else {}
            return read_shares(folder / name, shared)
        return dict(load_file(folder / f"{name}.safetensors"))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"the checkpoint {folder} cannot be used: {name}.safetensors holds no tensors"
        ) from error


def _is_shared_out(folder: Path) -> bool:
    """Tells whether each process wrote its shares into a checkpoint."""
    return (folder / "parameters").is_dir()


@contextmanager
def blaming(folder: Path, name: str, *errors: type[Exception]) -> Iterator[None]:
    """Says which file something comes from that nobody can go on with.

    Args:
        folder: Of the checkpoint.
        name: Of the file.
        errors: That show it, besides those that values of the wrong kind lead to.
    """
    kinds: tuple[type[Exception], ...] = (
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        *errors,
    )
    try:
        yield
    except CheckpointError:
        raise
    except kinds as error:
        reason = error if isinstance(error, ValueError) else repr(error)
        raise CheckpointError(
            f"the checkpoint {folder} cannot be used: {name} holds something else than was saved: "
            f"{reason}"
        ) from error
