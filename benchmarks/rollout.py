"""Measure rollouts against `transformers.generate`: `python benchmarks/rollout.py`.

Both write as many texts as they can with the same model, after the same prompts; tokens are those
that belong to a text, and ours go through the environment. Four cases: GPT-2 of 4 layers × 128,
V = 64, 64 rows, prompts of 4 tokens, with completions of exactly 32 tokens, and with geometric
lengths of mean 8 under a limit of 64; SmolLM2-135M, 64 rows, openings of film reviews, with 24
tokens each, and ending at a mark of punctuation. `generate` gets batches of 64 prompts and waits
for the longest; the rollout gives a finished row its next prompt.

A rollout has the log-prob of every token and the value of every state. PPO learns from values and
log-probs as the training forward gives them, by a second pass over the finished texts, which is
counted where it says "judged".

Groups are held against texts that share nothing: the same GPT-2 writes 32 tokens in 64 rows after
prompts of 256, eight rows to a prompt or a prompt to each row.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from agents.fetching.items import SMOLLM2
from agents.policy.causal_lm import CausalLMPolicy
from benchmarks import command_line
from benchmarks.figures import Figure, figure, write_result
from benchmarks.floor import (
    Model,
    Peaks,
    Work,
    decoding,
    judging,
    measure_peaks,
    share_of_floor,
)
from benchmarks.tasks import Numbers, end_with_probability, gpt2, make_envs, random_prompts
from benchmarks.timing import Samples, interleaved, ratios, tokens_per_second
from benchmarks.writers import Case, collected, generated, lean, plain_model
from text_gym import EpochPrompts, GroupedPrompts, HuggingFaceTokenizer

ROWS = 64
VOCAB_SIZE, PROMPT = 64, 4
FIXED, LIMIT, MEAN = 32, 64, 8
SMOLLM2_FIXED = 24
GROUP, LONG_PROMPT = 8, 256
Goals = tuple[float, float | None]
"""Of a rollout over `generate`, as it is and judged; None: that is only reported."""
GPT2_GOALS: tuple[Goals, Goals] = ((2.0, 1.5), (5.0, None))
SMOLLM2_GOALS: tuple[Goals, Goals] = ((1.0, None), (2.0, None))
"""With fixed lengths, and with ragged ones."""
LEAN_GOAL = 0.85
"""Of a rollout over the lean loop."""
GROUPS_GOAL = 2.0
"""Of a rollout of groups over one without."""

REVIEWS = (
    "I went to see this film because",
    "The first half hour is slow, but",
    "Nobody in my family had heard of the director, and still",
    "What a strange little",
    "Two hours of my life that",
    "The music alone makes it",
    "My expectations were low, and the opening scene",
    "If you enjoyed the book, you will",
    "There is a moment near the end when",
    "The two leads have",
    "I have watched it three times now and",
    "As a comedy it fails, but as",
    "Somewhere in this mess of a plot",
    "Shot in black and white, the picture",
    "The acting was",
    "Do yourself a favour and",
)
MARKS = (".", ",", "!", "?", ";", ":", "-", "\n", '"', ")")


def gpt2_cases(n_ragged: int, seed: int, rows: int = ROWS) -> list[Case]:
    """Returns GPT-2 with fixed and with geometric lengths."""
    prompts = random_prompts(rows, VOCAB_SIZE, PROMPT, seed)
    policy = gpt2(
        layers=4, width=128, heads=4, vocab_size=VOCAB_SIZE, max_length=PROMPT + LIMIT, seed=seed
    )
    end_with_probability(policy, 1 / MEAN)
    model = plain_model(policy)
    task: dict[str, Any] = {
        "prompts": prompts,
        "tokenizer": Numbers(VOCAB_SIZE),
        "reward_function": _no_reward,
    }
    ids = [Numbers(VOCAB_SIZE).encode(prompt) for prompt in prompts]
    fixed = make_envs(rows, ends=False, max_new_tokens=FIXED, **task)
    ragged = make_envs(rows, max_new_tokens=LIMIT, **task)
    return [
        Case("GPT-2 4 × 128, 32 tokens", policy, model, fixed, ids, FIXED, (), rows),
        Case(
            "GPT-2 4 × 128, geometric lengths",
            policy,
            model,
            ragged,
            ids,
            LIMIT,
            (VOCAB_SIZE - 1,),
            n_ragged,
        ),
    ]


def smollm2_cases(folder: Path, n_ragged: int) -> list[Case]:
    """Returns SmolLM2 with fixed lengths and with texts that end at a mark."""
    policy = CausalLMPolicy.from_pretrained(folder)
    model = plain_model(policy)
    model.generation_config.eos_token_id = None
    tokenizer = HuggingFaceTokenizer.from_pretrained(folder, vocab_size=policy.vocab_size)
    marks = sorted({tokenizer.encode(mark)[0] for mark in MARKS})
    prompts = [REVIEWS[row % len(REVIEWS)] for row in range(ROWS)]
    task: dict[str, Any] = {
        "prompts": prompts,
        "tokenizer": tokenizer,
        "reward_function": _no_reward,
    }
    ids = [tokenizer.encode(prompt) for prompt in prompts]
    fixed = make_envs(ROWS, ends=False, max_new_tokens=SMOLLM2_FIXED, **task)
    ragged = make_envs(ROWS, max_new_tokens=LIMIT, stop_token_ids=marks, **task)
    stops = [*marks, tokenizer.eos_token_id]
    return [
        Case("SmolLM2-135M, 24 tokens", policy, model, fixed, ids, SMOLLM2_FIXED, (), ROWS),
        Case("SmolLM2-135M, to a mark", policy, model, ragged, ids, LIMIT, stops, n_ragged),
    ]


def grouped_cases(seed: int) -> tuple[Case, Case]:
    """Returns GPT-2 after long prompts, eight rows to each and one row to each."""
    length = LONG_PROMPT + FIXED
    policy = gpt2(layers=4, width=128, heads=4, vocab_size=VOCAB_SIZE, max_length=length, seed=seed)
    model, tokenizer = plain_model(policy), Numbers(VOCAB_SIZE)
    prompts = random_prompts(ROWS, VOCAB_SIZE, LONG_PROMPT, seed)
    ids = [tokenizer.encode(prompt) for prompt in prompts]
    task: dict[str, Any] = {"tokenizer": tokenizer, "reward_function": _no_reward}

    def case(name: str, prompts: Any) -> Case:
        envs = make_envs(ROWS, ends=False, max_new_tokens=FIXED, prompts=prompts, **task)
        return Case(name, policy, model, envs, ids, FIXED, (), ROWS)

    return (
        case(f"groups of {GROUP}", GroupedPrompts(EpochPrompts(prompts), size=GROUP)),
        case("a prompt to each row", EpochPrompts(prompts)),
    )


def group_figures(repeats: int, seed: int) -> list[Figure]:
    """Measures a rollout of groups, with and without prompts that are the same."""
    cases = grouped_cases(seed)
    work = {case.name: collected(case, judged=False, seed=seed) for case in cases}
    samples = interleaved({name: tokens_per_second(one) for name, one in work.items()}, repeats)
    ours, theirs = samples
    name = f"GPT-2 4 × 128, {FIXED} tokens after prompts of {LONG_PROMPT}"
    return [
        figure(
            f"{name}: {ours} / {theirs}",
            ratios(samples, ours, theirs),
            at_least=GROUPS_GOAL,
            note="a prompt is read once for all rows that begin with it",
        ),
        *(figure(f"{name}: {one}", speeds, "tokens/s") for one, speeds in samples.items()),
    ]


def measure(case: Case, repeats: int, seed: int) -> Samples:
    """Times ours, judged and not, `generate`, and, for fixed lengths, the lean loop."""
    timed = {
        "rollout, judged": collected(case, judged=True, seed=seed),
        "rollout": collected(case, judged=False, seed=seed),
        "generate": generated(case),
    }
    if not case.stops:
        timed["lean loop"] = lean(case, seed)
    speeds = {name: tokens_per_second(work) for name, work in timed.items()}
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # `generate` draws from the global generator
        return interleaved(speeds, repeats)


def figures(
    case: Case, samples: Samples, peaks: Peaks, *, goals: Goals, mean_length: float
) -> list[Figure]:
    """Returns a case's figures.

    Args:
        case: What was measured.
        samples: In tokens per second.
        peaks: Of the machine.
        goals: For this case.
        mean_length: Of the completions, in tokens.
    """
    goal, judged_goal = goals
    found = [
        figure(
            f"{case.name}: rollout / generate",
            ratios(samples, "rollout", "generate"),
            at_least=goal,
            note="through the environment, with log-probs and values",
        ),
        figure(
            f"{case.name}: rollout, judged / generate",
            ratios(samples, "rollout, judged", "generate"),
            at_least=judged_goal,
            note="and judged again by the training forward, as PPO does",
        ),
    ]
    if "lean loop" in samples:
        found.append(
            figure(
                f"{case.name}: rollout / lean loop",
                ratios(samples, "rollout", "lean loop"),
                at_least=LEAN_GOAL,
                note="the lean loop samples and reads with the same decoder, and keeps nothing",
            )
        )
    found += [
        figure(f"{case.name}: {name}", speeds, "tokens/s") for name, speeds in samples.items()
    ]
    return [
        *found,
        figure(f"{case.name}: mean length", mean_length, "tokens"),
        share_of_floor(
            f"{case.name}: rollout, judged",
            samples["rollout, judged"],
            peaks,
            least_work(case, mean_length),
            round(case.n_episodes * mean_length),
            "A step reads one token a row: small products, and the calls around them, keep a small "
            "model from it",
        ),
    ]


def least_work(case: Case, mean_length: float) -> Work:
    """Counts writing and judging the texts of one measurement, as if all had the mean length."""
    model, lengths = Model.of(case.policy), [round(mean_length)] * case.n_episodes
    return decoding(model, case.mean_prompt, lengths, ROWS) + judging(
        model, case.mean_prompt, lengths, passes=case.n_episodes // ROWS
    )


def _no_reward(prompt: str, completion: str) -> float:  # noqa: ARG001  # as rewards are called
    return 0.0


def main() -> None:
    """Measures all cases."""
    parser = command_line.parser(__doc__, repeats=9, quick_repeats=5)
    parser.add_argument("--episodes", type=int, default=1024, help="texts of a ragged measurement")
    parser.add_argument(
        "--smollm2",
        type=Path,
        default=SMOLLM2.folder,
        help="folder that `python -m agents.fetch smollm2` made",
    )
    options = command_line.parse(parser)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    cases = gpt2_cases(options.episodes, options.seed)
    _report("rollout", cases, GPT2_GOALS, options.repeats, options)
    _report_groups(options)
    if options.smollm2.is_dir():
        cases = smollm2_cases(options.smollm2, 2 * ROWS if options.quick else 4 * ROWS)
        repeats = min(options.repeats, 2 if options.quick else 5)
        _report("rollout_smollm2", cases, SMOLLM2_GOALS, repeats, options)
    else:
        print(f"SmolLM2 skipped: no {options.smollm2}; `python -m agents.fetch smollm2` fetches it")


def _report_groups(options: argparse.Namespace) -> None:
    found = group_figures(options.repeats, options.seed)
    settings = {"rows": ROWS, "group": GROUP, "prompt": LONG_PROMPT}
    write_result(
        "rollout_groups", found, seed=options.seed, settings=settings, folder=options.output
    )


def _report(
    name: str,
    cases: Sequence[Case],
    goals: Sequence[Goals],
    repeats: int,
    options: argparse.Namespace,
) -> None:
    peaks, found = measure_peaks(), []
    for case, own in zip(cases, goals, strict=True):
        mean_length = collected(case, judged=False)() / case.n_episodes
        samples = measure(case, repeats, options.seed)
        found += figures(case, samples, peaks, goals=own, mean_length=mean_length)
    episodes = {case.name: case.n_episodes for case in cases}
    settings = {"rows": ROWS, "episodes": episodes}
    write_result(name, found, seed=options.seed, settings=settings, folder=options.output)


if __name__ == "__main__":
    main()
