"""What a study asks, how often, and by which rules: `StudyConfig`, read from `study.json`.

Knows nothing of folders, of the store or of pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from text_gym.feedback.answers import MODES, Mode
from text_gym.feedback.fields import choice_of, field_of, require_object
from text_gym.quoting import quoted

QUESTIONS: Mapping[Mode, str] = {
    "compare": "Which text is better?",
    "rank": "Put the texts in order: 1 is the best. Equal texts share a place.",
    "rate": "How good is this text?",
    "correct": "Make this text as good as it should be.",
}


@dataclass(frozen=True)
class Scale:
    """Holds one scale on which texts are rated."""

    name: str = "quality"
    lowest: int = 1
    highest: int = 5
    lowest_label: str = ""
    """What the lowest number means; `highest_label` likewise."""
    highest_label: str = ""

    def __post_init__(self) -> None:
        """Checks the ends of the scale.

        Raises:
            ValueError: If there are fewer than 2 or more than 11 steps, or there is no name.
        """
        if not self.name or not 1 <= self.highest - self.lowest <= 10:
            raise ValueError(
                "a scale must have a name and 2 to 11 steps from lowest to highest, "
                f"got {quoted(self.name)}, {self.lowest} to {self.highest}"
            )


@dataclass(frozen=True)
class QualityRules:
    """Holds when somebody's judging is stopped, with the reason, until the researcher looks."""

    least_seconds: float = 0.5
    """A judgement is too fast below this, plus `seconds_per_word` for every word on the screen."""
    seconds_per_word: float = 0.03
    fast_answers: int = 3
    """So many too fast among the last `fast_window` stop."""
    fast_window: int = 10
    same_side_run: int = 20
    """So many preferences for one side in a row stop: the sides are drawn at random."""
    gold_accuracy: float = 0.6
    """Stops who is below this on the items whose answer is known, with `confidence`."""
    self_agreement: float = 0.5
    """Stops who is below this on the items that were asked twice, with `confidence`."""
    confidence: float = 0.95


@dataclass(frozen=True)
class StudyConfig:
    """Holds the settings of a study."""

    title: str = "Untitled study"
    mode: Mode = "compare"
    question: str = ""
    """Empty: the mode's own."""
    scales: tuple[Scale, ...] = (Scale(),)
    """Of the mode "rate"."""
    ask_strength: bool = False
    """How much better? Optional for who answers, as is the reason."""
    ask_reason: bool = False
    overlap: int = 1
    """Judgements of each item, by as many people."""
    max_overlap: int = 1
    """Judgements of an item on which people disagree: not all answers to it are equal."""
    gold_share: float = 0.1
    """Share of items whose answer is known among those that look like work."""
    repeat_share: float = 0.05
    """Share of items that are asked again, with the sides swapped."""
    repeat_gap: int = 10
    """So many other items lie between."""
    pass_mark: float = 0.75
    """Share of the exam that must be right."""
    lease_minutes: float = 30.0
    """So long an item waits for who was shown it."""
    most_judgements: int = 0
    """Of one person; 0: as many as there are."""
    crowd: bool = False
    """People come from Mechanical Turk or Prolific, and leave with a completion code."""
    contact: str = ""
    """Whom to write to; stands on the consent page and wherever a person is turned away."""
    rules: QualityRules = field(default_factory=QualityRules)

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            ValueError: If one is out of bounds; names it.
        """
        if self.mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {quoted(self.mode)}")
        if not 1 <= self.overlap <= self.max_overlap:
            raise ValueError(
                "overlap must be at least 1 and max_overlap at least overlap, "
                f"got {self.overlap} and {self.max_overlap}"
            )
        for name in ("gold_share", "repeat_share", "pass_mark"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")
        if not self.lease_minutes > 0:
            raise ValueError(f"lease_minutes must be positive, got {self.lease_minutes}")
        names = [scale.name for scale in self.scales]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"scales must be some, of different names, got {quoted(names)}")

    @property
    def bounds(self) -> Mapping[str, tuple[int, int]]:
        """Lowest and highest number of each scale, by name."""
        return {scale.name: (scale.lowest, scale.highest) for scale in self.scales}

    @property
    def asked(self) -> str:
        """What the page asks."""
        return self.question or QUESTIONS[self.mode]


def config_to_json(config: StudyConfig) -> dict[str, Any]:
    """Returns the settings as a JSON object."""
    return asdict(config) | {"scales": [asdict(scale) for scale in config.scales]}


def config_from_json(value: Any) -> StudyConfig:
    """Returns the settings that a JSON object spells; those left out have their defaults.

    Raises:
        ValueError: If a setting is unknown, or not what it must be.

    Example:
        >>> config_from_json({"mode": "rank", "overlap": 2, "max_overlap": 3}).overlap
        2
    """
    row = dict(require_object(value, _names(StudyConfig), "study.json"))
    choice_of(row, "mode", MODES, "compare", "study.json")
    scales = field_of(row, "scales", list, [asdict(Scale())], "study.json")
    row["scales"] = tuple(_built(Scale, scale, "a scale") for scale in scales)
    row["rules"] = _built(QualityRules, row.get("rules", {}), "rules")
    config: StudyConfig = _built(StudyConfig, row, "study.json")
    return config


def _names(kind: type[Any]) -> list[str]:
    return [one.name for one in fields(kind)]


def _built(kind: Any, value: Any, where: str) -> Any:
    """Builds a dataclass of an object whose fields have the types of the defaults."""
    row, plain = require_object(value, _names(kind), where), kind()
    kinds = {name: type(getattr(plain, name)) for name in row}
    return kind(**{name: field_of(row, name, kinds[name], None, where) for name in row})
