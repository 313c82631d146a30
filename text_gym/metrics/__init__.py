"""Figures of finished texts, as pure functions of strings."""

from text_gym.metrics.distinct import distinct_n

__all__ = ["distinct_n"]
