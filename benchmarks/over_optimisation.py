"""Optimise learnt rewards too far, by gold: `python benchmarks/over_optimisation.py`.

Proxies learn from 100, 1,000 and 10,000 judgements, clean and with 25 % flipped; each is optimised
by choosing the best of n texts and by PPO without a price of KL, alone, as the minimum of four and
as the average of their weights. Gold, VADER's sentiment, says what that is worth. A further proxy,
from a quarter as many judgements that the others never see, says when to stop PPO. A cell is one
proxy and way of optimising it; killed, the script goes on with the cell it was at.

Source: Gao et al. 2022, arXiv:2210.10760; Coste et al. 2023, arXiv:2310.02743 (ensembles).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.algorithms.ppo import PPO
from agents.applications.dialogue import DIALOGUE, chitchat
from agents.callbacks import Callback
from agents.reward_models.ensemble import RewardEnsemble, average_weights
from agents.reward_models.reward_model import RewardModel
from agents.runs.environments import make_envs
from agents.runs.models import load_policy
from benchmarks import command_line, proxies
from benchmarks.cells import Cells
from benchmarks.figures import Figure, figure, write_result
from benchmarks.over_optimisation_picture import Curves, draw
from text_gym import Episode

Floats = NDArray[np.float64]

FLIPPED = (0.0, 0.25)
VARIANTS = ("single", "minimum of 4", "averaged")
WAYS = ("best of n", "PPO")
MEMBERS = 4
HELDOUT_SHARE = 0.25
"""Judgements for the proxy that says when to stop, for each one that the others learn from."""
SMOOTHED = 3
"""Updates whose mean decides when to stop."""


class Size(NamedTuple):
    """Holds how much is done."""

    judgements: tuple[int, ...] = (100, 1000, 10_000)
    pool: tuple[int, int] = (64, 64)
    prompts: int = 4500
    per_prompt: int = 4
    best_of: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    episodes: int = 4096


QUICK = Size((16, 32), (4, 16), 60, 2, (1, 4, 16), 512)


class Proxies(NamedTuple):
    """Holds what was learnt from judgements of one kind."""

    members: Sequence[RewardModel]
    heldout: RewardModel

    def variant(self, name: str) -> Any:
        """Returns the members as one reward, by a name of `VARIANTS`."""
        if name == "single":
            return self.members[0]
        combined = RewardEnsemble if name == "minimum of 4" else average_weights
        return combined(self.members)


class Case(NamedTuple):
    """Says which judgements proxies learn from."""

    judgements: int
    flipped: float
    seed: int

    def proxies(self, work: Path, size: Size) -> Proxies:
        """Returns the proxies of this case; those that are missing learn first."""
        every = proxies.pairs(work, size.prompts, size.per_prompt, self.seed)
        n_heldout = int(HELDOUT_SHARE * self.judgements)
        accuracy = min(1 - self.flipped, 1 - 1e-9)
        said = proxies.judged(every[: self.judgements + n_heldout], accuracy, self.seed)
        if len(said) < self.judgements + n_heldout:
            raise ValueError(
                f"pairs must be at least {self.judgements + n_heldout}, got {len(said)}"
            )
        learnt, heldout = said[: self.judgements], said[self.judgements :]
        name = f"proxy-{self.judgements}-flipped{self.flipped}-seed{self.seed}"
        seeds = range(10 * self.seed, 10 * self.seed + MEMBERS)
        return Proxies(
            [proxies.proxy(work, f"{name}-{one}", learnt, one) for one in seeds],
            proxies.proxy(work, f"{name}-heldout", heldout, 10 * self.seed + MEMBERS),
        )


def best_of_n(gold: Floats, scores: Floats, size: Size) -> dict[str, list[float]]:
    """Returns gold and proxy of the best of n texts by the proxy, for each n.

    Both in standard deviations of the untouched model's texts, from their mean. KL is the bound
    ln n − (n−1)/n.

    Args:
        gold: (P, N) of N texts to each of P prompts.
        scores: (P, N) what the proxy says of them.
        size: Has the n.
    """
    curves: dict[str, list[float]] = {"kl": [], "gold": [], "proxy": []}
    for n in size.best_of:
        curves["kl"].append(float(np.log(n) - (n - 1) / n))
        for name, worth in (("gold", gold), ("proxy", scores)):
            gained = proxies.chosen_by(scores, worth, n) - float(worth.mean())
            curves[name].append(gained / float(worth.std()))
    return curves


class Trace(Callback):
    """Keeps, of every update of PPO, the mean rewards of what the policy wrote: also of others."""

    def __init__(self, rewards: Mapping[str, Callable[[Sequence[Episode]], Any]]) -> None:
        self._rewards = rewards
        self.means: dict[str, list[float]] = {name: [] for name in ("kl", "proxy", *rewards)}

    def on_rollout_end(self, agent: Any, rollout: Any) -> None:
        """Notes what the batch was paid, and what the others say of it."""
        self.means["proxy"].append(float(rollout.scores.mean()))
        texts = [info["text_episode"] for info in rollout.infos]
        for name, reward in self._rewards.items():
            self.means[name].append(float(np.mean(reward(texts))))

    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        """Notes how far from the reference the batch was written."""
        self.means["kl"].append(metrics["rollout/kl"])
        return True


def ppo(
    proxy: Any, heldout: Any, untouched: Mapping[str, Floats], size: Size, seed: int
) -> dict[str, Any]:
    """Returns gold, proxy and the held-out proxy after each update of PPO on the proxy.

    In standard deviations of the untouched model's texts, from their mean.

    Args:
        proxy: What PPO is paid by.
        heldout: From judgements that it never saw.
        untouched: What gold, proxy and held-out proxy say of the untouched model's texts.
        size: Has the episodes.
        seed: Of PPO.
    """
    preset = DIALOGUE.with_algorithm("ppo")
    algorithm = dataclasses.replace(preset.algorithm, kl_coef=0.0, seed=seed)
    config = dataclasses.replace(preset, algorithm=algorithm)
    policy, tokenizer = load_policy(config)
    prompts, ends = chitchat().train, policy.end_of_text_ids
    envs = make_envs(config, prompts, tokenizer, ends, config.num_envs, proxy)
    trace = Trace({"gold": proxies.Sentiment(), "heldout": heldout})
    PPO(policy, envs, algorithm, callbacks=[trace]).learn(size.episodes)  # type: ignore[arg-type]
    gained = {
        name: [(one - float(scores.mean())) / float(scores.std()) for one in trace.means[name]]
        for name, scores in untouched.items()
    }
    return {"kl": trace.means["kl"], **gained}


def stopped_at(heldout: Sequence[float]) -> int:
    """Returns the update after which the held-out proxy has its highest running mean.

    Example:
        >>> stopped_at([0.0, 1.0, 2.0, 3.0, 2.0, 0.0])
        3
    """
    width = min(SMOOTHED, len(heldout))
    means = np.convolve(heldout, np.full(width, 1 / width), mode="valid")
    return int(np.argmax(means)) + width // 2


def figures_of(found: Curves, seeds: Sequence[int]) -> list[Figure]:
    """Returns, of each kind of proxy, what its optimisation is worth at the best and at the end."""
    kinds = dict.fromkeys((case[0], case[1], variant) for case, variant, _ in found)
    figures = []
    for judgements, flipped, variant in kinds:
        name = f"{judgements:,} judgements, {flipped:.0%} flipped, {variant}"
        cases = [Case(judgements, flipped, seed) for seed in seeds]
        chosen = [found[case, variant, "best of n"] for case in cases]
        learnt = [found[case, variant, "PPO"] for case in cases]
        saved = [one["gold"][stopped_at(one["heldout"])] - one["gold"][-1] for one in learnt]
        peaks = [float(np.sqrt(one["kl"][int(np.argmax(one["gold"]))])) for one in learnt]
        measured = {
            "best of most, gold": [one["gold"][-1] for one in chosen],
            "best of most, proxy": [one["proxy"][-1] for one in chosen],
            "PPO, gold at its highest": [max(one["gold"]) for one in learnt],
            "PPO, gold at the end": [one["gold"][-1] for one in learnt],
            "PPO, proxy at the end": [one["proxy"][-1] for one in learnt],
            "PPO, gold that held-out judgements save": saved,
        }
        figures += [figure(f"{name}: {what}", values, "sd") for what, values in measured.items()]
        figures.append(figure(f"{name}: PPO, √KL where gold is highest", peaks, "√nats"))
    return figures


def main() -> None:
    """Measures the cells that are missing, writes figures and draws the picture."""
    parser = command_line.parser(__doc__, repeats=3, quick_repeats=1)
    parser.add_argument("--work", type=Path, default=Path("runs/over-optimisation"))
    options = command_line.parse(parser)
    size = QUICK if options.quick else Size()
    seeds = range(options.seed, options.seed + options.repeats)
    cells = Cells(options.work / "cells.jsonl")
    found: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    for seed, judgements, flipped in itertools.product(seeds, size.judgements, FLIPPED):
        case = Case(judgements, flipped, seed)
        measure = Measured(case, options.work, size, cells)
        found |= {(case, *key): measure.found(*key) for key in itertools.product(VARIANTS, WAYS)}
    settings = size._asdict() | {"members": MEMBERS, "heldout_share": HELDOUT_SHARE}
    write_result(
        "over_optimisation", figures_of(found, seeds), seed=options.seed, settings=settings,
        folder=options.output,
    )  # fmt: skip
    draw(found, options.output / "over_optimisation.png")


class Measured:
    """Measures the cells of one case, whose proxies learn when the first of them is missing."""

    def __init__(self, case: Case, work: Path, size: Size, cells: Cells) -> None:
        self._case, self._work, self._size, self._cells = case, work, size, cells

    def found(self, variant: str, way: str) -> Mapping[str, Any]:
        """Returns the curves of one variant and way of optimising it."""
        key = {**self._case._asdict(), "variant": variant, "way": way, "size": self._size._asdict()}
        return self._cells.found(key, lambda: self._measure(variant, way))

    @cached_property
    def _proxies(self) -> Proxies:
        return self._case.proxies(self._work, self._size)

    @cached_property
    def _untouched(self) -> Mapping[str, Floats]:
        """What gold, the held-out proxy and every variant say of the untouched model's texts."""
        pool = proxies.pool(self._work, *self._size.pool, self._case.seed)
        said = {name: pool.by(self._proxies.variant(name)) for name in VARIANTS}
        return said | {"gold": pool.gold, "heldout": pool.by(self._proxies.heldout)}

    def _measure(self, variant: str, way: str) -> dict[str, Any]:
        untouched = {name: self._untouched[name] for name in ("gold", "heldout")}
        untouched["proxy"] = self._untouched[variant]
        print(f"{tuple(self._case)}, {variant}, {way}", flush=True)
        if way == "best of n":
            return best_of_n(untouched["gold"], untouched["proxy"], self._size)
        proxy, heldout = self._proxies.variant(variant), self._proxies.heldout
        return ppo(proxy, heldout, untouched, self._size, self._case.seed)


if __name__ == "__main__":
    main()
