"""Checkpoints: what is restored, and that going on from one equals never having stopped."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium.vector import VectorEnv, VectorWrapper
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedConfig

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.grpo import GRPO
from agents.algorithms.ppo import PPO
from agents.callbacks import BestScore, Callback
from agents.checkpoints import checkpoint
from agents.checkpoints.env_state import get_env_state
from agents.checkpoints.folder import MANIFEST, CheckpointError, write_folder
from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.rollout.buffer import Rollout
from text_gym import CharTokenizer, TextGenVectorEnv
from text_gym.wrappers.vector import NoisyFeedback, NormalizeFeedback

ALPHABET = "abc"
V, L = len(ALPHABET) + 1, 8
CONFIG = PPOConfig(
    n_episodes=12,
    batch_size=4,
    n_epochs=2,
    learning_rate=3e-3,
    kl_coef=0.1,
    kl_target=0.01,
    kl_horizon=100,
    seed=5,
)


def environments() -> VectorEnv[Any, Any, Any]:
    return TextGenVectorEnv(
        4,
        autoreset_mode="Disabled",
        prompts=["a", "bcb", "cb"],
        tokenizer=CharTokenizer(ALPHABET),
        reward_function=lambda prompt, completion: completion.count("a"),
        max_new_tokens=5,
        sampling="without_replacement",
    )


def wrapped_environments() -> VectorEnv[Any, Any, Any]:
    """Everything that a resumed run can get wrong: an epoch, noise, running statistics."""
    return NormalizeFeedback(NoisyFeedback(environments(), std=0.5, flip=0.1))


def gpt2() -> PreTrainedConfig:
    config = GPT2Config(vocab_size=V, n_embd=16, n_layer=2, n_head=2, n_positions=L)
    config.initializer_range = 0.3
    config.bos_token_id = config.eos_token_id = 0
    return config


def llama() -> PreTrainedConfig:
    return LlamaConfig(
        vocab_size=V,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=L,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )


class Log(Callback):
    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []
        self.texts: list[list[int]] = []

    def on_rollout_end(self, agent: PPO, rollout: Rollout) -> None:
        self.texts += rollout.texts.input_ids.tolist()

    def on_update_end(self, agent: PPO, metrics: Mapping[str, float]) -> bool:
        self.metrics.append({k: v for k, v in metrics.items() if not k.startswith("time/")})
        return True


def trained(config: PreTrainedConfig, dtype: torch.dtype = torch.float32) -> PPO:
    """An agent after two updates, whose reference is neither its start nor its end."""
    return fresh(config, dtype).learn(24)


def fresh(
    config: PreTrainedConfig,
    dtype: torch.dtype = torch.float32,
    make: Callable[[], VectorEnv[Any, Any, Any]] = environments,
) -> PPO:
    policy = CausalLMPolicy.from_config(config, temperature=0.8).to(dtype)
    reference = CausalLMPolicy.from_config(config, seed=1, temperature=0.8).to(dtype)
    return PPO(policy, make(), CONFIG, reference=reference)


def assert_same_parameters(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for (name, mine), theirs in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs), name


def assert_same_state(mine: Any, theirs: Any) -> None:
    assert type(mine) is type(theirs)
    if isinstance(mine, torch.Tensor):
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)
    elif isinstance(mine, dict):
        assert mine.keys() == theirs.keys()
        for key, value in mine.items():
            assert_same_state(value, theirs[key])
    elif isinstance(mine, list):
        for one, other in zip(mine, theirs, strict=True):
            assert_same_state(one, other)
    else:
        assert mine == theirs


@pytest.mark.parametrize("config", [gpt2(), llama()], ids=["gpt2", "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_everything_is_restored(
    config: PreTrainedConfig, dtype: torch.dtype, tmp_path: Path
) -> None:
    saved = trained(config, dtype)
    saved.save(tmp_path)
    loaded = PPO.load(tmp_path, environments())
    assert_same_parameters(saved.policy, loaded.policy)
    assert_same_parameters(saved.reference.model, loaded.reference.model)
    assert next(loaded.policy.parameters()).dtype == dtype
    assert not any(parameter.requires_grad for parameter in loaded.reference.parameters())
    assert all(parameter.requires_grad for parameter in loaded.policy.parameters())
    assert_same_state(saved.optimizer.state_dict(), loaded.optimizer.state_dict())
    assert torch.equal(saved.sampling.get_state(), loaded.sampling.get_state())
    assert torch.equal(saved.shuffling.get_state(), loaded.shuffling.get_state())
    assert loaded.config == saved.config
    assert (loaded.n_episodes, loaded.n_updates) == (24, 2)
    assert loaded.kl_controller.kl_coef == saved.kl_controller.kl_coef != CONFIG.kl_coef
    assert loaded.policy.temperature == loaded.reference.temperature == 0.8


def loaded(folder: Path, config: PreTrainedConfig, dtype: torch.dtype) -> PPO:
    return PPO.load(folder, wrapped_environments())


def restored(folder: Path, config: PreTrainedConfig, dtype: torch.dtype) -> PPO:
    return fresh(config, dtype, wrapped_environments).restore(folder)


@pytest.mark.parametrize("config", [gpt2(), llama()], ids=["gpt2", "llama"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("go_on", [loaded, restored])
def test_going_on_from_a_checkpoint_equals_never_stopping(
    config: PreTrainedConfig,
    dtype: torch.dtype,
    go_on: Callable[[Path, PreTrainedConfig, torch.dtype], PPO],
    tmp_path: Path,
) -> None:
    saved = fresh(config, dtype, wrapped_environments).learn(24)
    checkpoint.save(saved, tmp_path / "saved", models=go_on is loaded)
    resumed = go_on(tmp_path / "saved", config, dtype)
    logs = [Log(), Log()]
    for agent, log in zip((saved, resumed), logs, strict=True):
        agent.callbacks.append(log)
        agent.learn(60)
    assert_same_parameters(saved.policy, resumed.policy)
    assert_same_parameters(saved.policy.value_head, resumed.policy.value_head)
    assert logs[0].metrics == logs[1].metrics
    assert len(logs[0].metrics) == 3
    assert logs[0].texts == logs[1].texts
    assert_same_state(get_env_state(saved.envs), get_env_state(resumed.envs))
    for name in saved.streams:
        assert torch.equal(getattr(saved, name).get_state(), getattr(resumed, name).get_state())


def test_saving_changes_nothing(tmp_path: Path) -> None:
    plain, saving = trained(gpt2()), trained(gpt2())
    saving.save(tmp_path)
    for agent in (plain, saving):
        agent.learn(36)
    assert_same_parameters(plain.policy, saving.policy)


def test_a_checkpoint_can_be_saved_over_the_one_it_was_loaded_from(tmp_path: Path) -> None:
    saved = trained(gpt2())
    saved.save(tmp_path)
    loaded = PPO.load(tmp_path, environments()).learn(36)
    loaded.save(tmp_path)
    again = PPO.load(tmp_path, environments())
    assert again.n_updates == 3
    assert_same_parameters(loaded.policy, again.policy)
    assert_same_parameters(saved.reference.model, again.reference.model)


def test_policy_and_reference_are_plain_models(tmp_path: Path) -> None:
    saved = trained(gpt2())
    saved.save(tmp_path)
    input_ids = torch.tensor([[1, 2, 3]])
    for name, policy in (("policy", saved.policy), ("reference", saved.reference)):
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / name)
        logits = policy.model(input_ids).logits
        assert_close(plain(input_ids).logits, logits, rtol=0, atol=1e-6)


def test_callbacks_are_given_to_load(tmp_path: Path) -> None:
    trained(gpt2()).save(tmp_path)
    log = Log()
    PPO.load(tmp_path, environments(), callbacks=(log,)).learn(36)
    assert len(log.metrics) == 1


# Damage


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a checkpoint must not run code",))


FILES = ("agent.json", "processes.json", "parameters.safetensors", "optimizer.safetensors")


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "saved"
    checkpoint.save(trained(gpt2()), folder, models=False)
    return folder


@pytest.fixture
def saved(saved_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(saved_once, tmp_path / "saved")
    return tmp_path / "saved"


def resealed(folder: Path) -> Path:
    """As whoever tampers with files and knows of the manifest would leave it."""

    def copy(partial: Path) -> None:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
        (partial / MANIFEST).unlink()

    write_folder(folder.parent / "resealed", copy)
    return folder.parent / "resealed"


@pytest.mark.parametrize("name", FILES)
def test_a_foreign_pickle_is_never_opened(name: str, saved: Path) -> None:
    for content in (pickle.dumps(Malicious()), b""):
        (saved / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name} must have .* bytes"):
            fresh(gpt2()).restore(saved)
    (saved / name).write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(CheckpointError, match=f"cannot be used: {name} "):
        fresh(gpt2()).restore(resealed(saved))
    torch.save({"optimizer": Malicious()}, saved / name)
    with pytest.raises(CheckpointError, match=f"cannot be used: {name} "):
        fresh(gpt2()).restore(resealed(saved))


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(name: str, saved: Path) -> None:
    content = bytearray((saved / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"the content of {name} was changed"):
        fresh(gpt2()).restore(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name: str, saved: Path) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        fresh(gpt2()).restore(saved)


def test_a_damaged_checkpoint_changes_nothing(saved: Path) -> None:
    (saved / "optimizer.safetensors").write_bytes(b"")
    agent, untouched = fresh(gpt2()), fresh(gpt2())
    with pytest.raises(CheckpointError):
        agent.restore(saved)
    assert_same_parameters(agent.policy, untouched.policy)
    assert agent.n_updates == 0


# Tampering


def edit_tensors(folder: Path, name: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = folder / f"{name}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def edit_json(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    path = folder / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def assert_refused(folder: Path, message: str) -> None:
    agent, untouched = fresh(gpt2()), fresh(gpt2())
    with pytest.raises(CheckpointError, match=message):
        agent.restore(resealed(folder))
    assert_same_parameters(agent.policy, untouched.policy)
    assert agent.optimizer.state_dict() == untouched.optimizer.state_dict()
    assert agent.n_updates == 0
    for name, stream in agent.streams.items():
        assert torch.equal(stream.get_state(), untouched.streams[name].get_state())


BIAS = "exp_avg:value_head.bias"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.clear(), r"must be \d+ tensors, as it was saved, got 0"),
        (lambda t: t.pop(BIAS), f"only one of them has {BIAS}"),
        (lambda t: t.update(more=torch.zeros(1)), "only one of them has more"),
        (
            lambda t: t.update({BIAS: torch.zeros(10**6)}),
            rf"{BIAS} must be torch.float32 \(1,\), got torch.float32 \(1000000,\)",
        ),
        (
            lambda t: t.update({BIAS: torch.zeros(1, dtype=torch.float64)}),
            rf"{BIAS} must be torch.float32 \(1,\), got torch.float64 \(1,\)",
        ),
        (
            lambda t: t.update({"step:value_head.bias": torch.zeros(2)}),
            r"step:value_head.bias must be torch.float32 \(\), got torch.float32 \(2,\)",
        ),
    ],
    ids=["empty", "missing", "too much", "shape", "dtype", "step"],
)
def test_an_optimisers_state_must_fit_its_parameters(
    change: Any, message: str, saved: Path
) -> None:
    edit_tensors(saved, "optimizer", change)
    assert_refused(saved, f"cannot be used: optimizer.safetensors .*{message}")


def test_an_optimisers_state_of_what_does_not_learn_is_refused(saved: Path) -> None:
    name = "exp_avg:model.none"
    edit_tensors(saved, "optimizer", lambda tensors: tensors.update({name: torch.zeros(1)}))
    edit_json(saved, "agent.json", lambda content: content["optimizer"].append(name))
    assert_refused(saved, f"{name} must be of a parameter that learns")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("state"), r"agent must have the keys \['callbacks'"),
        (lambda c: c["state"].pop("n_updates"), r"agent\['state'\] must have the keys"),
        (lambda c: c["state"].update(n_updates="2"), r"\['n_updates'\] must be a number, got '2'"),
        (
            lambda c: c["state"].update(n_updates=True),
            r"\['n_updates'\] must be a number, got True",
        ),
        (lambda c: c.update(learning_rates=["x"]), r"\['learning_rates'\]\[0\] must be a number"),
        (lambda c: c.update(callbacks=[1]), r"\['callbacks'\]\[0\] must be a dict, got 1"),
        (lambda c: c.update(config=None), r"\['config'\] must be a dict, got None"),
    ],
)
def test_a_description_of_another_form_is_refused(change: Any, message: str, saved: Path) -> None:
    edit_json(saved, "agent.json", change)
    assert_refused(saved, rf"cannot be used: agent\.json .*{message}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.clear(), "IndexError"),
        (lambda c: c[0]["streams"].clear(), "KeyError"),
        (lambda c: c[0]["streams"].update(sampling="AAAA"), "sampling must have 5056 bytes, got 3"),
        (lambda c: c[0]["streams"].update(sampling="?"), "holds something else than was saved"),
        (lambda c: c[0].update(envs=3), r"processes\[0\]\['envs'\] must be a list, got 3"),
    ],
)
def test_random_streams_of_another_form_are_refused(change: Any, message: str, saved: Path) -> None:
    edit_json(saved, "processes.json", change)
    assert_refused(saved, rf"cannot be used: processes\.json .*{message}")


def test_an_environments_state_of_another_kind_names_its_file(saved: Path) -> None:
    edit_json(saved, "processes.json", lambda content: content[0]["envs"][0].update(state={}))
    with pytest.raises(CheckpointError, match=r"processes\.json holds something else .*KeyError"):
        fresh(gpt2()).restore(resealed(saved))


def test_options_of_another_form_are_refused_by_load(tmp_path: Path) -> None:
    trained(gpt2()).save(tmp_path / "saved")
    edit_json(tmp_path / "saved", "agent.json", lambda content: content["config"].update(wings=2))
    with pytest.raises(CheckpointError, match=r"cannot be used: agent\.json .*wings"):
        PPO.load(resealed(tmp_path / "saved"), environments())


def test_the_checkpoint_of_another_algorithm_is_refused_by_load(tmp_path: Path) -> None:
    trained(gpt2()).save(tmp_path / "saved")
    message = "path must be a checkpoint of GRPO, with a GRPOConfig, got one with a PPOConfig"
    with pytest.raises(CheckpointError, match=message):
        GRPO.load(tmp_path / "saved", environments())


def test_the_folder_of_an_agent_is_no_model_but_names_the_one_within(tmp_path: Path) -> None:
    trained(gpt2()).save(tmp_path / "saved")
    policy = tmp_path / "saved" / "policy"
    with pytest.raises(ValueError, match=f"got {policy.parent}: .*; {policy} is one"):
        CausalLMPolicy.from_pretrained(policy.parent)
    CausalLMPolicy.from_pretrained(policy)


# What fits and what does not


def test_a_checkpoint_of_a_run_needs_the_agent_that_made_it(saved: Path) -> None:
    with pytest.raises(FileNotFoundError, match="path must be a checkpoint with models"):
        PPO.load(saved, environments())


def test_another_config_is_refused(saved: Path) -> None:
    agent = fresh(gpt2())
    other = PPO(agent.policy, agent.envs, dataclasses.replace(CONFIG, clip_range=0.1))
    with pytest.raises(ValueError, match=r"but clip_range is 0\.1 where 0\.2 was saved"):
        other.restore(saved)


def test_another_model_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"only the (policy|checkpoint) has model\."):
        fresh(llama()).restore(saved)
    with pytest.raises(ValueError, match="dtype is 'float64' where 'float32' was saved"):
        fresh(gpt2(), torch.float64).restore(saved)
    wider = gpt2()
    wider.n_embd = 32
    with pytest.raises(ValueError, match=r"as it was saved, torch\.float32 \(.*16\), got .*32\)"):
        fresh(wider).restore(saved)


def test_other_environments_are_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match="made of the layers that were saved"):
        fresh(gpt2(), make=wrapped_environments).restore(saved)


def test_another_number_of_processes_is_refused(saved: Path) -> None:
    edit(saved, "processes", 2)
    with pytest.raises(ValueError, match=r"2 process\(es\) must be resumed by as many, got 1"):
        fresh(gpt2()).restore(resealed(saved))


def test_a_checkpoint_from_before_policies_could_be_shared_out_goes_on(saved: Path) -> None:
    edit_json(saved, "agent.json", lambda content: content["policy"].pop("sharded"))
    assert fresh(gpt2()).restore(resealed(saved)).n_updates > 0


def edit(saved: Path, name: str, value: Any) -> None:
    description = json.loads((saved / "agent.json").read_text())
    description["made_with"][name] = value
    (saved / "agent.json").write_text(json.dumps(description))


@pytest.mark.parametrize(("name", "value"), [("torch", "1.0"), ("threads", 64)])
def test_other_versions_and_threads_are_warned_of(name: str, value: Any, saved: Path) -> None:
    edit(saved, name, value)
    with pytest.warns(UserWarning, match=rf"{name} {value} -> .*not bit for bit"):
        assert fresh(gpt2()).restore(resealed(saved)).n_updates == 2


def test_only_parameters_that_learn_are_in_a_checkpoint(tmp_path: Path) -> None:
    def partly_frozen() -> PPO:
        policy = CausalLMPolicy.from_config(gpt2())
        policy.trunk.wte.requires_grad_(False)
        return PPO(policy, environments(), CONFIG)

    agent = partly_frozen().learn(12)
    checkpoint.save(agent, tmp_path / "saved", models=False)
    names = load_file(tmp_path / "saved" / "parameters.safetensors").keys()
    assert "value_head.weight" in names
    assert not any("wte" in name for name in names)
    resumed = partly_frozen().restore(tmp_path / "saved")
    assert_same_parameters(agent.policy, resumed.policy)
    assert_same_parameters(agent.learn(24).policy, resumed.learn(24).policy)


@pytest.mark.parametrize(
    "options",
    [
        PolicyConfig(temperature=0.8, lora_rank=2, lora_targets=("q_proj", "v_proj")),
        PolicyConfig(frozen_blocks=1),
        PolicyConfig(value_network="separate", gradient_checkpointing=True),
        PolicyConfig(dtype="bfloat16", lora_rank=2),
    ],
    ids=["LoRA", "frozen blocks", "value network", "bfloat16"],
)
def test_every_kind_of_policy_goes_on(options: PolicyConfig, tmp_path: Path) -> None:
    if options.lora_rank:
        pytest.importorskip("peft")

    def agent() -> PPO:
        return PPO(CausalLMPolicy.from_config(llama(), options), environments(), CONFIG)

    saved = agent().learn(24)
    saved.save(tmp_path / "whole")
    checkpoint.save(saved, tmp_path / "changes", models=False)
    loaded = PPO.load(tmp_path / "whole", environments())
    restored = agent().restore(tmp_path / "changes")
    assert loaded.policy.options == restored.policy.options == options
    logs = [Log(), Log(), Log()]
    for one, log in zip((saved, loaded, restored), logs, strict=True):
        one.callbacks.append(log)
        one.learn(48)
        assert_same_parameters(one.policy, saved.policy)
    assert logs[0].metrics == logs[1].metrics == logs[2].metrics


def test_an_agent_that_has_not_learnt_can_be_saved(tmp_path: Path) -> None:
    fresh(gpt2()).save(tmp_path)
    resumed = PPO.load(tmp_path, environments()).learn(12)
    assert_same_parameters(fresh(gpt2()).learn(12).policy, resumed.policy)


def test_environments_without_a_state_are_refused_by_name(tmp_path: Path) -> None:
    envs = Foreign(environments())
    agent = PPO(CausalLMPolicy.from_config(gpt2()), envs, CONFIG)
    with pytest.raises(ValueError, match=r"got Foreign from .*test_checkpoint"):
        agent.save(tmp_path / "saved")
    assert not list(tmp_path.iterdir())


class Foreign(VectorWrapper):
    pass


def test_callbacks_go_on_from_their_state(tmp_path: Path) -> None:
    agent = fresh(gpt2())
    agent.callbacks += [Log(), BestScore()]
    agent.learn(24).save(tmp_path)
    best = BestScore()
    other = PPO.load(tmp_path, environments(), callbacks=[best, BestScore()])
    assert best.score == agent.callbacks[1].score  # type: ignore[attr-defined]
    assert other.callbacks[1].score is None  # type: ignore[attr-defined]
    other.learn(48)
    assert best.score >= agent.callbacks[1].score  # type: ignore[attr-defined, operator]


class Unplain(Callback):
    def get_state(self) -> dict[str, Any]:
        return {"seen": {1, 2}}


def test_a_state_that_json_cannot_hold_is_refused_by_name(tmp_path: Path) -> None:
    agent = fresh(gpt2())
    agent.callbacks.append(Unplain())
    with pytest.raises(ValueError, match=r"got \{1, 2\} in Unplain\['seen'\]"):
        agent.save(tmp_path)


def test_the_description_can_be_read(tmp_path: Path) -> None:
    trained(gpt2()).save(tmp_path)
    description = json.loads((tmp_path / "agent.json").read_text(encoding="utf-8"))
    assert description["config"]["kl_target"] == 0.01
    assert description["state"]["n_updates"] == 2


def test_no_checkpoint_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no checkpoint at"):
        PPO.load(tmp_path / "nowhere", environments())
    with pytest.raises(CheckpointError, match="is no checkpoint, or a damaged one"):
        PPO.load(tmp_path, environments())


def test_a_checkpoint_needs_environments_that_fit(tmp_path: Path) -> None:
    trained(gpt2()).save(tmp_path)
    envs = TextGenVectorEnv(
        2, autoreset_mode="Disabled", prompts="a", tokenizer=CharTokenizer("abcde")
    )
    with pytest.raises(ValueError, match=r"Discrete\(4\), got Discrete\(6\)"):
        PPO.load(tmp_path, envs)
