"""Sums in words, and a calculator that whoever answers them may call."""

from __future__ import annotations

from text_gym.applications.calculator.arithmetic import calculate
from text_gym.applications.calculator.questions import Split, questions
from text_gym.applications.calculator.task import CALL, Calculator, RightAnswer, calculator

__all__ = ["CALL", "Calculator", "RightAnswer", "Split", "calculate", "calculator", "questions"]
