"""Where episodes start: what can hold prompts, and the order in which they are drawn."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text_gym import CallablePrompts, EpochPrompts, Prompt, PromptSource, UniformPrompts
from text_gym.prompt_sources import as_prompt_source
from text_gym.prompts import as_prompt

THREE = [Prompt("a"), Prompt("b"), Prompt("c")]


def texts(source: PromptSource, count: int, seed: int = 0) -> list[str]:
    np_random = np.random.default_rng(seed)
    return [source.draw(np_random).text for _ in range(count)]


def listed(prompts: Any, **arguments: Any) -> list[Prompt]:
    source = as_prompt_source(prompts, **arguments)
    assert source.prompts is not None
    return list(source.prompts)


# One prompt


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ("Hi", Prompt("Hi")),
        (Prompt("Hi", "Ho"), Prompt("Hi", "Ho")),
        ({"prompt": "Hi"}, Prompt("Hi")),
        ({"prompt": "Hi", "reference": None, "metadata": None}, Prompt("Hi")),
        (
            {"prompt": "Hi", "reference": "Ho", "metadata": {"a": 1}, "b": 2},
            Prompt("Hi", "Ho", {"a": 1, "b": 2}),
        ),
    ],
)
def test_a_prompt_is_a_text_a_prompt_or_a_mapping(row: Any, prompt: Prompt) -> None:
    assert as_prompt(row) == prompt


@pytest.mark.parametrize(
    "row", [5, None, b"Hi", ["Hi"], {"text": "Hi"}, {"prompt": 5}, Prompt(5)], ids=repr
)
def test_what_has_no_text_is_refused(row: Any) -> None:
    with pytest.raises(TypeError, match=r"prompts must yield a str.*got "):
        as_prompt(row)


def test_a_reference_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match=r"reference of a prompt must be a str or None.*4"):
        as_prompt({"prompt": "2 + 2 =", "reference": 4})


# What holds prompts


def test_one_text_or_prompt_is_a_source_of_one() -> None:
    assert listed("Hi") == listed(Prompt("Hi")) == [Prompt("Hi")]


def test_sequences_keep_their_order() -> None:
    rows = ["a", Prompt("b"), {"prompt": "c"}]
    assert listed(rows) == listed(tuple(rows)) == THREE
    assert listed(np.array(["a", "b", "c"])) == THREE
    assert listed(dict.fromkeys("abc").keys()) == THREE


@pytest.mark.parametrize("endless", [itertools.cycle("a"), itertools.repeat({"prompt": "a"})])
def test_what_may_be_endless_is_refused_at_once(endless: Any) -> None:
    with pytest.raises(TypeError, match=r"prompts must have a length.*list\(prompts\).*got "):
        as_prompt_source(endless)


@pytest.mark.parametrize("unordered", [{"a", "b"}, frozenset("ab")])
def test_what_has_no_order_is_refused(unordered: Any) -> None:
    with pytest.raises(TypeError, match=r"prompts must be in an order.*sorted.*got a (frozen)?set"):
        as_prompt_source(unordered)


class Table:
    """A table as pandas has them: iterating over it gives the names of its columns."""

    columns = ("prompt", "reference")

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Any:
        return iter(self.columns)


class Dataset:
    """A data set as `datasets` has them: it names its columns, and iterates over rows."""

    column_names = ("prompt", "reference", "split")

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Any:
        return iter([{"prompt": "a", "reference": "A", "split": "train"}])


def test_a_table_is_refused_and_its_columns_are_no_prompts() -> None:
    with pytest.raises(TypeError, match=r"prompts must be a sequence of rows, not a table.*Table"):
        as_prompt_source(Table())


def test_a_dataset_is_a_sequence_of_mappings() -> None:
    assert listed(Dataset()) == [Prompt("a", "A", {"split": "train"})]


def test_a_text_file_holds_a_prompt_a_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes("how are you?\r\n\n   \n  fine\u2028 \n私".encode())
    expected = ["how are you?", "  fine\u2028 ", "私"]
    assert [prompt.text for prompt in listed(path)] == expected
    assert listed(str(path)) == listed(path)


def test_a_byte_order_mark_and_a_lone_carriage_return(tmp_path: Path) -> None:
    text = tmp_path / "prompts.txt"
    text.write_bytes(b"\xef\xbb\xbfhi\rho\r\nyo\n")
    assert [prompt.text for prompt in listed(text)] == ["hi\rho", "yo"]
    lines = tmp_path / "prompts.jsonl"
    lines.write_bytes(b'\xef\xbb\xbf"hi"\r\n{"prompt":\r"ho"}\n')
    assert [prompt.text for prompt in listed(lines)] == ["hi", "ho"]


@pytest.mark.parametrize("name", ["prompts.tsv", "data/prompts.parquet", "x.TXT", "~/my.json"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_of_another_kind_is_refused_and_not_a_prompt(name: str, kind: Any) -> None:
    with pytest.raises(ValueError, match=r"prompts must be a path that ends in \.txt or \.jsonl"):
        as_prompt_source(kind(name))
    assert listed([name]) == [Prompt(name)]


@pytest.mark.parametrize(
    ("name", "loaded"),
    [
        ("hub:foo/bar", r"by datasets.load_dataset\('foo/bar', split='train'\)"),
        ("data/prompts", r"by datasets.load_from_disk\('data/prompts'\)"),
        ("../data", r"by datasets.load_from_disk\('../data'\)"),
        ("~/my-data/prompts", "by datasets.load_from_disk"),
    ],
)
def test_the_name_of_a_data_set_is_refused_and_says_how_to_load_it(name: str, loaded: str) -> None:
    with pytest.raises(ValueError, match=f"prompts must be a path .*got '{name}'; .*{loaded}"):
        as_prompt_source(name)
    assert listed([name]) == [Prompt(name)]


def test_a_text_that_names_an_existing_folder_is_no_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "questions").mkdir()
    assert listed("questions") == [Prompt("questions")]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"load_from_disk\('questions'\)"):
        as_prompt_source("questions")


def test_a_text_that_names_an_existing_file_is_taken_for_its_path(tmp_path: Path) -> None:
    path = tmp_path / "how are you"
    path.touch()
    with pytest.raises(ValueError, match=r"prompts must be a path.*how are you.*give \["):
        as_prompt_source(str(path))


@pytest.mark.parametrize(
    "text",
    [
        "How are you?",
        "Hm...",
        "3.14",
        "See notes.md",
        "Hi.\x00",
        ".",
        "/",
        "1/2=",
        "Yes / no",
        "hub:",
    ],
)
def test_a_text_that_looks_like_no_path_is_a_prompt(text: str) -> None:
    assert listed(text) == [Prompt(text)]


def test_a_jsonl_file_holds_a_prompt_an_object_or_a_text_a_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = [{"prompt": "a\nb", "reference": "c", "level": 1}, "d"]
    path.write_text("\n\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    assert listed(path) == listed(str(path)) == [Prompt("a\nb", "c", {"level": 1}), Prompt("d")]


@pytest.mark.parametrize(
    ("bad_line", "reason"),
    [
        ("{", "Expecting"),
        ("5", "prompts must yield"),
        ('{"prompt": null}', "prompts must yield"),
        ('"\\ud83d"', "'utf-8' codec can't encode.*surrogates not allowed"),
        ('{"prompt": "a", "tags": ["\\ude42"]}', "'utf-8' codec can't encode"),
        ("9" * 5000, "Exceeds the limit"),
        ("[" * 10**6, "maximum recursion depth exceeded"),
    ],
    ids=lambda text: text[:20],
)
def test_a_broken_jsonl_line_is_named_by_its_number(
    tmp_path: Path, bad_line: str, reason: str
) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text(f'"fine"\n\n\n{bad_line}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=rf"prompts\.jsonl, line 4: {reason}"):
        as_prompt_source(path)


def test_a_csv_file_holds_a_prompt_a_row(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    path.write_bytes(b'\xef\xbb\xbfprompt,reference,level\r\n"a, or\nb",c,1\r\n\r\nd,,\r\n')
    rows = [Prompt("a, or\nb", "c", {"level": "1"}), Prompt("d")]
    assert listed(path) == listed(str(path)) == rows


@pytest.mark.parametrize(
    ("bad_row", "reason"),
    [
        (",x", "prompts must yield"),
        ("a,b,c", r"a row must have a cell for each of \['prompt', 'reference'\]"),
        ('"a"b', "',' expected after"),
    ],
)
def test_a_broken_row_of_a_csv_file_is_named_by_its_line(
    tmp_path: Path, bad_row: str, reason: str
) -> None:
    path = tmp_path / "prompts.csv"
    path.write_text(f"prompt,reference\nfine,\n{bad_row}\n")
    with pytest.raises(ValueError, match=rf"prompts\.csv, line 3: {reason}"):
        as_prompt_source(path)


@pytest.mark.parametrize("suffix", [".txt", ".jsonl"])
def test_bytes_that_are_no_text_are_named_by_their_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"prompts{suffix}"
    path.write_bytes(b'"fine"\n"\xf0\x9f\x99\x82"\r\n"ab\xff"\n')
    with pytest.raises(ValueError, match=rf"prompts\{suffix}, line 3: .*byte 0xff in position 3"):
        as_prompt_source(path)


def test_a_missing_file_is_an_error_and_not_a_prompt(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt"):
        as_prompt_source(tmp_path / "nothing.txt")


def test_a_source_that_remembers_is_copied_and_another_stays_itself() -> None:
    source, stateless = EpochPrompts(THREE), UniformPrompts(THREE)
    copied = as_prompt_source(source)
    texts(copied, 1)
    assert source.get_state() == {"remaining": []} != copied.get_state()
    assert copied.prompts is not None
    assert copied.prompts[0] is source.prompts[0]
    assert as_prompt_source(stateless) is stateless


@pytest.mark.parametrize("empty", [[], (), UniformPrompts, EpochPrompts])
def test_no_prompt_at_all_is_refused(empty: Any) -> None:
    with pytest.raises(ValueError, match="prompts must hold at least one prompt, got "):
        empty([]) if isinstance(empty, type) else as_prompt_source(empty)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    with pytest.raises(ValueError, match="prompts must hold at least one prompt"):
        as_prompt_source(tmp_path / "empty.txt")


@pytest.mark.parametrize("wrong", [5, b"Hi", {"prompt": "Hi"}], ids=repr)
def test_what_holds_no_prompts_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"prompts must be a text, a sequence.*got "):
        as_prompt_source(wrong)


def test_an_unknown_sampling_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sampling must be one of .*without_rep.*got 'random'"):
        as_prompt_source("Hi", sampling="random")  # type: ignore[arg-type]


# The order of drawing


def test_with_replacement_is_the_default_and_every_prompt_is_equally_likely() -> None:
    source = as_prompt_source(["a", "b", "c"])
    assert isinstance(source, UniformPrompts)
    assert not source.shared
    counts = Counter(texts(source, 3000))
    assert set(counts) == {"a", "b", "c"}
    assert all(abs(count - 1000) < 130 for count in counts.values())  # five standard deviations


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_without_replacement_every_epoch_is_a_permutation(size: int, seed: int) -> None:
    names = [str(index) for index in range(size)]
    source = as_prompt_source(names, sampling="without_replacement")
    assert isinstance(source, EpochPrompts)
    assert source.shared
    drawn = texts(source, 4 * size, seed)
    for start in range(0, 4 * size, size):
        assert sorted(drawn[start : start + size]) == sorted(names)


def test_without_replacement_epochs_differ_in_order() -> None:
    drawn = texts(EpochPrompts([Prompt(str(index)) for index in range(20)]), 40)
    assert drawn[:20] != drawn[20:]
    assert drawn[:20] != sorted(drawn[:20], key=int)


def test_without_replacement_restarting_forgets_the_epoch() -> None:
    source = EpochPrompts(THREE)
    first = texts(source, 2)
    source.restart()
    assert texts(source, 2) == first


def test_without_replacement_goes_on_from_a_saved_state() -> None:
    source, other = EpochPrompts(THREE), EpochPrompts(THREE)
    texts(source, 2)
    state = source.get_state()
    expected = texts(source, 4, seed=1)
    other.set_state(json.loads(json.dumps(state)))
    assert texts(other, 4, seed=1) == expected
    assert len(state["remaining"]) == 1  # a snapshot, not the list in use


def test_sources_without_a_state_have_an_empty_one() -> None:
    assert UniformPrompts(THREE).get_state() == {}
    assert CallablePrompts(lambda np_random: "a").get_state() == {}


def test_a_function_is_asked_with_the_random_stream_and_may_return_any_prompt() -> None:
    source = as_prompt_source(
        lambda np_random: {"prompt": str(np_random.integers(100)), "level": 1}
    )
    assert source.prompts is None
    np_random = np.random.default_rng(5)
    prompt = source.draw(np.random.default_rng(5))
    assert prompt == Prompt(str(np_random.integers(100)), metadata={"level": 1})


def test_a_function_that_returns_no_prompt_is_blamed() -> None:
    with pytest.raises(TypeError, match=r"prompts must yield a str.*got None"):
        as_prompt_source(lambda np_random: None).draw(np.random.default_rng())


@pytest.mark.parametrize("source", [UniformPrompts(THREE), EpochPrompts(THREE)])
def test_drawing_is_a_function_of_the_given_stream_alone(source: PromptSource) -> None:
    source.restart()
    first = texts(source, 7, seed=3)
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002  # the global stream is what must not matter
    before = np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
    source.restart()
    assert texts(source, 7, seed=3) == first
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]  # noqa: NPY002
