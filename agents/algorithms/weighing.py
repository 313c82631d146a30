"""How much texts count that a writer wrote in the policy's place: truncated importance weights.

They weigh what is estimated from the tokens that were drawn: advantages and sampled KL. What is
summed over the vocabulary (exact KL, entropies), and what values are fitted to, keeps to the texts
as they came.
Knows what an algorithm weighs, tokens or texts, and no algorithm by name.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from agents.algorithms.experience import Experience
from agents.objectives.policy_losses import truncated_importance_weights, truncated_text_weights

Weighs = Literal["tokens", "texts", "nothing"]
"""`nothing` is for objectives that are right whoever wrote."""

WEIGHTS = "weights"
"""The name of the weights among an experience's extras."""

MAX_WEIGHT = 2.0


def weighed(experience: Experience, behaviour_log_probs: Tensor, weighs: Weighs) -> Experience:
    """Returns an experience whose tokens count as if the policy had written them.

    Args:
        experience: B episodes, with the policy's own log-probs as the old ones.
        behaviour_log_probs: (B, T), of the distribution that the tokens were drawn from.
        weighs: Tokens are weighed each by itself, and what comes before and after them stays the
            writer's; texts, where each is one action, as a whole.
    """
    if weighs == "nothing":
        return experience
    weigh = truncated_importance_weights if weighs == "tokens" else truncated_text_weights
    mask = experience.texts.completion_mask
    weights = weigh(experience.old_log_probs, behaviour_log_probs, mask, MAX_WEIGHT)
    extras = {**experience.extras, WEIGHTS: weights}
    return experience._replace(advantages=weights * experience.advantages, extras=extras)
