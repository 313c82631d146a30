"""What `python -m agents.sample` can be asked.

A plain dataclass, without torch, so that the command line answers at once. `agents.runs.sampling`
does what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Lets a language model write completions that people are to judge.

    What it writes, and how, goes to a study of `text_gym.feedback` or to a file of items. Of equal
    completions of a prompt one is kept.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """The folder of a finished run; or `small-talk` (the model in this package), `smollm2`
    (SmolLM2-135M-Instruct, after `python -m agents.fetch smollm2`), or a folder, hub id or GGUF
    file of a causal language model."""
    prompts: str
    """`chitchat` (human turns of conversations that the small-talk model never saw), `small-talk`
    (the package's own), `film-reviews` (first words of reviews, after `python -m agents.fetch
    film-reviews`), those held out from training left out; or all of what `prompts`
    of `agents.train` takes: a file, a data set, one text."""
    per_prompt: int = 2
    """Completions of each prompt."""
    n_prompts: int | None = None
    """So many of the prompts, drawn by lot; None: all."""
    study: Path | None = None
    """Study that the completions are added to; a new folder becomes one, in which two completions
    are compared."""
    output: Path | None = None
    """New file of items, one a line (JSON), from which `python -m text_gym.feedback create` makes a
    study."""
    prompt_template: str | None = None
    """What the policy sees of a prompt; None: that of the run, or the prompt and a new line."""
    max_new_tokens: int | None = None
    """Longest completion, end of text included; None: that of the run, or 32."""
    temperature: float | None = None
    """Of sampling; None: that of the run, or 1."""
    ban_unwanted: bool | None = None
    """Whether masks keep profanities from being written; None: as in the run, or not."""
    trust_code: bool = False
    """Whether to run the code that a run's config names (reward, environment, wrappers), though it
    was not run from here before, or has changed since: see SECURITY.md."""
    seed: int = 0
    """Of sampling and of the order of the prompts."""
    num_envs: int = 64
    """Completions written side by side, at most."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to compute: on a GPU if there is one, or on the CPU in any case."""
    threads: int | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2."""

    def __post_init__(self) -> None:
        """Checks the fields that have a rule of their own.

        Raises:
            ValueError: If a number is below 1, or there is nowhere to write.
        """
        for name in ("per_prompt", "n_prompts", "num_envs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.study is None and self.output is None:
            raise ValueError("study or output must say where completions go, got neither")
