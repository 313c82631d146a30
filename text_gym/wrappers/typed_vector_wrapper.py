"""Gymnasium's `VectorWrapper` with its type parameters, which only a type checker sees.

When it runs it is the plain class, because that of Gymnasium 1.2 has no parameters to give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import VectorWrapper
from numpy.typing import NDArray

from text_gym.task import Observation

Symbols = NDArray[np.int64] | Observation
"""What `PaddedTokens` shows: token ids, or an observation that holds them."""

if TYPE_CHECKING:
    TextWrapper = VectorWrapper[Observation, Any, Observation, Any, NDArray[Any]]
    SymbolWrapper = VectorWrapper[Symbols, Any, Observation, Any, NDArray[Any]]
else:
    TextWrapper = SymbolWrapper = VectorWrapper
