"""Wrappers for one environment; their twins for vectors are in `text_gym.wrappers.vector`.

- `Feedback`: pays the finished text by another reward function, or by one more.
- `RemainingTokens`: adds the number of tokens left to the observation.
"""

from text_gym.wrappers import vector
from text_gym.wrappers.feedback import Feedback
from text_gym.wrappers.remaining_tokens import RemainingTokens

__all__ = ["Feedback", "RemainingTokens", "vector"]
