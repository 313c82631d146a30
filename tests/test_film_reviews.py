"""Film reviews: halves that share nothing, openings as prompts, a classifier that pays praise."""

from __future__ import annotations

import copy
import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from agents.applications.film_reviews import classifier as review_classifier
from agents.applications.film_reviews.ngram_classifier import NgramClassifier, fit, ngrams
from agents.applications.film_reviews.reviews import (
    Review,
    half_of,
    openings,
    read_reviews,
    reviews_of,
    tidy,
)
from agents.applications.film_reviews.reward import PositiveReview
from agents.applications.registry import PRESETS
from agents.fetching.film_reviews import REVIEWS_FILE
from agents.fetching.items import FILM_REVIEWS, SMOLLM2
from agents.runs import models, prompts
from text_gym import Prompt
from text_gym.checks import check_reward
from text_gym.episode import Episode
from text_gym.rewards import score

GOOD = ("a fine film", "so good", "the best film", "good fun", "a fine cast")
BAD = ("a poor film", "so bad", "the worst film", "not good", "a poor cast")
TEXTS = [
    f"{text}, I thought and thought and thought, number {n}"
    for n in range(8)
    for text in GOOD + BAD
]
LABELS = [text.startswith(GOOD) for text in TEXTS]


def rows() -> list[tuple[str, str, str]]:
    """Reviews of thirty openings, some shared, with the file's line breaks and a duplicate."""
    imdb = [
        (f"Film {n % 30} is one that I saw<br /><br />in {n}: {text}", str(int(label)), "imdb")
        for n, (text, label) in enumerate(zip(TEXTS, LABELS, strict=True))
    ]
    tomatoes = [
        (text, str(int(label)), "rotten_tomatoes")
        for text, label in zip(TEXTS, LABELS, strict=True)
    ]
    return [*imdb, *tomatoes, imdb[0], ("Too short.", "0", "imdb")]


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with a small file of reviews in it."""
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path))
    FILM_REVIEWS.folder.mkdir()
    path = FILM_REVIEWS.folder / REVIEWS_FILE
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label", "source"), *rows()])
    return path


# Reading and dividing


def test_reviews_are_read_once_each_and_tidied(fetched: Path) -> None:
    reviews = read_reviews(fetched)
    assert len(reviews) == len({review.text for review in reviews}) == len(rows()) - 1
    assert reviews[0] == Review(f"Film 0 is one that I saw in 0: {TEXTS[0]}", True, "imdb")
    assert {review.source for review in reviews} == {"imdb", "rotten_tomatoes"}


@given(st.text())
def test_tidying_twice_changes_nothing_more(text: str) -> None:
    assert tidy(tidy(text)) == tidy(text)


def test_halves_are_disjoint_and_together_everything(fetched: Path) -> None:
    reviews = read_reviews(fetched)
    train, heldout = reviews_of(reviews, "train"), reviews_of(reviews, "heldout")
    assert {review.text for review in train}.isdisjoint(review.text for review in heldout)
    assert sorted([*train, *heldout]) == sorted(reviews)
    assert 0.3 < len(train) / len(reviews) < 0.7


def test_a_review_stays_in_its_half_whatever_else_is_there(fetched: Path) -> None:
    reviews = read_reviews(fetched)
    assert reviews_of(reviews[::-1], "train") == reviews_of(reviews, "train")[::-1]
    assert half_of("A fine film.") == "heldout"
    assert half_of("A poor film.") == "train"


# Prompts


def test_openings_are_the_first_eight_words_of_imdb_reviews(fetched: Path) -> None:
    reviews = read_reviews(fetched)
    found = openings(reviews, "train") + openings(reviews, "heldout")
    assert sorted(found) == sorted(f"Film {n} is one that I saw in" for n in range(30))


def test_heldout_openings_are_unseen_in_training() -> None:
    texts = [f"The film of the year, I must say {n}" for n in range(20)]
    texts += [f"{n} days after the end of the war, alone" for n in range(20)]
    reviews = [Review(text, True, "imdb") for text in texts]
    train, heldout = openings(reviews, "train"), openings(reviews, "heldout")
    assert {half_of(text) for text in texts[:20]} == {"train", "heldout"}
    assert train.count("The film of the year, I must say") == 1
    assert set(train).isdisjoint(heldout)
    assert heldout


def test_openings_of_one_endless_word_are_left_out() -> None:
    text = "*" * 60 + " a film in which nothing happens at all"
    assert openings([Review(text, True, "imdb")], half_of(text)) == []


def test_a_run_learns_on_one_half_and_is_evaluated_on_the_other(fetched: Path) -> None:
    split = prompts.load_prompts("film-reviews", Console())
    reviews = read_reviews(fetched)
    assert split.train == [Prompt(text) for text in openings(reviews, "train")]
    assert split.heldout == [Prompt(text) for text in openings(reviews, "heldout")]
    assert split.train


def test_what_was_not_fetched_is_not_replaced_but_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"python -m agents.fetch film-reviews"):
        prompts.load_prompts("film-reviews", Console())
    with pytest.raises(FileNotFoundError, match=r"python -m agents.fetch smollm2"):
        models.load_policy(PRESETS["reviews"][1])
    with pytest.raises(FileNotFoundError, match=r"python -m agents.fetch film-reviews"):
        review_classifier.film_review_classifier()


# The classifier


@pytest.fixture(scope="module")
def classifier() -> NgramClassifier:
    pytest.importorskip("sklearn")
    return fit(TEXTS, LABELS, smallest_count=2, inverse_penalty=10.0)


def test_log_odds_are_scikit_learns(classifier: NgramClassifier) -> None:
    text_module = pytest.importorskip("sklearn.feature_extraction.text")
    linear = pytest.importorskip("sklearn.linear_model")
    vectorizer = text_module.TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    regression = linear.LogisticRegression(C=10.0, max_iter=1000)
    regression.fit(vectorizer.fit_transform(TEXTS), LABELS)
    texts = [*TEXTS, "", "Good good GOOD fun! Or not good?", "a b c", "naïve, so bad — it's good"]
    expected = regression.decision_function(vectorizer.transform(texts))
    np.testing.assert_allclose(classifier.log_odds(texts).total, expected, atol=1e-9)
    assert np.ptp(expected) > 2


def test_ngrams_are_scikit_learns() -> None:
    text_module = pytest.importorskip("sklearn.feature_extraction.text")
    analyse = text_module.TfidfVectorizer(ngram_range=(1, 2)).build_analyzer()
    for text in ("It's a so-so FILM; 2 stars", "Ünïcode_too 10/10", "", "one"):
        assert ngrams(text) == analyse(text)


def test_log_odds_by_hand() -> None:
    grams = {"good": 0, "not": 1, "not good": 2}
    one = NgramClassifier(grams, np.array([1.0, 2.0, 3.0]), np.array([2.0, -1.0, -2.0]), 0.25)
    # good twice, not, not good once: x = (1 + ln 2, 2, 3).
    x = np.array([1 + np.log(2), 2.0, 3.0])
    parts = one.log_odds(["Not good; good!"])
    length = np.sqrt(x @ x)
    assert parts.favour[0] == pytest.approx(2 * x[0] / length)
    assert parts.against[0] == pytest.approx((-2 - 6) / length)
    assert parts.total[0] == pytest.approx((2 * x[0] - 8) / length + 0.25)


def test_a_saved_classifier_gives_the_same_log_odds_and_holds_no_code(
    classifier: NgramClassifier, tmp_path: Path
) -> None:
    classifier.save(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".safetensors", ".json"}
    again = NgramClassifier.load(tmp_path)
    assert np.array_equal(again.log_odds(TEXTS).total, classifier.log_odds(TEXTS).total)
    assert again.grams == classifier.grams


def test_files_that_do_not_belong_together_are_refused(
    classifier: NgramClassifier, tmp_path: Path
) -> None:
    classifier.save(tmp_path)
    (tmp_path / "grams.json").write_text('["good"]')
    with pytest.raises(ValueError, match="must hold as many words as weights, got 1, "):
        NgramClassifier.load(tmp_path)


def test_the_classifier_is_fitted_once_and_then_needs_no_scikit_learn(
    fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    first = review_classifier.film_review_classifier()
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    review_classifier.load.cache_clear()
    second = review_classifier.film_review_classifier()
    assert second is not first
    assert np.array_equal(second.log_odds(TEXTS).total, first.log_odds(TEXTS).total)
    figures = json.loads((review_classifier.classifier_folder() / "heldout.json").read_text())
    assert figures["imdb"]["accuracy"] > 0.9
    assert {path.name for path in fetched.parents[1].iterdir()} == {
        FILM_REVIEWS.folder.name,
        f"{FILM_REVIEWS.folder.name}-classifier-1",
        f".{FILM_REVIEWS.folder.name}-classifier-1.lock",
    }


def test_the_classifier_never_reads_the_heldout_half(fetched: Path) -> None:
    pytest.importorskip("sklearn")
    before = review_classifier.film_review_classifier().log_odds(TEXTS).total
    flipped = [
        (text, label if half_of(tidy(text)) == "train" else str(1 - int(label)), source)
        for text, label, source in rows()
    ]
    with fetched.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label", "source"), *flipped])
    read_reviews.cache_clear()
    for path in review_classifier.classifier_folder().iterdir():
        path.unlink()
    review_classifier.classifier_folder().rmdir()
    review_classifier.load.cache_clear()
    after = review_classifier.film_review_classifier()
    assert np.array_equal(after.log_odds(TEXTS).total, before)
    figures = json.loads((review_classifier.classifier_folder() / "heldout.json").read_text())
    assert figures["imdb"]["accuracy"] < 0.1


def test_a_missing_scikit_learn_names_the_extra(
    fetched: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'text-gym\[reviews\]'"):
        review_classifier.film_review_classifier()


def test_heldout_figures_are_those_of_their_definitions() -> None:
    one = NgramClassifier({"good": 0, "bad": 1}, np.ones(2), np.array([2.0, -1.0]), 0.0)
    labels = {"so good": True, "so bad": False, "not bad": True, "a chair": False}
    reviews = [Review(text, label, "imdb") for text, label in labels.items()]
    figures = review_classifier.heldout_figures(one, reviews)["imdb"]
    assert figures["texts"] == 4
    assert figures["accuracy"] == 0.75  # "a chair", at 0, counts as negative; "not bad" is missed
    assert figures["auc"] == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    losses = [np.log1p(np.exp(-2)), np.log1p(np.exp(-1)), np.log1p(np.exp(1)), np.log(2)]
    assert figures["log_loss"] == pytest.approx(np.mean(losses))


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=9),
    st.lists(st.integers(0, 4), min_size=1, max_size=9),
)
def test_area_under_curve_counts_pairs(positive: list[int], negative: list[int]) -> None:
    pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]
    area = review_classifier.area_under_curve(np.array(positive, float), np.array(negative, float))
    assert area == pytest.approx(np.mean(pairs))


# The reward


def test_reward_passes_the_conformance_check(classifier: NgramClassifier) -> None:
    check_reward(PositiveReview(classifier))


def test_only_the_completion_is_paid_for(classifier: NgramClassifier) -> None:
    reward = PositiveReview(classifier)
    episodes = [
        Episode.from_text(prompt, completion)
        for prompt in ("The worst film,", "So good:")
        for completion in (" a fine cast", " a poor cast", "")
    ]
    scores = score(reward, episodes)
    assert np.array_equal(reward(episodes), scores.total)
    assert np.array_equal(scores.total[:3], scores.total[3:])
    assert scores.total[0] > 0 > scores.total[1]
    assert scores.total[2] == classifier.bias
    assert set(scores.components) == {"praise", "blame", "prior"}


def test_copying_an_environment_does_not_copy_the_classifier(classifier: NgramClassifier) -> None:
    assert copy.deepcopy(PositiveReview(classifier)).classifier is classifier


@pytest.mark.slow
@pytest.mark.skipif(not FILM_REVIEWS.folder.is_dir(), reason="film reviews were not fetched")
def test_the_real_classifier_is_as_good_as_documented() -> None:
    figures = json.loads((review_classifier.classifier_folder() / "heldout.json").read_text())
    assert figures["imdb"]["accuracy"] > 0.90
    assert figures["imdb"]["auc"] > 0.96
    assert figures["rotten_tomatoes"]["accuracy"] > 0.77
    split = prompts.load_prompts("film-reviews", Console())
    assert min(len(split.train), len(split.heldout)) > 12_000


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2.folder.is_dir(), reason="SmolLM2 was not fetched")
def test_the_real_model_loads_as_a_policy() -> None:
    policy, tokenizer = models.load_policy(PRESETS["reviews"][1])
    assert policy.vocab_size == tokenizer.vocab_size == 49_152
    assert tokenizer.eos_token_id == 2
    assert len(tokenizer.excluded_token_ids) == 16
