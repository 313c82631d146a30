"""The decision process itself: what `TextGenEnv` and `TextGenVectorEnv` have in common.

A `TextTask` holds the prompts, the vocabulary, the limits and the feedback of one task, and turns a
finished row of token ids into an `Episode`. It has no row of its own and does not step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from text_gym import small_talk
from text_gym.chat import ChatTemplate, as_conversation
from text_gym.episode import Episode, Passage, StopReason, TokenIds
from text_gym.number_rules import require_count
from text_gym.prompt_sources import PromptsLike, Sampling, as_prompt_source
from text_gym.prompt_template import FIELD, require_field
from text_gym.prompts import Prompt, as_prompt
from text_gym.quoting import quoted
from text_gym.rewards import RewardFunction, WordCount, as_reward_function
from text_gym.rewards.each_turn import pays_each_turn
from text_gym.text_parts import completion_decoder, encode_prompt, encode_response
from text_gym.tokenizers import TokenizerLike, WordTokenizer, action_mask, as_tokenizer
from text_gym.turns import RESPONSE, Responder, turn_rules

Limit = Literal["terminate", "truncate"]
Observation = dict[str, Any]  # of arrays; Gymnasium types the values of a Dict space so

# In this order, as EOS or a stop token as the last that fits is still what ends the text.
GOES_ON, LENGTH, EOS, STOP = 0, 1, 2, 3
STOP_REASONS: dict[int, StopReason] = {EOS: "eos", STOP: "stop", LENGTH: "length"}
CODES = {reason: code for code, reason in STOP_REASONS.items()}


class EncodedPrompt(NamedTuple):
    """A prompt, and what its text under the template is to the policy."""

    prompt: Prompt
    token_ids: TokenIds
    """Of the text, shape (P,)."""
    decode: Callable[[TokenIds], str]
    """Turns the ids of a completion, or of its beginning, into text."""


def contains_id(space: spaces.Space[Any], index: Any) -> bool:
    """Tells whether `index` is one of the integers of a space; True and False are not numbers."""
    return not isinstance(index, bool) and bool(space.contains(index))


def require_known(options: Mapping[str, Any] | None, known: Sequence[str]) -> Mapping[str, Any]:
    """Returns the options of `reset`; raises ValueError for one that is not in `known`."""
    unknown = [key for key in options or () if key not in known]
    if unknown:
        raise ValueError(f"options must be among {list(known)}, got {unknown}")
    return options or {}


def _key(prompt: Prompt) -> str:
    """Returns what tells prompts apart that are spelled differently."""
    return prompt.text if prompt.messages is None else repr(prompt.messages)


@contextmanager
def _naming(place: int) -> Iterator[None]:
    """Says of a ValueError which of the listed prompts it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"prompts[{place}]: {error}") from error


class TextTask:
    """Defines one text-generation task; the arguments are those of `TextGenEnv`."""

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
    ) -> None:
        require_count(max_new_tokens, "max_new_tokens")
        if limit not in ("terminate", "truncate"):
            raise ValueError(f"limit must be 'terminate' or 'truncate', got {limit!r}")
        if not isinstance(chat, bool):
            raise TypeError(f"chat must be True or False, got {quoted(chat)}")
        require_field(prompt_template, "prompt_template")
        self.turns = turn_rules(
            responder,
            template=response_template,
            max_new_tokens=max_new_tokens,
            max_response_tokens=max_response_tokens,
            max_turn_tokens=max_turn_tokens,
            max_turns=max_turns,
        )
        self.tokenizer = (
            WordTokenizer((*small_talk.WORDS, "?"))
            if tokenizer is None
            else as_tokenizer(tokenizer)
        )
        self.reward_function = as_reward_function(
            WordCount() if reward_function is None else reward_function, "reward_function"
        )
        self.pays_each_turn = self.turns is not None and pays_each_turn(self.reward_function)
        self.max_new_tokens = max_new_tokens
        self.max_turn_tokens = max_new_tokens if self.turns is None else self.turns.max_turn_tokens
        self.prompt_template = prompt_template
        self.limit = limit
        self.source = as_prompt_source(
            small_talk.PROMPTS[:1] if prompts is None else prompts, sampling
        )
        self.chat = ChatTemplate(self.tokenizer) if chat else None
        templates = {
            "prompt_template": (prompt_template, FIELD),
            "response_template": (response_template, RESPONSE),
        }
        for name, (template, default) in templates.items():
            if chat and template != default:
                raise ValueError(f"{name} must be left out where chat=True, got {quoted(template)}")
        if not isinstance(stop_token_ids, Iterable):
            raise TypeError(f"stop_token_ids must list token ids, got {quoted(stop_token_ids)}")
        stop_token_ids = tuple(stop_token_ids)
        if self.chat is not None and self.chat.end_of_turn_id != self.tokenizer.eos_token_id:
            stop_token_ids = (*stop_token_ids, self.chat.end_of_turn_id)
        self.stop_codes = self._stop_codes(stop_token_ids)
        self.end_of_text_ids = frozenset(np.flatnonzero(self.stop_codes).tolist())
        self.action_mask = action_mask(self.tokenizer, stop_token_ids)
        self._encoded: dict[str, EncodedPrompt] = {}
        self._ahead: dict[int, EncodedPrompt] = {}  # the same by identity, which is found sooner
        self.max_prompt_tokens = self._room_for_prompts(max_prompt_tokens)
        self.max_length = self.max_prompt_tokens + max_new_tokens + (max_response_tokens or 0)
        last_id = self.tokenizer.vocab_size - 1
        self.observation_space = spaces.Dict(
            {
                "input_ids": spaces.Box(0, last_id, (self.max_length,), np.int64),
                "attention_mask": spaces.Box(0, 1, (self.max_length,), np.int8),
            }
        )
        self.action_space = spaces.Discrete(self.tokenizer.vocab_size)

    def _stop_codes(self, stop_token_ids: Sequence[int]) -> NDArray[np.int8]:
        """Returns the table (V,) from token id to `GOES_ON`, `EOS` or `STOP`."""
        vocab_size = self.tokenizer.vocab_size
        require_count(vocab_size, "tokenizer.vocab_size")
        action_space = spaces.Discrete(vocab_size)
        wrong = [token for token in stop_token_ids if not contains_id(action_space, token)]
        if wrong:
            raise ValueError(f"stop_token_ids must be integers in [0, {vocab_size}), got {wrong}")
        excluded = self.tokenizer.excluded_token_ids
        if not isinstance(excluded, Set):
            raise TypeError(f"tokenizer.excluded_token_ids must be a set, got {quoted(excluded)}")
        outside = sorted(excluded - set(range(vocab_size)))
        if outside:
            raise ValueError(
                f"tokenizer.excluded_token_ids must be in [0, {vocab_size}), got {outside}"
            )
        eos = self.tokenizer.eos_token_id
        if not contains_id(action_space, eos) or eos in excluded:
            raise ValueError(
                f"tokenizer.eos_token_id must be an integer in [0, {vocab_size}) that is not "
                f"excluded, got {eos!r}"
            )
        codes = np.full(vocab_size, GOES_ON, dtype=np.int8)
        codes[list(stop_token_ids)] = STOP
        codes[eos] = EOS
        return codes

    def _room_for_prompts(self, max_prompt_tokens: int | None) -> int:
        """Encodes the listed prompts once, so that one that does not fit is found at once."""
        if max_prompt_tokens is not None:
            require_count(max_prompt_tokens, "max_prompt_tokens")
        prompts = self.source.prompts
        if prompts is None:
            if max_prompt_tokens is None:
                raise ValueError(
                    "max_prompt_tokens must be given where prompts cannot be listed, got None"
                )
            return max_prompt_tokens
        token_ids = [self._tokenized_at(place, prompt) for place, prompt in enumerate(prompts)]
        room = max(map(len, token_ids)) if max_prompt_tokens is None else max_prompt_tokens
        for place, (prompt, ids) in enumerate(zip(prompts, token_ids, strict=True)):
            with _naming(place):
                encoded = self._fitting(prompt, ids, room)
            self._encoded[_key(prompt)] = self._ahead[id(prompt)] = encoded
        return room

    def _tokenized_at(self, place: int, prompt: Prompt) -> TokenIds:
        with _naming(place):
            return self._tokenized(prompt)

    def _tokenized(self, prompt: Prompt) -> TokenIds:
        if self.chat is not None:
            ids = self.chat.encode(prompt.messages or as_conversation(prompt.text))
        elif prompt.messages is not None:
            raise ValueError(f"prompts of messages need chat=True, got {quoted(prompt.text)}")
        else:
            ids = encode_prompt(self.tokenizer, self.prompt_template, prompt.text)
        token_ids = self._in_vocabulary(ids, prompt.text)
        if not token_ids.size:
            raise ValueError(f"a prompt must have at least 1 token, got 0 in {quoted(prompt.text)}")
        return token_ids

    def _in_vocabulary(self, ids: Sequence[int], text: str) -> TokenIds:
        given = np.array(ids)
        size = self.tokenizer.vocab_size
        are_integers = given.ndim == 1 and given.dtype.kind in "iu"
        if given.size and not (are_integers and 0 <= given.min() <= given.max() < size):
            raise ValueError(
                f"tokenizer.encode must return a list of ids, integers in [0, {size}), got "
                f"{quoted(ids)} of {quoted(text)}"
            )
        token_ids = given.astype(np.int64, copy=False)
        token_ids.setflags(write=False)  # episodes share them
        return token_ids

    def encode_response(self, text: str, last: int) -> TokenIds:
        """Returns what the policy sees of an answer of the responder, (R,).

        Args:
            text: The answer.
            last: The policy's last token. A chat template ends the turn where that did not.

        Raises:
            ValueError: If the tokenizer cannot spell it.
        """
        assert self.turns is not None
        if self.chat is not None:
            ended = last == self.chat.end_of_turn_id
            ids = self.chat.encode_answer(text, turn_has_ended=ended)
        else:
            ids = encode_response(self.tokenizer, self.turns.template, text)
        return self._in_vocabulary(ids, text)

    def _fitting(self, prompt: Prompt, token_ids: TokenIds, room: int) -> EncodedPrompt:
        if len(token_ids) > room:
            raise ValueError(
                f"a prompt must have 1 to max_prompt_tokens={room} tokens, got {len(token_ids)} "
                f"in {quoted(prompt.text)}"
            )
        return EncodedPrompt(prompt, token_ids, completion_decoder(self.tokenizer, token_ids))

    def encode(self, prompt: Prompt) -> EncodedPrompt:
        """Returns the prompt with its token ids; raises ValueError if it does not fit."""
        found = self._encoded.get(_key(prompt))
        if found is None:
            return self._fitting(prompt, self._tokenized(prompt), self.max_prompt_tokens)
        return EncodedPrompt(prompt, found.token_ids, found.decode)

    def draw_from(self, prompts: PromptsLike) -> None:
        """Draws prompts from another source from now on; the room for a prompt stays.

        Raises:
            ValueError: If a listed prompt does not fit into it.
        """
        source = as_prompt_source(prompts)
        for place, prompt in enumerate(source.prompts or ()):
            with _naming(place):
                self.encode(prompt)
        self.source = source

    def draw(self, np_random: np.random.Generator) -> EncodedPrompt:
        """Returns the prompt of a new episode.

        Raises:
            RuntimeError: If the source has ended. A StopIteration let out would end whatever loop
                the caller is in, silently.
            TypeError: If it yields something that is no prompt.
        """
        try:
            drawn = self.source.draw(np_random)
        except StopIteration as error:
            raise RuntimeError(
                f"prompts must not end while episodes start, got StopIteration from {self.source!r}"
            ) from error
        ahead = self._ahead.get(id(drawn))
        if ahead is not None and ahead.prompt is drawn:
            return ahead
        return self.encode(as_prompt(drawn))

    def given(self, prompt: Any, prompt_id: Any) -> EncodedPrompt:
        """Returns the prompt that a caller of `reset` named, by itself or by its place in the list.

        Raises:
            ValueError: If there is no such place, or both are given.
        """
        if prompt_id is None:
            return self.encode(as_prompt(prompt))
        if prompt is not None:
            raise ValueError("options must name 'prompt' or 'prompt_id', got both")
        prompts = self.source.prompts
        count = 0 if prompts is None else len(prompts)
        if prompts is None or not contains_id(spaces.Discrete(max(count, 1)), prompt_id):
            raise ValueError(
                f"options['prompt_id'] must be an integer below the {count} listed prompts, "
                f"got {prompt_id!r}"
            )
        return self.encode(prompts[int(prompt_id)])

    def pays_at(self, code: int) -> bool:
        """Tells whether a text that ends so is finished, and therefore paid for."""
        return code != LENGTH or self.limit == "terminate"

    def episode(
        self,
        start: EncodedPrompt,
        completion_ids: TokenIds,
        code: int,
        passages: tuple[Passage, ...] = (),
    ) -> Episode:
        """Returns the finished text; `completion_ids` (T,) is kept, not copied."""
        return Episode.of_fields(
            {
                "prompt": start.prompt.text,
                "prompt_ids": start.token_ids,
                "completion_ids": completion_ids,
                "stop_reason": STOP_REASONS[code],
                "reference": start.prompt.reference,
                "metadata": start.prompt.metadata,
                "decode": start.decode,
                "passages": passages,
            }
        )
