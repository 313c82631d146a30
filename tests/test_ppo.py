"""PPO: its guards, its order, its arithmetic, and the numbers it feeds to the mathematics."""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor
from torch.testing import assert_close
from transformers import GPT2Config

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.diagnostics import Statistics
from agents.algorithms.experience import Experience
from agents.algorithms.ppo import PPO
from agents.callbacks import Callback, StopOnScore
from agents.policy.action_masks import ActionMasks
from agents.policy.causal_lm import CausalLMPolicy, PolicyOutputs
from agents.policy.token_batch import TokenBatch
from agents.rollout.buffer import Rollout
from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv

ALPHABET = "abc"
V, L = len(ALPHABET) + 1, 8
TASK: dict[str, Any] = {
    "prompts": ["a", "bcb", "cb"],
    "tokenizer": CharTokenizer(ALPHABET),
    "reward_function": lambda prompt, completion: completion.count("a") - 0.5 * len(completion),
    "max_new_tokens": 5,
}
CONFIG = PPOConfig(
    n_episodes=12, batch_size=4, n_epochs=2, learning_rate=1e-3, lr_schedule="constant"
)
REPEATABLE = "time/"


def policy(seed: int = 0, dropout: float = 0.0, length: int = L, vocab: int = V) -> CausalLMPolicy:
    config = GPT2Config(vocab_size=vocab, n_embd=16, n_layer=2, n_head=2, n_positions=length)
    config.initializer_range = 0.3
    config.bos_token_id = config.eos_token_id = 0
    made = CausalLMPolicy.from_config(config, seed=seed)
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = dropout
    return made.train(dropout > 0)


def environments(n: int = 4, **changes: Any) -> VectorEnv[Any, Any, Any]:
    return TextGenVectorEnv(n, autoreset_mode="Disabled", **(TASK | changes))


def agent(
    cls: type[PPO] = PPO,
    *,
    callbacks: tuple[Callback, ...] = (),
    reference: CausalLMPolicy | None = None,
    trained: CausalLMPolicy | None = None,
    **changes: Any,
) -> PPO:
    config = dataclasses.replace(CONFIG, **changes)
    return cls(
        trained or policy(), environments(), config, reference=reference, callbacks=callbacks
    )


class Log(Callback):
    """Keeps what every update logs."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        self.metrics.append({k: v for k, v in metrics.items() if not k.startswith(REPEATABLE)})
        return True


def logged(total_episodes: int, cls: type[PPO] = PPO, **changes: Any) -> list[dict[str, float]]:
    log = Log()
    agent(cls, callbacks=(log,), **changes).learn(total_episodes)
    return log.metrics


def parameters(one: PPO) -> list[Tensor]:
    return [parameter.detach() for parameter in one.policy.parameters()]


# Guards


class NudgesAtSecondUpdate(PPO):
    def forward(self, texts: TokenBatch) -> tuple[PolicyOutputs, Tensor]:
        judged = super().forward(texts)
        if self.n_updates == 1:
            with torch.no_grad():
                self.policy.head.weight.mul_(1.001)
        return judged


def test_a_policy_that_moves_before_its_update_is_noticed() -> None:
    nudged = agent(NudgesAtSecondUpdate)
    with pytest.raises(RuntimeError, match="first minibatch of an update must have a ratio of 1"):
        nudged.learn(36)
    assert nudged.n_updates == 1


def test_a_reference_that_is_not_the_start_is_noticed() -> None:
    noisy = agent()
    with torch.no_grad():
        noisy.reference.head.weight.mul_(1.001)
    with pytest.raises(RuntimeError, match="first update must have a KL of 0"):
        noisy.learn(12)


def test_a_reference_of_ones_own_may_differ_from_the_start() -> None:
    (metrics,) = logged(12, reference=policy(seed=1))
    assert metrics["rollout/kl_k3"] > 0.01


def test_dropout_that_was_smuggled_in_is_noticed() -> None:
    with pytest.raises(ValueError, match="must decode as it is trained"):
        agent(trained=policy(dropout=0.1))


@pytest.mark.parametrize(
    ("reference", "message"), [(None, "KL of 0"), (policy(), "sampled with the log-probs of")]
)
def test_dropout_that_is_smuggled_in_later_is_noticed(
    reference: CausalLMPolicy | None, message: str
) -> None:
    one = agent(trained=policy(dropout=1e-9), reference=reference)
    for module in one.policy.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.1
    with pytest.raises(RuntimeError, match=message):
        one.learn(12)


def test_log_probs_that_are_not_numbers_are_noticed() -> None:
    class Spoiled(PPO):
        def forward(self, texts: TokenBatch) -> tuple[PolicyOutputs, Tensor]:
            old, reference = super().forward(texts)
            return old._replace(log_probs=old.log_probs * torch.nan), reference

    with pytest.raises(RuntimeError, match="KL of 0"):
        agent(Spoiled).learn(12)
    with pytest.raises(RuntimeError, match=r"KL from the reference must stay below .*, got nan"):
        agent(Spoiled, reference=policy()).learn(12)


def test_a_healthy_run_starts_every_update_at_ratio_1_and_the_first_at_kl_0() -> None:
    first, second, third = logged(36)
    assert abs(first["rollout/kl_per_token"]) < 1e-7
    assert abs(first["rollout/kl"]) < 1e-6
    for metrics in (first, second, third):
        assert metrics["train/first_ratio_error"] < 1e-5
        assert metrics["rollout/sampling_log_prob_error"] < 1e-5
    assert third["rollout/kl"] != 0


@pytest.mark.parametrize("micro_batch_size", [None, 1, 3])
def test_with_no_learning_rate_nothing_ever_moves(micro_batch_size: int | None) -> None:
    """Whatever the padding of minibatch and chunk: the log-ratio stays 0 in every epoch."""
    for metrics in logged(24, learning_rate=1e-30, micro_batch_size=micro_batch_size, n_epochs=3):
        assert metrics["train/ratio_min"] == pytest.approx(1, abs=1e-5)
        assert metrics["train/ratio_max"] == pytest.approx(1, abs=1e-5)
        assert metrics["train/approx_kl"] == pytest.approx(0, abs=1e-10)
        assert metrics["train/clip_fraction"] == 0
        assert metrics["rollout/kl"] == pytest.approx(0, abs=1e-5)


# Minibatches, micro-batches, steps


@pytest.mark.parametrize("changes", [{}, {"ent_coef": 0.1, "clip_range_vf": 0.1, "vf_coef": 1.0}])
def test_micro_batches_change_nothing_but_memory(changes: dict[str, float]) -> None:
    outcomes = []
    for micro_batch_size in (None, 1, 3):
        log = Log()
        one = agent(
            callbacks=(log,),
            trained=policy().double(),
            micro_batch_size=micro_batch_size,
            batch_size=6,
            learning_rate=1e-2,
            **changes,
        )
        outcomes.append((parameters(one.learn(24)), log.metrics))
    (whole, expected), *split = outcomes
    assert expected[-1]["train/clip_fraction"] > 0
    for got, metrics in split:
        for one, other in zip(whole, got, strict=True):
            assert_close(one, other, rtol=0, atol=1e-10)
        for said, wanted in zip(metrics, expected, strict=True):
            assert said == pytest.approx(wanted, abs=1e-6, nan_ok=True)


def numbered_experience(n: int) -> Experience:
    """Episode i has i + 1 tokens after a prompt of one, and advantages i."""
    width = n + 1
    positions = torch.arange(width)
    attention_mask = positions <= torch.arange(1, n + 1)[:, None]
    numbers = torch.arange(n)[:, None].expand(n, width)
    texts = TokenBatch(numbers % V, attention_mask, attention_mask & (positions > 0))
    floats = numbers.float()
    return Experience(texts, floats, floats, floats, floats, floats)


@pytest.mark.parametrize("batch_size", [3, 5, 12])
def test_minibatches_visit_every_episode_once_per_epoch_in_new_order(batch_size: int) -> None:
    experience, generator = numbered_experience(12), torch.Generator().manual_seed(0)
    orders = []
    for _ in range(3):
        minibatches = list(experience.shuffled(batch_size, generator))
        orders.append([int(i) for minibatch in minibatches for i in minibatch.advantages[:, 0]])
        assert sorted(orders[-1]) == list(range(12))
        for minibatch in minibatches:
            longest = int(minibatch.advantages.max()) + 2
            assert minibatch.texts.input_ids.shape[1] == longest
            tensors = [part for part in minibatch if isinstance(part, Tensor)]
            assert all(part.shape == minibatch.texts.input_ids.shape for part in tensors)
            assert torch.equal(minibatch.texts.lengths, minibatch.advantages[:, 0].long() + 1)
            assert minibatch.n_tokens == int(minibatch.texts.lengths.sum())
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize("size", [1, 5, 12, 20])
def test_micro_batches_are_the_episodes_in_order(size: int) -> None:
    parts = list(numbered_experience(12).split(size))
    assert [part.n_episodes for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert torch.cat([part.advantages[:, 0] for part in parts]).tolist() == list(range(12))


@pytest.mark.parametrize("batch_size", [3, 5, 12])
def test_every_epoch_learns_from_every_episode_in_a_new_order(batch_size: int) -> None:
    seen: list[list[float]] = []

    class Spy(PPO):
        def _accumulate(self, minibatch: Experience) -> Statistics:
            seen.append(minibatch.advantages[:, 0].tolist())
            return super()._accumulate(minibatch)

    one = agent(Spy, batch_size=batch_size, n_epochs=3)
    rollout = one.collect()
    old, ref_log_probs = one.forward(rollout.texts)
    numbers = torch.arange(12.0)[:, None].expand_as(old.log_probs)
    experience = Experience(
        rollout.texts, old.log_probs, ref_log_probs, old.values, numbers, numbers
    )
    one.update(experience)
    order = list(itertools.chain.from_iterable(seen))
    epochs = [order[:12], order[12:24], order[24:]]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_number_of_steps_is_epochs_times_minibatches() -> None:
    assert logged(12, batch_size=5, n_epochs=3)[0]["train/n_steps"] == 9


def test_target_kl_stops_before_the_step() -> None:
    """A step that moves the policy too far is the last one: as if there were one epoch."""
    log = Log()
    changes = {"learning_rate": 1e-2, "batch_size": 12}
    stopped = agent(callbacks=(log,), target_kl=1e-6, n_epochs=4, **changes).learn(12)
    once = agent(n_epochs=1, **changes).learn(12)
    assert log.metrics[0]["train/n_steps"] == 1
    assert log.metrics[0]["train/stopped_early"] == 1
    for one, other in zip(parameters(stopped), parameters(once), strict=True):
        assert torch.equal(one, other)


def test_target_kl_that_is_not_reached_changes_nothing() -> None:
    assert logged(24, target_kl=1e3) == logged(24)


def test_gradients_are_clipped_to_their_norm() -> None:
    """With a tiny bound on the norm, Adam's epsilon keeps the step tiny."""
    start = parameters(agent())
    clipped = agent(max_grad_norm=1e-12, n_epochs=1, batch_size=12).learn(12)
    moved = [(a - b).abs().max().item() for a, b in zip(parameters(clipped), start, strict=True)]
    assert max(moved) < 1e-8
    (metrics,) = logged(12, max_grad_norm=1e-12, n_epochs=1, batch_size=12)
    assert metrics["train/grad_norm"] > 1e-3  # before clipping


# From rewards to advantages, by hand

D = torch.float64


def by_hand() -> tuple[Rollout, PolicyOutputs, Tensor]:
    """Two episodes of two tokens after a prompt of one; the second is truncated."""
    mask = torch.tensor([[False, True, True], [False, True, True]])
    texts = TokenBatch(
        torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool), mask
    )
    old = PolicyOutputs(
        log_probs=torch.tensor([[0, -1, -2], [0, -1, -1]], dtype=D),
        entropies=torch.zeros(2, 3, dtype=D),
        values=torch.tensor([[9, 0.5, 1], [9, 0, 2]], dtype=D),
        bootstrap_values=torch.tensor([100, 4], dtype=D),
    )
    rollout = Rollout(
        texts=texts,
        rewards=torch.tensor([[0.0, 1.0, 3.0], [0.0, 0.0, 0.0]]),
        log_probs=old.log_probs.float(),
        truncated=torch.tensor([False, True]),
        infos=[{}, {}],
    )
    ref_log_probs = torch.tensor([[0, -3, -2], [0, -1, -0.5]], dtype=D)
    return rollout, old, ref_log_probs


def estimated(**changes: Any) -> tuple[Experience, dict[str, float]]:
    one = agent(reference=policy(), **({"kl_coef": 0.5, "normalize_advantage": False} | changes))
    return one.estimate(*by_hand())


def test_advantages_with_penalty_and_bootstrap_by_hand() -> None:
    # Penalised rewards: 1 - 0.5 * 2 = 0, 3; 0, -0.5 * -0.5... the second row's last token has
    # log-ratio -1 + 0.5 = -0.5, so it pays 0.25. λ = 0.5, γ = 1.
    # Row 1 terminates: δ = (0 + 1 - 0.5, 3 + 0 - 1) = (0.5, 2); A = (0.5 + 0.5 * 2, 2) = (1.5, 2).
    # Row 2 is truncated: δ = (0 + 2 - 0, 0.25 + 4 - 2) = (2, 2.25); A = (2 + 1.125, 2.25).
    experience, metrics = estimated(gae_lambda=0.5)
    expected = torch.tensor([[0, 1.5, 2], [0, 3.125, 2.25]], dtype=D)
    assert_close(experience.advantages, expected, rtol=0, atol=1e-12)
    returns = torch.tensor([[0, 2, 3], [0, 3.125, 4.25]], dtype=D)
    assert_close(experience.returns, returns, rtol=0, atol=1e-12)
    assert metrics["rollout/advantage_mean"] == pytest.approx((1.5 + 2 + 3.125 + 2.25) / 4)
    assert metrics["rollout/kl"] == pytest.approx((2 - 0.5) / 2)
    assert metrics["rollout/penalised_score_mean"] == pytest.approx((4 - 1 + 0.25) / 2)


def test_discount_counts_tokens() -> None:
    # Without penalty: row 1: R = (1 + 0.5 * 3, 3); row 2: (0.25 * 4, 0.5 * 4).
    experience, _ = estimated(gamma=0.5, gae_lambda=1.0, kl_coef=0.0)
    returns = torch.tensor([[0, 2.5, 3], [0, 1, 2]], dtype=D)
    assert_close(experience.returns, returns, rtol=0, atol=1e-12)


def test_whitened_advantages_and_plain_returns() -> None:
    plain, _ = estimated()
    whitened, _ = estimated(normalize_advantage=True)
    mask = plain.texts.completion_mask
    counted = plain.advantages[mask]
    expected = (counted - counted.mean()) / counted.std(correction=0)
    assert_close(whitened.advantages[mask], expected, rtol=0, atol=1e-6)
    assert not whitened.advantages[~mask].any()
    assert torch.equal(whitened.returns, plain.returns)


def test_whitened_rewards_keep_their_mean() -> None:
    # Rewards after the penalty: 0, 3, 0, 0.25 of mean 0.8125; λ = 1, so returns are their sums.
    rewards = torch.tensor([0, 3, 0, 0.25], dtype=D)
    a, b, c, d = ((rewards - rewards.mean()) / rewards.std(correction=0) + rewards.mean()).tolist()
    experience, _ = estimated(whiten_rewards=True, gae_lambda=1.0)
    expected = torch.tensor([[0, a + b, b], [0, c + d + 4, d + 4]], dtype=D)
    assert_close(experience.returns, expected, rtol=0, atol=1e-6)


def test_penalty_is_charged_at_the_controllers_price() -> None:
    one = agent(reference=policy(), normalize_advantage=False, gae_lambda=1.0, kl_coef=0.5)
    one.kl_controller.kl_coef = 2.0
    experience, _ = one.estimate(*by_hand())
    assert experience.returns[0].tolist() == [0, 1 - 4 + 3, 3]


# Schedules and controllers


def test_the_price_of_kl_is_logged_as_charged_and_adapted_afterwards() -> None:
    settings = {"kl_coef": 0.2, "kl_target": 0.05, "kl_horizon": 100.0, "learning_rate": 1e-2}
    metrics = logged(48, **settings)
    price = 0.2
    for one in metrics:
        assert one["train/kl_coef"] == pytest.approx(price, abs=1e-12)
        charged = one["rollout/score_mean"] - price * one["rollout/kl"]
        assert one["rollout/penalised_score_mean"] == pytest.approx(charged, abs=1e-5)
        error = max(-0.2, min(0.2, one["rollout/kl"] / 0.05 - 1))
        price *= 1 + error * 12 / 100
    assert price != pytest.approx(0.2 * (1 - 0.2 * 12 / 100) ** 4)  # it did not only fall


def test_learning_rate_falls_linearly_to_the_total() -> None:
    rates: list[float] = []

    class Spy(Callback):
        def on_rollout_end(self, agent: PPO, rollout: Rollout) -> None:
            rates.append(agent.optimizer.param_groups[0]["lr"])

    log = Log()
    agent(callbacks=(Spy(), log), lr_schedule="linear", learning_rate=0.03).learn(36)
    assert rates == pytest.approx([0.03, 0.02, 0.01])
    assert [one["train/learning_rate"] for one in log.metrics] == rates


def test_learning_rate_stays_where_it_is_if_constant() -> None:
    assert {one["train/learning_rate"] for one in logged(36)} == {1e-3}


# Length of training, callbacks


def test_the_last_batch_overshoots_and_learning_goes_on_where_it_stopped() -> None:
    one = agent()
    assert one.learn(20) is one
    assert (one.n_episodes, one.n_updates) == (24, 2)
    before = [parameter.clone() for parameter in parameters(one)]
    one.learn(24)
    assert all(map(torch.equal, before, parameters(one)))
    one.learn(25)
    assert (one.n_episodes, one.n_updates) == (36, 3)


def test_a_policy_is_no_name() -> None:
    with pytest.raises(ValueError, match=r"policy must be a CausalLMPolicy, .* got 'MlpPolicy'"):
        PPO("MlpPolicy", None)  # type: ignore[arg-type]


@pytest.mark.parametrize("total", [0, -1, 1.5, "8", True])
def test_what_is_no_number_of_episodes_to_learn_from_is_refused(total: Any) -> None:
    one = agent()
    with pytest.raises(ValueError, match=f"total_episodes must be an int of .* 1, got {total!r}"):
        one.learn(total)
    assert one.n_updates == 0


def test_environments_are_seeded_once_at_the_very_start() -> None:
    seeds: list[Any] = []

    class Spy(TextGenVectorEnv):
        def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> Any:
            if not options:  # the full reset that every batch starts with
                seeds.append(seed)
            return super().reset(seed=seed, options=options)

    envs = Spy(4, autoreset_mode="Disabled", **TASK)
    PPO(policy(), envs, dataclasses.replace(CONFIG, seed=31)).learn(24).learn(36)
    assert seeds == [31, None, None]


def test_learning_in_two_calls_equals_learning_in_one() -> None:
    one, two = agent().learn(36), agent().learn(12).learn(36)
    assert all(map(torch.equal, parameters(one), parameters(two)))


class Diary(Callback):
    def __init__(self, goes_on: int = 99) -> None:
        self.entries: list[str] = []
        self.goes_on = goes_on

    def on_training_start(self, agent: PPO, total_episodes: int) -> None:
        self.entries.append(f"start {total_episodes}")

    def on_rollout_end(self, agent: PPO, rollout: Rollout) -> None:
        self.entries.append(f"rollout {len(rollout)} after {agent.n_updates}")

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        self.entries.append(f"update {agent.n_updates} at {agent.n_episodes}")
        return agent.n_updates < self.goes_on

    def on_training_end(self, agent: PPO) -> None:
        self.entries.append("end")


def test_callbacks_are_called_in_order() -> None:
    diary = Diary()
    agent(callbacks=(diary,)).learn(24)
    assert diary.entries == [
        "start 24",
        "rollout 12 after 0",
        "update 1 at 12",
        "rollout 12 after 1",
        "update 2 at 24",
        "end",
    ]


def test_one_callback_that_says_no_stops_training_and_all_are_told() -> None:
    stops, other = Diary(goes_on=1), Diary()
    one = agent(callbacks=(stops, other)).learn(60)
    assert one.n_updates == 1
    assert stops.entries[-2:] == other.entries[-2:] == ["update 1 at 12", "end"]


@pytest.mark.parametrize(("threshold", "n_updates"), [(-100.0, 1), (100.0, 3)])
def test_stop_on_score(threshold: float, n_updates: int) -> None:
    assert agent(callbacks=(StopOnScore(threshold),)).learn(36).n_updates == n_updates


def test_rollouts_reach_callbacks_before_the_policy_learns() -> None:
    start = parameters(agent())

    class Check(Callback):
        def on_rollout_end(self, agent: PPO, rollout: Rollout) -> None:
            if agent.n_updates == 0:
                assert all(map(torch.equal, start, parameters(agent)))

        def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
            assert not all(map(torch.equal, start, parameters(agent)))
            return True

    agent(callbacks=(Check(),)).learn(12)


def test_time_is_logged() -> None:
    seen: dict[str, float] = {}

    class Spy(Callback):
        def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
            seen.update(metrics)
            return True

    agent(callbacks=(Spy(),)).learn(12)
    parts = [seen[f"time/{name}"] for name in ("generate", "score", "train")]
    for stage, names in (
        ("generate", ("environment", "prefill", "decode")),
        ("score", ("policy", "reference")),
        ("train", ("forward", "backward", "optimizer")),
    ):
        seconds = [seen[f"time/{name}"] for name in names]
        assert min(seconds) > 0
        assert sum(seconds) <= seen[f"time/{stage}"]
    assert seen["time/total"] == pytest.approx(sum(parts))
    assert seen["time/episodes_per_second"] == pytest.approx(12 / sum(parts))
    tokens = 12 * seen["rollout/length_mean"]
    assert seen["time/tokens_per_second"] == pytest.approx(tokens / sum(parts), rel=1e-5)


def test_only_the_policy_learns() -> None:
    one = agent()
    before = [parameter.clone() for parameter in one.reference.parameters()]
    start = [parameter.clone() for parameter in parameters(one)]
    one.learn(24)
    assert all(map(torch.equal, before, one.reference.parameters()))
    assert all(parameter.grad is None for parameter in one.reference.parameters())
    assert not any(map(torch.equal, start, parameters(one)))


# Masks of the environment


class Holey(CharTokenizer):
    """Has an id, 1, that stands for no text."""

    def __init__(self) -> None:
        super().__init__(ALPHABET)
        self.excluded_token_ids = frozenset({1})


def test_rollout_reference_and_update_renormalise_under_the_same_mask() -> None:
    envs = environments(tokenizer=Holey(), prompts=["a", "cc"])
    log = Log()
    one = PPO(policy(), envs, CONFIG, callbacks=(log,)).learn(24)
    assert log.metrics[0]["rollout/sampling_log_prob_error"] < 1e-5
    assert log.metrics[0]["rollout/kl_per_token"] == pytest.approx(0, abs=1e-7)
    assert all(metrics["train/first_ratio_error"] < 1e-5 for metrics in log.metrics)
    assert all(metrics["train/entropy"] <= np.log(3) for metrics in log.metrics)
    rollout = one.collect()
    old, ref_log_probs = one.forward(rollout.texts)
    free = rollout.texts._replace(action_masks=None)
    with torch.no_grad():
        assert_close(ref_log_probs, one.reference(rollout.texts).log_probs, rtol=0, atol=1e-5)
        chosen = rollout.texts.completion_mask
        assert (one.reference(free).log_probs < ref_log_probs)[chosen].all()
        assert (one.policy(free).log_probs < old.log_probs)[chosen].all()
    assert isinstance(rollout.texts.action_masks, ActionMasks)


# Prediction


def observation(*texts: list[int]) -> dict[str, np.ndarray]:
    input_ids = np.zeros((len(texts), L), dtype=np.int64)
    attention_mask = np.zeros((len(texts), L), dtype=np.int8)
    for row, text in enumerate(texts):
        input_ids[row, : len(text)], attention_mask[row, : len(text)] = text, 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def own_logits(one: PPO, text: list[int]) -> Tensor:
    with torch.no_grad():
        return one.policy.model(torch.tensor([text])).logits[0, -1] / one.policy.temperature


TEXTS = [[0], [1, 2, 1, 0], [2, 1], [2, 2, 2, 2, 2, 2, 2, 2]]


def test_deterministic_prediction_is_the_most_probable_token() -> None:
    one = agent()
    actions, state = one.predict(observation(*TEXTS), state="kept", deterministic=True)
    assert actions.tolist() == [own_logits(one, text).argmax().item() for text in TEXTS]
    assert actions.dtype == np.int64
    assert state == "kept"


def test_prediction_for_a_single_observation_is_a_single_action() -> None:
    one = agent()
    single = {key: value[0] for key, value in observation(TEXTS[1]).items()}
    action, _ = one.predict(single, deterministic=True)
    assert action.shape == ()
    assert int(action) == own_logits(one, TEXTS[1]).argmax().item()
    assert one.envs.single_action_space.contains(action)


@pytest.mark.parametrize("mask", [None, [True, False, True, True]])
def test_predictions_are_drawn_from_the_policy(mask: list[bool] | None) -> None:
    one = agent(trained=policy())
    one.policy.temperature = 2.0
    masks = None if mask is None else np.array([mask] * 4_000)
    batch = observation(*[TEXTS[1]] * 4_000)
    actions, _ = one.predict(batch, action_masks=masks)
    logits = own_logits(one, TEXTS[1])
    allowed = torch.tensor([True] * V if mask is None else mask)
    expected = 4_000 * logits.masked_fill(~allowed, -torch.inf).softmax(-1)[allowed]
    counts = torch.bincount(torch.from_numpy(actions), minlength=V)
    assert not counts[~allowed].any()
    assert expected.min() > 5
    chi_square = ((counts[allowed] - expected) ** 2 / expected).sum().item()
    assert chi_square < 16.3  # 0.999 quantile, 3 degrees of freedom


def test_masks_bind_deterministic_predictions_too() -> None:
    one = agent()
    best = own_logits(one, TEXTS[1]).argmax().item()
    mask = np.ones(V, dtype=np.int8)
    mask[best] = 0
    single = {key: value[0] for key, value in observation(TEXTS[1]).items()}
    action, _ = one.predict(single, deterministic=True, action_masks=mask)
    assert int(action) == own_logits(one, TEXTS[1]).topk(2).indices[1].item()


class HoleyTokenizer(CharTokenizer):
    """Has an id, 1, that stands for no text."""

    def __init__(self) -> None:
        super().__init__(ALPHABET)
        self.excluded_token_ids = frozenset({1})


def prefers_holes() -> PPO:
    one = PPO(policy(), environments(tokenizer=HoleyTokenizer(), prompts=["a"]), CONFIG)
    with torch.no_grad():
        one.policy.head.weight[1] = 0
        bias = one.policy.trunk(torch.tensor([[0]])).last_hidden_state[0, 0]
        one.policy.head.weight[1] = 4 * bias / bias.square().sum().sqrt()
    return one


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("masks", [None, np.array([0, 1, 1, 1], dtype=np.int8)])
def test_predictions_keep_to_the_vocabulary(deterministic: bool, masks: Any) -> None:
    one = prefers_holes()
    assert own_logits(one, [0]).argmax().item() == 1
    actions, _ = one.predict(observation(*[[0]] * 200), None, None, deterministic, masks)
    assert set(actions.tolist()) <= ({0, 2, 3} if masks is None else {2, 3})


def test_stable_baselines_evaluates_within_the_vocabulary() -> None:
    one, written = prefers_holes(), []

    class Noting(TextGenEnv):
        def step(self, action: int) -> Any:
            written.append(int(action))
            return super().step(action)

    task = TASK | {"tokenizer": HoleyTokenizer(), "prompts": ["a"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no Monitor around the environments
        evaluate_policy(one, DummyVecEnv([lambda: Noting(**task)]), 40, deterministic=False)  # type: ignore[arg-type]
    assert set(written) == {0, 2, 3}


@pytest.mark.parametrize("deterministic", [False, True])
def test_predictions_need_an_allowed_token_and_finite_logits(deterministic: bool) -> None:
    one = prefers_holes()
    batch = observation([0], [0, 2])
    only_the_hole = np.array([0, 1, 0, 0], dtype=np.int8)
    for masks in (np.zeros((2, V), dtype=bool), only_the_hole):
        with pytest.raises(ValueError, match=r"action_mask must allow .*got none in rows \[0"):
            one.predict(batch, deterministic=deterministic, action_masks=masks)
    with torch.no_grad():
        one.policy.trunk.wte.weight[2] = torch.inf  # type: ignore[index, union-attr]
    with pytest.raises(ValueError, match="logits must be finite, got nan in 2 of 2 rows"):
        one.predict(batch, deterministic=deterministic)


def test_stable_baselines_evaluates_the_agent() -> None:
    one = agent()
    envs = DummyVecEnv([lambda: TextGenEnv(**TASK)] * 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no Monitor around the environments
        returns, lengths = evaluate_policy(
            one,  # type: ignore[arg-type]
            envs,
            n_eval_episodes=6,
            deterministic=True,
            return_episode_rewards=True,
        )
    assert len(returns) == 6
    env = TextGenEnv(**TASK)
    possible = []
    for prompt in TASK["prompts"]:
        text, _ = env.reset(options={"prompt": prompt})
        total, length, over = 0.0, 0, False
        while not over:
            action, _ = one.predict(text, deterministic=True)
            text, reward, over, _, _ = env.step(int(action))
            total, length = total + reward, length + 1
        possible.append((total, length))
    assert set(zip(returns, lengths, strict=True)) <= set(possible)


# What does not fit


def test_a_vocabulary_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Discrete\(6\), got Discrete\(4\).*vocab_size=6"):
        PPO(policy(vocab=6), environments(), CONFIG)


def test_texts_longer_than_the_models_positions_are_refused() -> None:
    with pytest.raises(
        ValueError, match="texts of at most 7 tokens, the policy's positions, got 8"
    ):
        PPO(policy(length=7), environments(), CONFIG)
    PPO(policy(length=8), environments(), CONFIG).learn(12)


def test_fewer_episodes_than_environments_are_refused() -> None:
    message = r"n_episodes must be .* at least num_envs=13 for each, got 12"
    with pytest.raises(ValueError, match=message):
        PPO(policy(), environments(13), CONFIG)


def test_next_step_autoreset_is_refused() -> None:
    envs = TextGenVectorEnv(2, autoreset_mode="NextStep", **TASK)
    with pytest.raises(ValueError, match="NEXT_STEP"):
        PPO(policy(), envs, CONFIG)
