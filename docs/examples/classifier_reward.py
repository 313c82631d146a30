"""A Hugging Face classifier as a reward, a batch at a time.

The classifier here is tiny and untrained, so that nothing is downloaded. With a name of the hub in
its place (`from_pretrained`, of model and tokenizer) it is the usual sentiment or toxicity reward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gymnasium as gym
import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

import text_gym
from text_gym import Episode


class ClassifierReward:
    """Pays the log-odds that a classifier gives to a label.

    Args:
        model: A sequence classifier.
        encode: Text to token ids.
        label: The label that is paid.
    """

    name = "classifier"

    def __init__(
        self, model: torch.nn.Module, encode: Callable[[str], list[int]], label: int = 1
    ) -> None:
        self.model, self.encode, self.label = model.eval(), encode, label

    def __call__(self, episodes: Sequence[Episode]) -> np.ndarray:
        """Returns the rewards of n texts, (n,): one forward pass for all that ended together."""
        texts = [self.encode(f"{one.prompt} {one.completion}") for one in episodes]
        width = max(map(len, texts))
        ids = torch.tensor([text + [0] * (width - len(text)) for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in texts])
        with torch.inference_mode():
            log_probs = self.model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
        paid = log_probs[:, self.label]
        return (paid - torch.log1p(-paid.exp())).double().numpy()


def encode(text: str) -> list[int]:
    """Returns an id for each letter; a classifier's own tokenizer goes here."""
    return [1 + ord(letter) % 63 for letter in text] or [0]


def main(n_steps: int = 200) -> list[float]:
    """Steps a vector environment that pays by a classifier, and returns the rewards."""
    torch.manual_seed(0)
    words = text_gym.WordTokenizer(["fine", "thanks", "sad", "?", "how", "are", "you"])
    config = BertConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    reward = ClassifierReward(BertForSequenceClassification(config), encode)
    text_gym.checks.check_reward(reward)  # finds what is wrong with it before anything is trained
    envs = gym.make_vec(
        "TextGen-v0", num_envs=16, prompts=["how are you ?"], tokenizer=words,
        reward_function=reward, max_new_tokens=6, autoreset_mode="SameStep",
    )  # fmt: skip
    envs.action_space.seed(0)
    envs.reset(seed=0)
    rewards: list[float] = []
    for _ in range(n_steps):
        _, paid, ended, _, _ = envs.step(envs.action_space.sample())
        rewards += paid[ended].tolist()
    return rewards


if __name__ == "__main__":
    found = main()
    print(f"{len(found)} texts, mean reward {np.mean(found):.3f}")
