"""Measuring side by side: what is compared takes turns, and ratios are taken pair by pair.

A shared machine drifts by tens of percent within minutes; what ran a second apart drifted together.
Knows nothing of what it times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter

import torch

Samples = dict[str, list[float]]


def clock_of(device: torch.device) -> Callable[[], float]:
    """Returns a clock, in seconds, that waits until what a device was given is done."""

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return perf_counter()

    return now


def tokens_per_second(
    work: Callable[[], int], clock: Callable[[], float] = perf_counter
) -> Callable[[], float]:
    """Returns a measurement of `work`, which returns how many tokens it dealt with."""

    def measure() -> float:
        start = clock()
        tokens = work()
        return tokens / (clock() - start)

    return measure


def interleaved(
    measurements: Mapping[str, Callable[[], float]], repeats: int, *, warmups: int = 1
) -> Samples:
    """Measures A B C, A B C, ... and returns the samples of each, in order.

    Args:
        measurements: What is compared, by name.
        repeats: Rounds that count.
        warmups: Rounds before them, whose samples are dropped.
    """
    samples: Samples = {name: [] for name in measurements}
    for count in range(warmups + repeats):
        for name, measure in measurements.items():
            value = measure()
            if count >= warmups:
                samples[name].append(value)
    return samples


def ratios(samples: Samples, ours: str, theirs: str) -> list[float]:
    """Returns ours over theirs, round by round.

    Example:
        >>> ratios({"a": [6.0, 9.0], "b": [2.0, 3.0]}, "a", "b")
        [3.0, 3.0]
    """
    return [a / b for a, b in zip(samples[ours], samples[theirs], strict=True)]
