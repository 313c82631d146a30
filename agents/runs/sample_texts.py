"""What a model writes to a few prompts, to be looked at before and after it learns from a file.

Nothing is measured of the texts, and nobody is paid for them.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from agents.policy.causal_lm import CausalLMPolicy
from agents.rollout.collect import collect_rollout
from agents.runs.environments import make_envs, unjudged
from agents.runs.named_models import Manner
from text_gym import HuggingFaceTokenizer, Prompt

TOKENS = 32
"""Of a text, at most."""
_N = 10


def written(
    policy: CausalLMPolicy,
    tokenizer: HuggingFaceTokenizer,
    prompts: Iterable[str],
    template: str,
    seed: int,
) -> dict[str, str]:
    """Returns texts to the first ten different prompts that take up at most half of the room.

    Args:
        policy: Writes.
        tokenizer: Its own.
        prompts: To choose from.
        template: What the policy sees of a prompt.
        seed: Of sampling.
    """
    most = policy.max_length or 2 * TOKENS
    lengths = {one: len(tokenizer.encode_prompt(template, one)) for one in dict.fromkeys(prompts)}
    chosen = [one for one, length in lengths.items() if length <= most // 2][:_N]
    if not chosen:
        return {}
    envs = make_envs(
        Manner(template, min(TOKENS, most - most // 2), policy.options.temperature),
        [Prompt(one) for one in chosen],
        tokenizer,
        policy.end_of_text_ids,
        len(chosen),
        unjudged,
    )
    generator = torch.Generator(policy.device).manual_seed(seed)
    rollout = collect_rollout(policy, envs, len(chosen), generator, seed=seed)
    texts = {one["text_episode"].prompt: one["text_episode"].completion for one in rollout.infos}
    return {one: texts[one] for one in chosen}
