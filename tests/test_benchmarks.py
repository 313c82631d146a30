"""The benchmarks: figures, the table made of them, counts, and one small round of every script.

Nothing here asserts a time. What is measured is measured with fakes, or at sizes at which only the
bookkeeping shows.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import math
import mmap
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.token_batch import TokenBatch
from agents.rollout.decoding.gpt2_backend import GPT2Backend
from benchmarks import (
    alternatives,
    cost_per_token,
    family,
    floor,
    gpu,
    growth,
    human_ratings,
    memory,
    offline_family,
    reward_model,
    rollout,
    table,
    tasks,
    toy,
    update,
    whole_ppo_sb3,
    whole_ppo_trl,
    writers,
)
from benchmarks.figures import RESULTS, figure, line, read_results, write_result
from benchmarks.timing import interleaved, ratios, tokens_per_second
from text_gym import Episode
from text_gym.feedback.simulated.answering import Manner

ROOT = Path(__file__).parents[1]
SCRIPTS = (
    "ablations",
    "alternatives",
    "asking",
    "busy_machine",
    "calculator",
    "cost_per_token",
    "dialogue_regret",
    "efficiency",
    "env_throughput",
    "exact_solver",
    "family",
    "gpu",
    "growth",
    "human_ratings",
    "memory",
    "offline_family",
    "over_optimisation",
    "regret",
    "reward_model",
    "rollout",
    "settings_grid",
    "table",
    "translation",
    "update",
    "verse",
    "whole_ppo_sb3",
    "whole_ppo_trl",
)


# Figures


def test_a_figure_is_the_median_with_the_spread_beside_it() -> None:
    one = figure("speed", [3.0, 1.0, 2.5], "tokens/s")
    assert (one.value, one.lowest, one.highest, one.repeats) == (2.5, 1.0, 3.0, 3)
    assert (one.goal, one.rule, one.holds) == (None, None, None)


@pytest.mark.parametrize(
    ("goal", "holds"),
    [
        ({"at_least": 2.0}, True),
        ({"at_least": 2.1}, False),
        ({"at_most": 2.0}, True),
        ({"at_most": 1.9}, False),
    ],
)
def test_a_goal_is_held_against_the_median(goal: dict[str, float], holds: bool) -> None:
    one = figure("ratio", [2.0, 0.0, 9.0], **goal)
    assert (one.holds, one.rule) == (holds, next(iter(goal)).replace("_", " "))
    assert ("FALLS SHORT" in line(one)) is not holds


def test_figures_without_samples_or_with_two_goals_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        figure("nothing", [])
    with pytest.raises(ValueError, match="both"):
        figure("both", [1.0], at_least=1.0, at_most=2.0)


def written(folder: Path, name: str = "speed") -> dict[str, Any]:
    figures = [
        figure("ours / theirs", [1.0, 3.0], at_least=1.5, note="in turns"),
        figure("ours", 12_345.6, "tokens/s"),
    ]
    path = write_result(
        name, figures, seed=3, settings={"rows": 2}, versions={"trl": "1.12.0"}, folder=folder
    )
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def test_a_result_says_what_it_depends_on(tmp_path: Path) -> None:
    result = written(tmp_path)
    check_schema(result)
    assert (result["seed"], result["settings"]) == (3, {"rows": 2})
    assert result["versions"]["torch"] == metadata.version("torch")
    assert result["versions"]["trl"] == "1.12.0"
    assert result["machine"]["threads"] == torch.get_num_threads()
    assert result["figures"][0]["holds"] is True
    assert result["figures"][1]["holds"] is None


def check_schema(result: dict[str, Any]) -> None:
    assert list(result) == [
        "name",
        "date",
        "commit",
        "seed",
        "settings",
        "machine",
        "versions",
        "figures",
    ]
    assert list(result["machine"]) == ["cpu", "cores", "flags", "memory_gib", "threads", "system"]
    names = [one["name"] for one in result["figures"]]
    assert names
    assert len(set(names)) == len(names)
    for one in result["figures"]:
        assert list(one)[:6] == ["name", "value", "unit", "goal", "rule", "holds"]
        assert list(one)[6:] == ["lowest", "highest", "repeats", "note"]
        assert math.isfinite(one["value"])
        assert one["lowest"] <= one["value"] <= one["highest"]
        assert (one["goal"] is None) == (one["holds"] is None) == (one["rule"] is None)


# The table


def test_the_table_is_made_of_the_results_alone(tmp_path: Path) -> None:
    result = written(tmp_path)
    page = f"# Title\n\n{table.BEGIN}\nwhat stood there\n{table.END}\nafter\n"
    new = table.updated(page, read_results(tmp_path))
    assert new.startswith("# Title\n")
    assert new.endswith(f"{table.END}\nafter\n")
    assert "what stood there" not in new
    assert "| ours / theirs | 2 × | 1 to 3 (2) | ≥ 1.5 | yes |" in new
    assert "| ours | 12,346 tokens/s | 12,346 to 12,346 (1) |  |  |" in new
    assert "- ours / theirs: in turns" in new
    assert result["machine"]["cpu"] in new
    assert table.updated(new, read_results(tmp_path)) == new


def test_a_figure_that_falls_short_stands_out(tmp_path: Path) -> None:
    write_result("slow", [figure("ours / theirs", 1.0, at_least=2.0)], folder=tmp_path)
    assert "| ≥ 2 | **no** |" in table.render(read_results(tmp_path))


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="must contain"):
        table.updated("# Title\n", [])


def test_the_committed_table_is_what_the_committed_results_give() -> None:
    page = table.PAGE.read_text(encoding="utf-8")
    assert page == table.updated(page, read_results(RESULTS)), "run `python benchmarks/table.py`"


def test_the_committed_results_follow_the_schema() -> None:
    for result in read_results(RESULTS):
        check_schema(result)


def test_the_page_lists_every_script_that_measures() -> None:
    page = table.PAGE.read_text(encoding="utf-8")
    assert [name for name in SCRIPTS if name != "table" and f"`{name}.py`" not in page] == []


# Measuring


def clock(values: list[float]) -> Callable[[], float]:
    return iter(values).__next__


def test_what_is_compared_takes_turns_and_warm_ups_do_not_count() -> None:
    order: list[str] = []

    def measurement(name: str, values: Iterator[float]) -> Callable[[], float]:
        def measure() -> float:
            order.append(name)
            return next(values)

        return measure

    timed = {
        "ours": measurement("ours", iter([99.0, 6.0, 9.0])),
        "theirs": measurement("theirs", iter([99.0, 2.0, 3.0])),
    }
    samples = interleaved(timed, repeats=2)
    assert order == ["ours", "theirs"] * 3
    assert samples == {"ours": [6.0, 9.0], "theirs": [2.0, 3.0]}
    assert ratios(samples, "ours", "theirs") == [3.0, 3.0]


def test_speed_is_tokens_over_seconds() -> None:
    assert tokens_per_second(lambda: 50, clock([10.0, 12.0]))() == 25.0


# The floor


def small_policy(vocab_size: int = 11) -> CausalLMPolicy:
    return tasks.gpt2(layers=2, width=8, heads=2, vocab_size=vocab_size, max_length=12)


def test_a_model_is_counted_by_hand() -> None:
    model = floor.Model.of(small_policy())
    assert model.weights == 2 * 12 * 8 * 8  # attention 4 H², MLP 8 H²
    assert (model.output, model.layers, model.width, model.keys) == (11 * 8, 2, 8, 8)
    tokens, attended, chosen = 5, 15, 3
    products = 2 * (model.weights * tokens + 11 * 8 * chosen)
    assert model.forward(tokens, attended, chosen) == products + 4 * 8 * 2 * attended


def test_an_update_takes_three_forwards_and_adam() -> None:
    model = floor.Model.of(small_policy())
    forward = floor.judging(model, prompt=2, lengths=[3, 1], passes=1)
    update_work = floor.updating(model, prompt=2, lengths=[3, 1], passes=1, steps=2)
    assert update_work.flops == 3 * forward.flops
    assert update_work.moved == 3 * forward.moved + 2 * 7 * 4 * model.parameters


def test_the_floor_is_the_longer_of_arithmetic_and_memory() -> None:
    peaks = floor.Peaks(flops_per_second=10.0, bytes_per_second=100.0)
    assert floor.Work(flops=30.0, moved=100.0).seconds(peaks) == 3.0
    assert floor.Work(flops=30.0, moved=500.0).seconds(peaks) == 5.0


def test_the_share_of_the_floor_is_speed_over_the_floors_speed() -> None:
    peaks = floor.Peaks(flops_per_second=10.0, bytes_per_second=100.0)
    work = floor.Work(flops=50.0, moved=0.0)  # 5 seconds for 100 tokens
    one = floor.share_of_floor("ours", [5.0, 10.0], peaks, work, tokens=100, why="Calls")
    assert (one.lowest, one.highest) == (0.25, 0.5)
    assert "the floor is 20 tokens/s" in one.note


def test_decoding_reads_the_parameters_once_a_step() -> None:
    model = floor.Model.of(small_policy())
    two, one = (floor.decoding(model, 1, [4, 4], rows=rows).moved for rows in (2, 1))
    assert one - two == 4 * 4 * (model.weights + model.output)


# Tasks


def test_without_an_end_every_text_has_the_limit() -> None:
    case = rollout.gpt2_cases(n_ragged=64, seed=0)[0]
    tasks.end_with_probability(case.policy, 0.999)
    assert writers.collected(case, judged=False)() == rollout.ROWS * rollout.FIXED


def test_groups_write_as_much_as_texts_that_share_no_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rollout, "FIXED", 2)
    read, original = [], GPT2Backend.read
    monkeypatch.setattr(
        GPT2Backend,
        "read",
        lambda self, tokens, prompts: (read.append(len(prompts)), original(self, tokens, prompts)),
    )
    for case, prompts in zip(rollout.grouped_cases(seed=0), (8, 64), strict=True):
        read.clear()
        assert writers.collected(case, judged=False)() == rollout.ROWS * rollout.FIXED
        assert sum(read) == prompts


def test_the_last_token_has_the_probability_that_was_asked_for() -> None:
    policy = tasks.end_with_probability(small_policy(), 1 / 8)
    hidden = policy.hidden_states(torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.long))
    probabilities = policy.logits(hidden[0]).softmax(-1)
    torch.testing.assert_close(probabilities[:, -1], torch.full((3,), 1 / 8))
    torch.testing.assert_close(probabilities[:, :-1], torch.full((3, 10), 7 / 80))


def episode(prompt: list[int], completion: list[int]) -> Episode:
    return Episode("", np.array(prompt), np.array(completion), "length")


def test_counting_up_pays_the_share_of_tokens_that_are_one_more() -> None:
    reward = tasks.CountingUp(vocab_size=5, length=4)
    episodes = [episode([2, 3], [4, 0, 1, 2]), episode([2, 3], [4, 4, 0, 3])]
    assert reward(episodes).tolist() == [1.0, 0.5]


def test_numbers_are_read_and_written() -> None:
    numbers = tasks.Numbers(5)
    assert numbers.encode("3 0 1") == [3, 0, 1]
    assert numbers.decode([3, 0, 4]) == "3 0"
    assert tasks.counting_prompts(3, 2) == ["0 1", "1 2", "2 0"]


# Rollouts


def test_tokens_count_up_to_the_end_of_their_text() -> None:
    completions = torch.tensor([[1, 9, 9, 1], [1, 2, 3, 4], [8, 0, 0, 0]])
    assert writers.used(completions, torch.tensor([8, 9])) == 2 + 4 + 1
    assert writers.used(completions, torch.tensor([], dtype=torch.long)) == 12


def test_prompts_are_padded_on_the_left() -> None:
    ids, mask = writers.left_padded([[5], [6, 7]])
    assert ids.tolist() == [[0, 5], [6, 7]]
    assert mask.tolist() == [[0, 1], [1, 1]]


def test_every_way_of_writing_a_fixed_length_counts_the_same_tokens() -> None:
    case = rollout.gpt2_cases(n_ragged=64, seed=0)[0]
    expected = rollout.ROWS * rollout.FIXED
    assert writers.collected(case, judged=True)() == expected
    assert writers.generated(case)() == expected
    assert writers.lean(case)() == expected


def test_the_lean_loop_reads_every_token_but_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    class CountingDecoder(writers.Decoder):
        def advance(self, tokens: torch.Tensor, *rest: Any) -> None:
            reads.append(len(tokens))
            super().advance(tokens, *rest)

    monkeypatch.setattr(writers, "Decoder", CountingDecoder)
    writers.lean(rollout.gpt2_cases(n_ragged=64, seed=0)[0])()
    assert reads == [rollout.ROWS] * (rollout.FIXED - 1)


def test_the_rollout_is_held_against_generate_and_the_lean_loop() -> None:
    case = rollout.gpt2_cases(n_ragged=64, seed=0)[0]
    samples = {
        "rollout, judged": [3.0],
        "rollout": [6.0],
        "generate": [2.0],
        "lean loop": [8.0],
    }
    peaks = floor.Peaks(1e9, 1e9)
    found = rollout.figures(case, samples, peaks, goals=(1.5, 2.5), mean_length=32.0)
    plain, judged, lean = (one for one in found if one.unit == "×" and "floor" not in one.name)
    assert (plain.value, plain.goal, plain.holds) == (3.0, 1.5, True)
    assert (judged.value, judged.goal, judged.holds) == (1.5, 2.5, False)
    assert (lean.value, lean.goal, lean.holds) == (0.75, 0.85, False)


def test_ragged_texts_have_the_mean_length_on_both_sides() -> None:
    case = rollout.gpt2_cases(n_ragged=128, seed=0)[1]
    torch.manual_seed(0)
    for work in (writers.collected(case, judged=False), writers.generated(case)):
        assert work() / 128 == pytest.approx(rollout.MEAN, abs=2.0)  # 3 standard errors


# GPUs


def rehearsed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, Any]:
    sizes = {"LENGTH": 3, "ROWS": (2,), "PPO_ROWS": 4, "PPO_LENGTH": 3}
    for name, value in sizes.items():
        monkeypatch.setattr(gpu, name, value)
    monkeypatch.setattr(gpu, "measure_peaks", lambda *device: floor.Peaks(1e9, 1e9))
    options = ["--device", "cpu", "--quick", "--repeats", "1", "--output", str(folder)]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *options])
    gpu.main()
    return {one["name"]: one for one in read_results(folder)[0]["figures"]}


def test_what_is_measured_on_a_gpu_is_rehearsed_without_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = rehearsed(monkeypatch, tmp_path)
    for precision in ("float32", "bfloat16"):
        for cache in ("dynamic", "static"):
            name = f"GPT-2 4 × 128, {precision}, 2 rows: rollout / generate, {cache} cache"
            assert found[name]["value"] > 0
    for precision in ("float32", "autocast"):
        assert found[f"GPT-2 4 × 128, {precision}: PPO"]["unit"] == "tokens/s"
    recorded = [name for name in found if "not recorded" in name]
    assert [name for name in recorded if "float32" in name] == []  # GPT-2 has code of its own
    assert len(recorded) == 2 * 2
    assert not any("waits" in name or "memory" in name for name in found)


def test_an_interrupted_measurement_keeps_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def interrupted(setting: gpu.Setting, repeats: int) -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(gpu, "ppo_figures", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rehearsed(monkeypatch, tmp_path)
    (result,) = read_results(tmp_path)
    assert [one["name"] for one in result["figures"]] == [
        "GPT-2 4 × 128: steps of Adam, fused / foreach"
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_gpu_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit, match="2"):
        gpu.main()
    assert "no GPU" in capsys.readouterr().err


@pytest.mark.parametrize("name", gpu.NAMES[1:])
def test_the_models_have_the_sizes_they_are_called_by(name: str) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(gpu.config_of(name))
    millions = {"GPT-2 124M": 124.44, "Llama 135M": 134.52}[name]
    assert round(model.num_parameters() / 1e6, 2) == millions


# Growth


def test_what_grows_is_measured_once_and_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    small = growth.Shape(length=growth.PROMPT + 2, layers=1, width=8, heads=1, rows=2)
    wider = dataclasses.replace(small, vocab_size=100)
    monkeypatch.setattr(growth, "AXES", {"vocabulary": (small, wider)})
    monkeypatch.setattr(growth, "measure_peaks", lambda **clock: floor.Peaks(1e9, 1e9))
    monkeypatch.setattr(growth, "_measure_bytes_elsewhere", lambda: None)
    held = {"rollout": 2**20, "update": 2**21}
    monkeypatch.setattr(growth, "bytes_above", lambda shape: held)
    picture = tmp_path / "growth.png"
    options = ["--repeats", "1", "--output", str(tmp_path), "--picture", str(picture)]
    monkeypatch.setattr(sys, "argv", ["growth.py", *options])
    growth.main()
    (result,) = read_results(tmp_path)
    names = [one["name"] for one in result["figures"]]
    assert names[:2] == ["vocabulary 64: rollout", "vocabulary 64: rollout, memory"]
    assert len(names) == 2 * 2 * 2
    assert picture.exists()
    assert picture.with_stem("growth-dark").exists()
    monkeypatch.setattr(growth, "seconds", lambda *known: pytest.fail("measured again"))
    growth.main()


def test_growth_reaches_what_it_says() -> None:
    largest = {axis: growth.SIZE_OF[axis](shapes[-1]) for axis, shapes in growth.AXES.items()}
    assert largest == {
        "tokens of a text": 2048,
        "parameters": 134_479_872,
        "texts side by side": 4096,
        "vocabulary": 150_000,
    }


def test_a_token_costs_what_its_rollout_took_over_the_new_tokens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = growth.Shape(length=growth.PROMPT + 5, layers=1, width=8, heads=1, rows=2)
    peaks, rounds = floor.Peaks(1e9, 1e9), iter([(1.0, 2.0), (10.0, 30.0), (20.0, 40.0)])
    monkeypatch.setattr(growth, "_round", lambda agent: next(rounds))
    found = growth.seconds(shape, 2, peaks)
    assert (found["rollout"], found["update"]) == ([1.0, 2.0], [3.0, 4.0])
    monkeypatch.setattr(growth, "_round", lambda agent: (50.0, 60.0))
    found = growth.seconds(shape, 2, peaks)
    assert (found["rollout"], found["update"]) == ([5.0], [6.0])  # long enough, the first counts


# Updates


def test_supervised_training_learns_the_tokens_that_ppo_learns() -> None:
    case = update.gpt2_case(seed=0, n_episodes=64)
    with torch.no_grad():
        nll = update.negative_log_likelihood(case.agent.policy, case.experience)
    torch.testing.assert_close(nll, -case.experience.old_log_probs.sum())


def test_an_update_can_be_measured_again_and_again() -> None:
    case = update.gpt2_case(seed=0, n_episodes=64)
    timed = {"PPO update": update.ppo(case), "supervised training": update.supervised(case, 0)}
    samples = interleaved(timed, repeats=2)
    peaks = floor.Peaks(1e9, 1e9)
    assert len(update.figures(case, samples, peaks)) == 4


def test_allowed_growth_adds_what_attention_adds() -> None:
    samples = {
        "update, 16 tokens": [2.0],
        "attention, 16 tokens": [0.5],
        "update, 256 tokens": [3.0],
        "attention, 256 tokens": [1.5],
    }
    first, plain, *_ = cost_per_token.figures(samples, floor.Model.of(small_policy()))
    assert (first.value, first.holds) == (1.0, True)
    assert plain.value == 1.5


def test_arithmetic_grows_with_attention_alone() -> None:
    blind = floor.Model(weights=100, output=0, layers=0, width=8, keys=8, parameters=0)
    per_token = [(cost_per_token.PROMPT + n) / n for n in (16, 256)]
    assert cost_per_token.allowed_by_arithmetic(blind) == per_token[1] / per_token[0]


# Memory


@pytest.mark.skipif(not memory.CLEAR_REFS.exists(), reason="Linux tells the peak of a process")
def test_the_peak_of_a_piece_of_work_is_seen_though_it_is_freed() -> None:
    def work() -> None:
        with mmap.mmap(-1, 2**26) as pages:  # a tensor might get memory that was freed before
            for page in range(0, 2**26, mmap.PAGESIZE):
                pages[page] = 1

    assert memory.rise(work) == pytest.approx(2**26, rel=0.1)
    assert memory.rise(lambda: None) < 2**22


def test_saved_activations_grow_with_the_texts_and_hold_no_parameter() -> None:
    policy = small_policy()
    ids = torch.arange(40).view(8, 5) % 11
    mask = torch.ones_like(ids, dtype=torch.bool)
    four, eight = (
        memory.saved_for_backward(policy, TokenBatch(ids[:n], mask[:n], mask[:n])) for n in (4, 8)
    )
    assert eight == pytest.approx(2 * four, rel=0.02)
    state = 8 * 5 * 8 * 4  # one hidden state for every token, in bytes
    # At the least what products read: queries, keys and values, the MLP's input and its inside.
    assert 2 * 8 * state < eight < 2 * 40 * state


def test_the_budget_is_the_sum_of_its_parts() -> None:
    parts = dict.fromkeys(memory.PARTS, 2**20)
    first, *_ = memory.figures({"peaks": [11 * 2**19], "parts": parts, "logits": 2**22})
    assert (first.value, first.holds) == (1.1, True)


@pytest.mark.slow
@pytest.mark.skipif(not memory.CLEAR_REFS.exists(), reason="Linux tells the peak of a process")
def test_memory_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    output = run("memory", "--vocab-size", "500", "--repeats", "1", "--output", str(tmp_path))
    assert "peak of an update / what it needs" in output
    check_schema(read_results(tmp_path)[0])


# Whole PPO


def test_a_run_is_summarised_after_its_first_update() -> None:
    times = [10.0 + 0.5 * k for k in range(21)]
    summary = whole_ppo_trl.Run.of(times, [0.0] * 19 + [0.5, 1.0])
    assert summary.tokens_per_second == 64 * 16 / 0.5
    assert summary.final_score == 0.75


def test_ours_and_sb3_are_timed_on_the_same_toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy, "EPISODES", 4)
    monkeypatch.setattr(toy, "EPOCHS", 1)
    samples = whole_ppo_sb3.measure(16, repeats=1, seed=0)
    first, *_ = whole_ppo_sb3.figures(16, samples, floor.Peaks(1e9, 1e9))
    assert first.goal == whole_ppo_sb3.GOALS[16]
    assert first.value == samples["ours"][0] / samples["SB3's PPO"][0]


def test_two_halves_have_the_gradient_of_the_whole() -> None:
    policy, input_ids = toy.toy_policy(16, seed=0), alternatives.texts_of(16, seed=0)
    whole = alternatives.gradient(policy, input_ids)
    halves = alternatives.TwoThreads().gradient(policy, input_ids)
    for mine, expected in zip(halves, whole, strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-3, rtol=1e-4)  # of 1,024 tokens' sums
    assert sum(float(part.abs().sum()) for part in whole) > 0


@pytest.mark.parametrize(("compiler", "n_cores"), [(None, 2), ("g++", 1)])
def test_alternatives_are_tried_where_the_machine_can(
    compiler: str | None,
    n_cores: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(alternatives, "PASSES", {16: 1})
    monkeypatch.setattr(rollout, "ROWS", 4)
    monkeypatch.setattr(toy, "EPISODES", 4)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(alternatives.shutil, "which", lambda name: compiler)
    monkeypatch.setattr(alternatives, "cores", lambda: n_cores)
    options = ["--quick", "--repeats", "1", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["alternatives.py", *options])
    alternatives.main()
    result = json.loads((tmp_path / "alternatives.json").read_text(encoding="utf-8"))
    check_schema(result)
    found = {one["name"].split(": ")[-1] for one in result["figures"]}
    tried = {"compiled / as it is", "compiled", "as it is", "compiling"}
    others = {"halves / whole", "halves", "whole"}
    assert found == (others if compiler is None else tried)
    missing = "a C++ compiler" if compiler is None else "two cores"
    assert missing in capsys.readouterr().out
    assert [one["goal"] for one in result["figures"]] == [None] * len(result["figures"])


def test_an_update_is_counted_part_by_part() -> None:
    model = floor.Model.of(toy.toy_policy(16, seed=0))
    lengths = [16] * toy.EPISODES
    forward = floor.judging(model, toy.PROMPT, lengths, passes=1).flops
    assert toy.least_work(16).flops == (1 + 2 + 4 * 3) * forward


@pytest.mark.parametrize("name", [whole_ppo_trl.SHARED, whole_ppo_trl.SEPARATE])
def test_our_side_of_the_comparison_with_trl_runs(name: str) -> None:
    config = whole_ppo_trl.parity_config(minibatches=2, kl_coef=0.001, seed=0)
    ours = whole_ppo_trl.our_run(2, config, whole_ppo_trl.OURS[name])
    assert 0 <= ours.final_score < 0.5


def test_ours_is_compared_with_trl_run_by_run() -> None:
    run_of = whole_ppo_trl.Run
    runs = {
        whole_ppo_trl.SHARED: [run_of(12.0, 0.5), run_of(21.0, 0.5)],
        whole_ppo_trl.SEPARATE: [run_of(8.0, 0.25), run_of(12.0, 0.25)],
        whole_ppo_trl.TRL: [run_of(2.0, 0.5), run_of(3.0, 0.25)],
    }
    found = {one.name: one for one in whole_ppo_trl.figures(runs)}
    assert len(found) == 10
    fast, slow = (found[f"{name} / TRL's PPO"] for name in whole_ppo_trl.OURS)
    assert (fast.value, fast.holds, slow.value, slow.holds) == (6.5, True, 4.0, False)
    assert found[f"{whole_ppo_trl.SHARED} − TRL's PPO: final score"].value == 0.125


def fake_python(folder: Path, *lines: str) -> Path:
    path = folder / "python"
    path.write_text("\n".join(("#!/bin/sh", *lines, "")), encoding="utf-8")
    path.chmod(0o755)
    return path


def test_trl_is_told_the_task_and_answers_with_what_it_did(tmp_path: Path) -> None:
    report = {"times": [0.0, 1.0], "scores": [0.0, 0.25], "versions": {"trl": "1.12.0"}}
    python = fake_python(
        tmp_path,
        f'echo "$@" > {tmp_path}/arguments',
        "echo noise",
        f"echo '{json.dumps(report)}'",
    )
    config = whole_ppo_trl.parity_config(minibatches=4, kl_coef=0.5, seed=7)
    done, versions = whole_ppo_trl.trl_run(python, 2, config)
    assert done == whole_ppo_trl.Run(64 * 16 / 1.0, 0.25)
    assert versions == {"trl": "1.12.0"}
    told = (tmp_path / "arguments").read_text(encoding="utf-8")
    for option in ("--kl-coef 0.5", "--seed 7", "--minibatches 4", "--length 16", "--epochs 4"):
        assert option in told


def test_a_trl_that_fails_says_why(tmp_path: Path) -> None:
    python = fake_python(tmp_path, "echo broken >&2", "exit 1")
    config = whole_ppo_trl.parity_config(minibatches=1, kl_coef=0.5, seed=7)
    with pytest.raises(RuntimeError, match="broken"):
        whole_ppo_trl.trl_run(python, 2, config)


def test_without_trl_the_comparison_is_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["whole_ppo_trl.py"])
    whole_ppo_trl.main()
    assert "skipped" in capsys.readouterr().out


def test_trls_side_imports_nothing_of_this_project() -> None:
    tree = ast.parse((ROOT / "benchmarks" / "trl_ppo.py").read_text(encoding="utf-8"))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {name.partition(".")[0] for name in imported}.isdisjoint(
        {"agents", "text_gym", "benchmarks"}
    )


# The family


def test_every_learner_takes_a_round_on_a_toy_and_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(family, "TOYS", {"WordCount": "word count"})
    monkeypatch.setattr(sys, "argv", ["family.py", "--quick", "--output", str(tmp_path)])
    family.main()
    result = json.loads((tmp_path / "family.json").read_text(encoding="utf-8"))
    check_schema(result)
    shares = [one for one in result["figures"] if one["unit"] == "of the optimum"]
    assert [one["name"] for one in shares] == [f"word count: {one.name}" for one in family.LEARNERS]
    assert all(0.3 < one["value"] <= 1 and one["goal"] == 0.95 for one in shares)
    assert (tmp_path / "family.png").stat().st_size > 10_000
    assert "seed 0" in capsys.readouterr().out


def test_given_texts_are_learnt_from_on_a_toy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline_family, "TOYS", {"WordCount": "word count"})
    monkeypatch.setattr(sys, "argv", ["offline_family.py", "--quick", "--output", str(tmp_path)])
    offline_family.main()
    result = json.loads((tmp_path / "offline_family.json").read_text(encoding="utf-8"))
    check_schema(result)
    shares = {one["name"].split(": ")[1]: one["value"] for one in result["figures"][:5]}
    assert list(shares) == ["untrained", "best of 8", "best of 64", "SFT", "DPO"]
    untrained = shares.pop("untrained")
    assert all(untrained + 0.02 < share <= 1 for share in shares.values())


# Command lines


def run(script: str, *arguments: str) -> str:
    process = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_explains_itself(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"benchmarks.{script}").main()
    assert "usage:" in capsys.readouterr().out


def test_table_command_rewrites_the_page(tmp_path: Path) -> None:
    written(tmp_path / "results")
    page = tmp_path / "page.md"
    page.write_text(f"{table.BEGIN}{table.END}", encoding="utf-8")
    run("table", "--results", str(tmp_path / "results"), "--page", str(page))
    assert "ours / theirs" in page.read_text(encoding="utf-8")


def test_smollm2_is_skipped_where_it_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rollout, "_report", lambda *arguments: None)
    monkeypatch.setattr(rollout, "_report_groups", lambda *arguments: None)
    monkeypatch.setattr(sys, "argv", ["rollout.py", "--smollm2", str(tmp_path / "nowhere")])
    rollout.main()
    assert "SmolLM2 skipped" in capsys.readouterr().out


def test_a_model_folder_gives_fixed_and_ragged_cases(tmp_path: Path, bpe: Any) -> None:
    config = GPT2Config(
        vocab_size=len(bpe), n_positions=200, n_embd=8, n_layer=1, n_head=1,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    CausalLMPolicy.from_config(config).model.save_pretrained(tmp_path)
    bpe.save_pretrained(tmp_path)
    fixed, ragged = rollout.smollm2_cases(tmp_path, n_ragged=128)
    expected = rollout.ROWS * rollout.SMOLLM2_FIXED
    assert writers.collected(fixed, judged=False)() == expected
    assert writers.generated(fixed)() == expected
    assert writers.generated(ragged)() < 128 * rollout.LIMIT


def test_simulated_people_are_right_three_times_of_four() -> None:
    gaps = np.random.default_rng(0).uniform(0.1, 1.5, 4000)
    pairs = [reward_model.Pair("?", ("a", "b"), (0.0, float(gap))) for gap in gaps]
    for manner in (Manner(skill=reward_model.skill_of(pairs)), Manner(accuracy=0.75)):
        answers = reward_model.said(pairs, manner, seed=0)
        assert reward_model.worth_chosen(pairs, answers) == pytest.approx(0.75, abs=0.02)
        sides = [answer.side == ("right" if answer.chosen == "b" else "left") for answer in answers]
        assert all(sides)


def test_replies_of_equal_worth_are_not_compared() -> None:
    replies = [("?", ["good", "great", "a table", "a chair"]), ("!", ["a table", "a chair"])]
    pairs = reward_model.pairs_of(replies, 9, seed=0)
    assert len(pairs) == 5
    assert {pair.prompt for pair in pairs} == {"?"}
    assert len(reward_model.pairs_of(replies, 2, seed=0)) == 2


def test_what_length_explains_is_held_fixed() -> None:
    # By hand: 0.8, -0.8 and -0.4 give (0.8 - 0.32)/√(0.36·0.84).
    rest = human_ratings.partial_correlation([1, 2, 3, 4], [1, 3, 2, 4], [4, 3, 1, 2])
    assert rest == pytest.approx(0.8729, abs=1e-4)
