"""Learn a reward from what people said: `python -m agents.reward_model train|check`.

Reads the command line and nothing more; torch is imported once it is known what to do.
"""

from __future__ import annotations

from agents.command_line.command import command
from agents.runs.offline_presets import RewardModelRun


@command("reward_model")
def main() -> None:
    """Trains a reward model on a file, or says how good one is."""
    import tyro

    config: RewardModelRun = tyro.cli(
        RewardModelRun,
        prog="python -m agents.reward_model",
        config=(tyro.conf.AvoidSubcommands,),
    )

    from agents.runs.offline_pipeline import run

    run(config)


if __name__ == "__main__":
    main()
