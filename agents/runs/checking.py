"""From the folder of a reward model to a verdict on it: `python -m agents.reward_model check`."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from agents.applications.registry import REWARDS
from agents.applications.split import heldout_texts
from agents.command_line.threads import number_of_threads
from agents.distributed import processes
from agents.reward_models.reward_model import RewardModel
from agents.reward_models.verdict import RewardModelVerdict, check
from agents.reward_models.verdict_report import shares_of, write_report
from agents.runs.console import key_values, printable, run_console
from agents.runs.offline_presets import RewardModelCheck
from agents.runs.saved_config import is_run, read_offline_config
from agents.supervised.pair_files import Preference, Rating, read_feedback


def run(config: RewardModelCheck) -> RewardModelVerdict:
    """Checks a reward model, shows what was found and, if asked, writes it down.

    Raises:
        FileNotFoundError: If there is no reward model, or the run is not finished.
        ValueError: If no data is named and none was held out, or the known reward has no name.
    """
    if config.gold is not None and config.gold not in REWARDS:
        raise ValueError(f"gold must be one of {sorted(REWARDS)}, got {config.gold!r}")
    folder, data, rows = _found(config)
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(number_of_threads(config.threads))
    device = processes.init(use_cpu=config.device == "cpu")
    model = RewardModel.load(folder, device)
    verdict = check(model, rows, gold=None if config.gold is None else REWARDS[config.gold]())
    about = [("model", str(folder)), ("data", data), ("known reward", config.gold or "none")]
    console = run_console()
    figures = {name: str(figure) for name, figure in shares_of(verdict)}
    console.print(key_values("Reward model", {name: printable(it) for name, it in about} | figures))
    if config.output is not None:
        page = write_report(verdict, about, config.output)
        console.print(f"Written to {printable(str(page))}")
    return verdict


def _found(config: RewardModelCheck) -> tuple[Path, str, list[Preference | Rating]]:
    """Returns the folder of the model, what it is checked on in words, and that."""
    folder = config.model
    if not is_run(folder):
        if config.data is None:
            raise ValueError("data must be named for a model that is not in a run, got None")
        return folder, str(config.data), read_feedback(config.data)
    if config.data is not None:
        return folder / "reward_model", str(config.data), read_feedback(config.data)
    data = read_offline_config(folder).config.data
    rows = read_feedback(data)
    chosen = heldout_texts(row.prompt for row in rows)
    heldout = [row for row in rows if row.prompt in chosen]
    if not heldout:
        raise ValueError(f"data must be named, for the run held out none of {data}, got None")
    return folder / "reward_model", f"held-out prompts of {data}", heldout
