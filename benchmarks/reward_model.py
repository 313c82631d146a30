"""Measure what reward models learn, and how fast they score: `python benchmarks/reward_model.py`.

Of simulated people the truth is known. The small-talk model writes four replies to each prompt, and
people compare two at a time by VADER's sentiment, by Bradley and Terry's model, as skilled as makes
them prefer the better reply three times of four on average. What no model can pass is how often
these answers agree with the sentiment. Prompts that are tried on are not learnt from. What real
people said is the matter of `human_ratings.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq

from agents import PolicyConfig
from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.applications.dialogue import chitchat
from agents.reward_models.reward_model import RewardModel
from agents.reward_models.training import train_reward_model
from agents.reward_models.verdict import check
from agents.runs.models import load_language_model
from agents.runs.sampling import Manner as WritingManner
from agents.runs.sampling import sample
from agents.runs.sampling_options import Sampling
from agents.supervised.pair_files import Preference
from benchmarks import command_line
from benchmarks.figures import RESULTS, Figure, figure, write_result
from benchmarks.timing import interleaved, ratios
from text_gym import Episode, Prompt
from text_gym.feedback.answers import Preferred
from text_gym.feedback.simulated.answering import Manner, compare
from text_gym.rewards import Sentiment

RELIABILITY = 0.75
PER_PROMPT, PAIRS_OF_PROMPT = 4, 2
SIZES: Mapping[str, tuple[int, int]] = {
    "prompts": (5_000, 150),
    "pairs": (5_000, 200),
    "heldout prompts": (500, 30),
}
"""What is learnt from and tried on, and the same under `--quick`."""
SETTINGS = {"learning_rate": 5e-4, "n_epochs": 1, "batch_size": 16}
"""A second epoch learns the noise: less accurate, and less well calibrated."""
BATCH = 64
OPTIONS = PolicyConfig(value_network="none", autocast="auto")


class Pair(NamedTuple):
    """Two replies to a prompt, and what each is worth."""

    prompt: str
    replies: tuple[str, str]
    worths: tuple[float, float]


def written(prompts: Sequence[Prompt], seed: int) -> list[tuple[str, list[str]]]:
    """Returns prompts with the different replies of the small-talk model."""
    policy, tokenizer = load_language_model("small-talk", PolicyConfig(value_network="none"))
    asked = Sampling(
        model="small-talk",
        prompts="chitchat",
        per_prompt=PER_PROMPT,
        num_envs=256,
        seed=seed,
        output=RESULTS,
    )
    items = sample(policy, tokenizer, prompts, asked, WritingManner())
    return [(str(item.prompt), [one.text for one in item.completions]) for item in items]


def pairs_of(replies: Sequence[tuple[str, list[str]]], most: int, seed: int) -> list[Pair]:
    """Returns up to `most` pairs of each prompt's replies, those of equal worth left out."""
    gold, chance, found = Sentiment(), np.random.default_rng(seed), []
    for prompt, texts in replies:
        worth = gold([Episode.from_text(prompt, text) for text in texts])
        pairs = [(i, j) for i in range(len(texts)) for j in range(i) if worth[i] != worth[j]]
        for i, j in chance.permutation(pairs)[:most].tolist() if pairs else ():
            found.append(Pair(prompt, (texts[i], texts[j]), (float(worth[i]), float(worth[j]))))
    return found


def skill_of(pairs: Sequence[Pair]) -> float:
    """Returns log-odds per unit of worth of people who prefer the better of pairs 3 times of 4."""
    gaps = np.array([abs(left - right) for _, _, (left, right) in pairs])

    def missing(skill: float) -> float:
        return float((1 / (1 + np.exp(-skill * gaps))).mean()) - RELIABILITY

    return float(brentq(missing, 0.0, 1e3))


def said(pairs: Sequence[Pair], manner: Manner, seed: int) -> list[Preference]:
    """Returns what simulated people prefer, one answer for each pair."""
    chance, found = np.random.default_rng(seed), []
    for prompt, replies, worths in pairs:
        left = compare(worths, manner, 0, chance) == Preferred(0)
        better, worse = replies if left else replies[::-1]
        found.append(Preference(prompt, better, worse, 0.0, 1.0, side="left" if left else "right"))
    return found


def worth_chosen(pairs: Sequence[Pair], answers: Sequence[Preference]) -> float:
    """Returns how often the answers are for the better reply: what no model can pass."""
    right = [
        answer.chosen == replies[int(worths[1] > worths[0])]
        for (_, replies, worths), answer in zip(pairs, answers, strict=True)
    ]
    return float(np.mean(right))


def figures_of(
    model: RewardModel, heldout: Sequence[Pair], manner: Manner, seed: int
) -> Iterator[Figure]:
    """Yields how good a model is on pairs that it has not seen."""
    answers = said(heldout, manner, seed)
    verdict = check(model, answers, gold=Sentiment())
    error, accuracy = verdict.calibration_error, verdict.accuracy
    ceiling = worth_chosen(heldout, answers)
    assert error is not None
    assert accuracy is not None
    below = 100 * (ceiling - accuracy.value)
    yield figure("accuracy below its ceiling", below, "points", at_most=2.0)
    yield figure("accuracy", accuracy.value, "of answers", note=_ends(accuracy))
    yield figure("ceiling", ceiling, "of answers", note=CEILING)
    yield figure("calibration error", error, "", at_most=0.05)
    for name, share in (("pairs in order", verdict.gold), ("best of 4", verdict.gold_best_of_4)):
        if share is not None:
            note = f"By the sentiment. {_ends(share.right)}"
            yield figure(name, share.right.value, f"of {share.n:,}", note=note)


CEILING = "How often the held-out answers agree with the sentiment; no model can do better."

COUNTED = "Logistic regression, with the penalty that is best on the held-out answers themselves."


def of_counted_words(train: Sequence[Preference], heldout: Sequence[Preference]) -> float:
    """Returns the accuracy of weights of words, fitted with the penalty that is best on `heldout`.

    The sentiment is nearly a sum over words, so that this has the right form and little to learn
    beside it: what it misses, so many answers do not tell.
    """
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    count = CountVectorizer(token_pattern=r"[\w']+|[^\w\s]", min_df=2)
    count.fit([text for pair in train for text in (pair.chosen, pair.rejected)])

    def gaps(pairs: Sequence[Preference]) -> Any:
        chosen, rejected = zip(*((pair.chosen, pair.rejected) for pair in pairs), strict=True)
        return count.transform(chosen) - count.transform(rejected)

    seen, unseen = gaps(train), gaps(heldout)
    texts, preferred = vstack([seen, -seen]), np.repeat([1, 0], len(train))
    found = []
    for penalty in PENALTIES:
        fit = LogisticRegression(C=1 / penalty, fit_intercept=False, max_iter=500)
        margins = unseen @ fit.fit(texts, preferred).coef_[0]
        found.append(float(((1 + np.sign(margins)) / 2).mean()))
    return max(found)


PENALTIES = (1.0, 3.0, 10.0, 30.0)


def _ends(interval: Any) -> str:
    return f"95 %: {interval.low:.3f} to {interval.high:.3f}."


def throughput(model: RewardModel, heldout: Sequence[Pair], repeats: int) -> Figure:
    """Returns texts scored per second over texts of a plain forward pass, in the same batches."""
    prompts = [pair.prompt for pair in heldout for _ in pair.replies][:BATCH]
    texts = [reply for pair in heldout for reply in pair.replies][:BATCH]
    batch, network = model.reader.read(prompts, texts), model.network
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask.long()}
    network.model.config.pad_token_id = model.reader.padding
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=network.autocast is not None)

    def forward() -> None:
        with torch.inference_mode(), autocast:
            network.model(**inputs)

    def per_second(work: Callable[[], Any]) -> Callable[[], float]:
        def measure() -> float:
            start = process_time()  # the machine may be busy with something else
            for _ in range(4):
                work()
            return 4 * len(texts) / (process_time() - start)

        return measure

    work = {"ours": lambda: model.score(prompts, texts), "plain": forward}
    samples = interleaved({name: per_second(one) for name, one in work.items()}, repeats)
    return figure(
        "texts scored / texts of a plain forward pass",
        ratios(samples, "ours", "plain"),
        at_least=0.9,
        note=f"Batches of {BATCH}; of ours, reading the texts is part; by processor time.",
    )


def simulated_people(sizes: Mapping[str, int], repeats: int, seed: int) -> Iterator[Figure]:
    """Yields what is learnt from people of a known reliability, and how fast it is put to use."""
    replies, n_unseen = (
        written(chitchat().train[: sizes["prompts"]], seed),
        sizes["heldout prompts"],
    )
    heldout = pairs_of(replies[:n_unseen], PER_PROMPT * (PER_PROMPT - 1) // 2, seed)
    train = pairs_of(replies[n_unseen:], PAIRS_OF_PROMPT, seed)[: sizes["pairs"]]
    manner, start = Manner(skill=skill_of(train)), process_time()
    answers = said(train, manner, seed)
    config = RewardModelConfig(**SETTINGS, seed=seed)
    model = train_reward_model(answers, config, options=OPTIONS)
    yield figure(f"training on {len(train):,} pairs", process_time() - start, "s of processor time")
    yield from figures_of(model, heldout, manner, seed + 1)
    counted = of_counted_words(answers, said(heldout, manner, seed + 1))
    yield figure("accuracy of counted words", counted, "of answers", note=COUNTED)
    yield throughput(model, heldout, repeats)


def main() -> None:
    """Has a crowd judge, learns from it, tries out what was learnt, and writes the figures."""
    options = command_line.parse(command_line.parser(__doc__, repeats=9, quick_repeats=3))
    sizes = {name: both[options.quick] for name, both in SIZES.items()}
    found = list(simulated_people(sizes, options.repeats, options.seed))
    settings = {**sizes, "training": SETTINGS}
    write_result("reward_model", found, seed=options.seed, settings=settings, folder=options.output)


if __name__ == "__main__":
    main()
