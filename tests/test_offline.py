"""Algorithms that learn from files, SFT and DPO: what holds for both, and what each minimises."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.testing import assert_close
from transformers import GPT2Config

from agents import (
    DPO,
    SFT,
    Callback,
    CausalLMPolicy,
    Checkpoints,
    Demonstrations,
    DPOConfig,
    PolicyConfig,
    Preferences,
    SFTConfig,
)
from agents.algorithms.health_checks import TrainingStopped
from agents.checkpoints.series import latest
from agents.policy.action_masks import ActionMasks
from agents.policy.token_batch import TokenBatch

VOCAB = 6
N = 7


def policy(seed: int = 0, **options: Any) -> CausalLMPolicy:
    config = GPT2Config(vocab_size=VOCAB, n_embd=16, n_layer=2, n_head=2, n_positions=8)
    config.initializer_range, config.bos_token_id, config.eos_token_id = 0.2, 0, 0
    settings = PolicyConfig(value_network="none", dtype="float64", **options)
    return CausalLMPolicy.from_config(config, settings, seed=seed)


def texts(seed: int) -> TokenBatch:
    """N texts of 4 to 8 tokens, the first two of which are a prompt."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, VOCAB, (N, 8), generator=generator)
    lengths = torch.randint(4, 9, (N, 1), generator=generator)
    positions = torch.arange(8)
    there = positions < lengths
    return TokenBatch(torch.where(there, ids, 0), there, there & (positions >= 2))


DEMONSTRATIONS = Demonstrations(texts(0), torch.linspace(0.5, 2, N).double())
PREFERENCES = Preferences(texts(0), texts(1), torch.linspace(0.5, 2, N), torch.ones(N))


class Log(Callback):
    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []

    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        self.metrics.append({k: v for k, v in metrics.items() if not k.startswith("time/")})
        return True


def sft(model: CausalLMPolicy | None = None, **changes: Any) -> SFT:
    keywords = {key: changes.pop(key) for key in ("heldout", "callbacks") if key in changes}
    settings = {"batch_size": 3, "learning_rate": 1e-2, "n_epochs": 4}
    config = SFTConfig(**{**settings, **changes})
    return SFT(model or policy(), DEMONSTRATIONS, config, **keywords)


def dpo(model: CausalLMPolicy | None = None, **changes: Any) -> DPO:
    names = ("heldout", "callbacks", "reference")
    keywords = {key: changes.pop(key) for key in names if key in changes}
    settings = {"batch_size": 3, "learning_rate": 1e-2, "n_epochs": 4}
    config = DPOConfig(**{**settings, **changes})
    return DPO(model or policy(), PREFERENCES, config, **keywords)


both = pytest.mark.parametrize("make", [sft, dpo])


def parameters(agent: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in agent.policy.named_parameters()}


def gradient(agent: Any, examples: Any) -> list[Tensor]:
    agent.optimizer.zero_grad()
    agent._read(examples, learn=True)
    return [p.grad.clone() for p in agent._parameters]


@both
def test_it_learns_every_example_in_every_epoch(make: Any) -> None:
    log = Log()
    agent = make(callbacks=(log,))
    before = agent.evaluate(agent.examples)["eval/loss"]
    agent.learn()
    assert (agent.n_episodes, agent.n_updates) == (4 * N, 4 * 3)
    assert agent.n_tokens == 4 * agent.examples.n_tokens
    assert agent.evaluate(agent.examples)["eval/loss"] < 0.9 * before
    assert [m["train/epoch"] for m in log.metrics[:3]] == [3 / 7, 6 / 7, 1]
    assert log.metrics[0]["train/learning_rate"] == 1e-2
    assert log.metrics[-1]["train/learning_rate"] < 1e-3


@both
def test_orders_differ_between_epochs_and_seeds_and_are_repeated(make: Any) -> None:
    def order(seed: int, epoch: int) -> list[float]:
        agent = make(seed=seed, batch_size=N)
        agent.n_episodes = N * epoch
        return agent.draw().weights.tolist()

    orders = [order(seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(one) for one in orders}) == 4
    assert all(sorted(one) == sorted(orders[0]) for one in orders)
    assert order(1, 1) == orders[3]


class StopAt5(Callback):
    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        return agent.n_updates < 5


@both
@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.5}])
def test_stopped_in_the_middle_of_an_epoch_it_goes_on_bit_for_bit(
    make: Any, changes: dict[str, Any], tmp_path: Path
) -> None:
    whole_log, log = Log(), Log()
    whole = make(callbacks=[whole_log], **changes).learn()
    stopped = make(callbacks=[StopAt5(), Checkpoints(tmp_path / "series")], **changes).learn()
    stopped.save(tmp_path / "with models")
    checkpoint = latest(tmp_path / "series")
    assert checkpoint is not None
    assert checkpoint.name == "update-000005"
    resumed = make(callbacks=[log], **changes).restore(checkpoint).learn()
    loaded = type(stopped).load(tmp_path / "with models", stopped.examples).learn()
    assert log.metrics == whole_log.metrics[5:]
    for other in (resumed, loaded):
        assert_close(parameters(other), parameters(whole), rtol=0, atol=0)
        assert_close(other.tensors(), whole.tensors(), rtol=0, atol=0)


@both
def test_other_examples_are_refused_at_resume(make: Any, tmp_path: Path) -> None:
    make().learn(N).save(tmp_path)
    agent = make()
    agent.examples = agent.examples.select(torch.arange(3))
    with pytest.raises(ValueError, match="examples must be the 7 of the checkpoint, got 3"):
        agent.restore(tmp_path)


@both
def test_micro_batches_add_up(make: Any) -> None:
    whole, parts = make(batch_size=N), make(batch_size=N, micro_batch_size=2)
    assert_close(gradient(parts, parts.examples), gradient(whole, whole.examples))
    assert parts.evaluate(parts.examples) == pytest.approx(whole.evaluate(whole.examples))


@both
@pytest.mark.skipif(not distributed.is_available(), reason="no torch.distributed")
def test_two_processes_learn_what_one_does(
    make: Any, in_two_processes: Callable[[Callable[[], Any]], list[Any]]
) -> None:
    def work() -> Any:
        log = Log()
        agent = make(heldout=make().examples, callbacks=(log,)).learn()
        return parameters(agent), log.metrics

    alone = work()
    first, second = in_two_processes(work)
    assert_close(first, second, rtol=0, atol=0)
    assert_close(first, alone, rtol=0, atol=1e-7)


@both
def test_with_lora_only_adapters_learn(make: Any) -> None:
    agent = make(policy(lora_rank=2))
    before = parameters(agent)
    agent.learn()
    moved = {name for name, t in parameters(agent).items() if not torch.equal(t, before[name])}
    assert moved
    assert all("lora" in name for name in moved)


@both
def test_what_is_held_out_is_evaluated_after_every_epoch(make: Any) -> None:
    log, heldout = Log(), make().examples.select(torch.arange(2))
    agent = make(heldout=heldout, callbacks=(log,)).learn()
    evaluated = [m["eval/loss"] for m in log.metrics if "eval/loss" in m]
    assert len(evaluated) == 4
    assert evaluated[-1] == agent.evaluate(heldout)["eval/loss"]


class NoExamples:
    def __len__(self) -> int:
        return 0


@both
def test_a_policy_with_values_and_no_examples_are_refused(make: Any) -> None:
    valued = CausalLMPolicy.from_config(policy().model.config)
    with pytest.raises(ValueError, match="must have value_network 'none', got 'shared'"):
        make(valued)
    agent = make()
    with pytest.raises(ValueError, match="at least one example, got none"):
        type(agent)(policy(), NoExamples())


@both
def test_what_is_no_number_of_examples_to_learn_from_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"must be an int of at least 1, got 1\.5"):
        make().learn(1.5)


def changed(**parts: Any) -> Demonstrations:
    """Return the demonstrations with some of their parts, or of those of their texts, changed."""
    ours = {name: value for name, value in parts.items() if name in TokenBatch._fields}
    rest = {name: value for name, value in parts.items() if name not in ours}
    return dataclasses.replace(DEMONSTRATIONS, **{"texts": TEXTS._replace(**ours)} | rest)


TEXTS = DEMONSTRATIONS.texts
UNREADABLE: list[tuple[Any, str]] = [
    ([{"prompt": "a"}], r" must be Demonstrations, got \[{'prompt': 'a'}\]"),
    (changed(texts=[[1, 2]]), r"texts must be a TokenBatch, got \[\[1, 2\]\]"),
    (changed(input_ids=TEXTS.input_ids.int()), r"input_ids must be \(n, T\) int64, got .* int32"),
    (changed(completion_mask=TEXTS.input_ids), r"completion_mask must be .* bool, got .* int64"),
    (changed(input_ids=TEXTS.input_ids + VOCAB), r"input_ids\[0\] must be in \[0, 6\), the policy"),
    (changed(input_ids=TEXTS.input_ids - VOCAB), r"input_ids\[0\] must be in .*, got \[-"),
    (
        changed(attention_mask=TEXTS.attention_mask.flip(1)),
        r"attention_mask\[\d\] must be True from",
    ),
    (changed(completion_mask=TEXTS.attention_mask), r"completion_mask\[0\] must be False at posit"),
    (
        changed(completion_mask=~TEXTS.attention_mask),
        r"completion_mask\[\d\] must be .* beyond the",
    ),
    (changed(weights=torch.ones(N - 1)), r"weights must be \(7,\) numbers, got \(6,\) float32"),
    (changed(weights=[1.0] * N), r"weights must be \(7,\) numbers, got \[1.0, "),
    (changed(weights=-torch.ones(N)), r"weights\[0\] must be finite and at least 0, got -1.0"),
    (changed(weights=torch.full((N,), torch.nan)), r"weights\[0\] must be finite .*, got nan"),
]


@pytest.mark.parametrize(("examples", "message"), UNREADABLE, ids=[m for _, m in UNREADABLE])
def test_what_a_policy_cannot_read_is_named(examples: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^examples.*{message}"):
        SFT(policy(), examples)
    with pytest.raises(ValueError, match=f"^heldout.*{message}"):
        SFT(policy(), DEMONSTRATIONS, heldout=examples)


def test_pairs_that_cannot_be_read_are_named() -> None:
    fewer = PREFERENCES.rejected.select(torch.arange(N - 1))
    with pytest.raises(ValueError, match=r"examples\.rejected must be 7 texts, .* got 6"):
        DPO(policy(), dataclasses.replace(PREFERENCES, rejected=fewer))
    with pytest.raises(ValueError, match=r"examples\.margins\[0\] must be finite, got inf"):
        DPO(policy(), dataclasses.replace(PREFERENCES, margins=torch.full((N,), torch.inf)))
    below = dataclasses.replace(PREFERENCES, margins=-torch.ones(N))
    assert len(DPO(policy(), below).examples) == N


def test_texts_longer_than_the_policy_reads_are_refused() -> None:
    config = GPT2Config(vocab_size=VOCAB, n_embd=16, n_layer=1, n_head=1, n_positions=2)
    short = CausalLMPolicy.from_config(config, PolicyConfig(value_network="none"))
    with pytest.raises(ValueError, match=r"texts must be texts of at most 2 tokens.*, got \d"):
        SFT(short, DEMONSTRATIONS)


@both
def test_a_policy_that_is_to_be_shared_out_is_refused(make: Any) -> None:
    with pytest.raises(ValueError, match=r"policy.sharded must be False for (SFT|DPO), got True"):
        make(policy(sharded=True))


@both
def test_a_loss_that_is_no_number_moves_nothing(make: Any) -> None:
    model = policy()
    broken = model.head.weight.detach().clone()
    agent = make(model)
    agent.examples.weights[0], kept = math.nan, agent.examples.weights[0].clone()
    with pytest.raises(TrainingStopped, match="loss must be finite, got nan"):
        agent.learn()
    agent.examples.weights[0] = kept
    assert agent.n_updates < 3
    if agent.n_updates == 0:
        assert torch.equal(model.head.weight, broken)


# SFT


def test_sft_minimises_the_weighted_nll_of_completions_per_token() -> None:
    agent = sft()
    batch = DEMONSTRATIONS.texts
    logits = agent.policy.model(batch.input_ids).logits.log_softmax(-1)
    total, n_tokens = torch.zeros(()).double(), 0
    for i, t in batch.completion_mask.nonzero().tolist():
        total -= DEMONSTRATIONS.weights[i] * logits[i, t - 1, batch.input_ids[i, t]]
        n_tokens += 1
    evaluated = agent.evaluate(DEMONSTRATIONS)["eval/loss"]
    assert evaluated == pytest.approx(float(total.detach()) / n_tokens)
    wanted = torch.autograd.grad(total / n_tokens, agent._parameters)
    assert_close(gradient(agent, DEMONSTRATIONS), list(wanted))


def test_sft_on_one_text_learns_it_by_heart() -> None:
    one = DEMONSTRATIONS.select(torch.tensor([0]))
    agent = SFT(policy(), one, SFTConfig(learning_rate=3e-2, lr_schedule="constant"))
    assert agent.learn(60).evaluate(one)["eval/nll"] < 0.02


def test_sft_builds_and_stores_no_reference(tmp_path: Path) -> None:
    agent = sft()
    agent.save(tmp_path)
    assert agent.reference is None
    assert not (tmp_path / "reference").exists()


# DPO


@pytest.mark.parametrize(
    ("changes", "loss"),
    [
        ({}, math.log(2)),
        ({"label_smoothing": 0.2}, math.log(2)),
        ({"margin_coef": 0.5}, math.log(1 + math.exp(0.5))),
        ({"loss": "ipo", "kl_coef": 0.25}, 4.0),
    ],
)
@pytest.mark.parametrize("lora_rank", [0, 2])
def test_the_first_loss_is_that_of_a_policy_that_equals_its_reference(
    changes: dict[str, Any], loss: float, lora_rank: int
) -> None:
    log = Log()
    agent = dpo(policy(lora_rank=lora_rank), callbacks=(log,), batch_size=N, **changes)
    agent.examples = dataclasses.replace(PREFERENCES, weights=torch.ones(N))
    agent.learn(N)
    assert log.metrics[0]["train/loss"] == pytest.approx(loss, abs=1e-9)
    assert log.metrics[0]["train/log_ratio_per_token"] == 0
    assert log.metrics[0]["train/chosen_reward"] == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_dpo_minimises_the_logistic_loss_of_summed_log_ratios(smoothing: float) -> None:
    agent = dpo(reference=policy(1), kl_coef=0.3, label_smoothing=smoothing)

    def log_prob(model: CausalLMPolicy, side: TokenBatch) -> Tensor:
        said = model.model(side.input_ids).logits[:, :-1].log_softmax(-1)
        said = said.gather(2, side.input_ids[:, 1:, None]).squeeze(2)
        return (said * side.completion_mask[:, 1:]).sum(dim=1)

    chosen, rejected = (
        log_prob(agent.policy, side) - log_prob(agent.reference, side).detach()
        for side in (PREFERENCES.chosen, PREFERENCES.rejected)
    )
    h = 0.3 * (chosen - rejected)
    losses = -(1 - smoothing) * h.sigmoid().log() - smoothing * (-h).sigmoid().log()
    wanted = (PREFERENCES.weights.double() * losses).sum() / N
    found = agent.evaluate(PREFERENCES)
    chosen, rejected = chosen.detach(), rejected.detach()
    assert found["eval/loss"] == pytest.approx(float(wanted.detach()))
    assert found["eval/accuracy"] == pytest.approx(float((chosen > rejected).double().mean()))
    assert found["eval/chosen_reward"] == pytest.approx(0.3 * float(chosen.mean()))
    assert_close(gradient(agent, PREFERENCES), list(torch.autograd.grad(wanted, agent._parameters)))


def test_dpo_learns_what_was_preferred() -> None:
    agent = dpo(n_epochs=10).learn()
    evaluated = agent.evaluate(PREFERENCES)
    assert evaluated["eval/accuracy"] == 1
    assert evaluated["eval/chosen_reward"] > evaluated["eval/rejected_reward"]


def test_ipo_stops_at_its_optimum() -> None:
    """One pair has the log-ratio 1/(2β) in the end, where DPO goes on for ever."""
    one = PREFERENCES.select(torch.tensor([0]))
    config = DPOConfig(loss="ipo", kl_coef=0.25, learning_rate=1e-2)
    agent = DPO(policy(), one, config).learn(100)
    evaluated = agent.evaluate(one)
    difference = (evaluated["eval/chosen_reward"] - evaluated["eval/rejected_reward"]) / 0.25
    assert difference == pytest.approx(2, abs=0.05)


def test_a_first_pass_that_differs_from_the_reference_is_refused() -> None:
    agent = dpo()
    with torch.no_grad():
        agent.policy.head.weight[0, 0] += 0.1
    before = parameters(agent)
    with pytest.raises(TrainingStopped, match="KL of 0"):
        agent.learn()
    assert_close(parameters(agent), before, rtol=0, atol=0)


def test_action_masks_are_honoured() -> None:
    """What was not allowed when a text was written does not count in its probability."""
    table = torch.tensor([[True] * VOCAB, [True, True, True, False, True, True]])
    one = PREFERENCES.select(torch.tensor([0]))
    numbers = torch.ones_like(one.chosen.input_ids)
    agent = dpo(reference=policy(1))
    side = one.chosen._replace(action_masks=ActionMasks(table, numbers))
    free, masked = agent.policy(one.chosen).log_probs, agent.policy(side).log_probs
    at = side.completion_mask & (side.input_ids != 3)
    assert (masked[at] > free[at]).all()
    pair = dataclasses.replace(one, chosen=side, rejected=side)
    assert agent.evaluate(pair)["eval/loss"] == pytest.approx(math.log(2) * float(one.weights[0]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kl_coef": 0.0}, "kl_coef must be above 0, got 0.0"),
        ({"label_smoothing": 0.5}, r"label_smoothing must be in \[0, 0.5\), got 0.5"),
        ({"loss": "kto"}, "loss must be 'dpo' or 'ipo', got 'kto'"),
        ({"loss": "ipo", "margin_coef": 1.0}, "margin_coef must be 0 with loss='ipo', got 1.0"),
        ({"n_epochs": 0}, "n_epochs must be at least 1, got 0"),
        ({"learning_rate": math.inf}, "learning_rate must be finite, got inf"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_options_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DPOConfig(**settings)
