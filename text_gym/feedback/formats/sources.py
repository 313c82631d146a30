"""The field in which an exported row names the judgements that it was made of."""

from __future__ import annotations

from text_gym.feedback.formats.json_text import Row, require
from text_gym.quoting import quoted


def judgements_from_json(row: Row) -> tuple[str, ...]:
    """Returns the ids in the field `judgements`; none if there is no such field.

    Raises:
        ValueError: If it is no list of texts.

    Example:
        >>> judgements_from_json({"judgements": ["j1", "j2"]})
        ('j1', 'j2')
    """
    ids = require(row, "judgements", list, [])
    if not all(isinstance(one, str) for one in ids):
        raise ValueError(f"judgements must hold texts, got {quoted(ids)}")
    return tuple(ids)
