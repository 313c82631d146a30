"""GRPO from the public parts.

Shao et al. 2024, arXiv:2402.03300. `agents.GRPO` is the whole thing, with checkpoints and checks.
"""

from __future__ import annotations

import gymnasium as gym
import torch
from transformers import GPT2Config

from agents import CausalLMPolicy, PolicyConfig, collect_rollout, kl_estimate
from text_gym import GroupedPrompts

GROUP_SIZE, N_EPISODES, CLIP_RANGE, KL_COEF = 8, 64, 0.2, 0.01


def main(n_updates: int = 30) -> list[float]:
    """Trains on the default task, and returns the mean reward of every batch."""
    torch.manual_seed(0)
    prompts = GroupedPrompts(["How are you?", "How is your day?"], GROUP_SIZE)
    envs = gym.make_vec("TextGen-v0", N_EPISODES, prompts=prompts, autoreset_mode="Disabled")
    n_tokens, eos = int(envs.single_action_space.n), envs.unwrapped.tokenizer.eos_token_id
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 32}
    config = GPT2Config(vocab_size=n_tokens, bos_token_id=eos, eos_token_id=eos, **sizes)
    policy = CausalLMPolicy.from_config(config, PolicyConfig(value_network="none"))
    reference = policy.frozen_copy()
    optimizer = torch.optim.Adam(policy.trainable_parameters().values(), lr=3e-3)
    generator, rewards = torch.Generator().manual_seed(0), []
    for _ in range(n_updates):
        rollout = collect_rollout(policy, envs, N_EPISODES, generator)
        mask, scores = rollout.texts.completion_mask, rollout.scores.view(-1, GROUP_SIZE)
        spread = scores.std(1, keepdim=True) + 1e-4
        advantages = ((scores - scores.mean(1, keepdim=True)) / spread).view(-1, 1)
        with torch.no_grad():
            old = policy(rollout.texts).log_probs
            ref = reference(rollout.texts).log_probs
        for _ in range(2):
            log_probs = policy(rollout.texts).log_probs
            ratio = (log_probs - old).exp()
            clipped = ratio.clamp(1 - CLIP_RANGE, 1 + CLIP_RANGE)
            gain = torch.min(ratio * advantages, clipped * advantages)
            loss = KL_COEF * kl_estimate(log_probs, ref, "k3") - gain
            loss = ((loss * mask).sum(1) / mask.sum(1)).mean()  # each text weighs the same
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        rewards.append(float(scores.mean()))
    return rewards


if __name__ == "__main__":
    found = main()
    print(f"mean reward {found[0]:.2f} at first, {found[-1]:.2f} at last")
