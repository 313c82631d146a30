"""What training changed: numbers by hand, tokens in colour, and the inspection of a run."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.applications.fine_tuning import with_algorithm
from agents.applications.registry import PRESETS
from agents.applications.toy_policy import toy_policy
from agents.evaluation.comparison import compare
from agents.evaluation.metrics import Evaluation
from agents.inspection.credit import token_numbers
from agents.inspection.explained_gain import Explanation, Part, explain_gain
from agents.inspection.replies import explained
from agents.inspection.sections import (
    TokenShift,
    gain_section,
    monitor_section,
    shift_section,
    token_section,
    wording_section,
)
from agents.inspection.token_block import Reply, TokensInColour
from agents.inspection.token_shifts import token_shifts
from agents.inspection.wording import Shift, phrases, shifts
from agents.monitoring.monitor import Look
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.reports import Section, write_report
from agents.runs import inspecting
from agents.runs.comparison_figures import Circumstances, Cost
from agents.runs.comparison_report import comparison_sections
from agents.runs.console import run_console
from agents.runs.inspecting_options import Inspecting
from agents.runs.pipeline import run
from agents.runs.saved_config import read_config
from text_gym import Episode
from text_gym.rewards import Keyword, WordCount

# Words


def test_phrases_are_words_and_rows_of_up_to_three() -> None:
    assert phrases("A b, A b c") == {"a", "b", "c", "a b", "b a", "b c", "a b a", "b a b", "a b c"}
    assert phrases("") == set()


def test_shifts_are_log_odds_with_an_informative_prior() -> None:
    before, after = ["no"] * 8 + ["yes"] * 2, ["no"] * 2 + ["yes yes"] * 8
    found = {one.phrase: one for one in shifts(before, after)}
    yes = found["yes"]
    assert (yes.before, yes.after) == (2, 8)  # however often a reply has it
    # Half of all replies have it, so the prior's ten are five and five.
    assert yes.log_odds == pytest.approx(math.log(13 / 7) - math.log(7 / 13))
    # Three phrases are compared ("yes", "no", "yes yes"): z at 1 - 0.05 / 6 is 2.39398.
    assert yes.half_width == pytest.approx(2.39398 * math.sqrt(1 / 7 + 1 / 13), rel=1e-5)
    assert found["no"].log_odds == pytest.approx(-yes.log_odds)


def test_shifts_are_ordered_by_how_sure_they_are_and_rare_phrases_are_left_out() -> None:
    before = ["a b"] * 50 + ["c"] * 50 + ["rare"] * 4
    after = ["a b"] * 10 + ["c"] * 90 + ["a"] * 4
    found = shifts(before, after)
    assert [one.phrase for one in found][-1] == "c"
    assert {one.phrase for one in found} == {"a", "b", "a b", "c"}
    assert found[0].log_odds < 0 < found[-1].log_odds
    with pytest.raises(ValueError, match="must be texts, got 0 and 1"):
        shifts([], ["a"])


def test_texts_from_one_source_shift_nothing_but_once_in_twenty() -> None:
    random = np.random.default_rng(0)
    words = np.array(list("abcdefghij"))

    def texts() -> list[str]:
        return [" ".join(random.choice(words, 6)) for _ in range(60)]

    wrong = [any(one.is_certain for one in shifts(texts(), texts())) for _ in range(60)]
    assert np.mean(wrong) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 60)


def test_a_phrase_that_every_reply_has_has_not_shifted() -> None:
    (one,) = shifts(["so"] * 6, ["so"] * 6)
    assert (one.log_odds, one.is_certain) == (0.0, False)


# What the gain went along with


def test_a_gain_is_divided_among_what_changed() -> None:
    random = np.random.default_rng(0)
    length, phrase = random.normal(2, 1, 400), random.integers(0, 2, 400).astype(float)
    gains = 0.5 + 0.25 * length + 3 * phrase + random.normal(0, 0.01, 400)
    changes = {"length": length.tolist(), "phrase": phrase.tolist(), "never": [0.0] * 400}
    found = explain_gain(gains.tolist(), changes)
    assert [part.name for part in found.parts] == ["length", "phrase"]
    for part, slope in zip(found.parts, (0.25, 3.0), strict=True):
        assert part.slope == pytest.approx(slope, abs=0.01)
        assert part.carried == pytest.approx(part.slope * part.change)
        assert abs(part.carried - slope * part.change) < 2 * part.half_width
    assert found.rest == pytest.approx(0.5, abs=0.01)
    assert found.rest + sum(part.carried for part in found.parts) == pytest.approx(found.gain)
    assert found.r_squared > 0.99


def test_intervals_of_the_parts_hold_their_level() -> None:
    random = np.random.default_rng(1)

    def misses() -> bool:
        change = random.normal(1, 1, 30)
        noise = random.standard_normal(30) * (0.5 + np.abs(change))  # of unequal variance
        (part,) = explain_gain((2 * change + noise).tolist(), {"x": change.tolist()}).parts
        return abs(part.slope - 2.0) * abs(part.change) > part.half_width

    share = np.mean([misses() for _ in range(400)])
    assert 0.02 < share < 0.09


def test_a_gain_needs_more_texts_than_things_that_changed() -> None:
    with pytest.raises(ValueError, match="gains must be of 4 texts or more for 1 changes, got 3"):
        explain_gain([1, 2, 3], {"x": [1, 2, 3]})


def replies(*, polite: bool) -> Evaluation:
    """Sixty replies, which may say thanks; each word pays 1, and thanks pay 5."""
    random = np.random.default_rng(int(polite))
    thanks = [polite and row % 3 > 0 for row in range(60)]
    words = [" ".join(random.choice(list("abcdefghij"), random.integers(1, 8))) for _ in thanks]
    texts = [f"{text}{' many thanks' * thank}" for text, thank in zip(words, thanks, strict=True)]
    lengths = [len(text.split()) for text in texts]
    scores = [length + 3.0 * thank for length, thank in zip(lengths, thanks, strict=True)]
    zeros = [0.0] * 60
    return Evaluation(["Hi"] * 60, texts, [None] * 60, scores, lengths, zeros, zeros, 0.1)


def test_a_gain_that_a_phrase_brought_is_said_to_have_come_with_it() -> None:
    found = explained(replies(polite=False), replies(polite=True))
    parts = {part.name: part for part in found.parts}
    phrase = next(name for name in parts if "thanks" in name)
    assert parts[phrase].slope == pytest.approx(3.0, abs=0.05)
    assert parts["length (tokens)"].slope == pytest.approx(1.0, abs=0.05)
    assert found.rest == pytest.approx(0.0, abs=0.05)
    assert sum("“" in name for name in parts) == 1  # "many" and "many thanks" share its words


def test_a_comparison_tells_what_changed_where_there_are_texts_enough() -> None:
    found = compare({"base": replies(polite=False), "tuned": replies(polite=True)})
    how = Circumstances([], {"base": Cost(), "tuned": Cost()})
    sections = {one.title: one.blocks for one in comparison_sections(found, how)}
    shown = "".join(map(str, (block.html() for block in sections["What changed"])))
    assert "tuned, beside base" in shown
    assert "many thanks" in shown
    few = {name: first(one, 12) for name, one in found.evaluated.items()}
    told = comparison_sections(compare(few), how)
    assert "What changed" not in [section.title for section in told]


def first(evaluation: Evaluation, n: int) -> Evaluation:
    parts = {name: part[:n] for name, part in vars(evaluation).items() if isinstance(part, list)}
    return dataclasses.replace(evaluation, **parts)


# Tokens


def toy_agent(**options: Any) -> PPO:
    envs = gym.make_vec("TextGen-v0", num_envs=8, max_new_tokens=6, autoreset_mode="Disabled")
    policy = toy_policy(33, 32, length=12, eos_probability=0.2)
    settings = {"n_episodes": 8, "batch_size": 8, "kl_coef": 0.5, **options}
    agent = PPO(policy, envs, PPOConfig(**settings))
    with torch.no_grad():  # so that it is not its reference any more
        agent.policy.head.weight[32] *= 0.5
    agent.n_updates = 1
    return agent


def test_token_numbers_are_what_the_algorithm_would_learn_from() -> None:
    agent = toy_agent(gae_lambda=1.0, normalize_advantage=False)
    rollout = agent.collect()
    old, ref_log_probs = agent.forward(rollout.texts)
    experience, _ = agent.estimate(rollout, old, ref_log_probs)
    found = token_numbers(agent, rollout, WordCount(), most=3)
    assert len(found) == 3
    for row, numbers in enumerate(found):
        mask = rollout.texts.completion_mask[row]
        assert set(numbers) == {"log-ratio", "value", "advantage", "reward share"}
        assert numbers["advantage"] == experience.advantages[row][mask].tolist()
        ratios = (old.log_probs - ref_log_probs)[row][mask].tolist()
        assert numbers["log-ratio"] == ratios
        # λ = 1 and values of 0: what is still to come, the KL that is to be paid included.
        to_come = rollout.scores[row].item() - 0.5 * sum(ratios)
        assert numbers["advantage"][0] == pytest.approx(to_come, abs=1e-5)


def test_reward_shares_are_by_leaving_one_token_out() -> None:
    agent = toy_agent()
    rollout = agent.collect()
    (numbers,) = token_numbers(agent, rollout, WordCount(), most=1)
    episode = rollout.infos[0]["text_episode"]
    words = [str(episode.decode(np.array([token]))) for token in episode.completion_ids]
    assert numbers["reward share"] == [float(word.isalpha()) for word in words]


def test_shares_see_what_tokens_do_together() -> None:
    from agents.inspection.credit import reward_shares

    episode = Episode.from_text("", "ab b")
    (share,) = reward_shares([episode], Keyword(["ab", "b"], mode="count"))
    assert share.tolist() == [0.0, 1.0, 2.0, 1.0]  # "b b", "a b", "abb", "ab "


def test_token_shifts_are_expected_counts() -> None:
    agent = toy_agent()
    texts = agent.collect().texts
    found = token_shifts(agent.policy, agent.reference, texts)
    n_tokens = texts.completion_mask.sum().item() / len(texts.input_ids)
    assert found.before[32] == pytest.approx(0.2 * n_tokens, rel=1e-4)
    assert found.more.sum() == pytest.approx(0.0, abs=1e-5)  # what is written is a token
    assert found.more[32] < -found.half_width[32] < 0
    one_by_one = agent.policy.distributions(texts).exp().sum(dim=0) / len(texts.input_ids)
    np.testing.assert_allclose(found.before + found.more, one_by_one.detach(), atol=1e-5)


# The block


def block(*pieces: str) -> TokensInColour:
    numbers = {"log-ratio": [0.5] * len(pieces), "value": [-1.0] * len(pieces)}
    return TokensInColour(
        {"log-ratio": "how much likelier", "value": "what is expected"},
        [Reply("Say <b>", 1.5, pieces, numbers)],
    )


def test_tokens_are_shown_escaped_with_their_numbers() -> None:
    page = str(block("<i>", " you", "", "\x1b").html())
    assert "<i>&" not in page
    assert "&lt;i&gt;" in page
    assert "\x1b" not in page
    assert "∅" in page
    assert page.count('class="tip"') == 4
    assert page.count("<i>log-ratio</i> +0.5") == 4
    assert "reward +1.5" in page
    assert re.findall(r'id="token-by-(\d)"( checked)?', page) == [("0", " checked"), ("1", "")]


def inspected(text: str) -> list[Section]:
    """Every section of an inspection, in which every text is the same."""
    numbers = {"log-ratio": [-0.5, 0.0, 0.5], "reward share": [1.0, math.nan, -1.0]}
    looks = [Look(n, 8 * n, n, 0.1, -n, 0.1, 0.5, -n)._asdict() for n in range(3)]
    parts = [Part(text, 1.0, 0.5, 0.5, 0.1)]
    return [
        gain_section(Explanation(0.7, parts, 0.2, 0.1, 0.5)),
        token_section([Reply(text, 1.0, [text, "", "\n"], numbers)] * 3),
        wording_section([Shift(text, 9, 1, -2.0, 1.0), Shift(text, 1, 9, 2.0, 1.0)], 10, 10),
        shift_section([TokenShift(text, 0.5, 0.5, 0.1), TokenShift(text, 0.5, -0.5, 0.1)]),
        monitor_section({"measure": text, "best_update": 0, "parted_at_update": 2, "looks": looks}),
    ]


def test_an_inspection_is_told_whole_and_every_figure_is_in_its_json(tmp_path: Path) -> None:
    write_report(tmp_path, "What changed", inspected("<b>"), {})
    page, data = ((tmp_path / f"report.{kind}").read_text() for kind in ("html", "json"))
    assert "<b>&" not in page.replace("<b>log-ratio", "").replace("<b>reward share", "")
    assert "From update 2 on" in page
    for found in ("90.0 %", "2.00", "±", "0.700", "+0.5"):
        assert found in page
    kinds = [
        block["kind"] for section in json.loads(data)["sections"] for block in section["blocks"]
    ]
    assert kinds.count("Table") == 5
    assert kinds.count("Curves") == 2


def test_all_replies_share_one_scale() -> None:
    small, large = (Reply("", 0.0, ["x"], {"value": [value]}) for value in (1.0, 4.0))
    page = str(TokensInColour({"value": "worth"}, [small, large]).html())
    assert re.findall(r'style="--c0:var\((\S+)\)"', page) == ["--plus-2", "--plus-8"]


def test_replies_without_a_number_for_each_token_are_refused() -> None:
    reply = Reply("", 0.0, ["a", "b"], {"value": [1.0]})
    with pytest.raises(ValueError, match="must have numbers for each of their tokens"):
        TokensInColour({"value": "worth"}, [reply])


# A run


def finished(folder: Path, algorithm: str, **changes: Any) -> Path:
    config = with_algorithm(PRESETS["toy"][1], algorithm)
    sizes = {"total_episodes": 128, "eval_episodes": 8, "threads": 1, "name": algorithm}
    return run("toy", dataclasses.replace(config, output=folder, **{**sizes, **changes}))


@pytest.mark.parametrize("algorithm", ["ppo", "rloo", "trajectory-balance", "acer"])
def test_a_run_of_any_algorithm_is_inspected(algorithm: str, tmp_path: Path) -> None:
    monitored = {"monitor": "variety"} if algorithm == "ppo" else {}
    folder = finished(tmp_path, algorithm, **monitored)
    page = inspecting.run(Inspecting(run=folder, texts=32, shown=3, threads=1))
    assert page == folder / "inspection" / "report.html"
    report = json.loads((folder / "inspection" / "report.json").read_text())
    titles = [section["title"] for section in report["sections"]]
    told = ["Before and after", "What the reward went up with", "Token by token"]
    told += ["Words and phrases", "Tokens"] + ["The monitor"] * bool(monitored)
    assert titles == told
    (tokens,) = (one for one in report["sections"][2]["blocks"] if one["kind"] == "TokensInColour")
    lacks = {"rloo": {"value"}, "trajectory-balance": {"value"}, "acer": {"value", "advantage"}}
    known = {"log-ratio", "value", "advantage", "reward share"} - lacks.get(algorithm, set())
    assert set(tokens["meanings"]) == known
    assert len(tokens["replies"]) == 3
    assert report["figures"]["before"]["kl"] == 0.0
    assert report["figures"]["after"]["kl"] != 0.0
    assert page.stat().st_size < 2_000_000


def test_adapters_and_a_selected_moment_are_inspected_as_the_run_saved_them(tmp_path: Path) -> None:
    adapted = {"policy": PolicyConfig(lora_rank=2), "select_by": "reward", "monitor_every": 1}
    folder = finished(tmp_path, "ppo", **adapted)
    loaded = inspecting._load(
        folder, read_config(folder).config, torch.device("cpu"), 16, run_console(quiet=True)
    )
    saved = CausalLMPolicy.from_pretrained(folder / "policy")
    texts = loaded.agent.collect().texts
    assert torch.equal(loaded.agent.policy(texts).log_probs, saved(texts).log_probs)
    start = toy_policy(33, 32, length=24, eos_probability=0.2)
    assert torch.equal(loaded.agent.reference(texts).log_probs, start(texts).log_probs)


def test_an_inspection_says_the_same_twice_and_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    folder = finished(tmp_path, "ppo")
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    options = Inspecting(run=folder, texts=16, shown=2, threads=1)
    first, second = (inspecting.run(options).read_bytes() for _ in range(2))
    assert first == second
    assert all(path.read_bytes() == content for path, content in files.items())


def test_a_run_that_cannot_be_inspected_is_refused(tmp_path: Path) -> None:
    folder = finished(tmp_path, "ppo")
    (folder / "policy").rename(folder / "moved")
    with pytest.raises(FileNotFoundError, match=r"finish it by python -m agents\.resume"):
        inspecting.run(Inspecting(run=folder, threads=1))
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"learner": "dpo"}))
    with pytest.raises(ValueError, match="run must be one that learnt from a reward"):
        inspecting.run(Inspecting(run=folder, threads=1))


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="texts must be at least 16, got 8"):
        Inspecting(run=Path("runs"), texts=8)
    with pytest.raises(ValueError, match="shown must be from 1 to texts=16, got 17"):
        Inspecting(run=Path("runs"), texts=16, shown=17)


def test_the_command_shows_help_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "agents.inspect", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "finished run" in done.stdout
    assert " torch\n" not in done.stderr
