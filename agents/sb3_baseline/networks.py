"""The two networks of the baseline, and how they start.

Both are SB3's `MultiInputPolicy`, with a features extractor of ours (`features`). They start with
the distribution of a given policy, so that learning curves leave from the same point.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, Literal, TypeAlias

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import Tensor, nn

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.config import PolicyConfig
from agents.policy.next_token import next_token_log_probs
from agents.sb3_baseline.features import LastHiddenState, OneHotTexts, length_of

Network: TypeAlias = Literal["mlp", "transformer"]
"""`mlp`: two layers of 64 for the actions and two for the values, on one-hots of the whole text;
`transformer`: a linear layer for each on the last hidden state of a causal language model."""

MAX_ONE_HOTS = 2**14
"""Inputs of the MLP, L · V. A vocabulary of tens of tokens stays far below, that of a pretrained
model far above: GPT-2's takes two million for 40 tokens."""


def policy_arguments(
    network: Network, start: CausalLMPolicy, space: spaces.Dict, adam_epsilon: float
) -> dict[str, Any]:
    """Returns the `policy_kwargs` of `stable_baselines3.PPO`.

    Raises:
        ValueError: If the texts are too long, or the vocabulary too large, for one-hots, or if
            `start` has options that SB3's networks have not.
    """
    _require_plain(start)
    optimizer = {"optimizer_kwargs": {"eps": adam_epsilon}}
    if network == "mlp":
        inputs = length_of(space) * start.vocab_size
        if inputs > MAX_ONE_HOTS:
            raise ValueError(
                f"envs must have texts of at most {MAX_ONE_HOTS:,} one-hots for an MLP, length "
                f"times vocabulary, got {length_of(space):,} × {start.vocab_size:,}; the "
                "transformer has no such limit"
            )
        return {
            **optimizer,
            "features_extractor_class": OneHotTexts,
            "features_extractor_kwargs": {"vocab_size": start.vocab_size},
        }
    return {
        **optimizer,
        "features_extractor_class": LastHiddenState,
        "features_extractor_kwargs": {"policy": start},
        "net_arch": [],
        "ortho_init": False,  # which would draw the trunk's weights anew
    }


def _require_plain(start: CausalLMPolicy) -> None:
    options, plain = asdict(start.options), asdict(PolicyConfig())
    given = {
        name: value
        for name, value in options.items()
        if name != "temperature" and value != plain[name]
    }
    if given:
        raise ValueError(
            "start must have no options but a temperature, because Stable-Baselines3's networks "
            f"learn whole, in float32 and with one trunk, got {given}"
        )


@torch.no_grad()
def start_like(policy: ActorCriticPolicy, network: Network, start: CausalLMPolicy) -> None:
    """Gives SB3's policy the first distribution of `start`.

    The transformer takes over both heads, and so the distribution and the value of every text. The
    MLP takes over one distribution, whatever the text: its action layer starts with zero weights
    and that distribution as its bias. Its values start as SB3's do.

    Args:
        policy: SB3's; its linear layers for actions and values are set.
        network: What it was built as.
        start: The policy to start from.
    """
    actions, values = policy.action_net, policy.value_net
    assert isinstance(actions, nn.Linear)
    if network == "mlp":
        actions.weight.zero_()
        actions.bias.copy_(mean_log_probs(start))
        return
    bias: Any = start.head.bias
    actions.weight.copy_(start.head.weight / start.temperature)
    actions.bias.copy_(torch.zeros_like(actions.bias) if bias is None else bias / start.temperature)
    assert start.value_head is not None
    values.load_state_dict(start.value_head.state_dict())


def mean_log_probs(policy: CausalLMPolicy) -> Tensor:
    """Returns log p, (V,), where p is a policy's mean distribution after a text of one token.

    That of any text, if the policy chooses alike after all of them, as a toy's start does.
    """
    tokens = torch.arange(policy.vocab_size, device=policy.device)[:, None]
    log_probs = next_token_log_probs(policy, tokens, torch.ones_like(tokens[:, 0]))
    return log_probs.logsumexp(dim=0) - math.log(policy.vocab_size)
