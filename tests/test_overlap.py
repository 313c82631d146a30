"""BLEU, chrF and ROUGE are those of the command lines of sacrebleu and rouge-score."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from agents.evaluation.metrics import Evaluation, figures_of
from agents.evaluation.overlap import OVERLAP, SELF_BLEU_TEXTS
from text_gym.metrics import bleu, chrf, rouge, self_bleu
from text_gym.metrics.overlap import Rouge

COMPLETIONS = [
    "I am fine, thank you!",
    "The weather is rather good today, isn't it?",
    "No.",
    "",
    "I'd like to go swimming with my brothers and sisters.",
    "Straßenbahn fährt um 10:30 Uhr — 3.50 €",
    "   so   many    spaces ",
]
REFERENCES = [
    "I am well, thank you.",
    "The weather is good today.",
    "No, I do not think so.",
    "Nothing to say",
    "I would like to swim with my sisters.",
    "Die Straßenbahn fährt um 10:30 Uhr, 3,50 €",
    "so few spaces",
]
WIDTH = 10
"""Digits after the point that sacrebleu is asked for."""


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """The texts as the command lines read them: one a line."""
    paths = tmp_path / "completions.txt", tmp_path / "references.txt"
    for path, texts in zip(paths, (COMPLETIONS, REFERENCES), strict=True):
        path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return str(paths[0]), str(paths[1])


@pytest.mark.parametrize(("name", "ours"), [("bleu", bleu), ("chrf", chrf)])
def test_what_sacrebleu_prints(name: str, ours: object, files: tuple[str, str]) -> None:
    written, expected = files
    options = ["-i", written, "-m", name, "-w", str(WIDTH)]
    said = json.loads(run("sacrebleu", expected, *options))
    assert callable(ours)
    assert round(ours(COMPLETIONS, REFERENCES), WIDTH) == said["score"]


def test_what_rouge_score_writes(files: tuple[str, str], tmp_path: Path) -> None:
    written, expected = files
    output = tmp_path / "scores.csv"
    run(
        "rouge_score.rouge",
        f"--target_filepattern={expected}",
        f"--prediction_filepattern={written}",
        f"--output_filename={output}",
        "--aggregate=false",
    )
    with output.open(encoding="utf-8") as file:
        said = list(csv.DictReader(file))
    kinds: tuple[Rouge, ...] = ("rouge1", "rouge2", "rougeL")
    for kind in kinds:
        ours = rouge(COMPLETIONS, REFERENCES, kind)
        assert [f"{one:f}" for one in ours] == [row[f"{kind}-F"] for row in said]


def run(module: str, *arguments: str) -> str:
    """Runs `python -m MODULE` and returns what it prints."""
    command = [sys.executable, "-m", module, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return ended.stdout


def test_numbers_by_hand() -> None:
    """Of 6 words 5 match, of 5 pairs 3, of 4 triples 2, of 3 quadruples 1; nothing is short."""
    pair = ["the cat sat on a mat"], ["the cat sat on the mat"]
    precisions = 5 / 6 * 3 / 5 * 2 / 4 * 1 / 3
    assert bleu(*pair) == pytest.approx(100 * precisions**0.25)
    assert rouge(*pair, "rouge1") == pytest.approx([5 / 6])
    assert rouge(*pair, "rouge2") == pytest.approx([3 / 5])
    assert rouge(*pair, "rougeL") == pytest.approx([5 / 6])


def test_self_bleu_is_of_each_text_against_all_others() -> None:
    texts = ["a b c d e", "a b c d f", "v w x y z"]
    # 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 quadruples, in two of the three texts.
    precisions = 8 / 15 * 6 / 12 * 4 / 9 * 2 / 6
    assert self_bleu(texts) == pytest.approx(100 * precisions**0.25)


@pytest.mark.parametrize("metric", [bleu, chrf, rouge])
def test_every_text_has_its_reference(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="references must be one for each completion, got 1 for 2"):
        metric(["a", "b"], ["a"])


def test_one_text_has_no_others() -> None:
    with pytest.raises(ValueError, match="texts must be at least two, got 1"):
        self_bleu(["a"])


@pytest.mark.parametrize("library", ["sacrebleu", "rouge_score"])
def test_a_missing_library_names_its_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'text-gym\[evaluation\]'"):
        (bleu if library == "sacrebleu" else rouge)(["a"], ["a"])


def written(completions: list[str], references: list[str | None]) -> Evaluation:
    n = len(completions)
    said = {"scores": [0.0] * n, "lengths": [1] * n, "log_ratios": [0.0] * n}
    return Evaluation(["p"] * n, completions, references, **said, ref_log_probs=[-1.0] * n)


def test_overlap_is_of_the_texts_whose_prompts_have_an_answer() -> None:
    one = written(["a b c d", "x", "e f g h"], ["a b c d", None, "e f g h"])
    figures = figures_of(one, OVERLAP)
    assert figures["bleu"] == pytest.approx(100)
    assert figures["rouge_2"] == 1
    assert figures["rouge_2_half_width"] == 0
    without = figures_of(written(["a"], [None]), OVERLAP)
    assert without.keys() == {"distinct_1", "distinct_3"}


def test_self_bleu_is_of_equally_many_texts_or_missing() -> None:
    texts = [f"the number {n} is here" for n in range(SELF_BLEU_TEXTS)]
    more = written([*texts, "q"], [None] * 101)
    assert figures_of(more, OVERLAP)["self_bleu"] == self_bleu(texts)
    assert "self_bleu" not in figures_of(written(texts[1:], [None] * 99), OVERLAP)
