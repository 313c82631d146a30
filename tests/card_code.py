"""The lines of a model card, run as somebody would who copies them."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

from huggingface_hub import ModelCard


def front_matter(folder: Path) -> dict[str, object]:
    """Returns what the hub reads of a model's card."""
    return dict(ModelCard.load(folder / "README.md").data.to_dict())


def printed(folder: Path) -> str:
    """Runs the lines that load a model, in its folder, and returns what they print."""
    [code] = re.findall("```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    output = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(output):
        exec(code, {})
    return output.getvalue()
