"""Which tokens a policy has made likelier, and less likely, at the places where it writes.

Not what was drawn there but the whole distribution is compared, so that little is left to chance.
Knows two policies and texts; not what the tokens spell.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit

from agents.policy.causal_lm import CausalLMPolicy
from agents.policy.token_batch import TokenBatch

_CHUNK = 16
CONFIDENCE = 0.95
"""That none of the intervals of all tokens misses its truth."""


class TokenShifts(NamedTuple):
    """How often tokens are expected in a text, beyond what the reference expects there.

    Attributes:
        before: Expected in a text, by the reference, (V,).
        more: Expected in it by the policy, less that, (V,).
        half_width: Half of its interval, widened for the number of tokens, (V,).
    """

    before: NDArray[np.float64]
    more: NDArray[np.float64]
    half_width: NDArray[np.float64]


@torch.no_grad()
def token_shifts(
    policy: CausalLMPolicy, reference: CausalLMPolicy, texts: TokenBatch
) -> TokenShifts:
    """Returns Σ_t π(a|s_t) − π_ref(a|s_t), the mean over texts, of every token a.

    Args:
        policy: Which wrote the texts.
        reference: What it is compared with.
        texts: At least two.
    """
    n = len(texts.input_ids)
    expected, difference, squares = (np.zeros(policy.vocab_size) for _ in range(3))
    for rows in torch.arange(n, device=texts.input_ids.device).split(_CHUNK):
        part = texts.select(rows)
        text_of = part.completion_mask.nonzero()[:, 0]
        by_reference = _summed(reference.distributions(part).exp(), text_of, len(rows))
        more = _summed(policy.distributions(part).exp(), text_of, len(rows)) - by_reference
        expected += by_reference.sum(axis=0)
        difference += more.sum(axis=0)
        squares += np.square(more).sum(axis=0)
    mean = difference / n
    variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
    quantile = float(stdtrit(n - 1, 1 - (1 - CONFIDENCE) / (2 * len(mean))))
    return TokenShifts(expected / n, mean, quantile * np.sqrt(variance / n))


def _summed(probabilities: torch.Tensor, text_of: torch.Tensor, n: int) -> NDArray[np.float64]:
    """Adds up rows (N, V) by the text that each is of; returns (n, V)."""
    sums = torch.zeros(n, probabilities.shape[1], dtype=torch.float64, device=text_of.device)
    return np.asarray(sums.index_add_(0, text_of, probabilities.double()).numpy(force=True))
