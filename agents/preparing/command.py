"""What to make, without torch, so that a command line starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PrepareCommand:
    """Trains what a preset starts from, once, into the cache folder.

    That folder is `$TEXT_GYM_CACHE`, else `~/.cache/text_gym`. Repeated, the command does no harm;
    interrupted, it begins anew with the model at which it was.
    """

    item: Literal["conversation"]
    """`conversation`: the small-talk model after it has read whole conversations, and a reward
    model of how people rated theirs; ten minutes on two cores."""
    threads: int | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2. The result depends on their number in the
    last bits."""
