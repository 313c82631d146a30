"""A reward transform around a vector environment: the vector version of `transform_wrapper`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec

import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from text_gym.inner_env import require_text, tasks_of
from text_gym.task import Observation
from text_gym.wrappers.partial_episodes import UNLISTED, TextTracker, refuse_turns
from text_gym.wrappers.reward_transform import (
    EpisodeTransform,
    Finished,
    RewardTransform,
    RewardUpdate,
    Rows,
    Step,
    StepTransform,
)
from text_gym.wrappers.transform_wrapper import Resumable, refuse_twice, show_after, skip_rewards
from text_gym.wrappers.typed_vector_wrapper import TextWrapper

P = ParamSpec("P")
Seed = int | Sequence[int | None] | None


class VectorTransformWrapper(TextWrapper, RecordConstructorArgs, Resumable):
    """Pays by a reward transform, under every autoreset mode.

    Args:
        env: A vector environment that reports `infos["text_episode"]`.
        transform: The class of the transform.
        **arguments: The transform's arguments, which are recorded as the wrapper's own.

    Raises:
        ValueError: If the environments write no texts.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, Any, NDArray[Any]],
        transform: Callable[P, RewardTransform],
        /,
        *args: P.args,
        **arguments: P.kwargs,
    ) -> None:
        RecordConstructorArgs.__init__(self, **arguments, _disable_deepcopy=True)
        super().__init__(env)
        self.transform = transform(*args, **arguments)
        self.tracker = None
        require_text(env.unwrapped.single_observation_space)
        if isinstance(self.transform, StepTransform):
            space = env.single_observation_space
            self.tracker = TextTracker(env.num_envs, space, lambda: tasks_of(env))
        self.reward_skipped = False
        if self.transform.replaces:
            skip_rewards(env)
        if self.transform.gives_feedback:
            show_after(self)

    def reset(
        self, *, seed: Seed = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Resets the environment; seeds start the wrapper's own streams of those rows anew too."""
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        started = np.flatnonzero(infos["_prompt_length"])
        for row, row_seed in _row_seeds(seed, started):
            self.transform.seed(row, row_seed)
        self._begin(observations, infos)
        return observations, infos

    def step(
        self, actions: Any
    ) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Steps the environment and pays by the transform."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        if not self.reward_skipped:
            if isinstance(self.transform, EpisodeTransform):
                rewards = self._pay_finished(rewards, infos)
            else:
                rewards = self._pay_step(observations, rewards, terminations, infos)
        if self.tracker is not None:
            self.tracker.end(np.flatnonzero(terminations | truncations))
        self._begin(observations, infos)
        return observations, rewards, terminations, truncations, infos

    def _pay_finished(self, rewards: NDArray[Any], infos: dict[str, Any]) -> NDArray[Any]:
        assert isinstance(self.transform, EpisodeTransform)
        last = infos.get("final_info", infos)
        if "text_episode" not in last:
            return rewards
        rows = np.flatnonzero(last["_text_episode"])
        inner = rewards[rows].astype(np.float64)
        finished = Finished(rows, inner, list(last["text_episode"][rows]))
        return self._add_to_infos(rewards, rows, self.transform.apply(finished), infos)

    def _pay_step(
        self,
        observations: Observation,
        rewards: NDArray[Any],
        terminations: NDArray[Any],
        infos: dict[str, Any],
    ) -> NDArray[Any]:
        assert isinstance(self.transform, StepTransform)
        assert self.tracker is not None
        refuse_turns(infos)
        rows = self.tracker.rows
        if not rows.size:
            return rewards
        input_ids, mask = observations["input_ids"][rows], observations["attention_mask"][rows]
        if "final_obs" in infos:
            for index in np.flatnonzero(infos["_final_obs"][rows]).tolist():
                final = infos["final_obs"][rows[index]]
                input_ids[index], mask[index] = final["input_ids"], final["attention_mask"]
        texts = self.tracker.texts(rows, input_ids, mask)
        last = infos.get("final_info", infos)
        ended = last["_text_episode"][rows] if "text_episode" in last else np.zeros(len(rows))
        finished = np.flatnonzero(ended)
        episodes = list(last["text_episode"][rows[finished]]) if finished.size else []
        inner = rewards[rows].astype(np.float64)
        step = Step(rows, inner, terminations[rows], texts, finished, episodes)
        return self._add_to_infos(rewards, rows, self.transform.apply(step), infos)

    def _add_to_infos(
        self, rewards: NDArray[Any], rows: Rows, update: RewardUpdate, infos: dict[str, Any]
    ) -> NDArray[Any]:
        """Writes a update to `rows` into the infos and returns the rewards (n,)."""
        rows = rows[update.where]
        rewards = rewards.astype(np.float64)
        rewards[rows] = update.rewards
        apart = infos["_final_info"][rows] if "final_info" in infos else np.zeros(len(rows), bool)
        for target, here in ((infos, ~apart), (infos.get("final_info", {}), apart)):
            if here.any():
                part = _part(update, here)
                self._write(target, rows[here], part)
                if self.transform.gives_feedback:
                    self._show(target, rows[here], part)
        return rewards

    def _write(self, infos: dict[str, Any], rows: Rows, update: RewardUpdate) -> None:
        """Writes components and infos of `rows` where Gymnasium would put them."""
        components = dict(infos.get("reward_components", {}))
        inner = {name for name in components if f"_{name}" in components}
        if self.transform.replaces:
            _drop(components, inner, rows)
        else:
            twice = inner & update.components.keys()
            refuse_twice({name for name in twice if components[f"_{name}"][rows].any()})
        for name, term in update.components.items():
            _add(components, name, rows, term, self.num_envs)
        mask = infos.get("_reward_components", np.zeros(self.num_envs, np.bool_)).copy()
        mask[rows] = True
        infos["reward_components"], infos["_reward_components"] = components, mask
        for key, values in update.infos.items():
            _add(infos, key, rows, values, self.num_envs)

    def _show(self, infos: dict[str, Any], rows: Rows, update: RewardUpdate) -> None:
        """Tells the environment what texts were paid in all, for rendering and curricula."""
        if "text_episode" not in infos or not hasattr(self.unwrapped, "show_reward"):
            return
        components = infos["reward_components"]
        names = [name for name in components if f"_{name}" in components]
        for index, row in enumerate(rows.tolist()):
            if infos["_text_episode"][row]:
                paid = {n: float(components[n][row]) for n in names if components[f"_{n}"][row]}
                cumulative = {name: float(term[index]) for name, term in update.cumulative.items()}
                earlier = sum(cumulative[name] - paid[name] for name in cumulative)
                reward, episode = float(update.rewards[index]), infos["text_episode"][row]
                self.unwrapped.show_reward(
                    self, row, episode, reward + earlier, {**paid, **cumulative}
                )

    def _begin(self, observations: Observation, infos: dict[str, Any]) -> None:
        if (
            isinstance(self.transform, StepTransform)
            and "prompt_length" in infos
            and not self.reward_skipped
        ):
            assert self.tracker is not None
            rows = np.flatnonzero(infos["_prompt_length"])
            prompt_ids = np.full(self.num_envs, UNLISTED)
            if "prompt_id" in infos:
                prompt_ids = np.where(infos["_prompt_id"], infos["prompt_id"], UNLISTED)
            self.tracker.begin(rows, infos["prompt_length"][rows], prompt_ids[rows])
            ids, mask = observations["input_ids"][rows], observations["attention_mask"][rows]
            self.transform.begin(rows, self.tracker.texts(rows, ids, mask))


def _row_seeds(seed: Seed, rows: Rows) -> Iterator[tuple[int, int]]:
    """Yields the rows that are seeded, of those that start, with their seeds."""
    for row in rows.tolist() if seed is not None else ():
        row_seed = seed + row if isinstance(seed, int) else seed[row]  # type: ignore[index]
        if row_seed is not None:
            yield row, row_seed


def _part(update: RewardUpdate, here: NDArray[np.bool_]) -> RewardUpdate:
    return RewardUpdate(
        update.rewards[here],
        {name: term[here] for name, term in update.components.items()},
        {key: values[here] for key, values in update.infos.items()},
        cumulative={name: term[here] for name, term in update.cumulative.items()},
    )


def _add(infos: dict[str, Any], key: str, rows: Rows, values: NDArray[Any], num_envs: int) -> None:
    """Adds values under Gymnasium's convention, beside those that other rows have already."""
    array = infos[key].copy() if key in infos else np.zeros(num_envs, dtype=values.dtype)
    mask = infos[f"_{key}"].copy() if key in infos else np.zeros(num_envs, dtype=np.bool_)
    array[rows], mask[rows] = values, True
    infos[key], infos[f"_{key}"] = array, mask


def _drop(components: dict[str, Any], names: set[str], rows: Rows) -> None:
    """Forgets the terms that `rows` were paid from inside."""
    for name in names:
        array, mask = components[name].copy(), components[f"_{name}"].copy()
        array[rows], mask[rows] = 0, False
        components[name], components[f"_{name}"] = array, mask
        if not mask.any():
            del components[name], components[f"_{name}"]
