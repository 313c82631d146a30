"""`python -m agents.evaluate`: what models are asked, what they write, and what the report says."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.applications.toy_policy import toy_policy
from agents.evaluation.comparison import Comparison
from agents.evaluation.perplexity import perplexity
from agents.policy.token_batch import TokenBatch
from agents.reward_models.reward_model import RewardModel
from agents.reward_models.training import load_network, reader_of
from agents.runs import evaluating
from agents.runs.blind_study import win_rates_by_people
from agents.runs.comparison_task import agreed
from agents.runs.evaluating_options import Evaluating
from agents.runs.offline_presets import SFTRun
from agents.runs.saved_config import described
from agents.supervised.from_scratch import new_gpt2, train_tokenizer
from tests.report_figures import missing_figures
from tests.test_comparison import BASE, ONE, TWO
from text_gym.feedback import (
    Annotator,
    BothBad,
    Judgement,
    Preferred,
    Skip,
    Store,
    StudyConfig,
    Tie,
    create_study,
    open_study,
)

PROMPTS = [f"Count: {number}" for number in range(6)]


def new_model(folder: Path, seed: int, vocabulary: int = 270) -> str:
    """Writes an untrained model with a tokenizer of bytes and a few words."""
    tokenizer = train_tokenizer(["Count: 1 2 3 4 5 6 7 8 9"] * 9, vocabulary)
    sizes = {"n_positions": 64, "n_embd": 16, "n_layer": 1, "n_head": 2}
    new_gpt2(tokenizer, **sizes, dropout=0.0, seed=seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("models")
    return [new_model(folder / name, seed) for seed, name in enumerate(("base", "tuned"))]


def asked(models: Sequence[str], folder: Path, **changes: Any) -> Evaluating:
    prompts = folder / "prompts.jsonl"
    rows = [{"prompt": text, "reference": "5 6 7 8"} for text in PROMPTS]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options: dict[str, Any] = {
        "models": tuple(models),
        "prompts": str(prompts),
        "reward": "word_count",
        "kl_coef": 0.1,
        "eval_episodes": 8,
        "max_new_tokens": 4,
        "output": folder / "report",
        "device": "cpu",
        "threads": 1,
    }
    return Evaluating(**{**options, **changes})


@pytest.fixture(scope="module")
def everything(
    models: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Comparison]:
    """A comparison with all that can be asked for."""
    folder = tmp_path_factory.mktemp("everything")
    config = asked(
        models,
        folder,
        best_of=3,
        optimum_texts=4,
        independent=models[1],
        proxy="sentiment",
        study=folder / "study",
    )
    return folder, evaluating.run(config)


def test_everybody_replies_to_the_same_prompts_in_the_same_order(
    everything: tuple[Path, Comparison],
) -> None:
    base, tuned, best = everything[1].evaluated.values()
    assert list(base.prompts) == list(tuned.prompts) == list(best.prompts)
    assert set(base.prompts) == set(PROMPTS)
    assert list(base.completions) != list(tuned.completions)


def test_the_best_of_several_is_no_worse_and_pays_its_kl(
    everything: tuple[Path, Comparison],
) -> None:
    figures = everything[1].figures
    base, _, best = figures.values()
    assert best["reward"] >= base["reward"]
    assert best["kl"] == pytest.approx(math.log(3) - 2 / 3)
    assert base["kl"] == 0


def test_the_report_shows_what_its_json_holds(everything: tuple[Path, Comparison]) -> None:
    folder, found = everything
    assert missing_figures(folder / "report") == []
    report = json.loads((folder / "report" / "report.json").read_text("utf-8"))
    titles = [section["title"] for section in report["sections"]]
    assert titles == [
        "What was compared",
        "What each is worth",
        "Who is better",
        "How they write",
        "Side by side",
    ]
    policies = report["figures"]["policies"]
    assert list(policies) == list(found.evaluated)
    for name, one in policies.items():
        assert one["reward"] == found.figures[name]["reward"]
        assert one["regret"]["mean"] == found.regrets[name].mean
        assert one["rouge_l"] == found.figures[name]["rouge_l"]
        assert one["independent_perplexity"] > 1
        mean = found.other_rewards["proxy sentiment"][name].mean
        assert one["other_rewards"]["proxy sentiment"]["mean"] == mean
    assert policies["best of 3"]["cost"]["texts_per_reply"] == 3


def test_the_same_seed_gives_the_same_report(models: list[str], tmp_path: Path) -> None:
    for name in ("one", "two"):
        evaluating.run(asked(models, tmp_path, output=tmp_path / name))
    for file in ("report.html", "report.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_models_of_different_vocabularies_have_no_kl(models: list[str], tmp_path: Path) -> None:
    foreign = new_model(tmp_path / "foreign", 0, vocabulary=264)
    figures = evaluating.run(asked([models[0], foreign], tmp_path)).figures["foreign"]
    assert math.isnan(figures["kl"])
    assert math.isnan(figures["perplexity"])
    assert math.isfinite(figures["reward"])
    assert missing_figures(tmp_path / "report") == []


def test_perplexity_by_hand() -> None:
    """Two words of probability 0.8/32 and the end, 0.2."""
    texts = TokenBatch(
        torch.tensor([[1, 2, 3, 32]]),
        torch.ones(1, 4, dtype=torch.bool),
        torch.tensor([[False, True, True, True]]),
    )
    policy = toy_policy(33, 32, length=8, eos_probability=0.2)
    expected = (0.025 * 0.025 * 0.2) ** (-1 / 3)
    assert perplexity(policy, texts) == pytest.approx(expected, rel=1e-4)


# What models are asked


def finished_run(folder: Path, **changes: Any) -> Path:
    """Writes what a finished SFT run leaves of itself."""
    config = SFTRun(model="small-talk", data=Path("pairs.jsonl"), **changes)
    folder.mkdir(parents=True)
    text = json.dumps(described("sft", config), default=str)
    (folder / "config.json").write_text(text, encoding="utf-8")
    summary = {"episodes": 640, "seconds": 12.5}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def test_a_run_is_its_policy_with_its_manner_and_its_cost(
    models: list[str], tmp_path: Path
) -> None:
    run = finished_run(tmp_path / "run", prompt_template="<{prompt}>")
    new_model(run / "policy", 1)
    found = evaluating.run(asked([models[0], str(run)], tmp_path))
    assert found.evaluated["run"].completions != found.evaluated["base"].completions
    report = json.loads((tmp_path / "report" / "report.json").read_text("utf-8"))
    cost = report["figures"]["policies"]["run"]["cost"]
    assert cost == {"learner": "sft", "episodes": 640, "seconds": 12.5, "texts_per_reply": 1}


def test_what_runs_do_not_agree_on_must_be_said(tmp_path: Path) -> None:
    runs = [
        str(finished_run(tmp_path / template, prompt_template=f"{template} {{prompt}}"))
        for template in ("a", "b")
    ]
    with pytest.raises(ValueError, match=r"prompt_template must be given where runs do not agree"):
        evaluating.run(asked(runs, tmp_path))


def test_what_no_run_says_must_be_said(models: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"reward must be given where no run among the models"):
        evaluating.run(asked(models, tmp_path, reward=None))
    with pytest.raises(ValueError, match=r"kl_coef must be above 0 for an optimum, got None"):
        evaluating.run(asked(models, tmp_path, kl_coef=None, optimum_texts=4))


def test_an_untrained_policy_has_no_vocabulary_to_be_compared_in(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="model must be trained, got 'toy'"):
        evaluating.run(asked(["toy"], tmp_path))


def test_what_is_agreed() -> None:
    assert agreed("reward", {}) is None
    assert agreed("kl_coef", {"a": 0.0, "b": 0.0}) == 0.0


def test_a_reward_that_is_neither_a_name_nor_a_folder(models: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"reward must be one of .*'sentiment'.* got 'joy'"):
        evaluating.run(asked(models, tmp_path, reward="joy"))


def test_a_reward_model_is_a_reward_and_a_proxy(models: list[str], tmp_path: Path) -> None:
    network, tokenizer = load_network(models[0])
    learnt = RewardModel(network, reader_of(network, tokenizer, "{prompt}\n"))
    learnt.save(tmp_path / "learnt")
    name = str(tmp_path / "learnt")
    found = evaluating.run(asked(models, tmp_path, reward=name, proxy=name))
    one = found.evaluated["tuned"]
    expected = learnt.score(one.prompts, one.completions)
    assert one.scores == pytest.approx(expected, rel=1e-5)
    mean = found.other_rewards[f"proxy {name}"]["tuned"].mean
    assert mean == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"models": ()}, "models must be one or more, all different"),
        ({"models": ("a", "a")}, "models must be one or more, all different"),
        ({"eval_episodes": 1}, "eval_episodes must be at least 2, got 1"),
        ({"best_of": 1}, "best_of must be at least 2, got 1"),
        ({"optimum_texts": 0}, "optimum_texts must be at least 2, got 0"),
    ],
)
def test_options_that_make_no_sense(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Evaluating(**{"models": ("a",), **changes})


def test_the_reference_comes_first() -> None:
    assert list(Evaluating(models=("a", "b")).named) == ["a", "b"]
    assert list(Evaluating(models=("a", "b"), reference="b").named) == ["b", "a"]
    assert list(Evaluating(models=("a",), reference="b").named) == ["b", "a"]


def test_folders_are_called_by_their_last_part_unless_two_have_the_same(tmp_path: Path) -> None:
    one, other, same = (str(tmp_path / path) for path in ("x/one", "x/other", "y/one"))
    for path in (one, other, same):
        Path(path).mkdir(parents=True)
    assert Evaluating(models=("hub/id", one, other)).named == {
        "hub/id": "hub/id",
        "one": one,
        "other": other,
    }
    assert list(Evaluating(models=(one, same)).named) == [one, same]


# People

EVALUATED = {"base": BASE, "one": ONE, "two": TWO}


def answer(store: Store, *answers: Any) -> None:
    """Lets somebody answer about items in their order."""
    who = Annotator(*[f"ann {len(store.annotators.all())}"] * 2)
    store.annotators.register(who)
    for number, (item, said) in enumerate(zip(store.items.all(), answers, strict=False)):
        row = Judgement(f"{who.id}-{number}", who.id, item.id, (0, 1), said, 1.0, 2.0, 1)
        store.judgements.add(row)


def test_a_study_is_blind_and_asks_only_where_replies_differ(tmp_path: Path) -> None:
    assert win_rates_by_people(tmp_path / "s", EVALUATED) == {}
    with open_study(tmp_path / "s").open() as store:
        items = store.items.all()
    # The third reply of "two" is the same as that of the base.
    pairs = [tuple(one.source for one in item.completions) for item in items]
    assert pairs == [("base", "one")] * 3 + [("base", "two")] * 2
    assert items[0].prompt == "prompt 0"


def test_what_people_said_is_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    win_rates_by_people(folder, EVALUATED)
    with open_study(folder).open() as store:
        answer(store, Preferred(1), Preferred(0), Tie(), BothBad(), Skip())
        answer(store, Preferred(1), Preferred(1))
    rates = win_rates_by_people(folder, EVALUATED)
    # Of "one": 1, the mean of 0 and 1, and a tie; of "two": a tie, and nothing.
    assert rates["one"].value == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert rates["two"].value == 0.5
    assert rates["two"].high - rates["two"].low > 0.7, "of one item not much is known"


def test_a_study_that_compares_nothing_is_refused(tmp_path: Path) -> None:
    create_study(tmp_path / "s", StudyConfig(mode="correct"), [])
    with pytest.raises(ValueError, match="study must be one of mode compare, got correct"):
        win_rates_by_people(tmp_path / "s", EVALUATED)


def test_people_are_in_the_report(
    everything: tuple[Path, Comparison], models: list[str], tmp_path: Path
) -> None:
    folder, found = everything
    with open_study(folder / "study").open() as store:
        answer(store, Preferred(1))
    config = asked(models, folder, study=folder / "study", output=tmp_path)
    again = evaluating.run(dataclasses.replace(config, best_of=3))
    assert again.evaluated == found.evaluated
    assert again.win_rates["people"]["tuned"].value == 1
    assert "Win rate by people" in (tmp_path / "report.html").read_text("utf-8")
