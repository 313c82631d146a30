"""Texts of several turns.

A partner asks back until it hears "thanks". The reward is paid at the end of each turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gymnasium as gym
from transformers import GPT2Config

from agents import PPO, Callback, CausalLMPolicy, PPOConfig
from text_gym.rewards import EachTurn
from text_gym.turns import Turn


def partner(turns: Sequence[Turn]) -> list[str | None]:
    """Returns what is said next in every text whose turn has ended; None ends the text."""
    return [None if "thanks" in turn.text else "and you ?" for turn in turns]


def polite(_: str, completion: str) -> float:
    """Pays a turn that says thanks at once."""
    return float("thanks" in completion)


class Means(Callback):
    """Keeps the mean reward of every batch."""

    def __init__(self) -> None:
        self.rewards: list[float] = []

    def on_update_end(self, agent: object, metrics: Mapping[str, float]) -> bool:
        """Keeps one more; False would stop training."""
        self.rewards.append(metrics["rollout/score_mean"])
        return True


def main(total_episodes: int = 2048) -> list[float]:
    """Trains PPO to say thanks, and returns the mean reward of every batch."""
    envs = gym.make_vec(
        "TextGen-v0", num_envs=32, reward_function=EachTurn(polite), responder=partner,
        max_new_tokens=12, max_turn_tokens=4, max_response_tokens=12, max_turns=3,
        autoreset_mode="Disabled",
    )  # fmt: skip
    n_tokens, eos = int(envs.single_action_space.n), envs.unwrapped.tokenizer.eos_token_id
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 64}
    config = GPT2Config(vocab_size=n_tokens, bos_token_id=eos, eos_token_id=eos, **sizes)
    means = Means()
    settings = PPOConfig(n_episodes=64, batch_size=32, learning_rate=3e-3)
    agent = PPO(CausalLMPolicy.from_config(config), envs, settings, callbacks=[means])
    agent.learn(total_episodes)
    return means.rewards


if __name__ == "__main__":
    found = main()
    print(f"mean reward {found[0]:.2f} at first, {found[-1]:.2f} at last")
