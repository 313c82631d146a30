from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from gymnasium.wrappers.vector import TransformReward
from torch.testing import assert_close
from transformers import GPT2Config, LlamaConfig

from agents import train
from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.health_checks import TrainingStopped
from agents.algorithms.ppo import PPO
from agents.applications.fine_tuning import FineTuning, with_algorithm
from agents.applications.registry import PRESETS
from agents.applications.toy_policy import toy_policy
from agents.callbacks import Callback
from agents.policy.causal_lm import CausalLMPolicy, forward_in_chunks
from agents.policy.config import PolicyConfig
from agents.rollout.buffer import Rollout
from agents.runs import learners, pipeline
from agents.sb3_baseline import hyperparameters
from agents.sb3_baseline.agent import SB3PPO
from agents.sb3_baseline.evaluation import write_texts
from agents.sb3_baseline.features import LastHiddenState, OneHotTexts
from agents.sb3_baseline.hyperparameters import sb3_arguments, update_sizes
from agents.sb3_baseline.metrics import update_metrics
from agents.sb3_baseline.networks import MAX_ONE_HOTS, Network, mean_log_probs
from agents.sb3_baseline.text_recorder import FinishedText, rollout_of
from text_gym import CharTokenizer
from text_gym.rewards import count_words

NETWORKS: tuple[Network, ...] = ("mlp", "transformer")


def make_envs(num_envs: int = 4, **task: Any) -> Any:
    """`TextGen-v0`: V = 33, a prompt of four tokens, L = 24."""
    return gym.make_vec("TextGen-v0", num_envs=num_envs, autoreset_mode="Disabled", **task)


def toy(length: int = 24) -> CausalLMPolicy:
    return toy_policy(33, 32, length=length, eos_probability=0.2)


def random_policy(vocab_size: int = 33, temperature: float = 1.0) -> CausalLMPolicy:
    """A policy whose distribution and value depend on the text."""
    config = GPT2Config(
        vocab_size=vocab_size,
        n_positions=24,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=0,
    )
    policy = CausalLMPolicy.from_config(config, seed=1, temperature=temperature)
    torch.nn.init.normal_(policy.value_head.weight)
    return policy


def config_of(**changes: Any) -> PPOConfig:
    small: dict[str, Any] = {"n_episodes": 8, "batch_size": 4, "n_epochs": 1, "kl_coef": 0.0}
    return PPOConfig(**{**small, **changes})


def make_agent(
    network: Network = "mlp",
    start: CausalLMPolicy | None = None,
    envs: Any = None,
    config: PPOConfig | None = None,
    **options: Any,
) -> SB3PPO:
    envs = make_envs() if envs is None else envs
    config = config or config_of()
    return SB3PPO(network, start or toy(), envs, config, **{"mean_length": 5.0, **options})


def observations(*texts: list[int]) -> dict[str, torch.Tensor]:
    """Texts right-padded to 24, as SB3 gives them to an extractor: as floats."""
    ids, mask = torch.zeros(len(texts), 24), torch.zeros(len(texts), 24)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text).float()
        mask[row, : len(text)] = 1
    return {"input_ids": ids, "attention_mask": mask}


TEXTS = ([7, 3, 9, 1], [7, 3, 9, 1, 30, 0, 0, 5], [2], list(range(24)))


class Watch(Callback):
    """Keeps what it is told."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.rollouts: list[Rollout] = []
        self.metrics: list[Mapping[str, float]] = []
        self.episodes: list[int] = []
        self.calls: list[str] = []
        self.stop_after = stop_after

    def on_training_start(self, agent: Any, total_episodes: int) -> None:
        self.calls.append(f"start {total_episodes}")

    def on_rollout_end(self, agent: Any, rollout: Rollout) -> None:
        self.calls.append("rollout")
        self.rollouts.append(rollout)

    def on_update_end(self, agent: Any, metrics: Mapping[str, float]) -> bool:
        self.calls.append("update")
        self.metrics.append(metrics)
        self.episodes.append(agent.n_episodes)
        return agent.n_updates != self.stop_after

    def on_training_end(self, agent: Any) -> None:
        self.calls.append("end")


# What the networks see


def text_space(length: int, vocab_size: int) -> spaces.Dict:
    return spaces.Dict(
        input_ids=spaces.Box(0, vocab_size - 1, (length,), np.int64),
        attention_mask=spaces.Box(0, 1, (length,), np.int8),
    )


def test_one_hots_stand_position_by_position_and_are_zero_where_there_is_no_text() -> None:
    extractor = OneHotTexts(text_space(3, 2), vocab_size=2)
    seen = extractor(
        {
            "input_ids": torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]),
            "attention_mask": torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
        }
    )
    assert extractor.features_dim == 6
    assert seen.tolist() == [[0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0]]
    assert seen.dtype == torch.float32


def test_transformer_sees_the_hidden_state_at_the_last_token() -> None:
    policy = random_policy()
    extractor = LastHiddenState(text_space(24, 33), policy)
    seen = extractor(observations(*TEXTS))
    assert extractor.features_dim == 16
    for row, text in enumerate(TEXTS):
        ids = torch.tensor([text])
        alone = policy.hidden_states(ids, torch.ones_like(ids))[0, -1]
        assert_close(seen[row], alone, rtol=0, atol=1e-5)


def test_transformer_reads_no_further_than_the_longest_text() -> None:
    policy = random_policy()
    extractor = LastHiddenState(text_space(24, 33), policy)
    widths = []
    extractor.trunk.register_forward_pre_hook(
        lambda _module, _args, kwargs: widths.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    extractor(observations(*TEXTS[:3]))
    assert widths == [(3, 8)]


# How they start


@pytest.mark.parametrize("network", NETWORKS)
def test_start_has_the_toy_policys_distribution_in_every_state(network: Network) -> None:
    policy = make_agent(network).model.policy
    distribution: Any = policy.get_distribution(observations(*TEXTS)).distribution
    expected = torch.full((4, 33), 0.8 / 32)
    expected[:, 32] = 0.2
    assert_close(distribution.probs, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_transformer_starts_with_every_distribution_and_value_of_the_policy(
    temperature: float,
) -> None:
    start = random_policy(temperature=temperature)
    policy = make_agent("transformer", start).model.policy
    distribution: Any = policy.get_distribution(observations(*TEXTS)).distribution
    values = policy.predict_values(observations(*TEXTS)).squeeze(1)
    for row, text in enumerate(TEXTS):
        ids = torch.tensor([text])
        last = start.hidden_states(ids, torch.ones_like(ids))[:, -1]
        assert_close(distribution.logits[row], start.logits(last)[0].log_softmax(-1))
        assert_close(values[row], start.values(last)[0], rtol=0, atol=1e-5)


def test_weights_of_any_architecture_survive_sb3s_initialisation() -> None:
    config = LlamaConfig(
        vocab_size=33,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
    )
    start = CausalLMPolicy.from_config(config, seed=2)  # of torch's linear layers, unlike GPT-2
    extractor: Any = make_agent("transformer", start).model.policy.features_extractor
    assert_close(extractor.trunk.state_dict(), start.trunk.state_dict(), rtol=0, atol=0)


def test_mean_of_distributions_is_that_after_one_token() -> None:
    policy = random_policy(vocab_size=3)
    with torch.no_grad():
        logits = policy.model(torch.tensor([[0], [1], [2]])).logits[:, -1]
        assert_close(mean_log_probs(policy).exp(), logits.double().softmax(-1).mean(dim=0))


@pytest.mark.parametrize("network", NETWORKS)
def test_learning_leaves_the_starting_policy_alone(network: Network) -> None:
    start = toy()
    before = {name: value.clone() for name, value in start.state_dict().items()}
    agent = make_agent(network, start, config=config_of(learning_rate=0.01)).learn(8)
    assert_close(start.state_dict(), before, rtol=0, atol=0)
    moved: Any = agent.model.policy.get_distribution(observations(*TEXTS)).distribution
    assert moved.probs[0, 32].item() != pytest.approx(0.2, abs=1e-4)


def test_what_is_no_number_of_episodes_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="total_episodes must be an int of at least 1, got 0"):
        make_agent().learn(0)


# Hyperparameters


def test_every_hyperparameter_has_a_known_fate() -> None:
    fates = [
        *hyperparameters.SAME_MEANING,
        *hyperparameters.CONVERTED,
        *hyperparameters.WITHOUT_EFFECT,
        *hyperparameters.REFUSED,
    ]
    assert sorted(fates) == sorted(field.name for field in dataclasses.fields(PPOConfig))


def test_hyperparameters_reach_sb3() -> None:
    config = config_of(
        learning_rate=0.02,
        lr_schedule="constant",
        adam_epsilon=1e-3,
        n_epochs=3,
        gamma=0.9,
        gae_lambda=0.8,
        clip_range=0.1,
        clip_range_vf=0.4,
        vf_coef=0.6,
        ent_coef=0.01,
        max_grad_norm=2.0,
        target_kl=0.05,
        normalize_advantage=False,
        seed=7,
    )
    model = make_agent(config=config).model
    assert (model.n_epochs, model.gamma, model.gae_lambda) == (3, 0.9, 0.8)
    assert (model.clip_range(1.0), model.clip_range_vf(1.0)) == (0.1, 0.4)  # type: ignore[operator,misc]
    assert (model.ent_coef, model.vf_coef) == (0.01, 0.3)
    assert (model.max_grad_norm, model.target_kl) == (2.0, 0.05)
    assert (model.normalize_advantage, model.seed) == (False, 7)
    group = model.policy.optimizer.param_groups[0]
    assert (group["lr"], group["eps"]) == (0.02, 1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kl_coef": 0.1}, r"kl_coef must be 0.0 .* because it has no reference policy .*got 0.1"),
        ({"kl_target": 1.0, "kl_coef": 0.1}, "kl_coef must be 0.0"),
        ({"clip_range_high": 0.3}, r"clip_range_high must be None .* symmetric, got 0.3"),
        ({"dual_clip": 3.0}, "dual_clip must be None"),
        ({"whiten_rewards": True}, "whiten_rewards must be False"),
    ],
)
def test_what_sb3_cannot_do_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sb3_arguments(config_of(**changes))


def test_updates_are_of_as_many_episodes_in_as_many_optimiser_steps() -> None:
    config = PPOConfig(n_episodes=64, batch_size=24)  # three minibatches, the last of 16 episodes
    sizes = update_sizes(config, num_envs=10, mean_length=6.0)
    assert sizes.n_steps == 38  # 64 × 6 / 10 = 38.4
    assert sizes.batch_size == 127  # 380 / 3 = 126.7
    assert update_sizes(config, num_envs=64, mean_length=1.0).n_steps == 2


def test_vocabularies_too_large_for_one_hots_are_refused() -> None:
    tokenizer = CharTokenizer([chr(0x4E00 + n) for n in range(MAX_ONE_HOTS // 4)])
    envs = make_envs(2, prompts=["一"], tokenizer=tokenizer, max_new_tokens=3)
    start = toy_policy(tokenizer.vocab_size, 0, length=4, eos_probability=0.5)
    with pytest.raises(ValueError, match=r"at most 16,384 one-hots for an MLP.*got 4 × 4,097"):
        make_agent("mlp", start, envs)
    make_agent("transformer", start, envs)


def test_options_that_sb3s_networks_lack_are_refused() -> None:
    start = CausalLMPolicy(toy().model, PolicyConfig(value_network="separate", frozen_blocks=1))
    with pytest.raises(ValueError, match=r"got {'value_network': 'separate', 'frozen_blocks': 1}"):
        make_agent("transformer", start)
    with pytest.raises(ValueError, match="start must have no options but a temperature"):
        make_agent("mlp", start)


def test_action_masks_are_refused() -> None:
    tokenizer = CharTokenizer("abc")
    tokenizer.excluded_token_ids = frozenset({0})  # type: ignore[attr-defined]
    envs = make_envs(2, prompts=["a"], tokenizer=tokenizer, max_new_tokens=3)
    start = toy_policy(4, 3, length=4, eos_probability=0.5)
    with pytest.raises(ValueError, match=r"envs must allow every token, .* got an action_mask"):
        make_agent("mlp", start, envs)


# Texts out of steps


def test_finished_texts_stand_side_by_side() -> None:
    def text(ids: list[int], rewards: list[float], truncated: bool) -> FinishedText:
        log_probs = [-reward - 1 for reward in rewards]
        return FinishedText(
            torch.tensor(ids), torch.tensor(rewards), torch.tensor(log_probs), truncated, {}
        )

    rollout = rollout_of([text([5, 6, 7], [1.0, 3.0], False), text([5, 6, 8, 9], [2.0], True)])
    assert rollout.texts.input_ids.tolist() == [[5, 6, 7, 0], [5, 6, 8, 9]]
    assert rollout.texts.attention_mask.tolist() == [[True] * 3 + [False], [True] * 4]
    assert rollout.texts.completion_mask.long().tolist() == [[0, 1, 1, 0], [0, 0, 0, 1]]
    assert rollout.rewards.tolist() == [[0, 1, 3, 0], [0, 0, 0, 2]]
    assert rollout.log_probs.tolist() == [[0, -2, -4, 0], [0, 0, 0, -3]]
    assert rollout.truncated.tolist() == [False, True]
    assert rollout.scores.tolist() == [4, 2]


def test_texts_are_recorded_as_the_environment_and_the_policy_know_them() -> None:
    start, watch = random_policy(), Watch()
    make_agent("transformer", start, callbacks=[watch], config=config_of(n_episodes=64)).learn(1)
    (rollout,) = watch.rollouts
    episodes = [info["text_episode"] for info in rollout.infos]
    for row, episode in enumerate(episodes):
        mask = rollout.texts.completion_mask[row]
        assert rollout.texts.input_ids[row][mask].tolist() == episode.completion_ids.tolist()
        assert rollout.scores[row] == count_words(episode.completion)
    expected = forward_in_chunks(start, rollout.texts, 16).log_probs
    assert_close(rollout.log_probs, expected, rtol=0, atol=1e-4)
    assert len({len(episode.completion_ids) for episode in episodes}) > 1


def test_texts_longer_than_an_update_are_reported_once_they_end() -> None:
    start = toy_policy(33, 32, length=24, eos_probability=1e-9)  # writes 20 tokens
    watch = Watch()
    agent = make_agent(start=start, callbacks=[watch], mean_length=4.0)  # 8 steps per update
    agent.learn(4)
    assert (agent.n_updates, agent.n_episodes, agent.model.num_timesteps) == (3, 4, 96)
    assert watch.calls == ["start 4", "rollout", "update", "end"]
    assert watch.metrics[0]["rollout/length_mean"] == 20
    agent.learn(8)
    assert agent.model.n_steps == 48  # 8 episodes × (96 / 4) tokens / 4 rows
    assert agent.model.batch_size == 96  # of 192 transitions, in two minibatches


def test_updates_follow_the_length_of_texts() -> None:
    watch = Watch()
    agent = make_agent(callbacks=[watch], config=config_of(n_episodes=200, batch_size=50))
    agent.learn(1000)
    assert np.mean(np.diff([0, *watch.episodes])) == pytest.approx(200, rel=0.1)
    assert all(abs(rows["rollout/length_mean"] - 5) < 1 for rows in watch.metrics)


# Metrics


def test_metrics_have_the_names_that_ours_have() -> None:
    ours, theirs = Watch(), Watch()
    PPO(toy(), make_envs(), config_of(), callbacks=[ours]).learn(8)
    make_agent(callbacks=[theirs], reference=toy()).learn(8)
    assert theirs.metrics[0].keys() <= ours.metrics[0].keys()
    assert {
        "rollout/score_mean",
        "rollout/score_std",
        "rollout/length_mean",
        "rollout/stop_eos",
        "rollout/kl",
        "rollout/value_mean",
        "rollout/return_mean",
        "train/policy_loss",
        "train/value_loss",
        "train/entropy",
        "train/approx_kl",
        "train/clip_fraction",
        "train/explained_variance",
        "train/learning_rate",
        "time/total",
        "time/environment",
        "time/tokens_per_second",
    } <= theirs.metrics[0].keys()


def test_kl_is_reported_where_there_is_a_reference() -> None:
    without, start, moved = Watch(), Watch(), Watch()
    make_agent(callbacks=[without]).learn(8)
    assert not any("kl" in name for name in without.metrics[0] if name.startswith("rollout/"))
    make_agent(callbacks=[start], reference=toy()).learn(8)
    assert start.metrics[0]["rollout/kl"] == pytest.approx(0, abs=1e-4)
    uniform = toy_policy(33, 32, length=24, eos_probability=1 / 33)
    config = config_of(n_episodes=1000, batch_size=1000, n_epochs=1)
    make_agent(callbacks=[moved], reference=uniform, envs=make_envs(8), config=config).learn(1)
    per_token = 0.2 * math.log(0.2 * 33) + 0.8 * math.log(0.8 * 33 / 32)
    assert moved.metrics[0]["rollout/kl_per_token"] == pytest.approx(per_token, rel=0.1)
    assert moved.metrics[0]["rollout/kl"] == pytest.approx(per_token * 4.94, rel=0.2)


def test_sb3s_records_are_translated_into_our_units() -> None:
    logged = {
        "train/policy_gradient_loss": -0.25,
        "train/value_loss": 3.0,
        "train/entropy_loss": -2.0,
        "train/approx_kl": 0.01,
        "train/clip_fraction": 0.1,
        "train/learning_rate": 1e-3,
        "train/loss": 99.0,
    }
    metrics = update_metrics(logged, vf_coef=0.1, ent_coef=0.5)
    assert metrics["train/value_loss"] == 1.5
    assert metrics["train/entropy"] == 2.0
    assert metrics["train/policy_loss"] == -0.25
    assert metrics["train/loss"] == pytest.approx(-0.25 + 0.1 * 1.5 - 0.5 * 2.0)


def test_learning_rate_falls_with_episodes() -> None:
    watch = Watch()
    make_agent(callbacks=[watch], config=config_of(learning_rate=0.1)).learn(64)
    rates = [row["train/learning_rate"] for row in watch.metrics]
    expected = [0.1 * (1 - n / 64) for n in [0, *watch.episodes[:-1]]]
    assert rates == pytest.approx(expected)


# Learning


def test_callback_stops_training() -> None:
    watch = Watch(stop_after=2)
    agent = make_agent(callbacks=[watch]).learn(10_000)
    assert agent.n_updates == 2
    assert watch.calls == ["start 10000", "rollout", "update", "rollout", "update", "end"]


@pytest.mark.parametrize("network", NETWORKS)
def test_same_seed_gives_the_same_parameters(network: Network) -> None:
    def parameters() -> dict[str, torch.Tensor]:
        agent = make_agent(network, toy(), config=config_of(learning_rate=0.01, seed=3)).learn(24)
        return agent.model.policy.state_dict()

    assert_close(parameters(), parameters(), rtol=0, atol=0)


@pytest.mark.parametrize("network", ["mlp", pytest.param("transformer", marks=pytest.mark.slow)])
def test_small_task_is_learnt(network: Network) -> None:
    """Six of nine tokens are words, and the optimum, 1, is to write five of them."""
    envs = gym.make_vec("TextGen/WordCount-v0", num_envs=8, autoreset_mode="Disabled")
    start = toy_policy(9, 8, length=8, eos_probability=0.2)
    config = config_of(learning_rate=1e-2, n_episodes=32, batch_size=16, n_epochs=4, gae_lambda=1.0)
    watch = Watch()
    SB3PPO(network, start, envs, config, mean_length=3.4, callbacks=[watch]).learn(800)
    scores = [row["rollout/score_mean"] for row in watch.metrics]
    assert scores[0] < 0.6
    assert np.mean(scores[-3:]) > 0.9


# Evaluating and running


def test_texts_for_evaluation_are_one_per_row_and_leave_global_streams_alone() -> None:
    agent = make_agent("transformer", random_policy())
    envs = make_envs(32)
    torch.manual_seed(5)
    untouched = torch.rand(3)
    torch.manual_seed(5)
    rollout = write_texts(agent.model.policy, envs, seed=2)
    assert torch.equal(torch.rand(3), untouched)
    again = write_texts(agent.model.policy, envs, seed=2)
    assert len(rollout) == 32
    assert torch.equal(rollout.texts.input_ids, again.texts.input_ids)
    expected = forward_in_chunks(random_policy(), rollout.texts, 16).log_probs
    assert_close(rollout.log_probs, expected, rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `python -m agents.train toy --algorithm sb3-ppo` writes, in little."""
    output = tmp_path_factory.mktemp("runs")
    options = {
        "--algorithm": "sb3-ppo",
        "--algorithm.network": "transformer",
        "--output": output,
        "--name": "run",
        "--total-episodes": 32,
        "--num-envs": 4,
        "--eval-episodes": 8,
        "--threads": 1,
        "--algorithm.n-episodes": 16,
        "--algorithm.batch-size": 8,
        "--algorithm.n-epochs": 1,
    }
    arguments = [str(part) for pair in options.items() for part in pair]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", "toy", *arguments])
        train.main()
    return output / "run"


def test_run_writes_the_folder_of_every_run(run_folder: Path) -> None:
    names = {path.name for path in run_folder.iterdir()}
    assert {
        "config.json",
        "metrics.jsonl",
        "samples.jsonl",
        "replies.json",
        "curves.png",
        "summary.json",
        "policy.zip",
    } <= names
    assert json.loads((run_folder / "config.json").read_text())["learner"] == "sb3-ppo"
    rows = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run_folder / "summary.json").read_text())
    assert summary["episodes"] == rows[-1]["episodes"] >= 32
    assert {"rollout/score_mean", "rollout/kl", "updates"} <= rows[0].keys()
    assert {"reward_before", "reward_after", "kl", "tokens_per_second"} <= summary.keys()


def test_saved_model_is_one_of_sb3(run_folder: Path) -> None:
    model = stable_baselines3.PPO.load(run_folder / "policy", device="cpu")
    observation = {name: value.numpy()[0] for name, value in observations([1, 2, 3]).items()}
    action, _ = model.predict(observation)
    assert 0 <= int(action) < 33


def test_run_that_sb3_cannot_do_leaves_no_folder_behind(tmp_path: Path) -> None:
    config = with_algorithm(PRESETS["dialogue"][1], "sb3-ppo")
    config = dataclasses.replace(config, output=tmp_path / "runs")
    with pytest.raises(ValueError, match=r"kl_coef must be 0.0 .*got 0.05"):
        pipeline.run("dialogue", config)
    assert not (tmp_path / "runs").exists()


def test_stopped_run_says_that_it_cannot_go_on(run_folder: Path, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    (stopped / "config.json").write_bytes((run_folder / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match=r"got .*stopped, of sb3-ppo;"):
        pipeline.resume(stopped)


def small_run(output: Path, **changes: Any) -> FineTuning:
    config = with_algorithm(PRESETS["toy"][1], "sb3-ppo")
    sizes: dict[str, Any] = {"n_episodes": 8, "batch_size": 8, "n_epochs": 1}
    algorithm = dataclasses.replace(config.algorithm, **{**sizes, **changes.pop("algorithm", {})})
    small = {"total_episodes": 8, "num_envs": 4, "eval_episodes": 8, "threads": 1, "name": "run"}
    return dataclasses.replace(config, output=output, algorithm=algorithm, **{**small, **changes})


def test_run_is_evaluated_before_and_after_by_the_same_writer(tmp_path: Path) -> None:
    config = small_run(tmp_path, algorithm={"learning_rate": 1e-12, "network": "mlp"})
    folder = pipeline.run("toy", config)
    replies = json.loads((folder / "replies.json").read_text())
    assert [row["before"] for row in replies] == [row["after"] for row in replies]
    assert len({row["before"] for row in replies}) > 1


def test_run_says_where_its_time_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline.run("toy", small_run(tmp_path, profile=True))
    assert "Where the time of an update goes" in capsys.readouterr().out


def test_run_that_is_interrupted_says_that_it_cannot_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: SB3PPO) -> dict[str, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr(SB3PPO, "_update", interrupted)
    with pytest.raises(SystemExit) as end:
        pipeline.run("toy", small_run(tmp_path))
    assert end.value.code == 130
    error = capsys.readouterr().err
    assert "Stopped; begin again under another --name: this learner saves no checkpoints" in error
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_run_of_several_processes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learners.processes, "world_size", lambda: 2)
    with pytest.raises(ValueError, match="sb3-ppo must learn in one process, got 2"):
        pipeline.run("toy", small_run(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_broken_reward_stops_before_anything_is_learnt() -> None:
    envs = TransformReward(make_envs(), lambda rewards: rewards + math.nan)
    agent = make_agent(envs=envs)
    before = {name: value.clone() for name, value in agent.model.policy.state_dict().items()}
    with pytest.raises(TrainingStopped, match="rewards must be finite"):
        agent.learn(8)
    assert_close(agent.model.policy.state_dict(), before, rtol=0, atol=0)
