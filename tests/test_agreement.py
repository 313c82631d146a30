"""Agreement between people, and the rules that stop somebody: published numbers, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from text_gym.feedback.agreement.krippendorff import krippendorff_alpha, krippendorff_interval
from text_gym.feedback.agreement.pairwise import pair_counts
from text_gym.feedback.answers import Answer, Places, Preferred, Ratings
from text_gym.feedback.collected import Collected
from text_gym.feedback.items import Completion, Item
from text_gym.feedback.judgements import Judgement
from text_gym.feedback.opinions import opinions
from text_gym.feedback.proportion import wilson
from text_gym.feedback.quality_rules import known_answers, one_side, repeats, too_fast

# The four observers and twelve units of Krippendorff's paper of 2011; 0: not judged.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)
WHO, UNIT = np.nonzero(OBSERVERS)
SAID = OBSERVERS[WHO, UNIT]


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_is_the_published_one(level: str, published: float) -> None:
    assert krippendorff_alpha(UNIT, SAID, level) == pytest.approx(published, abs=5e-4)  # type: ignore[arg-type]


def test_alpha_of_chance_is_near_0_and_its_interval_covers_it() -> None:
    np_random = np.random.default_rng(1)
    units, values = np.repeat(np.arange(400), 3), np_random.integers(0, 2, 1200)
    found = krippendorff_interval(units, values, np_random=np_random)
    assert found.low < 0 < found.high
    assert found.high - found.low < 0.2


def test_the_interval_covers_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(100):
        np_random = np.random.default_rng(seed)
        truth = np.repeat(np_random.integers(0, 2, 200), 2)
        right = np_random.random(400) < 0.8
        # Two people agree with probability .68, by chance .5: alpha is .36.
        found = krippendorff_interval(
            np.repeat(np.arange(200), 2),
            np.where(right, truth, 1 - truth),
            np_random=np_random,
            resamples=200,
        )
        covered += found.low <= 0.36 <= found.high
    assert 88 <= covered <= 100


def test_where_nobody_met_there_is_no_alpha() -> None:
    found = krippendorff_interval([0, 1], [1, 2], np_random=np.random.default_rng(0))
    assert np.isnan(found).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 0], [1], "nominal"), "units and values must have one shape"),
        (([0, 0], [1, 2], "ratio"), "level must be nominal, ordinal or interval, got 'ratio'"),
    ],
)
def test_what_is_no_agreement_is_refused(arguments: tuple[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        krippendorff_alpha(*arguments)  # type: ignore[arg-type]


def test_raw_agreement_counts_pairs() -> None:
    counts = pair_counts(UNIT, SAID, WHO)
    # By unit 3, 3, 6, 6, 6, 0, 6, 3, 6, 3, 1 of 3, 6, 6, 6, 6, 6, 6, 6, 6, 3, 1 pairs.
    assert counts.overall == pytest.approx(43 / 55)
    assert counts.pairs.sum() == 2 * 55


# Wilson's interval


def test_the_interval_of_a_share_is_the_worked_one() -> None:
    # z = 1.96: (0.2 + 3.8416/20 ± 1.96·√(0.16/10 + 3.8416/400)) / (1 + 3.8416/10).
    found = wilson(2, 10)
    assert (found.value, *np.round(found[1:], 4)) == (0.2, 0.0567, 0.5098)


def test_an_interval_stays_within_0_and_1() -> None:
    assert 0 <= wilson(0, 5).low < 1e-12
    assert 1 - 1e-12 < wilson(5, 5).high <= 1
    assert wilson(0, 0)[1:] == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3)])
def test_more_successes_than_trials_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="successes must be from 0 to trials"):
        wilson(successes, trials)


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_certainty_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence must lie in"):
        wilson(1, 2, confidence)


# Rules


def test_answers_faster_than_reading_stop() -> None:
    limits = {"least_seconds": 0.5, "seconds_per_word": 0.03, "count": 3, "window": 10}
    # 0.5 s + 100 words × 0.03 s = 3.5 s.
    assert too_fast([3.4] * 3, [100] * 3, **limits) == ("too fast", 3, 3)  # type: ignore[arg-type]
    assert too_fast([3.6] * 9, [100] * 9, **limits) is None  # type: ignore[arg-type]
    assert too_fast([0.1] * 2 + [9.0] * 10 + [0.1], [5] * 13, **limits) is None  # type: ignore[arg-type]


def test_one_side_again_and_again_stops() -> None:
    assert one_side([1, -1, -1, 0, -1, -1], run=4) == ("one side", 4, 4)
    assert one_side([1, -1] * 20, run=2) is None
    assert one_side([0] * 20, run=2) is None


def test_wrong_known_answers_stop_only_beyond_doubt() -> None:
    # 1 of 5 right: Wilson's interval ends at 0.62.
    mostly_wrong = [True, False, False, False, False]
    assert known_answers(mostly_wrong, least=0.65, confidence=0.95) == ("known answers", 0.2, 0.65)
    assert known_answers(mostly_wrong, least=0.6, confidence=0.95) is None
    assert known_answers([], least=0.6, confidence=0.95) is None


def test_answers_that_change_when_sides_do_stop() -> None:
    assert repeats([False] * 8, least=0.5, confidence=0.95) == ("repeats", 0.0, 0.5)
    assert repeats([True, False] * 8, least=0.5, confidence=0.95) is None


# From judgements to numbers


def compared(name: str, items: str, who: str, answer: Answer, order: tuple[int, ...]) -> Judgement:
    return Judgement(name, who, items, order, answer, 0.0, 1.0, 1)


def test_opinions_do_not_depend_on_sides() -> None:
    items = [Item("1", "?", (Completion("a"), Completion("b")))]
    said = [
        compared("j1", "1", "ann", Preferred(0), (0, 1)),
        compared("j2", "1", "bob", Preferred(0), (1, 0)),
        compared("j3", "1", "cid", Preferred(1), (0, 1)),
    ]
    found = opinions(Collected(items, said))["comparisons"]
    assert (found.values[0], found.values[1], found.values[2]) == (1, 1, -1)
    assert found.annotators.tolist() == [0, 1, 2]
    assert pair_counts(found.units, found.values, found.annotators).overall == pytest.approx(1 / 3)


def test_opinions_of_rankings_are_of_pairs_and_those_of_ratings_of_scales() -> None:
    items = [
        Item("1", "?", (Completion("a"), Completion("b"), Completion("c"))),
        Item("2", "?", (Completion("a"),)),
    ]
    said = [
        compared("j1", "1", "ann", Places((1, 2, 3)), (0, 1, 2)),
        compared("j2", "1", "bob", Places((1, 3, 2)), (2, 1, 0)),
        compared("j3", "2", "ann", Ratings({"help": 4}), (0,)),
    ]
    found = opinions(Collected(items, said))
    ranked, rated = found["comparisons"], found["help"]
    assert pair_counts(ranked.units, ranked.values, ranked.annotators).overall == pytest.approx(
        2 / 3
    )
    assert (rated.level, rated.values.tolist()) == ("interval", [4.0])
    assert opinions(Collected([], [])) == {}
