"""The blocks of a language model: which of them learn, and which keep their activations.

Knows any Hugging Face model whose blocks stand in one list, as many as its configuration says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel


def blocks_of(model: PreTrainedModel) -> nn.ModuleList:
    """Returns the blocks of a trunk, or of a model around it, from the lowest upwards.

    Raises:
        ValueError: If there is no such list.
    """
    n_blocks = int(model.config.num_hidden_layers)
    for part in model.modules():
        if isinstance(part, nn.ModuleList) and len(part) == n_blocks:
            return part
    raise ValueError(
        f"model must hold its num_hidden_layers={n_blocks} blocks in one ModuleList, got "
        f"{type(model).__name__}, which holds none of that length"
    )


def freeze_lowest(model: PreTrainedModel, n_blocks: int) -> None:
    """Lets embeddings and the lowest blocks of a model not learn, if there are any of the latter.

    Raises:
        ValueError: If the model has fewer blocks.
    """
    if n_blocks == 0:
        return
    for part in lowest(model, n_blocks):
        part.requires_grad_(False)
    for part in model.base_model.modules():
        if isinstance(part, nn.Embedding):
            part.requires_grad_(False)


def lowest(model: PreTrainedModel, n_blocks: int) -> nn.ModuleList:
    """Returns the lowest blocks of a model.

    Raises:
        ValueError: If the model has fewer.
    """
    blocks = blocks_of(model)
    if n_blocks > len(blocks):
        raise ValueError(
            f"frozen_blocks must be at most {len(blocks)}, the model's blocks, got {n_blocks}"
        )
    return blocks[:n_blocks]


@contextmanager
def recomputed(blocks: Iterable[nn.Module]) -> Iterator[None]:
    """Makes blocks that are called within keep their inputs only; backward computes them again.

    The library's own switch acts in training mode alone, and there it drops caches. Nothing here is
    random, so nothing of the random state is kept either.
    """
    blocks = list(blocks)
    for block in blocks:
        block.forward = partial(
            checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
        )
    try:
        yield
    finally:
        for block in blocks:
            del block.forward
