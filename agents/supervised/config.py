"""What to pretrain and how, without torch, so that a command line starts at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agents.applications.fine_tuning import TrackerName
from agents.field_kinds import require_kinds


@dataclass(frozen=True)
class PretrainConfig:
    """Set the hyper-parameters of `agents.supervised.pretrain`."""

    epochs: int = 3
    """Passes over the training sequences."""

    batch_tokens: int = 2048
    """Largest size of a batch, padding included: sequences x longest length."""

    learning_rate: float = 1.5e-3
    """Peak of AdamW's learning rate."""

    warmup_fraction: float = 0.05
    """Part of all steps over which the learning rate rises from 0; then a cosine takes it to 0."""

    weight_decay: float = 0.1
    """AdamW's decay of matrices and embeddings; biases and normalisation gains have none."""

    max_grad_norm: float = 1.0
    """Largest Euclidean norm of the gradient; beyond it the gradient is scaled down."""

    loss_on: Literal["completion", "all"] = "all"
    """Tokens that the loss counts: only the completion's, or the prompt's too."""

    bfloat16: bool = True
    """Whether forward passes of training run under bfloat16 autocast; parameters stay float32."""

    eval_every: int = 500
    """Steps between two measurements of the held-out loss; the last step is always measured."""

    patience: int = 4
    """Measurements without a new best held-out loss after which training stops."""

    seed: int = 0
    """Seed of the order of the batches and of dropout."""

    def __post_init__(self) -> None:
        require_kinds(self)
        for name in ("epochs", "batch_tokens", "eval_every", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.warmup_fraction < 1:
            raise ValueError(f"warmup_fraction must be in [0, 1), got {self.warmup_fraction}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")


@dataclass(frozen=True)
class ModelShape:
    """Set the size of the GPT-2 to train."""

    vocabulary_size: int = 2048
    """Tokens of the byte-level BPE tokenizer."""

    n_positions: int = 128
    """Longest context in tokens; longer pairs are left out."""

    n_embd: int = 256
    """Width."""

    n_layer: int = 3
    """Number of blocks."""

    n_head: int = 4
    """Attention heads of a block."""

    dropout: float = 0.0
    """Dropout while training; the saved model has none."""


@dataclass(frozen=True)
class PretrainCommand:
    """Train a tokenizer and a small GPT-2 on a corpus and write them to a folder."""

    corpus: Literal["small-talk", "verse", "translation"] = "small-talk"
    """What to read: `small-talk` (human conversations), `verse` (Shakespeare's plays, then what in
    them is a haiku or a couplet; after `python -m agents.fetch shakespeare`) or `translation`
    (clauses in Spanish and English, after `python -m agents.fetch translation`). The defaults of
    the other options are those of the corpus."""

    output: Path | None = None
    """Folder of the model, the tokenizer and the model card; None: `runs/small_talk`, and of other
    corpora where runs look for it, in the cache folder."""

    shape: ModelShape = field(default_factory=ModelShape)

    training: PretrainConfig = field(default_factory=PretrainConfig)

    threads: int | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2. The result depends on their number in the
    last bits."""

    track: tuple[TrackerName, ...] = ()
    """Where metrics and replies go besides: Weights & Biases, trackio, or both."""


COMMANDS = {
    "small-talk": PretrainCommand(),
    "verse": PretrainCommand(
        corpus="verse",
        shape=ModelShape(vocabulary_size=6000, n_positions=64, n_embd=128),
        training=PretrainConfig(epochs=3, eval_every=100),
    ),
    "translation": PretrainCommand(
        corpus="translation",
        shape=ModelShape(n_positions=64, n_embd=192),
        training=PretrainConfig(
            epochs=5,
            batch_tokens=1024,
            learning_rate=2e-3,
            loss_on="completion",
            eval_every=100,
        ),
    ),
}
"""What the command line starts from, by corpus."""
