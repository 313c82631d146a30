"""Conversations of three turns, before and after: `python benchmarks/conversation.py`.

With the same partner, to the same held-out prompts: the small-talk model as it comes; after it has
read whole conversations (SFT), which is where the preset starts; the best of eight conversations of
that; and what the preset makes of it, as the command line runs it, for each seed. The reward is the
model of people's ratings, in standard deviations of the preset's start on prompts of training. The
KL is from that start.

`--sb3` adds the smallest version, 33 words and a scripted partner, on which Stable-Baselines3's PPO
learns beside ours. What is measured is kept, cell by cell; runs that were killed are resumed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents import CausalLMPolicy, PolicyConfig, collect_rollout
from agents.algorithms.best_of_n import BestOfN
from agents.applications.conversation.application import CONVERSATION, fitting
from agents.evaluation.evaluate import describe, own_log_probs
from agents.evaluation.intervals import mean_interval
from agents.reward_models.human_ratings import chitchat_ratings
from agents.reward_models.reward_model import RewardModel
from agents.reward_models.verdict import rank_correlation
from agents.rollout.buffer import Rollout
from agents.runs import pipeline
from agents.runs.environments import load_responder, make_envs
from agents.runs.models import load_language_model
from agents.runs.rewards import load_reward, reward_models
from benchmarks import command_line, smallest_turns
from benchmarks.cells import Cells
from benchmarks.figures import Figure, figure, write_result
from benchmarks.human_ratings import UNSEEN, partial_correlation
from benchmarks.smallest_turns import sb3_figures
from text_gym import Episode
from text_gym.metrics import distinct_n, repeated_across
from text_gym.rewards import Sentiment
from text_gym.small_talk import RATING_SCALES

BEST_OF = 8
EVALUATED = 128, 16
"""Conversations of each, and under `--quick`."""
START = str(CONVERSATION.preset.model)
UNITS = {
    "rating": "sd",
    "KL": "nats per conversation",
    "sentiment": "",
    "turns": "of 3",
    "tokens": "per conversation",
    "repetition": "of pairs of words",
    "repetition of itself": "of pairs of words",
    "distinct-2": "of pairs of words",
    "perplexity": "under the start",
}


def told(kept: Rollout, policy: CausalLMPolicy, reference: CausalLMPolicy) -> dict[str, Any]:
    """Returns what is to be known of conversations: a value of each, or one of all."""
    written = describe(kept, own_log_probs(policy, kept), reference)
    episodes = [info["text_episode"] for info in kept.infos]
    return {
        "rating": written.scores,
        "KL": written.log_ratios,
        "sentiment": Sentiment()(episodes).tolist(),
        "turns": [len(said_by_policy(one)) for one in episodes],
        "tokens": written.lengths,
        "repetition": [1 - distinct_n(lines(one), 2, without=1.0) for one in episodes],
        "repetition of itself": [repeated_across(said_by_policy(one), 2) for one in episodes],
        "distinct-2": distinct_n(written.completions, 2),
        "perplexity": written.figures["perplexity"],
        "samples": [[one.prompt, *(turn.text for turn in one.turns)] for one in episodes[:12]],
    }


def lines(episode: Episode) -> list[str]:
    """Returns all turns of a conversation, the first included."""
    return [episode.prompt, *(turn.text for turn in episode.turns)]


def said_by_policy(episode: Episode) -> list[str]:
    """Returns the policy's turns that have a word."""
    return [turn.text for turn in episode.turns if turn.writer == "policy" and turn.text.strip()]


def conversations(model: str, n: int, seed: int, *, best_of: int = 1) -> dict[str, Any]:
    """Lets a model have n conversations, each the best of some, and says what there is to know."""
    options = PolicyConfig(value_network="none")
    policy, tokenizer = load_language_model(model, options)
    reference, _ = load_language_model(START, options)
    envs = make_envs(
        CONVERSATION.preset,
        fitting("heldout"),
        tokenizer,
        policy.end_of_text_ids,
        min(128, n * best_of),
        load_reward(CONVERSATION.preset.reward),
        responder=load_responder(CONVERSATION.preset.responder, "cpu"),
        group_size=best_of,
    )
    if best_of == 1:
        generator = torch.Generator().manual_seed(seed)
        kept = collect_rollout(policy, envs, n, generator, seed=seed)
        return told(kept, policy, reference)
    best = BestOfN(policy, best_of)
    found = told(best.collect(envs, n, seed=seed), policy, reference)
    return found | {"KL": [best.kl_bound] * n}


def tuned(runs: Path, seed: int, *, quick: bool) -> str:
    """Returns the model of a run, which is carried out or gone on with if it must be."""
    folder = runs / f"seed{seed}"
    if folder.exists():
        pipeline.resume(folder)
        return str(folder / "policy")
    preset = CONVERSATION.preset
    algorithm = dataclasses.replace(preset.algorithm, seed=seed)
    if quick:
        preset = dataclasses.replace(preset, num_envs=32, total_episodes=64, eval_episodes=16)
        algorithm = dataclasses.replace(algorithm, n_episodes=32, batch_size=16)
    threads = torch.get_num_threads()
    pipeline.run(
        CONVERSATION.name,
        dataclasses.replace(
            preset, algorithm=algorithm, output=runs, name=folder.name, threads=threads
        ),
    )
    return str(folder / "policy")


def row(name: str, found: Mapping[str, Any]) -> list[Figure]:
    """Returns the figures of one that learns nothing here."""
    return [
        _with_interval(figure(f"{name}: {what}", _mean(found[what]), unit), found[what])
        for what, unit in UNITS.items()
    ]


def people(reward: str) -> dict[str, Any]:
    """Returns how well a model of ratings foretells those of people whom nothing has read."""
    rows = [
        row for split in UNSEEN for row in chitchat_ratings(split, *RATING_SCALES) if row.completion
    ]
    (folder,) = reward_models(reward)
    model = RewardModel.load(folder)
    foretold = model.score([row.prompt for row in rows], [row.completion for row in rows]).tolist()
    ratings = [row.score for row in rows]
    lengths = [len(row.prompt) + len(row.completion) for row in rows]
    return {
        "model": rank_correlation(foretold, ratings),
        "length alone": rank_correlation(lengths, ratings),
        "model, among equally long ones": partial_correlation(foretold, ratings, lengths),
        "n": len(rows),
    }


def people_figures(found: Mapping[str, Any]) -> list[Figure]:
    """Returns what is known of the model of ratings."""
    figures = []
    for what in ("model", "length alone", "model, among equally long ones"):
        value, *rest = np.atleast_1d(found[what]).tolist()
        note = f"95 %: {rest[0]:.3f} to {rest[1]:.3f}, of {found['n']}." if rest else ""
        figures.append(figure(f"people's ratings: {what}", value, "rank correlation", note=note))
    return figures


def _with_interval(one: Figure, values: Sequence[float] | float) -> Figure:
    if not isinstance(values, Sequence):
        return one
    mean, half = mean_interval(values)
    note = f"95 %: {mean - half:.3f} to {mean + half:.3f}, of {len(values)} conversations."
    return dataclasses.replace(one, note=note)


def _mean(values: Sequence[float] | float) -> float:
    return float(np.mean(values))


def tuned_rows(start: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """Returns the figures of the preset, over seeds, against where it starts."""
    gains = [np.subtract(one["rating"], start["rating"]).tolist() for one in runs]
    repeated = [_mean(one["repetition"]) - _mean(start["repetition"]) for one in runs]
    found = []
    for what, unit in UNITS.items():
        goal = {"at_most": 8.0} if what == "KL" else {}
        found.append(figure(f"tuned: {what}", [_mean(one[what]) for one in runs], unit, **goal))
    spans = (mean_interval(each) for each in gains)
    said = "; ".join(f"{mean - half:.3f} to {mean + half:.3f}" for mean, half in spans)
    note = f"95 % by seed, prompt by prompt: {said}."
    means = [_mean(each) for each in gains]
    return [
        *found,
        figure("tuned − SFT: rating", means, "sd", at_least=0.5, note=note),
        figure("tuned − SFT: repetition", repeated, "of pairs of words", at_most=0.0),
    ]


def main() -> None:
    """Measures what is not known yet, and writes figures."""
    parser = command_line.parser(__doc__, repeats=3, quick_repeats=1)
    parser.add_argument("--runs", type=Path, default=Path("runs/conversation"))
    parser.add_argument("--sb3", action="store_true", help="the smallest version too")
    options = command_line.parse(parser)
    cells, n = Cells(options.runs / "cells.jsonl"), EVALUATED[options.quick]
    seeds = range(options.seed, options.seed + options.repeats)

    def measured(name: str, model: str, best_of: int = 1) -> Mapping[str, Any]:
        key = {"name": name, "n": n, "seed": options.seed, "best_of": best_of}
        return cells.found(key, lambda: conversations(model, n, options.seed, best_of=best_of))

    start = measured("SFT", START)
    figures = row("before", measured("before", "small-talk"))
    figures += row("SFT", start)
    figures += row(f"best of {BEST_OF}", measured("best", START, BEST_OF))
    runs = [
        measured(f"tuned {seed}", tuned(options.runs, seed, quick=options.quick)) for seed in seeds
    ]
    figures += tuned_rows(start, runs)
    reward = str(CONVERSATION.preset.reward)
    figures += people_figures(cells.found({"people": reward}, lambda: people(reward)))
    if options.sb3:
        figures += sb3_figures(smallest_turns.CONVERSATION, cells, seeds, quick=options.quick)
    settings = {"conversations": n, "best_of": BEST_OF, "preset": CONVERSATION.name}
    write_result(
        "conversation", figures, seed=options.seed, settings=settings, folder=options.output
    )


if __name__ == "__main__":
    main()
