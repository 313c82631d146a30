"""Wrappers for vector environments: the twins of those in `text_gym.wrappers`.

- `Feedback`: pays finished texts by another reward function, or by one more.
- `RemainingTokens`: adds the number of tokens left to the observations.
"""

from text_gym.wrappers.vector.feedback import Feedback
from text_gym.wrappers.vector.remaining_tokens import RemainingTokens

__all__ = ["Feedback", "RemainingTokens"]
