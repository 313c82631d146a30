"""One text, one token at a time: `TextGenEnv`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from text_gym.conversation import Conversation, go_on
from text_gym.episode import Episode, StopReason, TokenIds
from text_gym.prompt_sources import PromptsLike, Sampling
from text_gym.prompt_streams import drawn_seed
from text_gym.prompt_template import FIELD
from text_gym.rendering import require_font
from text_gym.rendering.text import write_text
from text_gym.rewards import RewardFunction
from text_gym.rewards.function import score
from text_gym.row_state import RowState, recalled_prompt
from text_gym.task import (
    GOES_ON,
    LENGTH,
    STOP_REASONS,
    EncodedPrompt,
    Limit,
    Observation,
    TextTask,
    contains_id,
    require_known,
)
from text_gym.text_snapshot import TextSnapshot
from text_gym.tokenizers import TokenizerLike
from text_gym.turns import RESPONSE, Responder


class TextGenEnv(gym.Env[Observation, Any]):
    """Writes a text, one token per step, and is paid for the finished text.

    ## Description

    The state is the text so far, an action appends one token, and feedback on the finished text is
    the reward. With no arguments, the task is small talk in miniature: answer "How are you?" with
    as many words as fit.

    ## Action Space

    `Discrete(V)`: a token id. EOS is an ordinary action; there is no padding action. Every id is
    accepted. Where some ids stand for no text, `info["action_mask"]` (int8, (V,)) excludes them,
    and `action_masks()` gives the same as bool.

    ## Observation Space

    `Dict(input_ids: Box int64 (L,), attention_mask: Box int8 (L,))` with
    `L = max_prompt_tokens + max_new_tokens`: the arguments of a Hugging Face forward call. The text
    stands at the left; positions past its end hold id 0 and mask 0. The logits of the next token
    stand at `attention_mask.sum() - 1`.

    ## Starting State

    A prompt drawn from `prompts`, or the one given as `reset(options={"prompt": ...})` or
    `reset(options={"prompt_id": ...})`.

    ## Rewards

    0 on every step but the last; there, `reward_function` of the finished text. Wrap the
    environment in `text_gym.wrappers.Feedback` to replace it or add to it.

    ## Episode End

    EOS or a stop token terminates. So does the token limit: the text is paid for as it stands, and
    nothing is left to bootstrap from. With `limit="truncate"` the limit truncates instead, and pays
    nothing.

    ## Turns

    With a `responder`, EOS, a stop token or `max_turn_tokens` end a turn of the policy, and the
    responder is asked what comes next (a user's line, a tool's result, a game's move). What it
    returns is appended in the same step, so that the text grows by one token and by these; None
    ends the text, and so do `max_turns` and `max_new_tokens`, without asking. Feedback is given on
    the whole: `Episode.turns` tells who wrote what, `Episode.completion` holds the policy's part.

    ## Information

    - `prompt_length` (reset): number of prompt tokens P.
    - `prompt_id` (reset, for listed prompts): the prompt's place in the list; `group_id` (reset,
      for `GroupedPrompts`): the number of the group that shares it.
    - `turn` and `appended` (where somebody else has added to the text, and on no other step): the
      number of the policy's turn that begins, from 2, and how many tokens were added.
    - `stop_reason` (last step): `"eos"`, `"stop"` or `"length"`.
    - `text_episode` (last step of a text that is paid for): the `Episode`.
    - `reward_components` (with it): the terms of the reward by name.
    - `action_mask` (always, where the vocabulary needs one).

    ## Arguments

    Args:
        prompts: Where episodes start; see `text_gym.prompt_sources.as_prompt_source`.
        tokenizer: A `Tokenizer`, a `transformers` tokenizer, or a folder, hub id or GGUF file to
            load one from. Defaults to the toy vocabulary of small talk.
        reward_function: A `RewardFunction` or a plain `fn(prompt, completion) -> float`. Defaults
            to the number of words.
        max_new_tokens: Most tokens that the policy may write, EOS included.
        max_prompt_tokens: Room for the prompt; defaults to the longest listed prompt.
        prompt_template: What the policy sees of a prompt; `{prompt}` stands for its text. The name
            of a control token is that token here, and text in a prompt.
        chat: Whether prompts and answers go through the tokenizer's own chat template. A prompt may
            then be messages, `[{"role": ..., "content": ...}]`; a text is what a user says. The
            token that ends a turn in the template is a stop token.
        stop_token_ids: Tokens that end the text, besides EOS; they stay part of it. Give those of
            the model's generation config, where that has several.
        limit: `"terminate"` or `"truncate"`: what reaching `max_new_tokens` means.
        sampling: `"with_replacement"` (the default) or `"without_replacement"`, for listed prompts.
        responder: A `Responder`, who continues the text when the policy ends a turn; None: the text
            is of one turn.
        response_template: What the policy sees of an answer; `{response}` stands for its text, and
            the name of a control token is that token here alone.
        max_response_tokens: Room for all answers to one text; must be given with a responder.
        max_turn_tokens: Most tokens of one turn of the policy; defaults to `max_new_tokens`.
        max_turns: Most turns of the policy; None: as many as fit.
        render_mode: `"ansi"`, `"human"`, `"rgb_array"` (needs the extra `render`) or None.
        render_font: A font file for pictures, where their scripts need another than the default;
            see `text_gym.rendering.render_image`.

    Raises:
        TypeError, ValueError: If an argument breaks its rule; the message names both.
        OSError: If `render_font` is no font.

    Example:
        >>> import gymnasium as gym, text_gym
        >>> env = gym.make("TextGen-v0")
        >>> observation, info = env.reset(seed=0)
        >>> for word in env.unwrapped.tokenizer.encode("fine thanks"):
        ...     observation, reward, terminated, truncated, info = env.step(word)
        >>> eos = env.unwrapped.tokenizer.eos_token_id
        >>> observation, reward, terminated, truncated, info = env.step(eos)
        >>> info["text_episode"].completion, reward, info["stop_reason"]
        ('fine thanks', 2.0, 'eos')

    ## Version History

    - v0: initial version.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # as Gymnasium declares it
        "render_modes": ["ansi", "human", "rgb_array"],
        "render_fps": 4,
    }

    def __init__(
        self,
        prompts: PromptsLike | None = None,
        tokenizer: TokenizerLike | None = None,
        reward_function: RewardFunction | Callable[[str, str], float] | None = None,
        *,
        max_new_tokens: int = 20,
        max_prompt_tokens: int | None = None,
        prompt_template: str = FIELD,
        chat: bool = False,
        stop_token_ids: Iterable[int] = (),
        limit: Limit = "terminate",
        sampling: Sampling | None = None,
        responder: Responder | None = None,
        response_template: str = RESPONSE,
        max_response_tokens: int | None = None,
        max_turn_tokens: int | None = None,
        max_turns: int | None = None,
        render_mode: str | None = None,
        render_font: str | Path | None = None,
    ) -> None:
        check_render_mode(render_mode, self.metadata)
        require_font(render_font)
        self.task = TextTask(
            prompts,
            tokenizer,
            reward_function,
            max_new_tokens=max_new_tokens,
            max_prompt_tokens=max_prompt_tokens,
            prompt_template=prompt_template,
            chat=chat,
            stop_token_ids=stop_token_ids,
            limit=limit,
            sampling=sampling,
            responder=responder,
            response_template=response_template,
            max_response_tokens=max_response_tokens,
            max_turn_tokens=max_turn_tokens,
            max_turns=max_turns,
        )
        self.tokenizer = self.task.tokenizer
        self.observation_space = self.task.observation_space
        self.action_space = self.task.action_space
        self.end_of_text_ids = self.task.end_of_text_ids
        """EOS and the stop tokens."""
        self.max_new_tokens = self.task.max_new_tokens
        """Most tokens of the policy in a text."""
        self.render_mode = render_mode
        self.render_font = render_font
        self.reward_skipped = False
        """True where an outer wrapper replaces the feedback, so that it is not computed here."""
        self.outermost_reward_wrapper: object | None = None
        """The outermost wrapper that pays: under `"human"` the text is shown when it has paid."""
        self._input_ids = np.zeros(self.task.max_length, dtype=np.int64)
        self._attention_mask = np.zeros(self.task.max_length, dtype=np.int8)
        self._length = 0
        self._turn_start = 0  # where the policy's turn begins in the text, and must end
        self._turn_limit = 0
        self._start: EncodedPrompt | None = None
        self._conversation: Conversation | None = None
        self._stop_reason: StopReason | None = None
        self._reward: float | None = None
        self._components: Mapping[str, float] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts a new text.

        Args:
            seed: Seeds the prompts; None goes on with the present random stream.
            options: `{"prompt": ...}` names the prompt instead of drawing it, `{"prompt_id": ...}`
                its place in the list.

        Raises:
            ValueError: If there is no such place, the prompt does not fit, or `options` has another
                key.
        """
        given = require_known(options, ("prompt", "prompt_id"))
        super().reset(seed=seed)
        if seed is not None:
            self.task.source.restart()
        prompt, prompt_id = given.get("prompt"), given.get("prompt_id")
        if prompt is None and prompt_id is None:
            self._start = self.task.draw(self.np_random)
        else:
            self._start = self.task.given(prompt, prompt_id)
        self._write(self._start.token_ids)
        self._begin_text(self._start)
        self._stop_reason, self._reward, self._components = None, None, {}
        info = {"prompt_length": self._length, **self._start.prompt.info, **self._mask_info()}
        return self._observation(), info

    def _begin_text(self, start: EncodedPrompt) -> None:
        """Begins the first turn after a prompt."""
        self._turn_start = len(start.token_ids)
        self._turn_limit = self._turn_start + self.task.max_turn_tokens
        self._conversation = None if self.task.turns is None else Conversation(self.task, start)

    def _unfinished(self) -> TokenIds:
        """Returns what the policy has written in its turn, as a view."""
        return self._input_ids[self._turn_start : self._length]

    def _write(self, token_ids: TokenIds) -> None:
        """Makes `token_ids` the whole text."""
        self._length = len(token_ids)
        self._input_ids[:] = 0
        self._input_ids[: self._length] = token_ids
        self._attention_mask[:] = 0
        self._attention_mask[: self._length] = 1

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Appends one token.

        Args:
            action: A token id in [0, V).

        Raises:
            ResetNeeded: If no text is being written.
            ValueError: If `action` is not in the action space.
            RewardError: If the reward function raises.
            ResponderError: If the responder fails.
        """
        start = self._running()
        if not contains_id(self.action_space, action):
            raise ValueError(f"action must be in {self.action_space}, got {action!r}")
        self._input_ids[self._length] = action
        self._attention_mask[self._length] = 1
        self._length += 1
        code = int(self.task.stop_codes[action])
        if code == GOES_ON and self._length < self._turn_limit:
            return self._observation(), 0.0, False, False, self._mask_info()
        code = code or LENGTH
        response = self._response(code)
        return self._finish(start, code) if response is None else self._go_on(response, code)

    def _response(self, code: int) -> TokenIds | None:
        """Returns what somebody else adds to the text at the end of a turn, if it goes on."""
        conversation = self._conversation
        if conversation is None:
            return None
        conversation.end_turn(self._unfinished().copy())
        self._turn_start = self._length
        if conversation.is_over:
            return None
        return go_on([conversation], [code], [drawn_seed(self.np_random)])[0]

    def _go_on(
        self, response: TokenIds, code: int
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Appends a response, and begins the policy's next turn."""
        assert self._conversation is not None
        end = self._length + len(response)
        self._input_ids[self._length : end] = response
        self._attention_mask[self._length : end] = 1
        self._length = self._turn_start = end
        self._turn_limit = end + self._conversation.room
        info: dict[str, Any] = {
            "turn": self._conversation.n_turns + 1,
            "appended": len(response),
            **self._mask_info(),
        }
        reward = 0.0
        if self.task.pays_each_turn and not self.reward_skipped:
            reward = self._score(self._conversation.turn_episode(code), info)
        return self._observation(), reward, False, False, info

    def _score(self, episode: Episode, info: dict[str, Any]) -> float:
        """Returns the reward of a text or turn, and reports its terms."""
        scores = score(self.task.reward_function, [episode])
        components = {name: float(term[0]) for name, term in scores.components.items()}
        info["reward_components"] = components
        self._reward, self._components = float(scores.total[0]), dict(components)
        return self._reward

    def _finish(
        self, start: EncodedPrompt, code: int
    ) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        self._stop_reason = STOP_REASONS[code]
        info: dict[str, Any] = {"stop_reason": self._stop_reason, **self._mask_info()}
        paid = (self._conversation or self.task).pays_at(code)
        reward = 0.0
        if paid:
            episode = info["text_episode"] = self._episode(start, code)
            if not self.reward_skipped:
                reward = self._score(self._paid_for(episode, code), info)
            if self.outermost_reward_wrapper is None:
                self.task.source.observe(start.prompt.text, reward)
        if not paid or self.outermost_reward_wrapper is None:
            self._show()
        return self._observation(), reward, paid, not paid, info

    def _episode(self, start: EncodedPrompt, code: int) -> Episode:
        if self._conversation is None:
            return self.task.episode(start, self._unfinished().copy(), code)
        return self._conversation.episode(code)

    def _paid_for(self, episode: Episode, code: int) -> Episode:
        """Returns what feedback is given on at the end: the text, or its last turn."""
        if not self.task.pays_each_turn:
            return episode
        assert self._conversation is not None
        return self._conversation.turn_episode(code)

    def get_state(self) -> dict[str, Any]:
        """Returns all that the environment's future depends on, in values that JSON can hold.

        Raises:
            ResetNeeded: Before the first reset.
        """
        text = self._text("get_state")
        row = text.recorded(self.task.source.prompts, self.np_random.bit_generator.state)
        return {"row": row, "source": self.task.source.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> tuple[Observation, dict[str, Any]]:
        """Goes back to a state of this task and returns what `reset` would return of it.

        Args:
            state: What `get_state` of this environment, of another one of the same task, or
                `get_row_state` of a vector returned; only the first holds the source's state.

        Raises:
            ValueError: If it names a prompt that this task does not have.
        """
        row: RowState = state["row"]
        prompt = recalled_prompt(row["prompt"], self.task.source.prompts)
        self._start = self.task.encode(prompt)
        self._begin_text(self._start)
        before = self._start.token_ids
        if self._conversation is not None:
            self._conversation.recall(row["passages"])
            before = self._conversation.token_ids
            self._turn_start = len(before)
            self._turn_limit = self._turn_start + self._conversation.room
        self._write(np.concatenate([before, np.array(row["completion_ids"], dtype=np.int64)]))
        self._stop_reason = row["stop_reason"]
        self._reward, self._components = row["reward"], dict(row["components"])
        if row["random_state"] is not None:
            self.np_random.bit_generator.state = row["random_state"]
        if "source" in state:
            self.task.source.set_state(state["source"])
        prompt_length = len(self._start.token_ids)
        info = {"prompt_length": prompt_length, **prompt.info, **self._mask_info()}
        return self._observation(), info

    def show_reward(self, wrapper: object, reward: float, components: Mapping[str, float]) -> None:
        """Records the reward that `wrapper` paid, for rendering."""
        self._reward, self._components = reward, dict(components)
        if wrapper is self.outermost_reward_wrapper:
            assert self._start is not None
            self.task.source.observe(self._start.prompt.text, reward)
            self._show()

    def _show(self) -> None:
        if self.render_mode == "human":
            write_text(f"{self._text('render').text()}\n\n", sys.stdout)

    @property
    def vocabulary_mask(self) -> NDArray[np.bool_] | None:
        """Which token ids stand for text or end it, bool (V,); None if all do."""
        mask = self.task.action_mask
        return None if mask is None else mask.astype(np.bool_)

    def action_masks(self) -> NDArray[np.bool_]:
        """Returns which token ids stand for text or EOS, bool (V,)."""
        mask = self.vocabulary_mask
        return np.ones(self.tokenizer.vocab_size, dtype=np.bool_) if mask is None else mask

    def render(self) -> Any:
        """Returns the text so far: a str under `"ansi"`, an image under `"rgb_array"`.

        `"human"` prints the text as it ends, and returns None here. An image is uint8 (H, W, 3).
        """
        if self.render_mode not in ("ansi", "rgb_array"):
            return None
        return self._text("render").rendered(self.render_mode, self.render_font)

    def _text(self, method: str) -> TextSnapshot:
        """Returns the text, for a method that needs one."""
        if self._start is None:
            raise ResetNeeded(f"reset must be called before {method}")
        return TextSnapshot(
            self._start,
            self._unfinished(),
            self._conversation,
            self._stop_reason,
            self._reward,
            self._components,
        )

    def _running(self) -> EncodedPrompt:
        if self._start is None:
            raise ResetNeeded("reset must be called before step")
        if self._stop_reason is not None:
            raise ResetNeeded(
                f"step must not be called after the end of the text ({self._stop_reason}); "
                "call reset first"
            )
        return self._start

    def _observation(self) -> Observation:
        return {
            "input_ids": self._input_ids.copy(),
            "attention_mask": self._attention_mask.copy(),
        }

    def _mask_info(self) -> dict[str, Any]:
        mask = self.task.action_mask
        return {} if mask is None else {"action_mask": mask.copy()}


def check_render_mode(render_mode: str | None, metadata: Mapping[str, Any]) -> None:
    """Raises ValueError for a render mode that `metadata` does not list."""
    if render_mode is not None and render_mode not in metadata["render_modes"]:
        raise ValueError(
            f"render_mode must be None or one of {metadata['render_modes']}, got {render_mode!r}"
        )
