"""A page for each registered environment, in Gymnasium's form, with an animation of an episode.

Knows which texts are worth watching; everything else is read from the environments.
"""

from __future__ import annotations

import pydoc
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray
from PIL import Image

from docs._scripts.reference_pages import directive, target_of
from text_gym import Prompt
from text_gym.applications import APPLICATIONS
from text_gym.tasks import TOY_TASKS

MAKERS = {**TOY_TASKS, **APPLICATIONS}
"""What makes the environments of a name; the docstring is the page."""

ARGUMENTS = {"Translation": {"prompts": [Prompt("la casa es grande", "the house is large")]}}
"""What environments are made with whose own data must be fetched first."""

PROMPTS: dict[str, Any] = {
    "Calculator": {"prompt": {"prompt": "take 37 from 48", "reference": "11"}},
    "BalancedBrackets": {"prompt_id": 3},
    "Conversation": {"prompt": "How are you?"},
    "Copying": {"prompt_id": 78},
    "CountingUp": {"prompt_id": 3},
    "RandomWalk": {"prompt_id": 19},
    "Reversing": {"prompt_id": 78},
    "SmallTalk": {"prompt": "How was your day?"},
    "Sorting": {"prompt_id": 78},
    "Verse": {"prompt_id": 1},
}
"""Where animations start; otherwise with the first prompt."""

TEXTS = {
    "BalancedBrackets": ["[]()[]])"],
    "Calculator": ["48-37=", "11"],
    "Conversation": ["Fine, thanks!", "I like that.", "Tell me more!"],
    "RandomWalk": ["tneoa"],
    "SmallTalk": ["It was great, thank you!"],
    "TextGen": ["fine thanks and how are you today"],
    "Verse": ["the moon is silent / it rises over the hill / and the water sleeps"],
    "WordCount": ["i am fine and you"],
}
"""What is written in them, turn by turn; otherwise the prompt's reference."""

MILLISECONDS = 700
PAUSE = 2500
FOOTER, MARGIN = 80, 16


def write(docs: Path) -> None:
    """Writes the pages, their animations and the list of them."""
    folder = docs / "environments"
    folder.mkdir(exist_ok=True)
    specs = [spec for spec in gym.registry.values() if spec.id.startswith("TextGen")]
    specs.sort(key=lambda spec: (spec.namespace or "", spec.reward_threshold is None, spec.id))
    for spec in specs:
        (folder / f"{spec.name}.md").write_text(page(spec, folder), encoding="utf-8")
    (folder / "README.md").write_text(overview(specs), encoding="utf-8")


def page(spec: EnvSpec, folder: Path) -> str:
    """Returns an environment's page, and writes its animation into the folder."""
    return f"""# {spec.id}

{seen(spec, folder)}

{directive(*_documented(spec))}
"""


def seen(spec: EnvSpec, folder: Path) -> str:
    """Returns what is seen of an environment once it is made, if its data is there."""
    try:
        env = gym.make(spec, render_mode="rgb_array", **ARGUMENTS.get(spec.name, {}))
    except (FileNotFoundError, ModuleNotFoundError):
        return f'`gym.make("{spec.id}")` reads data that is not in the package; see below.'
    reward = animate(env, spec.name, folder / f"{spec.name}.gif")
    return f"""![An episode, token by token, with the reward at its end]({spec.name}.gif)

This text is paid {reward:g}.

| what | value |
| --- | --- |
| Make | `gym.make("{spec.id}")` |
| Action space | `{env.action_space}` |
| Observation space | {_spaces(env)} |
| Best return | {_best(spec)} |"""


def overview(specs: list[EnvSpec]) -> str:
    """Returns the page that lists all environments."""
    rows = "\n".join(
        f"| [`{spec.id}`]({spec.name}.md) | {_first_sentence(spec)} | {_best(spec)} |"
        for spec in specs
    )
    files = "\n".join(spec.name for spec in specs)
    return f"""# Environments

Importing `text_gym` registers these. One environment is `gym.make(id)`; many at once, in one
process, are `gym.make_vec(id, num_envs=n)`. The first is for prompts, vocabularies and rewards of
your own. Where a best return is given, the task is a small one whose optimum is known; the others
are applications, with their data and what they measure.

| id | task | best return |
| --- | --- | --- |
{rows}

```{{toctree}}
:hidden:

{files}
```
"""


def _documented(spec: EnvSpec) -> tuple[str, str]:
    """Returns the directive for what has the environment's docstring, and its full name."""
    maker = MAKERS.get(spec.kwargs.get("name"))
    if maker is not None:
        return "autofunction", f"{maker.__module__}.{maker.__name__}"
    kind = str(spec.entry_point).rpartition(":")[2]
    return "autoclass", str(target_of(kind))


def _spaces(env: gym.Env[Any, Any]) -> str:
    spaces = env.observation_space
    assert isinstance(spaces, gym.spaces.Dict)
    return ", ".join(f"`{key}`: `{space}`" for key, space in spaces.items())


def _best(spec: EnvSpec) -> str:
    return "not known" if spec.reward_threshold is None else f"{spec.reward_threshold:g}"


def _first_sentence(spec: EnvSpec) -> str:
    return (pydoc.getdoc(pydoc.locate(_documented(spec)[1])) or "").partition("\n")[0]


def animate(env: gym.Env[Any, Any], name: str, path: Path) -> float:
    """Writes an episode as a picture that moves; returns what the text was paid."""
    start = PROMPTS.get(name, {"prompt_id": 0})
    env.reset(seed=0, options=start)
    frames, reward, ended = [frame(env)], 0.0, False
    for action in planned(env, TEXTS.get(name), start):
        if not ended:
            _, reward, terminated, truncated, _ = env.step(action)
            frames.append(frame(env))
            ended = terminated or truncated
    pictures = [Image.fromarray(one).quantize(32) for one in shortened(frames)]
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=[MILLISECONDS] * (len(pictures) - 1) + [PAUSE],
        loop=0,
    )
    return float(reward)


def planned(env: gym.Env[Any, Any], turns: list[str] | None, start: dict[str, Any]) -> list[int]:
    """Returns the tokens of some turns, or of the reference of the prompt, with their ends."""
    unwrapped: Any = env.unwrapped
    if turns is None:
        turns = [str(unwrapped.task.source.prompts[start["prompt_id"]].reference)]
    eos = unwrapped.tokenizer.eos_token_id
    return [token for turn in turns for token in [*unwrapped.tokenizer.encode(turn), eos]]


def frame(env: gym.Env[Any, Any]) -> NDArray[np.uint8]:
    """Returns the picture of a moment."""
    return np.asarray(env.render(), dtype=np.uint8)


def shortened(frames: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Returns the pictures without the rows that stay empty between text and footer."""
    text = np.flatnonzero((frames[-1][:-FOOTER] != frames[-1][0, 0]).any(axis=(1, 2)))
    return [np.concatenate([one[: text[-1] + MARGIN], one[-FOOTER:]]) for one in frames]
