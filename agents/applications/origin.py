"""Where a model comes from, as its card says: whose it is, and under which licence.

Plain data, without torch, and without the models.
"""

from __future__ import annotations

from typing import NamedTuple


class Origin(NamedTuple):
    """Says where a model comes from.

    Attributes:
        said: In a sentence, with the licence.
        license: By the name that model hubs have for it; None: none has to be named.
        language: That it writes; None: none.
        base_model: Its name on the hub; None: it is not there.
    """

    said: str
    license: str | None = None
    language: str | list[str] | None = "en"
    base_model: str | None = None
