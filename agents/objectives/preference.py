"""Preference losses: raise the text that was preferred above the one that was not.

Functions of the log-probs of whole texts, summed over all chosen tokens. They do not know who
preferred what, nor how the pairs were made.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class PreferenceLoss(NamedTuple):
    """A preference loss, and how well the policy tells the two texts of a pair apart.

    Attributes:
        loss: Scalar to minimise.
        accuracy: Share of pairs whose preferred text has the larger implicit reward.
        chosen_reward: Mean of β log π/π_ref of the preferred texts.
        rejected_reward: Mean of β log π/π_ref of the others.
    """

    loss: Tensor
    accuracy: Tensor
    chosen_reward: Tensor
    rejected_reward: Tensor


def dpo_loss(
    chosen_log_ratios: Tensor,
    rejected_log_ratios: Tensor,
    kl_coef: float,
    *,
    label_smoothing: float = 0.0,
    margins: Tensor | None = None,
    weights: Tensor | None = None,
    n_pairs: float | None = None,
) -> PreferenceLoss:
    """Compute the loss of DPO: -(1/n) Σ w [(1 - ε) log σ(h) + ε log σ(-h)].

    h = β (log π(y⁺)/π_ref(y⁺) - log π(y⁻)/π_ref(y⁻)) - margin. ε is the share of labels believed
    wrong.

    Source: Rafailov et al. 2023, arXiv:2305.18290, equation 7; label smoothing from Mitchell 2023,
    "A note on DPO with noisy preferences", https://ericmitchell.ai/cdpo.pdf; the margin from Amini
    et al. 2024, arXiv:2402.10571, equation 6.

    Args:
        chosen_log_ratios: (n,), log π(y⁺)/π_ref(y⁺), with gradient.
        rejected_log_ratios: (n,), log π(y⁻)/π_ref(y⁻), with gradient.
        kl_coef: β, above 0.
        label_smoothing: ε, at least 0 and below 0.5.
        margins: (n,), by how much the implicit reward of y⁺ is to exceed that of y⁻; None: 0.
        weights: w, (n,); None weighs all pairs by 1.
        n_pairs: Pairs of the whole optimiser step; None means n.

    Returns:
        The loss with its statistics.

    Raises:
        ValueError: If a shape does not fit or an argument is outside its range.

    Example:
        >>> dpo_loss(torch.tensor([0.0]), torch.tensor([0.0]), kl_coef=0.1).loss
        tensor(0.6931)
    """
    _require_positive("kl_coef", kl_coef)
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(
            f"label_smoothing must be at least 0 and below 0.5, but is {label_smoothing!r}"
        )
    _require_shape("margins", margins, chosen_log_ratios)
    h = kl_coef * (chosen_log_ratios - rejected_log_ratios)
    h = h if margins is None else h - margins
    losses = -(1 - label_smoothing) * logsigmoid(h) - label_smoothing * logsigmoid(-h)
    return _over_pairs(losses, chosen_log_ratios, rejected_log_ratios, kl_coef, weights, n_pairs)


def ipo_loss(
    chosen_log_ratios: Tensor,
    rejected_log_ratios: Tensor,
    kl_coef: float,
    *,
    weights: Tensor | None = None,
    n_pairs: float | None = None,
) -> PreferenceLoss:
    """Compute the loss of IPO: (1/n) Σ w (h - 1/(2β))², h = log π/π_ref (y⁺) - log π/π_ref (y⁻).

    Unlike DPO's it has a finite optimum where all labels agree.

    Source: Azar et al. 2023, arXiv:2310.12036, equation 17.

    Args:
        chosen_log_ratios: (n,), log π(y⁺)/π_ref(y⁺), with gradient.
        rejected_log_ratios: (n,), log π(y⁻)/π_ref(y⁻), with gradient.
        kl_coef: β, above 0; τ in the paper.
        weights: w, (n,); None weighs all pairs by 1.
        n_pairs: Pairs of the whole optimiser step; None means n.

    Returns:
        The loss with its statistics.

    Raises:
        ValueError: If a shape does not fit or an argument is outside its range.

    Example:
        >>> ipo_loss(torch.tensor([3.0]), torch.tensor([0.0]), kl_coef=0.5).loss
        tensor(4.)
    """
    _require_positive("kl_coef", kl_coef)
    losses = (chosen_log_ratios - rejected_log_ratios - 1 / (2 * kl_coef)).square()
    return _over_pairs(losses, chosen_log_ratios, rejected_log_ratios, kl_coef, weights, n_pairs)


def _over_pairs(
    losses: Tensor,
    chosen: Tensor,
    rejected: Tensor,
    kl_coef: float,
    weights: Tensor | None,
    n_pairs: float | None,
) -> PreferenceLoss:
    n = len(losses) if n_pairs is None else n_pairs
    _require_positive("n_pairs", n)
    _require_shape("rejected_log_ratios", rejected, chosen)
    _require_shape("weights", weights, chosen)
    loss = (losses if weights is None else weights * losses).sum() / n
    with torch.no_grad():
        return PreferenceLoss(
            loss=loss,
            accuracy=(chosen > rejected).float().mean(),
            chosen_reward=kl_coef * chosen.mean(),
            rejected_reward=kl_coef * rejected.mean(),
        )


def _require_shape(name: str, tensor: Tensor | None, chosen: Tensor) -> None:
    if tensor is not None and tensor.shape != chosen.shape:
        raise ValueError(
            f"{name} must have the shape of chosen_log_ratios, {tuple(chosen.shape)}, "
            f"but has {tuple(tensor.shape)}"
        )


def _require_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be above 0, but is {value!r}")
