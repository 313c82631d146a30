"""How one algorithm of TRL is told to learn a toy task, in a process of an interpreter that has it.

What runs there is `benchmarks/trl_toys.py`. Knows nothing of our own algorithms.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmarks.figures import ROOT

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "PYTHONPATH": str(ROOT),
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}


class TRLLearner(NamedTuple):
    """Says how one algorithm learns.

    Attributes:
        name: In figures.
        python: Interpreter that has TRL; no part of what a run depends on.
        version: Of TRL.
        algorithm: What learns.
        settings: Of its config.
    """

    name: str
    python: Path
    version: str
    algorithm: Literal["ppo", "rloo", "grpo"]
    settings: Mapping[str, Any]

    def plain(self) -> dict[str, Any]:
        """Returns all that a run depends on, in plain values."""
        return {name: value for name, value in self._asdict().items() if name != "python"}

    def but(self, **settings: Any) -> TRLLearner:
        """Returns the same learner with some other settings."""
        return self._replace(settings={**self.settings, **settings})

    def run(self, toy: str, seed: int, budget: int) -> dict[str, Any]:
        """Lets it learn a toy task on one thread, and returns its curve in plain values.

        Args:
            toy: Name of the task.
            seed: Of model, prompts and sampling.
            budget: Texts.

        Raises:
            RuntimeError: If it fails, or has another version; says why.
        """
        command = [str(self.python), str(ROOT / "benchmarks" / "trl_toys.py")]
        command += ["--algorithm", self.algorithm, "--task", toy, "--seed", str(seed)]
        command += ["--budget", str(budget), "--settings", json.dumps(dict(self.settings))]
        process = subprocess.run(
            command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
        )
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{process.stderr}")
        report = json.loads(process.stdout.splitlines()[-1])
        if report["versions"]["trl"] != self.version:
            raise RuntimeError(
                f"{self.python} must have trl {self.version} for {self.name}, got "
                f"{report['versions']['trl']}"
            )
        found: dict[str, Any] = report["found"]
        return found
