"""Record one step of sb3-contrib's TRPO, for `test_golden.py` to compare with ours.

    python tests/golden/record_sb3_trpo.py

Writes a JSON file beside this one. The learner's own `train` runs on a recorded batch, in float64;
what it passes to its solver and gets back is noted on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import sb3_contrib
import torch
from gymnasium import spaces
from sb3_contrib import TRPO
from sb3_contrib.trpo import trpo as module
from stable_baselines3.common.buffers import RolloutBufferSamples
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

HERE = Path(__file__).parent
STATES, SIZE, HIDDEN, ACTIONS = 12, 3, 4, 5


class Nothing(gym.Env[Any, Any]):
    """Has the spaces of the policy; nothing steps it."""

    observation_space = spaces.Box(-9, 9, (SIZE,))
    action_space = spaces.Discrete(ACTIONS)


class Double(BaseFeaturesExtractor):
    """Passes observations on, in float64."""

    def __init__(self, observation_space: gym.Space[Any]) -> None:
        super().__init__(observation_space, SIZE)

    def forward(self, observations: Tensor) -> Tensor:
        return observations.double()


class Batch:
    """A rollout buffer that holds one recorded batch."""

    def __init__(self, samples: RolloutBufferSamples) -> None:
        self.samples = samples
        self.values = self.returns = np.zeros(STATES)

    def get(self, batch_size: int | None) -> Iterator[RolloutBufferSamples]:
        yield self.samples


def learner(target_kl: float, max_trials: int) -> TRPO:
    agent = TRPO(
        "MlpPolicy",
        Nothing(),
        seed=0,
        device="cpu",
        n_steps=STATES,
        batch_size=STATES,
        target_kl=target_kl,
        line_search_max_iter=max_trials,
        n_critic_updates=1,
        policy_kwargs={
            "net_arch": [HIDDEN],
            "activation_fn": nn.Tanh,
            "features_extractor_class": Double,
        },
    )
    agent.policy.double()
    agent.set_logger(Logger(None, []))
    # The last layer starts at almost nothing; a policy that prefers something says more.
    generator = torch.Generator().manual_seed(1)
    for parameter in agent.policy.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return agent


def batch_for(agent: TRPO) -> RolloutBufferSamples:
    generator = torch.Generator().manual_seed(2)
    observations = torch.randn(STATES, SIZE, generator=generator)
    actions = torch.randint(ACTIONS, (STATES, 1), generator=generator)
    advantages = torch.randn(STATES, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        log_probs = agent.policy.get_distribution(observations).log_prob(actions.flatten())
    nothing = torch.zeros(STATES, dtype=torch.float64)
    return RolloutBufferSamples(observations, actions, nothing, log_probs, advantages, nothing)


def actor(agent: TRPO) -> list[list[Any]]:
    parts = agent.policy.named_parameters()
    return [value.tolist() for name, value in parts if "value" not in name]


def record(target_kl: float, max_trials: int = 10) -> dict[str, Any]:
    agent, noted = learner(target_kl, max_trials), {}
    samples, solve = batch_for(agent), module.conjugate_gradient_solver
    agent.rollout_buffer = Batch(samples)

    def watched(product: Any, b: Tensor, max_iter: int) -> Tensor:
        direction = solve(product, b, max_iter=max_iter)
        ones = torch.ones_like(b)
        noted.update(gradient=b, direction=direction, product_of_ones=product(ones))
        return direction

    before = actor(agent)
    module.conjugate_gradient_solver = watched
    try:
        torch.manual_seed(0)
        agent.train()
    finally:
        module.conjugate_gradient_solver = solve
    logged = agent.logger.name_to_value
    return {
        "observations": samples.observations.tolist(),
        "actions": samples.actions.flatten().tolist(),
        "advantages": samples.advantages.tolist(),
        "settings": settings(agent),
        "parameters before": before,
        "parameters after": actor(agent),
        "objective": float(logged["train/policy_objective"]),
        "kl": float(logged["train/kl_divergence_loss"]),
        "accepted": bool(logged["train/is_line_search_success"]),
        **{name: value.tolist() for name, value in noted.items()},
    }


def settings(agent: TRPO) -> dict[str, float]:
    return {
        "damping": agent.cg_damping,
        "max_kl": agent.target_kl,
        "shrink": agent.line_search_shrinking_factor,
        "max_trials": agent.line_search_max_iter,
        "max_iterations": agent.cg_max_steps,
    }


def main() -> None:
    # At 0.5 the whole step leaves the region: it is shrunk once, or rejected.
    outputs = {
        "whole step": record(0.01),
        "shrunk step": record(0.5),
        "rejected step": record(0.5, max_trials=1),
    }
    found = {"sb3_contrib": sb3_contrib.__version__, "torch": torch.__version__}
    text = json.dumps(found | {"outputs": outputs}, indent=1)
    (HERE / "sb3_trpo.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
