"""Measure whole PPO against Stable-Baselines3's: `python benchmarks/whole_ppo_sb3.py`.

The toy of `benchmarks/toy.py` with completions of 16 and of 64 tokens. SB3's PPO has the same
transformer as features extractor, from the same weights, as many transitions per update and as many
optimiser steps. It has no reference policy; ours judges by one all the same. What counts is
collecting, judging and learning together, in completion tokens per second.
"""

from __future__ import annotations

import torch

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.sb3_baseline.agent import SB3PPO
from benchmarks import command_line, toy
from benchmarks.figures import Figure, figure, write_result
from benchmarks.floor import Peaks, measure_peaks, share_of_floor
from benchmarks.timing import Samples, interleaved, ratios, tokens_per_second

GOALS = {16: 15.0, 64: 100.0}
"""By length."""
UPDATES = {16: 16, 64: 4}
"""Of ours in one measurement, by length: one of SB3's takes as long as many of ours."""


def measure(length: int, repeats: int, seed: int) -> Samples:
    """Times updates of ours and of SB3's in turn, in tokens per second."""
    config = PPOConfig(
        learning_rate=toy.LEARNING_RATE,
        lr_schedule="constant",
        n_episodes=toy.EPISODES,
        n_epochs=toy.EPOCHS,
        batch_size=toy.EPISODES,
        kl_coef=0.0,
        seed=seed,
    )
    ours = PPO(toy.toy_policy(length, seed), toy.toy_envs(length), config)
    start, envs = toy.toy_policy(length, seed), toy.toy_envs(length)
    theirs = SB3PPO("transformer", start, envs, config, mean_length=length)

    def learn(agent: PPO | SB3PPO, updates: int) -> int:
        agent.learn(agent.n_episodes + updates * toy.EPISODES)
        return updates * toy.EPISODES * length

    timed = {
        "ours": tokens_per_second(lambda: learn(ours, UPDATES[length])),
        "SB3's PPO": tokens_per_second(lambda: learn(theirs, 1)),
    }
    with torch.random.fork_rng():  # SB3 draws from the global random states
        return interleaved(timed, repeats)


def figures(length: int, samples: Samples, peaks: Peaks) -> list[Figure]:
    """Returns the figures of one length."""
    work = toy.least_work(length)
    return [
        figure(
            f"{length} tokens: ours / SB3's PPO",
            ratios(samples, "ours", "SB3's PPO"),
            at_least=GOALS[length],
            note="same transformer, same transitions and optimiser steps per update; SB3 reads "
            "every prefix from its beginning",
        ),
        *(figure(f"{length} tokens: {who}", speeds, "tokens/s") for who, speeds in samples.items()),
        share_of_floor(
            f"{length} tokens: ours",
            samples["ours"],
            peaks,
            work,
            toy.EPISODES * length,
            f"Products with matrices of {toy.WIDTH} × {4 * toy.WIDTH} are done before a call has "
            "begun: calls are what takes the time",
        ),
    ]


def main() -> None:
    """Measures both lengths."""
    options = command_line.parse(command_line.parser(__doc__, repeats=5, quick_repeats=3))
    peaks, found = measure_peaks(), []
    for length in GOALS:
        repeats = min(options.repeats, 2) if options.quick and length > 16 else options.repeats
        found += figures(length, measure(length, repeats, options.seed), peaks)
    settings = {"episodes_per_update": toy.EPISODES, "epochs": toy.EPOCHS, "minibatches": 1}
    write_result(
        "whole_ppo_sb3", found, seed=options.seed, settings=settings, folder=options.output
    )


if __name__ == "__main__":
    main()
