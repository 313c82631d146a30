"""Sentence chrF as a reward, and whether one system is nearer to references than another."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import sacrebleu
from hypothesis import example, given
from hypothesis import strategies as st
from sacrebleu.significance import PairedTest

from text_gym.episode import Episode
from text_gym.metrics import bleu, chrf, paired_bootstrap
from text_gym.metrics.paired_bootstrap import CorpusMetric
from text_gym.rewards import ChrF

texts = st.text(alphabet="ab ,ñ\n", max_size=12)


@given(texts, texts)
@example("", "")
@example("", "a")
@example("abcdefg", "abcdefg")
def test_the_reward_is_sacrebleus_sentence_chrf_to_the_last_digit(
    completion: str, reference: str
) -> None:
    reward = ChrF()([Episode.from_text("?", completion, reference=reference)])
    theirs = sacrebleu.sentence_chrf(completion, [reference]).score
    # They add by `sum`, which from Python 3.12 on rounds once and before that at every term.
    assert 100 * reward[0] == pytest.approx(theirs, rel=1e-14)


def test_order_and_weight_of_recall_are_those_asked_for() -> None:
    episode = Episode.from_text("?", "abc", reference="abcab")
    # Bigrams: ab, bc of ab, bc, ca, ab. Precision (1 + 1)/2, recall (3/5 + 2/4)/2.
    assert ChrF(order=2, beta=1)([episode]) == pytest.approx(2 * 0.55 / 1.55)


def test_a_prompt_without_reference_and_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reference must be given .* for the prompt 'hola'"):
        ChrF()([Episode.from_text("hola", "hello")])
    with pytest.raises(ValueError, match="order must be at least 1, got 0"):
        ChrF(order=0)
    with pytest.raises(ValueError, match="beta must be positive, got 0"):
        ChrF(beta=0)


def sentences(n: int, errors: float, seed: int) -> list[str]:
    """Sentences of which some words are wrong."""
    drawn = np.random.default_rng(seed).random((n, 8)) < errors
    return [
        " ".join(f"x{at}" if wrong else f"word{row}{at}" for at, wrong in enumerate(line))
        for row, line in enumerate(drawn)
    ]


@pytest.mark.parametrize("metric", get_args(CorpusMetric))
def test_figures_and_significance_are_those_of_sacrebleu(metric: CorpusMetric) -> None:
    references = sentences(60, 0.0, 0)
    ours, theirs = sentences(60, 0.3, 1), sentences(60, 0.5, 2)
    found = paired_bootstrap(metric, ours, theirs, references, np.random.default_rng(0))
    whole = bleu if metric == "bleu" else chrf
    assert found.ours == pytest.approx(whole(ours, references))
    assert found.theirs == pytest.approx(whole(theirs, references))
    scorer = sacrebleu.BLEU(references=[references])
    if metric == "chrf":
        scorer = sacrebleu.CHRF(references=[references])
    _, scores = PairedTest(
        [("theirs", theirs), ("ours", ours)], {"m": scorer}, None, "bs", 1000, n_jobs=1
    )()
    assert list(scores.values())[1][1].p_value < 0.01
    assert 0 < found.low < found.ours - found.theirs < found.high


def test_equal_systems_differ_by_nothing() -> None:
    ours = sentences(10, 0.3, 1)
    found = paired_bootstrap("chrf", ours, ours, sentences(10, 0.0, 0), np.random.default_rng(0))
    assert (found.low, found.high) == (0, 0)


def test_texts_that_are_no_pairs_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="equally many and at least one, got 1, 1 and 2"):
        paired_bootstrap("chrf", ["a"], ["b"], ["a", "b"], rng)
    with pytest.raises(ValueError, match="resamples must be at least 1, got 0"):
        paired_bootstrap("chrf", ["a"], ["b"], ["a"], rng, resamples=0)
