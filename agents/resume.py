"""Go on with a stopped run, or take its policy: `python -m agents.resume runs/NAME`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from agents.command_line.command import command


@command("resume")
def main() -> None:
    """Takes a run up again from its last checkpoint, and finishes it; or exports its policy."""
    parser = argparse.ArgumentParser(prog="python -m agents.resume", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="of the run, which holds its config.json")
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="run the code that the config names (reward, environment, wrappers) as it is now, "
        "though it was not run from here before, or was changed since the run began",
    )
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FOLDER",
        help="write the policy of the last checkpoint of a run of agents.train into this new "
        "folder, and do not go on; one process does it, whatever the number that learn",
    )
    asked = parser.parse_args()
    folder = asked.folder

    from agents.algorithms.configs.names import OFFLINE_ALGORITHMS
    from agents.loop import pipeline as loop
    from agents.loop.options import PRESET
    from agents.runs import offline_pipeline, pipeline
    from agents.runs.exporting import export
    from agents.runs.saved_config import read_learner, read_preset

    preset, learner = read_preset(folder), read_learner(folder)
    if asked.export is not None:
        if preset == PRESET or learner in OFFLINE_ALGORITHMS:
            raise ValueError(
                f"--export takes runs of agents.train, got {folder}, one of agents."
                f"{preset.replace('-', '_')}"
            )
        export(folder, asked.export, trust_code=asked.trust_code)
    elif preset == PRESET:
        loop.resume(folder, trust_code=asked.trust_code)
    elif learner in OFFLINE_ALGORITHMS:
        if asked.trust_code:
            raise ValueError(
                f"--trust-code must be left out, as {folder} learns from a file and names no code"
            )
        offline_pipeline.resume(folder)
    else:
        pipeline.resume(folder, trust_code=asked.trust_code)


if __name__ == "__main__":
    main()
