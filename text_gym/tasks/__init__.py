"""Toy tasks with a known optimum, for tests and for first experiments.

| id                            | what pays                                      | V  | tokens |
|-------------------------------|------------------------------------------------|----|--------|
| `TextGen/CountingUp-v0`       | the next digits                                | 11 | 5      |
| `TextGen/Copying-v0`          | the prompt again                               | 5  | 5      |
| `TextGen/Reversing-v0`        | the prompt backwards                           | 5  | 5      |
| `TextGen/Sorting-v0`          | the letters of the prompt in order             | 5  | 5      |
| `TextGen/BalancedBrackets-v0` | a long completion that closes all brackets     | 5  | 8      |
| `TextGen/WordCount-v0`        | words                                          | 9  | 5      |
| `TextGen/RandomWalk-v0`       | a short walk to the goal of a hidden graph     | 22 | 9      |

Every return lies in [0, 1], and the optimal one, from every prompt and whatever the parameters, is
`env.unwrapped.optimal_return`; for the defaults it is `env.spec.reward_threshold` too. Parameters
are keyword arguments of `gym.make`. All but the random walk, at its default size, can be solved by
`text_gym.exact`.

Importing the package registers the ids.
"""

from __future__ import annotations

import gymnasium

from text_gym.tasks.toy_env import OPTIMAL_RETURN, TOY_TASKS, ToyEnv, ToyVectorEnv, arguments_of

__all__ = [
    "OPTIMAL_RETURN",
    "TOY_TASKS",
    "ToyEnv",
    "ToyVectorEnv",
    "arguments_of",
    "register",
]


def register() -> None:
    """Registers all toy tasks with Gymnasium, as `TextGen/<name>-v0`."""
    for name in TOY_TASKS:
        gymnasium.register(
            id=f"TextGen/{name}-v0",
            entry_point="text_gym.tasks.toy_env:ToyEnv",
            vector_entry_point="text_gym.tasks.toy_env:ToyVectorEnv",
            reward_threshold=OPTIMAL_RETURN,
            kwargs={"name": name},
        )


register()
