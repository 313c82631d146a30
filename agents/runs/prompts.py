"""The prompts that a run names, and which of them are held out for evaluation."""

from __future__ import annotations

from rich.console import Console

from agents.applications.dialogue import DIALOGUE
from agents.applications.registry import PROMPTS
from agents.applications.split import Split, split_prompts
from text_gym.prompts import read_prompts


def load_prompts(name: str, console: Console) -> Split:
    """Returns the prompts that a run's `prompts` option names.

    What is held out comes with the prompts of an application; of a file, it is a tenth.

    Raises:
        FileNotFoundError: If they must be fetched first; names the command.
        ModuleNotFoundError: If a package with them is missing; names the extra. Only of dialogue
            there are others in this package, which are taken instead.
    """
    if name not in PROMPTS:
        return split_prompts(read_prompts(name))
    try:
        return PROMPTS[name]()
    except ModuleNotFoundError as error:
        if name not in DIALOGUE.prompts:
            raise
        console.print(f"{error}; using the package's own prompts instead", style="yellow")
        return PROMPTS["small-talk"]()
