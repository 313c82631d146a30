"""How much texts have in common with references, and with each other: BLEU, chrF, ROUGE.

The numbers are those of `sacrebleu` and `rouge-score`, with the settings that their command lines
have by default. Who wrote the texts, and to what, is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

Rouge = Literal["rouge1", "rouge2", "rougeL"]


def bleu(completions: Sequence[str], references: Sequence[str]) -> float:
    """Returns the BLEU of all completions together, from 0 to 100, as `sacrebleu` prints it.

    Source: Papineni et al. 2002, https://aclanthology.org/P02-1040; the settings, Post 2018,
    arXiv:1804.08771: 4-grams of words as the tokenizer 13a has them, exponential smoothing.

    Args:
        completions: At least one.
        references: One for each.

    Raises:
        ModuleNotFoundError: If the package `sacrebleu` is not installed.
        ValueError: If there are not as many references as completions, or none.

    Example:
        >>> round(bleu(["the cat sat on a mat"], ["the cat sat on the mat"]), 2)
        53.73
    """
    _require_pairs(completions, references)
    return float(sacrebleu_package().corpus_bleu(completions, [references]).score)


def chrf(completions: Sequence[str], references: Sequence[str]) -> float:
    """Returns the chrF2 of all completions together, from 0 to 100, as `sacrebleu` prints it.

    Source: Popović 2015, https://aclanthology.org/W15-3049: F of character 6-grams, in which recall
    counts twice as much.

    Args:
        completions: At least one.
        references: One for each.

    Raises:
        ModuleNotFoundError: If the package `sacrebleu` is not installed.
        ValueError: If there are not as many references as completions, or none.

    Example:
        >>> chrf(["good"], ["good"])
        100.0
    """
    _require_pairs(completions, references)
    return float(sacrebleu_package().corpus_chrf(completions, [references]).score)


def self_bleu(texts: Sequence[str]) -> float:
    """Returns the BLEU of each text against all others, of all texts together, from 0 to 100.

    High where texts repeat each other. It grows with the number of texts, so that only sets of
    equally many compare; and its time with the square of it.

    Source: Zhu et al. 2018, "Texygen", arXiv:1802.01886, who average over texts.

    Args:
        texts: At least two.

    Raises:
        ModuleNotFoundError: If the package `sacrebleu` is not installed.
        ValueError: If there are fewer than two texts.

    Example:
        >>> round(self_bleu(["a b c d e"] * 3)), round(self_bleu(["a b c d e", "v w x y z"]))
        (100, 0)
    """
    if len(texts) < 2:
        raise ValueError(f"texts must be at least two, got {len(texts)}")
    others = [[*texts[shift:], *texts[:shift]] for shift in range(1, len(texts))]
    return float(sacrebleu_package().corpus_bleu(texts, others).score)


def rouge(
    completions: Sequence[str], references: Sequence[str], kind: Rouge = "rougeL"
) -> list[float]:
    """Returns the F-measure of each completion, from 0 to 1, as `rouge-score` writes it.

    Words are not stemmed.

    Source: Lin 2004, https://aclanthology.org/W04-1013.

    Args:
        completions: Any number.
        references: One for each.
        kind: Common words, pairs of words, or the longest common subsequence.

    Raises:
        ModuleNotFoundError: If the package `rouge-score` is not installed.
        ValueError: If there are not as many references as completions.

    Example:
        >>> rouge(["the cat sat"], ["the cat slept"], "rouge1")  # two of three words
        [0.6666666666666666]
    """
    if len(completions) != len(references):
        raise ValueError(_unpaired(completions, references))
    score = _rouge_scorer().RougeScorer([kind]).score
    pairs = zip(references, completions, strict=True)
    return [float(score(*pair)[kind].fmeasure) for pair in pairs]


def _require_pairs(completions: Sequence[str], references: Sequence[str]) -> None:
    if not completions or len(completions) != len(references):
        raise ValueError(_unpaired(completions, references))


def _unpaired(completions: Sequence[str], references: Sequence[str]) -> str:
    return (
        "references must be one for each completion, got "
        f"{len(references)} for {len(completions)} completions"
    )


def sacrebleu_package() -> Any:
    """Returns the module `sacrebleu`.

    Raises:
        ModuleNotFoundError: If it is not installed; names the extra.
    """
    try:
        import sacrebleu
    except ModuleNotFoundError as error:
        raise _missing("sacrebleu") from error
    return sacrebleu


def _rouge_scorer() -> Any:
    try:
        from rouge_score import rouge_scorer
    except ModuleNotFoundError as error:
        raise _missing("rouge-score") from error
    return rouge_scorer


def _missing(package: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"overlap of texts needs {package}: pip install 'text-gym[evaluation]'", name=package
    )
