"""REINFORCE with a leave-one-out baseline over grouped prompts.

Of four texts to one prompt, each is compared with the mean of the other three (RLOO, Ahmadian et
al. 2024, arXiv:2402.14740). The loop is all here; public parts write and read the texts.
"""

from __future__ import annotations

import gymnasium as gym
import torch
from transformers import GPT2Config

from agents import CausalLMPolicy, PolicyConfig, collect_rollout
from text_gym import GroupedPrompts

GROUP_SIZE, N_EPISODES = 4, 64


def main(n_updates: int = 40) -> list[float]:
    """Trains on the default task, and returns the mean reward of every batch."""
    torch.manual_seed(0)
    prompts = GroupedPrompts(["How are you?", "How is your day?"], GROUP_SIZE)
    envs = gym.make_vec(
        "TextGen-v0", num_envs=N_EPISODES, prompts=prompts, autoreset_mode="Disabled"
    )
    n_tokens, eos = int(envs.single_action_space.n), envs.unwrapped.tokenizer.eos_token_id
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 32}
    config = GPT2Config(vocab_size=n_tokens, bos_token_id=eos, eos_token_id=eos, **sizes)
    policy = CausalLMPolicy.from_config(config, PolicyConfig(value_network="none"))
    optimizer = torch.optim.Adam(policy.trainable_parameters().values(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    rewards = []
    for number in range(n_updates):
        rollout = collect_rollout(policy, envs, N_EPISODES, generator, seed=number or None)
        scores = rollout.scores.view(-1, GROUP_SIZE)  # the texts of a prompt stand together
        others = (scores.sum(1, keepdim=True) - scores) / (GROUP_SIZE - 1)
        advantages = (scores - others).flatten()
        log_probs = policy(rollout.texts).log_probs.sum(dim=1)  # of each text, 0 off its tokens
        loss = -(advantages * log_probs).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rewards.append(float(scores.mean()))
    return rewards


if __name__ == "__main__":
    found = main()
    print(f"mean reward {found[0]:.2f} at first, {found[-1]:.2f} at last")
