"""Texts of several turns: what a responder adds, who is paid for what, and what learners see."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO as SB3PPO
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, PreTrainedConfig

from agents import PPO, CausalLMPolicy, PolicyConfig, PPOConfig, collect_rollout
from agents.policy.causal_lm import forward_in_chunks
from text_gym import (
    CharTokenizer,
    Episode,
    HuggingFaceTokenizer,
    TextGenEnv,
    TextGenVectorEnv,
    WordTokenizer,
)
from text_gym.checks import check_text_env, check_vector_env
from text_gym.constraints import MinimumLength
from text_gym.episode import Passage
from text_gym.exact import solve
from text_gym.rendering import episode_html
from text_gym.rewards import EachTurn
from text_gym.turns import ResponderError, Turn
from text_gym.wrappers import ChunkedFeedback, Constrain, Feedback, RemainingTokens
from text_gym.wrappers import vector as vector_wrappers

CHARS = "hiokbyesn? <>"
WORDS = ["hi", "ok", "bye", "yes", "no", "?"]
MODES = ["NextStep", "SameStep", "Disabled"]


def echo(turns: Sequence[Turn]) -> list[str | None]:
    """Repeats the first word, asks back now and then by the turn's seed, and ends at "bye"."""
    answers: list[str | None] = []
    for turn in turns:
        said = turn.text.split()
        tail = " ?" if turn.seed % 2 else ""
        answers.append(None if "bye" in said else f"{said[0] if said else 'hi'} ok{tail}")
    return answers


def task(**changes: Any) -> dict[str, Any]:
    return {
        "prompts": ["hi", "hi yes"],
        "tokenizer": WordTokenizer(WORDS),
        "responder": echo,
        "max_response_tokens": 12,
        "max_turn_tokens": 4,
        "max_turns": 4,
        "max_new_tokens": 12,
    } | changes


def ids(text: str) -> list[int]:
    return WordTokenizer(WORDS).encode(text)


EOS = WordTokenizer(WORDS).eos_token_id


def written(env: gym.Env[Any, Any], tokens: Sequence[int]) -> list[tuple[Any, ...]]:
    return [env.step(token) for token in tokens]


def test_a_turn_is_continued_in_the_step_that_ends_it() -> None:
    env = TextGenEnv(**task(responder=lambda turns: ["ok yes"]))
    env.reset(options={"prompt": "hi"})
    (_, _, _, _, first), (seen, reward, terminated, truncated, info) = written(env, [3, EOS])
    assert "turn" not in first
    assert (info["turn"], info["appended"]) == (2, 2)
    assert (reward, terminated, truncated) == (0.0, False, False)
    length = seen["attention_mask"].sum()
    assert seen["input_ids"][:length].tolist() == [*ids("hi yes"), EOS, *ids("ok yes")]


def test_none_ends_the_text_and_the_episode_tells_who_wrote_what() -> None:
    answers = iter([["yes ?"], [None]])
    env = TextGenEnv(**task(responder=lambda turns: next(answers)))
    env.reset(options={"prompt": "hi"})
    *_, (_, reward, terminated, _, info) = written(env, [*ids("ok"), EOS, *ids("no no"), EOS])
    assert terminated
    assert info["stop_reason"] == "eos"
    assert "turn" not in info
    episode = info["text_episode"]
    assert [(one.writer, one.text) for one in episode.turns] == [
        ("policy", "ok"),
        ("responder", "yes ?"),
        ("policy", "no no"),
    ]
    assert episode.completion == "ok\nno no"
    assert episode.completion_ids.tolist() == [*ids("ok"), EOS, *ids("no no"), EOS]
    assert reward == 3  # words of the policy alone


def test_budgets_end_turns_and_texts() -> None:
    asked: list[Turn] = []

    def responder(turns: Sequence[Turn]) -> list[str]:
        asked.extend(turns)
        return ["ok"]

    env = TextGenEnv(**task(responder=responder, max_turn_tokens=2, max_turns=3))
    env.reset(seed=0)
    steps = written(env, ids("hi") * 6)
    assert [turn.stop_reason for turn in asked] == ["length", "length"]
    assert [turn.room for turn in asked] == [12, 11]
    assert [turn.number for turn in asked] == [1, 2]
    assert steps[-1][2]
    assert steps[-1][-1]["stop_reason"] == "length"


def test_the_token_limit_of_the_text_cuts_a_turn_short() -> None:
    env = TextGenEnv(**task(responder=lambda turns: ["ok"], max_turns=None, max_new_tokens=6))
    env.reset(seed=0)
    ended = [step[2] for step in written(env, ids("hi") * 6)]
    assert ended == [False] * 5 + [True]


def test_turns_of_a_limit_that_truncates_pay_nothing() -> None:
    env = TextGenEnv(**task(responder=lambda turns: ["ok"], limit="truncate", max_turns=2))
    env.reset(seed=0)
    *_, (_, reward, terminated, truncated, info) = written(env, ids("hi") * 8)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert "text_episode" not in info


def test_a_text_that_the_responder_ends_is_finished_though_its_turn_was_cut_short() -> None:
    arguments = task(responder=lambda turns: [None] * len(turns), limit="truncate")
    env = TextGenEnv(**arguments)
    env.reset(seed=0)
    *_, (_, reward, terminated, truncated, info) = written(env, ids("hi") * 4)
    assert (reward, terminated, truncated) == (4.0, True, False)
    assert info["stop_reason"] == "length"
    check_vector_env(lambda: TextGenVectorEnv(2, **arguments), lambda: TextGenEnv(**arguments))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("each_turn", [False, True])
def test_the_vector_environment_equals_single_ones(mode: str, each_turn: bool) -> None:
    reward = lambda prompt, completion: float(len(prompt) + len(completion))  # noqa: E731
    arguments = task(reward_function=EachTurn(reward) if each_turn else reward)
    check_vector_env(
        lambda: TextGenVectorEnv(5, autoreset_mode=mode, **arguments),
        lambda: TextGenEnv(**arguments),
        idle_rows=True,
    )


def test_the_environment_conforms() -> None:
    check_text_env(TextGenEnv(**task()))
    check_text_env(TextGenEnv(**task(reward_function=EachTurn(_n))), dense_reward=True)


def _n(prompt: str, completion: str) -> float:
    return float(len(completion))


def test_a_reward_for_each_turn_is_given_the_turn_after_all_that_came_before() -> None:
    given: list[Episode] = []

    def reward(episodes: Sequence[Episode]) -> np.ndarray[Any, Any]:
        given.extend(episodes)
        return np.arange(1.0, len(episodes) + 1)

    env = TextGenEnv(
        **task(reward_function=EachTurn(reward), max_turns=2, responder=lambda t: ["ok"])
    )
    env.reset(options={"prompt": "hi"})
    steps = written(env, [*ids("yes"), EOS, *ids("no"), EOS])
    assert [step[1] for step in steps] == [0, 1, 0, 1]
    assert [(one.prompt, one.completion) for one in given] == [("hi", "yes"), ("hi\nyes\nok", "no")]
    assert given[1].prompt_ids.tolist() == [*ids("hi yes"), EOS, *ids("ok")]


def test_a_reward_for_each_turn_belongs_to_the_environment() -> None:
    env = Feedback(TextGenEnv(**task(responder=lambda turns: ["ok"], max_turns=2)), EachTurn(_n))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="give EachTurn to the environment itself"):
        written(env, [EOS, EOS])
    envs = vector_wrappers.Feedback(TextGenVectorEnv(1, **task(max_turns=1)), EachTurn(_n))
    envs.reset(seed=0)
    assert envs.step(np.array([EOS]))[1].tolist() == [0.0]  # of one turn, it is that of the text


def test_a_seed_decides_what_a_random_responder_says() -> None:
    runs = []
    for seed in (0, 0, 1):
        env = TextGenEnv(**task())
        env.reset(seed=seed, options={"prompt": "hi"})
        runs.append([step[-1].get("appended") for step in written(env, ids("yes") * 12)])
    assert runs[0] == runs[1]
    seeds = []
    env = TextGenEnv(**task(responder=lambda turns: seeds.append(turns[0].seed) or ["ok"]))
    env.reset(seed=0)
    written(env, ids("yes") * 12)
    assert len(set(seeds)) == len(seeds) == 2


@pytest.mark.parametrize("finished", [False, True])
def test_a_state_goes_on_as_it_would_have(finished: bool) -> None:
    env, other = TextGenEnv(**task()), TextGenEnv(**task())
    env.reset(seed=3)
    tokens = ids("yes no ok hi yes") + [EOS] * (3 if finished else 0)
    written(env, tokens)
    state = json.loads(json.dumps(env.get_state()))
    other.reset(seed=0)
    seen, _ = other.set_state(state)
    assert np.array_equal(seen["input_ids"], env._observation()["input_ids"])
    if finished:
        env.reset(), other.reset()
    for token in ids("yes no hi hi yes"):
        mine, theirs = env.step(token), other.step(token)
        assert np.array_equal(mine[0]["input_ids"], theirs[0]["input_ids"])
        assert mine[1:4] == theirs[1:4]
        assert mine[4] == theirs[4]


def test_a_vector_goes_on_from_its_state() -> None:
    def made() -> TextGenVectorEnv:
        return TextGenVectorEnv(3, autoreset_mode="SameStep", **task())

    envs, others = made(), made()
    envs.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(7):
        envs.step(rng.integers(len(WORDS) + 1, size=3))
    others.reset(seed=9)
    others.set_state(json.loads(json.dumps(envs.get_state())))
    for _ in range(20):
        actions = rng.integers(len(WORDS) + 1, size=3)
        mine, theirs = envs.step(actions), others.step(actions)
        assert np.array_equal(mine[0]["input_ids"], theirs[0]["input_ids"])
        assert np.array_equal(mine[1], theirs[1])


@pytest.mark.parametrize(
    ("responder", "message"),
    [
        (
            lambda turns: 1 / 0,
            r"responder raised ZeroDivisionError: .* on prompt='hi', turn 1: 'yes'",
        ),
        (lambda turns: [], r"must return one answer per turn \(1\), got 0; on prompt='hi'"),
        (lambda turns: [7], r"must return str or None, got '7'; on prompt='hi', turn 1"),
        (lambda turns: [""], r"must return 1 to 12 tokens .*, got 0 in ''; on prompt='hi', turn 1"),
        (lambda turns: ["ok " * 13], r"must return 1 to 12 tokens .*, got 13 in 'ok ok"),
        (lambda turns: ["what"], r"must return text that can be spelled: .*'what'"),
    ],
    ids=["raises", "too few", "no text", "nothing", "too long", "unknown word"],
)
def test_a_failing_responder_is_named_with_the_text(responder: Any, message: str) -> None:
    env = TextGenEnv(**task(responder=responder))
    env.reset(options={"prompt": "hi"})
    env.step(ids("yes")[0])
    with pytest.raises(ResponderError, match=message):
        env.step(EOS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"responder": None}, "max_response_tokens must be left out without a responder"),
        ({"max_response_tokens": None}, "max_response_tokens must be given with a responder"),
        ({"max_turns": 0}, "max_turns must be at least 1, got 0"),
        ({"response_template": "ok"}, r"response_template must contain '\{response\}', got 'ok'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TextGenEnv(**task(**changes))


def test_an_answer_becomes_no_control_token(bpe: Any) -> None:
    tokenizer = HuggingFaceTokenizer(bpe)
    name = bpe.convert_ids_to_tokens(tokenizer.eos_token_id)
    env = TextGenEnv(
        prompts=["hi"],
        tokenizer=tokenizer,
        responder=lambda turns: [f"a{name}b"],
        response_template=f"{{response}}{name}",
        max_response_tokens=64,
    )
    seen, info = env.reset()
    seen, *_, info = env.step(tokenizer.eos_token_id)
    length = int(seen["attention_mask"].sum())
    appended = seen["input_ids"][length - info["appended"] : length].tolist()
    assert appended.count(tokenizer.eos_token_id) == 1
    assert appended[-1] == tokenizer.eos_token_id


def test_constraints_begin_anew_with_each_turn() -> None:
    env = Constrain(TextGenEnv(**task(responder=lambda turns: ["ok"])), MinimumLength(2))
    _, info = env.reset(seed=0)
    masks = [info["action_mask"][EOS]]
    tokens = [*ids("yes no"), EOS, *ids("yes no")]
    masks += [step[-1]["action_mask"][EOS] for step in written(env, tokens)]
    assert masks == [0, 0, 1, 0, 0, 1]
    envs = TextGenVectorEnv(2, **task(responder=lambda turns: ["ok"] * len(turns)))
    constrained = vector_wrappers.Constrain(envs, MinimumLength(2))
    constrained.reset(seed=0)
    rows = []
    for token in [*ids("yes no"), EOS, *ids("yes no")]:
        infos = constrained.step(np.array([token, ids("no")[0]]))[-1]
        rows.append(infos["action_mask"][:, EOS].tolist())
    assert rows == [[0, 0], [1, 1], [0, 1], [0, 0], [1, 0]]


def test_what_others_write_is_on_nobodys_budget() -> None:
    env = RemainingTokens(TextGenEnv(**task(responder=lambda turns: ["ok yes"])))
    env.reset(seed=0)
    left = [env.step(token)[0]["remaining_tokens"][0] for token in [*ids("yes"), EOS, *ids("no")]]
    assert left == [11, 10, 9]
    envs = TextGenVectorEnv(1, **task(responder=lambda turns: ["ok yes"]))
    wrapped = vector_wrappers.RemainingTokens(envs)
    wrapped.reset(seed=0)
    tokens = [*ids("yes"), EOS, *ids("no")]
    left = [wrapped.step(np.array([one]))[0]["remaining_tokens"][0, 0] for one in tokens]
    assert left == [11, 10, 9]


def test_dense_rewards_and_exact_answers_refuse_several_turns() -> None:
    env = TextGenEnv(**task(responder=lambda turns: ["ok"]))
    with pytest.raises(ValueError, match="env must write texts of one turn, got"):
        solve(env, prompt_id=0)
    dense = ChunkedFeedback(env, lambda prompt, completion: 1.0, every=1)
    dense.reset(seed=0)
    with pytest.raises(ValueError, match="env must write texts of one turn where rewards look"):
        dense.step(EOS)


def test_the_renderer_shows_who_wrote_what() -> None:
    env = TextGenEnv(**task(responder=lambda turns: ["ok yes"], render_mode="ansi"))
    env.reset(options={"prompt": "hi"})
    written(env, [*ids("yes"), EOS, *ids("no")])
    assert env.render().splitlines() == [
        "prompt      hi",
        "policy      yes",
        "responder   ok yes",
        "policy      no",
    ]


def test_a_page_shows_what_others_wrote_between_the_tokens() -> None:
    spell = CharTokenizer(CHARS)
    env = TextGenEnv(**task(responder=lambda turns: ["ok <b>"], tokenizer=spell, max_turns=2))
    env.reset(options={"prompt": "hi"})
    *_, last = written(env, [*spell.encode("ye"), spell.eos_token_id, *spell.encode("noye")])
    page = episode_html(last[-1]["text_episode"])
    first, other, second = (
        page.index(part) for part in ('id="tip-1"', "ok &lt;b&gt;", 'id="tip-3"')
    )
    assert first < other < second
    assert "<b>" not in page
    with pytest.raises(ValueError, match="pieces must be given for an episode that has lost"):
        episode_html(pickle.loads(pickle.dumps(last[-1]["text_episode"])))


def test_an_episode_of_one_turn_has_one_passage() -> None:
    episode = Episode.from_text("hi", "yes")
    assert episode.turns == (Passage("policy", episode.completion_ids, "yes"),)
    assert episode.passages == ()


GPT2 = GPT2Config(
    n_embd=16, n_layer=2, n_head=2, n_positions=64, vocab_size=len(WORDS) + 1,
    bos_token_id=None, eos_token_id=EOS,
)  # fmt: skip
LLAMA = LlamaConfig(
    hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
    vocab_size=len(WORDS) + 1, bos_token_id=None, eos_token_id=EOS,
)  # fmt: skip


@pytest.mark.parametrize("config", [GPT2, LLAMA], ids=["gpt2", "llama"])
@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_a_rollout_counts_the_policys_tokens_alone(config: PreTrainedConfig, mode: str) -> None:
    policy = CausalLMPolicy.from_config(config)
    envs = TextGenVectorEnv(5, autoreset_mode=mode, **task())
    rollout = collect_rollout(policy, envs, 23, torch.Generator().manual_seed(0), seed=0)
    texts = rollout.texts
    several = 0
    for number, info in enumerate(rollout.infos):
        episode = info["text_episode"]
        chosen = texts.input_ids[number][texts.completion_mask[number]]
        assert chosen.tolist() == episode.completion_ids.tolist()
        whole = [t for one in episode.turns for t in one.token_ids.tolist()]
        text = texts.input_ids[number][texts.attention_mask[number]].tolist()
        assert text == episode.prompt_ids.tolist() + whole
        several += len(episode.turns) > 1
    assert several > 3
    assert rollout.sampling_error(forward_in_chunks(policy, texts, 8).log_probs) < 1e-5


def test_ppo_learns_what_to_say_in_every_turn() -> None:
    def reward(prompt: str, completion: str) -> float:
        return float(completion.split()[:1] == ["yes"])

    arguments = task(
        reward_function=EachTurn(reward), max_turn_tokens=2, max_turns=3, max_new_tokens=6
    )
    envs = TextGenVectorEnv(16, autoreset_mode="Disabled", **arguments)
    policy = CausalLMPolicy.from_config(GPT2, PolicyConfig(value_network="shared"))
    settings = PPOConfig(n_episodes=64, batch_size=32, learning_rate=3e-3, kl_coef=0.0)
    agent = PPO(policy, envs, settings)
    agent.learn(total_episodes=1536)
    rollout = collect_rollout(policy, envs, 64, torch.Generator().manual_seed(1), seed=5)
    assert rollout.scores.mean() > 2.2  # of 3; the untrained policy has 0.4


def test_a_plain_model_gives_the_same_log_probs() -> None:
    policy = CausalLMPolicy.from_config(GPT2)
    envs = TextGenVectorEnv(4, autoreset_mode="Disabled", **task())
    rollout = collect_rollout(policy, envs, 8, torch.Generator().manual_seed(0), seed=0)
    model = policy.model
    assert isinstance(model, GPT2LMHeadModel)
    number = max(range(8), key=lambda i: len(rollout.infos[i]["text_episode"].turns))
    ids_ = rollout.texts.input_ids[number][rollout.texts.attention_mask[number]][None]
    log_probs = model(ids_).logits.log_softmax(-1)[0]
    for place in rollout.texts.completion_mask[number].nonzero().flatten().tolist():
        expected = log_probs[place - 1, ids_[0, place]]
        assert torch.isclose(rollout.log_probs[number, place], expected, atol=1e-5)


def test_the_page_on_turns_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "turns.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", page, flags=re.DOTALL)
    exec(compile(code, "docs/turns.md", "exec"), {})
    assert capsys.readouterr().out == f"2 5\n{printed}"


def test_stable_baselines3_learns_on_turns() -> None:
    env = TextGenEnv(**task())
    learner = SB3PPO("MultiInputPolicy", env, n_steps=64, batch_size=32, n_epochs=1, seed=0)
    learner.learn(128)
    assert learner.num_timesteps == 128
