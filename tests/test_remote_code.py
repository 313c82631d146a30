"""Code that comes with a model is never run, wherever a loader of `transformers` is called."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.policy.causal_lm import CausalLMPolicy
from text_gym import HuggingFaceTokenizer

ROOT = Path(__file__).parents[1]
LOADERS = ("from_pretrained", "from_config")


def calls_of_loaders(package: str) -> Iterator[tuple[str, ast.Call]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner = node.func.value
            if node.func.attr in LOADERS and isinstance(owner, ast.Name) and "Auto" in owner.id:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


@pytest.mark.parametrize("package", ["agents", "text_gym"])
def test_every_call_of_a_loader_refuses_remote_code(package: str) -> None:
    calls = list(calls_of_loaders(package))
    assert calls
    for where, call in calls:
        options = {keyword.arg: keyword.value for keyword in call.keywords}
        refused = options.get("trust_remote_code")
        assert isinstance(refused, ast.Constant), where
        assert refused.value is False, where


@pytest.fixture
def folder(tmp_path: Path, bpe: Any) -> Path:
    """A model and a tokenizer whose classes are in a file beside them, which leaves a trace."""
    folder = tmp_path / "model"
    bpe.save_pretrained(folder)
    trace = tmp_path / "was run"
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    names = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    config = {"model_type": "own", "architectures": ["Model"], "auto_map": names}
    (folder / "config.json").write_text(json.dumps(config))
    path = folder / "tokenizer_config.json"
    names = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    path.write_text(json.dumps(json.loads(path.read_text()) | names))
    return folder


@pytest.mark.parametrize("kind", [CausalLMPolicy, HuggingFaceTokenizer])
def test_code_beside_a_model_is_refused_without_a_question(
    kind: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *args: pytest.fail("a question was asked"))
    with pytest.raises(ValueError, match=r"source must be a .* got .*model: ") as error:
        kind.from_pretrained(folder)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "was run").exists()
