"""Precision that is left to the machine: settled once, and written down."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config

from agents import CausalLMPolicy, PolicyConfig
from agents.applications.registry import PRESETS
from agents.policy.precision import gains_by_bfloat16, settled
from agents.runs import pipeline

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("capabilities", "fast"),
    [
        ({"avx2": True, "amx_bf16": False, "avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"sve_bf16": True}, True),
        ({"avx2": True, "avx512_f": True, "avx512_bf16": False}, False),
        ({}, False),
    ],
)
def test_what_a_processor_says_decides(
    capabilities: dict[str, bool], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert gains_by_bfloat16(CPU) is fast
    expected = "bfloat16" if fast else None
    assert settled(PolicyConfig(autocast="auto"), CPU).autocast == expected


@pytest.mark.parametrize("device", ["cuda", "meta"])
def test_other_devices_are_left_alone(device: str) -> None:
    assert not gains_by_bfloat16(torch.device(device))


@pytest.mark.parametrize("autocast", [None, "bfloat16"])
def test_what_was_asked_for_stays(autocast: str | None) -> None:
    options = PolicyConfig(autocast=autocast)  # type: ignore[arg-type]
    assert settled(options, CPU) is options


def test_a_policy_has_settled_options() -> None:
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 8, "vocab_size": 5}
    policy = CausalLMPolicy.from_config(GPT2Config(**sizes), PolicyConfig(autocast="auto"))
    assert policy.options.autocast == ("bfloat16" if gains_by_bfloat16(CPU) else None)
    assert (policy.autocast is not None) == gains_by_bfloat16(CPU)


@pytest.mark.parametrize("fast", [True, False])
def test_a_run_writes_down_what_it_settled(
    fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": fast})
    config = dataclasses.replace(
        PRESETS["toy"][1],
        policy=PolicyConfig(autocast="auto"),
        output=tmp_path,
        name="run",
        total_episodes=64,
        eval_episodes=64,
        threads=1,
    )
    folder = pipeline.run("toy", config)
    written = json.loads((folder / "config.json").read_text())["policy"]["autocast"]
    assert written == ("bfloat16" if fast else None)
