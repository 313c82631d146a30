"""Judge translation on books held out: `python benchmarks/translation.py`.

The model trained on pairs alone is compared with what the preset makes of it, and with what
minimum-risk training and a reward for recall make of it, from the same pairs and as many texts;
each decoded greedily, and by drawing. Beside them stand beam search, the best of eight drawn texts
(by the reward, which only who knows the reference can choose; and by the model's own probability)
and the source, copied. The preset is carried out with every seed, the others with the first. chrF
and BLEU are of all texts together; differences have the interval of the paired bootstrap. How long
translations are, and how much of them is copied, says whether the reward was gamed.

Stable-Baselines3's PPO learns the smallest version beside ours. Runs and texts are kept in a
folder: what is there is not computed again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agents.applications.translation.application import TRANSLATION
from agents.runs import pipeline
from benchmarks import command_line, smallest_translation
from benchmarks.cells import Cells
from benchmarks.figures import Figure, figure, write_result
from benchmarks.translating import Translator, best_of, scores
from text_gym.applications.translation.measures import copy_rate, length_ratio
from text_gym.applications.translation.pairs import Pair, translation_pairs
from text_gym.metrics import bleu, chrf, paired_bootstrap

N = 8
"""Of best-of-n."""
BEFORE, TUNED, RECALL, RISK = "trained on pairs", "tuned", "tuned for recall", "minimum risk"
PAID_FOR = {TUNED: TRANSLATION.preset.reward, RECALL: "chrf", RISK: TRANSLATION.preset.reward}
SHARPNESS = {TUNED: None, RECALL: None, RISK: 5e-3}
"""What differs between the runs; the sharpness is that of Shen et al. 2016."""
SMALLEST_TEXTS = 4_096, 512
"""Texts to learn the smallest version from; and under `--quick`."""
EVERY = 2, 20
"""Of how many clauses held out one is translated; and under `--quick`."""
SAMPLES = 8

Texts = list[str]
Systems = dict[str, list[Texts]]
"""The texts of every seed, by model and way of decoding."""


def model_of(variant: str, seed: int, episodes: int, runs: Path) -> Path:
    """Returns a model; the run that it comes from is carried out or gone on with if it must be."""
    if variant == BEFORE:
        return TRANSLATION.models["translation"]()
    name = f"{variant.replace(' ', '-')}-{episodes}-seed{seed}"
    if (runs / name).exists():
        pipeline.resume(runs / name)
    else:
        preset = TRANSLATION.preset
        changed: Any = {"seed": seed, "risk_sharpness": SHARPNESS[variant]}
        config = dataclasses.replace(
            preset,
            reward=PAID_FOR[variant],
            algorithm=dataclasses.replace(preset.algorithm, **changed),
            total_episodes=episodes,
            output=runs,
            name=name,
        )
        pipeline.run(TRANSLATION.name, config)
    return runs / name / "policy"


def decoded(model: Path, pairs: Sequence[Pair], seed: int) -> dict[str, Texts]:
    """Returns a model's translations by each way of decoding."""
    sources, references = _sides(pairs)
    translator = Translator(model)
    drawn = translator.drawn(sources, N, TRANSLATION.preset.policy.temperature, seed)
    columns = [list(column) for column in zip(*drawn, strict=True)]
    paid = [scores(column, references) for column in columns]
    likely = [translator.log_probs(sources, column) for column in columns]
    return {
        "greedy": translator.greedy(sources),
        "drawn": columns[0],
        "beam search": translator.beam_search(sources),
        f"best of {N} by reward": best_of(drawn, [*zip(*paid, strict=True)]),
        f"best of {N} by probability": best_of(drawn, [*zip(*likely, strict=True)]),
    }


def translated(
    cells: Cells, pairs: Sequence[Pair], seeds: Sequence[int], episodes: int, runs: Path
) -> Systems:
    """Returns all translations; models are trained where they must be."""

    def texts_of(name: str, seed: int) -> Mapping[str, Texts]:
        key = {"model": name, "seed": seed, "pairs": len(pairs), "episodes": episodes}
        return cells.found(key, lambda: decoded(model_of(name, seed, episodes, runs), pairs, seed))

    found: Systems = {}
    for name in (BEFORE, *PAID_FOR):
        for seed in seeds if name == TUNED else seeds[:1]:
            for way, texts in texts_of(name, seed).items():
                found.setdefault(f"{name}, {way}", []).append(texts)
    return found


def figures_of(name: str, texts: Sequence[Texts], pairs: Sequence[Pair]) -> list[Figure]:
    """Returns what is measured of one way to translate, over seeds."""
    sources, references = _sides(pairs)
    return [
        figure(f"{name}: chrF", [chrf(one, references) for one in texts], ""),
        figure(f"{name}: BLEU", [bleu(one, references) for one in texts], ""),
        figure(f"{name}: length", [length_ratio(one, references) for one in texts], "× expected"),
        figure(f"{name}: copied", [copy_rate(sources, one) for one in texts], "of words"),
    ]


def gains(
    name: str, ours: Sequence[Texts], theirs: Texts, references: Texts, *, wanted: bool
) -> list[Figure]:
    """Returns by how much texts of every seed are nearer to the references than others.

    Args:
        name: Of what is compared.
        ours: Of every seed.
        theirs: What they are compared with.
        references: What is expected.
        wanted: Whether ours are to be the better ones.
    """
    goal = 0.0 if wanted else None
    chrfs, bleus = (
        [
            paired_bootstrap(metric, one, theirs, references, np.random.default_rng(0))
            for one in ours
        ]
        for metric in ("chrf", "bleu")
    )
    return [
        figure(f"{name}: chrF", [one.ours - one.theirs for one in chrfs], ""),
        figure(f"{name}: chrF, lower end", [one.low for one in chrfs], "", at_least=goal),
        figure(f"{name}: chrF, upper end", [one.high for one in chrfs], ""),
        figure(f"{name}: BLEU", [one.ours - one.theirs for one in bleus], "", at_least=goal),
        figure(f"{name}: BLEU, lower end", [one.low for one in bleus], ""),
        figure(f"{name}: BLEU, upper end", [one.high for one in bleus], ""),
    ]


def smallest_figures(cells: Cells, seeds: Sequence[int], episodes: int) -> list[Figure]:
    """Returns what ours and SB3's PPO make of the smallest version, over seeds."""

    def reward(learner: str, seed: int) -> float:
        key = {"smallest": learner, "seed": seed, "episodes": episodes}
        after = partial(smallest_translation.reward_after, learner, seed, episodes)
        return float(cells.found(key, lambda: {"reward": after()})["reward"])

    return [
        figure(
            f"smallest version, {learner}: reward", [reward(learner, seed) for seed in seeds], ""
        )
        for learner in (smallest_translation.OURS, smallest_translation.THEIRS)
    ]


def show(pairs: Sequence[Pair], systems: Systems) -> None:
    """Prints some translations beside what was expected."""
    step = max(1, len(pairs) // SAMPLES)
    for at in range(0, step * SAMPLES, step):
        written = [systems[f"{name}, greedy"][0][at] for name in (BEFORE, TUNED)]
        print(" | ".join([*pairs[at], *written]))


def _sides(pairs: Sequence[Pair]) -> tuple[Texts, Texts]:
    return [pair.spanish for pair in pairs], [pair.english for pair in pairs]


def main() -> None:
    """Carries out the runs, translates, and writes figures."""
    parser = command_line.parser(__doc__, repeats=3, quick_repeats=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/translation"))
    options = command_line.parse(parser)
    pairs = translation_pairs("heldout")[:: EVERY[options.quick]]
    sources, references = _sides(pairs)
    episodes = 512 if options.quick else TRANSLATION.preset.total_episodes
    seeds = range(options.seed, options.seed + options.repeats)
    cells = Cells(options.runs / "cells.jsonl")
    found = translated(cells, pairs, seeds, episodes, options.runs)
    figures = figures_of("the source, copied", [sources], pairs)
    figures += [one for name, texts in found.items() for one in figures_of(name, texts, pairs)]
    for variant in PAID_FOR:
        name, texts = f"{variant} above {BEFORE}, greedy", found[f"{variant}, greedy"]
        before = found[f"{BEFORE}, greedy"][0]
        figures += gains(name, texts, before, references, wanted=variant == TUNED)
    figures += smallest_figures(cells, seeds, SMALLEST_TEXTS[options.quick])
    show(pairs, found)
    settings = {"clauses": len(pairs), "texts": episodes, "n": N}
    write_result(
        "translation", figures, seed=options.seed, settings=settings, folder=options.output
    )


if __name__ == "__main__":
    main()
