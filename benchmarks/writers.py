"""Three ways of writing the same texts: a rollout, `transformers.generate`, and a lean loop.

Each is a function that writes and counts the tokens that belong to a text. They do not know what
they are timed for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from gymnasium.vector import VectorEnv
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from agents.policy.causal_lm import CausalLMPolicy, categorical, forward_in_chunks
from agents.rollout.collect import collect_rollout
from agents.rollout.decoding.decoder import Decoder


@dataclass(frozen=True)
class Case:
    """Holds what is written, by whom and after what.

    Attributes:
        name: Of the case.
        policy: Writes.
        model: The same model as `transformers` makes it, for `generate`.
        envs: In which the rollout writes.
        prompts: Of `generate`, token ids.
        limit: Most tokens of a completion.
        stops: Tokens that end a text; none: every text has `limit` tokens.
        n_episodes: Texts of one measurement.
    """

    name: str
    policy: CausalLMPolicy
    model: PreTrainedModel
    envs: VectorEnv[Any, Any, Any]
    prompts: Sequence[Sequence[int]]
    limit: int
    stops: Sequence[int]
    n_episodes: int

    @property
    def mean_prompt(self) -> int:
        """Tokens of a prompt, on average."""
        return round(sum(map(len, self.prompts)) / len(self.prompts))


def plain_model(policy: CausalLMPolicy) -> PreTrainedModel:
    """Returns a policy's model as `transformers` makes it, with the same weights."""
    model: PreTrainedModel = AutoModelForCausalLM.from_config(policy.model.config).eval()
    model.load_state_dict(policy.model.state_dict())
    model.tie_weights()
    return model.to(device=policy.device, dtype=policy.model.dtype)


def collected(case: Case, *, judged: bool, seed: int = 0) -> Callable[[], int]:
    """Returns a rollout that counts its tokens, with the value of every state that it decodes.

    Judged, it also has values and log-probs from the training forward, which PPO learns from.
    """
    generator = torch.Generator(case.policy.device).manual_seed(seed)

    def work() -> int:
        with _valued(case.policy):
            rollout = collect_rollout(case.policy, case.envs, case.n_episodes, generator)
        if judged:
            texts = rollout.texts.to(case.policy.device)
            forward_in_chunks(case.policy, texts, case.envs.num_envs)
        return int(rollout.texts.completion_mask.sum())

    return work


@contextmanager
def _valued(policy: CausalLMPolicy) -> Iterator[None]:
    """Applies the value head wherever the output layer is applied."""
    logits = policy.logits

    def logits_and_values(hidden: Tensor, action_mask: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            policy.values(hidden)
        return logits(hidden, action_mask)

    policy.logits = logits_and_values  # type: ignore[method-assign]
    try:
        yield
    finally:
        del policy.logits


def generated(case: Case, **options: Any) -> Callable[[], int]:
    """Returns `generate` over batches of the prompts, counting tokens up to a text's end.

    Args:
        case: What is written.
        **options: Of `generate`, beside those that the case sets.
    """
    device = case.model.device
    input_ids, attention_mask = (part.to(device) for part in left_padded(case.prompts))
    stops = torch.tensor(case.stops, dtype=torch.long, device=device)
    ending = (
        {"eos_token_id": list(case.stops), "pad_token_id": 0}
        if case.stops
        else {"min_new_tokens": case.limit}
    )

    def work() -> int:
        tokens = 0
        for _ in range(0, case.n_episodes, len(input_ids)):
            texts = case.model.generate(
                input_ids=input_ids,
                attention_mask=attention_mask,
                do_sample=True,
                top_k=0,
                max_new_tokens=case.limit,
                **ending,
                **options,
            )
            tokens += used(texts[:, input_ids.shape[1] :], stops)
        return tokens

    return work


def lean(case: Case, seed: int = 0) -> Callable[[], int]:
    """Returns a loop that samples and reads, and nothing else: no environment, nothing kept."""
    generator = torch.Generator(case.policy.device).manual_seed(seed)
    prompts = {row: torch.tensor(ids) for row, ids in enumerate(case.prompts)}
    longest = max(map(len, case.prompts)) + case.limit

    def work() -> int:
        decoder = Decoder(case.policy, prompts, longest)
        for step in range(case.limit):
            tokens, _ = categorical.sample(decoder.logits(), generator)
            if step < case.limit - 1:  # the last token is not read
                decoder.advance(tokens, (), {})
        return case.limit * len(prompts)

    return work


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Returns token ids and attention mask (n, P) of prompts that end side by side."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    return ids, (torch.arange(width) >= width - lengths[:, None]).long()


def used(completions: Tensor, stops: Tensor) -> int:
    """Counts the tokens (n, T) up to each row's first stop token, which is one of them."""
    stopped = torch.isin(completions, stops).long().cumsum(dim=1)
    before = torch.nn.functional.pad(stopped[:, :-1], (1, 0))
    return int((before == 0).sum())
