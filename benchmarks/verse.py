"""Measure who keeps the form of a haiku, and at what price: `python benchmarks/verse.py`.

Poems about subjects held out, unless a name says that they are of training: by the model that has
read verse as it stands ("before"), by the one that has read poems too ("SFT"), by the best of eight
of its poems, and by it where masks keep the layout or the form; by the one that has then learnt
from its own poems under masks ("start"), and by what the preset makes of that ("tuned"). Perplexity
is under "SFT", without masks, whoever wrote. What is copied is measured against everything that was
read. Couplets are of the first seed alone.

On the smallest version of the task, a vocabulary of five words, PPO and Stable-Baselines3's learn
from equally many texts.

What was measured is kept beside the runs: a benchmark that was killed goes on where it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch

from agents import PPO, BestOfN, CausalLMPolicy, PPOConfig, Rollout, collect_rollout
from agents.applications.fine_tuning import FineTuning
from agents.applications.toy_policy import toy_policy
from agents.applications.verse import poems
from agents.applications.verse.application import VERSE
from agents.evaluation.intervals import mean_interval
from agents.evaluation.perplexity import perplexity
from agents.runs import pipeline
from agents.runs.console import run_console
from agents.runs.environments import make_envs
from agents.runs.models import load_language_model, policy_options
from agents.runs.prompts import load_prompts
from agents.runs.rewards import load_reward
from agents.sb3_baseline.agent import SB3PPO
from agents.sb3_baseline.evaluation import write_texts
from agents.supervised.config import COMMANDS
from benchmarks import command_line
from benchmarks.cells import Cells
from benchmarks.figures import Figure, figure, write_result
from text_gym import HuggingFaceTokenizer, TextGenVectorEnv, WordTokenizer
from text_gym.applications.verse import (
    COUPLET,
    HAIKU,
    Form,
    KeepForm,
    KeepsForm,
    Split,
    keeps,
    verse,
)
from text_gym.applications.verse.task import TEMPLATES
from text_gym.constraints import Constraint, MatchRegex
from text_gym.metrics import Sources, distinct_n
from text_gym.wrappers.vector import Constrain

LAYOUT = MatchRegex(" [a-z' ]+ / [a-z' ]+ / [a-z' ]+")
"""Three lines of words, however long."""
BEFORE, SFT, START, TUNED = "verse-lines", "verse-poems", "verse", "tuned"


class Writer(NamedTuple):
    """Says who writes what, and how.

    Attributes:
        model: A name that runs know, or `TUNED`.
        best_of: Poems, of which the best is kept.
        constraints: The masks it writes under.
        form: Of the poems.
        split: Of their subjects.
    """

    model: str
    best_of: int = 1
    constraints: tuple[Constraint, ...] = ()
    form: Form = HAIKU
    split: Split = "heldout"


WRITERS: Mapping[str, Writer] = {
    "before": Writer(BEFORE),
    "SFT": Writer(SFT),
    "SFT, best of 8": Writer(SFT, best_of=8),
    "SFT, layout by masks": Writer(SFT, constraints=(LAYOUT,)),
    "SFT, form by masks": Writer(SFT, constraints=(KeepForm(),)),
    "start": Writer(START),
    "tuned": Writer(TUNED),
    "tuned, subjects of training": Writer(TUNED, split="train"),
    "tuned, form by masks": Writer(TUNED, constraints=(KeepForm(),)),
    "couplets, SFT": Writer(SFT, form=COUPLET),
    "couplets, SFT, form by masks": Writer(SFT, constraints=(KeepForm(COUPLET),), form=COUPLET),
    "couplets, start": Writer(START, form=COUPLET),
    "couplets, tuned": Writer(TUNED, form=COUPLET),
}
UNITS = {
    "kept": "of poems",
    "perplexity": "per token",
    "copied": "words",
    "distinct_2": "",
    "names_subject": "of poems",
}
TINY = Form("tiny", (3, 2))
TINY_WORDS = ("night", "moon", "silent", "river", "a", "/")
TINY_TEXTS = 64 * 24


def main() -> None:
    """Trains where nothing is trained yet, lets everybody write, and writes the figures."""
    parser = command_line.parser(__doc__, repeats=3, quick_repeats=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/verse"), help="folder of the runs")
    options = command_line.parse(parser)
    config = VERSE.preset
    if options.quick:
        config = dataclasses.replace(config, total_episodes=1024, eval_episodes=128)
    cells = Cells(options.runs / "cells.jsonl")
    seeds = range(options.seed, options.seed + options.repeats)
    minutes = [
        cells.found(
            {"minutes": config.total_episodes, "seed": seed},
            lambda seed=seed: {"processor": train(HAIKU, config, seed, options.runs)},
        )
        for seed in seeds
    ]
    found = {
        name: [
            cells.found(
                key(name, config, seed),
                lambda name=name, seed=seed: judged(name, config, seed, options.runs),
            )
            for seed in (seeds if writer.form == HAIKU else seeds[:1])
        ]
        for name, writer in WRITERS.items()
    }
    tiny = {
        name: [
            cells.found({"tiny": name, "seed": seed}, lambda n=name, s=seed: smallest(n, s))
            for seed in seeds
        ]
        for name in ("PPO", "SB3's PPO")
    }
    write_result(
        "verse",
        [
            *figures(found),
            *tuning_figure([one["processor"] for one in minutes]),
            *(tiny_figure(name, each) for name, each in tiny.items()),
        ],
        seed=options.seed,
        settings={"episodes": config.total_episodes, "poems": config.eval_episodes},
        folder=options.output,
    )


def key(name: str, config: FineTuning, seed: int) -> dict[str, Any]:
    """Returns what a writer's poems depend on."""
    trained = {"episodes": config.total_episodes} if WRITERS[name].model == TUNED else {}
    return {"writer": name, "seed": seed, "poems": config.eval_episodes, **trained}


def judged(name: str, config: FineTuning, seed: int, runs: Path) -> dict[str, Any]:
    """Returns what is measured of one writer's poems, in plain values."""
    writer = WRITERS[name]
    config, model = of_form(writer.form, config), writer.model
    if model == TUNED:
        train(writer.form, config, seed, runs)
        model = str(folder_of(writer.form, config, seed, runs) / "policy")
    policy, tokenizer = load_language_model(model, policy_options(config))
    written = poems_of(policy, tokenizer, config, writer, seed)
    episodes = [info["text_episode"] for info in written.infos]
    kept = [float(keeps(one.completion, writer.form)) for one in episodes]
    copied = [sources().longest_copied(one.completion) for one in episodes]
    reference = load_language_model(SFT, policy_options(config))[0]
    found = {
        "kept": float(np.mean(kept)),
        "kept_half_width": mean_interval(kept).half_width,
        "perplexity": perplexity(reference, written.texts._replace(action_masks=None)),
        "copied": float(np.mean(copied)),
        "copied_half_width": mean_interval(copied).half_width,
        "distinct_2": distinct_n([one.completion for one in episodes], 2),
        "names_subject": float(np.mean([one.prompt in one.completion.split() for one in episodes])),
        "samples": [f"{one.prompt}: {one.completion.strip()}" for one in episodes[:8]],
    }
    print(f"{name}, seed {seed}: {found}", flush=True)
    return found


def poems_of(
    policy: CausalLMPolicy,
    tokenizer: HuggingFaceTokenizer,
    config: FineTuning,
    writer: Writer,
    seed: int,
) -> Rollout:
    """Returns poems about subjects of a split, the best of so many of each."""
    split, n = load_prompts(config.prompts, run_console()), writer.best_of
    envs = make_envs(
        config,
        split.heldout if writer.split == "heldout" else split.train,
        tokenizer,
        policy.end_of_text_ids,
        config.num_envs if n > 1 else min(config.num_envs, config.eval_episodes),
        load_reward(config.reward),
        group_size=n,
    )
    if writer.constraints:
        envs = Constrain(envs, writer.constraints)
    if n > 1:
        return BestOfN(policy, n).collect(envs, config.eval_episodes, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    return collect_rollout(policy, envs, config.eval_episodes, generator, seed=seed)


def of_form(form: Form, config: FineTuning) -> FineTuning:
    """Returns the preset for a form."""
    return dataclasses.replace(
        config,
        reward=form.name,
        prompt_template=TEMPLATES[form.name],
        max_new_tokens=form.most_tokens,
    )


def folder_of(form: Form, config: FineTuning, seed: int, runs: Path) -> Path:
    """Returns the folder of what the preset makes with a seed, there or not."""
    return runs / f"{form.name}-episodes{config.total_episodes}-seed{seed}"


def train(form: Form, config: FineTuning, seed: int, runs: Path) -> float | None:
    """Lets the preset learn with a seed, or go on, unless it has.

    Returns:
        Minutes of processor time; None if a run went on, of which they are not known.
    """
    folder, start = folder_of(form, config, seed, runs), process_time()
    if folder.exists():
        pipeline.resume(folder)
        return None
    run = dataclasses.replace(
        of_form(form, config),
        algorithm=dataclasses.replace(config.algorithm, seed=seed),
        output=runs,
        name=folder.name,
        threads=torch.get_num_threads(),
    )
    pipeline.run(VERSE.name, run)
    return (process_time() - start) / 60


@cache
def sources() -> Sources:
    """Returns everything that the models have read."""
    speeches = poems.read_plays()
    words = frozenset(poems.vocabulary_of(speeches, COMMANDS["verse"].shape.vocabulary_size))
    read = [*poems.verse_as_it_stands(speeches, words), *poems.poems_in_form(speeches, words)]
    return Sources(one.text for one in read if poems.split_of_poem(one) == "train")


def smallest(name: str, seed: int) -> dict[str, float]:
    """Returns the mean reward of 256 poems after learning the smallest version."""
    envs, judging = tiny_envs(64), tiny_envs(256)
    tokenizer = envs.tokenizer
    start = toy_policy(
        tokenizer.vocab_size,
        tokenizer.eos_token_id,
        length=envs.task.max_length,
        eos_probability=0.1,
        seed=seed,
    )
    config = PPOConfig(
        learning_rate=3e-3, n_episodes=64, batch_size=32, kl_coef=0.0, gae_lambda=1.0, seed=seed
    )
    if name == "PPO":
        PPO(start, envs, config).learn(total_episodes=TINY_TEXTS)
        generator = torch.Generator().manual_seed(seed)
        rollout = collect_rollout(start, judging, 256, generator, seed=seed)
    else:
        agent = SB3PPO("mlp", start, envs, config, mean_length=float(TINY.most_tokens))
        agent.learn(total_episodes=TINY_TEXTS)
        rollout = write_texts(agent.model.policy, judging, seed)
    return {"reward": float(rollout.scores.mean())}


def tiny_envs(num_envs: int) -> TextGenVectorEnv:
    """Returns environments of the smallest version."""
    return TextGenVectorEnv(
        num_envs,
        **verse(
            prompts=["night"],
            tokenizer=WordTokenizer(TINY_WORDS),
            reward_function=KeepsForm(TINY),
            prompt_template="{prompt}",
            max_new_tokens=TINY.most_tokens,
        ),
        autoreset_mode="Disabled",
    )


def figures(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Figure]:
    """Returns what was measured of every writer, held against the goals."""
    made = []
    for name, each in found.items():
        for measure, unit in UNITS.items():
            half = [one.get(f"{measure}_half_width") for one in each]
            note = "" if half[0] is None else f"± {max(half):.3f} over the poems of a seed"
            goal = {"at_least": 0.8} if (name, measure) == ("tuned", "kept") else {}
            values = [one[measure] for one in each]
            made.append(figure(f"{name}: {measure}", values, unit, note=note, **goal))
    return [*made, *ratios(found["tuned"], found["SFT"])]


def ratios(tuned: Sequence[Mapping[str, Any]], start: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Returns the price of tuning, seed by seed."""
    pairs = list(zip(tuned, start, strict=True))
    return [
        figure(
            "tuned / SFT: perplexity",
            [a["perplexity"] / b["perplexity"] for a, b in pairs],
            at_most=1.3,
        ),
        figure(
            "tuned - SFT: longest copied run",
            [a["copied"] - b["copied"] for a, b in pairs],
            "words",
            at_most=0.0,
        ),
    ]


def tuning_figure(minutes: Sequence[float | None]) -> list[Figure]:
    """Returns how long the runs took that were not interrupted, if there are any."""
    known = [each for each in minutes if each is not None]
    return [figure("tuning", known, "processor minutes")] if known else []


def tiny_figure(name: str, each: Sequence[Mapping[str, float]]) -> Figure:
    """Returns what somebody learnt of the smallest version."""
    rewards = [one["reward"] for one in each]
    return figure(f"five words, {TINY_TEXTS:,} texts, {name}: reward", rewards, "of 1")


if __name__ == "__main__":
    main()
