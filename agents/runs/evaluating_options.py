"""What `python -m agents.evaluate` can be asked.

A plain dataclass, without torch, so that the command line answers at once. `agents.runs.evaluating`
does what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Evaluating:
    """Compares language models on the same prompts, and writes a report.

    What the options leave open is taken from the runs among the models, which must agree on it.
    """

    models: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL ...")
    ]
    """Folders of finished runs; or `small-talk` (the model in this package), `smollm2`
    (SmolLM2-135M-Instruct, after `python -m agents.fetch smollm2`), or folders, hub ids or GGUF
    files of causal language models."""
    reference: str | None = None
    """What the others are compared with, and KL is measured from; None: the first of the models."""
    prompts: str | None = None
    """`chitchat`, `small-talk` or `film-reviews`: those held out from training; or all of
    what `prompts` of `agents.train` takes: a file, a data set, one text. None: those that the runs
    held out."""
    eval_episodes: int = 256
    """Replies of each model. Where prompts come with a `reference`, they are compared with it."""
    reward: str | None = None
    """What a reply is worth, as in training: a name, or the folder of a reward model; None: as in
    the runs."""
    proxy: str | None = None
    """Another reward of the same replies, as a rule a learnt one: a reward model's folder, or a
    name. Its mean is told, and how often replies win by it."""
    kl_coef: float | None = None
    """Price of a nat of KL in the objective; None: the runs', or without any, no objective."""
    best_of: int | None = None
    """Also evaluate the best of so many replies of the reference, by the reward."""
    optimum_texts: int | None = None
    """So many more replies of the reference to each prompt estimate the optimum of the objective,
    and so everybody's regret: 32 or more, of any one prompt at least 10 with some weight."""
    independent: str | None = None
    """A model that had no part in training, under which the perplexity of the replies is told."""
    study: Path | None = None
    """Study in which people compare each model's replies with the reference's, blind; a new folder
    becomes one. Given again, what they said until then is in the report."""
    prompt_template: str | None = None
    """What a policy sees of a prompt; None: that of the runs, or the prompt and a new line."""
    max_new_tokens: int | None = None
    """Longest reply, end of text included; None: that of the runs, or 32."""
    temperature: float | None = None
    """Of sampling; None: that of the runs, or 1."""
    ban_unwanted: bool | None = None
    """Whether masks keep profanities from being written; None: as in the runs, or not."""
    samples: int = 12
    """Prompts whose replies the report shows side by side."""
    seed: int = 0
    """Of sampling and of the order of the prompts."""
    output: Path = Path("evaluation")
    """Folder of `report.html` and `report.json`."""
    trust_code: bool = False
    """Whether to run the code that a run's config names (reward, environment, wrappers), though it
    was not run from here before, or has changed since: see SECURITY.md."""
    device: Literal["auto", "cpu"] = "auto"
    """Where to compute: on a GPU if there is one, or on the CPU in any case."""
    threads: int | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2."""

    def __post_init__(self) -> None:
        """Checks the fields that have a rule of their own.

        Raises:
            ValueError: If a number is too small, nothing is to be evaluated, or twice the same.
        """
        least = {"eval_episodes": 2, "best_of": 2, "optimum_texts": 2, "samples": 0}
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise ValueError(f"{name} must be at least {bound}, got {value}")
        if not self.models or len(set(self.models)) != len(self.models):
            raise ValueError(f"models must be one or more, all different, got {self.models}")

    @property
    def named(self) -> dict[str, str]:
        """All that are evaluated, the reference first, by what they are called in the report.

        That is the last part of a path, or if two have the same, all of it.
        """
        reference = self.models[0] if self.reference is None else self.reference
        models = (reference, *(model for model in self.models if model != reference))
        short = [Path(model).name if Path(model).is_dir() else model for model in models]
        return dict(zip(short if len(set(short)) == len(short) else models, models, strict=True))
