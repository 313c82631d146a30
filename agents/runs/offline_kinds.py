"""What differs between runs that learn from a file: how it is read, what learns, what is saved.

The order of a run is `agents.runs.offline_pipeline`, the same for all. A new algorithm that learns
from a file is one more of `KINDS`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agents.algorithms.configs.dpo import DPOConfig
from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.algorithms.configs.sft import SFTConfig
from agents.algorithms.dpo import DPO
from agents.algorithms.offline import Offline
from agents.algorithms.sft import SFT
from agents.reward_models.examples import encode_feedback, rating_scale
from agents.reward_models.learner import RewardLearner
from agents.reward_models.training import load_network, reader_of
from agents.runs.final_policies import save_model
from agents.runs.models import load_language_model
from agents.runs.offline_presets import OfflineRun
from agents.runs.run_card import Made, card_of_policy, card_of_reward_model
from agents.runs.sample_texts import written
from agents.supervised.examples import encode_demonstrations, encode_preferences
from agents.supervised.pair_files import read_demonstrations, read_feedback, read_preferences

Rows = Sequence[Any]


class Learning(NamedTuple):
    """Holds what learns, and what it needs of a run.

    Attributes:
        model: The policy, or whatever else learns.
        max_length: Most tokens of a text.
        encode: Rows of a file → what is learnt from; None if nothing of them can be.
        save: Writes what the agent has learnt to a folder.
        write: Prompts → what the model writes to some of them; nothing if it does not write.
        card: Agent, what is to be said of the run → the card of what was saved.
    """

    model: Any
    max_length: int
    encode: Callable[[Rows], Any]
    save: Callable[[Any, Path], None]
    write: Callable[[Iterable[str]], dict[str, str]]
    card: Callable[[Any, Made], str]


class Kind(NamedTuple):
    """Says how a run deals with a file and a model.

    Attributes:
        read: File → rows, each with a `prompt`.
        load: Config, rows to learn from → what learns.
        agent: The algorithm.
        folder: Of what was learnt, within the run's.
    """

    read: Callable[[Path], list[Any]]
    load: Callable[[OfflineRun, Rows], Learning]
    agent: type[Offline[Any, Any, Any]]
    folder: str


def _policy(encode: Callable[..., Any]) -> Callable[[OfflineRun, Rows], Learning]:
    def load(config: OfflineRun, _: Rows) -> Learning:
        policy, tokenizer = load_language_model(config.model, config.policy)
        limits = [one for one in (config.max_length, policy.max_length) if one is not None]
        longest, template = min(limits, default=sys.maxsize), config.prompt_template

        def encoded(rows: Rows) -> Any:
            return encode(rows, tokenizer, template=template, max_length=longest)

        def save(agent: Any, folder: Path) -> None:
            save_model(agent.policy, tokenizer, folder)

        def write(prompts: Iterable[str]) -> dict[str, str]:
            return written(policy, tokenizer, prompts, template, config.algorithm.seed)

        return Learning(policy, longest, encoded, save, write, lambda _, made: card_of_policy(made))

    return load


def _reward_model(config: OfflineRun, rows: Rows) -> Learning:
    network, tokenizer = load_network(config.model, config.policy, seed=config.algorithm.seed)
    reader = reader_of(network, tokenizer, config.prompt_template, config.max_length)
    scale = rating_scale(rows)

    def encoded(rows: Rows) -> Any:
        return encode_feedback(rows, reader, scale) if rows else None

    def save(agent: Any, folder: Path) -> None:
        agent.reward_model(reader).save(folder)

    def card(agent: Any, made: Made) -> str:
        return card_of_reward_model(made, agent.reward_model(reader).offset)

    return Learning(network, reader.max_length, encoded, save, lambda _: {}, card)


KINDS: Mapping[type, Kind] = {
    SFTConfig: Kind(read_demonstrations, _policy(encode_demonstrations), SFT, "policy"),
    DPOConfig: Kind(read_preferences, _policy(encode_preferences), DPO, "policy"),
    RewardModelConfig: Kind(read_feedback, _reward_model, RewardLearner, "reward_model"),
}
"""By the config of the algorithm."""
