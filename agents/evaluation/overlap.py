"""Figures of what texts have in common: with the expected answers, and with each other.

They need the extra `evaluation`, so that comparisons have them and training runs do not. Overlap
with expected answers is of the prompts that come with one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from agents.evaluation.metrics import Evaluation, Metric
from text_gym.metrics import bleu, chrf, distinct_n, rouge, self_bleu

SELF_BLEU_TEXTS = 100
"""The first so many texts are compared with each other; of fewer there is no self-BLEU."""

Overlap = Callable[[Sequence[str], Sequence[str]], Sequence[float] | float]


def _with_answers(overlap: Overlap) -> Callable[[Evaluation], Sequence[float] | float | None]:
    """Returns a metric of the texts whose prompts came with an answer; None if none did."""

    def of(evaluation: Evaluation) -> Sequence[float] | float | None:
        pairs = [
            (text, answer)
            for text, answer in zip(evaluation.completions, evaluation.references, strict=True)
            if answer is not None
        ]
        return overlap(*map(list, zip(*pairs, strict=True))) if pairs else None

    return of


def _self_bleu(evaluation: Evaluation) -> float | None:
    texts = evaluation.completions[:SELF_BLEU_TEXTS]
    return self_bleu(texts) if len(texts) == SELF_BLEU_TEXTS else None


OVERLAP: Mapping[str, Metric] = {
    "distinct_1": Metric("distinct-1", 3, lambda one: distinct_n(one.completions, 1)),
    "distinct_3": Metric("distinct-3", 3, lambda one: distinct_n(one.completions, 3)),
    "self_bleu": Metric("self-BLEU", 1, _self_bleu),
    "bleu": Metric("BLEU", 1, _with_answers(bleu)),
    "chrf": Metric("chrF2", 1, _with_answers(chrf)),
    "rouge_1": Metric("ROUGE-1", 3, _with_answers(partial(rouge, kind="rouge1"))),
    "rouge_2": Metric("ROUGE-2", 3, _with_answers(partial(rouge, kind="rouge2"))),
    "rouge_l": Metric("ROUGE-L", 3, _with_answers(partial(rouge, kind="rougeL"))),
}
"""What comparisons report beside `METRICS`, in this order."""
