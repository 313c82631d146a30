"""Train the counting-up toy with TRL's PPO: `.venv-trl/bin/python benchmarks/trl_ppo.py --help`.

Runs in a virtual environment of its own (`make bench-trl` builds it) that has trl 1.12.0, the last
release with a PPO trainer, and nothing of this project. Task, model and settings are those of
`benchmarks/whole_ppo_trl.py`, which starts this script and says them. Prints one line of JSON: the
time and the mean score of every update.

The reward is of TRL's kind: a module that scores every position, read at the last. A text has
exactly `--length` tokens, because no token stops it.
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
from importlib import metadata
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer

PACKAGES = ("trl", "transformers", "torch", "accelerate")


class RunningShare(nn.Module):
    """Counts, at every position, the tokens so far that are one more than the one before."""

    def __init__(self, vocab_size: int, prompt: int, length: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.in_prompt = prompt - 1
        self.length = length

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> SimpleNamespace:
        """Returns the share of the completion, (B, T, 1), as if it were a hidden state."""
        right = (input_ids[:, :-1] + 1) % self.vocab_size == input_ids[:, 1:]
        counted = nn.functional.pad(right & attention_mask[:, 1:].bool(), (1, 0)).cumsum(dim=1)
        share = (counted - self.in_prompt).float() / self.length
        return SimpleNamespace(hidden_states=[share.unsqueeze(-1)])


class CountingReward(nn.Module):
    """Has the shape of a reward model: a backbone under a name, and `score`."""

    base_model_prefix = "backbone"

    def __init__(self, vocab_size: int, prompt: int, length: int) -> None:
        super().__init__()
        self.backbone = RunningShare(vocab_size, prompt, length)

    def score(self, hidden: Tensor) -> Tensor:
        """Returns what the backbone counted."""
        return hidden


class TimedPPOTrainer(PPOTrainer):
    """Keeps the time and the mean score of every update, and prints nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.times: list[float] = []
        self.scores: list[float] = []

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Takes note of an update."""
        self.times.append(perf_counter())
        self.scores.append(logs["objective/scores"])


def number_tokenizer(vocab_size: int) -> PreTrainedTokenizerFast:
    """Returns a tokenizer whose padding and end lie outside the model's vocabulary."""
    words = [*map(str, range(vocab_size)), "[PAD]", "[EOS]"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[EOS]", padding_side="left"
    )


def counting_prompts(vocab_size: int, prompt: int, n: int) -> Dataset:
    """Returns at least n prompts that count up, each start as often as any other."""
    rows = [
        [(start + k) % vocab_size for k in range(prompt)]
        for _ in range(-(-n // vocab_size))
        for start in range(vocab_size)
    ]
    return Dataset.from_dict({"input_ids": rows})


def trainer_of(options: argparse.Namespace, folder: str) -> TimedPPOTrainer:
    """Returns the trainer, with settings that our own PPO can match."""
    torch.manual_seed(options.seed)
    config = GPT2Config(
        vocab_size=options.vocab_size,
        n_positions=options.prompt + options.length,
        n_embd=options.width,
        n_layer=options.layers,
        n_head=options.heads,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    model = AutoModelForCausalLM.from_config(config)
    value_model = GPT2ForSequenceClassification(_with_one_label(config))
    value_model.transformer.load_state_dict(model.transformer.state_dict())
    nn.init.zeros_(value_model.score.weight)
    per_update = options.episodes_per_update
    arguments = PPOConfig(
        output_dir=folder,
        per_device_train_batch_size=per_update,
        gradient_accumulation_steps=1,
        num_mini_batches=options.minibatches,
        num_ppo_epochs=options.epochs,
        total_episodes=options.updates * per_update,
        local_rollout_forward_batch_size=per_update,
        response_length=options.length,
        temperature=1.0,
        learning_rate=options.learning_rate,
        adam_epsilon=1e-5,
        kl_coef=options.kl_coef,
        gamma=1.0,
        lam=0.95,
        cliprange=0.2,
        cliprange_value=0.2,
        vf_coef=0.1,
        num_sample_generations=0,
        bf16=False,
        gradient_checkpointing=False,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        seed=options.seed,
    )
    return TimedPPOTrainer(
        arguments,
        number_tokenizer(options.vocab_size),
        model,
        None,
        CountingReward(options.vocab_size, options.prompt, options.length),
        counting_prompts(options.vocab_size, options.prompt, 16 * per_update),
        value_model,
    )


def _with_one_label(config: GPT2Config) -> GPT2Config:
    labelled = copy.deepcopy(config)
    labelled.num_labels = 1
    return labelled


def parse() -> argparse.Namespace:
    """Reads the command line; `whole_ppo_trl.py` gives all of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name, default in (
        ("vocab-size", 32),
        ("layers", 2),
        ("width", 64),
        ("heads", 2),
        ("prompt", 4),
        ("length", 16),
        ("updates", 125),
        ("episodes-per-update", 64),
        ("minibatches", 1),
        ("epochs", 4),
        ("seed", 0),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--kl-coef", type=float, default=0.001)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def main() -> None:
    """Trains and prints what happened."""
    options = parse()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(options, folder)
        trainer.train()
    report = {
        "times": trainer.times,
        "scores": trainer.scores,
        "threads": torch.get_num_threads(),
        "versions": {package: metadata.version(package) for package in PACKAGES},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
