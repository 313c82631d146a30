"""Comparing models: each writes to the same prompts, and a report says what came of it.

What the figures are stands in `agents.evaluation.comparison`, what the report shows in
`agents.runs.comparison_report`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as transformers_logging

from agents.algorithms.best_of_n import BestOfN
from agents.command_line.threads import number_of_threads
from agents.distributed import processes
from agents.evaluation.comparison import Comparison, compare
from agents.evaluation.evaluate import evaluate
from agents.evaluation.metrics import Evaluation
from agents.evaluation.perplexity import perplexity
from agents.evaluation.sampled_optimum import Scores
from agents.policy.token_batch import TokenBatch
from agents.rollout.collect import collect_rollout
from agents.runs.blind_study import win_rates_by_people
from agents.runs.comparison_figures import Circumstances, Cost, comparison_table
from agents.runs.comparison_report import write_comparison
from agents.runs.comparison_task import Task, task_of
from agents.runs.console import printable, run_console
from agents.runs.environments import listed_prompts, load_responder, make_envs
from agents.runs.evaluating_options import Evaluating
from agents.runs.going_on import SUMMARY
from agents.runs.named_models import NamedModel, load_named_model
from agents.runs.rewards import load_reward, rescored
from agents.runs.saved_config import is_run, read_learner, trust_runs
from agents.runs.start import digest_of_tokenizer
from agents.runs.writing_bar import writing_bar
from agents.supervised.sequences import collate, encode_pair

_ENVS = 256
"""Texts that are written side by side, at most."""


def run(config: Evaluating) -> Comparison:
    """Evaluates models, writes the report, prints its table and returns the comparison.

    Raises:
        FileNotFoundError: If a run is not finished, or something must be fetched first.
        ValueError: If an option names nothing, or is left open and the runs do not agree on it.
    """
    if config.trust_code:
        trust_runs(config.named.values())
    device = processes.init(use_cpu=config.device == "cpu")
    torch.set_num_threads(number_of_threads(config.threads))
    transformers_logging.disable_progress_bar()
    console = run_console()
    task = task_of(config, console, device)
    reference = _load(next(iter(config.named.values())), task, device)
    task = _with_prompts(task, reference)
    evaluated = _evaluated(config, task, reference, device)
    found = compare(
        evaluated,
        _by_proxy(config, evaluated, device),
        _reference_scores(config, task, reference),
    )
    if config.study is not None:
        by_people = win_rates_by_people(config.study, evaluated)
        found = dataclasses.replace(found, win_rates={**found.win_rates, "people": by_people})
    how = Circumstances(
        facts=_facts(config, task),
        costs={name: _cost(config.named.get(name), config) for name in evaluated},
        independent=config.independent,
        perplexities=_independent(config, task, evaluated, device),
    )
    page = write_comparison(config.output, found, how, n_samples=config.samples)
    console.print(comparison_table(found))
    console.print(f"The report is {printable(str(page))}.")
    return found


def _load(name: str, task: Task, device: torch.device) -> NamedModel:
    model = load_named_model(name, task.manner.temperature)
    return model._replace(policy=model.policy.to(device))


def _with_prompts(task: Task, reference: NamedModel) -> Task:
    """Returns a task with the prompts of its environment, where that is named and lists them."""
    if task.prompts or task.manner.env_id is None:
        return task
    words = (reference.tokenizer, reference.policy.end_of_text_ids)
    return task._replace(prompts=listed_prompts(task.manner, *words))


def _evaluated(
    config: Evaluating, task: Task, reference: NamedModel, device: torch.device
) -> dict[str, Evaluation]:
    """Lets every model write, one after the other; only the reference stays in memory."""
    first, *others = config.named
    found = {first: _evaluate(reference, reference, task, config)}
    for name in others:
        model = _load(config.named[name], task, device)
        found[name] = _evaluate(model, reference, task, config)
    if config.best_of is not None:
        best = BestOfN(reference.policy, config.best_of)
        n = config.eval_episodes
        whole = _envs(reference, task, config, config.best_of)
        with writing_bar(whole, n * config.best_of, "best of several") as envs:
            found[f"best of {config.best_of}"] = best.evaluate(
                reference.policy, envs, n, seed=config.seed, kl_coef=task.kl_coef
            )
    return found


def _evaluate(
    model: NamedModel, reference: NamedModel, task: Task, config: Evaluating
) -> Evaluation:
    """Evaluates one model; KL is that from the reference where they share a vocabulary."""
    digests = {digest_of_tokenizer(one.tokenizer) for one in (model, reference)}
    n = config.eval_episodes
    with writing_bar(_envs(model, task, config), n, "evaluating") as envs:
        return evaluate(
            model.policy,
            reference.policy if len(digests) == 1 else None,
            envs,
            n,
            seed=config.seed,
            kl_coef=task.kl_coef,
        )


def _envs(model: NamedModel, task: Task, config: Evaluating, group_size: int = 1) -> Any:
    return make_envs(
        task.manner,
        task.prompts,
        model.tokenizer,
        model.policy.end_of_text_ids,
        min(_ENVS, config.eval_episodes * group_size),
        task.reward_function,
        responder=load_responder(task.manner.responder, model.policy.device),
        group_size=group_size,
    )


def _reference_scores(config: Evaluating, task: Task, reference: NamedModel) -> Scores | None:
    """Returns rewards of more texts of the reference to the prompts evaluated, (P, N)."""
    n_texts = config.optimum_texts
    if n_texts is None:
        return None
    if not task.kl_coef:
        raise ValueError(f"kl_coef must be above 0 for an optimum, got {task.kl_coef}")
    generator = torch.Generator(reference.policy.device).manual_seed(config.seed + 1)
    envs = _envs(reference, task, config, n_texts)
    total = n_texts * config.eval_episodes
    with writing_bar(envs, total, "optimum") as watched:
        rollout = collect_rollout(reference.policy, watched, total, generator, seed=config.seed)
    groups = np.array([int(info["group_id"]) for info in rollout.infos])
    in_order = np.argsort(groups, kind="stable")
    return rollout.scores.double().numpy()[in_order].reshape(-1, n_texts)


def _by_proxy(
    config: Evaluating, evaluated: Mapping[str, Evaluation], device: torch.device
) -> dict[str, dict[str, list[float]]]:
    """Returns what the other reward says of the texts, if there is one."""
    if config.proxy is None:
        return {}
    reward = load_reward(config.proxy, device)
    found = {name: rescored(reward, one) for name, one in evaluated.items()}
    return {f"proxy {config.proxy}": found}


def _independent(
    config: Evaluating, task: Task, evaluated: Mapping[str, Evaluation], device: torch.device
) -> dict[str, float]:
    """Returns the perplexity of each model's texts under one that had no part in them."""
    if config.independent is None:
        return {}
    model = _load(config.independent, task, device)
    template = task.manner.prompt_template
    if template is None or model.tokenizer is None:
        raise ValueError(
            f"independent must be None where an environment that is named spells the texts, got "
            f"{config.independent!r}"
        )
    return {
        name: perplexity(model.policy, _encoded(model, template, one).to(device))
        for name, one in evaluated.items()
    }


def _encoded(model: NamedModel, template: str, evaluation: Evaluation) -> TokenBatch:
    """Returns what somebody wrote as a model reads it, texts left out that are too long for it."""
    pairs = zip(evaluation.prompts, evaluation.completions, strict=True)
    assert model.tokenizer is not None
    encoded = [encode_pair(model.tokenizer, template, *pair) for pair in pairs]
    most = model.policy.max_length or sys.maxsize
    return TokenBatch(*collate([one for one in encoded if len(one.ids) <= most]))


def _cost(model: str | None, config: Evaluating) -> Cost:
    """Returns what a model cost, as its run's summary tells; None: the best of several replies."""
    if model is None:
        return Cost(texts_per_reply=config.best_of or 1)
    path = Path(model) / SUMMARY
    if not is_run(Path(model)) or not path.is_file():
        return Cost()
    summary = json.loads(path.read_text(encoding="utf-8"))
    return Cost(read_learner(Path(model)), summary.get("episodes"), summary.get("seconds"))


def _longest(task: Task) -> str:
    longest = task.manner.max_new_tokens
    return "as the environment has it" if longest is None else f"{longest} tokens"


def _facts(config: Evaluating, task: Task) -> list[tuple[str, str]]:
    """Returns what was done, for the head of the report."""
    beta = "none given: no objective" if task.kl_coef is None else f"{task.kl_coef:g}"
    return [
        ("Reference", next(iter(config.named))),
        ("Prompts", config.prompts or task.manner.env_id or "held out by the runs"),
        ("Replies of each", f"{config.eval_episodes:,}"),
        ("Reward", task.reward),
        ("Price of a nat, β", beta),
        ("Longest reply", _longest(task)),
        ("Temperature", f"{task.manner.temperature:g}"),
        ("Seed", str(config.seed)),
        *((name, model) for name, model in config.named.items() if name != model),
    ]
