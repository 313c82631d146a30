"""What a checkpoint holds of callbacks: a state and tensors of each, found again by its class.

Other callbacks may watch the rest of a training than watched its beginning, and the first process
may have more of them than the others. Does not know what they do, nor files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from agents.callbacks import Callback
from agents.checkpoints.plain_values import plain
from agents.distributed import processes

FORM_OF_CALLBACKS = [{"callback": "", "state": {}}]
"""Of what `states_of_callbacks` returns; see `require_form`."""


def states_of_callbacks(callbacks: Sequence[Callback]) -> list[dict[str, Any]]:
    """Returns the state of each, with the name of its class.

    Raises:
        ValueError: If one gives values that JSON would not give back; the message names it.
    """
    return [
        {"callback": type(one).__name__, "state": plain(one.get_state(), type(one).__name__)}
        for one in callbacks
    ]


def tensors_of_callbacks(callbacks: Sequence[Callback]) -> dict[str, Tensor]:
    """Returns their tensors, each named after its callback's place in the first process.

    That process may have more callbacks than this one.
    """
    names = processes.all_gather_object([type(callback).__name__ for callback in callbacks])[0]
    return {
        f"{_prefix(place)}{name}": tensor
        for place, callback in _places(callbacks, names)
        for name, tensor in callback.tensors().items()
    }


def restore_callbacks(
    callbacks: Sequence[Callback],
    saved: Sequence[Mapping[str, Any]],
    tensors: Mapping[str, Tensor],
) -> None:
    """Gives each callback that was saved its state, and its tensors.

    Args:
        callbacks: Those of the training that goes on.
        saved: What `states_of_callbacks` returned.
        tensors: What `tensors_of_callbacks` returned, and maybe others.
    """
    for place, callback in _places(callbacks, [one["callback"] for one in saved]):
        callback.set_state(saved[place]["state"])
        prefix = _prefix(place)
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        if own:
            callback.load_tensors(own)


def is_of_callback(name: str) -> bool:
    """Tells the tensors that `tensors_of_callbacks` names from others."""
    return name.startswith("callbacks[")


def _places(callbacks: Sequence[Callback], names: Iterable[str]) -> list[tuple[int, Callback]]:
    """Returns callbacks, each with the first place of its class's name that none before it took.

    A callback for which there is none left is left out.
    """
    left, placed = dict(enumerate(names)), []
    for callback in callbacks:
        name = type(callback).__name__
        place = next((place for place, one in left.items() if one == name), None)
        if place is not None:
            del left[place]
            placed.append((place, callback))
    return placed


def _prefix(place: int) -> str:
    return f"callbacks[{place}]:"
