"""What comes of a fine-tuning run: evaluations, policies with a card each, figures.

Does not know how the policy learns, nor when.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from agents.applications.fine_tuning import FineTuning
from agents.callbacks import BestScore
from agents.distributed import processes
from agents.evaluation.metrics import Evaluation
from agents.reports.json_file import write_whole
from agents.reports.model_card import CARD
from agents.runs.console import evaluations, printable, replies, run_console
from agents.runs.final_policies import final_policies
from agents.runs.loading import Loaded
from agents.runs.monitoring import told, verdict
from agents.runs.outcome import of_evaluations
from agents.runs.run_card import (
    Made,
    card_of_policy,
    limits_of,
    said_of_reward,
    source_of_prompts,
)
from agents.runs.run_folder import RunFolder
from agents.runs.summary import n_parameters, paired_replies, summary
from agents.runs.watching import Watching
from agents.runs.writing_bar import writing_bar
from text_gym import HuggingFaceTokenizer


def evaluate_now(loaded: Loaded, config: FineTuning, when: str) -> Evaluation:
    """Evaluates the policy as it is now; all processes call it.

    Args:
        loaded: Of the run.
        config: Of the run.
        when: Is said while it writes.
    """
    console, n = run_console(quiet=not processes.is_main()), loaded.eval_envs.num_envs
    with writing_bar(loaded.eval_envs, n, f"evaluating, {when}", console) as envs:
        return loaded.learner.evaluate(loaded.agent, envs, config)


def evaluated_and_saved(
    preset: str, config: FineTuning, loaded: Loaded, folder: Path, before: Evaluation
) -> dict[str, Evaluation]:
    """Evaluates and saves the policies that the run ends with, each with its card.

    Args:
        preset: The name of what the config began as.
        config: Of the run.
        loaded: Of the run.
        folder: Of the run.
        before: What the policy was that it started from.

    Returns:
        Evaluations, by what the policies are called; `before` is one of them.
    """
    learner, agent = loaded.learner, loaded.agent
    evaluated, selected = {"before": before}, None
    if config.select_by is not None and loaded.monitor is not None:
        selected = loaded.monitor.best_in_place(agent.policy)
    for when, name in final_policies(agent.average, selected):
        evaluated[when] = evaluate_now(loaded, config, when)
        learner.save(agent, loaded.tokenizer, folder / name)
        if processes.is_main():
            compared = {"before": before, when: evaluated[when]}
            _write_card(preset, config, loaded, folder / name, compared)
    return evaluated


def finish(
    watching: Watching,
    evaluated: Mapping[str, Evaluation],
    best: BestScore,
    loaded: Loaded,
) -> None:
    """Tells those who watch what came of the run."""
    record = watching.record
    figures = summary(evaluated, loaded.agent, record.tokens, record.seconds)
    figures |= {"best_score": best.score, "best_score_episodes": best.n_episodes}
    figures["heldout_prompts"] = len(loaded.split.heldout)
    if loaded.monitor is not None:
        figures["monitor"] = verdict(loaded.monitor)
    outcome = of_evaluations(evaluated, loaded.split.evaluated_on)
    watching.finish(outcome, figures, paired_replies(evaluated["before"], evaluated["after"]))


def show(
    console: Console,
    record: RunFolder,
    loaded: Loaded,
    evaluated: Mapping[str, Evaluation],
) -> None:
    """Shows texts before and after, and the figures."""
    console.print(
        replies(evaluated["before"], evaluated["after"], width=console.width),
        evaluations(evaluated, loaded.split.evaluated_on),
        sep="\n",
    )
    console.print(
        f"{loaded.agent.n_episodes:,} episodes, {record.tokens:,} tokens in "
        f"{record.seconds:.1f} s: "
        f"{record.tokens / record.seconds:,.0f} tokens/s. "
        f"Written to {printable(str(record.folder))}/"
    )
    if loaded.monitor is not None:
        console.print(printable(told(loaded.monitor)))


def _write_card(
    preset: str,
    config: FineTuning,
    loaded: Loaded,
    folder: Path,
    evaluated: Mapping[str, Evaluation],
) -> None:
    """Writes the model card of a policy, if it is one that transformers reads."""
    if not folder.is_dir():
        return
    learnt_from = [
        ("prompts", source_of_prompts(config)),
        ("reward", said_of_reward(config.reward, loaded.reward and loaded.reward.function)),
    ]
    made = Made(
        run=folder.parent.name,
        preset=preset,
        config=config,
        parameters=n_parameters(loaded.agent.policy.model),
        has_tokenizer=isinstance(loaded.tokenizer, HuggingFaceTokenizer),
        learnt_from=learnt_from,
        outcome=of_evaluations(evaluated, loaded.split.evaluated_on),
        prompt=evaluated["before"].prompts[0],
        max_new_tokens=config.max_new_tokens or max(evaluated["before"].lengths),
    )
    write_whole(folder / CARD, card_of_policy(made, limits_of(config)))
