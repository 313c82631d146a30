"""Runs that learn from a file: what `agents.sft`, `agents.dpo` and `agents.reward_model` are asked.

Plain dataclasses, without torch, so that the command lines answer at once. `agents.runs` does what
they say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents.algorithms.configs.dpo import DPOConfig
from agents.algorithms.configs.offline import OfflineConfig
from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.algorithms.configs.sft import SFTConfig
from agents.applications.fine_tuning import TrackerName
from agents.policy.config import PolicyConfig


@dataclass(frozen=True, kw_only=True)
class OfflineRun:
    """Says what to train, on which file, and where to write."""

    model: str
    """`small-talk` (the model in this package), `smollm2` (SmolLM2-135M-Instruct, after `python -m
    agents.fetch smollm2`), or a folder, hub id or GGUF file of a causal language model."""
    data: Path
    """File of JSON lines. A tenth of its prompts is held out, and evaluated
    before and after."""
    prompt_template: str = "{prompt}\n"
    """What the policy sees of a prompt."""
    max_length: int | None = None
    """Most tokens of prompt and completion, end of text included; pairs that are longer are left
    out. None: as many as the model reads."""
    algorithm: OfflineConfig
    """How to learn."""
    policy: PolicyConfig = field(default_factory=lambda: PolicyConfig(value_network="none"))
    """How the model becomes a policy, and what of it learns."""
    output: Path = Path("runs")
    """Folder of runs."""
    checkpoint_every: int = 100
    """Optimiser steps between checkpoints, from the last of which a stopped run goes on."""
    keep_checkpoints: int = 2
    """Checkpoints to keep; older ones are removed."""
    name: str | None = None
    """Folder of this run within it; None: algorithm, seed and time."""
    track: tuple[TrackerName, ...] = ()
    """Where metrics and replies go besides that folder, which has TensorBoard events, `metrics.csv`
    and `metrics.jsonl` in any case: Weights & Biases, trackio, or both."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to compute: on a GPU if there is one, or on the CPU in any case."""
    threads: int | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2. Results are the same bit for bit only for
    the same number."""

    def __post_init__(self) -> None:
        """Checks the fields that have a rule of their own."""
        if self.max_length is not None and self.max_length < 2:
            raise ValueError(f"max_length must be None or at least 2, got {self.max_length}")


@dataclass(frozen=True, kw_only=True)
class SFTRun(OfflineRun):
    """Trains a language model to write as the completions of a file do.

    Each line of the file has `prompt`, `completion` and, if wanted, `weight`.
    """

    algorithm: SFTConfig = field(default_factory=SFTConfig)
    """How to learn."""


@dataclass(frozen=True, kw_only=True)
class DPORun(OfflineRun):
    """Trains a language model to prefer what was preferred in a file.

    Each line of the file has `prompt`, `chosen`, `rejected` and, if wanted, `margin` and `weight`.
    """

    algorithm: DPOConfig = field(default_factory=DPOConfig)
    """How to learn."""


@dataclass(frozen=True, kw_only=True)
class RewardModelRun(OfflineRun):
    """Trains a reward model on what was said of completions in a file.

    Each line of the file has `prompt`, `chosen`, `rejected` and, if wanted, `margin`, `weight` and
    `tie` (true where neither was preferred), or `prompt`, `completion` and `score`.
    """

    model: str = "small-talk"
    """`small-talk` (the model in this package), `smollm2` (after `python -m agents.fetch smollm2`),
    or a folder or hub id of a language model, an encoder or a reward model."""
    max_length: int | None = None
    """Most tokens that are read of a text; of a longer one, its beginning is left out. None: as
    many as the model reads."""
    algorithm: RewardModelConfig = field(default_factory=RewardModelConfig)
    """How to learn."""


OFFLINE_RUNS: dict[str, type[OfflineRun]] = {
    "sft": SFTRun,
    "dpo": DPORun,
    "reward-model": RewardModelRun,
}
"""By the name of the algorithm."""


@dataclass(frozen=True, kw_only=True)
class RewardModelCheck:
    """Says how good a reward model is, on what people said that it did not learn from."""

    model: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """The folder of a run, or of a reward model."""
    data: Path | None = None
    """File of JSON lines, as for training; None: what the run held out of its own."""
    gold: str | None = None
    """A known reward to compare with: `sentiment`, or another that `python -m agents.train` can
    name."""
    output: Path | None = None
    """Folder for `report.html` and `report.json`."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to compute: on a GPU if there is one, or on the CPU in any case."""
    threads: int | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2."""
