"""What the policy sees of a prompt: a template in which `{prompt}` stands for the text.

One rule wherever there is a template: `{prompt}` is replaced, and every other brace is text. This
module knows no tokens.
"""

from __future__ import annotations

from typing import Any

from text_gym.quoting import quoted

FIELD = "{prompt}"


def require_field(template: Any, argument: str, field: str = FIELD) -> None:
    """Raises, naming the argument, for a template that leaves its field out.

    Raises:
        TypeError: If the template is no text.
        ValueError: If the field is not in it.
    """
    if not isinstance(template, str):
        raise TypeError(f"{argument} must be a text with '{field}', got {quoted(template)}")
    if field not in template:
        raise ValueError(f"{argument} must contain '{field}', got {quoted(template)}")


def fill(template: str, text: str, field: str = FIELD) -> str:
    """Returns the template with a text in the place of its field.

    Example:
        >>> fill('{"role": "user", "content": "{prompt}"}', "{Hi}")
        '{"role": "user", "content": "{Hi}"}'
    """
    return template.replace(field, text)
