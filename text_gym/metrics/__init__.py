"""Figures of finished texts, as pure functions of strings."""

from text_gym.metrics.copied import Sources
from text_gym.metrics.distinct import distinct_n
from text_gym.metrics.overlap import bleu, chrf, rouge, self_bleu
from text_gym.metrics.paired_bootstrap import paired_bootstrap
from text_gym.metrics.repetition import repeated_across
from text_gym.metrics.unwanted import has_unwanted

__all__ = [
    "Sources",
    "bleu",
    "chrf",
    "distinct_n",
    "has_unwanted",
    "paired_bootstrap",
    "repeated_across",
    "rouge",
    "self_bleu",
]
