"""What stops a run before its numbers become nonsense, and says in one line what to change.

Each guard is a function of numbers: it raises `TrainingStopped`, or warns where a run may be well
all the same. It does not know the algorithm; whoever calls it does so before a parameter changes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from agents.rollout.decoding.probe import sampling_tolerance

FIRST_RATIO_TOLERANCE = 1e-5
"""Or eight roundings of the policy's logits, if that is more. Past it, old and new log-probs are
not those of one policy."""
FIRST_KL_TOLERANCE = 1e-6
"""Per token. Past it, policy and reference differ at the start."""
LARGEST_MEAN_RATIO = 10.0
"""The ratio is 1 on average over tokens that the old policy chose. Past this, or below its inverse,
the policy has left the texts that it is supposed to learn from."""
LARGEST_KL_PER_TOKEN = 10.0
"""In nats, about log 22,000: what a policy that repeats one token has against a language model."""
LARGEST_WRITER_KL_PER_TOKEN = 0.1
"""In nats. Past it texts are not the policy's, and no weights that are cut can make them so."""
LARGEST_CREDIT = 1e15
"""Of a reward, a return or an advantage. Its square still leaves room in float32 for gradients and
the sums of their squares; past it a step fails after others of its batch have moved the policy."""
_SOUND_REWARDS = "the rewards are sound, so values or log-probs are not: lower learning_rate"
SMALLEST_ENTROPY = 0.01
"""Per token, in nats. Below it, a batch hardly holds two different texts."""


class TrainingStopped(RuntimeError):
    """Says in one line why a run cannot go on, and what to change."""


class TrainingWarning(UserWarning):
    """Says in one line what is probably wrong with a run that goes on."""


def require_bounded(name: str, values: Tensor, named: Callable[[int], str]) -> None:
    """Refuses a batch in which a number is none, or so large that its square may be none.

    Args:
        name: Of the quantity: `rewards`, or `returns` and `advantages`, which come of them.
        values: (B, T), 0 where nothing counts.
        named: Says which text has a number in the batch, and what it was paid.
    """
    broken = ~(values.abs() <= LARGEST_CREDIT)
    rows = broken.any(dim=1).nonzero().flatten().tolist()
    if rows:
        first = values[rows[0]][broken[rows[0]]][0].item()
        advice = "mend the reward function" if name == "rewards" else _SOUND_REWARDS
        raise TrainingStopped(
            f"{name} must be finite and at most {LARGEST_CREDIT:g} in size, got {first:g} in "
            f"{len(rows)} of {len(values)} episodes, first in number {rows[0]}, {named(rows[0])}; "
            f"nothing was learnt from them: {advice}"
        )


def require_exact_sampling(error: float, rounding: float) -> None:
    """Refuses texts that another distribution wrote than the one that is trained.

    Args:
        error: Largest difference, in nats, of a token's log-prob when it was sampled from that of
            the training forward.
        rounding: Of a log-prob of the policy.
    """
    tolerance = sampling_tolerance(rounding)
    if not error <= tolerance:
        raise TrainingStopped(
            "tokens must be sampled with the log-probs of the training forward to within "
            f"{tolerance:.3g} nats, got a difference of {error:.3g}; nothing was learnt from them: "
            "the model does not decode as it is trained (texts longer than it was made for, too "
            "low a precision, or dropout?)"
        )


def require_sound_sampling(metrics: Mapping[str, float], rounding: float) -> None:
    """Refuses texts that neither the policy wrote nor a writer near it.

    Args:
        metrics: Of the rollout.
        rounding: Of a log-prob of the policy.
    """
    if "rollout/writer_kl_per_token" in metrics:
        require_faithful_writer(metrics["rollout/writer_kl_per_token"])
    else:
        require_exact_sampling(metrics["rollout/sampling_log_prob_error"], rounding)


def require_faithful_writer(kl_per_token: float) -> None:
    """Refuses texts of a writer that does not write as the policy does.

    Args:
        kl_per_token: KL(μ ‖ π) from the writer to the policy, in nats.
    """
    if not kl_per_token <= LARGEST_WRITER_KL_PER_TOKEN:
        raise TrainingStopped(
            f"a writer must stay within {LARGEST_WRITER_KL_PER_TOKEN} nats per token of the "
            f"policy, got {kl_per_token:.3g}; nothing was learnt from its texts: it has other "
            "weights (those before an update?), another temperature, or log-probs of what it does "
            "not sample from"
        )


def warn_of_equal_scores(scores: Tensor) -> None:
    """Warns if all episodes of a first batch, scores (B,), were paid the same."""
    if len(scores) > 1 and bool((scores == scores[0]).all()):
        warnings.warn(
            f"all {len(scores)} episodes of the first batch were paid {scores[0].item():g}: there "
            "is nothing to learn unless rewards differ; check the reward function",
            TrainingWarning,
            stacklevel=3,
        )


def warn_of_collapse(entropy: float) -> None:
    """Warns if the policy hardly chooses any more; `entropy` is per token, in nats."""
    if entropy < SMALLEST_ENTROPY:
        # The same words each time, so that Python shows them once.
        warnings.warn(
            f"the policy's entropy has fallen below {SMALLEST_ENTROPY} nats per token: unless one "
            "text is the answer, raise ent_coef or kl_coef, or lower learning_rate",
            TrainingWarning,
            stacklevel=3,
        )


def require_bounded_kl(kl_per_token: float, kl_coef: float) -> None:
    """Refuses a KL from the reference, in nats per token, that its price should have prevented."""
    if kl_coef > 0 and not kl_per_token <= LARGEST_KL_PER_TOKEN:
        raise TrainingStopped(
            f"KL from the reference must stay below {LARGEST_KL_PER_TOKEN:g} nats per token, got "
            f"{kl_per_token:.3g}: raise kl_coef (now {kl_coef:g}), lower learning_rate, or check "
            "whether the reward pays for nonsense"
        )


def require_no_kl(kl_per_token: float) -> None:
    """Refuses a KL at the start, where the reference is the policy itself."""
    if not kl_per_token <= FIRST_KL_TOLERANCE:
        raise TrainingStopped(
            f"the first update must have a KL of 0 to within {FIRST_KL_TOLERANCE} per token, got "
            f"{kl_per_token:.3g}: policy and reference differ at the start"
        )


def require_ratio_one(error: float, rounding: float) -> None:
    """Refuses an update whose first minibatch has ratios other than 1.

    Args:
        error: How far the ratios of the minibatch lie from 1 at most.
        rounding: Of a log-prob of the policy.
    """
    tolerance = max(FIRST_RATIO_TOLERANCE, 8 * rounding)
    if not error <= tolerance:
        raise TrainingStopped(
            "the first minibatch of an update must have a ratio of 1 to within "
            f"{tolerance:.3g}, got {error:.3g} from it: the policy's forward pass is not "
            "reproducible (is dropout on, or the model in half precision?)"
        )


def require_sound_step(loss: float, gradient_norm: float, ratio: float) -> None:
    """Refuses an optimiser step on a loss or a gradient that is no number, or far off the texts.

    Args:
        loss: Of the step's minibatch.
        gradient_norm: Of all parameters together.
        ratio: Mean of new to old probabilities over the minibatch.
    """
    for name, value in (("loss", loss), ("norm of the gradient", gradient_norm)):
        if not abs(value) < torch.inf:
            raise TrainingStopped(
                f"the {name} must be finite, got {value}; the step was not taken: lower "
                "learning_rate or max_grad_norm, or train in float32"
            )
    if not 1 / LARGEST_MEAN_RATIO <= ratio <= LARGEST_MEAN_RATIO:
        raise TrainingStopped(
            f"the mean ratio of new to old probabilities must stay within a factor of "
            f"{LARGEST_MEAN_RATIO:g} of 1, got {ratio:.3g}; the step was not taken: lower "
            "learning_rate or n_epochs, or set target_kl"
        )


@contextmanager
def memory_advice(advice: str) -> Iterator[None]:
    """Turns running out of memory into one line that ends with `advice`."""
    try:
        yield
    except RuntimeError as error:
        if not _is_out_of_memory(error):
            raise
        raise TrainingStopped(f"out of memory: {advice}") from error
    except MemoryError as error:
        raise TrainingStopped(f"out of memory: {advice}") from error


def _is_out_of_memory(error: RuntimeError) -> bool:
    # On the CPU, torch has no exception of its own for it.
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
