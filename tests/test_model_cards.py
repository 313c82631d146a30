"""Model cards: what every run says of what it made, in the form that a hub reads."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from agents.applications.registry import MODELS, ORIGINS, POLICIES, PRESETS, PROMPTS, SOURCES
from agents.reports import (
    Code,
    Curves,
    Facts,
    Figure,
    Paragraph,
    Section,
    SideBySide,
    Table,
    Written,
)
from agents.reports.model_card import model_card
from agents.runs.run_card import UNKNOWN, Made, card_of_policy, said_of_reward, source_of_prompts
from text_gym.rewards import WeightedSum, WordCount


def body(*blocks: object) -> str:
    card = model_card("a", [Section("S", blocks)])  # type: ignore[arg-type]
    return card.partition("## S\n\n")[2].removesuffix("\n")


def test_the_front_matter_is_what_was_given(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(model_card("a", [], license="mit", base_model=None, tags=["x", "y: z"]))
    assert ModelCard.load(path).data.to_dict() == {"license": "mit", "tags": ["x", "y: z"]}


def test_texts_are_no_markup() -> None:
    texts = SideBySide(["<b>|*Hi*\r\n# [x](y)"], [[Written("after", "`a`\x1b", Figure(1.0, 1))]])
    assert body(texts).splitlines() == [
        "| prompt | after |",
        "|---|---|",
        r"| \<b\>\|\*Hi\*<br>\# \[x\](y) | \`a\`\\x1b (1.0) |",
    ]
    assert body(Paragraph("- so\n12. so\n---")) == "\\- so\n12\\. so\n\\---"


def test_code_cannot_end_its_own_fence() -> None:
    assert body(Code("```\n# out", "python")) == "````python\n```\n# out\n````"


def test_tables_and_facts() -> None:
    table = Table(["", "a"], [["reward", Figure(1.0, 2, 0.5)], ["none", None]], "How to read it.")
    assert body(table).splitlines()[2:4] == ["| reward | 1.00 ± 0.50 |", "| none |  |"]
    assert body(table).endswith("\n\nHow to read it.")
    assert body(Facts([("a_b", "c")])) == "- **a\\_b:** c"


def test_what_cannot_be_written_as_text_is_refused() -> None:
    with pytest.raises(TypeError, match="got Curves"):
        body(Curves("t", "x", "y", [], "told"))


def test_everything_that_can_be_named_says_where_it_comes_from() -> None:
    assert ORIGINS.keys() == MODELS.keys() | POLICIES.keys()
    assert SOURCES.keys() == PROMPTS.keys()


def test_prompts_of_ones_own_are_of_unknown_licence_and_named_without_their_folder(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("Hi")
    toy = PRESETS["toy"][1]
    said = source_of_prompts(dataclasses.replace(toy, prompts=str(path)))
    assert said.startswith("mine.txt. Whose it is")
    assert source_of_prompts(toy) == "How are you?"


def test_what_learnt_from_a_file_names_no_licence() -> None:
    toy = PRESETS["tutorial"][1]
    made = Made("run", "toy", toy, 1, True, [("prompts", "ours")], Section("S", []), "Hi", 3)
    assert "license: mit" in card_of_policy(made)
    unknown = made._replace(learnt_from=[("prompts", f"mine.txt. {UNKNOWN}")])
    assert "license:" not in card_of_policy(unknown)


def test_rewards_are_named_without_folders() -> None:
    assert said_of_reward("word_count", WordCount()).startswith("word_count: ")
    several = '{"sentiment": 1, "/home/me/mine.py:Polite": {"weight": 0.5}}'
    summed = WeightedSum({"a": WordCount(), "b": WordCount()})
    assert said_of_reward(several, summed) == (
        '{"sentiment": 1, "mine.py:Polite": {"weight": 0.5}}'
    )
