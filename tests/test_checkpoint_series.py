"""The checkpoints of a run: when they are saved, which are kept, which one is gone on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gymnasium.vector import VectorWrapper
from transformers import GPT2Config

from agents.algorithms.configs.ppo import PPOConfig
from agents.algorithms.health_checks import TrainingStopped
from agents.algorithms.ppo import PPO
from agents.callbacks import BestScore, Callback
from agents.checkpoints.folder import CheckpointError
from agents.checkpoints.series import Checkpoints, latest
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.buffer import Rollout
from text_gym import CharTokenizer, TextGenVectorEnv

CONFIG = PPOConfig(
    n_episodes=4, batch_size=4, n_epochs=1, learning_rate=1e-3, lr_schedule="constant"
)


def agent_of(*callbacks: Callback) -> PPO:
    envs = TextGenVectorEnv(
        4,
        autoreset_mode="Disabled",
        prompts=["a", "b"],
        tokenizer=CharTokenizer("ab"),
        max_new_tokens=3,
        sampling="without_replacement",
        reward_function=lambda prompt, completion: completion.count("a"),
    )
    config = GPT2Config(vocab_size=3, n_embd=8, n_layer=1, n_head=1, n_positions=4)
    return PPO(CausalLMPolicy.from_config(config), envs, CONFIG, callbacks=callbacks)


def saved_updates(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("update-00000") for path in folder.iterdir())


@pytest.mark.parametrize(
    ("every", "keep", "expected"),
    [(1, 2, ["4", "5"]), (1, 9, list("12345")), (2, 1, ["5"]), (2, 9, ["2", "4", "5"])],
)
def test_every_few_updates_and_the_end_are_saved_and_the_last_kept(
    every: int, keep: int, expected: list[str], tmp_path: Path
) -> None:
    agent_of(Checkpoints(tmp_path, every=every, keep=keep)).learn(20)
    assert saved_updates(tmp_path) == expected


@pytest.mark.parametrize("name", ["every", "keep"])
def test_numbers_below_one_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Checkpoints(tmp_path, **{name: 0})


def test_it_must_be_the_last_callback(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"as the last, .* got BestScore after it"):
        agent_of(Checkpoints(tmp_path), BestScore()).learn(4)


def test_environments_without_a_state_are_refused_before_training(tmp_path: Path) -> None:
    class Foreign(VectorWrapper):
        pass

    agent = agent_of(Checkpoints(tmp_path))
    agent.envs = Foreign(agent.envs)
    with pytest.raises(ValueError, match="got Foreign from"):
        agent.learn(4)
    assert agent.n_updates == 0


def test_there_may_be_none(tmp_path: Path) -> None:
    assert latest(tmp_path) is None
    assert latest(tmp_path / "nowhere") is None


def damage(folder: Path, name: str = "parameters.safetensors") -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])


def test_a_damaged_newest_one_is_skipped_with_a_warning(tmp_path: Path) -> None:
    agent_of(Checkpoints(tmp_path, keep=3)).learn(12)
    newest = latest(tmp_path)
    assert newest is not None
    assert newest.name == "update-000003"
    damage(newest)
    with pytest.warns(
        UserWarning,
        match=r"update-000003 is damaged: parameters\.safetensors .* from update-000002 instead",
    ):
        before = latest(tmp_path)
    assert before == tmp_path / "update-000002"


def test_where_all_are_damaged_nothing_is_guessed(tmp_path: Path) -> None:
    agent_of(Checkpoints(tmp_path)).learn(8)
    for path in tmp_path.iterdir():
        damage(path, "agent.json")
    with pytest.raises(CheckpointError, match=r"none of the 2 .*update-000002 .*agent\.json"):
        latest(tmp_path)


@pytest.mark.parametrize("name", ["parameters.safetensors", "manifest.json"])
@pytest.mark.parametrize("keep", [1, 2])
def test_going_on_from_an_older_one_replaces_what_came_after(
    name: str, keep: int, tmp_path: Path
) -> None:
    agent_of(Checkpoints(tmp_path, keep=3)).learn(12)
    for number in (2, 3):
        damage(tmp_path / f"update-00000{number}", name)
    with pytest.warns(UserWarning, match="going on from update-000001"):
        older = latest(tmp_path)
    assert older is not None
    agent = agent_of(Checkpoints(tmp_path, keep=keep)).restore(older).learn(8)
    assert saved_updates(tmp_path) == ["1", "2"][-keep:]
    newest = latest(tmp_path)
    assert newest is not None
    again = agent_of().restore(newest)
    expected = agent_of().learn(8)
    for one, other, third in zip(
        again.policy.parameters(),
        expected.policy.parameters(),
        agent.policy.parameters(),
        strict=True,
    ):
        assert torch.equal(one, other)
        assert torch.equal(third, other)


class Guard(Callback):
    """Finds the third batch broken."""

    def on_rollout_end(self, agent: PPO, rollout: Rollout) -> None:
        if agent.n_updates == 2:
            raise TrainingStopped("rewards must be finite")


def test_a_run_that_its_guards_stop_keeps_its_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingStopped):
        agent_of(Guard(), Checkpoints(tmp_path)).learn(40)
    newest = latest(tmp_path)
    assert newest is not None
    assert newest.name == "update-000002"
    expected = agent_of().learn(8)
    for one, other in zip(
        agent_of().restore(newest).policy.parameters(), expected.policy.parameters(), strict=True
    ):
        assert torch.equal(one, other)


# What a kill or a hand left in the place of a checkpoint


def test_one_that_is_being_replaced_counts(tmp_path: Path) -> None:
    agent_of(Checkpoints(tmp_path, keep=1)).learn(8)
    (tmp_path / "update-000002").rename(tmp_path / ".update-000002.replaced")
    assert latest(tmp_path) == tmp_path / "update-000002"
    assert saved_updates(tmp_path) == ["2"]


def test_what_is_saved_is_not_saved_again(tmp_path: Path) -> None:
    agent_of(Checkpoints(tmp_path, every=3)).learn(8)
    newest = latest(tmp_path)
    assert newest is not None
    before = newest.stat()
    agent_of(Checkpoints(tmp_path, every=3)).restore(newest).learn(8)
    assert newest.stat() == before
    agent_of(Checkpoints(tmp_path / "elsewhere")).restore(newest).learn(8)
    assert saved_updates(tmp_path / "elsewhere") == ["2"]


def a_file(path: Path) -> None:
    path.write_text("a file")


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def a_proper_link(path: Path) -> None:
    path.symlink_to(path.with_name("update-000001"))


@pytest.mark.parametrize("put", [a_file, a_dangling_link, a_proper_link])
def test_what_is_no_folder_of_its_own_is_passed_over_and_replaced(put: Any, tmp_path: Path) -> None:
    agent_of(Checkpoints(tmp_path)).learn(4)
    put(tmp_path / "update-000002")
    put(tmp_path / "update-000005")
    with pytest.warns(UserWarning, match="update-00000. must be a folder, got a (file|link)"):
        older = latest(tmp_path)
    assert older == tmp_path / "update-000001"
    agent_of(Checkpoints(tmp_path)).restore(older).learn(8)
    assert saved_updates(tmp_path) == ["1", "2"]
    assert latest(tmp_path) == tmp_path / "update-000002"
    assert not (tmp_path / "update-000002").is_symlink()


def test_what_a_requirement_refuses_is_passed_over(tmp_path: Path) -> None:
    def require_first(path: Path) -> None:
        if path.name != "update-000001":
            raise CheckpointError(f"{path.name} is not wanted")

    agent_of(Checkpoints(tmp_path)).learn(8)
    with pytest.warns(
        UserWarning, match="update-000002 is not wanted; going on from update-000001"
    ):
        assert latest(tmp_path, require_first) == tmp_path / "update-000001"


def test_the_next_training_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    agent_of(Checkpoints(tmp_path, keep=3)).learn(12)
    for name in (".update-000003.leaving", ".update-000004.partial"):
        (tmp_path / name).mkdir()
    newest = latest(tmp_path)
    assert newest is not None
    agent_of(Checkpoints(tmp_path, keep=2)).restore(newest).learn(12)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["update-000002", "update-000003"]
