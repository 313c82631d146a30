from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.sb3_baseline import LEARNERS, TOYS, Point, band, draw, when_reached, write_points


def curve(*steps: tuple[int, float], seed: int = 0) -> list[Point]:
    """A run that takes a second for every ten episodes, by episodes and score."""
    return [Point("TextGen-v0", LEARNERS[0], seed, n, n / 10, score) for n, score in steps]


def test_mean_and_interval_stand_where_all_runs_are() -> None:
    first, second, third = (
        curve((10, score), (20, score), (last, score), seed=seed)
        for seed, (score, last) in enumerate([(1.0, 30), (2.0, 40), (3.0, 50)])
    )
    places, mean, half = band([first, second, third], "episodes", logarithmic=False)
    assert (places[0], places[-1]) == (10, 30)
    assert mean == pytest.approx(2.0)
    assert half == pytest.approx(4.303 / 3**0.5)  # standard deviation 1, two degrees of freedom
    seconds, *_ = band([first, second], "seconds", logarithmic=True)
    assert (seconds[0], seconds[-1]) == pytest.approx((1.0, 3.0))
    assert np.diff(np.log(seconds)) == pytest.approx(np.log(3) / 199)


def test_scores_between_updates_are_interpolated() -> None:
    places, mean, half = band([curve((10, 0.0), (20, 1.0))], "episodes", logarithmic=False)
    assert mean == pytest.approx((places - 10) / 10)
    assert not half.any()


def test_a_score_is_reached_when_three_updates_in_a_row_average_it() -> None:
    run = curve((10, 0.0), (20, 1.0), (30, 0.2), (40, 0.9), (50, 1.0), (60, 0.9))
    assert when_reached(run, 0.9) == run[5]
    assert when_reached(run, 0.7) == run[3]
    assert when_reached(run, 0.95) is None


def test_every_update_is_written_and_drawn(tmp_path: Path) -> None:
    points = [
        Point(toy, learner, seed, n, n / 10, score)
        for toy in TOYS
        for learner in LEARNERS
        for seed in range(3)
        for n, score in ((64, 0.1), (128, 0.5 + 0.1 * seed))
    ]
    write_points(points, tmp_path / "new" / "curves.csv")
    lines = (tmp_path / "new" / "curves.csv").read_text().splitlines()
    assert lines[0] == "toy,learner,seed,episodes,seconds,score"
    assert lines[1] == "TextGen-v0,our PPO,0,64,6.400,0.1000"
    assert len(lines) == 1 + len(points)
    draw(points, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 10_000
