"""Learn a reward from what people said: `python -m agents.reward_model train`, and `check`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from typing import Annotated, Any

from agents.command_line.command import command
from agents.runs.offline_presets import RewardModelCheck, RewardModelRun


@command("reward_model")
def main() -> None:
    """Trains a reward model on a file, or says how good one is."""
    import tyro

    from agents.command_line.options import read_options

    train = Annotated[RewardModelRun, tyro.conf.subcommand("train")]
    check = Annotated[RewardModelCheck, tyro.conf.subcommand("check")]
    kinds: Any = train | check
    config: RewardModelRun | RewardModelCheck = read_options(
        kinds,
        prog="python -m agents.reward_model",
        description=main.__doc__,
        config=(tyro.conf.AvoidSubcommands,),
    )
    if isinstance(config, RewardModelCheck):
        from agents.runs import checking

        checking.run(config)
    else:
        from agents.runs import offline_pipeline

        offline_pipeline.run(config)


if __name__ == "__main__":
    main()
