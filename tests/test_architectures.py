"""The sweep over architectures: its verdicts on a few families, its isolation, its table."""

from __future__ import annotations

import os
import re
import time
from typing import Any

import pytest

from benchmarks import architectures
from benchmarks.architectures import BEGIN, END, PAGE, Outcome, render, swept, tried, updated

ACCEPTED = (
    "bloom",
    "deepseek_v3",
    "gemma3_text",
    "gpt_neo",
    "gpt_neox",
    "gpt_oss",
    "llama",
    "mpt",
    "opt",
    "phi3",
    "qwen3_moe",
    "whisper",
)
REFUSED = {
    "bart": "policy must decode as it is trained.*BartForCausalLM differs by",
    "cohere": "output layer times last hidden state",
    "jamba": "cache of the keys and values of every layer; JambaForCausalLM does not",
    "llama4_text": "trunk that makes hidden states .* Llama4ForCausalLM does not",
    "mamba": "cache of the keys and values of every layer; MambaForCausalLM does not",
    "mbart": "policy must decode as it is trained.*MBartForCausalLM differs by",
    "openai-gpt": "keys and values of every layer; OpenAIGPTLMHeadModel does not",
    "xlnet": "must be causal",
}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.mark.parametrize("name", ACCEPTED)
def test_families_that_decode_as_they_are_trained_are_accepted(name: str) -> None:
    outcome = tried(name)
    assert (outcome.verdict, outcome.reason) == ("accepted", "")
    assert 0 < outcome.error <= outcome.bound


@pytest.mark.parametrize("name", REFUSED)
def test_families_that_do_not_are_refused_in_one_clear_error(name: str) -> None:
    outcome = tried(name)
    assert outcome.verdict == "refused"
    assert re.search(REFUSED[name], outcome.reason)


def test_one_that_dies_or_hangs_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def behave(name: str) -> Outcome:
        if name == "dies":
            os._exit(3)
        if name == "hangs":
            time.sleep(60)
        return Outcome(name, "accepted")

    monkeypatch.setattr(architectures, "tried", behave)
    dead, sound = swept(["dies", "works"], 2)
    assert dead == Outcome("dies", "failed", reason="ends the interpreter")
    assert sound == Outcome("works", "accepted")
    monkeypatch.setattr(architectures, "SECONDS", 0.2)
    (slow,) = swept(["hangs"], 1)
    assert slow == Outcome("hangs", "not built", reason="takes more than 0.2 s")


def test_another_error_of_ours_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> float:
        raise KeyError("a mistake")

    monkeypatch.setattr(architectures, "disagreement_in_training", broken)
    assert tried("llama").reason == "KeyError: 'a mistake'"
    assert tried("llama").verdict == "failed"


def test_the_table_shows_errors_and_reasons() -> None:
    outcomes = [
        Outcome("llama", "accepted", 2e-6, 3e-5),
        Outcome("bart", "refused", reason="differs | <by> 2"),
    ]
    page = updated(f"before\n{BEGIN}\nold\n{END}\nafter", outcomes)
    assert page.startswith("before")
    assert page.endswith("after")
    assert "old" not in page
    assert "of 2 architectures, 1 are accepted" in page
    assert "| `llama` | 2.0e-06 | 3.0e-05 |" in render(outcomes)
    assert "| `bart` | refused | differs \\| &lt;by> 2 |" in page
    with pytest.raises(ValueError, match="page must contain"):
        updated("no markers", outcomes)


def test_the_page_holds_no_accepted_error_above_its_bound_and_no_failure() -> None:
    _, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    table = rest.partition(END)[0]
    rows = re.findall(r"\| `[\w.-]+` \| ([\d.e+-]+) \| ([\d.e+-]+) \|", table)
    assert len(rows) > 80
    assert all(float(error) <= float(bound) for error, bound in rows)
    assert "| failed |" not in table
