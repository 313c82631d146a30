"""Groups: the episodes of one prompt, which are compared with one another.

A group is the set of episodes with one number in `group_ids` (B,). Their order does not matter, nor
do the numbers. This module does not know what is compared.

Every sum runs over a row of the (B, B) table of who belongs together: the same bits on every
device, unlike a scattered sum, at B² numbers of memory.
"""

from __future__ import annotations

import torch
from torch import Tensor


def group_sizes(group_ids: Tensor) -> Tensor:
    """Count the members of each episode's group, (B,).

    Example:
        >>> group_sizes(torch.tensor([7, 2, 7]))
        tensor([2, 1, 2])
    """
    _require_numbers(group_ids)
    _, places, counts = group_ids.unique(return_inverse=True, return_counts=True)
    sizes: Tensor = counts[places]
    return sizes


def group_sum(x: Tensor, group_ids: Tensor) -> Tensor:
    """Add up x (B,) over each episode's group, (B,).

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> group_sum(torch.tensor([1.0, 5.0, 2.0]), torch.tensor([7, 2, 7]))
        tensor([3., 5., 3.])
    """
    _require_shape(x, group_ids)
    return torch.where(_together(group_ids), x, 0).sum(dim=1)


def group_mean(x: Tensor, group_ids: Tensor) -> Tensor:
    """Average x (B,) over each episode's group, (B,).

    Raises:
        ValueError: If the shapes differ.
    """
    return group_sum(x, group_ids) / group_sizes(group_ids)


def group_std(x: Tensor, group_ids: Tensor) -> Tensor:
    """Compute the standard deviation of x (B,) in each episode's group, divisor n - 1, (B,).

    Raises:
        ValueError: If the shapes differ, or a group has a single member.
    """
    require_groups(group_ids)
    deviations = x - group_mean(x, group_ids)
    return (group_sum(deviations.square(), group_ids) / (group_sizes(group_ids) - 1)).sqrt()


def informative_groups(scores: Tensor, group_ids: Tensor) -> Tensor:
    """Tell which episodes belong to a group whose scores are not all equal.

    In a group of equal scores every advantage is 0: it has no gradient, and only thins the batch.

    Source: dynamic sampling of DAPO (Yu et al. 2025, arXiv:2503.14476, equation 11), there for
    scores that are 0 or 1.

    Args:
        scores: (B,), the reward of each episode.
        group_ids: (B,) integers.

    Returns:
        (B,) bool, True = informative.

    Raises:
        ValueError: If the shapes differ.

    Example:
        >>> informative_groups(torch.tensor([1.0, 1.0, 0.0, 1.0]), torch.tensor([0, 1, 0, 1]))
        tensor([ True, False,  True, False])
    """
    _require_shape(scores, group_ids)
    return (_together(group_ids) & (scores[:, None] != scores)).any(dim=1)


def require_groups(group_ids: Tensor, *, size: int | None = None) -> None:
    """Refuse groups of one episode, or of any size but the given one.

    Args:
        group_ids: (B,) integers.
        size: Members that every group must have; None asks for two or more.

    Raises:
        ValueError: If a group has another size; the error names the first such group.
    """
    sizes = group_sizes(group_ids)
    wrong = (sizes < 2) if size is None else (sizes != size)
    if bool(wrong.any()):
        first = int(wrong.nonzero()[0])
        rule = "at least 2 episodes" if size is None else f"exactly {size} episodes"
        raise ValueError(
            f"group_ids must give every group {rule}, but group {int(group_ids[first])} has "
            f"{int(sizes[first])}"
        )


def _together(group_ids: Tensor) -> Tensor:
    _require_numbers(group_ids)
    return group_ids[:, None] == group_ids


def _require_numbers(group_ids: Tensor) -> None:
    if group_ids.ndim != 1 or group_ids.is_floating_point():
        raise ValueError(
            f"group_ids must be integers of shape (B,), but are {group_ids.dtype} of shape "
            f"{tuple(group_ids.shape)}"
        )


def _require_shape(x: Tensor, group_ids: Tensor) -> None:
    if x.shape != group_ids.shape:
        raise ValueError(
            f"group_ids must number the episodes of shape {tuple(x.shape)} one by one, "
            f"but have shape {tuple(group_ids.shape)}"
        )
