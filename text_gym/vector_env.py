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

from text_gym.conversation import Conversation, go_on
from text_gym.env import TextGenEnv, check_render_mode
from text_gym.episode import Episode, Passage, StopReason
from text_gym.prompt_streams import PromptStreams
from text_gym.rendering import render_image, render_text, require_font, token_pieces
from text_gym.rendering.text import write_text
from text_gym.rewards.function import Scores, reward_name, score
from text_gym.row_state import RowState, recalled_prompt, recorded_prompt
from text_gym.task import (
    LENGTH,
    STOP_REASONS,
    EncodedPrompt,
    Observation,
    TextTask,
    require_known,
)
from text_gym.text_rows import TextRows
from text_gym.vector_infos import RowInfos, merged

Flags = NDArray[np.bool_]
Rewards = NDArray[np.float64]


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
        render_mode: `"ansi"`, `"human"`, `"rgb_array"` (needs the extra `render`) or None.
        render_font: As in `TextGenEnv`.
        **task: The arguments of `TextGenEnv`.

    Raises:
        ValueError: If an argument breaks its rule; the message names both.
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
        **task: Any,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, got {num_envs}")
        check_render_mode(render_mode, TextGenEnv.metadata)
        require_font(render_font)
        self.task = TextTask(**task)
        self.tokenizer = self.task.tokenizer
        self.end_of_text_ids = self.task.end_of_text_ids
        """EOS and the stop tokens."""
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
        self._ended = np.ones(num_envs, dtype=np.bool_)
        self._n_ended = num_envs
        self._starts: list[EncodedPrompt | None] = [None] * num_envs
        self._conversations: dict[int, Conversation] = {}  # by row; none of texts of one turn
        self._reasons: list[StopReason | None] = [None] * num_envs
        # What each row's finished text was paid: its place in the scores of its step.
        self._paid: list[tuple[Scores, int] | None] = [None] * num_envs
        self._reward_name = reward_name(self.task.reward_function)
        self._prompts = PromptStreams(self.task, num_envs)
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
        self._seed(seed, rows)
        infos: dict[str, Any] = {}
        self._begin(rows, self._prompts.given(given, rows, self.np_random), infos)
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
        idle: list[int] = []
        rows: Any = slice(None)
        if self._n_ended:
            idle = self._ended.nonzero()[0].tolist()
            rows = (~self._ended).nonzero()[0]
            tokens = tokens[rows]
        ended, codes = self._append(rows, tokens)

        rewards = np.zeros(self.num_envs)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        infos: dict[str, Any] = {}
        if ended and self._conversations:
            ended, codes = self._go_on(ended, codes, rewards, infos)
        if ended:
            last = self._finish(ended, codes, rewards, terminations, truncations)
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                self._publish_final(ended, last, infos)
                self._begin(ended, self._prompts.draw(ended, self.np_random), infos)
            else:
                infos = merged(infos, last) if infos else last
        if idle and self.autoreset_mode is AutoresetMode.NEXT_STEP:
            self._begin(idle, self._prompts.draw(idle, self.np_random), infos)
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
        if self._ended[row]:  # under SAME_STEP the row holds the next text already
            terms = {name: np.array([term]) for name, term in components.items()}
            self._paid[row] = (Scores(np.array([reward]), terms), 0)
        if wrapper is self.outermost_reward_wrapper:
            self.task.source.observe(episode.prompt, reward)
            if self.render_mode == "human":
                text = (episode.prompt, episode.completion, episode.stop_reason)
                self._print(row, render_text(*text, reward, components, passages=episode.passages))

    def render(self) -> tuple[Any, ...] | None:
        """Returns what `TextGenEnv.render` does, for each row; None under `"human"`."""
        rows = range(self.num_envs)
        if self.render_mode == "rgb_array":
            return tuple(self._image(row) for row in rows)
        return tuple(self._rendered(row) for row in rows) if self.render_mode == "ansi" else None

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
        start = self._starts[row]
        if start is None:
            raise ResetNeeded(f"reset must be called before get_state, row {row} has no text")
        reward, components = self._reward(row)
        state = RowState(
            prompt=recorded_prompt(start.prompt, self.task.source.prompts),
            completion_ids=self._unfinished(row).tolist(),
            stop_reason=self._reasons[row],
            reward=reward,
            components=components,
            random_state=self._prompts.get_state(row),
        )
        if self._conversations:
            state["passages"] = self._conversations[row].recorded()
        return {"row": state}

    def set_row_state(self, row: int, state: Mapping[str, Any]) -> Observation:
        """Makes one row go on from the state of another, of this environment or a `TextGenEnv`.

        The rest, a shared source of prompts included, stays as it is.
        """
        self._set_row(row, state["row"])
        return self._observation()

    def _set_row(self, row: int, state: RowState) -> None:
        start = self.task.encode(recalled_prompt(state["prompt"], self.task.source.prompts))
        self._write([row], [start])
        if self._conversations:
            conversation = self._conversations[row]
            conversation.recall(state["passages"])
            self._texts.extend(
                row, conversation.token_ids[len(start.token_ids) :], conversation.room
            )
        self._texts.extend(row, np.array(state["completion_ids"], dtype=np.int64))
        self._reasons[row] = state["stop_reason"]
        self._paid[row] = None
        if state["reward"] is not None:
            terms = {name: np.array([term]) for name, term in state["components"].items()}
            self._paid[row] = (Scores(np.array([state["reward"]]), terms), 0)
        self._ended[row] = state["stop_reason"] is not None
        self._n_ended = int(np.count_nonzero(self._ended))
        self._prompts.set_state(row, state["random_state"])

    def _rows_to_reset(self, mask: Any) -> list[int]:
        if mask is None:
            return list(range(self.num_envs))
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError(f"options['reset_mask'] must be a bool array, got {mask!r}")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"options['reset_mask'] must have shape ({self.num_envs},) and a True in it, "
                f"got {mask!r}"
            )
        rows: list[int] = np.flatnonzero(mask).tolist()
        return rows

    def _seed(self, seed: int | Sequence[int | None] | None, rows: Sequence[int]) -> None:
        if seed is None:
            return
        seeds = [seed + row for row in range(self.num_envs)] if isinstance(seed, int) else seed
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed must be an int or {self.num_envs} of them, got {seed}")
        first = next((one for one in seeds if one is not None), None)
        if first is None:
            return
        super().reset(seed=first)
        self._prompts.seed(seeds, rows)

    def _begin(
        self, rows: list[int], starts: Sequence[EncodedPrompt], infos: dict[str, Any]
    ) -> None:
        """Starts an episode in each of `rows`, which are in ascending order."""
        self._write(rows, starts)
        for row in rows:
            self._reasons[row] = None
            self._paid[row] = None
        for row in rows:
            self._n_ended -= int(self._ended[row])
            self._ended[row] = False
        lengths = [len(start.token_ids) for start in starts]
        filed = RowInfos(self.num_envs, rows)
        filed.numbers(infos, "prompt_length", lengths, np.int64)
        draws = [start.prompt.info for start in starts]
        for key in {key: None for draw in draws for key in draw}:
            reporting = [row for row, draw in zip(rows, draws, strict=True) if key in draw]
            some = filed if len(reporting) == len(rows) else RowInfos(self.num_envs, reporting)
            some.numbers(infos, key, [draw[key] for draw in draws if key in draw], np.int64)

    def _write(self, rows: Sequence[int], starts: Sequence[EncodedPrompt]) -> None:
        """Makes the prompt of each of `rows` its whole text."""
        room = self.task.max_turn_tokens
        for row, start in zip(rows, starts, strict=True):
            self._texts.start(row, start.token_ids, room)
            self._starts[row] = start
        if self.task.turns is not None:
            for row, start in zip(rows, starts, strict=True):
                self._conversations[row] = Conversation(self.task, start)

    def _checked(self, actions: ArrayLike) -> NDArray[np.int64]:
        if self._n_ended == self.num_envs and not any(self._starts):
            raise ResetNeeded("reset must be called before step")
        array = np.asarray(actions)
        if array.shape != (self.num_envs,) or array.dtype.kind not in "iu":
            raise ValueError(
                f"actions must be integers of shape ({self.num_envs},), got {array.dtype} of shape "
                f"{array.shape}"
            )
        return array.astype(np.int64, copy=False)

    def _append(self, rows: Any, tokens: NDArray[np.int64]) -> tuple[list[int], list[int]]:
        """Writes one token to each of `rows`, and returns which of them ended, and how."""
        if not tokens.size:
            return [], []
        # As unsigned numbers, negative ids are large ones: one comparison finds both.
        if tokens.view(np.uint64).max() >= self.tokenizer.vocab_size:
            raise ValueError(f"actions must be in {self.single_action_space}, got {tokens}")
        full = self._texts.append(rows, tokens)
        codes = self.task.stop_codes[tokens]
        places = ((codes != 0) | full).nonzero()[0]
        if not places.size:
            return [], []
        ended = places if isinstance(rows, slice) else rows[places]
        return ended.tolist(), [code or LENGTH for code in codes[places].tolist()]

    def _go_on(
        self,
        rows: Sequence[int],
        codes: Sequence[int],
        rewards: Rewards,
        infos: dict[str, Any],
    ) -> tuple[list[int], list[int]]:
        """Appends what the responder adds to the texts whose turn ended; returns those that end.

        The others are paid for the turn, by a reward for each turn.
        """
        ways = dict(zip(rows, codes, strict=True))
        for row in rows:
            conversation = self._conversations[row]
            conversation.end_turn(self._texts.after(row, conversation.length))
        asked = [row for row in rows if not self._conversations[row].is_over]
        responses = go_on(
            [self._conversations[row] for row in asked],
            [ways[row] for row in asked],
            [self._prompts.draw_seed(row) for row in asked],
        )
        appended = {row: ids for row, ids in zip(asked, responses, strict=True) if ids is not None}
        for row, ids in appended.items():
            self._texts.extend(row, ids, self._conversations[row].room)
        if appended:
            filed = RowInfos(self.num_envs, list(appended))
            turns = [self._conversations[row].n_turns + 1 for row in appended]
            filed.numbers(infos, "turn", turns, np.int64)
            filed.numbers(infos, "appended", [len(ids) for ids in appended.values()], np.int64)
            if self.task.pays_each_turn and not self.reward_skipped:
                said = [self._conversations[row].turn_episode(ways[row]) for row in appended]
                self._score(said, filed, rewards, infos)
        ended = [row for row in rows if row not in appended]
        return ended, [ways[row] for row in ended]

    def _finish(
        self,
        rows: Sequence[int],
        codes: Sequence[int],
        rewards: Rewards,
        terminations: Flags,
        truncations: Flags,
    ) -> dict[str, Any]:
        """Ends the texts of `rows`: writes their rewards and flags, returns their infos."""
        infos: dict[str, Any] = {}
        self._n_ended += len(rows)
        paid = []
        self._ended[rows] = True
        reasons = [STOP_REASONS[code] for code in codes]
        filed = RowInfos(self.num_envs, rows)
        filed.objects(infos, "stop_reason", reasons)
        for row, code, reason in zip(rows, codes, reasons, strict=True):
            self._reasons[row] = reason
            if self.task.pays_at(code):
                paid.append((row, code))
            else:
                truncations[row] = True
        if paid:
            if len(paid) < len(rows):
                filed = RowInfos(self.num_envs, [row for row, _ in paid])
            terminations |= filed.mask
            self._pay(paid, filed, rewards, infos)
        if self.render_mode == "human":
            for row in rows:
                if self.outermost_reward_wrapper is None or truncations[row]:
                    self._print(row, self._rendered(row))
        return infos

    def _pay(
        self,
        paid: Sequence[tuple[int, int]],
        filed: RowInfos,
        rewards: Rewards,
        infos: dict[str, Any],
    ) -> None:
        episodes = [self._episode(row, code) for row, code in paid]
        filed.objects(infos, "text_episode", episodes)
        if self.reward_skipped:
            return
        scored = episodes
        if self.task.pays_each_turn:
            scored = [self._conversations[row].turn_episode(code) for row, code in paid]
        scores = self._score(scored, filed, rewards, infos)
        if self.outermost_reward_wrapper is None:
            for episode, reward in zip(episodes, scores.total.tolist(), strict=True):
                self.task.source.observe(episode.prompt, reward)

    def _score(
        self, episodes: Sequence[Episode], filed: RowInfos, rewards: Rewards, infos: dict[str, Any]
    ) -> Scores:
        """Pays for texts or turns, one in each of the rows that are filed."""
        scores = score(self.task.reward_function, episodes, name=self._reward_name)
        rewards[filed.rows] = scores.total
        filed.terms(infos, "reward_components", scores.components)
        for index, row in enumerate(filed.rows.tolist()):
            self._paid[row] = (scores, index)
        return scores

    def _unfinished(self, row: int) -> NDArray[np.int64]:
        """Returns what the policy has written in its turn."""
        if self._conversations:
            return self._texts.after(row, self._conversations[row].length)
        start = self._starts[row]
        assert start is not None
        return self._texts.after(row, len(start.token_ids))

    def _episode(self, row: int, code: int) -> Episode:
        if self._conversations:
            return self._conversations[row].episode(code)
        start = self._starts[row]
        assert start is not None
        return self.task.episode(start, self._texts.after(row, len(start.token_ids)), code)

    def _passages(self, row: int) -> Sequence[Passage]:
        """Returns who wrote what in a row so far; nothing of a text of one turn."""
        if not self._conversations:
            return ()
        return self._conversations[row].with_unfinished(self._unfinished(row))

    def _publish_final(
        self, rows: Sequence[int], last: dict[str, Any], infos: dict[str, Any]
    ) -> None:
        """Files the last observation and infos of `rows` as Gymnasium's SAME_STEP mode does."""
        self._add_masks(last, rows)
        filed = RowInfos(self.num_envs, rows)
        filed.objects(infos, "final_obs", self._texts.observations_of(rows))
        infos["final_info"], infos["_final_info"] = last, filed.mask

    def _add_masks(self, infos: dict[str, Any], rows: Any) -> None:
        if self._masks is None:
            return
        reported = np.zeros(self.num_envs, dtype=np.bool_)
        reported[rows] = True
        masks = self._masks if reported.all() else self._masks * reported[:, None]
        infos["action_mask"], infos["_action_mask"] = masks, reported

    def _observation(self) -> Observation:
        return self._texts.observation(copy=self.copy)

    def _print(self, row: int, text: str) -> None:
        write_text(f"[{row}]\n{text}\n\n", sys.stdout)

    def _image(self, row: int) -> NDArray[np.uint8]:
        start = self._shown_start(row)
        reward, components = self._reward(row)
        pieces = (
            [one.text for one in self._passages(row)]
            if self._conversations
            else token_pieces(self._unfinished(row), start.decode)
        )
        return render_image(
            start.prompt.text,
            pieces,
            stop_reason=self._reasons[row],
            reward=reward,
            components=components,
            font=self.render_font,
        )

    def _shown_start(self, row: int) -> EncodedPrompt:
        start = self._starts[row]
        if start is None:
            raise ResetNeeded("reset must be called before render")
        return start

    def _rendered(self, row: int) -> str:
        start = self._shown_start(row)
        text = start.decode(self._unfinished(row))
        return render_text(
            start.prompt.text,
            text,
            self._reasons[row],
            *self._reward(row),
            passages=self._passages(row),
        )

    def _reward(self, row: int) -> tuple[float | None, dict[str, float]]:
        """Returns what a row's finished text was paid, and the terms by name."""
        paid = self._paid[row]
        if paid is None:
            return None, {}
        scores, place = paid
        terms = {name: float(term[place]) for name, term in scores.components.items()}
        return float(scores.total[place]), terms


def _autoreset_mode(mode: AutoresetMode | str) -> AutoresetMode:
    try:
        return AutoresetMode(mode)
    except ValueError:
        names = [one.value for one in AutoresetMode]
        raise ValueError(f"autoreset_mode must be one of {names}, got {mode!r}") from None
