"""What `python -m agents.inspect` can be asked.

A plain dataclass, without torch, so that the command line answers at once. `agents.runs.inspecting`
does what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from agents.inspection import FEWEST_TEXTS


@dataclass(frozen=True, kw_only=True)
class Inspecting:
    """Shows what training changed: which tokens, which words, and what the reward went up with.

    The run's policy and what it started from write to the same prompts; a page and its figures are
    put into `inspection` in the run's folder.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """The folder of a finished run."""
    texts: int = 256
    """Replies of each policy."""
    shown: int = 20
    """Replies that are shown token by token."""
    seed: int = 0
    """Of prompts and replies."""
    trust_code: bool = False
    """Whether to run the code that a run's config names (reward, environment, wrappers), though it
    was not run from here before, or has changed since: see SECURITY.md."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to compute: on a GPU if there is one, or on the CPU in any case."""
    threads: int | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2."""

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ValueError: If there are too few.
        """
        if self.texts < FEWEST_TEXTS:
            raise ValueError(f"texts must be at least {FEWEST_TEXTS}, got {self.texts}")
        if not 1 <= self.shown <= self.texts:
            raise ValueError(f"shown must be from 1 to texts={self.texts}, got {self.shown}")
