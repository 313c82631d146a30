"""Next-token logits for many texts that grow one token at a time.

A `Decoder` knows its rows by the numbers it was given: which of them go on, which have ended, when
dropping those is worth it, and which began with the same prompt, which is read once. A backend
computes (`model_backend`, `gpt2_backend`). It knows neither environments nor episodes, and it does
not choose tokens.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.decoding.gpt2_backend import GPT2Backend
from agents.rollout.decoding.model_backend import ModelBackend
from agents.rollout.timer import Timer

_SHRINK_BELOW = 0.75
"""Share of rows that must be in use: below it, dropping the others is worth copying the cache."""


class Decoder:
    """Reads texts side by side; each grows, ends and gives way to another independently.

    Args:
        policy: Gives hidden states and logits.
        prompts: The first text of each row, by row number; token ids of any lengths.
        max_length: Longest text, prompt included, in tokens.
        timer: Learns how long reading took, under `prefill` and `decode`.

    Attributes:
        rows: The number of the row that each line of `logits` belongs to. Rows whose text ended may
            stay for a while; what is said of them means nothing.
    """

    def __init__(
        self,
        policy: CausalLMPolicy,
        prompts: Mapping[int, Tensor],
        max_length: int,
        timer: Timer | None = None,
    ) -> None:
        self._policy = policy
        self.rows = list(prompts)
        self._ended: set[int] = set()
        self._prompts: dict[int, tuple[int, ...]] = {}  # of the rows in use
        self._backend = backend_for(policy, len(prompts), max_length, timer or Timer())
        self._prompt_states = torch.zeros_like(self._backend.hidden)  # last hidden ones, by line
        self._begin(None, prompts)

    @torch.no_grad()
    def logits(self, action_mask: Tensor | None = None) -> Tensor:
        """Returns the logits of the next token of each of `rows`, (len(rows), V).

        Args:
            action_mask: (len(rows), V) bool, True = allowed.
        """
        return self._policy.logits(self._backend.hidden, action_mask)

    def advance(
        self,
        tokens: Tensor,
        ended: Collection[int],
        prompts: Mapping[int, Tensor],
        continued: Mapping[int, tuple[Tensor, int]] | None = None,
    ) -> None:
        """Goes on to the next token.

        Args:
            tokens: What was just chosen for each of `rows`, (len(rows),).
            ended: Numbers of rows whose text this token ended.
            prompts: The new text of those that start another.
            continued: The whole text of those that others added to, and how many tokens.
        """
        self._read(tokens, ended, prompts)
        if continued:
            self._extend(continued)

    def _extend(self, continued: Mapping[int, tuple[Tensor, int]]) -> None:
        """Reads what others added, in one pass for all texts that got equally many tokens."""
        device = self._backend.hidden.device
        for count in sorted({count for _, count in continued.values()}):
            rows = [row for row, (_, added) in continued.items() if added == count]
            lines = torch.tensor([self.rows.index(row) for row in rows], device=device)
            tokens = torch.stack([continued[row][0][-count:] for row in rows])
            self._backend.extend(lines, tokens.to(device))

    def _read(self, tokens: Tensor, ended: Collection[int], prompts: Mapping[int, Tensor]) -> None:
        if not ended and not self._ended:
            self._backend.read(tokens, {})
            return
        if ended:
            self._ended |= set(ended)
            self._backend.clear([i for i, row in enumerate(self.rows) if row in self._ended])
            for row in ended:
                self._prompts.pop(row)
        in_use = [i for i, row in enumerate(self.rows) if row not in self._ended or row in prompts]
        if not in_use:
            return
        if len(in_use) < _SHRINK_BELOW * len(self.rows):
            self._keep(in_use)
            tokens = tokens[in_use]
        goes_on = not self._ended.issuperset(self.rows)
        self._ended -= prompts.keys()
        # What ended rows read is overwritten or never looked at.
        self._begin(tokens if goes_on else None, prompts)

    def _begin(self, tokens: Tensor | None, prompts: Mapping[int, Tensor]) -> None:
        """Reads one token per line, and prompts; one that a row in use began with is copied."""
        lines = {row: line for line, row in enumerate(self.rows)}
        sources = self._sources(prompts)
        new = {lines[row]: prompts[row] for row, source in sources.items() if row == source}
        self._backend.read(tokens, new)
        if new:
            read = torch.tensor(list(new), device=self._backend.hidden.device)
            self._prompt_states[read] = self._backend.hidden[read]
        self._share({lines[row]: lines[source] for row, source in sources.items() if row != source})

    def _sources(self, prompts: Mapping[int, Tensor]) -> dict[int, int]:
        """Returns the row that reads, or has read, the prompt of each of these rows."""
        holders = {prompt: row for row, prompt in self._prompts.items()}
        self._prompts |= {row: tuple(prompt.tolist()) for row, prompt in prompts.items()}
        return {row: holders.setdefault(self._prompts[row], row) for row in prompts}

    def _share(self, sources: Mapping[int, int]) -> None:
        """Copies to lines the prompts of other lines."""
        if not sources:
            return
        lengths = [len(self._prompts[self.rows[line]]) for line in sources]
        to, of, read = torch.tensor(
            [list(sources), list(sources.values()), lengths], device=self._backend.hidden.device
        )
        self._backend.share(to, of, read)
        self._backend.hidden[to] = self._prompt_states[to] = self._prompt_states[of]

    def _keep(self, lines: Sequence[int]) -> None:
        self.rows = [self.rows[i] for i in lines]
        kept = torch.tensor(lines, device=self._backend.hidden.device)
        self._backend.keep(kept)
        self._prompt_states = self._prompt_states[kept]


def backend_for(
    policy: CausalLMPolicy, n_rows: int, max_length: int, timer: Timer
) -> GPT2Backend | ModelBackend:
    """Returns the leanest backend that computes what the policy's model computes."""
    backend = GPT2Backend if GPT2Backend.supports(policy) else ModelBackend
    return backend(policy, n_rows, max_length, timer)
