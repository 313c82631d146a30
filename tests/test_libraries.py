"""Other people's algorithms on the environment, trained for a few hundred steps each.

Every warning is an error here as everywhere, so a library that has to be told something fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers import vector as gymnasium_vector
from sb3_contrib import QRDQN, TRPO, MaskablePPO, RecurrentPPO
from skrl.agents.torch.ppo import PPO as SkrlPPO
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import CategoricalMixin, DeterministicMixin, Model
from skrl.trainers.torch import SequentialTrainer
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.data import Binary
from torchrl.envs import ActionMask, GymEnv, GymWrapper, TransformedEnv
from torchrl.envs.gym_like import BaseInfoDictReader
from torchrl.envs.utils import check_env_specs
from torchrl.modules import ProbabilisticActor, ValueOperator
from torchrl.objectives import ClipPPOLoss

from agents.sb3_baseline.gymnasium_vec_env import GymnasiumVecEnv
from text_gym import CharTokenizer, TextGenEnv, TextGenVectorEnv
from text_gym.constraints import BannedTokens, MinimumLength
from text_gym.turns import Turn
from text_gym.wrappers import PaddedTokens
from text_gym.wrappers import vector as vector_wrappers

A, B, C, DOT, EOS, PADDING = range(6)
TASK: dict[str, Any] = {
    "prompts": ["c"],
    "tokenizer": CharTokenizer("abc."),
    "reward_function": lambda prompt, completion: float(completion.count("a")),
    "max_new_tokens": 3,
}
WIDTH = 4 * 6
"""Of the one-hots: four positions of five tokens and the padding."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Pins torch's global stream, which these libraries draw from."""
    torch.manual_seed(0)


def only_b() -> CharTokenizer:
    """A vocabulary in which nothing but "b" and EOS should be written."""
    tokenizer = CharTokenizer("abc.")
    tokenizer.excluded_token_ids = frozenset({A, C, DOT})
    return tokenizer


def native(num_envs: int = 8, **arguments: Any) -> TextGenVectorEnv:
    return TextGenVectorEnv(num_envs, autoreset_mode="Disabled", **{**TASK, **arguments})


def symbols(num_envs: int = 8, **arguments: Any) -> Any:
    return vector_wrappers.PaddedTokens(native(num_envs, **arguments))


# Stable-Baselines3 and sb3-contrib

SMALL: dict[Any, dict[str, Any]] = {
    PPO: {"n_steps": 64, "batch_size": 64},
    A2C: {},
    DQN: {"buffer_size": 500, "learning_starts": 50},
    MaskablePPO: {"n_steps": 64, "batch_size": 64},
    TRPO: {"n_steps": 64, "batch_size": 64},
    QRDQN: {"buffer_size": 500, "learning_starts": 50},
}


def algorithm(cls: Any, policy: str, env: Any, **arguments: Any) -> Any:
    return cls(policy, env, seed=0, device="cpu", **{**SMALL.get(cls, {}), **arguments})


def greedy_text(model: Any) -> list[int]:
    """Writes one text with the most probable tokens."""
    env = PaddedTokens(TextGenEnv(**TASK))
    observation: Any = env.reset(seed=0)[0]
    written, ended = [], False
    while not ended:
        written.append(int(model.predict(observation, deterministic=True)[0]))
        observation, _, ended, _, _ = env.step(written[-1])
    return written


@pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
def test_sb3_trains_on_the_default_task(cls: Any) -> None:
    model = algorithm(cls, "MlpPolicy", PaddedTokens(gym.make("TextGen-v0"))).learn(200)
    assert model.num_timesteps >= 200
    assert model.policy.features_extractor_class is not None
    assert all(parameter.isfinite().all() for parameter in model.policy.parameters())


@pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
def test_sb3_trains_on_the_native_vector(cls: Any) -> None:
    model = algorithm(cls, "MultiInputPolicy", GymnasiumVecEnv(native(2))).learn(200)
    assert all(parameter.isfinite().all() for parameter in model.policy.parameters())


@pytest.mark.slow
def test_recurrent_ppo_trains() -> None:
    # torch refuses the width that SB3 computes of a MultiDiscrete: a numpy integer.
    one_hots = gymnasium_vector.FlattenObservation(symbols(2))
    algorithm(RecurrentPPO, "MlpLstmPolicy", GymnasiumVecEnv(one_hots), n_steps=32).learn(128)


def test_sb3_finds_no_fault() -> None:
    check_env(PaddedTokens(gym.make("TextGen-v0")))
    check_env(PaddedTokens(TextGenEnv(**TASK)))


def test_sb3_makes_one_hots_of_the_symbols() -> None:
    model = algorithm(PPO, "MlpPolicy", PaddedTokens(TextGenEnv(**TASK)))
    tokens, _ = model.policy.obs_to_tensor(np.array([C, A, PADDING, PADDING]))
    features = model.policy.extract_features(tokens, model.policy.features_extractor)
    assert model.policy.features_dim == WIDTH
    assert torch.equal(features.view(4, 6), torch.eye(6)[[C, A, PADDING, PADDING]])


@pytest.mark.parametrize(
    ("cls", "steps", "arguments"),
    [
        (PPO, 1536, {"n_steps": 16, "learning_rate": 3e-3}),
        (A2C, 1600, {"learning_rate": 3e-3}),
        (TRPO, 1536, {"n_steps": 16}),
        (
            DQN,
            2400,
            {"learning_rate": 3e-3, "exploration_fraction": 0.5, "target_update_interval": 100},
        ),
    ],
    ids=["PPO", "A2C", "TRPO", "DQN"],
)
def test_sb3_learns_the_best_text_from_one_hots(
    cls: Any, steps: int, arguments: dict[str, Any]
) -> None:
    model = algorithm(cls, "MlpPolicy", GymnasiumVecEnv(symbols()), **arguments).learn(steps)
    assert greedy_text(model) == [A, A, A]


class Embedding(BaseFeaturesExtractor):
    """Reads the token ids of the plain observation, which SB3 hands over as floats."""

    def __init__(self, space: gym.spaces.Dict, features_dim: int = 8) -> None:
        super().__init__(space, features_dim)
        self.embed = nn.Embedding(5, features_dim)
        self.seen: list[Tensor] = []

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        self.seen.append(observation["input_ids"].long())
        mask = observation["attention_mask"].unsqueeze(-1)
        return (self.embed(self.seen[-1]) * mask).sum(1)


def test_an_embedding_extractor_gets_the_exact_ids() -> None:
    model = algorithm(
        PPO,
        "MultiInputPolicy",
        GymnasiumVecEnv(native(1)),
        policy_kwargs={"features_extractor_class": Embedding},
    )
    observation = {"input_ids": np.array([C, A, EOS, 0]), "attention_mask": np.array([1, 1, 1, 0])}
    model.predict(observation)
    assert model.policy.features_extractor.seen[-1].tolist() == [[C, A, EOS, 0]]
    model.learn(64)


def written_during(model: Any, steps: int) -> set[int]:
    """Returns the tokens that the model chose while it learnt."""
    venv, chosen = model.get_env(), set()
    step_async = venv.step_async

    def noting(actions: Any) -> None:
        chosen.update(actions.tolist())
        step_async(actions)

    venv.step_async = noting
    model.learn(steps)
    return chosen


@pytest.mark.parametrize("kind", ["native", "one by one"])
def test_maskable_ppo_never_takes_an_excluded_token(kind: str) -> None:
    task = {**TASK, "tokenizer": only_b()}
    env: Any = symbols(4, **task) if kind == "native" else None
    env = GymnasiumVecEnv(env) if env is not None else PaddedTokens(TextGenEnv(**task))
    assert written_during(algorithm(MaskablePPO, "MlpPolicy", env), 512) == {B, EOS}
    assert written_during(algorithm(PPO, "MlpPolicy", env), 512) == {A, B, C, DOT, EOS}


def test_maskable_ppo_keeps_to_constraints() -> None:
    envs = vector_wrappers.Constrain(native(4), [MinimumLength(2), BannedTokens([DOT])])
    venv = GymnasiumVecEnv(vector_wrappers.PaddedTokens(envs))
    texts: list[str] = []

    class Reading(VecEnvWrapper):
        def reset(self) -> Any:
            return self.venv.reset()

        def step_wait(self) -> Any:
            *results, infos = self.venv.step_wait()
            texts.extend(
                info["text_episode"].completion for info in infos if "text_episode" in info
            )
            return *results, infos

    algorithm(MaskablePPO, "MlpPolicy", Reading(venv)).learn(512)
    assert len(texts) > 100
    assert min(map(len, texts)) == 2
    assert not any("." in text for text in texts)


def test_sb3_makes_vectors_of_its_own() -> None:
    # Without being told, it asks for pictures.
    shows_pictures = "rgb_array" in TextGenEnv.metadata["render_modes"]
    env_kwargs = {} if shows_pictures else {"render_mode": None}
    venv = make_vec_env("TextGen-v0", n_envs=2, seed=0, env_kwargs=env_kwargs)
    model = algorithm(A2C, "MultiInputPolicy", venv).learn(100)
    assert len(model.ep_info_buffer) > 0


def test_sb3_normalises_rewards() -> None:
    venv = VecNormalize(GymnasiumVecEnv(native(2)), norm_obs=False, gamma=1.0)
    algorithm(PPO, "MultiInputPolicy", venv).learn(128)
    assert venv.ret_rms.var > 0


# TorchRL


def torchrl_vector(envs: Any) -> GymWrapper:
    """TorchRL looks for the mode on the outermost wrapper, where Gymnasium does not put it."""
    envs.autoreset_mode = envs.metadata["autoreset_mode"]
    return GymWrapper(envs, categorical_action_encoding=True)


def torchrl_policy() -> tuple[Any, Any]:
    def network(outputs: int) -> nn.Module:
        return nn.Sequential(nn.Embedding(6, 8), nn.Flatten(-2), nn.Linear(32, outputs))

    actor = ProbabilisticActor(
        TensorDictModule(network(5), ["observation"], ["logits"]),
        in_keys=["logits"],
        distribution_class=torch.distributions.Categorical,
        return_log_prob=True,
    )
    return actor, ValueOperator(network(1))


@pytest.mark.parametrize(
    "make_env",
    [
        lambda: GymWrapper(TextGenEnv(**TASK)),
        lambda: GymWrapper(gym.make("TextGen-v0", **TASK)),
        lambda: GymEnv("TextGen-v0", **TASK),
        lambda: GymWrapper(PaddedTokens(TextGenEnv(**TASK)), categorical_action_encoding=True),
        lambda: GymWrapper(native(3)),
        lambda: torchrl_vector(symbols(3)),
    ],
    ids=["environment", "made", "by name", "symbols", "native", "native symbols"],
)
def test_torchrl_finds_no_fault(make_env: Any) -> None:
    env = make_env()
    check_env_specs(env)
    rollout = env.rollout(12, break_when_any_done=False)
    assert rollout["next", "terminated"].any()
    assert rollout["next", "reward"].shape == (*env.batch_size, 12, 1)


def test_torchrl_refuses_next_step() -> None:
    with pytest.raises(RuntimeError, match="auto-reset mode must be one of SAME_STEP or DISABLED"):
        GymWrapper(TextGenVectorEnv(2, **TASK))


def test_torchrl_ppo_trains() -> None:
    actor, critic = torchrl_policy()
    env = torchrl_vector(symbols())
    loss = ClipPPOLoss(actor, critic, entropy_coeff=0.01)
    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-2)
    returns = []
    for _ in range(10):
        with torch.no_grad():
            batch = env.rollout(16, actor, break_when_any_done=False)
        for _ in range(4):
            loss.value_estimator(batch)
            losses = loss(batch)
            total = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
        returns.append(batch["next", "reward"][batch["next", "done"]].mean().item())
    assert returns[-1] > returns[0] + 0.5


class MaskReader(BaseInfoDictReader):
    """Asks for the masks of all rows; `info["action_mask"]` has only those of rows that stepped."""

    def __init__(self, env: Any, shape: Any) -> None:
        self.action_masks = env.action_masks
        self.spec = Binary(shape=shape, dtype=torch.bool)

    def __call__(self, info: Any, tensordict: Any) -> Any:
        return tensordict.set("action_mask", torch.tensor(self.action_masks()))

    @property
    def info_spec(self) -> Any:
        return {"action_mask": self.spec}


@pytest.mark.parametrize("make_env", [TextGenEnv, native], ids=["one", "native"])
def test_torchrl_heeds_the_masks(make_env: Any) -> None:
    plain = make_env(**{**TASK, "tokenizer": only_b()})
    env: Any = GymWrapper(plain, categorical_action_encoding=True)
    env.set_info_dict_reader(MaskReader(plain, (*env.batch_size, 5)))
    env = TransformedEnv(env, ActionMask())
    check_env_specs(env)
    rollout = env.rollout(40, break_when_any_done=False)
    assert set(rollout["action"].flatten().tolist()) == {B, EOS}
    assert rollout["next", "done"].sum() > 5


# skrl


class SkrlPolicy(CategoricalMixin, Model):
    """A policy of token embeddings."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        CategoricalMixin.__init__(self)
        self.network = nn.Sequential(nn.Embedding(6, 8), nn.Flatten(), nn.Linear(32, 5))

    def compute(self, inputs: Any, role: str = "") -> Any:
        return self.network(inputs["observations"].long()), {}


class SkrlValue(DeterministicMixin, Model):
    """A value of token embeddings."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        self.network = nn.Sequential(nn.Embedding(6, 8), nn.Flatten(), nn.Linear(32, 1))

    def compute(self, inputs: Any, role: str = "") -> Any:
        return self.network(inputs["observations"].long()), {}


def test_skrl_ppo_trains_on_the_native_vector(tmp_path: Any) -> None:
    envs = vector_wrappers.PaddedTokens(TextGenVectorEnv(8, autoreset_mode="SameStep", **TASK))
    env = wrap_env(envs)
    spaces = {
        "observation_space": env.observation_space,
        "action_space": env.action_space,
        "device": "cpu",
    }
    models = {"policy": SkrlPolicy(**spaces), "value": SkrlValue(**spaces)}
    untrained = models["policy"].network[2].weight.detach().clone()
    files = {"directory": str(tmp_path), "write_interval": 0, "checkpoint_interval": 0}
    agent = SkrlPPO(
        models=models,
        memory=RandomMemory(memory_size=16, num_envs=8, device="cpu"),
        cfg={"rollouts": 16, "learning_epochs": 2, "mini_batches": 2, "experiment": files},
        **spaces,
    )
    settings = {
        "timesteps": 64,
        "headless": True,
        "disable_progressbar": True,
        "close_environment_at_exit": False,
    }
    SequentialTrainer(env=env, agents=agent, cfg=settings).train()
    assert not torch.equal(models["policy"].network[2].weight, untrained)


# A loop of one's own, in CleanRL's manner


def b_again(turns: Sequence[Turn]) -> list[str]:
    return ["b"] * len(turns)


TWO_TURNS: dict[str, Any] = {
    "responder": b_again,
    "max_response_tokens": 1,
    "max_turn_tokens": 2,
    "max_turns": 2,
    "max_new_tokens": 4,
}


@pytest.mark.parametrize(("turns", "best"), [({}, 3), (TWO_TURNS, 4)], ids=["one turn", "two"])
def test_an_actor_critic_in_forty_lines_learns_on_the_native_vector(
    turns: dict[str, Any], best: int
) -> None:
    """Under NEXT_STEP the step after an end only resets: its row must not count."""
    envs = vector_wrappers.PaddedTokens(gym.make_vec("TextGen-v0", num_envs=16, **TASK | turns))
    length = envs.single_observation_space.shape[0]
    network = nn.Sequential(nn.Embedding(6, 8), nn.Flatten(), nn.Linear(8 * length, 6))
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-2)
    observations: Any = envs.reset(seed=0)[0]
    counts, returns = torch.ones(16, dtype=torch.bool), []
    for _ in range(40):
        terms, rewards, ends, counted = [], [], [], []
        for _ in range(8):
            logits, value = network(torch.as_tensor(observations)).split([5, 1], -1)
            policy = torch.distributions.Categorical(logits=logits)
            actions = policy.sample()
            observations, reward, terminations, _, _ = envs.step(actions.numpy())
            ended = torch.as_tensor(terminations)
            terms.append((policy.log_prob(actions), value.squeeze(-1)))
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
            ends.append(ended)
            counted.append(counts)
            counts = ~ended
        with torch.no_grad():
            to_go = network(torch.as_tensor(observations))[:, 5]
        loss = torch.zeros(())
        for (log_prob, value), reward, ended, counts_now in zip(
            *map(reversed, (terms, rewards, ends, counted)), strict=True
        ):
            to_go = torch.where(counts_now, reward + to_go * ~ended, to_go)
            advantage = to_go - value
            per_row = -log_prob * advantage.detach() + 0.5 * advantage**2
            loss = loss + (per_row * counts_now).sum() / 128
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        finished = torch.stack(ends)
        returns.append(torch.stack(rewards)[finished].mean().item())
    assert returns[0] < best / 2
    assert np.mean(returns[-5:]) > 0.8 * best
