"""The floor under a time: what the arithmetic, or the bytes, alone would take on this machine.

Peaks are measured: a large matrix product and a large copy. Counts are of what any implementation
has to do, so that they hold for ours and for others: the floor is not reached, but it tells a loss
to overhead from a lack of hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from agents.policy.causal_lm import CausalLMPolicy
from benchmarks.figures import Figure, figure
from benchmarks.timing import clock_of

_SIDE = {"cpu": 2048, "cuda": 8192}
_COPIED = 2**26  # floats: 256 MiB, more than any cache holds
_TRIALS = 5
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Peaks:
    """Holds what a device can do at best, with torch's threads as they are.

    Attributes:
        flops_per_second: In a product of large matrices.
        bytes_per_second: Read and written in a large copy.
        side: Rows, and columns, of those matrices.
        dtype: Of their elements.
    """

    flops_per_second: float
    bytes_per_second: float
    side: int = _SIDE["cpu"]
    dtype: torch.dtype = torch.float32

    @property
    def text(self) -> str:
        """Both, for a note."""
        return (
            f"{self.flops_per_second / 1e9:.0f} GFLOP/s in a product of matrices {self.side} × "
            f"{self.side}{'' if self.dtype is torch.float32 else f' in {str(self.dtype)[6:]}'},"
            f" {self.bytes_per_second / 1e9:.1f} GB/s read and written in a copy of 256 MiB"
        )


class Work(NamedTuple):
    """Counts what has to be done.

    Attributes:
        flops: Multiplications and additions.
        moved: Bytes that must come from memory, or go there.
    """

    flops: float
    moved: float

    def __add__(self, other: object) -> Work:
        """Returns the work of both."""
        if not isinstance(other, Work):
            return NotImplemented
        return Work(self.flops + other.flops, self.moved + other.moved)

    def seconds(self, peaks: Peaks) -> float:
        """Returns the shortest time: arithmetic and memory may overlap, so the longer of both."""
        return max(self.flops / peaks.flops_per_second, self.moved / peaks.bytes_per_second)


def measure_peaks(
    device: torch.device = _CPU,
    dtype: torch.dtype = torch.float32,
    clock: Callable[[], float] | None = None,
) -> Peaks:
    """Measures a device, best of a few trials, by the clock on the wall unless another is given."""
    side, clock = _SIDE[device.type], clock or clock_of(device)
    a, b = torch.randn(2, side, side, device=device).to(dtype).unbind()
    product = torch.empty_like(a)
    source = torch.ones(_COPIED, device=device)
    target = torch.zeros_like(source)
    return Peaks(
        2 * side**3 / _fastest(lambda: torch.mm(a, b, out=product), clock),
        2 * 4 * _COPIED / _fastest(lambda: target.copy_(source), clock),
        side,
        dtype,
    )


class Model(NamedTuple):
    """Holds the sizes of a transformer that its arithmetic depends on.

    Attributes:
        weights: Parameters that every token is multiplied with, output layer left out.
        output: Parameters of the output layer.
        layers: Number of layers.
        width: Size of a hidden state.
        keys: Size of what a layer keeps as a token's key, and again as its value.
        parameters: All that learns.
    """

    weights: int
    output: int
    layers: int
    width: int
    keys: int
    parameters: int

    @classmethod
    def of(cls, policy: CausalLMPolicy) -> Model:
        """Reads the sizes off a policy."""
        embeddings = {
            id(module.weight)
            for module in policy.trunk.modules()
            if isinstance(module, torch.nn.Embedding)
        }
        matrices = [
            parameter.numel()
            for parameter in policy.trunk.parameters()
            if parameter.ndim >= 2 and id(parameter) not in embeddings
        ]
        config: Any = policy.model.config
        width, heads = int(policy.head.weight.shape[1]), int(config.num_attention_heads)
        return cls(
            weights=sum(matrices),
            output=policy.head.weight.numel(),
            layers=int(config.num_hidden_layers),
            width=width,
            keys=width * int(getattr(config, "num_key_value_heads", heads)) // heads,
            parameters=sum(p.numel() for p in policy.parameters() if p.requires_grad),
        )

    def forward(self, tokens: int, attended: int, chosen: int) -> float:
        """Returns the arithmetic of reading texts, in FLOP.

        Args:
            tokens: Number of tokens.
            attended: For each token, the tokens it attends to, summed.
            chosen: Tokens that the output layer is applied for.
        """
        products = 2 * (self.weights * tokens + self.output * chosen)
        return products + 4 * self.width * self.layers * attended


def decoding(model: Model, prompt: int, lengths: Sequence[int], rows: int) -> Work:
    """Counts writing completions of given lengths after prompts of `prompt` tokens, `rows` at once.

    Every step reads the parameters once, and each row's keys and values.
    """
    attended = sum(_attended(prompt + length) for length in lengths)
    flops = model.forward(
        sum(prompt + length for length in lengths), attended, sum(lengths)
    )  # the last token of a text need not be read; one in a text, left in
    steps = sum(lengths) / rows
    cached = 2 * 4 * model.keys * model.layers * attended
    return Work(flops, 4 * (model.weights + model.output) * steps + cached)


def judging(model: Model, prompt: int, lengths: Sequence[int], passes: int) -> Work:
    """Counts one forward per text, in a number of passes."""
    attended = sum(_attended(prompt + length) for length in lengths)
    flops = model.forward(sum(prompt + length for length in lengths), attended, sum(lengths))
    return Work(flops, 4 * (model.weights + model.output) * passes)


def updating(model: Model, prompt: int, lengths: Sequence[int], passes: int, steps: int) -> Work:
    """Counts forward and backward, twice a forward's arithmetic, and Adam's steps.

    A pass reads the weights twice and writes gradients; a step of Adam reads parameters, gradients
    and both moments, and writes all but the gradients. Activations are left out.
    """
    forward = judging(model, prompt, lengths, passes)
    return Work(3 * forward.flops, 3 * forward.moved + 7 * 4 * model.parameters * steps)


def share_of_floor(
    name: str, speeds: Sequence[float], peaks: Peaks, work: Work, tokens: int, why: str
) -> Figure:
    """Returns which share of the floor's speed was reached.

    Args:
        name: Of what was measured.
        speeds: In tokens per second.
        peaks: Of the machine.
        work: That has to be done for `tokens` tokens.
        tokens: How many.
        why: What keeps the code from the floor, as a sentence without its point.
    """
    floor = tokens / work.seconds(peaks)
    return figure(
        f"{name} / floor",
        [speed / floor for speed in speeds],
        note=f"the floor is {floor:,.0f} tokens/s: {work.flops / 1e9:.2f} GFLOP and "
        f"{work.moved / 1e9:.2f} GB for {tokens:,} tokens, at {peaks.text}. {why}",
    )


def _attended(length: int) -> int:
    return length * (length + 1) // 2


def _fastest(work: Callable[[], object], clock: Callable[[], float]) -> float:
    times = []
    for _ in range(_TRIALS):
        start = clock()
        work()
        times.append(clock() - start)
    return min(times)
