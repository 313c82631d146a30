"""Reward models: what they read, what they learn from, and that plain transformers agrees."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
)

from agents import PolicyConfig
from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.objectives.reward_losses import comparison_losses, rating_losses
from agents.reward_models import human_ratings
from agents.reward_models.ensemble import RewardEnsemble, average_weights
from agents.reward_models.examples import encode_feedback, rating_scale
from agents.reward_models.learner import RewardLearner
from agents.reward_models.network import RewardNetwork
from agents.reward_models.reward_model import RewardModel
from agents.reward_models.training import load_network, reader_of, train_reward_model
from agents.supervised.from_scratch import new_gpt2, train_tokenizer
from agents.supervised.pair_files import Preference, Rating
from text_gym import Episode
from text_gym.small_talk import RatedConversation

WORDS = ["good", "bad", "fine", "sad", "it", "is", "how", "very", "?", "."]


def save_gpt2(folder: Path) -> None:
    tokenizer = train_tokenizer(["How is it? It is good. It is bad."] * 9, 280)
    sizes = {"n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
    new_gpt2(tokenizer, **sizes, dropout=0.1, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_llama(folder: Path) -> None:
    tokenizer = train_tokenizer(["How is it? It is good. It is bad."] * 9, 280)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=32, **sizes, **heads)
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_bert(folder: Path) -> None:
    vocab = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2}
    config = BertConfig(
        vocab_size=len(vocab), **sizes, num_attention_heads=2, max_position_embeddings=32
    )
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    BertTokenizer(vocab=vocab).save_pretrained(folder)


KINDS = {"gpt2": save_gpt2, "llama": save_llama, "bert": save_bert}
every_kind = pytest.mark.parametrize("kind", KINDS)
PROMPTS = ["how is it ?", "how is it ?", "it is sad .", "?"]
COMPLETIONS = ["it is very good", "bad", "is it ?", "very very very fine ."]
ROWS = [
    Preference(prompt, f"it is {word} good", f"it is {word} bad", 0.0, 1.0)
    for prompt in ("how is it ?", "is it ?", "how ?")
    for word in ("very", "fine", "it", "is")
]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of untrained models of each kind, with their tokenizers."""
    folders: dict[str, Path] = {}

    def of(kind: str) -> Path:
        if kind not in folders:
            folders[kind] = tmp_path_factory.mktemp(kind)
            KINDS[kind](folders[kind])
        return folders[kind]

    return of


@pytest.fixture(scope="module")
def learnt(folder_of: Callable[[str], Path]) -> Callable[[str], RewardModel]:
    """Reward models of each kind that prefer what is good."""
    models: dict[str, RewardModel] = {}

    def of(kind: str) -> RewardModel:
        if kind not in models:
            config = RewardModelConfig(learning_rate=1e-2, n_epochs=8, batch_size=4)
            models[kind] = train_reward_model(ROWS, config, model=folder_of(kind))
        return models[kind]

    return of


# Losses


def test_a_comparison_costs_what_bradley_and_terry_say() -> None:
    losses = comparison_losses(torch.tensor([0.0, math.log(3)]))
    assert_close(losses, torch.tensor([math.log(2), math.log(4 / 3)]))


def test_ties_cost_what_davidson_says() -> None:
    # η = log 4 and τ = log 2: 2 : 2 : 1/2.
    differences, tau = torch.tensor([math.log(4)] * 2), torch.tensor(math.log(2))
    losses = comparison_losses(differences, torch.tensor([False, True]), tau)
    assert_close(losses, torch.tensor([math.log(4.5 / 2)] * 2))


def test_ties_without_their_log_odds_are_refused() -> None:
    with pytest.raises(ValueError, match="tie_log_odds must be given where there are ties"):
        comparison_losses(torch.zeros(1), torch.tensor([True]))


def test_a_rating_costs_half_of_its_squared_error() -> None:
    losses = rating_losses(torch.tensor([1.0, 0.0]), torch.tensor([0.5, -1.0]), torch.tensor(1.5))
    assert_close(losses, torch.tensor([0.5, 0.5]))


# Reading


@every_kind
def test_before_the_first_step_every_text_is_worth_nothing(
    kind: str, folder_of: Callable[[str], Path]
) -> None:
    network, tokenizer = load_network(folder_of(kind))
    texts = reader_of(network, tokenizer, "{prompt}\n").read(PROMPTS, COMPLETIONS)
    assert network(texts).tolist() == [0, 0, 0, 0]
    assert network.is_causal == (kind != "bert")


def test_loading_leaves_the_global_random_state_alone(folder_of: Callable[[str], Path]) -> None:
    before = torch.get_rng_state()
    first = load_network(folder_of("bert"), seed=1)[0].state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    again, other = (load_network(folder_of("bert"), seed=s)[0].state_dict() for s in (1, 2))
    name = "trunk.pooler.dense.weight"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


def test_control_tokens_in_a_text_are_text(folder_of: Callable[[str], Path]) -> None:
    network, tokenizer = load_network(folder_of("gpt2"))
    end = tokenizer.eos_token
    texts = reader_of(network, tokenizer, f"{end}{{prompt}}\n").read([f"a{end}"], [f"b{end}"])
    assert texts.input_ids[0].tolist().count(tokenizer.eos_token_id) == 1
    assert texts.input_ids[0, 0] == tokenizer.eos_token_id
    bert = AutoTokenizer.from_pretrained(folder_of("bert"))
    pair = reader_of(load_network(folder_of("bert"))[0], bert, "{prompt}").read(["[SEP]"], ["bad"])
    assert pair.input_ids[0].tolist().count(bert.sep_token_id) == 2


@every_kind
def test_a_long_text_loses_its_beginning(kind: str, folder_of: Callable[[str], Path]) -> None:
    network, tokenizer = load_network(folder_of(kind))
    reader = reader_of(network, tokenizer, "{prompt}\n", max_length=8)
    long = reader.read(["it is " * 30, "?"], ["bad", "fine " * 30])
    assert long.input_ids.shape == (2, 8)
    assert long.attention_mask.all()
    whole = reader_of(network, tokenizer, "{prompt}\n").read(["?"], ["bad"])
    last = whole.input_ids[0, whole.attention_mask[0]][-2:]
    assert long.input_ids[0, -2:].tolist() == last.tolist()


def test_a_reader_without_room_or_field_is_refused(folder_of: Callable[[str], Path]) -> None:
    network, tokenizer = load_network(folder_of("gpt2"))
    with pytest.raises(ValueError, match=r"template must contain '\{prompt\}', got 'Hi'"):
        reader_of(network, tokenizer, "Hi")
    with pytest.raises(ValueError, match="max_length must be above 1, the tokens around prompt"):
        reader_of(network, tokenizer, "{prompt}\n", max_length=1)
    with pytest.raises(ValueError, match="prompts must be as many as completions, and at least"):
        reader_of(network, tokenizer, "{prompt}\n").read(["a"], [])


# Scoring


@every_kind
def test_what_is_padded_beside_a_text_does_not_change_its_reward(
    kind: str, learnt: Callable[[str], RewardModel]
) -> None:
    model = learnt(kind)
    together = model.score(PROMPTS, COMPLETIONS)
    alone = [model.score([p], [c])[0] for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    small = dataclasses.replace(model, batch_size=3).score(PROMPTS, COMPLETIONS)
    np.testing.assert_allclose(together, small, atol=1e-5)
    assert together.dtype == np.float64


def test_it_is_a_reward_function(learnt: Callable[[str], RewardModel]) -> None:
    model = learnt("gpt2")
    episodes = [Episode.from_text(p, c) for p, c in zip(PROMPTS, COMPLETIONS, strict=True)]
    assert model(episodes).tolist() == model.score(PROMPTS, COMPLETIONS).tolist()
    assert model([]).shape == (0,)


@every_kind
def test_it_has_learnt_what_is_preferred(kind: str, learnt: Callable[[str], RewardModel]) -> None:
    good, bad = learnt(kind).score(["how is it ?"] * 2, ["it is very good", "it is very bad"])
    assert good > bad + 1


@every_kind
def test_rewards_are_normalised_over_what_was_learnt_from(
    kind: str, learnt: Callable[[str], RewardModel]
) -> None:
    prompts = [row.prompt for row in ROWS] * 2
    texts = [row.chosen for row in ROWS] + [row.rejected for row in ROWS]
    rewards = learnt(kind).score(prompts, texts)
    assert rewards.mean() == pytest.approx(0, abs=1e-5)
    assert rewards.std() == pytest.approx(1, abs=1e-5)


def test_what_is_worth_the_same_cannot_be_normalised(folder_of: Callable[[str], Path]) -> None:
    network, tokenizer = load_network(folder_of("gpt2"))
    model = RewardModel(network, reader_of(network, tokenizer, "{prompt}\n"))
    with pytest.raises(ValueError, match="completions must differ in reward to be normal"):
        model.normalized(PROMPTS, COMPLETIONS)


@every_kind
def test_plain_transformers_computes_the_same_rewards(
    kind: str, learnt: Callable[[str], RewardModel], tmp_path: Path
) -> None:
    model = learnt(kind)
    model.save(tmp_path / "saved")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    texts: Any = (PROMPTS, COMPLETIONS)
    if kind != "bert":
        texts = ([f"{p}\n{c}" for p, c in zip(*texts, strict=True)],)
    with torch.no_grad():
        inputs = tokenizer(*texts, padding=True, return_tensors="pt")
        logits = plain(**inputs).logits.squeeze(-1)
    expected = model.score(PROMPTS, COMPLETIONS) - model.offset
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-5)
    # Where neither the head nor the last norm has a bias, the mean stays beside the model.
    assert (model.offset == 0) == (kind != "llama")


@every_kind
def test_saved_and_loaded_it_gives_the_same_rewards(
    kind: str, learnt: Callable[[str], RewardModel], tmp_path: Path
) -> None:
    model = learnt(kind)
    model.save(tmp_path / "saved")
    loaded = RewardModel.load(tmp_path / "saved")
    assert loaded.score(PROMPTS, COMPLETIONS).tolist() == model.score(PROMPTS, COMPLETIONS).tolist()
    assert (loaded.nats, loaded.offset) == (model.nats, model.offset)
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())


def test_a_folder_of_something_else_is_refused(
    folder_of: Callable[[str], Path], learnt: Callable[[str], RewardModel], tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError, match=r"must be of a reward model, with reward_model\.j"):
        RewardModel.load(folder_of("gpt2"))
    learnt("gpt2").save(tmp_path / "saved")
    (tmp_path / "saved" / "reward_model.json").write_text('{"nats": 1}')
    with pytest.raises(ValueError, match="must hold what a reward model wrote"):
        RewardModel.load(tmp_path / "saved")


def test_a_model_of_several_outputs_is_refused(folder_of: Callable[[str], Path]) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(folder_of("bert"), num_labels=3)
    with pytest.raises(ValueError, match="with num_labels=1, got BertForSequenceClassification"):
        RewardNetwork(model)


# Learning


def learner(folder: Path, rows: Sequence[Any], **changes: Any) -> RewardLearner:
    network, tokenizer = load_network(folder)
    reader = reader_of(network, tokenizer, "{prompt}\n")
    examples = encode_feedback(rows, reader, rating_scale(rows))
    return RewardLearner(network, examples, RewardModelConfig(**changes))


def test_the_first_loss_is_that_of_a_coin(folder_of: Callable[[str], Path]) -> None:
    agent = learner(folder_of("gpt2"), ROWS)
    figures = agent.evaluate(agent.examples)
    assert figures == {"eval/loss": pytest.approx(math.log(2)), "eval/accuracy": 0.5}


def test_micro_batches_change_nothing(folder_of: Callable[[str], Path]) -> None:
    rows = [*ROWS, Rating("?", "good", 2, 1.0), Rating("?", "bad", 1, 3.0), *ROWS[:1]]
    rows[3] = rows[3]._replace(tie=True, weight=0.5)
    whole, parts = (
        learner(folder_of("gpt2"), rows, batch_size=15, learning_rate=1e-3, micro_batch_size=size)
        for size in (None, 4)
    )
    whole.learn()
    parts.learn()
    for name, tensor in whole.policy.state_dict().items():
        assert_close(tensor, parts.policy.state_dict()[name], atol=1e-5, rtol=1e-4)


def test_a_text_that_is_compared_twice_is_read_once(folder_of: Callable[[str], Path]) -> None:
    network, tokenizer = load_network(folder_of("gpt2"))
    rows = [Preference("?", "good", other, 0, 1) for other in ("bad", "sad")] + [
        Rating("?", "good", 1, 1), Rating("?", "fine", 2, 1)
    ]  # fmt: skip
    examples = encode_feedback(rows, reader_of(network, tokenizer, "{prompt}\n"), (1.5, 0.5))
    assert len(examples) == 4
    assert len(examples.texts.input_ids) == 4
    assert examples.ratings.tolist() == [0, 0, -1, 1]
    part = examples.select(torch.tensor([2, 0]))
    assert part.first[0] == part.first[1]
    assert part.second.tolist().count(-1) == 1
    assert len(part.texts.input_ids) == 2
    assert torch.equal(
        part.texts.input_ids[part.second[1]][part.texts.attention_mask[part.second[1]]],
        examples.texts.input_ids[1][examples.texts.attention_mask[1]],
    )


def test_weights_count_as_repetitions_do(folder_of: Callable[[str], Path]) -> None:
    contrary = Preference("?", "bad", "good", 0, 1)
    agents = [
        learner(folder_of("gpt2"), rows)
        for rows in ([*[ROWS[0]] * 3, contrary], [ROWS[0]._replace(weight=3.0), contrary])
    ]
    for agent in agents:
        torch.nn.init.constant_(agent.policy.head.weight, 0.3)
    four, two = (agent.evaluate(agent.examples)["eval/loss"] for agent in agents)
    assert two == pytest.approx(2 * four)


def test_a_margin_asks_for_more(folder_of: Callable[[str], Path]) -> None:
    rows = [ROWS[0]._replace(margin=2.0)]
    losses = []
    for coefficient in (0.0, 0.5):
        agent = learner(folder_of("gpt2"), rows, margin_coef=coefficient)
        losses.append(agent.evaluate(agent.examples)["eval/loss"])
    assert losses == [pytest.approx(math.log(2)), pytest.approx(math.log1p(math.e))]


def test_ties_are_learnt_as_common_as_they_are(folder_of: Callable[[str], Path]) -> None:
    # Two texts that nobody can tell apart, a third of the time tied.
    pair = Preference("?", "good", "bad", 0, 1)
    rows = [pair, pair._replace(chosen="bad", rejected="good"), pair._replace(tie=True)] * 8
    agent = learner(folder_of("gpt2"), rows, learning_rate=1e-3, n_epochs=40, batch_size=24)
    assert agent.policy.tie_log_odds.item() == pytest.approx(0, abs=0.1)
    agent.policy.learn_ties(0.1)
    assert agent.policy.tie_log_odds.item() == pytest.approx(math.log(2 / 9))
    assert agent.learn().policy.tie_log_odds.item() == pytest.approx(0, abs=0.1)


def test_ratings_alone_are_learnt(folder_of: Callable[[str], Path]) -> None:
    rows = [Rating(p, f"it is {w}", s, 1) for p in ("?", "how ?") for w, s in WORTH.items()]
    config = RewardModelConfig(learning_rate=1e-2, n_epochs=30, batch_size=4)
    agent = learner(folder_of("gpt2"), rows, **dataclasses.asdict(config))
    before = agent.evaluate(agent.examples)["eval/rating_error"]
    assert before == pytest.approx(1)
    assert agent.learn().evaluate(agent.examples)["eval/rating_error"] < 0.3


WORTH = {"good": 9.0, "fine": 7.0, "sad": 3.0, "bad": 1.0}


def test_ratings_and_preferences_are_learnt_together(folder_of: Callable[[str], Path]) -> None:
    rated = [Rating("?", f"it is {word}", worth, 1) for word, worth in WORTH.items()]
    config = RewardModelConfig(learning_rate=1e-2, n_epochs=20, batch_size=8)
    model = train_reward_model([*ROWS, *rated], config, model=folder_of("gpt2"))
    rewards = model.score(["?"] * 4, [f"it is {word}" for word in WORTH])
    assert list(rewards) == sorted(rewards, reverse=True)
    good, bad = model.score(["how ?"] * 2, ["it is very good", "it is very bad"])
    assert good > bad


def test_equal_ratings_teach_nothing() -> None:
    with pytest.raises(ValueError, match=r"ratings must differ to be learnt from, got 5\.0 for al"):
        rating_scale([Rating("?", "a", 5, 1), Rating("?", "b", 5, 1)])


@every_kind
def test_adapters_are_merged_into_what_is_saved(
    kind: str, folder_of: Callable[[str], Path], tmp_path: Path
) -> None:
    options = PolicyConfig(value_network="none", lora_rank=2)
    config = RewardModelConfig(learning_rate=1e-2, n_epochs=4, batch_size=4)
    model = train_reward_model(ROWS, config, model=folder_of(kind), options=options)
    model.save(tmp_path / "saved")
    loaded = RewardModel.load(tmp_path / "saved")
    np.testing.assert_allclose(
        loaded.score(PROMPTS, COMPLETIONS), model.score(PROMPTS, COMPLETIONS), atol=1e-5
    )
    names = loaded.network.state_dict().keys()
    assert not [name for name in names if "lora" in name]


def test_only_adapters_and_head_learn(folder_of: Callable[[str], Path]) -> None:
    options = PolicyConfig(value_network="none", lora_rank=2)
    network, _ = load_network(folder_of("gpt2"), options)
    names = [n for n in network.trainable_parameters() if "lora_" not in n]
    assert names == ["model.score.weight"]


def test_a_reward_model_can_be_learnt_further(
    learnt: Callable[[str], RewardModel], tmp_path: Path
) -> None:
    learnt("gpt2").save(tmp_path / "saved")
    network, tokenizer = load_network(tmp_path / "saved")
    texts = reader_of(network, tokenizer, "{prompt}\n").read(PROMPTS, COMPLETIONS)
    assert network(texts).tolist() == pytest.approx(
        learnt("gpt2").score(PROMPTS, COMPLETIONS).tolist(), abs=1e-5
    )


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="rows must hold at least one preference or rating, got"):
        train_reward_model([])


# Real people


def test_a_conversation_is_rated_as_its_first_turn_and_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rated = RatedConversation(("Hi", "Hello", "Bye"), {"witty": 7, "upbeat": 5})
    monkeypatch.setattr(human_ratings, "rated_conversations", lambda split: (rated,))
    assert human_ratings.chitchat_ratings("rl", "witty") == [Rating("Hi", "Hello\nBye", 7.0, 1.0)]
    (mean,) = human_ratings.chitchat_ratings("rl", "witty", "upbeat")
    assert mean.score == 6.0
    for scales in (("kind",), ("witty", "kind"), ()):
        with pytest.raises(ValueError, match=r"scales must be one or more of .*, got \("):
            human_ratings.chitchat_ratings("rl", *scales)


# Several models


class Fixed:
    """Gives known rewards."""

    def __init__(self, *rewards: float) -> None:
        self.rewards = rewards

    def score(self, prompts: Sequence[str], completions: Sequence[str]) -> Any:
        return np.array(self.rewards)


def test_an_ensemble_gives_the_minimum_or_the_cautious_mean() -> None:
    models: Any = [Fixed(1.0, 5.0), Fixed(3.0, 5.0)]
    texts = (["?", "?"], ["a", "b"])
    assert RewardEnsemble(models).score(*texts).tolist() == [1, 5]
    cautious = RewardEnsemble(models, "pessimistic_mean", caution=0.5)
    assert cautious.score(*texts).tolist() == [2 - 0.5 * 1, 5]
    episodes = [Episode.from_text(*pair) for pair in zip(*texts, strict=True)]
    assert cautious(episodes).tolist() == [1.5, 5]


def test_an_ensemble_of_one_or_of_another_kind_is_refused() -> None:
    models: Any = [Fixed(1.0), Fixed(2.0)]
    with pytest.raises(ValueError, match="models must be at least two, got 1"):
        RewardEnsemble(models[:1])
    with pytest.raises(ValueError, match="combine must be 'minimum' or 'pessimistic_mean', got 'm"):
        RewardEnsemble(models, "mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="caution must be at least 0, got -1"):
        RewardEnsemble(models, caution=-1)


def test_weights_are_averaged(
    learnt: Callable[[str], RewardModel], folder_of: Callable[[str], Path]
) -> None:
    config = RewardModelConfig(learning_rate=1e-2, n_epochs=4, batch_size=4, seed=1)
    other = train_reward_model(ROWS, config, model=folder_of("gpt2"))
    model = average_weights([learnt("gpt2"), other])
    name = "model.score.weight"
    weights = [one.network.state_dict()[name] for one in (learnt("gpt2"), other, model)]
    assert_close(weights[2], (weights[0] + weights[1]) / 2)
    assert model.nats == pytest.approx((learnt("gpt2").nats + other.nats) / 2)
    same = average_weights([other, other]).score(PROMPTS, COMPLETIONS)
    np.testing.assert_allclose(same, other.score(PROMPTS, COMPLETIONS), atol=1e-6)
    with pytest.raises(ValueError, match="models must be of the same weights and read alike"):
        average_weights([other, learnt("bert")])
