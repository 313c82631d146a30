"""The model card of a run: what a model is, how it is loaded, what it learnt from, its limits.

A card says the same wherever the run's folder lies: it holds no path, no time and no machine. Knows
configs and what came of a run, and trains nothing.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import text_gym
from agents.algorithms.configs.names import name_of
from agents.applications.fine_tuning import SAYS_NOTHING, FineTuning
from agents.applications.origin import Origin
from agents.applications.registry import ORIGINS, REWARDS, SOURCES
from agents.reports import Code, Facts, Paragraph, Section
from agents.reports.model_card import model_card
from agents.runs.offline_presets import OfflineRun
from agents.runs.saved_config import described
from text_gym.prompt_template import FIELD, fill
from text_gym.rewards import RewardFunction

UNKNOWN = "Whose it is, and under which licence, is not known here: say it before you publish this."
_LIMITS = (
    "One run with one seed; another may end elsewhere. What the model that it started from gets "
    "wrong, or says that offends, it may still. It was made for research: look at what it writes "
    "before others do."
)


class Made(NamedTuple):
    """Holds what is to be said of a model that a run has made.

    Attributes:
        run: The run's name.
        preset: What its config began as.
        config: Of the run.
        parameters: Of the model, in all.
        has_tokenizer: Whether there is one in its folder.
        learnt_from: What it learnt from, by name.
        outcome: What came of it.
        prompt: One of those that it was evaluated on.
        max_new_tokens: That it writes in reply.
    """

    run: str
    preset: str
    config: FineTuning | OfflineRun
    parameters: int
    has_tokenizer: bool
    learnt_from: Sequence[tuple[str, str]]
    outcome: Section
    prompt: str
    max_new_tokens: int


def card_of_policy(made: Made, limits: Sequence[str] = ()) -> str:
    """Returns the card of a policy.

    Args:
        made: What is to be said of it.
        limits: Sentences that belong to this run.
    """
    loading = _written_by(made) if made.has_tokenizer else _without_tokenizer()
    return _card(made, "text-generation", loading, [*limits, _LIMITS])


def card_of_reward_model(made: Made, offset: float) -> str:
    """Returns the card of a reward model.

    Args:
        made: What is to be said of it.
        offset: What is to be added to the rewards that its network gives.
    """
    added = f" + {offset!r}" if offset else ""
    text = _context(made) + "..."
    lines = [
        "from transformers import pipeline",
        "",
        'judge = pipeline("text-classification", model=".", function_to_apply="none")',
        f'print(judge({text!r})[0]["score"]{added})',
    ]
    limits = (
        "It knows what was said of texts like those it learnt from. A policy that is trained on it "
        "looks for its mistakes, and finds some."
    )
    return _card(made, "text-classification", _loading(lines), [limits, _LIMITS])


def limits_of(config: FineTuning) -> list[str]:
    """Returns what has to be known of a policy that was trained as a config says."""
    found = [
        "It was made to please one reward, and a reward is not quality: a higher one may come from "
        "what the reward overlooks. KL says how far it went from its start for it."
    ]
    if config.responder is not None:
        found.append(
            f"It learnt texts of several turns, between which `{config.responder}` spoke; loaded "
            "as above it writes one turn."
        )
    if config.constraint is not None or config.ban_unwanted:
        found.append(
            "Masks kept texts to what was allowed, in training and in the figures; plain "
            "transformers does not have them."
        )
    return found


def source_of_prompts(config: FineTuning) -> str:
    """Returns where the prompts of a run come from."""
    name = config.prompts
    if name is None:
        return f"those of the environment {_plain(config.env_id)}"
    if name in SOURCES:
        return SOURCES[name]
    is_text = not os.path.exists(name) and not name.startswith(("hub:", "{"))
    return name if is_text else f"{_plain(name)}. {UNKNOWN}"


def said_of_reward(option: str | None, reward: RewardFunction | None) -> str:
    """Returns how a run names its reward, and what one of ours says of itself."""
    if option is None:
        return "what the environment pays"
    said = inspect.getdoc(type(reward)) if option in REWARDS else None
    return f"{option}: {said.splitlines()[0]}" if said else str(_plain(option))


def _card(made: Made, task: str, loading: Section, limits: Sequence[str]) -> str:
    config = made.config
    learner = name_of(config.algorithm)
    origin = ORIGINS.get(config.model) or Origin(_of_model(config.model), language=None)
    about = (
        f"{_plain(config.model)}, {made.parameters / 1e6:.1f} M parameters, trained by {learner} "
        f"with text_gym {text_gym.__version__}."
    )
    model = ("model that it started from", origin.said)
    sections = [
        loading,
        Section("What it learnt from", [Facts([model, *made.learnt_from])]),
        made.outcome,
        Section("How it was trained", [Code(_settings(made), "json")]),
        Section("Limits", list(map(Paragraph, limits))),
    ]
    return model_card(
        made.run,
        [Section("About", [Paragraph(about)]), *sections],
        language=origin.language,
        license=None if any(UNKNOWN in said for _, said in made.learnt_from) else origin.license,
        library_name="transformers",
        pipeline_tag=task,
        base_model=origin.base_model,
        tags=["text-gym", learner],
    )


def _settings(made: Made) -> str:
    """Returns all options that say how a run learns, as JSON."""
    told = {
        name: _plain(one)
        for name, one in described(made.preset, made.config).items()
        if name not in SAYS_NOTHING
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def _of_model(model: str) -> str:
    return f"{_plain(model)}. {UNKNOWN}"


def _written_by(made: Made) -> Section:
    config = made.config
    chat = isinstance(config, FineTuning) and config.chat
    context = _context(made)
    asked: Any = [{"role": "user", "content": made.prompt}] if chat else context
    sampling = f"do_sample=True, top_k=0, temperature={config.policy.temperature}"
    length = f"max_new_tokens={made.max_new_tokens}"
    lines = [
        "from transformers import pipeline",
        "",
        'write = pipeline("text-generation", model=".")',
        f"written = write({asked!r}, {sampling}, {length})",
        'print(written[0]["generated_text"])',
    ]
    return _loading(lines)


def _context(made: Made) -> str:
    """Returns a prompt as a model reads it; in an environment of its own, as it is."""
    return fill(made.config.prompt_template or FIELD, made.prompt)


def _without_tokenizer() -> Section:
    lines = [
        "import torch",
        "from transformers import AutoModelForCausalLM",
        "",
        'model = AutoModelForCausalLM.from_pretrained(".")',
        "print(model.generate(torch.tensor([[1]]), do_sample=True, top_k=0, max_new_tokens=20))",
    ]
    return _loading(lines)


def _loading(lines: Sequence[str]) -> Section:
    there = Paragraph("In this folder, with plain transformers:")
    return Section("How to load it", [there, Code("\n".join(lines), "python")])


def _plain(value: Any) -> Any:
    """Returns a value with the names of files and folders in the place of their paths."""
    if isinstance(value, Mapping):
        return {_plain(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(text, str) and text.startswith("{"):  # an option that is JSON, or a template
        try:
            return json.dumps(_plain(json.loads(text)), ensure_ascii=False)
        except ValueError:
            return text
    return os.path.basename(text) if isinstance(text, str) and os.path.isabs(text) else text
