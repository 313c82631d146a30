"""The value function beside a saved language model: a head, and a network if it has its own.

Knows modules and a folder, but no policy. Plain `transformers` leaves these files alone.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn
from transformers import PreTrainedModel

from agents.policy.model import lora

VALUE_HEAD_FILE = "value_head.safetensors"
VALUE_NETWORK_FILE = "value_network.safetensors"
_ADDITIONS = (
    VALUE_HEAD_FILE,
    VALUE_NETWORK_FILE,
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
)
"""Files that would be loaded on top of a model, should an earlier one have left them beside it."""


def remove_additions(folder: Path) -> None:
    """Removes what an earlier model left in a folder that the next one would not overwrite."""
    for name in _ADDITIONS:
        (folder / name).unlink(missing_ok=True)


def has_value_network(folder: Path) -> bool:
    """Returns whether a value network of its own was saved there."""
    return (folder / VALUE_NETWORK_FILE).exists()


def save_values(
    folder: Path, head: nn.Linear | None, network: PreTrainedModel | None, *, merge: bool
) -> None:
    """Saves what there is of a value function.

    Args:
        folder: Where the model is.
        head: The value head.
        network: Of its own, without the head.
        merge: Whether the network's adapters are merged into its weights, or left out.
    """
    if head is not None:
        save_file(head.state_dict(), folder / VALUE_HEAD_FILE)
    if network is not None:
        save_file(lora.plain(network, merge=merge).state_dict(), folder / VALUE_NETWORK_FILE)


def load_values(folder: Path, head: nn.Linear | None, network: PreTrainedModel | None) -> None:
    """Loads what was saved of a value function into the modules that there are.

    Raises:
        ValueError: If the saved head gives another number of values.
    """
    if network is not None and has_value_network(folder):
        lora.load_plain(network, load_file(folder / VALUE_NETWORK_FILE))
    if head is None or not (folder / VALUE_HEAD_FILE).exists():
        return
    state = load_file(folder / VALUE_HEAD_FILE)
    n_values, shape = head.out_features, tuple(state["weight"].shape)
    if shape != tuple(head.weight.shape):
        raise ValueError(
            f"action_values must be as saved: the policy's value head gives {n_values} value(s), "
            f"but the saved one has weights {shape}"
        )
    head.load_state_dict(state)
