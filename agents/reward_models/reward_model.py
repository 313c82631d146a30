"""A reward model: a network and what it reads, as a reward function.

Its rewards have mean 0 and variance 1 over the completions that it was made with. Saved, it is an
ordinary sequence classifier, with a small file beside it. It does not know how it was trained.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoTokenizer

from agents.checkpoints.folder import replace_folder
from agents.checkpoints.plain_values import require_form
from agents.policy.config import PolicyConfig
from agents.policy.token_batch import TokenBatch
from agents.reward_models.network import RewardNetwork
from agents.reward_models.normalization import fold
from agents.reward_models.reading import Reader
from text_gym import Episode

FILE = "reward_model.json"
_FORM: dict[str, Any] = {
    "prompt_template": "",
    "max_length": 0,
    "offset": 0.0,
    "nats": 0.0,
    "tie_log_odds": None,
}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RewardModel:
    """Says what completions are worth, in batches.

    Attributes:
        network: Gives the rewards, but for the offset.
        reader: What of a text it is given.
        offset: Is added to every reward; 0 where the network's own numbers hold it.
        nats: What a unit of reward is worth: between texts that differ by Δ, the log-odds of a
            preference are `nats`·Δ.
        tie_log_odds: Of a tie over either side between equals; None: nobody tied.
        batch_size: Texts of a forward pass.
    """

    network: RewardNetwork
    reader: Reader
    offset: float = 0.0
    nats: float = 1.0
    tie_log_odds: float | None = None
    batch_size: int = 64

    def __call__(self, episodes: Sequence[Episode]) -> Floats:
        """Returns the rewards of finished texts, (n,); of several turns, the whole is read."""
        return self.score(
            [episode.prompt for episode in episodes],
            [episode.continuation for episode in episodes],
        )

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> Floats:
        """Returns the rewards of n completions, (n,).

        Raises:
            ValueError: If there are not as many prompts as completions.
        """
        if not len(prompts) and not len(completions):
            return np.zeros(0)
        return self.rewards(self.reader.read(prompts, completions)) + self.offset

    @torch.inference_mode()
    def rewards(self, texts: TokenBatch) -> Floats:
        """Returns the network's rewards of n texts, (n,), those of similar length together."""
        order = texts.attention_mask.sum(dim=1).argsort(stable=True)
        batches = (texts.select(rows) for rows in order.split(self.batch_size))
        parts = [self.network(batch.to(self.network.device)) for batch in batches]
        rewards: Floats = torch.cat(parts)[order.argsort()].double().cpu().numpy()
        return rewards

    def to(self, device: torch.device | str) -> Self:
        """Moves the network to a device, in place."""
        self.network.to(device)
        return self

    def normalized(self, prompts: Sequence[str], completions: Sequence[str]) -> Self:
        """Returns a copy whose rewards have mean 0 and variance 1 over n completions.

        The odds of preferences stay as they are.

        Raises:
            ValueError: If all are worth the same.
        """
        return self.normalized_over(self.reader.read(prompts, completions))

    def normalized_over(self, texts: TokenBatch) -> Self:
        """Does what `normalized` does, over texts as token ids."""
        rewards = self.rewards(texts) + self.offset
        mean, deviation = float(rewards.mean()), float(rewards.std())
        if not deviation > 0:
            raise ValueError(
                f"completions must differ in reward to be normalised, got {mean:.3g} for all "
                f"{len(rewards)}"
            )
        network = self.network.plain_copy()
        offset = fold(network, (self.offset - mean) / deviation, 1 / deviation)
        return dataclasses.replace(self, network=network, offset=offset, nats=self.nats * deviation)

    def save(self, folder: str | Path) -> None:
        """Writes a folder that plain transformers reads as a sequence classifier, whole or not."""
        replace_folder(Path(folder), self._fill)

    def _fill(self, folder: Path) -> None:
        self.network.model.config.pad_token_id = self.reader.padding
        self.network.save_pretrained(folder)
        tokenizer = copy.deepcopy(self.reader.tokenizer)
        tokenizer.pad_token_id = self.reader.padding
        tokenizer.save_pretrained(folder)
        said = {
            "prompt_template": self.reader.template,
            "max_length": self.reader.max_length,
            "offset": self.offset,
            "nats": self.nats,
            "tie_log_odds": self.tie_log_odds,
        }
        text = json.dumps(said, indent=2, allow_nan=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(
        cls, folder: str | Path, device: torch.device | str = "cpu", *, autocast: bool = False
    ) -> Self:
        """Reads what `save` wrote.

        Args:
            folder: Of the model.
            device: Where it computes.
            autocast: Whether the products of the trunk are in bfloat16 where the device is fast
                at them, as a policy's are with `autocast="auto"`.

        Raises:
            FileNotFoundError: If there is no reward model.
            ValueError: If the file beside the model is not what `save` wrote.
        """
        said = _read(Path(folder) / FILE)
        options = PolicyConfig(value_network="none", autocast="auto" if autocast else None)
        network = RewardNetwork.from_pretrained(folder, options).requires_grad_(False)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        reader = Reader(tokenizer, said["prompt_template"], said["max_length"], network.is_causal)
        return cls(network.to(device), reader, said["offset"], said["nats"], said["tie_log_odds"])


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"folder must be of a reward model, with {FILE}, got {path.parent}")
    try:
        said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        form = _FORM | ({} if said.get("tie_log_odds") is None else {"tie_log_odds": 0.0})
        require_form(said, form, "reward model")
    except ValueError as error:
        raise ValueError(f"{path} must hold what a reward model wrote: {error}") from error
    return said
