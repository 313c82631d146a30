"""A language model as partner in a conversation: it goes on with what was said, and never learns.

It reads the conversation as the policy does, and draws what the other would say. It does not know
environments or rewards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from agents.applications.conversation.turn_form import encode_turn
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.decoding.decoder import Decoder
from text_gym import HuggingFaceTokenizer
from text_gym.turns import Turn
from text_gym.words import split_words


class LanguageModelPartner:
    """Answers turns, a batch at a time, in what a language model would say next.

    A turn without a word has no answer, and where the model has nothing to say the conversation
    ends. What is drawn for a turn depends on its seed, not on the others of its batch, but for the
    last bits of the probabilities.

    Args:
        model: Writes; it must know turns as `turn_form` has them.
        tokenizer: Of the model.
        max_tokens: Most tokens of an answer.

    Raises:
        ValueError: If `max_tokens` is below 1, or leaves the model no room to read.
    """

    def __init__(
        self, model: CausalLMPolicy, tokenizer: HuggingFaceTokenizer, max_tokens: int
    ) -> None:
        longest = model.max_length or max_tokens + tokenizer.vocab_size
        if not 1 <= max_tokens < longest:
            raise ValueError(f"max_tokens must be from 1 to {longest - 1}, got {max_tokens}")
        self._model = model
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._max_context = longest - max_tokens
        self._ends = {tokenizer.eos_token_id, *tokenizer.encode("\n")}

    def __call__(self, turns: Sequence[Turn]) -> list[str | None]:
        """Returns an answer to each turn; None ends the conversation."""
        answers: list[str | None] = [None] * len(turns)
        heard = [place for place, turn in enumerate(turns) if split_words(turn.text)]
        if heard:
            written = self._written([turns[place] for place in heard])
            for place, ids in zip(heard, written, strict=True):
                answers[place] = self._fitting(ids, turns[place].room)
        return answers

    def _context(self, turn: Turn) -> Tensor:
        """Returns the end of the conversation as the model reads it, (P,)."""
        said = [turn.prompt, *(passage.text for passage in turn.passages)]
        ids = [
            token
            for place, text in enumerate(said)
            for token in encode_turn(text, place, self._tokenizer)
        ]
        return torch.tensor(ids[-self._max_context :])

    def _written(self, turns: Sequence[Turn]) -> list[list[int]]:
        """Draws what is said next, without the token that ends it."""
        contexts = dict(enumerate(map(self._context, turns)))
        longest = max(map(len, contexts.values())) + self._max_tokens
        decoder = Decoder(self._model, contexts, longest)
        draws = _uniform([turn.seed for turn in turns], self._max_tokens).to(self._model.device)
        said: list[list[int]] = [[] for _ in turns]
        writing = set(contexts)
        for place in range(self._max_tokens):
            tokens = _drawn(decoder.logits(), draws[decoder.rows, place])
            chosen = dict(zip(decoder.rows, tokens.tolist(), strict=True))
            ended = [row for row in writing if chosen[row] in self._ends]
            writing.difference_update(ended)
            for row in writing:
                said[row].append(chosen[row])
            if not writing:
                break
            decoder.advance(tokens, ended, {})
        return said

    def _fitting(self, ids: Sequence[int], room: int) -> str | None:
        """Returns what tokens say, without the words at the end that there is no room for."""
        words = self._tokenizer.decode(ids).split()
        while words and len(encode_turn(" ".join(words), 0, self._tokenizer)) > room:
            words.pop()
        return " ".join(words) or None


def _uniform(seeds: Sequence[int], n: int) -> Tensor:
    """Returns n numbers in [0, 1) for each seed, (len(seeds), n) float64."""
    return torch.from_numpy(np.stack([np.random.default_rng(seed).random(n) for seed in seeds]))


def _drawn(logits: Tensor, uniform: Tensor) -> Tensor:
    """Returns tokens (n,) with the probabilities of logits (n, V), by inverting the distribution.

    Example:
        >>> logits = torch.tensor([[0.5, 0.3, 0.2]]).log()
        >>> _drawn(logits.expand(3, 3), torch.tensor([0.4, 0.7, 1.0]))
        tensor([0, 1, 2])
    """
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)
    tokens = torch.searchsorted(cumulative, uniform.double()[:, None], right=True).squeeze(1)
    return tokens.clamp_max(logits.shape[-1] - 1)
