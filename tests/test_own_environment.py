"""Environments and wrappers that a run names, the user's own among them."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml

from agents.applications.fine_tuning import FineTuning, in_environment
from agents.applications.registry import APPLICATIONS
from agents.runs import chatting, config_file, evaluating, inspecting, pipeline
from agents.runs.chatting_options import Chatting
from agents.runs.environments import listed_prompts, make_envs
from agents.runs.evaluating_options import Evaluating
from agents.runs.going_on import advice_on_going_on
from agents.runs.inspecting_options import Inspecting
from agents.runs.own_code import load_object
from agents.runs.saved_config import anchored
from agents.runs.texts_at_hand import texts_at_hand
from agents.runs.wrappers import kept_in_evaluation
from text_gym import Episode, Prompt

COUNTING = "TextGen/CountingUp-v0"
OWN = """
import gymnasium
from gymnasium.vector import VectorWrapper

from text_gym import TextGenEnv, TextGenVectorEnv

TASK = {"prompts": ["How are you?"], "max_new_tokens": 3}
ONE = "text_gym.env:TextGenEnv"
MANY = "text_gym.vector_env:TextGenVectorEnv"
gymnasium.register("Own/Short-v0", ONE, vector_entry_point=MANY, kwargs=TASK)
gymnasium.register("Own/Rows-v0", ONE, kwargs=TASK)

class Failing(TextGenEnv):
    def __init__(self, length=1, **options):
        None + length

gymnasium.register("Own/Failing-v0", lambda length=1, **options: Failing(length, **options))

def polite(prompt, completion):
    return float("thanks" in completion)

class Counting(VectorWrapper):
    def __init__(self, env, most=None):
        super().__init__(env)
        self.steps, self.most = 0, most

    def step(self, actions):
        self.steps += 1
        stepped = super().step(actions)
        if self.steps == self.most:
            raise KeyError("broken")
        return stepped

    def get_state(self):
        return {"steps": self.steps}

    def set_state(self, state):
        self.steps = state["steps"]

def nothing(env):
    return None
"""

NAMES = ("Own/Short-v0", "Own/Rows-v0", "Own/Failing-v0")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("TEXT_GYM_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "own_tasks.py"
    path.write_text(OWN)
    yield path
    for name in NAMES:
        gymnasium.registry.pop(name, None)


def tiny(output: Path, env_id: str | None = COUNTING, **changes: Any) -> FineTuning:
    config = APPLICATIONS["toy"].with_algorithm("ppo")
    config = config if env_id is None else in_environment(config, env_id)
    ppo = dataclasses.replace(config.algorithm, n_episodes=8, batch_size=8, n_epochs=1)
    small = {"total_episodes": 16, "num_envs": 8, "eval_episodes": 8, "threads": 1}
    small |= {"algorithm": ppo, "checkpoint_every": 1, "name": "run", "output": output}
    return dataclasses.replace(config, **{**small, **changes})


def envs_of(config: FineTuning, n: int = 2, prompts: Sequence[Prompt] = (), **how: Any) -> Any:
    return make_envs(config, prompts, None, (), n, None, **how)


def write(envs: Any, seed: int = 0) -> Any:
    """Writes one random text in every row; returns the rewards, (n,)."""
    envs.reset(seed=seed)
    draw, paid = np.random.default_rng(seed), np.zeros(envs.num_envs)
    for _ in range(envs.single_observation_space["input_ids"].shape[0]):
        actions = draw.integers(0, envs.single_action_space.n, envs.num_envs)
        paid += envs.step(actions)[1]
    return paid


def test_an_environment_brings_its_own_prompts_lengths_and_reward(tmp_path: Path) -> None:
    config = tiny(tmp_path, env_args='{"length": 2}')
    assert [one.text for one in listed_prompts(config, None, ())] == list("01234567")
    envs = envs_of(config)
    assert envs.single_observation_space["input_ids"].shape == (1 + 3,)
    assert envs.single_action_space.n == 11


def test_a_reward_that_is_given_replaces_that_of_the_environment(tmp_path: Path) -> None:
    def length(episodes: Sequence[Episode]) -> list[float]:
        return [7.0 for _ in episodes]

    envs = make_envs(tiny(tmp_path), (), None, (), 3, length)
    assert write(envs).tolist() == [7.0] * 3


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"prompts": "Hi"}, f"prompts must be left out where env_id .* {COUNTING}, got 'Hi'"),
        ({"max_new_tokens": 3}, "max_new_tokens must be left out"),
        ({"max_new_tokens": 32}, "max_new_tokens must be left out"),  # as by default without one
        ({"chat": True}, "chat must be left out"),
        ({"env_id": None, "prompts": "Hi"}, "prompt_template must be given where env_id is not"),
    ],
)
def test_what_the_environment_decides_is_not_decided_twice(
    tmp_path: Path, changes: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        dataclasses.replace(tiny(tmp_path), **changes)


@pytest.mark.parametrize(
    ("env_id", "env_args", "rule"),
    [
        ("TextGen/Nothing-v0", "{}", "env_id must be registered with Gymnasium"),
        (COUNTING, '{"lenght": 2}', r"must take what env_args has, \['lenght'\]: .*unexpected"),
        ("TextGen-v0", '{"num_envs": 3}', r"leave to the run what it decides, \[.*'num_envs'"),
        (COUNTING, '{"autoreset_mode": "Disabled"}', "leave to the run what it decides"),
        (COUNTING, "[]", r"env_args must be a JSON object, got '\[\]'"),
        ("MountainCar-v0", "{}", "must show texts as input_ids and attention_mask, got Box"),
        ("nowhere.py:Own/Short-v0", "{}", "env_id must name a file that exists"),
    ],
)
def test_an_environment_that_there_is_not_is_one_line(
    tmp_path: Path, env_id: str, env_args: str, rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        envs_of(tiny(tmp_path, env_id, env_args=env_args))


def test_a_mistake_inside_ones_own_environment_is_not_one_of_arguments(
    own: Path, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match="unsupported operand"):
        envs_of(tiny(tmp_path, f"{own}:Own/Failing-v0"))
    with pytest.raises(ValueError, match="must take what env_args has"):
        envs_of(tiny(tmp_path, f"{own}:Own/Rows-v0", env_args='{"lenght": 2}'))


def test_a_model_that_spells_otherwise_is_refused(tmp_path: Path, bpe: Any) -> None:
    rule = "and, of the model, stop_token_ids and tokenizer"
    with pytest.raises(ValueError, match=rule):
        make_envs(tiny(tmp_path), (), bpe, (0,), 2, None)


def test_a_model_brings_its_vocabulary(tmp_path: Path, bpe: Any) -> None:
    envs = make_envs(tiny(tmp_path, "TextGen-v0"), (), bpe, (0,), 2, None)
    assert envs.single_action_space.n == len(bpe)


def test_code_of_the_users_registers_an_environment(own: Path, tmp_path: Path) -> None:
    config = tiny(
        tmp_path, f"{own}:Own/Short-v0", env_args=f'{{"reward_function": "{own}:polite"}}'
    )
    assert envs_of(config).single_observation_space["input_ids"].shape == (4 + 3,)
    assert set(write(envs_of(config, 64))) == {0.0, 1.0}


def test_prompts_come_in_groups_where_they_are_compared(tmp_path: Path) -> None:
    infos = envs_of(tiny(tmp_path), 4, group_size=2).reset(seed=0)[1]
    assert infos["group_id"].tolist() == [0, 0, 1, 1]
    assert infos["prompt_id"][0] == infos["prompt_id"][1]


def test_rows_of_gymnasiums_have_no_groups(own: Path, tmp_path: Path) -> None:
    config = tiny(tmp_path, f"{own}:Own/Rows-v0")
    assert listed_prompts(config, None, ()) == ()
    with pytest.raises(ValueError, match=r"TextGenVectorEnv .* groups of 2, got SyncVectorEnv"):
        envs_of(config, group_size=2)


def test_wrappers_are_put_around_in_the_order_given(own: Path, tmp_path: Path) -> None:
    said = {"NoisyFeedback": {"std": 9.0}, "ClipFeedback": {"low": -1, "high": 1}}
    config = tiny(tmp_path, wrappers=json.dumps({**said, f"{own}:Counting": {}}))
    envs = envs_of(config, 64, training=True)
    names = []
    while envs is not envs.unwrapped:
        names.append(type(envs).__name__)
        envs = envs.env
    assert names == ["Counting", "VectorClipFeedback", "VectorNoisyFeedback"]
    assert set(np.abs(write(envs_of(config, 64, training=True)))) > {1.0}


def test_evaluation_pays_what_the_environment_pays(own: Path, tmp_path: Path) -> None:
    said = json.dumps({"NoisyFeedback": {"std": 9.0}, f"{own}:Counting": {}})
    assert json.loads(str(kept_in_evaluation(said))) == {f"{own}:Counting": {}}
    assert kept_in_evaluation("ClipFeedback") is None
    assert kept_in_evaluation("gymnasium.wrappers.vector:NormalizeReward") is None
    plain = write(envs_of(tiny(tmp_path), 16))
    assert write(envs_of(tiny(tmp_path, wrappers=said), 16)).tolist() == plain.tolist()


def test_an_argument_may_be_something_in_a_file(own: Path, tmp_path: Path) -> None:
    said = {"Feedback": {"reward_function": f"{own}:polite", "weight": 3}}
    config = tiny(tmp_path, None, wrappers=json.dumps(said))
    assert set(write(envs_of(config, 64, [Prompt("How are you?")], training=True))) == {0.0, 3.0}


@pytest.mark.parametrize(
    ("wrappers", "rule"),
    [
        ("Clip", r"wrappers must be among \['Annotators', .*\], file.py:name or .*, got 'Clip'"),
        ('{"ClipFeedback": {"least": 1}}', "name arguments that ClipFeedback takes: .*'least'"),
        ('{"ClipFeedback": 1}', "must say arguments of ClipFeedback by name, got 1"),
        ("FILE:nothing", "must make vector environments .*:nothing makes NoneType"),
        ("FILE:Missing", "must name one of"),
        ('{"PaddedTokens": {}}', "must show texts as input_ids"),
    ],
)
def test_a_wrapper_that_there_is_not_is_one_line(
    own: Path, tmp_path: Path, wrappers: str, rule: str
) -> None:
    config = tiny(tmp_path, wrappers=wrappers.replace("FILE", str(own)))
    with pytest.raises(ValueError, match=rule):
        envs_of(config, training=True)


def test_all_of_it_is_found_from_any_folder(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    here = tiny(
        Path(), "own_tasks.py:Own/Short-v0", env_args='{"reward_function": "own_tasks.py:polite"}',
        wrappers="own_tasks.py:Counting",
    )  # fmt: skip
    found = anchored(here)
    assert found.env_id == f"{own}:Own/Short-v0"
    assert json.loads(found.env_args) == {"reward_function": f"{own}:polite"}
    assert json.loads(str(found.wrappers)) == {f"{own}:Counting": {}}
    assert anchored(found) == found


def test_a_config_file_may_name_an_environment(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"preset": "toy", "env_id": COUNTING, "num_envs": 3}))
    config = config_file.read(path).applied_to("toy", None)
    assert (config.env_id, config.prompts, config.num_envs) == (COUNTING, None, 3)
    other = config_file.read(path).applied_to("toy", None, "TextGen/Sorting-v0")
    assert other.env_id == "TextGen/Sorting-v0"
    path.write_text(yaml.safe_dump({"preset": "toy", "prompts": "Hi"}))
    with pytest.raises(ValueError, match=r"run.yaml: prompts must be left out"):
        config_file.read(path).applied_to("toy", None, COUNTING)


def test_the_texts_at_hand_are_those_that_have_just_ended(tmp_path: Path) -> None:
    envs = envs_of(tiny(tmp_path), 2)
    assert texts_at_hand(envs) == []
    envs.reset(seed=0, options={"prompt_id": 3})
    envs.step(np.array([4, 10]))
    assert texts_at_hand(envs) == ["prompt='3', completion=''"]


@pytest.mark.slow
def test_a_run_goes_on_and_what_it_learnt_can_be_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noisy = '{"NoisyFeedback": {"std": 0.5}}'
    whole = pipeline.run("toy", tiny(tmp_path / "whole", wrappers=noisy))
    killed = pipeline.run("toy", tiny(tmp_path / "killed", wrappers=noisy))
    (killed / "summary.json").unlink()
    newest = max((killed / "checkpoints").iterdir())
    shutil.rmtree(newest)
    assert pipeline.resume(killed) == killed
    replies = [(one / "replies.json").read_text() for one in (whole, killed)]
    assert replies[0] == replies[1]
    chatting.run(Chatting(models=(str(whole),), threads=1), ["3", ""])
    assert "(before): " in capsys.readouterr().out
    inspecting.run(Inspecting(run=whole, texts=20, shown=2, threads=1))
    asked = Evaluating(
        models=(str(whole), str(killed)), eval_episodes=8, threads=1, output=tmp_path / "report"
    )
    assert len(evaluating.run(asked).evaluated) == 2


@pytest.mark.slow
def test_what_breaks_is_mended_and_the_run_goes_on(own: Path, tmp_path: Path) -> None:
    said = json.dumps({f"{own}:Counting": {"most": 8}})
    config = tiny(tmp_path / "runs", wrappers=said)
    with pytest.raises(KeyError, match="broken") as error:
        pipeline.run("toy", config)
    notes = error.value.__notes__
    assert notes[0].startswith("Among the texts: prompt='")
    folder = tmp_path / "runs" / "run"
    again = f"go on with: python -m agents.resume {folder} --trust-code"
    assert notes[-1] == f"When that is mended, {again}"
    own.write_text(OWN.replace("self.steps == self.most", "False"))
    for name in [name for name in sys.modules if name.startswith("own_tasks_")]:
        del sys.modules[name]  # as in a process of its own
    for name in NAMES:
        del gymnasium.registry[name]
    with pytest.raises(ValueError, match=r"has changed since, as {'wrappers': .*--trust-code"):
        pipeline.resume(folder)
    assert pipeline.resume(folder, trust_code=True) == folder
    assert json.loads((folder / "start.json").read_text())["changed"] == ["wrappers"]


@pytest.mark.parametrize("mistake", ["open('/nowhere/at/all')", "raise ConnectionError('down')"])
def test_what_the_machine_refuses_ones_own_code_is_said_how_to_go_on_after(
    tmp_path: Path, mistake: str
) -> None:
    (tmp_path / "config.json").touch()
    code = tmp_path / "theirs.py"
    code.write_text(f"def step():\n    {mistake}\n")
    step = load_object(f"{code}:step", "wrappers")
    advice = advice_on_going_on(tmp_path, texts=lambda: ["Hi"])
    with pytest.raises(OSError, match=r"down|No such") as error, advice:
        step()
    again = f"go on with: python -m agents.resume {tmp_path} --trust-code"
    assert error.value.__notes__ == ["Among the texts: Hi", f"When that is mended, {again}"]
