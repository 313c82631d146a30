"""Which model a command names, and how it is asked to write.

A finished run stands for the policy that it ended with, which goes on writing as it learnt to.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from agents.algorithms.configs.names import OFFLINE_ALGORITHMS
from agents.applications.registry import POLICIES
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.runs.models import load_language_model
from agents.runs.saved_config import is_run, read_config, read_learner, read_offline_config
from agents.runs.wrappers import kept_in_evaluation
from text_gym import HuggingFaceTokenizer


class Manner(NamedTuple):
    """Holds how a model is asked to write."""

    prompt_template: str | None = "{prompt}\n"
    max_new_tokens: int | None = 32
    temperature: float = 1.0
    ban_unwanted: bool = False
    chat: bool = False
    responder: str | None = None
    response_template: str = "{response}"
    max_response_tokens: int | None = None
    max_turn_tokens: int | None = None
    max_turns: int | None = None
    constraint: str | None = None
    env_id: str | None = None
    env_args: str = "{}"
    wrappers: str | None = None


class NamedModel(NamedTuple):
    """Holds a model that writes.

    Attributes:
        policy: As it writes.
        tokenizer: None where a run's environment has its own.
    """

    policy: CausalLMPolicy
    tokenizer: HuggingFaceTokenizer | None


def source_of(model: str) -> str:
    """Returns where the model of a name is found: of a finished run, its policy's folder.

    Raises:
        FileNotFoundError: If the run is not finished; says how to go on with it.
    """
    folder = Path(model)
    if not is_run(folder):
        return model
    if not os.path.isdir(folder / "policy"):
        raise FileNotFoundError(
            f"model must be a finished run, got {folder}, which has no policy yet: finish it "
            f"by python -m agents.resume {folder}"
        )
    return str(folder / "policy")


def manner_of(model: str) -> Manner:
    """Returns how the model of a name writes: as the run did, if it is one."""
    folder = Path(model)
    if not is_run(folder):
        return Manner()
    if read_learner(folder) in OFFLINE_ALGORITHMS:
        learnt = read_offline_config(folder).config
        return Manner(learnt.prompt_template, temperature=learnt.policy.temperature)
    tuned = read_config(folder).config
    own = {name: getattr(tuned, name) for name in Manner._fields if name != "temperature"}
    own["wrappers"] = kept_in_evaluation(tuned.wrappers)
    return Manner(**own, temperature=tuned.policy.temperature)


def load_named_model(model: str, temperature: float) -> NamedModel:
    """Returns the model of a name.

    Raises:
        FileNotFoundError: As `source_of`.
        ValueError: If the name is not of a causal language model.
    """
    options = PolicyConfig(value_network="none", temperature=temperature)
    source = source_of(model)
    if _began_untrained(Path(model)):
        return NamedModel(CausalLMPolicy.from_pretrained(source, options), None)
    return NamedModel(*load_language_model(source, options))


def _began_untrained(folder: Path) -> bool:
    """Tells the run of a policy that had the vocabulary of its environment."""
    if not is_run(folder) or read_learner(folder) in OFFLINE_ALGORITHMS:
        return False
    return read_config(folder).config.model in POLICIES
