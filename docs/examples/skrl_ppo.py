"""skrl's PPO on the native vector environment.

skrl steps environments that reset themselves within the step (SAME_STEP), and has no action masks.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from skrl.agents.torch.ppo import PPO
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer
from torch import Tensor, nn

from text_gym import CharTokenizer, TextGenVectorEnv
from text_gym.wrappers import vector


def network(n_outputs: int) -> nn.Module:
    """Returns a network that reads four positions of four tokens and a padding."""
    return nn.Sequential(nn.Embedding(5, 8), nn.Flatten(), nn.Linear(32, n_outputs))


class Policy(CategoricalMixin, Model):
    """Scores the four tokens."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        CategoricalMixin.__init__(self, unnormalized_log_prob=True)
        self.network = network(4)

    def compute(self, inputs: Any, role: str = "") -> tuple[Tensor, dict]:
        """Returns the logits."""
        return self.network(inputs["observations"].long()), {}


class Value(DeterministicMixin, Model):
    """Says what a text is worth."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        self.network = network(1)

    def compute(self, inputs: Any, role: str = "") -> tuple[Tensor, dict]:
        """Returns the values."""
        return self.network(inputs["observations"].long()), {}


def main(timesteps: int = 600) -> float:
    """Trains on texts of three letters, and returns how likely "a" has become as the first."""
    torch.manual_seed(0)
    envs = TextGenVectorEnv(
        8, prompts=["c"], tokenizer=CharTokenizer("abc"), max_new_tokens=3,
        reward_function=lambda prompt, completion: float(completion.count("a")),
        autoreset_mode="SameStep",
    )  # fmt: skip
    env = wrap_env(vector.PaddedTokens(envs))
    spaces = {
        "observation_space": env.observation_space, "action_space": env.action_space,
        "device": "cpu",
    }  # fmt: skip
    models = {"policy": Policy(**spaces), "value": Value(**spaces)}
    with tempfile.TemporaryDirectory() as folder:
        files = {"directory": folder, "write_interval": 0, "checkpoint_interval": 0}
        settings = {
            "rollouts": 16, "learning_epochs": 4, "mini_batches": 2, "learning_rate": 5e-3,
            "experiment": files,
        }  # fmt: skip
        memory = RandomMemory(memory_size=16, num_envs=8, device="cpu")
        agent = PPO(models=models, memory=memory, cfg=settings, **spaces)
        quiet = {
            "timesteps": timesteps, "headless": True, "disable_progressbar": True,
            "close_environment_at_exit": False,
        }  # fmt: skip
        SequentialTrainer(env=env, agents=agent, cfg=quiet).train()
    first = torch.tensor([[2, 4, 4, 4]])  # the prompt "c", then padding
    with torch.no_grad():
        return float(models["policy"].network(first).softmax(-1)[0, 0])


if __name__ == "__main__":
    print(f'"a" comes first with probability {main():.2f}; before training 0.25')
