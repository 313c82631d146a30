"""TorchRL's PPO loss on the native vector environment.

TorchRL looks for `autoreset_mode` on the environment it is given, so it is copied to the wrapper.
"""

from __future__ import annotations

import torch
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.envs import GymWrapper
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss

from text_gym import CharTokenizer, TextGenVectorEnv
from text_gym.wrappers import vector


class Scores(nn.Module):
    """Reads four positions of five tokens and a padding, and scores the outputs."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Embedding(6, 8), nn.Flatten(-2), nn.Linear(32, n_outputs))

    def forward(self, observation: Tensor) -> Tensor:
        """Returns (..., n_outputs) of texts (..., 4)."""
        return self.network(observation.long())


def main(n_batches: int = 15) -> list[float]:
    """Trains on texts of three letters, every "a" worth 1, and returns each batch's mean reward."""
    torch.manual_seed(0)
    envs = vector.PaddedTokens(
        TextGenVectorEnv(
            8, prompts=["c"], tokenizer=CharTokenizer("abc."), max_new_tokens=3,
            reward_function=lambda prompt, completion: float(completion.count("a")),
            autoreset_mode="Disabled",
        )
    )  # fmt: skip
    envs.autoreset_mode = envs.metadata["autoreset_mode"]
    env = GymWrapper(envs, categorical_action_encoding=True)
    actor = ProbabilisticActor(
        TensorDictModule(Scores(5), ["observation"], ["logits"]), in_keys=["logits"],
        distribution_class=torch.distributions.Categorical, return_log_prob=True,
    )  # fmt: skip
    critic = ValueOperator(Scores(1), in_keys=["observation"])
    loss = ClipPPOLoss(actor, critic, entropy_coeff=0.01)
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-2)
    rewards = []
    for _ in range(n_batches):
        with torch.no_grad():
            batch = env.rollout(16, actor, break_when_any_done=False)
        for _ in range(4):
            loss.value_estimator(batch)
            losses = loss(batch)
            total = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        rewards.append(batch["next", "reward"][batch["next", "done"]].mean().item())
    return rewards


if __name__ == "__main__":
    found = main()
    print(f"mean reward {found[0]:.2f} at first, {found[-1]:.2f} at last, of 3")
