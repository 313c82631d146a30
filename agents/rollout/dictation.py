"""Collecting episodes that a writer wrote: whole texts are dictated to the environments.

A `TextWriter` answers prompts with whole texts; these go through `step` one token at a time, as if
a policy chose them, so that rewards, infos and endings are the environment's own. All rows start
together and wait for the longest: which episodes belong to a batch is decided when they start, and
an engine gets as many prompts at once as there are rows. This module knows no engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from agents.policy.action_masks import MaskTable
from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.buffer import Observations, Rollout, RolloutBuffer
from agents.rollout.collect import reset_rows
from agents.rollout.fit import (
    autoreset_mode,
    end_of_text_ids,
    most_new_tokens,
    require_episodes,
    vocabulary_mask,
)
from agents.rollout.timer import Timer
from agents.rollout.writers.text_writer import Order, TextWriter, Written

_QUOTED = 20
"""Most tokens of a text in a message."""


def require_dictation(envs: VectorEnv[Any, Any, Any]) -> None:
    """Raises ValueError unless texts that were written elsewhere can be dictated to `envs`."""
    mode = autoreset_mode(envs)
    if mode is not AutoresetMode.DISABLED:
        raise ValueError(
            "envs must have autoreset_mode 'Disabled' for a writer, which is given all prompts of "
            f"a round at once, got {mode}"
        )
    if end_of_text_ids(envs) is None:
        raise ValueError(
            "envs must say by end_of_text_ids which tokens end a text, or a writer cannot know; "
            f"{_layers(envs)} do not"
        )


def collect_dictated(
    writer: TextWriter,
    policy: CausalLMPolicy,
    envs: VectorEnv[Any, Any, Any],
    n_episodes: int,
    generator: torch.Generator,
    *,
    seed: int | None = None,
    timer: Timer | None = None,
) -> Rollout:
    """Resets the environments and lets a writer write `n_episodes` texts as the policy would.

    Args:
        writer: Chooses the tokens.
        policy: Whom it writes as.
        envs: n environments, with autoreset mode DISABLED.
        n_episodes: B, at least n, written in rounds of n.
        generator: Of the writer's seeds.
        seed: Passed to the first reset; None goes on with the environments' random streams.
        timer: Learns how long the parts took: `environment`, and `decode`, which is the writer's.

    Raises:
        ValueError: If `n_episodes` is below n, a text ends otherwise in the environment than with
            the writer, or the environments mask, continue or observe texts in ways that a writer
            cannot know; the message names the text.
    """
    require_dictation(envs)
    timer = timer or Timer()
    require_episodes(envs, n_episodes)
    with timer("decode"):
        writer.load(policy)
    with timer("environment"):
        observations, infos = envs.reset(seed=seed)
    dictation = _Dictation(envs, RolloutBuffer(n_episodes, observations["input_ids"].shape), timer)
    rows: Sequence[int] = range(envs.num_envs)
    while rows:
        prompts = dictation.begin(rows, observations, infos)
        with timer("decode"):
            written = writer.write(dictation.order(prompts, generator))
        _require_texts(writer, written, len(prompts))
        dictation.dictate(dict(zip(prompts, written, strict=True)))
        rows = range(min(envs.num_envs, dictation.buffer.n_waiting))
        if rows:
            with timer("environment"):
                observations, infos = reset_rows(envs, rows)
    return dictation.buffer.rollout(dictation.masks)


def _require_texts(writer: TextWriter, written: Sequence[Written], n: int) -> None:
    """Refuses what is not a text, with the log-prob of each token, for each of n prompts."""
    name = type(writer).__name__
    if len(written) != n:
        raise ValueError(f"writer must write a text to each of {n} prompts, {name}: {len(written)}")
    for number, text in enumerate(written):
        if not len(text.token_ids) == len(text.log_probs) > 0:
            raise ValueError(
                f"writer must give each token its log-prob, and at least one, but {name} gave "
                f"{len(text.token_ids)} tokens and {len(text.log_probs)} log-probs in text {number}"
            )


class _Dictation:
    """Dictates texts to the rows of a vector environment, and keeps what becomes of them.

    Attributes:
        buffer: Where episodes are written down.
        masks: Those in force.
    """

    def __init__(self, envs: VectorEnv[Any, Any, Any], buffer: RolloutBuffer, timer: Timer) -> None:
        self.buffer = buffer
        self.masks = MaskTable(envs.num_envs)
        self._envs = envs
        self._timer = timer
        self._allowed = vocabulary_mask(envs)
        self._prompts: dict[int, Tensor] = {}

    def begin(
        self, rows: Sequence[int], observations: Observations, infos: dict[str, Any]
    ) -> dict[int, Tensor]:
        """Starts the next episodes in `rows` and returns their prompts by row."""
        self._prompts = self.buffer.begin(rows, observations, infos)
        self._take_masks(infos)
        return self._prompts

    def order(self, prompts: Mapping[int, Tensor], generator: torch.Generator) -> Order:
        """Returns what the writer is asked."""
        most = most_new_tokens(self._envs)
        draw = torch.randint(2**31, (1,), generator=generator, device=generator.device)
        return Order(
            prompts=[prompt.tolist() for prompt in prompts.values()],
            budgets=[min(most, self.buffer.max_length - len(one)) for one in prompts.values()],
            stop_ids=sorted(end_of_text_ids(self._envs) or ()),
            allowed=self._allowed,
            seed=int(draw),
        )

    def dictate(self, written: Mapping[int, Written]) -> None:
        """Steps texts through the environments until all of them have ended.

        Args:
            written: By row.
        """
        actions = np.zeros(self._envs.num_envs, dtype=np.int64)
        place = 0
        while self.buffer.unfinished:
            rows = np.flatnonzero(self.buffer.writing).tolist()
            for row in rows:
                if place == len(written[row].token_ids):
                    self._refuse_end(row, written[row], "the environment goes on")
                actions[row] = written[row].token_ids[place]
            log_probs = torch.tensor([written[row].log_probs[place] for row in rows])
            with self._timer("environment"):
                observations, rewards, terminations, truncations, infos = self._envs.step(actions)
            self.buffer.append(rows, actions, rewards, log_probs, self.masks)
            if "appended" in infos:
                raise ValueError(
                    "envs must have texts of one turn for a writer, but others added to a text in "
                    f"{_layers(self._envs)}: leave out the responder, or the writer"
                )
            place += 1
            for row in self.buffer.end(terminations, truncations, observations, infos):
                if place < len(written[row].token_ids):
                    self._refuse_end(row, written[row], f"the environment does after {place}")
            self._take_masks(infos)

    def _take_masks(self, infos: dict[str, Any]) -> None:
        """Refuses masks that are not the vocabulary's, of the rows that go on."""
        self.masks.update(infos, self.buffer.writing)
        if not len(self.masks):
            return
        for number in np.unique(self.masks.current[self.buffer.writing]):
            mask = self.masks.table[number].numpy()
            if not (mask == (True if self._allowed is None else self._allowed)).all():
                raise ValueError(
                    "envs must allow the same tokens everywhere for a writer, those of "
                    f"vocabulary_mask, but {_layers(self._envs)} report another action_mask: leave "
                    "out constraints, or the writer"
                )

    def _refuse_end(self, row: int, text: Written, otherwise: str) -> NoReturn:
        tokens = list(text.token_ids[:_QUOTED])
        raise ValueError(
            "envs must end a text where its writer does: the writer ended it after "
            f"{len(text.token_ids)} tokens ({text.stop_reason}), {otherwise}; row {row}, tokens "
            f"{tokens} after {self._prompts[row][-_QUOTED:].tolist()}, in {_layers(self._envs)}"
        )


def _layers(envs: VectorEnv[Any, Any, Any]) -> str:
    """Returns the names of an environment and its wrappers, from the outermost in."""
    names = [type(envs).__name__]
    while envs is not envs.unwrapped:
        envs = envs.env  # type: ignore[attr-defined]
        names.append(type(envs).__name__)
    return " of ".join(names)
