"""A second measure beside the reward: seen, tested, selected by, stopped by, and gone on with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from agents.algorithms.configs.names import config_for
from agents.algorithms.health_checks import TrainingWarning
from agents.applications.fine_tuning import FineTuning, with_algorithm
from agents.applications.registry import PRESETS, REWARDS
from agents.callbacks import Callback
from agents.checkpoints.callback_states import restore_callbacks, tensors_of_callbacks
from agents.evaluation.metrics import Evaluation
from agents.monitoring.monitor import Monitor
from agents.monitoring.parting import ERROR_RATE, level_of, p_of_parting, p_of_rise
from agents.runs import pipeline
from agents.runs.monitoring import make_measure
from agents.runs.monitoring import told as told_of
from agents.runs.pipeline import resume, run
from agents.runs.saved_config import anchored, read_config
from text_gym import Episode
from text_gym.rewards import Length

# The test


def test_p_of_rise_is_students_paired_test() -> None:
    assert p_of_rise([0, 0, 0], [1, 2, 3]) == pytest.approx(0.037089, abs=1e-6)  # t = 3.4641, 2 df
    assert p_of_rise([1, 2, 3], [0, 0, 0]) == pytest.approx(1 - 0.037089, abs=1e-6)
    assert p_of_rise([0, 1], [1, 2]) == 0.0  # all rose alike
    assert p_of_rise([0, 1], [0, 1]) == 1.0
    with pytest.raises(ValueError, match="of the same two texts or more, got 2 and 3"):
        p_of_rise([0, 1], [0, 1, 2])


def test_parting_takes_both_a_rise_and_a_fall() -> None:
    rise, fall, noise = ([0, 0, 0], [1, 2, 3]), ([3, 2, 4], [0, 0, 0]), ([0, 1, 0], [1, 0, 0])
    assert p_of_parting(rise, fall) == max(p_of_rise(*rise), p_of_rise(fall[1], fall[0])) < 0.04
    assert p_of_parting(rise, rise) > 0.9
    assert p_of_parting(fall, fall) > 0.9
    assert p_of_parting(rise, noise) > 0.4


class Agent:
    """Counts updates; what it writes is up to the evaluation."""

    n_episodes = n_updates = seed = 0


def evaluation_of(proxy: Sequence[float], measure: Sequence[float]) -> Evaluation:
    n = len(proxy)
    texts = [[f"{value}" for value in measure], [None] * n, list(proxy), [1] * n]
    return Evaluation(["Hi"] * n, *texts, [0.5] * n, [0.0] * n)  # type: ignore[arg-type]


def told(evaluation: Evaluation) -> list[float]:
    return [float(text) for text in evaluation.completions]


def watched(
    looks: int, write: Callable[[int], Evaluation], **options: Any
) -> tuple[Monitor, list[bool]]:
    """Returns a monitor after some looks, and whether each of them lets training go on."""
    agent = Agent()
    monitor = Monitor("worth", lambda agent: write(agent.n_updates), told, every=1, **options)
    monitor.on_training_start(agent, 100)
    answers = []
    for _ in range(looks - 1):
        agent.n_updates += 1
        answers.append(monitor.on_update_end(agent, {}))
    return monitor, answers


@pytest.mark.filterwarnings("ignore:reward and worth part")
def alarms(fall: float, *, n_trainings: int = 300, n_looks: int = 16, n_texts: int = 48) -> float:
    """Returns how many trainings are warned of, in which the proxy rises all the way.

    The measure falls linearly, by `fall` of the deviation between texts of a prompt, all in all.
    """
    random = np.random.default_rng(0)

    def training() -> bool:
        ease = random.normal(size=n_texts)  # of the prompts, the same at every look

        def write(update: int) -> Evaluation:
            worth = ease + random.standard_normal(n_texts) - fall * update / (n_looks - 1)
            return evaluation_of(random.standard_normal(n_texts) + update, worth)

        return watched(n_looks, write)[0].parted is not None

    return float(np.mean([training() for _ in range(n_trainings)]))


@pytest.mark.filterwarnings("ignore:reward and worth part")
def test_at_most_one_training_in_twenty_is_warned_of_for_nothing() -> None:
    assert alarms(0.0) <= ERROR_RATE + 2 * (ERROR_RATE * (1 - ERROR_RATE) / 300) ** 0.5


@pytest.mark.filterwarnings("ignore:reward and worth part")
def test_a_measure_that_falls_is_seen() -> None:
    assert alarms(2.0, n_trainings=50) > 0.9


def test_the_levels_of_all_looks_add_up_to_the_error_rate() -> None:
    assert sum(map(level_of, range(1, 1001))) == pytest.approx(ERROR_RATE * (1 - 1 / 1001))


def test_one_half_of_the_texts_chooses_and_the_other_tests() -> None:
    random = np.random.default_rng(0)

    def write(update: int) -> Evaluation:
        worth = random.normal(scale=0.1, size=40)
        worth[::2] += [0, 1, 0][update]  # the second look is best by the half that chooses
        worth[1::2] += [9, 5, 0][update]  # and worse by the half that tests
        return evaluation_of(random.normal(scale=0.1, size=40) + update, worth)

    with pytest.warns(
        TrainingWarning, match=r"reward and worth part: since update 1 .* to 1\.9\d\d while"
    ):
        monitor, answers = watched(3, write)
    assert (monitor.best.updates, monitor.parted) == (1, 2)
    assert told_of(monitor) == (
        "Monitor: worth was best after update 1; reward and worth part from update 2 on."
    )
    assert answers == [True, True]
    assert monitor.best.measure == pytest.approx(3.0, abs=0.1)


@pytest.mark.filterwarnings("ignore:reward and worth part")
def test_it_stops_where_they_part_if_it_is_to() -> None:
    def write(update: int) -> Evaluation:
        noise = np.linspace(-0.1, 0.1, 40)
        return evaluation_of(noise * (-1) ** update + update, noise - update)

    monitor, answers = watched(4, write, stop=True)
    assert monitor.parted == 1
    assert answers == [False, False, False]
    assert monitor.stopped


def test_it_refuses_too_few_texts_and_too_few_updates() -> None:
    with pytest.raises(ValueError, match="must look at four texts or more, got 3"):
        watched(1, lambda update: evaluation_of([1, 2, 3], [1, 2, 3]))
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        Monitor("worth", lambda agent: None, told, every=0)  # type: ignore[arg-type,return-value]


# In a run

PROMPTS = ["How are you ?", "you ?", "are you fine ?", "thanks", "fine thanks", "and you ?"]


def small(output: Path, name: str, **changes: Any) -> FineTuning:
    """The toy, paid for words, which cost it variety."""
    preset = PRESETS["toy"][1]
    sizes = {
        "n_episodes": 8,
        "batch_size": 8,
        "n_epochs": 1,
        "learning_rate": 3e-3,
        "lr_schedule": "constant",
    }
    options = {
        "total_episodes": 8 * 9,
        "max_new_tokens": 8,
        "num_envs": 8,
        "eval_episodes": 16,
        "threads": 1,
        "checkpoint_every": 1,
        "monitor_every": 2,
        "algorithm": dataclasses.replace(preset.algorithm, **sizes),
        "output": output,
        "name": name,
    }
    return dataclasses.replace(preset, **{**options, **changes})


def metrics_of(folder: Path) -> list[dict[str, float]]:
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def parameters(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module", autouse=True)
def _measures() -> Iterator[None]:
    """One measure more, which rises at first: the toy begins with three or four words."""
    with pytest.MonkeyPatch.context() as patch:
        more = {**REWARDS, "five_words": lambda: Length(5, unit="words")}
        patch.setattr("agents.runs.rewards.REWARDS", more)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    kinds = {
        "plain": {},
        "watched": {"monitor": "variety"},
        "selected": {"select_by": "five_words"},
    }
    return {name: run("toy", small(folder, name, **kind)) for name, kind in kinds.items()}


def test_a_monitor_changes_nothing_of_what_is_learnt(runs: dict[str, Path]) -> None:
    plain = parameters(runs["plain"] / "policy")
    for name, learnt in (("watched", "policy"), ("selected", "policy-last")):
        assert metrics_of(runs[name]) == metrics_of(runs["plain"])
        same = parameters(runs[name] / learnt)
        assert all(torch.equal(tensor, same[key]) for key, tensor in plain.items())
    assert read(runs["watched"], "replies.json") == read(runs["plain"], "replies.json")
    assert not (runs["plain"] / "monitor.json").exists()
    assert "monitor" not in read(runs["plain"], "summary.json")


def test_the_looks_stand_in_a_file_and_the_verdict_in_the_summary(runs: dict[str, Path]) -> None:
    seen = read(runs["watched"], "monitor.json")
    assert [look["updates"] for look in seen["looks"]] == [0, 2, 4, 6, 8, 9]
    assert all(0 < look["measure"] <= 1 and look["kl"] >= 0 for look in seen["looks"])
    best = max(seen["looks"], key=lambda look: look["chosen_by"])
    assert seen["best_update"] == best["updates"] < 9, "variety falls as texts grow"
    verdict = {name: seen[name] for name in ("measure", "best_update", "parted_at_update")}
    assert read(runs["watched"], "summary.json")["monitor"] == verdict


def test_the_run_ends_with_the_best_moment_that_is_selected(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    summary = read(runs["selected"], "summary.json")
    best = summary["monitor"]["best_update"]
    assert 0 < best < summary["updates"] == 9
    assert {"reward_before", "reward_after", "reward_last"} <= summary.keys()
    until_then = parameters(
        run("toy", small(tmp_path, "until", total_episodes=8 * best)) / "policy"
    )
    selected, last = (parameters(runs["selected"] / name) for name in ("policy", "policy-last"))
    assert all(torch.equal(tensor, until_then[name]) for name, tensor in selected.items())
    assert any(not torch.equal(tensor, last[name]) for name, tensor in selected.items())


class Killed(Exception):
    """Stands for a process that is killed."""


class KilledAt(Callback):
    """Ends training in the middle of things."""

    def __init__(self, n_updates: int) -> None:
        self.n_updates = n_updates

    def on_update_end(self, agent: Any, metrics: Any) -> bool:
        if agent.n_updates == self.n_updates:
            raise Killed
        return True


@pytest.mark.parametrize("at", [1, 5, 6])
def test_killed_and_resumed_it_selects_the_same(
    at: int, runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = pipeline.load

    def load_to_be_killed(*arguments: Any) -> Any:
        loaded = load(*arguments)
        loaded.agent.callbacks.append(KilledAt(at))
        return loaded

    monkeypatch.setattr(pipeline, "load", load_to_be_killed)
    with pytest.raises(Killed):
        run("toy", small(tmp_path, "killed", select_by="five_words"))
    monkeypatch.undo()
    folder = resume(tmp_path / "killed")
    for name in ("monitor.json", "replies.json"):
        assert (folder / name).read_bytes() == (runs["selected"] / name).read_bytes()
    for name in ("policy", "policy-last"):
        theirs = parameters(runs["selected"] / name)
        assert all(torch.equal(t, theirs[key]) for key, t in parameters(folder / name).items())


def parts_at_once(*arguments: Any) -> float:
    return 0.0


@pytest.mark.filterwarnings("ignore:reward and variety part")
def test_a_run_that_was_stopped_is_not_trained_on_when_it_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.monitoring.monitor.p_of_parting", parts_at_once)
    config = small(tmp_path, "stopped", monitor="variety", stop_when="parted")
    folder = run("toy", config)
    summary = read(folder, "summary.json")
    assert summary["updates"] == summary["monitor"]["parted_at_update"] < 9
    (folder / "summary.json").unlink()  # killed before it was written
    assert read(resume(folder), "summary.json")["updates"] == summary["updates"]


def test_a_run_that_is_saved_knows_its_monitor(runs: dict[str, Path]) -> None:
    config = read_config(runs["selected"]).config
    assert (config.select_by, config.monitor, config.watched) == ("five_words", None, "five_words")


def test_a_measure_in_a_folder_is_found_from_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "learnt").mkdir()
    config = anchored(dataclasses.replace(PRESETS["toy"][1], select_by="learnt"))
    assert (config.monitor, config.select_by) == (None, str(tmp_path / "learnt"))
    assert anchored(dataclasses.replace(config, select_by="variety")).select_by == "variety"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitor": "variety", "select_by": "objective"}, "monitor must be None or that of"),
        ({"stop_when": "parted"}, "stop_when must be 'never' without a monitor"),
        ({"monitor": "variety", "monitor_every": 0}, "monitor_every must be at least 1, got 0"),
    ],
)
def test_options_that_say_nothing_sensible_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PRESETS["toy"][1], **options)


def test_a_measure_that_has_no_name_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"monitor and select_by must be .*got 'beauty'"):
        run("toy", small(tmp_path, "run", monitor="beauty"))
    assert list(tmp_path.iterdir()) == []


def test_stable_baselines3_has_no_monitor(tmp_path: Path) -> None:
    config = small(tmp_path, "run", monitor="variety", num_envs=4)
    with pytest.raises(ValueError, match="monitor and select_by must be None for sb3-ppo"):
        run("toy", with_algorithm(config, "sb3-ppo"))
    assert config_for("sb3-ppo", config.algorithm)


def test_measures_are_rewards_and_figures_of_each_text() -> None:
    evaluation = dataclasses.replace(
        evaluation_of([1.0, 2.0], [0.0, 0.0]),
        kl_coef=2.0,
        episodes=[Episode.from_text("Hi", text) for text in ("so so so", "oh my")],
    )
    assert make_measure("variety")(evaluation) == [0.5, 1.0]
    assert make_measure("objective")(evaluation) == [0.0, 1.0]
    assert make_measure("reward")(evaluation) == [1.0, 2.0]


# In a checkpoint


class Keeper(Callback):
    """Keeps a tensor."""

    def __init__(self, value: float) -> None:
        self.kept = torch.tensor([value])

    def tensors(self) -> dict[str, torch.Tensor]:
        return {"kept": self.kept}

    def load_tensors(self, tensors: Any) -> None:
        self.kept = tensors["kept"]


def test_each_callback_has_its_own_tensors_back() -> None:
    saved = [Keeper(1.0), Callback(), Keeper(2.0)]
    tensors = tensors_of_callbacks(saved)
    states = [{"callback": type(one).__name__, "state": {}} for one in saved]
    restored = [Callback(), Keeper(0.0), Keeper(0.0)]
    restore_callbacks(restored, states, tensors)
    assert [one.kept.item() for one in restored[1:]] == [1.0, 2.0]  # type: ignore[attr-defined]


def test_a_reward_model_may_be_the_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Model:
        def __call__(self, episodes: Sequence[Any]) -> Any:
            return np.array([float(len(episode.completion)) for episode in episodes])

    loaded: list[Path] = []
    monkeypatch.setattr("agents.runs.rewards.reward_models", lambda name: [Path(name)])
    monkeypatch.setattr(
        "agents.runs.rewards.RewardModel.load", lambda *given: (loaded.append(given[0]), Model())[1]
    )
    measure = make_measure(str(tmp_path / "learnt"))
    texts = [Episode.from_text("Hi", text) for text in ("a", "abc")]
    evaluation = dataclasses.replace(evaluation_of([0, 0], [0, 0]), episodes=texts)
    assert measure(evaluation) == [1.0, 3.0]
    with pytest.raises(ValueError, match="must hold its episodes to be scored again, got none"):
        measure(evaluation_of([0, 0], [0, 0]))
    assert loaded == [tmp_path / "learnt"]
