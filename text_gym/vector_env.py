"""Many texts at once, in one process and in preallocated arrays: `TextGenVectorEnv`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from text_gym.env import TextGenEnv, check_render_mode
from text_gym.episode import Episode
from text_gym.lazy_info import Deferred, LazyInfo
from text_gym.number_rules import require_count
from text_gym.prompt_streams import PromptStreams
from text_gym.rendering import render_text, require_font
from text_gym.rendering.text import write_text
from text_gym.rewards.function import Scores, reward_name, score
from text_gym.row_state import RowState, recalled_prompt
from text_gym.step_limit import StepLimit
from text_gym.task import (
    CODES,
    GOES_ON,
    LENGTH,
    STOP_REASONS,
    EncodedPrompt,
    Observation,
    TextTask,
    require_known,
)
from text_gym.text_rows import TextRows
from text_gym.text_snapshot import TextSnapshot
from text_gym.vector_infos import DrawReport, RowReport, merged
from text_gym.vector_turns import VectorTurns

Flags = NDArray[np.bool_]
Rewards = NDArray[np.float64]
Rows = NDArray[np.intp]
Codes = NDArray[np.int8]

NOT_STARTED, CUT = -1, -2


class TextGenVectorEnv(VectorEnv[Observation, NDArray[np.int64], NDArray[Any]]):
    """Writes `num_envs` texts side by side; `gym.make_vec("TextGen-v0", num_envs=...)` makes it.

    Step for step equal to `SyncVectorEnv` over `TextGenEnv`: row i of a vector seeded with s draws
    the prompts of an environment seeded with s + i. A source of prompts that is `shared` (sampling
    without replacement, say) is drawn from the vector's own stream instead, in the order in which
    episodes start. The reward function is called once per step, on the texts that ended. The arrays
    of `infos` are made when they are read; `dict(infos)` reads them all.

    Under `AutoresetMode.DISABLED` a finished row that is not reset is idle: its action is ignored,
    its reward 0, its flags False, its observation unchanged.

    Args:
        num_envs: Number of rows n.
        autoreset_mode: One of Gymnasium's three, by value or by name (`"NextStep"`, `"SameStep"`,
            `"Disabled"`).
        copy: Whether observations are copies. False hands out read-only views that change with the
            next step.
        render_mode: `"ansi"`, `"human"`, `"rgb_array"` (needs the extra `render`) or None.
        render_font: As in `TextGenEnv`.
        max_episode_steps: Cuts each text after so many steps, as `gym.make` does by `TimeLimit`:
            it is truncated, and not paid for. A text that ends in that very step is paid for, and
            has both flags, as under `TimeLimit`. For texts of one turn. None or -1: never.
        **task: The arguments of `TextGenEnv`.

    Raises:
        TypeError, ValueError: If an argument breaks its rule; the message names both.
        OSError: If `render_font` is no font.

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
        render_font: str | Path | None = None,
        max_episode_steps: int | None = None,
        **task: Any,
    ) -> None:
        require_count(num_envs, "num_envs")
        check_render_mode(render_mode, TextGenEnv.metadata)
        require_font(render_font)
        self.task = TextTask(**task)
        self.tokenizer = self.task.tokenizer
        self.end_of_text_ids = self.task.end_of_text_ids
        """EOS and the stop tokens."""
        self.max_new_tokens = self.task.max_new_tokens
        """Most tokens of the policy in a text."""
        self.num_envs = num_envs
        self.copy = copy
        self.render_mode = render_mode
        self.render_font = render_font
        self.reward_skipped = False
        """True where an outer wrapper replaces the feedback, so that it is not computed here."""
        self.outermost_reward_wrapper: object | None = None
        """The outermost wrapper that pays: under `"human"` texts are shown when it has paid."""
        self.autoreset_mode = _autoreset_mode(autoreset_mode)
        self.metadata = {**TextGenEnv.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_observation_space = self.task.observation_space
        self.single_action_space = self.task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

        self._texts = TextRows(num_envs, self.task.max_length)
        self._starts: dict[int, EncodedPrompt] = {}  # by row
        # How each row's text ended: a code of `text_gym.task`.
        self._codes = np.full(num_envs, NOT_STARTED, dtype=np.int8)
        # What each row's finished text was paid: its place in the scores of its step.
        self._paid: list[tuple[Scores, int] | None] = [None] * num_envs
        self._reward_name = reward_name(self.task.reward_function)
        self._prompts = PromptStreams(self.task, num_envs)
        has_turns = self.task.turns is not None
        self._turns = VectorTurns(self.task, self._texts, self._prompts) if has_turns else None
        self._step_limit = _step_limit(num_envs, max_episode_steps, has_turns)
        mask = self.task.action_mask
        shape = (num_envs, self.tokenizer.vocab_size)
        self._masks = None if mask is None else np.broadcast_to(mask, shape)

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
                prompt of every row that starts, or, as a list of n, of each; `{"prompt_id": ...}`
                its place in the list of prompts, likewise.

        Raises:
            TypeError, ValueError: If the mask is not a bool array (n,) with a True in it, the
                seeds or prompts are not n, or `options` has another key.
        """
        given = require_known(options, ("reset_mask", "prompt", "prompt_id"))
        rows = self._rows_to_reset(given.get("reset_mask"))
        first = None if seed is None else self._prompts.seed(seed, rows.tolist())
        if first is not None:
            super().reset(seed=first)
        infos = LazyInfo()
        self._begin(rows, self._prompts.given(given, rows.tolist(), self.np_random), infos)
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
        tokens = self._checked(actions)
        rows: Any = slice(None)
        idle = self._codes.nonzero()[0]
        if idle.size:
            rows = np.logical_not(self._codes).nonzero()[0]
            tokens = tokens[rows]
        ended, codes = self._append(rows, tokens)

        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        infos: dict[str, Any] = LazyInfo()
        if ended.size and self._turns is not None:
            ended, codes = self._go_on(self._turns, ended, codes, rewards, infos)
        last = LazyInfo()
        if ended.size:
            last = self._finish(ended, codes, rewards, terminations, truncations)
        if self._step_limit is not None:
            truncations |= self._step_limit.count(rows)
            ended = self._cut(terminations | truncations)
        if ended.size:
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                self._publish_final(ended, last, infos)
                self._draw(ended, infos)
            else:
                infos = merged(infos, last) if infos else last
        if idle.size and self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._draw(idle, infos)
            rows = slice(None)
        self._add_masks(infos, rows)
        return self._observation(), rewards, terminations, truncations, infos

    @property
    def vocabulary_mask(self) -> Flags | None:
        """Which token ids stand for text or end it, bool (V,); None if all do."""
        mask = self.task.action_mask
        return None if mask is None else mask.astype(np.bool_)

    def action_masks(self) -> Flags:
        """Returns which token ids stand for text or end it, bool (n, V), read-only."""
        shape = (self.num_envs, self.tokenizer.vocab_size)
        mask = self.vocabulary_mask
        return np.broadcast_to(np.True_ if mask is None else mask, shape)

    def show_reward(
        self,
        wrapper: object,
        row: int,
        episode: Episode,
        reward: float,
        components: dict[str, float],
    ) -> None:
        """Takes note of what `wrapper` paid one row's text."""
        if self._codes[row] != GOES_ON:  # under SAME_STEP the row holds the next text already
            self._paid[row] = _scores_of_one(reward, components)
        if wrapper is self.outermost_reward_wrapper:
            self.task.source.observe(episode.prompt, reward)
            if self.render_mode == "human":
                text = (episode.prompt, episode.completion, episode.stop_reason)
                self._print(row, render_text(*text, reward, components, passages=episode.passages))

    def render(self) -> tuple[Any, ...] | None:
        """Returns what `TextGenEnv.render` does, for each row; None under `"human"`."""
        if self.render_mode not in ("ansi", "rgb_array"):
            return None
        mode, font = self.render_mode, self.render_font
        return tuple(self._text(row, "render").rendered(mode, font) for row in range(self.num_envs))

    def get_state(self) -> dict[str, Any]:
        """Returns all that the environment's future depends on, in values that JSON can hold.

        Raises:
            ResetNeeded: Where a row has not been reset yet.
        """
        return {
            "rows": [self.get_row_state(row)["row"] for row in range(self.num_envs)],
            "random_state": self.np_random.bit_generator.state,
            "source": self.task.source.get_state(),
        }

    def set_state(self, state: Mapping[str, Any]) -> Observation:
        """Goes back to a state that `get_state` returned, and returns its observation.

        Raises:
            ValueError: If it has another number of rows, or a prompt that this task does not have.
        """
        if len(state["rows"]) != self.num_envs:
            raise ValueError(f"state must have {self.num_envs} rows, got {len(state['rows'])}")
        for row, row_state in enumerate(state["rows"]):
            self._set_row(row, row_state)
        self.np_random.bit_generator.state = state["random_state"]
        self.task.source.set_state(state["source"])
        return self._observation()

    def get_row_state(self, row: int) -> dict[str, Any]:
        """Returns the state of one row, for `set_row_state` or `TextGenEnv.set_state`."""
        listed = self.task.source.prompts
        return {"row": self._text(row, "get_state").recorded(listed, self._prompts.get_state(row))}

    def set_row_state(self, row: int, state: Mapping[str, Any]) -> Observation:
        """Makes one row go on from the state of another, of this environment or a `TextGenEnv`.

        The rest, a shared source of prompts included, stays as it is.
        """
        self._set_row(row, state["row"])
        return self._observation()

    def _set_row(self, row: int, state: RowState) -> None:
        start = self.task.encode(recalled_prompt(state["prompt"], self.task.source.prompts))
        self._write([row], [start])
        if self._turns is not None:
            conversation = self._turns[row]
            conversation.recall(state["passages"])
            before = conversation.token_ids[len(start.token_ids) :]
            self._texts.extend(row, before, conversation.room)
        self._texts.extend(row, np.array(state["completion_ids"], dtype=np.int64))
        reason, reward = state["stop_reason"], state["reward"]
        self._codes[row] = GOES_ON if reason is None else CODES[reason]
        if self._step_limit is not None:
            self._step_limit.start(row, len(state["completion_ids"]))
            if reason is None and self._step_limit.is_reached(row):
                self._codes[row] = CUT
        if reward is not None:
            self._paid[row] = _scores_of_one(reward, state["components"])
        self._prompts.set_state(row, state["random_state"])

    def _rows_to_reset(self, mask: Any) -> Rows:
        if mask is None:
            return np.arange(self.num_envs)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a bool array, got {mask!r}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must have shape ({self.num_envs},) and a True in it, "
                f"got {mask!r}"
            )
        return mask.nonzero()[0]

    def _draw(self, rows: Rows, infos: dict[str, Any]) -> None:
        """Starts an episode in each of `rows` with a prompt of its own."""
        self._begin(rows, self._prompts.draw(rows.tolist(), self.np_random), infos)

    def _begin(self, rows: Rows, starts: Sequence[EncodedPrompt], infos: dict[str, Any]) -> None:
        """Starts an episode in each of `rows`."""
        self._write(rows.tolist(), starts)
        self._codes[rows] = GOES_ON
        DrawReport(self.num_envs, rows, starts).file(infos)

    def _write(self, rows: Sequence[int], starts: Sequence[EncodedPrompt]) -> None:
        """Makes the prompt of each of `rows` its whole text."""
        room = self.task.max_turn_tokens
        for row, start in zip(rows, starts, strict=True):
            self._texts.start(row, start.token_ids, room)
            self._starts[row], self._paid[row] = start, None
            if self._turns is not None:
                self._turns.begin(row, start)
            if self._step_limit is not None:
                self._step_limit.start(row)

    def _checked(self, actions: ArrayLike) -> NDArray[np.int64]:
        if not self._starts:
            raise ResetNeeded("reset must be called before step")
        array = np.asarray(actions)
        if array.shape != (self.num_envs,) or array.dtype.kind not in "iu":
            raise ValueError(
                f"actions must be integers of shape ({self.num_envs},), got {array.dtype} of shape "
                f"{array.shape}"
            )
        return array.astype(np.int64, copy=False)

    def _append(self, rows: Any, tokens: NDArray[np.int64]) -> tuple[Rows, Codes]:
        """Writes one token to each of `rows`, and returns which of them ended, and how."""
        try:  # the fastest of numpy's functions that look at both bounds
            np.ravel_multi_index((tokens,), (self.tokenizer.vocab_size,))
        except ValueError:
            raise ValueError(
                f"actions must be in {self.single_action_space}, got {tokens}"
            ) from None
        full = self._texts.append(rows, tokens)
        codes = np.maximum(self.task.stop_codes[tokens], full)  # True is LENGTH
        places = codes.nonzero()[0]
        return places if isinstance(rows, slice) else rows[places], codes[places]

    def _go_on(
        self, turns: VectorTurns, rows: Rows, codes: Codes, rewards: Rewards, infos: dict[str, Any]
    ) -> tuple[Rows, Codes]:
        """Appends what the responder adds to the texts whose turn ended; returns those that end.

        The others are paid for the turn, by a reward for each turn.
        """
        ways = dict(zip(rows.tolist(), codes.tolist(), strict=True))
        appended = turns.go_on(ways)
        if not appended:
            return rows, codes
        on = np.array([row in appended for row in ways])
        values: dict[str, Any] = {
            "turn": turns.numbers(list(appended)),
            "appended": list(appended.values()),
        }
        if self.task.pays_each_turn and not self.reward_skipped:
            said = turns.last_turns(list(appended), codes[on].tolist())
            values["reward_components"] = self._score(said, rows[on], rewards).components
        RowReport(self.num_envs, rows[on], values).file(infos)
        return rows[~on], codes[~on]

    def _finish(
        self,
        rows: Rows,
        codes: Codes,
        rewards: Rewards,
        terminations: Flags,
        truncations: Flags,
    ) -> LazyInfo:
        """Ends the texts of `rows`: writes their rewards and flags, returns their infos."""
        self._codes[rows] = codes
        infos = LazyInfo()
        values: dict[str, Any] = {"stop_reason": [STOP_REASONS[code] for code in codes.tolist()]}
        if self.task.limit == "truncate":
            cut = codes == LENGTH
            if self._turns is not None:  # what the responder ended is finished
                cut &= [self._turns[row].is_over for row in rows.tolist()]
            truncations[rows[cut]] = True
            RowReport(self.num_envs, rows, values).file(infos)
            rows, codes, values = rows[~cut], codes[~cut], {}
        if rows.size:
            terminations[rows] = True
            values |= self._pay(rows, codes, rewards)
            RowReport(self.num_envs, rows, values).file(infos)
        if self.render_mode == "human":
            for row in (terminations | truncations).nonzero()[0].tolist():
                if self.outermost_reward_wrapper is None or truncations[row]:
                    self._print(row, self._text(row, "render").text())
        return infos

    def _cut(self, over: Flags) -> Rows:
        """Ends the texts that go on in the rows that are over; returns all of these."""
        self._codes[over & (self._codes == GOES_ON)] = CUT
        return over.nonzero()[0]

    def _pay(self, rows: Rows, codes: Codes, rewards: Rewards) -> dict[str, Any]:
        """Writes the rewards of finished texts; returns what their rows report."""
        episodes = scored = self._episodes(rows, codes.tolist())
        if self.reward_skipped:
            return {"text_episode": episodes}
        if self._turns is not None and self.task.pays_each_turn:
            scored = self._turns.last_turns(rows.tolist(), codes.tolist())
        scores = self._score(scored, rows, rewards)
        if self.outermost_reward_wrapper is None and self.task.source.learns:
            for episode, reward in zip(episodes, scores.total.tolist(), strict=True):
                self.task.source.observe(episode.prompt, reward)
        return {"text_episode": episodes, "reward_components": scores.components}

    def _score(self, episodes: Sequence[Episode], rows: Rows, rewards: Rewards) -> Scores:
        """Pays for texts or turns, one in each of `rows`."""
        scores = score(self.task.reward_function, episodes, name=self._reward_name)
        rewards[rows] = scores.total
        for place, row in enumerate(rows.tolist()):
            self._paid[row] = (scores, place)
        return scores

    def _episodes(self, rows: Rows, codes: Sequence[int]) -> list[Episode]:
        """Returns the finished texts of `rows`."""
        if self._turns is not None:
            return self._turns.texts(rows.tolist(), codes)
        starts = [self._starts[row] for row in rows.tolist()]
        return list(map(self.task.episode, starts, self._texts.completions(rows), codes))

    def _text(self, row: int, method: str) -> TextSnapshot:
        """Returns the text of a row, for a method that needs one."""
        start = self._starts.get(row)
        if start is None:
            raise ResetNeeded(f"reset must be called before {method}, row {row} has no text")
        conversation = None if self._turns is None else self._turns[row]
        before = len(start.token_ids) if conversation is None else conversation.length
        return TextSnapshot(
            start,
            self._texts.after(row, before),
            conversation,
            STOP_REASONS.get(int(self._codes[row])),
            *self._reward(row),
        )

    def _publish_final(self, rows: Rows, last: LazyInfo, infos: dict[str, Any]) -> None:
        """Files the last observation and infos of `rows` as Gymnasium's SAME_STEP mode does."""
        self._add_masks(last, rows)
        final = RowReport(self.num_envs, rows, {"final_obs": self._texts.observations_of(rows)})
        final.file(infos)
        infos["final_info"], infos["_final_info"] = last, final

    def _add_masks(self, infos: dict[str, Any], rows: Any) -> None:
        if self._masks is None:
            return
        masks, reported = self._masks, np.zeros(self.num_envs, dtype=np.bool_)
        reported[rows] = True
        infos["_action_mask"] = reported.copy()
        infos["action_mask"] = Deferred(
            lambda: masks if reported.all() else masks * reported[:, None]
        )

    def _observation(self) -> Observation:
        return self._texts.observation(copy=self.copy)

    def _print(self, row: int, text: str) -> None:
        write_text(f"[{row}]\n{text}\n\n", sys.stdout)

    def _reward(self, row: int) -> tuple[float | None, dict[str, float]]:
        """Returns what a row's finished text was paid, and the terms by name."""
        paid = self._paid[row]
        if paid is None:
            return None, {}
        scores, place = paid
        terms = {name: float(term[place]) for name, term in scores.components.items()}
        return float(scores.total[place]), terms


def _scores_of_one(reward: float, components: Mapping[str, float]) -> tuple[Scores, int]:
    """Returns the scores of a single text, and its place in them."""
    terms = {name: np.array([term]) for name, term in components.items()}
    return Scores(np.array([reward]), terms), 0


def _step_limit(n: int, most: int | None, has_turns: bool) -> StepLimit | None:
    if most in (None, -1):  # -1 is what `gym.make` takes for no limit
        return None
    if has_turns:
        raise ValueError(
            "max_episode_steps must be None where there is a responder (max_new_tokens with "
            f"limit='truncate' cuts all turns together), got {most}"
        )
    return StepLimit(n, most)


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        names = [one.value for one in AutoresetMode]
        raise ValueError(f"autoreset_mode must be one of {names}, got {mode!r}") from None
