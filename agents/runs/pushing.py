"""Publishing what a run has made: the model's files and its card, in one commit.

Knows the files of a model's folder, and nothing of models. Whose account it is, the hub's own
settings say (`hf auth login`, `HF_TOKEN`).
"""

from __future__ import annotations

import re
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, constants, get_token

from agents.reports.model_card import CARD
from agents.runs.console import printable, run_console
from agents.runs.pushing_options import Pushing
from agents.runs.saved_config import is_run

_MADE = ("policy", "reward_model")
"""Of what a run makes, within its folder."""
_OF_A_MODEL = re.compile(r"README\.md|(?!\.).+\.(safetensors|json|jinja|model)|(merges|vocab)\.txt")
_HERE = re.compile(r'(\(|model=)"\."')
"""How a card names the folder in which it lies."""


class PushError(RuntimeError):
    """Says that the hub would not take a model."""


def run(config: Pushing) -> str:
    """Uploads a model, and returns where it is to be seen.

    Raises:
        FileNotFoundError: If there is no model, or none with a card.
        PushError: If the hub cannot be reached, or refuses.
        ValueError: If the name is not one of the hub's, or nobody is logged in.
    """
    folder = _model_in(config.model)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", config.repo):
        raise ValueError(f"repo must be OWNER/NAME, got {config.repo!r}")
    if constants.HF_HUB_OFFLINE:
        raise PushError("the hub cannot be reached while HF_HUB_OFFLINE is set: unset it")
    if get_token() is None:
        raise ValueError("somebody must be logged in at the hub: hf auth login, or set HF_TOKEN")
    console = run_console()
    if ModelCard.load(folder / CARD).data.license is None:
        console.print(f"{CARD} names no licence: say in its head under which it is published.")
    names = ", ".join(path.name for path in _files(folder))
    console.print(f"Uploading {printable(names)}")
    where = push(folder, config.repo, private=config.private)
    console.print(f"Uploaded to {printable(where)}")
    return where


def push(folder: Path, repo: str, *, private: bool = True) -> str:
    """Uploads the files of a model, whose card then names the place there.

    Args:
        folder: Of the model, with its card.
        repo: The owner and name of the repository.
        private: Whether one that is made is for its owner alone.

    Returns:
        Where it is to be seen.

    Raises:
        PushError: If the hub cannot be reached, or refuses.
        ValueError: If there are links among the files.
    """
    api = HfApi()
    added = [
        CommitOperationAdd(path.name, _card(path, repo) if path.name == CARD else path)
        for path in _files(folder)
    ]
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        commit = api.create_commit(repo, added, commit_message="Upload by text_gym")
    except Exception as error:  # what the hub's client raises is of many kinds
        raise PushError(f"{repo} could not be uploaded: {error}") from error
    return str(commit.repo_url)


def _files(folder: Path) -> list[Path]:
    """Returns what is uploaded: the files that a model has, and no others.

    Raises:
        ValueError: If one of them, or the folder, is a link: it leads to what nobody has looked at.
    """
    files = sorted(path for path in folder.iterdir() if _OF_A_MODEL.fullmatch(path.name))
    for path in (folder, *files):
        if path.is_symlink():
            raise ValueError(f"{path} must be of the model itself, got a link")
    return files


def _card(path: Path, repo: str) -> bytes:
    return _HERE.sub(rf'\1"{repo}"', path.read_text(encoding="utf-8")).encode()


def _model_in(folder: Path) -> Path:
    """Returns the folder of a model, that of a run or its own.

    Raises:
        FileNotFoundError: If there is none, or none with a card.
    """
    found = folder
    if is_run(folder):
        found = next((folder / name for name in _MADE if (folder / name).is_dir()), folder)
    if not (found / CARD).is_file():
        raise FileNotFoundError(
            f"model must be a finished run, or the folder of a model with its {CARD}, got {folder}"
        )
    return found
