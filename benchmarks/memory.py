"""Measure the peak memory of an update at V = 50,000: `python benchmarks/memory.py`.

GPT-2 of 4 layers × 128, 64 texts with completions of 32 tokens, one forward pass for all. Held
against what an update cannot do without:

    parameters + gradients + Adam's moments + the trunk's activations + two chunks of logits

The update runs in a process of its own, of which Linux tells the largest resident size since a
reset. The C library is told to give every freed block above 64 KiB back at once; otherwise memory
that nobody uses would count. The trunk's activations are what autograd saves in its forward pass,
parameters left out. The reference policy is resident too, but no part of an update: not counted.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.model.output_layer import CHUNK_ELEMENTS
from agents.policy.token_batch import TokenBatch
from benchmarks import command_line
from benchmarks.figures import Figure, figure, write_result
from benchmarks.tasks import LargeNumbers, Numbers, gpt2, make_envs, random_prompts
from benchmarks.update import Case

VOCAB_SIZE, PROMPT, LENGTH, ROWS = 50_000, 4, 32, 64
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
PARTS = {
    "parameters": "parameters",
    "gradients": "gradients",
    "optimiser": "Adam's moments",
    "trunk": "the trunk's activations",
    "chunks": "two chunks of logits",
}


def rise(work: Callable[[], object]) -> int:
    """Returns by how many bytes the resident size rises at most while `work` runs."""
    gc.collect()
    CLEAR_REFS.write_text("5", encoding="utf-8")  # proc(5): resets the peak
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def saved_for_backward(policy: CausalLMPolicy, texts: TokenBatch) -> int:
    """Returns the bytes that autograd saves in the trunk's forward pass, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in policy.parameters()}
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor  # kept, so that no address is used twice

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        hidden = policy.hidden_states(texts.input_ids, texts.attention_mask.long(), use_cache=False)
        total = sum(found.values())
        del hidden
    return total


def size_of(tensors: Iterable[Tensor]) -> int:
    """Returns the bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def measure(vocab_size: int, seed: int, repeats: int) -> dict[str, Any]:
    """Returns the peaks of `repeats` updates and the parts of the budget, in bytes."""
    agent = _agent(vocab_size, seed)
    case = Case.of("", agent)
    start = copy.deepcopy(agent.policy.state_dict())
    agent.update(case.experience)  # creates the moments, and what libraries keep for good
    peaks = []
    for _ in range(repeats):
        agent.policy.load_state_dict(start)
        peaks.append(rise(lambda: agent.update(case.experience)))
    learning = [p for p in agent.policy.parameters() if p.requires_grad]
    moments = [
        value
        for state in agent.optimizer.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    ]
    parts = {
        "parameters": size_of(agent.policy.parameters()),
        "gradients": size_of(learning),
        "optimiser": size_of(moments),
        "trunk": saved_for_backward(agent.policy, case.experience.texts),
        "chunks": 2 * 4 * CHUNK_ELEMENTS,
    }
    held = parts["parameters"] + parts["optimiser"]  # resident before the update begins
    return {
        "peaks": [held + peak for peak in peaks],
        "parts": parts,
        "logits": 4 * vocab_size * case.experience.n_tokens,
    }


def figures(measured: dict[str, Any]) -> list[Figure]:
    """Returns the figures of what a process measured."""
    budget = sum(measured["parts"].values())
    listed = ", ".join(
        f"{PARTS[name]} {size / 2**20:.0f}" for name, size in measured["parts"].items()
    )
    mebibytes = [peak / 2**20 for peak in measured["peaks"]]
    return [
        figure(
            "peak of an update / what it needs",
            [peak / budget for peak in measured["peaks"]],
            at_most=1.1,
            note=f"in MiB: {listed}; all logits at once would be {measured['logits'] / 2**20:.0f}",
        ),
        figure("peak of an update", mebibytes, "MiB"),
        figure("what an update needs", budget / 2**20, "MiB"),
    ]


def _agent(vocab_size: int, seed: int) -> PPO:
    envs = make_envs(
        ROWS,
        ends=False,
        prompts=random_prompts(ROWS, vocab_size, PROMPT, seed),
        tokenizer=Numbers(vocab_size),
        reward_function=LargeNumbers(vocab_size),
        max_new_tokens=LENGTH,
    )
    policy = gpt2(
        layers=4,
        width=128,
        heads=4,
        vocab_size=vocab_size,
        max_length=PROMPT + LENGTH,
        seed=seed,
    )
    return PPO(policy, envs, PPOConfig(n_episodes=ROWS, n_epochs=1, batch_size=ROWS, seed=seed))


def _status(name: str) -> int:
    """Returns a size that Linux reports of this process, in bytes."""
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _in_a_process_of_its_own(options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--inside", "--vocab-size", str(options.vocab_size)]
    command += ["--seed", str(options.seed), "--repeats", str(options.repeats)]
    if options.threads is not None:
        command += ["--threads", str(options.threads)]
    output = subprocess.run(
        command, env=os.environ | MALLOC, stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    measured: dict[str, Any] = json.loads(output.splitlines()[-1])
    return measured


def main() -> None:
    """Measures in a child process and reports."""
    parser = command_line.parser(__doc__, repeats=5, quick_repeats=3)
    parser.add_argument("--vocab-size", type=int, default=VOCAB_SIZE)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = command_line.parse(parser)
    if not CLEAR_REFS.exists():
        print("skipped: only Linux tells the peak of a part of a process (/proc/self/clear_refs)")
    elif options.inside:
        print(json.dumps(measure(options.vocab_size, options.seed, options.repeats)))
    else:
        write_result(
            "memory",
            figures(_in_a_process_of_its_own(options)),
            seed=options.seed,
            settings={"vocab_size": options.vocab_size, "rows": ROWS, "tokens": LENGTH},
            folder=options.output,
        )


if __name__ == "__main__":
    main()
