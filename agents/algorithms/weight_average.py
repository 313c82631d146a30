"""An exponential moving average of the parameters that learn.

Averages move more slowly than the policy and lose the noise of its steps. This module does not know
what the parameters are of, nor how they move.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Keeps avg ← decay avg + (1 - decay) θ, from the parameters as they start.

    Source: Polyak and Juditsky 1992; of the policy in fine-tuning, WARP (Ramé et al. 2024,
    arXiv:2406.16768).

    Args:
        parameters: What is averaged, by name; they go on learning.
        decay: In (0, 1).

    Example:
        >>> weight = nn.Parameter(torch.zeros(1))
        >>> average = WeightAverage({"weight": weight}, decay=0.5)
        >>> weight.data.fill_(8.0); average.update(); average.tensors()
        tensor([8.])
        {'weight': tensor([4.])}
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters = dict(parameters)
        self._average = {name: p.detach().clone() for name, p in parameters.items()}
        self._decay = decay

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the parameters as they are now."""
        torch._foreach_lerp_(
            list(self._average.values()), list(self._parameters.values()), 1 - self._decay
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Puts the averages in the place of the parameters for a while."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def tensors(self) -> dict[str, Tensor]:
        """Returns the averages by name."""
        return dict(self._average)

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from averages that `tensors` returned.

        Raises:
            ValueError: If they are not those of these parameters, by name, shape and dtype.
        """
        for name in self._average.keys() | tensors.keys():
            own, saved = self._average.get(name), tensors.get(name)
            if own is None or saved is None:
                where = "saved" if own is None else "here"
                raise ValueError(
                    f"averages must be of the same parameters, but only {where}: {name}"
                )
            if own.shape != saved.shape or own.dtype != saved.dtype:
                raise ValueError(
                    f"the average of {name} must be {own.dtype} {tuple(own.shape)}, got "
                    f"{saved.dtype} {tuple(saved.shape)}"
                )
        for name, average in self._average.items():
            average.copy_(tensors[name])

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self._average[name])
            self._average[name].copy_(kept)
