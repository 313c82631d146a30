"""Tests of supervised pretraining: sequences, loss, loop, tokenizer, and the shipped model."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.gpt2 import GPT2LMHeadModel

import agents
from agents.algorithms.health_checks import TrainingStopped
from agents.supervised.config import PretrainConfig
from agents.supervised.from_scratch import EOS_TOKEN, new_gpt2, save_half_precision, train_tokenizer
from agents.supervised.sequences import TokenSequence, collate, encode_pairs, length_batches
from agents.supervised.training import (
    _warmup_cosine,
    completion_loss,
    heldout_loss,
    isolated_rng,
    perplexity,
    pretrain,
    token_nll,
)
from text_gym.small_talk import TEMPLATE, chitchat_pairs

SHIPPED = Path(agents.__path__[0]) / "models" / "small_talk"

needs_chitchat = pytest.mark.skipif(
    importlib.util.find_spec("chitchat_dataset") is None, reason="needs chitchat-dataset"
)

EOS = 0
PAIRS = [
    TokenSequence([prompt, 5, *completion, EOS], 2)
    for prompt, completion in [(1, [6, 7]), (2, [7, 6, 8]), (3, [8]), (4, [9, 9, 6, 7])]
]


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def toy_model(dropout: float = 0.0, n_layer: int = 1) -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=10,
        n_positions=8,
        n_embd=32,
        n_layer=n_layer,
        n_head=2,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=dropout,
        bos_token_id=EOS,
        eos_token_id=EOS,
    )
    with isolated_rng(0):
        return GPT2LMHeadModel(config)


def toy_config(**changes: object) -> PretrainConfig:
    settings = {"epochs": 3, "batch_tokens": 12, "learning_rate": 1e-2, "bfloat16": False}
    return PretrainConfig(**(settings | changes))  # type: ignore[arg-type]


def parameters(model: PreTrainedModel) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


# The loss.


def test_token_nll_of_hand_worked_logits() -> None:
    logits = torch.tensor([[[0.0, math.log(3)], [math.log(4), 0.0], [9.0, -9.0]]])
    nll = token_nll(logits, torch.tensor([[0, 1, 0]]))
    torch.testing.assert_close(nll, torch.tensor([[0.0, math.log(4 / 3), math.log(5 / 4)]]))


def test_completion_loss_is_the_mean_over_counted_tokens_of_all_rows() -> None:
    logits = torch.tensor([[[0.0, math.log(3)], [math.log(4), 0.0], [9.0, -9.0]]]).repeat(2, 1, 1)
    input_ids = torch.tensor([[0, 1, 0], [1, 0, 1]])
    mask = torch.tensor([[True, True, True], [True, False, True]])
    expected = (math.log(4 / 3) + math.log(5 / 4) + math.log(5)) / 3
    assert completion_loss(logits, input_ids, mask).item() == pytest.approx(expected)


def test_completion_loss_ignores_the_logits_that_predict_the_prompt_or_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = collate([TokenSequence([1, 2, 3, 0], 2), TokenSequence([1, 2, 3, 1, 2, 0], 3)])
    logits = torch.randn(2, 6, 4, generator=generator)
    other = torch.randn(2, 6, 4, generator=generator)
    for row, kept in ((0, slice(1, 3)), (1, slice(2, 5))):
        other[row, kept] = logits[row, kept]
    loss = completion_loss(logits, batch.input_ids, batch.completion_mask)
    assert completion_loss(other, batch.input_ids, batch.completion_mask) == loss
    other[0, 1] += torch.tensor([1.0, 0.0, 0.0, 0.0])
    assert completion_loss(other, batch.input_ids, batch.completion_mask) != loss


def test_perplexity_of_a_uniform_model_is_the_vocabulary_size() -> None:
    model = toy_model()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    assert perplexity(model, PAIRS) == pytest.approx(10.0, rel=1e-6)


def test_heldout_loss_weighs_tokens_equally_and_keeps_the_mode() -> None:
    model = toy_model(dropout=0.5).train()
    each = [(heldout_loss(model, [pair]), len(pair.ids) - pair.prompt_length) for pair in PAIRS]
    expected = sum(loss * count for loss, count in each) / sum(count for _, count in each)
    assert heldout_loss(model, PAIRS) == pytest.approx(expected, rel=1e-5)
    assert model.training


def test_heldout_loss_refuses_to_average_nothing() -> None:
    with pytest.raises(ValueError, match="sequences must hold at least one"):
        heldout_loss(toy_model(), [])


# Sequences and batches.


@given(
    lengths=st.lists(st.integers(1, 40), max_size=60),
    batch_tokens=st.integers(1, 200),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=50)
def test_batches_visit_each_sequence_once_within_the_budget(
    lengths: list[int], batch_tokens: int, seed: int
) -> None:
    batches = length_batches(lengths, batch_tokens, torch.Generator().manual_seed(seed))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        size = len(batch) * max(lengths[index] for index in batch)
        assert size <= batch_tokens or len(batch) == 1


def test_batches_are_of_similar_length_in_an_order_that_the_generator_decides() -> None:
    lengths = [1, 9] * 50
    generator = torch.Generator().manual_seed(0)
    first, second = (length_batches(lengths, 45, generator) for _ in range(2))
    again = length_batches(lengths, 45, torch.Generator().manual_seed(0))
    assert first == again != second
    assert all(len({lengths[index] for index in batch}) == 1 for batch in first if len(batch) > 5)
    assert len(first) == len(second)


def test_collate_pads_on_the_right_and_masks_prompt_and_padding() -> None:
    batch = collate([TokenSequence([3, 4, 5, 0], 2), TokenSequence([6, 0], 1)])
    assert batch.input_ids.tolist() == [[3, 4, 5, 0], [6, 0, 0, 0]]
    assert batch.mask.tolist() == [[True] * 4, [True, True, False, False]]
    assert batch.completion_mask.tolist() == [
        [False, False, True, True],
        [False, True] + [False] * 2,
    ]


def test_encode_pairs_joins_context_completion_and_eos_and_leaves_out_what_is_too_long() -> None:
    tokenizer = train_tokenizer([], 257)
    pairs = [("{a}", "bc"), ("a", "bcdef")]
    sequences = encode_pairs(tokenizer, pairs, template="{prompt}\n", max_length=7)
    context = tokenizer.encode("{a}\n")
    assert sequences == [([*context, *tokenizer.encode("bc"), tokenizer.eos_token_id], 4)]
    assert len(encode_pairs(tokenizer, pairs, template="{prompt}\n", max_length=8)) == 2


def test_encode_pairs_begins_as_the_tokenizer_does_and_takes_no_control_token_from_a_text() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = train_tokenizer([], 258)
    tokenizer.add_special_tokens({"bos_token": "<bos>"})
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", bos)]
    )
    template = '{"user": "{prompt}"}<bos>'
    pairs = [(f"<bos>{EOS_TOKEN}", EOS_TOKEN)]
    [(ids, length)] = encode_pairs(tokenizer, pairs, template=template, max_length=99)
    assert [index for index, token in enumerate(ids) if token in (bos, eos)] == [
        *(0, length - 1, len(ids) - 1)
    ]
    spelled = tokenizer.decode(ids, skip_special_tokens=True)
    assert spelled == f'{{"user": "<bos>{EOS_TOKEN}"}}{EOS_TOKEN}'


def test_encode_pairs_refuses_a_template_without_prompt() -> None:
    with pytest.raises(ValueError, match="template must contain"):
        encode_pairs(train_tokenizer([], 257), [], template="prompt", max_length=9)


# The loop.


def test_a_two_layer_toy_memorises_four_pairs() -> None:
    model = toy_model(n_layer=2)
    config = toy_config(epochs=80, loss_on="completion", weight_decay=0.0)
    result = pretrain(model, PAIRS, PAIRS, config)
    assert perplexity(model, PAIRS) < 1.02
    for ids, prompt_length in PAIRS:
        predicted = model(torch.tensor([ids])).logits[0].argmax(-1).tolist()
        assert predicted[prompt_length - 1 : -1] == ids[prompt_length:]
    assert result.tokens == 80 * sum(len(ids) for ids, _ in PAIRS)
    assert not model.training


@pytest.mark.parametrize("bfloat16", [False, True])
def test_same_seed_gives_identical_parameters_and_leaves_the_global_generator_alone(
    bfloat16: bool,
) -> None:
    models = [toy_model(dropout=0.2) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        torch.rand(seed)
        state = torch.get_rng_state()
        pretrain(model, PAIRS, PAIRS, toy_config(seed=seed, bfloat16=bfloat16))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(parameters(models[0]), parameters(models[1]))
    assert not torch.equal(parameters(models[0]), parameters(models[2]))


def test_seed_decides_the_order_of_the_batches() -> None:
    models = [toy_model() for _ in range(2)]
    for seed, model in enumerate(models):
        pretrain(model, PAIRS, PAIRS, toy_config(batch_tokens=1, seed=seed))
    assert not torch.equal(parameters(models[0]), parameters(models[1]))


def test_learning_rate_rises_over_the_warmup_and_falls_as_a_cosine() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = _warmup_cosine(optimizer, steps=6, warmup_fraction=1 / 3)
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    quarter = math.sqrt(0.5)
    expected = [0.05, 0.1, 0.1, 0.05 * (1 + quarter), 0.05, 0.05 * (1 - quarter)]
    assert rates == pytest.approx(expected)


def test_loss_on_the_completion_alone_does_not_learn_the_prompt() -> None:
    def prompt_loss(loss_on: str) -> float:
        model = toy_model()
        pretrain(model, PAIRS, PAIRS, toy_config(epochs=40, loss_on=loss_on))
        prompts = [TokenSequence(pair.ids[:2], 1) for pair in PAIRS]
        return heldout_loss(model, prompts)

    assert prompt_loss("all") < 0.2 < math.log(10) < prompt_loss("completion")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_learns_as_it_would_in_float32(dtype: torch.dtype) -> None:
    half, whole = toy_model().to(dtype), toy_model().to(dtype).float()
    for model in (half, whole):
        pretrain(model, PAIRS, PAIRS, toy_config(epochs=40))
    assert {part.dtype for part in half.parameters()} == {torch.float32}
    assert all(map(torch.equal, half.parameters(), whole.parameters()))
    assert perplexity(half, PAIRS) < 3


def test_the_shipped_model_goes_on_learning_as_it_is_loaded(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(SHIPPED)
    assert model.dtype == torch.float16
    before = heldout_loss(model.float(), PAIRS)
    result = pretrain(model.half(), PAIRS, PAIRS, toy_config(epochs=3, eval_every=1))
    assert result.best.heldout_loss < before
    model.save_pretrained(tmp_path)
    assert heldout_loss(AutoModelForCausalLM.from_pretrained(tmp_path), PAIRS) < before


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    model = toy_model()
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(math.nan)
    with pytest.raises(TrainingStopped, match="the training loss must be finite, got nan in step"):
        pretrain(model, PAIRS, PAIRS, toy_config())


def test_early_stopping_restores_the_best_parameters() -> None:
    contrary = [TokenSequence([1, 5, 8, 8, EOS], 2)]
    model = toy_model()
    config = toy_config(epochs=50, eval_every=1, patience=3)
    seen = []
    result = pretrain(model, PAIRS[:1], contrary, config, on_evaluation=seen.append)
    losses = [evaluation.heldout_loss for evaluation in result.history]
    assert list(result.history) == seen
    assert result.steps == len(losses) < 50
    assert result.best.heldout_loss == min(losses) < min(losses[-3:])
    assert result.best.step == result.steps - 3
    assert heldout_loss(model, contrary) == result.best.heldout_loss


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_tokens", 0),
        ("eval_every", 0),
        ("patience", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("max_grad_norm", 0.0),
        ("warmup_fraction", 1.0),
        ("weight_decay", -0.1),
        ("loss_on", "prompt"),
        ("epochs", 1.5),
    ],
)
def test_config_refuses_values_out_of_range_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"{name} must .*, got '?{value}"):
        PretrainConfig(**{name: value})  # type: ignore[arg-type]


# From scratch to files.


def test_saved_model_has_no_dropout_and_predicts_the_same_up_to_half_precision(
    tmp_path: Path,
) -> None:
    tokenizer = train_tokenizer(["how are you\n"], 260)
    model = new_gpt2(
        tokenizer, n_positions=16, n_embd=32, n_layer=1, n_head=2, dropout=0.1, seed=0
    ).eval()
    ids = torch.tensor([tokenizer.encode("how are you\n")])
    before = model(ids).logits
    save_half_precision(model, tokenizer, tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert config["resid_pdrop"] == config["embd_pdrop"] == config["attn_pdrop"] == 0.0
    torch.testing.assert_close(loaded(ids).logits, before, atol=2e-3, rtol=0)
    assert AutoTokenizer.from_pretrained(tmp_path).encode("how are you") == tokenizer.encode(
        "how are you"
    )


def test_tokenizer_refuses_a_vocabulary_smaller_than_the_bytes() -> None:
    with pytest.raises(ValueError, match="vocabulary_size must be at least 257, got 256"):
        train_tokenizer([], 256)


def test_command_line_help_does_not_import_torch() -> None:
    code = (
        "import sys; sys.argv = ['pretrain', '--help']\n"
        "from agents.pretrain import main\n"
        "try: main()\n"
        "except SystemExit: print('torch imported:', 'torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--training.learning-rate" in shown.stdout
    assert shown.stdout.endswith("torch imported: False\n")


# The shipped model.


@pytest.fixture(scope="module")
def shipped_model() -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(SHIPPED, dtype=torch.float32)
    return model


@pytest.fixture(scope="module")
def shipped_tokenizer() -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(SHIPPED)
    return tokenizer


def test_shipped_model_is_small_float16_on_disk_and_without_dropout(
    shipped_model: PreTrainedModel, shipped_tokenizer: PreTrainedTokenizerBase
) -> None:
    config = shipped_model.config
    assert 2_000_000 <= shipped_model.num_parameters() <= 4_000_000
    assert (SHIPPED / "model.safetensors").stat().st_size < 2.1 * shipped_model.num_parameters()
    assert config.resid_pdrop == config.embd_pdrop == config.attn_pdrop == 0.0
    assert config.vocab_size == len(shipped_tokenizer) == 2048
    assert config.eos_token_id == config.bos_token_id == shipped_tokenizer.eos_token_id
    assert config.n_positions == 128


def test_shipped_tokenizer_has_one_special_token_and_one_token_for_a_newline(
    shipped_tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert shipped_tokenizer.all_special_tokens == ["<|endoftext|>"]
    assert shipped_tokenizer.pad_token is None
    newline = shipped_tokenizer.encode("\n")
    assert len(newline) == 1
    for prompt in ("How are you?", "Hi", "ok ...", "1"):
        assert shipped_tokenizer.encode(f"{prompt}\n") == shipped_tokenizer.encode(prompt) + newline


@given(text=st.text())
def test_shipped_tokenizer_gives_back_every_text(
    shipped_tokenizer: PreTrainedTokenizerBase, text: str
) -> None:
    assert shipped_tokenizer.decode(shipped_tokenizer.encode(text)) == text


@needs_chitchat
def test_shipped_model_has_the_measured_perplexity_on_200_validation_pairs(
    shipped_model: PreTrainedModel, shipped_tokenizer: PreTrainedTokenizerBase
) -> None:
    pairs = chitchat_pairs("validation")[:200]
    sequences = encode_pairs(shipped_tokenizer, pairs, template=TEMPLATE, max_length=128)
    assert perplexity(shipped_model, sequences) == pytest.approx(50.28, rel=0.01)
