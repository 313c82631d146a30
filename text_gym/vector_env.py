"""Many texts at once, in one process and in preallocated arrays: `TextGenVectorEnv`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from text_gym.env import TextGenEnv, check_render_mode
from text_gym.episode import Episode
from text_gym.rendering import render_text
from text_gym.rewards.function import score
from text_gym.task import GOES_ON, LENGTH, STOP_REASONS, EncodedPrompt, Observation, TextTask

Flags = NDArray[np.bool_]
Rewards = NDArray[np.float64]
Rows = NDArray[np.intp]


class TextGenVectorEnv(VectorEnv[Observation, NDArray[np.int64], NDArray[Any]]):
    """Writes `num_envs` texts side by side; `gym.make_vec("TextGen-v0", num_envs=...)` makes it.

    Step for step equal to `SyncVectorEnv` over `TextGenEnv`: row i of a vector seeded with s draws
    the prompts of an environment seeded with s + i. A source of prompts that is `shared` (sampling
    without replacement, say) is drawn from the vector's own stream instead, in the order in which
    episodes start. The reward function is called once per step, on the texts that ended.

    Under `AutoresetMode.DISABLED` a finished row that is not reset is idle: its action is ignored,
    its reward 0, its flags False, its observation unchanged.

    Args:
        num_envs: Number of rows n.
        autoreset_mode: One of Gymnasium's three, by value or by name (`"NextStep"`, `"SameStep"`,
            `"Disabled"`).
        copy: Whether observations are copies. False hands out read-only views that change with the
            next step.
        render_mode: `"ansi"`, `"human"` or None.
        **task: The arguments of `TextGenEnv`.

    Raises:
        ValueError: If an argument breaks its rule; the message names both.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> envs = gym.make_vec("TextGen-v0", num_envs=3)
        >>> observations, infos = envs.reset(seed=0)
        >>> observations["input_ids"].shape, infos["prompt_length"].tolist()
        ((3, 24), [4, 4, 4])
    """

    metadata: dict[str, Any] = {**TextGenEnv.metadata}  # noqa: RUF012  # replaced per instance

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copy: bool = True,
        render_mode: str | None = None,
        **task: Any,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        modes = [mode.value for mode in AutoresetMode]
        if autoreset_mode not in (*AutoresetMode, *modes):
            raise ValueError(f"autoreset_mode must be one of {modes}, got {autoreset_mode!r}")
        check_render_mode(render_mode, TextGenEnv.metadata)
        self.task = TextTask(**task)
        self.tokenizer = self.task.tokenizer
        self.num_envs = num_envs
        self.copy = copy
        self.render_mode = render_mode
        self.muted = False
        """True where an outer wrapper replaces the feedback, so that it is not computed here."""
        self.payer: object | None = None
        """The outermost wrapper that pays: under `"human"` texts are shown when it has paid."""
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {**TextGenEnv.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        length = self.task.max_prompt_tokens + self.task.max_new_tokens
        self._input_ids = np.zeros((num_envs, length), dtype=np.int64)
        self._attention_mask = np.zeros((num_envs, length), dtype=np.int8)
        self._lengths = np.zeros(num_envs, dtype=np.intp)
        self._limits = np.zeros(num_envs, dtype=np.intp)
        self._ended = np.ones(num_envs, dtype=np.bool_)
        self._all_rows = np.arange(num_envs)
        self._starts: list[EncodedPrompt | None] = [None] * num_envs
        self._outcomes: list[tuple[Any, ...]] = [(None, None, {})] * num_envs
        self._row_random: list[np.random.Generator | None] = [None] * num_envs

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts new texts in all rows, or in those of a mask.

        Args:
            seed: Row i is seeded with `seed + i`, or with `seed[i]`.
            options: `{"reset_mask": bool (n,)}` chooses the rows. `{"prompt": ...}` names the
                prompt of every row that starts, or, as a list of n, of each.

        Raises:
            TypeError, ValueError: If the mask is not a bool array (n,) with a True in it, or the
                seeds or prompts are not n.
        """
        options = options or {}
        rows = self._rows_to_reset(options.get("reset_mask"))
        self._seed(seed, rows)
        infos: dict[str, Any] = {}
        self._begin(rows, infos, options.get("prompt"))
        self._add_masks(infos, rows)
        return self._observation(), infos

    def step(self, actions: ArrayLike) -> tuple[Observation, Rewards, Flags, Flags, dict[str, Any]]:
        """Appends one token to every row that is being written.

        Args:
            actions: Token ids, integers (n,).

        Raises:
            ResetNeeded: Before the first reset.
            ValueError: If `actions` has another shape or dtype, or an id outside the action space.
            RewardError: If the reward function raises.
        """
        rows = self._running_rows()
        tokens = self._checked(actions)[rows]
        if tokens.size and (tokens.min() < 0 or tokens.max() >= self.tokenizer.vocab_size):
            raise ValueError(f"actions must be in {self.single_action_space}, got {tokens}")
        idle = np.flatnonzero(self._ended)
        codes = self._append(rows, tokens)

        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        infos: dict[str, Any] = {}
        finished = codes != GOES_ON
        if finished.any():
            ended = rows[finished]
            last = self._finish(ended, codes[finished], rewards, terminations, truncations)
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                self._publish_final(ended, last, infos)
                self._begin(ended, infos)
            else:
                infos = last
        if idle.size and self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._begin(idle, infos)
            rows = self._all_rows
        self._add_masks(infos, rows)
        return self._observation(), rewards, terminations, truncations, infos

    def action_masks(self) -> Flags:
        """Returns which token ids stand for text or EOS, bool (n, V), read-only."""
        shape = (self.num_envs, self.tokenizer.vocab_size)
        mask = self.task.action_mask
        return np.broadcast_to(np.True_ if mask is None else mask.astype(np.bool_), shape)

    def show_reward(
        self, payer: object, row: int, episode: Episode, reward: float, components: dict[str, float]
    ) -> None:
        """Records the reward that the wrapper `payer` paid to one row's text, for rendering."""
        if self._ended[row]:  # under SAME_STEP the row holds the next text already
            self._outcomes[row] = (episode.stop_reason, reward, components)
        if payer is self.payer:
            text = (episode.prompt, episode.completion, episode.stop_reason)
            self._show(row, lambda: render_text(*text, reward, components))

    def _show(self, row: int, rendered: Callable[[], str]) -> None:
        if self.render_mode == "human":
            sys.stdout.write(f"[{row}]\n{rendered()}\n\n")

    def render(self) -> tuple[str, ...] | None:
        """Returns the texts so far under `"ansi"`; `"human"` prints them as they end."""
        if self.render_mode != "ansi":
            return None
        return tuple(self._rendered(row) for row in range(self.num_envs))

    def _rows_to_reset(self, mask: Any) -> Rows:
        if mask is None:
            return self._all_rows
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a bool array, got {mask!r}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must have shape ({self.num_envs},) and a True in it, "
                f"got {mask!r}"
            )
        return np.flatnonzero(mask)

    def _seed(self, seed: int | Sequence[int | None] | None, rows: Rows) -> None:
        if isinstance(seed, int):
            super().reset(seed=seed)
            self.task.source.restart()
            seed = [seed + row for row in range(self.num_envs)]
        elif seed is not None:
            if len(seed) != self.num_envs:
                raise ValueError(f"seed must be an int or {self.num_envs} of them, got {seed}")
            first = next((one for one in seed if one is not None), None)
            super().reset(seed=first)
            if first is not None:
                self.task.source.restart()
        for row in rows:
            if seed is not None and seed[row] is not None:
                self._row_random[row], _ = seeding.np_random(seed[row])

    def _random(self, row: int) -> np.random.Generator:
        """Returns the stream that the row's next prompt is drawn from."""
        if self.task.source.shared:
            return self.np_random
        stream = self._row_random[row]
        if stream is None:
            stream, _ = seeding.np_random(None)
            self._row_random[row] = stream
        return stream

    def _begin(self, rows: Rows, infos: dict[str, Any], given: Any = None) -> None:
        """Starts an episode in each of `rows`, in ascending order."""
        per_row = isinstance(given, list)
        if per_row and len(given) != self.num_envs:
            raise ValueError(f"options['prompt'] must name {self.num_envs} prompts, got {given!r}")
        starts = [
            self.task.draw(self._random(row), self.task.source)
            if given is None
            else self.task.given(given[row] if per_row else given)
            for row in rows.tolist()
        ]
        self._input_ids[rows] = 0
        self._attention_mask[rows] = 0
        for row, start in zip(rows.tolist(), starts, strict=True):
            length = len(start.token_ids)
            self._starts[row] = start
            self._outcomes[row] = (None, None, {})
            self._input_ids[row, :length] = start.token_ids
            self._attention_mask[row, :length] = 1
            self._lengths[row] = length
        self._limits[rows] = self._lengths[rows] + self.task.max_new_tokens
        self._ended[rows] = False
        self._add(infos, "prompt_length", rows, self._lengths[rows], np.int64)

    def _running_rows(self) -> Rows:
        if all(start is None for start in self._starts):
            raise ResetNeeded("reset must be called before step")
        return np.flatnonzero(~self._ended) if self._ended.any() else self._all_rows

    def _checked(self, actions: ArrayLike) -> NDArray[np.int64]:
        array = np.asarray(actions)
        if array.shape != (self.num_envs,) or not np.issubdtype(array.dtype, np.integer):
            raise ValueError(
                f"actions must be integers of shape ({self.num_envs},), got {array.dtype} of shape "
                f"{array.shape}"
            )
        return array

    def _append(self, rows: Rows, tokens: NDArray[np.int64]) -> NDArray[np.int8]:
        """Writes one token to each of `rows` and returns how, or whether, each text ended."""
        lengths = self._lengths[rows]
        self._input_ids[rows, lengths] = tokens
        self._attention_mask[rows, lengths] = 1
        lengths += 1
        self._lengths[rows] = lengths
        codes = self.task.stop_codes[tokens]
        codes[(lengths == self._limits[rows]) & (codes == GOES_ON)] = LENGTH
        return codes

    def _finish(
        self,
        rows: Rows,
        codes: NDArray[np.int8],
        rewards: Rewards,
        terminations: Flags,
        truncations: Flags,
    ) -> dict[str, Any]:
        """Ends the texts of `rows`: writes their rewards and flags, returns their infos."""
        infos: dict[str, Any] = {}
        self._ended[rows] = True
        reasons = [STOP_REASONS[code] for code in codes.tolist()]
        self._add(infos, "stop_reason", rows, reasons, object)
        for row, reason in zip(rows.tolist(), reasons, strict=True):
            self._outcomes[row] = (reason, None, {})
        paid = np.array([self.task.pays_at(code) for code in codes.tolist()])
        truncations[rows[~paid]] = True
        terminations[rows[paid]] = True
        if paid.any():
            self._pay(rows[paid], codes[paid], rewards, infos)
        for row in (rows if self.payer is None else rows[~paid]).tolist():
            self._show(row, partial(self._rendered, row))
        return infos

    def _pay(
        self, rows: Rows, codes: NDArray[np.int8], rewards: Rewards, infos: dict[str, Any]
    ) -> None:
        episodes = [
            self._episode(row, code)
            for row, code in zip(rows.tolist(), codes.tolist(), strict=True)
        ]
        self._add(infos, "text_episode", rows, episodes, object)
        if self.muted:
            return
        scores = score(self.task.reward_function, episodes)
        rewards[rows] = scores.total
        components: dict[str, Any] = {}
        for name, term in scores.components.items():
            self._add(components, name, rows, term, np.float64)
        infos["reward_components"] = components
        infos["_reward_components"] = self._mask_of(rows)
        for index, row in enumerate(rows.tolist()):
            terms = {name: float(term[index]) for name, term in scores.components.items()}
            self._outcomes[row] = (episodes[index].stop_reason, float(scores.total[index]), terms)

    def _episode(self, row: int, code: int) -> Episode:
        start = self._starts[row]
        assert start is not None
        first, last = len(start.token_ids), self._lengths[row]
        return self.task.episode(start, self._input_ids[row, first:last].copy(), code)

    def _publish_final(self, rows: Rows, last: dict[str, Any], infos: dict[str, Any]) -> None:
        """Files the last observation and infos of `rows` as Gymnasium's SAME_STEP mode does."""
        self._add_masks(last, rows)
        final = np.full(self.num_envs, None, dtype=object)
        for row in rows.tolist():
            final[row] = {
                "input_ids": self._input_ids[row].copy(),
                "attention_mask": self._attention_mask[row].copy(),
            }
        infos["final_obs"], infos["_final_obs"] = final, self._mask_of(rows)
        infos["final_info"], infos["_final_info"] = last, self._mask_of(rows)

    def _add_masks(self, infos: dict[str, Any], rows: Rows) -> None:
        if self.task.action_mask is None:
            return
        mask = np.broadcast_to(self.task.action_mask, (self.num_envs, self.tokenizer.vocab_size))
        if len(rows) < self.num_envs:
            mask = np.zeros_like(mask)
            mask[rows] = self.task.action_mask
        infos["action_mask"], infos["_action_mask"] = mask, self._mask_of(rows)

    def _add(self, infos: dict[str, Any], key: str, rows: Rows, values: Any, dtype: Any) -> None:
        """Files values under Gymnasium's convention: an array (n,) and the mask of its rows."""
        array = np.full(self.num_envs, None if dtype is object else 0, dtype=dtype)
        if dtype is object:
            for row, value in zip(rows.tolist(), values, strict=True):
                array[row] = value
        else:
            array[rows] = values
        infos[key], infos[f"_{key}"] = array, self._mask_of(rows)

    def _mask_of(self, rows: Rows) -> Flags:
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[rows] = True
        return mask

    def _observation(self) -> Observation:
        if self.copy:
            return {
                "input_ids": self._input_ids.copy(),
                "attention_mask": self._attention_mask.copy(),
            }
        return {
            "input_ids": _read_only(self._input_ids),
            "attention_mask": _read_only(self._attention_mask),
        }

    def _rendered(self, row: int) -> str:
        start = self._starts[row]
        if start is None:
            raise ResetNeeded("reset must be called before render")
        completion = self._input_ids[row, len(start.token_ids) : self._lengths[row]]
        reason, reward, components = self._outcomes[row]
        text = self.tokenizer.decode(completion)
        return render_text(start.prompt.text, text, reason, reward, components)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array[:]
    view.setflags(write=False)
    return view
