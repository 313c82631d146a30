"""What wrappers may ask of the layers inside them: to skip rewards, and to wait for theirs.

Environments and reward wrappers satisfy these protocols; nothing is written inwards that they do
not declare.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class RewardSource(Protocol):
    """Computes rewards, or changes those from inside.

    Attributes:
        reward_skipped: True where a wrapper outside replaces the rewards, so that none are needed.
    """

    reward_skipped: bool


@runtime_checkable
class ShowsRewards(Protocol):
    """Shows finished texts to people, with what they were paid.

    Attributes:
        outermost_reward_wrapper: Whose rewards count; None: the environment's own.
    """

    outermost_reward_wrapper: Any
