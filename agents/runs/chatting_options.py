"""What `python -m agents.chat` can be asked.

A plain dataclass, without torch, so that the command line answers at once. `agents.runs.chatting`
does what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Chatting:
    """Replies to every line of the input, by one model or by several side by side.

    Each line is a prompt of its own; a model that was tuned with `--chat` reads the whole talk. An
    empty line, or the end of the input, ends the talk.
    """

    models: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL ...")
    ]
    """Folders of finished runs; or `small-talk` (the model in this package), `smollm2`, or folders,
    hub ids or GGUF files of causal language models. Of one run, its model before training replies
    too."""
    max_new_tokens: int | None = None
    """Longest reply, end of text included; None: as in the run, or 32."""
    trust_code: bool = False
    """Whether to run the code that a run's config names (reward, environment, wrappers), though it
    was not run from here before, or has changed since: see SECURITY.md."""
    seed: int = 0
    """Of sampling."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to compute."""
    threads: int | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2."""
