"""An application: a run that shows a use, and what can be named for it and for other runs.

A new application is one file with one `Application`, and its name in `registry`. What it offers is
loaded when it is asked for, so that the command line answers at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.algorithms.configs.names import ALGORITHMS, AlgorithmConfig
from agents.applications.fine_tuning import FineTuning, with_algorithm
from agents.applications.origin import Origin

if TYPE_CHECKING:
    import gymnasium as gym
    import torch

    from agents.applications.split import Split
    from agents.policy.causal_lm import CausalLMPolicy
    from agents.policy.config import PolicyConfig
    from text_gym.constraints import Constraint
    from text_gym.rewards import RewardFunction
    from text_gym.turns import Responder


@dataclass(frozen=True, kw_only=True)
class Application:
    """One use of the package.

    Attributes:
        name: Of the preset on the command line.
        description: What it shows, in a line.
        preset: How it is run.
        others: Settings of other algorithms for it, where what they take over from the preset would
            not do.
        prompts: What `prompts` may name: loaders.
        rewards: What `reward` may name: makers of reward functions.
        learnt_rewards: What `reward` may name too: where a reward model that was learnt is found.
        responders: What `responder` may name: makers of responders, given where one that is a model
            is to compute.
        constraints: What `constraint` may name: makers of constraints that hold together.
        models: What `model` may name: where a pretrained model is found, with its tokenizer.
        policies: What `model` may name: makers of untrained policies, given an environment whose
            vocabulary they have and a seed.
        origins: Where each of its models and policies comes from.
        sources: Where each of its prompts comes from, in a sentence, with the licence.
    """

    name: str
    description: str
    preset: FineTuning
    others: tuple[AlgorithmConfig, ...] = ()
    prompts: Mapping[str, Callable[[], Split]] = field(default_factory=dict)
    rewards: Mapping[str, Callable[[], RewardFunction]] = field(default_factory=dict)
    learnt_rewards: Mapping[str, Callable[[], Path]] = field(default_factory=dict)
    responders: Mapping[str, Callable[[torch.device], Responder]] = field(default_factory=dict)
    constraints: Mapping[str, Callable[[], Sequence[Constraint]]] = field(default_factory=dict)
    models: Mapping[str, Callable[[], Path]] = field(default_factory=dict)
    policies: Mapping[str, Callable[[gym.Env[Any, Any], int, PolicyConfig], CausalLMPolicy]] = (
        field(default_factory=dict)
    )
    origins: Mapping[str, Origin] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)

    def with_algorithm(self, name: str) -> FineTuning:
        """Returns the preset with the algorithm of a name, by the settings that fit it best."""
        for other in self.others:
            if issubclass(ALGORITHMS[name], type(other)):
                return with_algorithm(dataclasses.replace(self.preset, algorithm=other), name)
        return with_algorithm(self.preset, name)
