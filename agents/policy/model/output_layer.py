"""The output layer: log-probs and entropies of chosen tokens, from logits that exist in chunks.

For N positions and a vocabulary of V tokens the logits are by far the largest tensor of a forward
pass, and autograd would keep several of that size. Here they exist some rows at a time, in two
buffers of at most `CHUNK_ELEMENTS` elements, and the backward pass computes them again.

Knows hidden states, a linear layer and tokens, but neither models nor texts. The numbers are those
of `agents.policy.categorical`, from which decoding samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from agents.policy.action_masks import ActionMasks
from agents.policy.categorical import EXCLUDED

CHUNK_ELEMENTS = 2**24
"""Logits in a chunk: 64 MiB in float32. With far fewer, the products become too thin to be fast."""
_LOWEST = -1e4
"""A log-prob whose exponential is 0 in every precision."""


def log_probs_and_entropies(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    tokens: Tensor,
    *,
    temperature: float = 1.0,
    masks: ActionMasks | None = None,
    chunk_elements: int = CHUNK_ELEMENTS,
) -> tuple[Tensor, Tensor]:
    """Returns log π(a) and -Σ π log π of N choices, (N,) each, in float32 at least.

    Args:
        hidden: What the output layer is applied to, (N, H).
        weight: Of the output layer, (V, H).
        bias: Of the output layer, (V,), or None.
        tokens: The tokens chosen, a, (N,).
        temperature: Divides the logits.
        masks: The tokens that were allowed, with `numbers` (N,); None: all.
        chunk_elements: Most logits in a chunk, which has one row at least.

    Autocast does not apply: products are in the precision of the weight. If that is below float32,
    half a chunk more is alive; with masks, a quarter.
    """
    layer = _Layer(temperature, masks, chunk_elements)
    log_probs, entropies = _Choices.apply(  # type: ignore[no-untyped-call]
        hidden, weight, bias, tokens, layer
    )
    return log_probs, entropies


class _Layer(NamedTuple):
    """Holds what the two passes depend on besides tensors that may have gradients."""

    temperature: float
    masks: ActionMasks | None
    chunk_elements: int


class _Choices(torch.autograd.Function):
    """Computes both numbers, and their gradients, a chunk of choices at a time.

    With z the logits, p their softmax, and g and h the gradients with respect to log p_a and to the
    entropy H = -Σ p log p, the gradient with respect to z is g (onehot(a) - p) - h p (log p + H).
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, tokens: Tensor, layer: _Layer
    ) -> tuple[Tensor, Tensor]:
        """Returns log-probs and entropies."""
        dtype = torch.promote_types(weight.dtype, torch.float32)
        log_probs, entropies = (hidden.new_empty(len(hidden), dtype=dtype) for _ in range(2))
        inputs = hidden.to(weight.dtype)
        for rows, log_p, room in _chunks(log_probs, len(weight), layer.chunk_elements):
            _log_softmax(inputs, weight, bias, layer, rows, room, out=log_p)
            torch.gather(log_p, 1, tokens[rows, None], out=log_probs[rows, None])
            torch.exp(log_p, out=room).mul_(log_p)
            torch.sum(room, 1, out=entropies[rows]).neg_()
        ctx.layer = layer
        ctx.save_for_backward(hidden, weight, bias, tokens, entropies)
        # The backward pass will hold one chunk anyway, so a single one is not computed twice.
        ctx.log_p = log_p if len(log_p) == len(hidden) and any(ctx.needs_input_grad) else None
        return log_probs, entropies

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_log_probs: Tensor, grad_entropies: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        """Returns the gradients with respect to hidden states, weight and bias, where needed."""
        hidden, weight, bias, tokens, entropies = ctx.saved_tensors
        layer, (needs_hidden, needs_weight, needs_bias, *_) = ctx.layer, ctx.needs_input_grad
        kept, ctx.log_p = ctx.log_p, None  # overwritten below; a second backward computes it anew
        inputs = hidden.to(weight.dtype)
        grad_hidden = torch.empty_like(inputs) if needs_hidden else None
        grad_weight = entropies.new_empty(weight.shape) if needs_weight else None
        grad_bias = entropies.new_zeros(len(weight)) if needs_bias else None
        g, h = grad_log_probs / layer.temperature, grad_entropies / layer.temperature
        slope, offset = -h[:, None], -(g + h * entropies)[:, None]
        for rows, log_p, room in _chunks(entropies, len(weight), layer.chunk_elements, kept):
            if kept is None:
                _log_softmax(inputs, weight, bias, layer, rows, room, out=log_p)
            p = torch.exp(log_p, out=room)
            if layer.masks is not None:
                log_p.clamp_min_(_LOWEST)  # EXCLUDED times a gradient might overflow
            grad_logits = torch.addcmul(offset[rows], log_p, slope[rows], out=log_p).mul_(p)
            grad_logits.scatter_add_(1, tokens[rows, None], g[rows, None])
            if grad_bias is not None:
                grad_bias += grad_logits.sum(0)
            grad_logits = grad_logits.to(weight.dtype)
            if grad_hidden is not None:
                torch.mm(grad_logits, weight, out=grad_hidden[rows])
            if grad_weight is not None:
                _add_product(grad_weight, grad_logits, inputs[rows], first=rows.start == 0)
        return grad_hidden, grad_weight, grad_bias, None, None


def _chunks(
    like: Tensor, n_tokens: int, chunk_elements: int, kept: Tensor | None = None
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yields the rows of each chunk, and two buffers (rows, V); the chunks are about equally large.

    Args:
        like: One number per row, of the buffers' type.
        n_tokens: V.
        chunk_elements: Most elements of a buffer.
        kept: Stands in for the first of the two, if there is only one chunk.
    """
    n_rows = len(like)
    n_chunks = max(1, math.ceil(n_rows / max(1, chunk_elements // n_tokens)))
    size = math.ceil(n_rows / n_chunks)
    log_p = like.new_empty(size, n_tokens) if kept is None else kept
    room = like.new_empty(size, n_tokens)
    for first in range(0, max(1, n_rows), max(1, size)):
        rows = slice(first, min(first + size, n_rows))
        yield rows, log_p[: rows.stop - first], room[: rows.stop - first]


def _log_softmax(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    layer: _Layer,
    rows: slice,
    room: Tensor,
    *,
    out: Tensor,
) -> None:
    """Writes the log-probs of all tokens (n, V) for some rows; the logits stand in `room`."""
    if weight.dtype == room.dtype:
        logits = torch.mm(inputs[rows], weight.T, out=room)
    else:
        logits = room.copy_(torch.mm(inputs[rows], weight.T))
    if bias is not None:
        logits += bias
    if layer.temperature != 1:
        logits /= layer.temperature
    if layer.masks is not None:
        table, numbers = layer.masks
        logits.masked_fill_(table[numbers[rows]].logical_not_(), EXCLUDED)
    torch.log_softmax(logits, 1, out=out)


def _add_product(total: Tensor, grad_logits: Tensor, inputs: Tensor, *, first: bool) -> None:
    """Adds the gradient of a chunk to that of the weight, or writes it where it is the first."""
    if total.dtype == grad_logits.dtype:
        total.addmm_(grad_logits.T, inputs, beta=0.0 if first else 1.0)
    elif first:
        total.copy_(grad_logits.T @ inputs)
    else:
        total += grad_logits.T @ inputs
