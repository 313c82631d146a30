"""Conformance checks: run them on an environment, a vector environment or a reward of yours.

- `check_text_env`: everything that a text environment promises, Gymnasium's `check_env` included.
- `check_vector_env`: everything that Gymnasium asks of any `VectorEnv`, texts or not.
- `check_reward`: everything that is asked of a reward function.

Each passes silently or raises `ConformanceError`, whose message says which rule was broken, where
and by what. They need numpy and Gymnasium only, and belong in the tests of whoever writes such a
thing.
"""

from text_gym.checks.failure import ConformanceError
from text_gym.checks.reward import check_reward
from text_gym.checks.text_env import check_text_env
from text_gym.checks.vector_env import check_vector_env

__all__ = ["ConformanceError", "check_reward", "check_text_env", "check_vector_env"]
