"""Measure decoding and PPO on a GPU: `python benchmarks/gpu.py`.

Untrained models of three sizes: GPT-2 of 4 layers × 128 with V = 64; GPT-2 as it was published, of
124 M parameters; a Llama with the sizes of SmolLM2-135M. Prompts have 16 tokens, and every text as
many new ones as it may.

Rollouts, 64 and 512 rows side by side, are held against `transformers.generate` with a dynamic and
a static cache, with parameters in float32 and in bfloat16, and against themselves without recorded
steps (`agents.rollout.decoding.step_graph`); `generate` compiled is tried for 64 rows of the two
larger models in bfloat16. A whole PPO update (writing, judging, four epochs) is measured
in float32 and under autocast, with the peak of the memory that torch holds. *Waits* are the times
that the processor stops in a step of writing until the GPU has told it something, as torch counts
them (`torch.cuda.set_sync_debug_mode`).

Figures are written when all is measured, and where the script is interrupted those that there are.
`--device cpu` rehearses it where there is no GPU: with `--quick`, on the smallest model alone.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from transformers import GPT2Config, LlamaConfig, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.ppo import PPO
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.rollout.decoding import model_backend
from agents.rollout.decoding.decoder import backend_for
from agents.rollout.decoding.model_backend import ModelBackend
from agents.rollout.timer import Timer
from benchmarks import command_line
from benchmarks.figures import Figure, figure, write_result
from benchmarks.floor import (
    Model,
    Peaks,
    Work,
    decoding,
    judging,
    measure_peaks,
    share_of_floor,
    updating,
)
from benchmarks.tasks import LargeNumbers, Numbers, make_envs, random_prompts
from benchmarks.timing import Samples, clock_of, interleaved, ratios, tokens_per_second
from benchmarks.writers import Case, collected, generated, plain_model

PROMPT, LENGTH, ROWS = 16, 32, (64, 512)
PPO_ROWS, PPO_LENGTH, EPOCHS = 64, 64, 4
WAITING_ROWS, WAITING_LENGTHS = 8, (8, 24)
SMALLEST, GPT2, LLAMA = NAMES = ("GPT-2 4 × 128", "GPT-2 124M", "Llama 135M")
NO_ENDS = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
PRECISIONS = {
    "float32": PolicyConfig(),
    "autocast": PolicyConfig(autocast="bfloat16"),
    "bfloat16": PolicyConfig(dtype="bfloat16"),
}
GENERATES: Mapping[str, Mapping[str, Any]] = {
    "generate, dynamic cache": {},
    "generate, static cache": {"cache_implementation": "static", "disable_compile": True},
}
COMPILED: Mapping[str, Mapping[str, Any]] = {
    "generate, static cache, compiled": {"cache_implementation": "static"}
}
WHY = "A step of few rows is small products and the calls around them"


@dataclass(frozen=True)
class Setting:
    """Names a model and a precision, on a device.

    Attributes:
        name: Of the model.
        precision: One of `PRECISIONS`.
        device: Where it is.
        peaks: Of the device, in that precision.
    """

    name: str
    precision: str
    device: torch.device
    peaks: Peaks

    @property
    def title(self) -> str:
        """What figures are called by."""
        return f"{self.name}, {self.precision}"

    def policy(self) -> CausalLMPolicy:
        """Returns the model, untrained."""
        options = PRECISIONS[self.precision]
        return CausalLMPolicy.from_config(config_of(self.name), options).to(self.device)

    def case(self, rows: int, length: int) -> Case:
        """Returns texts of `length` new tokens each, written `rows` at once."""
        policy = self.policy()
        tokenizer, vocab_size = Numbers(policy.vocab_size), policy.vocab_size
        prompts = random_prompts(rows, vocab_size, PROMPT, seed=0)
        envs = make_envs(
            rows,
            ends=False,
            prompts=prompts,
            tokenizer=tokenizer,
            reward_function=LargeNumbers(vocab_size),
            max_new_tokens=length,
        )
        ids = [tokenizer.encode(prompt) for prompt in prompts]
        title = f"{self.title}, {rows} rows"
        return Case(title, policy, plain_model(policy), envs, ids, length, (), rows)


def config_of(name: str) -> PreTrainedConfig:
    """Returns the configuration of a model."""
    if name == LLAMA:
        return LlamaConfig(
            vocab_size=49_152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            **NO_ENDS,
        )
    if name == GPT2:
        return GPT2Config(**NO_ENDS)
    return GPT2Config(vocab_size=64, n_positions=128, n_embd=128, n_layer=4, n_head=4, **NO_ENDS)


# Writing


def writing_figures(setting: Setting, rows: int, repeats: int) -> Iterator[Figure]:
    """Measures a rollout beside `generate`, as it is called without more ado."""
    case = setting.case(rows, LENGTH)
    # What ours does under autocast, `generate` does with parameters in bfloat16.
    samples = _samples(case, {} if setting.precision == "autocast" else GENERATES, repeats)
    yield from _beside(case.name, samples)
    yield figure(f"{case.name}: rollout", samples["rollout"], "tokens/s")
    work = decoding(Model.of(case.policy), PROMPT, [LENGTH] * rows, rows)
    yield share_of_floor(
        f"{case.name}: rollout",
        samples["rollout"],
        setting.peaks,
        Work(work.flops, work.moved * case.policy.head.weight.element_size() / 4),
        rows * LENGTH,
        WHY,
    )


def compiled_figures(setting: Setting, rows: int, repeats: int) -> Iterator[Figure]:
    """Measures a rollout beside `generate` compiled, which takes two rounds to compile."""
    case = setting.case(rows, LENGTH)
    yield from _beside(case.name, _samples(case, COMPILED, repeats, warmups=2))


def _samples(
    case: Case, others: Mapping[str, Mapping[str, Any]], repeats: int, warmups: int = 1
) -> Samples:
    ways = {"rollout": collected(case, judged=False)}
    if type(backend_for(case.policy, 1, 2, Timer())) is ModelBackend:
        ways["rollout, not recorded"] = _not_recorded(ways["rollout"])
    ways |= {name: generated(case, **options) for name, options in others.items()}
    clock = clock_of(case.policy.device)
    speeds = {name: tokens_per_second(work, clock) for name, work in ways.items()}
    return interleaved(speeds, repeats, warmups=warmups)


def _not_recorded(work: Callable[[], int]) -> Callable[[], int]:
    def without_graphs() -> int:
        with patch.object(model_backend, "can_be_recorded", return_value=False):
            return work()

    return without_graphs


def _beside(name: str, samples: Samples) -> Iterator[Figure]:
    for other, found in samples.items():
        if other != "rollout":
            yield figure(f"{name}: rollout / {other}", ratios(samples, "rollout", other))
            yield figure(f"{name}: {other}", found, "tokens/s")


def waits(setting: Setting) -> Iterator[Figure]:
    """Counts what a step of writing waits for, from texts of two lengths."""
    short, long = WAITING_LENGTHS
    more = _waits(setting.case(WAITING_ROWS, long)) - _waits(setting.case(WAITING_ROWS, short))
    yield figure(f"{setting.title}: waits in a step of writing", more / (long - short), "waits")


def _waits(case: Case) -> int:
    work = collected(case, judged=False)
    work()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            work()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing" in str(warning.message) for warning in caught)


# Learning


def ppo_figures(setting: Setting, repeats: int) -> Iterator[Figure]:
    """Measures whole PPO updates, by the parts that every run logs."""
    case = setting.case(PPO_ROWS, PPO_LENGTH)
    config = PPOConfig(n_episodes=PPO_ROWS, batch_size=PPO_ROWS, n_epochs=EPOCHS)
    agent, tokens = PPO(case.policy, case.envs, config), PPO_ROWS * PPO_LENGTH
    _reset_peak(setting.device)
    updates = [_update(agent) for _ in range(1 + repeats)][1:]
    speeds = [tokens / (one["generate"] + one["score"] + one["train"]) for one in updates]
    name = f"{setting.title}: PPO"
    yield figure(name, speeds, "tokens/s")
    yield share_of_floor(name, speeds, setting.peaks, _least_work(case.policy), tokens, WHY)
    for part in ("generate", "score", "train", "optimizer"):
        yield figure(f"{name}: {part}", [1000 * one[part] for one in updates], "ms")
    yield from _peak(name, setting.device)


def _update(agent: PPO) -> Mapping[str, float]:
    agent.learn(agent.n_episodes + PPO_ROWS)
    return agent.timer.seconds


def _least_work(policy: CausalLMPolicy) -> Work:
    model, lengths = Model.of(policy), [PPO_LENGTH] * PPO_ROWS
    work = decoding(model, PROMPT, lengths, PPO_ROWS)
    for _ in ("policy", "reference"):
        work += judging(model, PROMPT, lengths, passes=1)
    for _ in range(EPOCHS):
        work += updating(model, PROMPT, lengths, passes=1, steps=1)
    return work


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak(name: str, device: torch.device) -> Iterator[Figure]:
    if device.type == "cuda":
        held = torch.cuda.max_memory_allocated(device) / 2**30
        yield figure(
            f"{name}: peak of memory", held, "GiB", note="the model that writes stands in it twice"
        )


def adam_figures(setting: Setting, repeats: int) -> Iterator[Figure]:
    """Measures ten steps of Adam, fused as every learner here has it, and not."""
    clock, policy = clock_of(setting.device), setting.policy()
    steps = {"fused": _adam(policy, fused=True), "foreach": _adam(policy, fused=False)}
    speeds = {name: tokens_per_second(work, clock) for name, work in steps.items()}
    found = ratios(interleaved(speeds, repeats), "fused", "foreach")
    yield figure(f"{setting.name}: steps of Adam, fused / foreach", found)


def _adam(policy: CausalLMPolicy, *, fused: bool) -> Callable[[], int]:
    parameters = [torch.nn.Parameter(part.detach().clone()) for part in policy.parameters()]
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.Adam(parameters, fused=fused, foreach=not fused)

    def work() -> int:
        for _ in range(10):
            optimizer.step()
        return 10

    return work


# All of it


def measured(options: argparse.Namespace) -> Iterator[Figure]:
    """Yields all figures, the surest and the cheapest first."""
    device, names = options.device, NAMES[:1] if options.quick else NAMES
    peaks = measure_peaks(device), measure_peaks(device, torch.bfloat16)
    settings = [
        Setting(name, precision, device, peaks[precision != "float32"])
        for name in names
        for precision in PRECISIONS
    ]
    for setting in settings:
        _say(setting.title)
        if setting.precision == "float32":
            if device.type == "cuda":
                yield from waits(setting)
            yield from adam_figures(setting, options.repeats)
        if setting.precision != "bfloat16":  # in which Adam's steps would be rounded away
            yield from ppo_figures(setting, options.repeats)
    for rows in ROWS[:1] if options.quick else ROWS:
        for setting in settings:
            _say(f"{setting.title}, {rows} rows")
            yield from writing_figures(setting, rows, options.repeats)
    for setting in settings:
        if setting.precision == "bfloat16" and setting.name != SMALLEST:
            _say(f"{setting.title}, compiled")
            yield from compiled_figures(setting, ROWS[0], options.repeats)


def _say(what: str) -> None:
    print(f"measuring {what}", flush=True)


def main() -> None:
    """Measures all of it and reports."""
    parser = command_line.parser(__doc__, repeats=3, quick_repeats=2)
    parser.add_argument("--device", type=torch.device, default="cuda", help="cpu: a rehearsal")
    options = command_line.parse(parser)
    if options.device.type == "cuda" and not torch.cuda.is_available():
        parser.error("--device must be one that torch can reach, got cuda where there is no GPU")
    transformers_logging.set_verbosity_error()
    found: list[Figure] = []
    try:
        found.extend(measured(options))
    finally:
        gpu = torch.cuda.get_device_name(options.device) if options.device.type == "cuda" else None
        settings = {"gpu": gpu, "prompt": PROMPT, "tokens": LENGTH, "ppo_tokens": PPO_LENGTH}
        write_result("gpu", found, settings=settings, folder=options.output)


if __name__ == "__main__":
    main()
