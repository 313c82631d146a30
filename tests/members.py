"""The members of the family, each with a setting that every test of the family can use.

A new algorithm is a new line of `MEMBERS`, and every test that is parametrised over them holds
it to what holds for all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from transformers import GPT2Config

import agents
from agents import CausalLMPolicy, PolicyConfig
from text_gym import CharTokenizer, TextGenVectorEnv
from text_gym.prompt_sources import GroupedPrompts

GROUP_SIZE = 4
PROMPTS = ["a", "bb", "ab", "ba"]


@dataclass(frozen=True)
class Member:
    """One algorithm, and how it is told to learn."""

    name: str
    algorithm: str
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    learns_values: bool = False
    needs_groups: bool = False

    def config(self, **changes: Any) -> Any:
        """Return a config whose numbers suit the environments below."""
        settings = {"n_episodes": 16, "batch_size": 8, "kl_coef": 0.1}
        settings |= {"learning_rate": 1e-2, "lr_schedule": "constant"}
        config_class = getattr(agents, f"{self.algorithm}Config")
        group = {"group_size": GROUP_SIZE} if self.needs_groups else {}
        return config_class(**{**settings, **group, **self.changes, **changes})

    def options(self, **changes: Any) -> PolicyConfig:
        """Return options of a policy that the algorithm accepts."""
        network = {
            "value_network": "shared" if self.learns_values else "none",
            "action_values": self.algorithm == "ACER",
        }
        return PolicyConfig(**{**network, **changes})

    def environments(
        self, prompts: Sequence[str] = PROMPTS, **changes: Any
    ) -> VectorEnv[Any, Any, Any]:
        """Return environments that pay for the letter a."""
        settings = {
            "prompts": GroupedPrompts(prompts, GROUP_SIZE) if self.needs_groups else prompts,
            "tokenizer": CharTokenizer("ab"),
            "reward_function": lambda prompt, completion: completion.count("a") - len(prompt),
            "max_new_tokens": 6,
            "autoreset_mode": "Disabled",
        }
        return TextGenVectorEnv(4, **{**settings, **changes})

    def agent(
        self,
        *,
        options: PolicyConfig | None = None,
        envs: VectorEnv[Any, Any, Any] | None = None,
        dtype: torch.dtype = torch.float64,
        device: str = "cpu",
        **changes: Any,
    ) -> Any:
        """Return an agent that has not learnt yet."""
        keywords = {
            key: changes.pop(key) for key in ("callbacks", "reference", "writer") if key in changes
        }
        envs = envs or self.environments()
        model = GPT2Config(
            vocab_size=int(envs.single_action_space.n),
            n_positions=8,
            n_embd=16,
            n_layer=2,
            n_head=2,
            bos_token_id=0,
            eos_token_id=0,
        )
        policy = CausalLMPolicy.from_config(model, options or self.options())
        policy = policy.to(device=device, dtype=dtype)
        return getattr(agents, self.algorithm)(policy, envs, self.config(**changes), **keywords)

    def __str__(self) -> str:
        """Name the member in the name of a test."""
        return self.name


MEMBERS = [
    Member("PPO", "PPO", {"n_epochs": 2}, learns_values=True),
    Member("PPO averaged", "PPO", {"ema_decay": 0.9}, learns_values=True),
    Member("TRPO", "TRPO", learns_values=True),
    Member("ACER", "ACER", learns_values=True),
    Member("REINFORCE", "REINFORCE", learns_values=True),
    Member("REINFORCE++", "REINFORCE", {"baseline": "batch_mean"}),
    Member("RLOO", "RLOO", needs_groups=True),
    Member("minimum risk", "RLOO", {"risk_sharpness": 0.5}, needs_groups=True),
    Member("GRPO", "GRPO", needs_groups=True),
    Member(
        "Dr. GRPO",
        "GRPO",
        {"scale_by": "nothing", "aggregation": "constant", "max_tokens": 6, "kl_in": "reward"},
        needs_groups=True,
    ),
    Member(
        "DAPO",
        "GRPO",
        {
            "aggregation": "token",
            "clip_range_high": 0.28,
            "max_redraws": 2,
            "filter_truncated": True,
            "n_epochs": 2,
        },
        needs_groups=True,
    ),
    Member("GSPO", "GRPO", {"ratio": "sequence", "clip_range": 0.01}, needs_groups=True),
    Member("expert iteration", "ExpertIteration", needs_groups=True),
    Member(
        "best of a group", "ExpertIteration", {"select_by": "filter", "keep": 2}, needs_groups=True
    ),
    Member("trajectory balance", "TrajectoryBalance", needs_groups=True),
    Member(
        "CISPO", "GRPO", {"ratio": "clipped_weight", "kl_estimator": "exact"}, needs_groups=True
    ),
]
