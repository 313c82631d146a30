"""The prompts that a run names, and which of them are held out for evaluation."""

from __future__ import annotations

from rich.console import Console

from agents.applications.dialogue import DIALOGUE
from agents.applications.registry import PROMPTS
from agents.applications.split import Split, split_prompts
from agents.runs.listed_prompts import read_listed


def load_prompts(name: str | None, console: Console, heldout: str | None = None) -> Split:
    """Returns the prompts that a run's `prompts` option names.

    What is held out comes with the prompts of an application; of a file, it is a tenth.

    Args:
        name: Of an application's, or as `read_listed` takes it; None: there are none, as an
            environment has its own.
        console: Where it is said that others stand in.
        heldout: The option `eval_prompts`: then nothing of a file is held out.

    Raises:
        FileNotFoundError: If they must be fetched first; names the command.
        ModuleNotFoundError: If a library that reads them is missing; names the extra. Only of
            dialogue there are others in this package, which are taken instead.
    """
    if name is None:
        return Split((), ())
    if heldout is None:
        return _named(name, console)
    train = _named(name, console).train if name in PROMPTS else read_listed(name)
    in_names = heldout in PROMPTS
    chosen = _named(heldout, console).eval_prompts if in_names else read_listed(heldout)
    return Split(train, chosen)


def _named(name: str, console: Console) -> Split:
    if name not in PROMPTS:
        return split_prompts(read_listed(name))
    try:
        return PROMPTS[name]()
    except ModuleNotFoundError as error:
        if name not in DIALOGUE.prompts:
            raise
        console.print(f"{error}; using the package's own prompts instead", style="yellow")
        return PROMPTS["small-talk"]()
