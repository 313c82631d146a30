"""From a model to what people judge: completions, with how they came about.

Everything that a completion depends on is written beside it: hashes of the model, the tokenizer and
the prompts, the settings and the seed, its tokens and their log-probs. Knows nothing of who judges.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from transformers.utils import logging as transformers_logging

from agents.applications.registry import PROMPTS
from agents.command_line.threads import number_of_threads
from agents.distributed import processes
from agents.evaluation.evaluate import own_log_probs
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.buffer import Rollout
from agents.rollout.collect import collect_rollout
from agents.rollout.fit import require_fit
from agents.runs.console import printable, run_console
from agents.runs.environments import load_responder, make_envs, unjudged
from agents.runs.listed_prompts import read_listed
from agents.runs.named_models import Manner, load_named_model, manner_of
from agents.runs.prompts import load_prompts
from agents.runs.sampling_options import Sampling
from agents.runs.saved_config import trust_runs
from agents.runs.start import digest_of_parameters, digest_of_prompts, digest_of_tokenizer
from agents.runs.writing_bar import writing_bar
from text_gym import Episode, HuggingFaceTokenizer, Prompt
from text_gym.feedback import Completion, Item, StudyConfig, create_study, open_study
from text_gym.feedback.answers import Mode
from text_gym.feedback.items import MOST_RANKED, fitted, item_to_json

_PLACES = 6
"""Decimals of a log-prob: more than float32 knows of one."""


def run(config: Sampling) -> None:
    """Writes completions and puts them where they are to be judged.

    Raises:
        FileExistsError: If there is something at `output`.
        FileNotFoundError: If there is something at `study` that is no study, the run is not
            finished, or something must be fetched first.
        ValueError: If an option names nothing, or the study cannot show so many completions.
    """
    mode = _require_place(config)  # before anything is loaded
    if config.trust_code:
        trust_runs([config.model])
    manner = _manner(config)
    device = processes.init(use_cpu=config.device == "cpu")
    torch.set_num_threads(number_of_threads(config.threads))
    transformers_logging.disable_progress_bar()
    console = run_console()
    prompts = _prompts(config.prompts, console)
    policy, tokenizer = load_named_model(config.model, manner.temperature)
    items = sample(policy.to(device), tokenizer, prompts, config, manner)
    kept = [item for item in items if len(item.completions) >= (2 if _is_relative(mode) else 1)]
    for line in _keep(kept, config):
        console.print(printable(line))
    if len(kept) < len(items):
        console.print(
            f"{len(items) - len(kept):,} prompts were left out: all of their completions are equal."
        )


def sample(
    policy: CausalLMPolicy,
    tokenizer: HuggingFaceTokenizer | None,
    prompts: Sequence[Prompt],
    config: Sampling,
    manner: Manner,
) -> list[Item]:
    """Returns one item for each prompt that was drawn, with its different completions."""
    how = {
        "model": digest_of_parameters(policy),
        "tokenizer": digest_of_tokenizer(tokenizer),
        "prompts": digest_of_prompts(prompts),
        "sampling": {
            **manner._asdict(), "per_prompt": config.per_prompt, "num_envs": config.num_envs
        },
        "seed": config.seed,
    }  # fmt: skip
    total = config.per_prompt * min(len(prompts), config.n_prompts or len(prompts))
    envs = make_envs(
        manner,
        prompts,
        tokenizer,
        policy.end_of_text_ids,
        min(config.num_envs, total),
        unjudged,
        responder=load_responder(manner.responder, policy.device),
        group_size=config.per_prompt,
    )
    require_fit(policy, envs)
    generator = torch.Generator(policy.device).manual_seed(config.seed)
    with writing_bar(envs, total, "writing") as watched:
        rollout = collect_rollout(policy, watched, total, generator, seed=config.seed)
    rollout = rollout.to(policy.device)
    return items_of(rollout, own_log_probs(policy, rollout), config.model, how)


def items_of(
    rollout: Rollout, log_probs: Tensor, source: str, how: Mapping[str, Any]
) -> list[Item]:
    """Returns an item for each group of a rollout: its prompt and its different completions.

    Args:
        rollout: Of environments that report `text_episode`; without a `group_id`, every episode is
            a group.
        log_probs: (B, T), under the policy that wrote them.
        source: Who wrote them.
        how: What is to be known of all of them.
    """
    written: dict[int, dict[str, Completion]] = defaultdict(dict)
    episodes: dict[int, Episode] = {}
    groups = range(len(rollout)) if rollout.group_ids is None else rollout.group_ids.tolist()
    for row, group in enumerate(groups):
        episode = episodes[group] = rollout.infos[row]["text_episode"]
        chosen = rollout.texts.completion_mask[row]
        own = {
            "stop_reason": episode.stop_reason,
            "token_ids": episode.completion_ids.tolist(),
            "log_probs": [round(one, _PLACES) for one in log_probs[row][chosen].tolist()],
        }
        text = "\n".join(passage.text for passage in episode.turns)
        written[group].setdefault(text, Completion(text, source, {**how, **own}))
    return [_item(episodes[group], tuple(texts.values())) for group, texts in written.items()]


def _item(episode: Episode, completions: tuple[Completion, ...]) -> Item:
    known = {} if episode.reference is None else {"reference": episode.reference}
    item = Item("-", episode.prompt, completions, metadata={**episode.metadata, **known})
    # By its content, where it came from included: what is sampled twice alike is one item.
    spelt = json.dumps(item_to_json(item), sort_keys=True)
    return dataclasses.replace(item, id=hashlib.sha256(spelt.encode()).hexdigest()[:16])


def _manner(config: Sampling) -> Manner:
    """Returns how the model writes: as it is asked to, else as it would."""
    asked = {name: getattr(config, name, None) for name in Manner._fields}
    given = {name: value for name, value in asked.items() if value is not None}
    return manner_of(config.model)._replace(**given)


def _prompts(name: str, console: Console) -> Sequence[Prompt]:
    return load_prompts(name, console).train if name in PROMPTS else read_listed(name)


def _require_place(config: Sampling) -> Mode | None:
    """Checks that completions can be put where they are to go; returns the mode of the study."""
    if config.output is not None and os.path.lexists(config.output):
        raise FileExistsError(f"output must be a new file, got {config.output}")
    if config.study is None:
        return None
    mode = StudyConfig().mode if _is_new(config.study) else open_study(config.study).config.mode
    if _is_relative(mode) and config.per_prompt < 2:
        raise ValueError(
            f"per_prompt must be at least 2 for a study of mode {mode}, got {config.per_prompt}"
        )
    if mode == "rank" and config.per_prompt > MOST_RANKED:
        raise ValueError(
            f"per_prompt must be at most {MOST_RANKED} for a study of mode rank, "
            f"got {config.per_prompt}"
        )
    return mode


def _is_relative(mode: Mode | None) -> bool:
    """Tells whether a judgement is of several completions."""
    return mode in ("compare", "rank")


def _is_new(folder: Path) -> bool:
    return not os.path.lexists(folder) or (folder.is_dir() and not os.listdir(folder))


def _keep(items: Sequence[Item], config: Sampling) -> list[str]:
    """Puts items into file and study; returns what to say of it."""
    said = []
    if config.output is not None:
        beside = config.output.with_name(f"{config.output.name}.partial")
        lines = [json.dumps(item_to_json(item), ensure_ascii=False) + "\n" for item in items]
        beside.write_text("".join(lines), encoding="utf-8")
        beside.replace(config.output)
        said.append(f"{len(items):,} items are in {config.output}.")
    if config.study is not None:
        said.append(_add_to_study(items, config.study))
    return said


def _add_to_study(items: Sequence[Item], folder: Path) -> str:
    if _is_new(folder):
        new = len(fitted(items, StudyConfig().mode))
        create_study(folder, StudyConfig(title=folder.name), items)
    else:
        study = open_study(folder)
        with study.open() as store:
            new = store.items.add(fitted(items, study.config.mode))
    return f"{new:,} new items are in {folder}; python -m text_gym.feedback serve {folder}"
