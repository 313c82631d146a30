"""Learn a toy task with TRL: `.venv-trl/bin/python benchmarks/trl_toys.py --help`.

Runs in a virtual environment of TRL's own, with `text_gym`, which needs numpy and gymnasium alone,
and without `agents`. `benchmarks/trl_learner.py` starts it, says task, algorithm and settings, and
reads the line of JSON that it prints: the learning curve, and the versions.

All start from an untrained GPT-2 of the size that ours learn with. PPO is that of TRL 1.12, RLOO
and GRPO have the interface of 1.16.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainerCallback,
)

from benchmarks.learning_curve import LearningCurve
from text_gym import Episode
from text_gym.prompts import Prompt
from text_gym.tasks import arguments_of

PACKAGES = ("trl", "transformers", "torch", "accelerate")
LAYERS, WIDTH, HEADS = 1, 32, 2
TRAINER: dict[str, Any] = {
    "lr_scheduler_type": "constant",
    "bf16": False,
    "gradient_checkpointing": False,
    "use_cpu": True,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "temperature": 1.0,
}
"""What all trainers are told."""


class Toy:
    """Knows one toy task in token ids.

    Args:
        name: Of the task.

    Attributes:
        eos: The id that ends a text; the largest.
        prompts: Each as ids.
        width: Tokens of the longest prompt.
        length: Most tokens of a completion.
    """

    def __init__(self, name: str) -> None:
        task = arguments_of(name)
        given = [one if isinstance(one, Prompt) else Prompt(one) for one in task["prompts"]]
        self._tokenizer, self._reward = task["tokenizer"], task["reward_function"]
        self.eos: int = self._tokenizer.eos_token_id
        self.length: int = task["max_new_tokens"]
        self.prompts = [self._tokenizer.encode(one.text) for one in given]
        self.width = max(map(len, self.prompts))
        self._given = {tuple(ids): one for ids, one in zip(self.prompts, given, strict=True)}

    def scores(
        self, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]]
    ) -> list[float]:
        """Returns what texts are paid; a completion counts up to EOS."""
        episodes = []
        for prompt, completion in zip(prompts, completions, strict=True):
            one = self._given[tuple(prompt)]
            text = self._tokenizer.decode(completion)
            episodes.append(Episode.from_text(one.text, text, reference=one.reference))
        found: list[float] = self._reward(episodes).tolist()
        return found


class Broadcast(nn.Module):
    """Pays texts at every position, because TRL's PPO reads the reward at the last."""

    def __init__(self, toy: Toy, curve: LearningCurve) -> None:
        super().__init__()
        self.toy = toy
        self.curve = curve

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> SimpleNamespace:
        """Returns the scores, (B, L, 1), as if they were a hidden state."""
        texts = [
            (
                row[: self.toy.width][mask[: self.toy.width]],
                row[self.toy.width :][mask[self.toy.width :]],
            )
            for row, mask in zip(input_ids, attention_mask.bool(), strict=True)
        ]
        prompts, completions = zip(*((a.tolist(), b.tolist()) for a, b in texts), strict=True)
        scores = self.toy.scores(prompts, completions)
        self.curve.add(scores)
        paid = torch.tensor(scores)[:, None, None].expand(*input_ids.shape, 1)
        return SimpleNamespace(hidden_states=[paid])


class RewardModel(nn.Module):
    """Has the shape of a reward model: a backbone under a name, and `score`."""

    base_model_prefix = "backbone"

    def __init__(self, toy: Toy, curve: LearningCurve) -> None:
        super().__init__()
        self.backbone = Broadcast(toy, curve)

    def score(self, hidden: Tensor) -> Tensor:
        """Returns what the backbone paid."""
        return hidden


class Enough(Exception):
    """The curve is done, and TRL's PPO has no way to be told."""


class StopWhereDone(TrainerCallback):
    """Stops where the curve is done."""

    def __init__(self, curve: LearningCurve) -> None:
        self.curve = curve

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Tells the trainer; raises where it would not listen."""
        control.should_training_stop = self.curve.is_done
        if self.curve.is_done and hasattr(args, "num_ppo_epochs"):
            raise Enough


def number_tokenizer(toy: Toy, *, pad: int) -> PreTrainedTokenizerFast:
    """Returns a tokenizer whose tokens are the ids in writing, and which pads with a given one."""
    words = {str(number): number for number in range(toy.eos + 2)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=str(pad)))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=str(pad),
        eos_token=str(toy.eos),
        padding_side="left",
    )


def gpt2_config(toy: Toy) -> GPT2Config:
    """Returns the model's shape."""
    return GPT2Config(
        vocab_size=toy.eos + 1,
        n_positions=toy.width + toy.length,
        n_embd=WIDTH,
        n_layer=LAYERS,
        n_head=HEADS,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        num_labels=1,
    )


def drawn(toy: Toy, n: int, seed: int) -> list[list[int]]:
    """Returns n prompts, each as likely as any other."""
    chosen = np.random.default_rng(seed).integers(len(toy.prompts), size=n)
    return [toy.prompts[index] for index in chosen]


def ppo(toy: Toy, curve: LearningCurve, settings: dict[str, Any], seed: int, folder: str) -> Any:
    """Returns TRL's PPO trainer, with a value network of its own as it demands."""
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    padding = toy.eos + 1  # outside the model's vocabulary, so that EOS is learnt
    rows = [
        [padding] * (toy.width - len(ids)) + ids
        for ids in drawn(toy, 8 * settings["per_device_train_batch_size"], seed)
    ]
    model = AutoModelForCausalLM.from_config(gpt2_config(toy))
    value_model = GPT2ForSequenceClassification(gpt2_config(toy))
    nn.init.zeros_(value_model.score.weight)
    arguments = PPOConfig(
        output_dir=folder,
        total_episodes=curve.budget,
        response_length=toy.length,
        local_rollout_forward_batch_size=settings["per_device_train_batch_size"],
        stop_token="eos",
        num_sample_generations=0,
        gradient_accumulation_steps=1,
        seed=seed,
        logging_steps=1_000_000,
        **TRAINER,
        **settings,
    )
    trainer = PPOTrainer(
        arguments,
        number_tokenizer(toy, pad=padding),
        model,
        None,
        RewardModel(toy, curve),
        Dataset.from_dict({"input_ids": rows}),
        value_model,
        callbacks=[StopWhereDone(curve)],
    )
    # Texts are cut at EOS afterwards; stopped by `generate`, they would end in ids without logits.
    trainer.policy_model.generation_config.eos_token_id = None
    return trainer


def in_groups(
    algorithm: str,
    toy: Toy,
    curve: LearningCurve,
    settings: dict[str, Any],
    seed: int,
    folder: str,
) -> Any:
    """Returns TRL's GRPO or RLOO trainer."""
    import trl

    config: Any = getattr(trl, f"{algorithm.upper()}Config")
    trainer: Any = getattr(trl, f"{algorithm.upper()}Trainer")

    def reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        ids = [[int(word) for word in prompt.split()] for prompt in prompts]
        scores = toy.scores(ids, completion_ids)
        curve.add(scores)
        return scores

    texts = [" ".join(map(str, ids)) for ids in drawn(toy, curve.budget, seed)]
    size = settings["per_device_train_batch_size"]
    arguments = config(
        output_dir=folder,
        max_steps=10 * curve.budget // size,
        max_completion_length=toy.length,
        beta=0.0,
        seed=seed,
        logging_steps=1_000_000,
        **TRAINER,
        **settings,
    )
    return trainer(
        model=AutoModelForCausalLM.from_config(gpt2_config(toy)),
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_dict({"prompt": texts}),
        processing_class=number_tokenizer(toy, pad=toy.eos),
        callbacks=[StopWhereDone(curve)],
    )


def trained(options: argparse.Namespace) -> LearningCurve:
    """Lets an algorithm learn until its curve is done."""
    toy, settings = Toy(options.task), json.loads(options.settings)
    torch.manual_seed(options.seed)
    curve = LearningCurve(options.budget)
    make: Callable[..., Any] = ppo if options.algorithm == "ppo" else in_groups
    named = () if options.algorithm == "ppo" else (options.algorithm,)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make(*named, toy, curve, settings, options.seed, folder)
        curve.start()
        with contextlib.suppress(Enough):
            trainer.train()
    return curve


def parse() -> argparse.Namespace:
    """Reads the command line; `trl_learner.py` gives all of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--algorithm", choices=("ppo", "rloo", "grpo"), required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--settings", default="{}", help="of the trainer's config, as JSON")
    parser.add_argument("--budget", type=int, required=True, help="texts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Trains and prints what happened."""
    options = parse()
    torch.set_num_threads(options.threads)
    found = trained(options).found()
    versions = {package: metadata.version(package) for package in PACKAGES}
    print(json.dumps({"found": found, "versions": versions}))


if __name__ == "__main__":
    main()
