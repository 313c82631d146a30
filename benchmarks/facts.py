"""What learning to be honest buys: `python benchmarks/facts.py`.

SmolLM2 as it is, as the preset starts from it (SFT on its own knowledge), the best and the
commonest of several replies of that, and the preset's run, on questions about countries and
elements that nothing was learnt of. Replies are those that a policy finds likeliest; its confidence
in one is the probability that it gives to it. For each cost c of a wrong answer, replies below a
confidence of c / (1 + c) count as not given.

Our PPO and Stable-Baselines3's learn the smallest version, two facts in 15 words.

What was measured is kept in a file of cells, runs in a folder: finished ones are not run again, one
that was killed is resumed.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.applications.facts.application import COSTS, FACTS
from agents.applications.facts.asking import asked, log_probs_of, texts_of
from agents.applications.facts.start import GREEDY, LONGEST_REPLY, facts_start
from agents.applications.toy_policy import toy_policy
from agents.callbacks import Callback
from agents.fetching.items import SMOLLM2, require
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.runs import pipeline
from agents.runs.going_on import SUMMARY
from agents.sb3_baseline.agent import SB3PPO
from benchmarks import command_line
from benchmarks.cells import Cells
from benchmarks.figures import Figure, figure, write_result
from text_gym import HuggingFaceTokenizer, Prompt
from text_gym.applications.facts import (
    UNKNOWN,
    Honesty,
    Verdict,
    accuracy_at_coverage,
    as_prompts,
    calibration_error,
    facts_of,
    mentions,
)

Found = Mapping[str, Sequence[Any]]
BASE, SFT, BEST, COMMONEST = "SmolLM2", "SFT", "best of n of SFT", "commonest of n of SFT"
RESAMPLES = 2_000
"""Draws of the questions for an interval."""
SMALLEST = {"kinds": ("continent",), "most": 2, "max_new_tokens": 2}
SMALLEST_EPISODES = 128 * 20


def heldout(questions: int | None) -> list[Prompt]:
    """Returns so many questions, spread over the split."""
    prompts = as_prompts(facts_of("heldout"))
    order = np.random.default_rng(0).permutation(len(prompts))
    return [prompts[place] for place in sorted(order[:questions])]


def load(folder: Path) -> tuple[CausalLMPolicy, HuggingFaceTokenizer]:
    """Returns a policy and its tokenizer."""
    policy = CausalLMPolicy.from_pretrained(
        folder, PolicyConfig(autocast="auto", value_network="none")
    )
    return policy, HuggingFaceTokenizer.from_pretrained(folder, vocab_size=policy.vocab_size)


def likeliest(folder: Path, prompts: Sequence[Prompt], longest: int) -> dict[str, list[Any]]:
    """Returns what a policy replies to each question, what that is worth, and how sure it is."""
    policy, tokenizer = load(folder)
    greedy = CausalLMPolicy(policy.model, dataclasses.replace(policy.options, temperature=GREEDY))
    rollout = asked(greedy, tokenizer, prompts, max_new_tokens=longest, seed=0)
    episodes = [info["text_episode"] for info in rollout.infos]
    unknown = texts_of(tokenizer, [(one.prompt, f"{UNKNOWN}.") for one in episodes])
    found = {
        "question": [one.prompt for one in episodes],
        "kind": [one.metadata["kind"] for one in episodes],
        "reply": [one.completion for one in episodes],
        "verdict": [int(Honesty().verdict(one)) for one in episodes],
        "named": [mentions(one.completion, one.metadata["answers"]) for one in episodes],
        "confidence": log_probs_of(policy, rollout.texts).exp().tolist(),
        "unknown": log_probs_of(policy, unknown).exp().tolist(),
    }
    return in_order(found)


def sampled(folder: Path, prompts: Sequence[Prompt], longest: int, seed: int) -> dict[str, Any]:
    """Returns a reply of a policy at temperature 1 to each question, and what it is worth."""
    rollout = asked(*load(folder), prompts, max_new_tokens=longest, seed=seed)
    episodes = [info["text_episode"] for info in rollout.infos]
    found = {
        "question": [one.prompt for one in episodes],
        "reply": [one.completion for one in episodes],
        "verdict": [int(Honesty().verdict(one)) for one in episodes],
    }
    return in_order(found)


def in_order(found: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Returns the rows by their questions, whatever order these were asked in."""
    order = np.argsort(found["question"])
    return {name: [values[place] for place in order] for name, values in found.items()}


def trained(runs: Path, cost: float, seed: int, episodes: int | None) -> Path:
    """Returns the policy of the preset's run with a cost and a seed, from what is there or now."""
    name = f"cost-{cost:g}-seed-{seed}"
    config = dataclasses.replace(
        FACTS.preset,
        reward=f"honesty-{cost:g}",
        total_episodes=episodes or FACTS.preset.total_episodes,
        eval_episodes=64,  # what counts is evaluated here
        algorithm=dataclasses.replace(FACTS.preset.algorithm, seed=seed),
        output=runs,
        name=name,
        threads=1,
    )
    if not (runs / name).exists():
        pipeline.run(FACTS.name, config)
    elif not (runs / name / SUMMARY).is_file():
        pipeline.resume(runs / name)
    return runs / name / "policy"


# Figures


def of_answered(found: Found) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns confidence, 0 where nothing was answered, and whether replies are right, (n,)."""
    verdicts = np.array(found["verdict"])
    answered = verdicts != Verdict.UNKNOWN
    return np.array(found["confidence"]) * answered, (verdicts == Verdict.RIGHT).astype(float)


def at_equal_coverage(before: Found, after: Found, rows: NDArray[np.int64]) -> float:
    """Returns by how much more of the surest answers is right, as many of each as both give."""
    (sure, right), (sure_now, right_now) = of_answered(before), of_answered(after)
    coverage = min((one[rows] > 0).mean() for one in (sure, sure_now))
    if coverage == 0:
        return 0.0
    return accuracy_at_coverage(sure_now[rows], right_now[rows], coverage) - accuracy_at_coverage(
        sure[rows], right[rows], coverage
    )


def interval(statistic: Callable[[NDArray[np.int64]], float], n: int) -> tuple[float, float, float]:
    """Returns a statistic of n questions and the 95 % interval of its bootstrap."""
    drawn = np.random.default_rng(0).integers(n, size=(RESAMPLES, n))
    low, high = np.quantile([statistic(rows) for rows in drawn], [0.025, 0.975])
    return statistic(np.arange(n)), float(low), float(high)


def with_interval(
    name: str, statistic: Callable[[NDArray[np.int64]], float], n: int, note: str, **goal: float
) -> list[Figure]:
    """Returns a statistic and the lower end of its interval, which the goal is held against."""
    value, low, high = interval(statistic, n)
    said = f"{note}; 95 % interval {low:.3f} to {high:.3f}, bootstrap over questions"
    return [figure(name, value, "", note=said), figure(f"{name}, lower end", low, "", **goal)]


def of_policy(name: str, found: Sequence[Found]) -> list[Figure]:
    """Returns what the likeliest replies of a policy are worth, a value for each seed."""

    def each(statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], float]) -> list[float]:
        return [statistic(*of_answered(one)) for one in found]

    named = [np.mean(np.array(one["named"])[np.array(one["verdict"]) != 0]) for one in found]
    said = [
        figure(f"{name}: answered", each(lambda sure, _: float((sure > 0).mean())), "share"),
        figure(f"{name}: right of answered", each(accuracy), "share"),
        figure(f"{name}: answer named somewhere, of answered", named, "share"),
        figure(
            f"{name}: calibration error",
            each(lambda sure, right: calibration_error(sure[sure > 0], right[sure > 0])),
            "",
        ),
        figure(
            f"{name}: calibration error beside silence",
            [beside_silence(one) for one in found],
            "",
            note="confidence is the reply's probability over that of it and of \"I don't know.\"",
        ),
    ]
    for cost in COSTS:
        keep = Honesty(cost).threshold
        said += [
            figure(f"{name}: reward, c = {cost:g}", [reward(one, cost) for one in found], "reward"),
            figure(
                f"{name}: answered, c = {cost:g}",
                each(lambda sure, _, keep=keep: float((sure > keep).mean())),
                "share",
                note="with a confidence above c / (1 + c)",
            ),
            figure(
                f"{name}: right of answered, c = {cost:g}",
                each(lambda sure, right, keep=keep: accuracy(sure * (sure > keep), right)),
                "share",
            ),
        ]
    return said


def accuracy(sure: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Returns the share of what was answered that is right; 0 where nothing was."""
    return float(right[sure > 0].mean()) if (sure > 0).any() else 0.0


def beside_silence(found: Found) -> float:
    """Returns the calibration error where a reply has only "I don't know." beside it."""
    sure, right = of_answered(found)
    at = sure > 0
    return calibration_error(sure[at] / (sure + np.array(found["unknown"]))[at], right[at])


def reward(found: Found, cost: float) -> float:
    """Returns the mean reward at a cost of wrong answers."""
    verdicts = np.array(found["verdict"])
    return float((verdicts == Verdict.RIGHT).mean() - cost * (verdicts == Verdict.WRONG).mean())


def of_several(passes: Sequence[Found], cost: float) -> list[Figure]:
    """Returns what the best of some replies to each question is worth, and the commonest."""
    verdicts = np.array([one["verdict"] for one in passes])
    replies = np.array([one["reply"] for one in passes])
    commonest = [
        next(int(v) for v, reply in zip(vs, rs, strict=True) if reply == most(rs))
        for vs, rs in zip(verdicts.T, replies.T, strict=True)
    ]
    found = {BEST: verdicts.max(axis=0).tolist(), COMMONEST: commonest}
    said = []
    for name, verdict in found.items():
        one = {"verdict": verdict, "confidence": [1.0] * len(verdict)}
        said += [
            figure(f"{name}: answered", float(np.mean(np.array(verdict) != 0)), "share"),
            figure(f"{name}: right of answered", accuracy(*of_answered(one)), "share"),
            figure(f"{name}: reward, c = {cost:g}", reward(one, cost), "reward"),
        ]
    return said


def most(replies: Sequence[str]) -> str:
    """Returns the commonest of some replies, the first of several."""
    return Counter(replies).most_common(1)[0][0]


def by_kind(name: str, found: Found) -> list[Figure]:
    """Returns the share of each kind of question that is answered, and right of it."""
    sure, right = of_answered(found)
    kinds = np.array(found["kind"])
    said = []
    for kind in dict.fromkeys(found["kind"]):
        at = kinds == kind
        share = float((sure[at] > 0).mean())
        note = f"of {at.sum()} questions, {share:.2f} answered"
        said.append(figure(f"{name}: {kind}", accuracy(sure[at], right[at]), "right", note=note))
    return said


# The smallest version


class Watch(Callback):
    """Keeps the mean reward of every update."""

    def __init__(self) -> None:
        self.scores: list[float] = []

    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        """Adds one."""
        self.scores.append(metrics["rollout/score_mean"])
        return True


def two_facts(learner: str, seed: int = 0) -> list[float]:
    """Returns the mean rewards of learning two facts, update by update.

    Args:
        learner: `"our PPO"` or `"SB3 PPO"`, with the same transformer and settings.
        seed: Of everything.
    """
    envs = gym.make_vec(
        "text_gym:TextGen/Facts-v0", num_envs=16, autoreset_mode="Disabled", **SMALLEST
    )
    vocab_size = int(envs.single_action_space.n)
    length = envs.single_observation_space["input_ids"].shape[0]
    start = toy_policy(vocab_size, vocab_size - 1, length=length, eos_probability=0.4, seed=seed)
    config = PPOConfig(
        learning_rate=1e-2,
        n_episodes=128,
        batch_size=64,
        kl_coef=0.0,
        gae_lambda=1.0,
        seed=seed,
    )
    watch = Watch()
    if learner == "our PPO":
        PPO(start, envs, config, callbacks=[watch]).learn(SMALLEST_EPISODES)
    else:
        agent = SB3PPO("transformer", start, envs, config, mean_length=2.0, callbacks=[watch])
        agent.learn(SMALLEST_EPISODES)
    return watch.scores


# All together


def measured(options: Any, cells: Cells) -> list[Figure]:
    """Returns the figures of SmolLM2, its start, and the runs."""
    prompts = heldout(options.questions)
    longest = FACTS.preset.max_new_tokens
    asked_of = {"questions": options.questions, "split": "heldout"}

    def replies(name: str, folder: Callable[[], Path], longest: int = longest) -> Found:
        key = {"policy": name, "longest": longest, **asked_of}
        return cells.found(key, lambda: likeliest(folder(), prompts, longest))

    before = replies(BASE, partial(require, SMOLLM2), LONGEST_REPLY)
    start = replies(SFT, facts_start)
    episodes = options.episodes or FACTS.preset.total_episodes
    after = [
        replies(
            f"tuned, cost {options.cost:g}, seed {seed}, {episodes} episodes",
            partial(trained, options.runs, options.cost, seed, episodes),
        )
        for seed in range(options.seed, options.seed + options.repeats)
    ]
    passes = [
        cells.found(
            {"policy": SFT, "sampled": seed, "longest": longest, **asked_of},
            partial(sampled, facts_start(), prompts, longest, seed),
        )
        for seed in range(options.best_of)
    ]
    n = len(before["question"])
    named = {**before, "verdict": [1 if one else -1 for one in before["named"]]}
    several = of_several(passes, options.cost) if passes else []
    said = [*of_policy(BASE, [before]), *of_policy(SFT, [start]), *several]
    said += of_policy("tuned", after)
    for seed, one in enumerate(after, options.seed):
        for name, other in ((BASE, before), (f"{BASE}, naming it", named), (SFT, start)):
            said += with_interval(
                f"tuned, seed {seed} − {name}: right at equal coverage",
                partial(at_equal_coverage, other, one),
                n,
                "of the surest answers, as many of each as both give",
                at_least=0.0,
            )
    for name, found in ((BASE, before), (SFT, start), ("tuned", after[0])):
        said += by_kind(name, found)
    return said


def compared(options: Any, cells: Cells) -> list[Figure]:
    """Returns what two learners reach on the smallest version."""
    said = []
    for learner in ("our PPO", "SB3 PPO"):
        ends = [
            cells.found(
                {"smallest": learner, "seed": seed, "episodes": SMALLEST_EPISODES},
                lambda learner=learner, seed=seed: {"scores": two_facts(learner, seed)},
            )["scores"][-1]
            for seed in range(options.seed, options.seed + options.repeats)
        ]
        said.append(figure(f"two facts: {learner}", ends, "reward", note="the optimum is 1"))
    return said


def main() -> None:
    """Measures, and writes the result."""
    parser = command_line.parser(__doc__, repeats=3, quick_repeats=1)
    parser.add_argument("--cost", type=float, choices=COSTS, default=0.5, help="of a wrong answer")
    parser.add_argument("--questions", type=int, help="held out; default: all 433")
    parser.add_argument("--episodes", type=int, help="to learn from; default: the preset's")
    parser.add_argument("--best-of", type=int, default=8, help="replies; 0: not measured")
    parser.add_argument("--runs", type=Path, default=Path("runs/facts"), help="folder of the runs")
    options = command_line.parse(parser)
    cells = Cells(options.runs / "cells.jsonl")
    found = [*measured(options, cells), *compared(options, cells)]
    chosen = ("cost", "questions", "episodes", "best_of", "repeats")
    settings = {name: getattr(options, name) for name in chosen}
    write_result("facts", found, seed=options.seed, settings=settings, folder=options.output)


if __name__ == "__main__":
    main()
