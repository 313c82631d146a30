"""The parts of the loop: whom to ask, what is asked, and what a stage is made of."""

from __future__ import annotations

import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from agents.algorithms.configs.ppo import PPOConfig
from agents.loop import collecting
from agents.loop.collecting import COMPARISONS, JUDGEMENTS, STUDY, collect_judgements
from agents.loop.manifest import digest_of, read_manifest
from agents.loop.options import Loop
from agents.loop.pair_selection import at_random, disagreement, most_disagreed
from agents.loop.stage import Stage
from text_gym.feedback import Item, Judgement, Preferred, Study, open_study
from text_gym.feedback.answers import Tie
from text_gym.feedback.collected import Collected
from text_gym.feedback.collecting import enter
from text_gym.feedback.items import Completion
from text_gym.feedback.simulated.answering import Manner
from text_gym.feedback.simulated.judging import judge
from text_gym.rewards import WordCount

SURE, COIN = Manner(accuracy=0.999999), Manner(accuracy=0.75)


def items(n: int) -> list[Item]:
    """Items whose second completion has one word more."""
    return [Item(f"item {at}", "Hi", (Completion("so"), Completion("so so"))) for at in range(n)]


# Simulated annotators


def test_simulated_people_prefer_the_better_text_as_often_as_they_are_told() -> None:
    said = judge(items(2000), WordCount(), COIN)
    right = np.mean([one.answer == Preferred(1) for one in said])
    assert right == pytest.approx(0.75, abs=3 * np.sqrt(0.75 * 0.25 / 2000))


def test_sides_are_drawn_and_answers_name_the_place_in_the_item() -> None:
    said = judge(items(400), WordCount(), SURE)
    assert {one.answer for one in said} == {Preferred(1)}
    assert np.mean([one.order == (0, 1) for one in said]) == pytest.approx(0.5, abs=0.08)


def test_a_bias_for_the_left_side_follows_the_side() -> None:
    alike = [Item(f"item {at}", "Hi", (Completion("a"), Completion("b"))) for at in range(400)]
    said = judge(alike, WordCount(), Manner(side_bias=20.0))
    assert all(one.answer == Preferred(one.order[0]) for one in said)


def test_what_is_said_of_an_item_depends_on_no_other_item() -> None:
    every, some = judge(items(20), WordCount(), COIN), judge(items(20)[7:], WordCount(), COIN)
    assert every[7:] == some
    assert judge(items(20), WordCount(), COIN, seed=1) != every


def test_everybody_judges() -> None:
    said = judge(items(200), WordCount(), COIN, annotators=4)
    assert {one.annotator for one in said} == {f"simulated {at}" for at in (1, 2, 3, 4)}
    assert len({one.id for one in said}) == 200


def test_items_of_other_kinds_are_refused() -> None:
    three = Item("a", "Hi", (Completion("a"), Completion("b"), Completion("c")))
    with pytest.raises(ValueError, match="must have two completions and one text"):
        judge([three], WordCount(), SURE)


# Which pairs are asked


def test_models_that_are_sure_of_the_same_do_not_disagree() -> None:
    # σ(±ln 3) is 3/4 and 1/4: a standard deviation of 1/4 around 1/2.
    third = np.log(3)
    rewards = np.array([[[third, 0.0], [50.0, 0.0]], [[0.0, third], [90.0, 0.0]]])
    np.testing.assert_allclose(disagreement(rewards), [0.25, 0.0], atol=1e-12)


def test_disagreement_needs_two_models() -> None:
    with pytest.raises(ValueError, match=r"rewards must be \(K, n, 2\) of two models"):
        disagreement(np.zeros((1, 5, 2)))


def test_the_most_disagreed_pairs_are_chosen_in_their_order() -> None:
    differences = np.array([0.0, 3.0, 1.0, 2.0])
    rewards = np.stack([np.stack([d, np.zeros(4)], axis=1) for d in (differences, -differences)])
    assert most_disagreed(rewards, 2).tolist() == [1, 3]
    assert most_disagreed(rewards, 9).tolist() == [0, 1, 2, 3]


def test_pairs_at_random_are_some_of_all_and_the_same_for_a_seed() -> None:
    chosen = at_random(100, 10, seed=3)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == 10
    assert chosen.tolist() == at_random(100, 10, seed=3).tolist()
    assert chosen.tolist() != at_random(100, 10, seed=4).tolist()


# Collecting


def quiet() -> Console:
    return Console(file=io.StringIO(), width=200)


def test_what_people_said_comes_out_as_comparisons_that_name_their_judgements(
    tmp_path: Path,
) -> None:
    def sure(asked: Any) -> list[Judgement]:
        return judge(asked, WordCount(), SURE)

    collect_judgements(items(3), tmp_path / STUDY, tmp_path, sure, quiet())
    rows = [json.loads(line) for line in (tmp_path / COMPARISONS).read_text().splitlines()]
    assert [(row["chosen"], row["rejected"]) for row in rows] == [("so so", "so")] * 3
    said = [json.loads(line) for line in (tmp_path / JUDGEMENTS).read_text().splitlines()]
    ids = [row["judgement"]["id"] for row in said if "judgement" in row]
    assert [row["judgements"] for row in rows] == [[one] for one in ids]


def test_collecting_again_changes_nothing(tmp_path: Path) -> None:
    def sure(asked: Any) -> list[Judgement]:
        return judge(asked, WordCount(), SURE)

    collect_judgements(items(3), tmp_path / STUDY, tmp_path, sure, quiet())
    before = (tmp_path / JUDGEMENTS).read_bytes()
    collect_judgements(items(3), tmp_path / STUDY, tmp_path, sure, quiet())
    assert (tmp_path / JUDGEMENTS).read_bytes() == before


def test_a_study_of_which_only_a_part_was_made_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / ".study.partial").mkdir()
    (tmp_path / ".study.partial" / "guidelines.txt").write_text("half")
    collect_judgements([], tmp_path / STUDY, tmp_path, None, quiet())
    assert open_study(tmp_path / STUDY).config.mode == "compare"


def test_people_are_waited_for_and_the_progress_line_says_how_many_judgements_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_LOOK_SECONDS", 0.01)
    console = quiet()

    def people() -> None:
        while not (tmp_path / STUDY / "study.json").exists():
            time.sleep(0.01)
        said = judge(items(2), WordCount(), SURE)
        with open_study(tmp_path / STUDY).open() as store:
            while len(store.items.all()) < 2:
                time.sleep(0.01)
            for one, item in zip(said, items(2), strict=True):
                time.sleep(0.05)
                enter(store, Collected([item], [one]))

    thread = threading.Thread(target=people)
    thread.start()
    collect_judgements(items(2), tmp_path / STUDY, tmp_path, None, console)
    thread.join()
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "2 judgements are missing. Serve the study: python -m text_gym.feedback" in printed
    assert "0 missing" in printed
    assert len((tmp_path / JUDGEMENTS).read_text().splitlines()) == 4


def test_what_nobody_answers_yet_is_missing(tmp_path: Path) -> None:
    def ties(asked: Any) -> list[Judgement]:
        return [Judgement("j", "ann", asked[0].id, (0, 1), Tie(), 0.0, 1.0, 1)]

    collect_judgements(items(2), tmp_path / STUDY, tmp_path, ties, quiet())
    study: Study = open_study(tmp_path / STUDY)
    with study.open() as store:
        assert collecting.missing(study, store) == (1, 2)
    row = json.loads((tmp_path / COMPARISONS).read_text())
    assert (row["tie"], row["judgements"]) == (True, ["j"])


# Stages


class Copying:
    """A stage's work that copies a file and counts how often it was asked to."""

    def __init__(self, root: Path, settings: dict[str, Any] | None = None) -> None:
        (root / "in.txt").write_text("text")
        self.calls = 0
        self.stage = Stage(
            "copy", root, root / "copy", settings or {"seed": 1}, [root / "in.txt"],
            {"model": "small-talk"}, ["out.txt"], self.work,
        )  # fmt: skip

    def work(self) -> None:
        self.calls += 1
        self.stage.folder.joinpath("out.txt").write_bytes(
            self.stage.root.joinpath("in.txt").read_bytes()
        )


def test_a_stage_is_done_once(tmp_path: Path) -> None:
    copying = Copying(tmp_path)
    assert copying.stage.carry_out()
    assert not copying.stage.carry_out()
    assert copying.calls == 1


def test_a_manifest_names_what_a_stage_read_and_wrote_by_hash(tmp_path: Path) -> None:
    Copying(tmp_path).stage.carry_out()
    manifest = read_manifest(tmp_path / "copy")
    assert manifest is not None
    digest = digest_of(tmp_path / "in.txt")
    assert manifest.inputs == {"in.txt": digest, "model": "small-talk"}
    assert manifest.outputs == {"copy/out.txt": digest}
    assert manifest.settings == {"seed": 1}


@pytest.mark.parametrize("name", ["in.txt", "copy/out.txt"])
def test_a_loop_does_not_go_on_with_files_that_have_changed(name: str, tmp_path: Path) -> None:
    copying = Copying(tmp_path)
    copying.stage.carry_out()
    (tmp_path / name).write_text("another")
    with pytest.raises(ValueError, match=f"but {name} has changed since"):
        copying.stage.carry_out()


def test_a_loop_does_not_go_on_with_other_settings(tmp_path: Path) -> None:
    Copying(tmp_path).stage.carry_out()
    with pytest.raises(ValueError, match="but seed has changed since: 2 where"):
        Copying(tmp_path, {"seed": 2}).stage.carry_out()


def test_the_digest_of_a_folder_is_of_names_and_contents(tmp_path: Path) -> None:
    for name, inner, content in (
        ("a", "x", "1"), ("b", "x", "1"), ("c", "y", "1"), ("d", "x", "2"),
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / inner).write_text(content)
    first, same, *others = (digest_of(tmp_path / name) for name in "abcd")
    assert first == same
    assert first not in others


# Figures and options


def loop(**changes: Any) -> Loop:
    options: dict[str, Any] = {"model": "small-talk", "prompts": "small-talk", "total_episodes": 4}
    return Loop(**{**options, "algorithm": PPOConfig(), **changes})


def test_rounds_share_the_judgements() -> None:
    config = loop(judgements=1000, rounds=3)
    assert [config.judgements_of(number) for number in (1, 2, 3)] == [334, 333, 333]


def test_of_more_replies_to_a_prompt_fewer_prompts_are_needed() -> None:
    assert loop(judgements=100, pool=3).prompts_of(1) == 300
    assert loop(judgements=100, pool=3, per_prompt=4).prompts_of(1) == 50  # of six pairs each


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"per_prompt": 1}, "per_prompt must be at least 2, got 1"),
        ({"judgements": 2, "rounds": 3}, "judgements must be at least one for each of 3 rounds"),
        ({"accuracy": 1.0}, r"accuracy must lie in \(0, 1\), got 1.0"),
        ({"pairs": "disagreement"}, "reward_models must be at least 2 to disagree"),
    ],
)
def test_options_that_cannot_be_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loop(**changes)
