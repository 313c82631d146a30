"""Supervised training of a causal language model on token sequences: loss, perplexity, loop.

Any transformers causal language model will do. This module knows no text, no tokenizer and no
environment; `agents.supervised.sequences` prepares its input. Sequences are padded on the right
and attention is causal, so that no token sees padding and the model needs no attention mask.
Why it has a loop of its own is in docs/decisions/0014.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel

from agents.algorithms.health_checks import TrainingStopped
from agents.supervised.config import PretrainConfig
from agents.supervised.sequences import Batch, TokenSequence, collate, length_batches

_EVAL_BATCH_TOKENS = 8192


@dataclass(frozen=True)
class Evaluation:
    """One measurement of the held-out loss during training."""

    step: int
    """Optimiser steps taken."""

    epoch: float
    """Passes over the training sequences."""

    train_loss: float
    """Mean of the training loss since the last measurement, nats per token."""

    heldout_loss: float
    """Nats per completion token of the held-out sequences."""


@dataclass(frozen=True)
class PretrainResult:
    """What `pretrain` did; the model itself was trained in place."""

    history: tuple[Evaluation, ...]
    """All measurements, in order."""

    best: Evaluation
    """The measurement whose parameters the model now has."""

    steps: int
    """Optimiser steps taken."""

    tokens: int
    """Tokens read in training, padding left out."""

    seconds: float
    """Wall-clock time."""


def token_nll(logits: Tensor, input_ids: Tensor) -> Tensor:
    """Compute the negative log-likelihood of each token given those before it.

    Args:
        logits: Scores of the next token, (B, T, V), any floating type; computed in float32.
        input_ids: Tokens, (B, T).

    Returns:
        Nats, (B, T) float32; 0 at position 0, which nothing predicts.
    """
    scores = logits[:, :-1].flatten(0, 1).float()
    nll = F.cross_entropy(scores, input_ids[:, 1:].flatten(), reduction="none")
    return F.pad(nll.view(len(input_ids), -1), (1, 0))


def completion_loss(logits: Tensor, input_ids: Tensor, mask: Tensor) -> Tensor:
    """Average the negative log-likelihood over the tokens that count.

    Args:
        logits: Scores of the next token, (B, T, V).
        input_ids: Tokens, (B, T).
        mask: True at tokens that count, (B, T); position 0, which nothing predicts, never counts.

    Returns:
        Nats per token, a scalar.
    """
    counts = mask[:, 1:]
    return token_nll(logits, input_ids)[:, 1:][counts].sum() / counts.sum()


def heldout_loss(model: PreTrainedModel, sequences: Sequence[TokenSequence]) -> float:
    """Measure the mean negative log-likelihood of a completion token, end-of-text included.

    The mean is over all tokens of all completions. Dropout is off, and the model's mode is put
    back afterwards.

    Args:
        model: A causal language model.
        sequences: At least one, with a completion.

    Returns:
        Nats per token.

    Raises:
        ValueError: If there is no sequence.
    """
    if not sequences:
        raise ValueError("sequences must hold at least one sequence, got none")
    lengths = [len(sequence.ids) for sequence in sequences]
    total, count = 0.0, 0
    with _evaluation_mode(model), torch.no_grad():
        for indices in length_batches(lengths, _EVAL_BATCH_TOKENS, torch.Generator()):
            batch = _batch(model, sequences, indices)
            nll = token_nll(_logits(model, batch), batch.input_ids)
            counts = batch.completion_mask[:, 1:]
            total += float(nll[:, 1:][counts].double().sum())
            count += int(counts.sum())
    return total / count


def perplexity(model: PreTrainedModel, sequences: Sequence[TokenSequence]) -> float:
    """Measure the perplexity per completion token: e to the power of `heldout_loss`."""
    return math.exp(heldout_loss(model, sequences))


def pretrain(
    model: PreTrainedModel,
    train: Sequence[TokenSequence],
    heldout: Sequence[TokenSequence],
    config: PretrainConfig,
    *,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    progress: bool = False,
) -> PretrainResult:
    """Train a model in place; leave it in evaluation mode with the best parameters met.

    The result is a function of the arguments: batches are drawn from a generator of their own, and
    dropout from torch's, whose state is put back afterwards.

    Args:
        model: A causal language model; one in half precision, in which small steps are rounded away
            and large ones overflow, is converted to float32.
        train: Sequences to learn.
        heldout: Sequences that decide which parameters are best and when to stop.
        config: Hyper-parameters.
        on_evaluation: Called with each measurement.
        progress: Whether to show a progress bar (needs `rich`).

    Returns:
        The history and the counts of the run.

    Raises:
        TrainingStopped: If a loss is not finite.
    """
    start = time.perf_counter()
    if model.dtype.itemsize < 4:
        model.float()
    batches = list(_all_batches(train, config))
    optimizer = _optimizer(model, config.learning_rate, config.weight_decay)
    schedule = _warmup_cosine(optimizer, len(batches), config.warmup_fraction)
    stopping = _EarlyStopping(model, config.patience)
    losses: list[float] = []
    tokens = 0
    model.train()
    with isolated_rng(config.seed):
        for step, indices in enumerate(_track(batches, progress), start=1):
            batch = _batch(model, train, indices)
            losses.append(_train_step(model, batch, optimizer, config))
            _require_finite("training loss", losses[-1], step)
            schedule.step()
            tokens += int(batch.mask.sum())
            if step % config.eval_every == 0 or step == len(batches):
                evaluation = Evaluation(
                    step,
                    config.epochs * step / len(batches),
                    fmean(losses),
                    heldout_loss(model, heldout),
                )
                _require_finite("heldout loss", evaluation.heldout_loss, step)
                losses.clear()
                if on_evaluation is not None:
                    on_evaluation(evaluation)
                if stopping.record(evaluation):
                    break
    stopping.restore_best()
    model.eval()
    seconds = time.perf_counter() - start
    return PretrainResult(tuple(stopping.history), stopping.best, step, tokens, seconds)


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Run a block on freshly seeded torch generators and put their states back afterwards.

    Dropout and the initialisation of a model draw from torch's global generators and accept no
    other.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _require_finite(name: str, loss: float, step: int) -> None:
    if not math.isfinite(loss):
        raise TrainingStopped(
            f"the {name} must be finite, got {loss} in step {step}: lower learning_rate or "
            "max_grad_norm, or train without bfloat16"
        )


class _EarlyStopping:
    """Remembers the best parameters and says when the held-out loss has stopped falling."""

    def __init__(self, model: PreTrainedModel, patience: int) -> None:
        self.history: list[Evaluation] = []
        self.best = Evaluation(step=0, epoch=0.0, train_loss=math.nan, heldout_loss=math.inf)
        self._model = model
        self._patience = patience
        self._best_parameters: dict[str, Tensor] = {}
        self._since_best = 0

    def record(self, evaluation: Evaluation) -> bool:
        """Take note of a measurement; return True if training should stop."""
        self.history.append(evaluation)
        self._since_best += 1
        if evaluation.heldout_loss < self.best.heldout_loss:
            self.best = evaluation
            self._since_best = 0
            parameters = self._model.state_dict().items()
            self._best_parameters = {name: value.clone() for name, value in parameters}
        return self._since_best >= self._patience

    def restore_best(self) -> None:
        """Give the model the parameters of the best measurement."""
        self._model.load_state_dict(self._best_parameters)


def _all_batches(train: Sequence[TokenSequence], config: PretrainConfig) -> Iterator[list[int]]:
    generator = torch.Generator().manual_seed(config.seed)
    lengths = [len(sequence.ids) for sequence in train]
    for _ in range(config.epochs):
        yield from length_batches(lengths, config.batch_tokens, generator)


def _batch(
    model: PreTrainedModel, sequences: Sequence[TokenSequence], indices: Sequence[int]
) -> Batch:
    batch = collate([sequences[index] for index in indices])
    return Batch(*(tensor.to(model.device) for tensor in batch))


def _logits(model: PreTrainedModel, batch: Batch) -> Tensor:
    logits: Tensor = model(batch.input_ids, use_cache=False).logits
    return logits


def _train_step(
    model: PreTrainedModel,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    config: PretrainConfig,
) -> float:
    mask = batch.completion_mask if config.loss_on == "completion" else batch.mask
    with torch.autocast(model.device.type, torch.bfloat16, enabled=config.bfloat16):
        logits = _logits(model, batch)
    loss = completion_loss(logits, batch.input_ids, mask)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), config.max_grad_norm)
    optimizer.step()
    return float(loss.detach())


def _optimizer(
    model: PreTrainedModel, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    matrices = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95))


def _warmup_cosine(
    optimizer: torch.optim.Optimizer, steps: int, warmup_fraction: float
) -> torch.optim.lr_scheduler.LambdaLR:
    warmup = round(warmup_fraction * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


@contextmanager
def _evaluation_mode(model: PreTrainedModel) -> Iterator[None]:
    was_training = model.training
    model.eval()
    yield
    model.train(was_training)


def _track(batches: Sequence[list[int]], progress: bool) -> Iterable[list[int]]:
    if not progress:
        return batches
    from rich.progress import track

    return track(batches, description="pretraining")
