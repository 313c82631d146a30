"""The cache folder: where data lies that is fetched once. What is in it, it does not know."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Returns `$TEXT_GYM_CACHE`, else `text_gym` within `$XDG_CACHE_HOME` or `~/.cache`.

    The environment is read at every call, and nothing is created.
    """
    own = os.environ.get("TEXT_GYM_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "text_gym"
