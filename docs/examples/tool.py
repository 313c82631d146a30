"""A tool whose results are written into the text.

Nobody can know how many apples are in the box: whoever guesses is right once in six times. A turn
that says "look" calls the tool, which says how many; the next turn is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gymnasium as gym
from transformers import GPT2Config

from agents import PPO, Callback, CausalLMPolicy, PPOConfig
from text_gym import Episode, Prompt, WordTokenizer
from text_gym.turns import Turn

NUMBERS = ("none", "one", "two", "three", "four", "five")
QUESTION = "how many apples ?"


def box(turns: Sequence[Turn]) -> list[str | None]:
    """Returns the result of every call; None ends the text of a turn that is no call."""
    return [turn.reference if turn.text == "look" else None for turn in turns]


def worth(episode: Episode) -> float:
    """Returns 1 for the right number after a look: part is for the look, or guessing is learnt."""
    *before, last = episode.completion.split() or [""]
    return 0.3 * (before == ["look"]) + 0.7 * (last == episode.reference)


def pay(episodes: Sequence[Episode]) -> list[float]:
    """Pays for the texts that have ended."""
    return [worth(episode) for episode in episodes]


class Means(Callback):
    """Keeps the mean reward of every batch."""

    def __init__(self) -> None:
        self.rewards: list[float] = []

    def on_update_end(self, agent: object, metrics: Mapping[str, float]) -> bool:
        """Keeps one more; False would stop training."""
        self.rewards.append(metrics["rollout/score_mean"])
        return True


def main(total_episodes: int = 4096) -> list[float]:
    """Trains PPO to look before it answers, and returns the mean reward of every batch."""
    envs = gym.make_vec(
        "TextGen-v0", num_envs=64, prompts=[Prompt(QUESTION, reference=one) for one in NUMBERS],
        tokenizer=WordTokenizer([*QUESTION.split(), "look", *NUMBERS]), reward_function=pay,
        responder=box, max_response_tokens=1, max_turn_tokens=1, max_turns=2, max_new_tokens=2,
        autoreset_mode="Disabled",
    )  # fmt: skip
    n_tokens, eos = int(envs.single_action_space.n), envs.unwrapped.tokenizer.eos_token_id
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 16}
    config = GPT2Config(vocab_size=n_tokens, bos_token_id=eos, eos_token_id=eos, **sizes)
    means = Means()
    settings = PPOConfig(n_episodes=128, batch_size=64, learning_rate=3e-3, kl_coef=0.0)
    agent = PPO(CausalLMPolicy.from_config(config), envs, settings, callbacks=[means])
    agent.learn(total_episodes)
    return means.rewards


if __name__ == "__main__":
    found = main()
    print(f"mean reward {found[0]:.2f} at first, {found[-1]:.2f} at last")
