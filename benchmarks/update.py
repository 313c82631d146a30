"""Measure a PPO update against supervised training: `python benchmarks/update.py`.

Both see the same minibatches of the same texts, once, and take a step of Adam for each. Supervised
training here is the least that could be done: trunk, output layer at the completion's tokens,
cross-entropy, backward, clip, step. Two models: GPT-2 of 4 layers × 128 with V = 64 and texts of 36
tokens, and the package's small-talk model (3 × 256, V = 2,048) with its own replies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
import torch.nn.functional as F
from gymnasium.vector import AutoresetMode
from transformers.utils import logging as transformers_logging

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.experience import Experience
from agents.algorithms.ppo import PPO
from agents.applications.dialogue import SMALL_TALK_MODEL
from agents.policy.causal_lm import CausalLMPolicy
from benchmarks import command_line
from benchmarks.figures import Figure, figure, write_result
from benchmarks.floor import Model, Peaks, measure_peaks, share_of_floor, updating
from benchmarks.tasks import LargeNumbers, Numbers, gpt2, make_envs, random_prompts
from benchmarks.timing import Samples, interleaved, ratios, tokens_per_second
from text_gym import HuggingFaceTokenizer, small_talk
from text_gym.rewards import WordCount

VOCAB_SIZE, PROMPT, FIXED = 64, 4, 32


@dataclass(frozen=True)
class Case:
    """Holds an agent and what it learns from."""

    name: str
    agent: PPO
    experience: Experience

    @classmethod
    def of(cls, name: str, agent: PPO) -> Case:
        """Lets the agent write its texts and judge them."""
        rollout = agent.collect()
        experience, _ = agent.estimate(rollout, *agent.forward(rollout.texts))
        return cls(name, agent, experience)


def gpt2_case(seed: int, n_episodes: int) -> Case:
    """Returns GPT-2 4 × 128 with texts of one length."""
    envs = make_envs(
        64,
        ends=False,
        prompts=random_prompts(64, VOCAB_SIZE, PROMPT, seed),
        tokenizer=Numbers(VOCAB_SIZE),
        reward_function=LargeNumbers(VOCAB_SIZE),
        max_new_tokens=FIXED,
    )
    policy = gpt2(
        layers=4, width=128, heads=4, vocab_size=VOCAB_SIZE, max_length=PROMPT + FIXED, seed=seed
    )
    config = PPOConfig(n_episodes=n_episodes, n_epochs=1, batch_size=64, seed=seed)
    return Case.of("GPT-2 4 × 128", PPO(policy, envs, config))


def small_talk_case(seed: int, n_episodes: int) -> Case:
    """Returns the small-talk model with the settings of the dialogue preset."""
    policy = CausalLMPolicy.from_pretrained(SMALL_TALK_MODEL)
    envs = gym.make_vec(
        "text_gym:TextGen-v0",
        num_envs=64,
        prompts=small_talk.PROMPTS,
        prompt_template="{prompt}\n",
        tokenizer=HuggingFaceTokenizer.from_pretrained(
            SMALL_TALK_MODEL, vocab_size=policy.vocab_size
        ),
        reward_function=WordCount(),
        max_new_tokens=32,
        autoreset_mode=AutoresetMode.DISABLED,
    )
    config = PPOConfig(
        n_episodes=n_episodes, n_epochs=1, batch_size=64, micro_batch_size=16, seed=seed
    )
    return Case.of("small-talk model", PPO(policy, envs, config))


def ppo(case: Case) -> Callable[[], float]:
    """Returns a measurement of `PPO.update`, in tokens per second.

    The parameters are put back before each, because the first minibatch's ratio must be 1.
    """
    agent = case.agent
    start = copy.deepcopy(agent.policy.state_dict())

    def work() -> int:
        agent.update(case.experience)
        return case.experience.n_tokens

    return _from(agent.policy, start, tokens_per_second(work))


def supervised(case: Case, seed: int) -> Callable[[], float]:
    """Returns a measurement of supervised training on the same minibatches."""
    config = case.agent.config
    policy = copy.deepcopy(case.agent.policy)
    start = copy.deepcopy(policy.state_dict())
    optimizer = torch.optim.Adam(
        policy.parameters(), lr=config.learning_rate, eps=config.adam_epsilon, fused=True
    )
    shuffling = torch.Generator().manual_seed(seed)

    def work() -> int:
        for minibatch in case.experience.shuffled(config.batch_size, shuffling):
            optimizer.zero_grad(set_to_none=True)
            for part in minibatch.split(config.micro_batch_size or minibatch.n_episodes):
                (negative_log_likelihood(policy, part) / minibatch.n_tokens).backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), config.max_grad_norm)
            optimizer.step()
        return case.experience.n_tokens

    return _from(policy, start, tokens_per_second(work))


def negative_log_likelihood(policy: CausalLMPolicy, part: Experience) -> torch.Tensor:
    """Returns the sum over the completions' tokens, in nats."""
    texts = part.texts
    hidden = policy.hidden_states(texts.input_ids, texts.attention_mask.long(), use_cache=False)
    rows, positions = texts.completion_mask.nonzero(as_tuple=True)
    logits = policy.head(hidden[rows, positions - 1])
    return F.cross_entropy(logits, texts.input_ids[rows, positions], reduction="sum")


def _from(
    policy: CausalLMPolicy, start: dict[str, Any], measure: Callable[[], float]
) -> Callable[[], float]:
    def from_start() -> float:
        policy.load_state_dict(start)
        return measure()

    return from_start


def figures(case: Case, samples: Samples, peaks: Peaks) -> list[Figure]:
    """Returns a case's figures."""
    config, texts = case.agent.config, case.experience.texts
    n, n_tokens = case.experience.n_episodes, case.experience.n_tokens
    prompt = round((int(texts.attention_mask.sum()) - n_tokens) / n)
    steps = -(-n // config.batch_size)
    passes = -(-n // (config.micro_batch_size or config.batch_size))
    model = Model.of(case.agent.policy)
    work = updating(model, prompt, texts.lengths.tolist(), passes, steps)
    return [
        figure(
            f"{case.name}: PPO update / supervised training",
            ratios(samples, "PPO update", "supervised training"),
            at_least=0.9,
            note="one epoch over the same texts and minibatches, completion tokens per second",
        ),
        *(figure(f"{case.name}: {name}", speeds, "tokens/s") for name, speeds in samples.items()),
        share_of_floor(
            f"{case.name}: PPO update",
            samples["PPO update"],
            peaks,
            work,
            n_tokens,
            "Activations are not in the bytes; elementwise work on them is what keeps training "
            "from it",
        ),
    ]


def main() -> None:
    """Measures both models."""
    options = command_line.parse(command_line.parser(__doc__, repeats=15, quick_repeats=7))
    transformers_logging.disable_progress_bar()
    n_episodes = 64 if options.quick else 256
    peaks = measure_peaks()
    found = []
    for case in (gpt2_case(options.seed, n_episodes), small_talk_case(options.seed, n_episodes)):
        timed = {"PPO update": ppo(case), "supervised training": supervised(case, options.seed)}
        samples = interleaved(timed, options.repeats, warmups=2)
        found += figures(case, samples, peaks)
    write_result(
        "update",
        found,
        seed=options.seed,
        settings={"episodes": n_episodes, "batch_size": 64},
        folder=options.output,
    )


if __name__ == "__main__":
    main()
