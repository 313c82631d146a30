"""Compare what learns from given texts, or not at all: `python benchmarks/offline_family.py`.

On the toys and the untrained transformer of `family.py`. It writes texts once, eight to a prompt,
and a reward labels them; nothing is written while SFT (on the best of each prompt's texts) and DPO
(on the best against the worst) learn from them. Best-of-n only chooses among the untrained policy's
texts. What counts is the mean reward of fresh texts as a share of the optimum, which is 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from time import process_time
from typing import Any, NamedTuple

import torch

from agents import (
    DPO,
    SFT,
    BestOfN,
    CausalLMPolicy,
    DPOConfig,
    PolicyConfig,
    Rollout,
    SFTConfig,
    collect_rollout,
)
from agents.algorithms.labelled import best_against_worst, best_demonstrations
from benchmarks import command_line
from benchmarks.family import JUDGED, TOYS, envs_of, policy_of, share_of
from benchmarks.figures import figure, write_result
from text_gym.tasks import OPTIMAL_RETURN

GROUP_SIZE, ROWS = 8, 256
EPISODES = 51_200, 2_048
"""That the untrained policy writes for others to learn from, and under `--quick`."""
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "SFT": {"learning_rate": 3e-3, "batch_size": 64, "n_epochs": 3},
    "DPO": {"learning_rate": 1e-3, "batch_size": 64, "n_epochs": 3, "kl_coef": 0.1},
}


def write(policy: CausalLMPolicy, toy: str, seed: int, episodes: int) -> Rollout:
    """Returns texts of the untrained policy, in groups of one prompt."""
    envs, generator = envs_of(toy, ROWS, GROUP_SIZE), torch.Generator().manual_seed(seed)
    return collect_rollout(policy, envs, episodes, generator, seed=seed)


def imitate(policy: CausalLMPolicy, texts: Rollout, seed: int) -> None:
    """Has a policy imitate the best text of each group."""
    SFT(policy, best_demonstrations(texts), SFTConfig(**SETTINGS["SFT"], seed=seed)).learn()


def prefer(policy: CausalLMPolicy, texts: Rollout, seed: int) -> None:
    """Has a policy prefer the best text of each group to its worst."""
    DPO(policy, best_against_worst(texts), DPOConfig(**SETTINGS["DPO"], seed=seed)).learn()


LEARNERS = {"SFT": imitate, "DPO": prefer}
BEST_OF = (8, 64)


class Place(NamedTuple):
    """Holds how far somebody came on a toy: share of the optimum, and seconds of the processor."""

    share: float
    seconds: float


def places(toy: str, seed: int, episodes: int) -> Iterator[tuple[str, Place]]:
    """Yields the place of everybody on one toy, the untrained policy's first."""

    def untrained() -> CausalLMPolicy:
        return policy_of(envs_of(toy, ROWS), seed, PolicyConfig(value_network="none"))

    yield "untrained", Place(share_of(untrained(), toy, seed), 0.0)
    for n in BEST_OF:
        start = process_time()  # the machine may be busy with something else
        kept = BestOfN(untrained(), n).collect(envs_of(toy, ROWS, n), JUDGED, seed=seed)
        share = kept.scores.mean().item() / OPTIMAL_RETURN
        yield f"best of {n}", Place(share, process_time() - start)
    texts = write(untrained(), toy, seed, episodes)
    for name, learn in LEARNERS.items():
        policy, start = untrained(), process_time()
        learn(policy, texts, seed)
        seconds = process_time() - start
        yield name, Place(share_of(policy, toy, seed), seconds)


def main() -> None:
    """Goes all ways on all toys, and writes the figures."""
    options = command_line.parse(command_line.parser(__doc__, repeats=3, quick_repeats=1))
    episodes = EPISODES[options.quick]
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0] * options.repeats)
    for repeat in range(options.repeats):
        for toy, title in TOYS.items():
            for name, place in places(toy, options.seed + repeat, episodes):
                shares[title, name].append(place.share)
                seconds[name][repeat] += place.seconds
                print(f"{toy}, {name}: {place.share:.3f}, {place.seconds:.1f} s", flush=True)
    found = [
        figure(f"{title}: {name}", each, "of the optimum") for (title, name), each in shares.items()
    ]
    found += [
        figure(f"{name}: all toys, processor time", each, "s")
        for name, each in seconds.items()
        if any(each)
    ]
    settings = {"episodes": episodes, "group_size": GROUP_SIZE, **SETTINGS}
    write_result(
        "offline_family", found, seed=options.seed, settings=settings, folder=options.output
    )


if __name__ == "__main__":
    main()
