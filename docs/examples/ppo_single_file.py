"""PPO on `TextGen-v0` in one file, in CleanRL's manner.

Nothing is imported from `agents`: the environment is a Gymnasium vector environment like any other,
and the policy a small transformer that reads the whole text at every step. Flags are CleanRL's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import Tensor, nn
from torch.distributions import Categorical
from torch.nn import functional

import text_gym  # noqa: F401  # registers TextGen-v0


@dataclass
class Args:
    """The hyperparameters."""

    env_id: str = "TextGen-v0"
    seed: int = 1
    total_timesteps: int = 40_000
    learning_rate: float = 3e-3
    anneal_lr: bool = True
    num_envs: int = 32
    num_steps: int = 20
    gamma: float = 1.0
    gae_lambda: float = 0.95
    num_minibatches: int = 4
    update_epochs: int = 4
    norm_adv: bool = True
    clip_coef: float = 0.2
    ent_coef: float = 0.01
    vf_coef: float = 0.5
    max_grad_norm: float = 0.5


class Agent(nn.Module):
    """A transformer of one block that says, after a text, what comes next and what it is worth."""

    def __init__(self, envs: gym.vector.VectorEnv, width: int = 32) -> None:
        super().__init__()
        length = envs.single_observation_space["input_ids"].shape[0]
        n_tokens = int(envs.single_action_space.n)
        self.embed = nn.Embedding(n_tokens, width)
        self.place = nn.Parameter(0.1 * torch.randn(length, width))
        self.block = nn.TransformerEncoderLayer(
            width, nhead=2, dim_feedforward=4 * width, dropout=0.0, batch_first=True
        )
        self.actor = nn.Linear(width, n_tokens)
        self.critic = nn.Linear(width, 1)
        nn.init.zeros_(self.actor.weight)  # begins by choosing any token
        nn.init.zeros_(self.actor.bias)
        causal = torch.full((length, length), float("-inf")).triu(1)
        self.register_buffer("causal", causal)

    def forward(self, input_ids: Tensor, lengths: Tensor) -> tuple[Categorical, Tensor]:
        """Returns the distribution over the next token, and the value, of n texts.

        Args:
            input_ids: (n, L); what stands past the end of a text is not looked at.
            lengths: (n,), of the texts.
        """
        read = self.block(self.embed(input_ids) + self.place, src_mask=self.causal)
        last = read[torch.arange(len(read)), lengths - 1]
        return Categorical(logits=self.actor(last)), self.critic(last).squeeze(-1)


@dataclass
class Batch:
    """What was written in `num_steps` steps of all environments, each (steps, n, ...)."""

    input_ids: Tensor
    lengths: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    rewards: Tensor
    ended: Tensor


def collect(
    envs: gym.vector.VectorEnv, agent: Agent, observation: dict, args: Args
) -> tuple[Batch, dict, list[float]]:
    """Steps all environments, and returns what happened, what comes next, and finished returns.

    Under SAME_STEP a text that ends is replaced by the next prompt within the step, so that every
    step counts.
    """
    rows, finished = [], []
    for _ in range(args.num_steps):
        ids, lengths = read(observation)
        with torch.no_grad():
            policy, value = agent(ids, lengths)
            action = policy.sample()
            log_prob = policy.log_prob(action)
        observation, reward, terminated, truncated, _ = envs.step(action.numpy())
        ended = terminated | truncated
        finished += reward[ended].tolist()  # the reward of a text is its return
        reward, ended = torch.tensor(reward, dtype=torch.float32), torch.tensor(ended)
        rows.append((ids, lengths, action, log_prob, value, reward, ended))
    return Batch(*map(torch.stack, zip(*rows, strict=True))), observation, finished


def read(observation: dict[str, np.ndarray]) -> tuple[Tensor, Tensor]:
    """Returns the ids of n texts and their lengths."""
    ids = torch.tensor(observation["input_ids"])
    return ids, torch.tensor(observation["attention_mask"]).long().sum(1)


def advantages_of(batch: Batch, next_value: Tensor, args: Args) -> Tensor:
    """Returns generalised advantages (steps, n): nothing is passed on beyond the end of a text."""
    advantages = torch.zeros_like(batch.rewards)
    last = torch.zeros_like(next_value)
    for step in reversed(range(args.num_steps)):
        goes_on = (~batch.ended[step]).float()
        following = next_value if step == args.num_steps - 1 else batch.values[step + 1]
        delta = batch.rewards[step] + args.gamma * following * goes_on - batch.values[step]
        last = delta + args.gamma * args.gae_lambda * goes_on * last
        advantages[step] = last
    return advantages


def update(
    agent: Agent, optimizer: torch.optim.Optimizer, batch: Batch, advantages: Tensor, args: Args
) -> None:
    """Learns from a batch in minibatches, several times."""
    returns = (advantages + batch.values).flatten()
    flat = [getattr(batch, name).flatten(0, 1) for name in ("input_ids", "lengths", "actions")]
    old_log_probs, advantages = batch.log_probs.flatten(), advantages.flatten()
    for _ in range(args.update_epochs):
        for rows in torch.randperm(len(returns)).chunk(args.num_minibatches):
            ids, lengths, actions = (part[rows] for part in flat)
            policy, values = agent(ids, lengths)
            ratio = (policy.log_prob(actions) - old_log_probs[rows]).exp()
            advantage = advantages[rows]
            if args.norm_adv:
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            clipped = ratio.clamp(1 - args.clip_coef, 1 + args.clip_coef)
            policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
            value_loss = 0.5 * functional.mse_loss(values, returns[rows])
            entropy = policy.entropy().mean()
            loss = policy_loss + args.vf_coef * value_loss - args.ent_coef * entropy
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
            optimizer.step()


def main(args: Args) -> list[float]:
    """Trains, prints a line now and then, and returns the mean return of every batch."""
    torch.manual_seed(args.seed)
    envs = gym.make_vec(args.env_id, num_envs=args.num_envs, autoreset_mode="SameStep")
    agent = Agent(envs)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    n_updates = args.total_timesteps // (args.num_envs * args.num_steps)
    observation, _ = envs.reset(seed=args.seed)
    returns, began = [], time.time()
    for number in range(n_updates):
        if args.anneal_lr:
            optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - number / n_updates)
        batch, observation, finished = collect(envs, agent, observation, args)
        with torch.no_grad():
            _, next_value = agent(*read(observation))
        update(agent, optimizer, batch, advantages_of(batch, next_value, args), args)
        returns.append(float(np.mean(finished)) if finished else float("nan"))
        if number % 10 == 9:
            steps = (number + 1) * args.num_envs * args.num_steps
            speed = steps / (time.time() - began)
            print(f"{steps:,} steps, mean return {returns[-1]:.2f}, {speed:,.0f} steps/s")
    return returns


if __name__ == "__main__":
    main(tyro.cli(Args))
