"""Benchmarks of learnt rewards: what is chosen by a proxy, when to stop, how many judgements."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import asking, over_optimisation, proxies
from benchmarks.over_optimisation import Case, best_of_n, figures_of, stopped_at
from benchmarks.over_optimisation_picture import draw, median_curve
from text_gym.feedback import Completion, Item


def test_the_best_by_a_proxy_is_worth_what_every_draw_of_n_is_worth_on_average() -> None:
    chance = np.random.default_rng(0)
    scores, worth = chance.normal(size=(2, 3, 6))
    found = [
        worth[row, max(drawn, key=lambda at: scores[row, at])]
        for row in range(3)
        for drawn in itertools.combinations(range(6), 3)
    ]
    assert proxies.chosen_by(scores, worth, 3) == pytest.approx(np.mean(found))


def test_one_text_at_random_wins_half_of_the_time_whatever_the_proxy() -> None:
    scores, gold = np.random.default_rng(0).normal(size=(2, 3, 6))
    assert proxies.wins_of_best(scores, gold, 1) == pytest.approx(0.5)
    gold[:] = 1.0
    assert proxies.wins_of_best(scores, gold, 6) == pytest.approx(0.5)


def test_what_people_say_of_pairs_is_what_a_proxy_learns_from() -> None:
    texts = Completion("I hate it. Terrible!"), Completion("I love it. Wonderful!")
    said = proxies.judged([Item("a", "Hi", texts)], 1 - 1e-9, seed=0)
    assert (said[0].prompt, said[0].chosen) == ("Hi", "I love it. Wonderful!")


def test_gains_are_in_standard_deviations_of_the_untouched_model() -> None:
    gold = np.array([[0.0, 1.0], [2.0, 3.0]])
    size = over_optimisation.QUICK._replace(best_of=(1, 2))
    curves = best_of_n(gold, gold, size)
    # The best of each prompt are worth 1 and 3: half above the mean of all, 1.5.
    assert curves["gold"] == pytest.approx([0.0, 0.5 / gold.std()])
    assert curves["proxy"] == pytest.approx(curves["gold"])
    assert curves["kl"] == pytest.approx([0.0, np.log(2) - 0.5])


def test_one_update_is_stopped_after() -> None:
    assert stopped_at([0.5]) == 0


def test_seeds_are_put_together_as_far_as_each_of_them_goes() -> None:
    curves = [
        {"kl": [0.0, 1.0, 0.5, 4.0], "gold": [0.0, 1.0, 1.0, 2.0]},
        {"kl": [0.0, 1.0], "gold": [0.0, 3.0]},
    ]
    at, middle = median_curve(curves, "gold")
    assert at[-1] == pytest.approx(1.0)
    assert middle[-1] == pytest.approx(2.0)


def test_figures_and_picture_of_every_kind_of_proxy(tmp_path: Path) -> None:
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for variant in over_optimisation.VARIANTS:
        case = Case(100, 0.25, 0)
        found[case, variant, "best of n"] = {"kl": [0, 1], "gold": [0, 0.5], "proxy": [0, 1]}
        found[case, variant, "PPO"] = {
            "kl": [0.0, 1.0, 4.0], "gold": [0.0, 1.0, 0.2], "proxy": [0.0, 1.0, 2.0],
            "heldout": [0.0, 2.0, 1.0],
        }  # fmt: skip
    figures = {one.name: one.value for one in figures_of(found, [0])}
    name = "100 judgements, 25% flipped, single: PPO"
    assert figures[f"{name}, √KL where gold is highest"] == 1.0
    assert figures[f"{name}, gold that held-out judgements save"] == pytest.approx(0.8)
    draw(found, tmp_path / "picture.png")
    assert {one.name for one in tmp_path.iterdir()} == {"picture.png", "picture-dark.png"}


def test_ways_of_asking_are_compared_seed_by_seed() -> None:
    curves = {
        ("random", 0): {"judgements": [100, 200], "win_rates": [0.6, 0.7]},
        ("random", 1): {"judgements": [100, 200], "win_rates": [0.5, 0.8]},
        ("disagreement", 0): {"judgements": [100, 200], "win_rates": [0.65, 0.7]},
        ("disagreement", 1): {"judgements": [100, 200], "win_rates": [0.575, 0.65]},
    }
    figures = {one.name: one for one in asking.figures_of(curves, [0, 1])}
    ratio = figures["disagreement / random: judgements"]
    assert (ratio.lowest, ratio.highest) == pytest.approx((100 / 150, 200 / 150))
    assert ratio.holds is False
    assert "2 seeds" in ratio.note
    last = figures["disagreement - random: win rate after the last batch"]
    assert last.value == pytest.approx(-0.075)
    assert last.note.endswith("2 seeds")


def test_a_win_rate_that_is_never_reached_takes_infinitely_many_judgements() -> None:
    assert asking.judgements_to(0.65, [100], [0.6]) == float("inf")


def test_before_anything_is_judged_half_of_the_texts_win() -> None:
    assert asking.judgements_to(0.65, [100], [0.8]) == pytest.approx(50.0)
