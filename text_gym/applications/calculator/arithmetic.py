"""What a pocket calculator says of a text: exact arithmetic on numbers that stay small.

The text may be anything: a few characters and a few kinds of expression are computed, and nothing
else. This module knows no environment.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction

ERROR = "error"
"""What is said of a text that is no arithmetic, or of too large a number."""
LARGEST = 10**9
"""Above this, numbers and results are errors, those in between included."""
LONGEST_RESULT = len("-999999999.123457")
"""Characters of a result."""
_LONGEST_TEXT = 64
_LARGEST_EXPONENT = 32
_ARITHMETIC = re.compile(r"[0-9+\-*/(). ]+")

_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def calculate(text: str) -> str:
    """Returns the value of an expression, rounded to 6 decimals, or `ERROR`.

    Args:
        text: Of at most 64 characters: numbers, `+ - * / **` and brackets.

    Example:
        >>> calculate("(2+3)*4"), calculate("1/8"), calculate("2/0"), calculate("9**9**9")
        ('20', '0.125', 'error', 'error')
    """
    if len(text) > _LONGEST_TEXT or not _ARITHMETIC.fullmatch(text):
        return ERROR
    try:
        value = _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ArithmeticError):
        return ERROR
    return _shown(value)


def _value(node: ast.expr) -> Fraction:
    """Returns the value of an expression.

    Raises:
        ArithmeticError: If it has none, or is too large.
    """
    if isinstance(node, ast.BinOp):
        return _bounded(_applied(node.op, _value(node.left), _value(node.right)))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _bounded(Fraction(str(node.value)))
    raise ArithmeticError(f"an expression must be arithmetic, got {ast.dump(node)}")


def _applied(kind: ast.operator, left: Fraction, right: Fraction) -> Fraction:
    if isinstance(kind, ast.Pow):
        if right.denominator != 1 or abs(right) > _LARGEST_EXPONENT:
            raise ArithmeticError(f"an exponent must be a small integer, got {right}")
        return left ** int(right)
    if type(kind) not in _OPERATORS:
        raise ArithmeticError(f"an operator must be one of + - * / **, got {ast.dump(kind)}")
    return _OPERATORS[type(kind)](left, right)


def _bounded(value: Fraction) -> Fraction:
    if abs(value) > LARGEST or value.denominator > LARGEST:
        raise ArithmeticError(f"a number must be at most {LARGEST}, got {value}")
    return value


def _shown(value: Fraction) -> str:
    rounded = f"{float(value):.6f}".rstrip("0").rstrip(".")
    return "0" if rounded == "-0" else rounded
