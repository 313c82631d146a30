"""Wrappers for vector environments: the twins of those in `text_gym.wrappers`.

- `Annotators`: lets each text be rated by one of several annotators with their own bias and scale.
- `ChunkedFeedback`: pays the feedback in instalments, every few tokens.
- `ClipFeedback`: clips the feedback.
- `Constrain`: offers masks of the tokens that constraints allow.
- `DelayedFeedback`: pays the feedback some texts later.
- `Feedback`: pays finished texts by another reward function, or by one more.
- `NoisyFeedback`: flips, replaces or blurs the feedback at random.
- `NormalizeFeedback`: divides the feedback by its running standard deviation.
- `OverlongPenalty`: punishes texts that come close to a length.
- `PaddedTokens`: shows the texts as one array of symbols, padding included.
- `PotentialShaping`: adds differences of a potential, which keep the optimal policy.
- `ReferenceLogProb`: adds the log-probability under a reference policy to every step.
- `RemainingTokens`: adds the number of tokens left to the observations.
- `SparseFeedback`: pays only some of the texts.

Those that change the feedback (annotators, clipping, delay, noise, normalisation, the overlong
penalty, sparsity) act on the step that finishes a text: put them outside `Feedback` and inside
`PotentialShaping` and `ReferenceLogProb`, which pay on every step.
"""

from text_gym.wrappers.vector.annotators import Annotators
from text_gym.wrappers.vector.chunked_feedback import ChunkedFeedback
from text_gym.wrappers.vector.clip_feedback import ClipFeedback
from text_gym.wrappers.vector.constrain import Constrain
from text_gym.wrappers.vector.delayed_feedback import DelayedFeedback
from text_gym.wrappers.vector.feedback import Feedback
from text_gym.wrappers.vector.noisy_feedback import NoisyFeedback
from text_gym.wrappers.vector.normalize_feedback import NormalizeFeedback
from text_gym.wrappers.vector.overlong_penalty import OverlongPenalty
from text_gym.wrappers.vector.padded_tokens import PaddedTokens
from text_gym.wrappers.vector.potential_shaping import PotentialShaping
from text_gym.wrappers.vector.reference_log_prob import ReferenceLogProb
from text_gym.wrappers.vector.remaining_tokens import RemainingTokens
from text_gym.wrappers.vector.sparse_feedback import SparseFeedback

__all__ = [
    "Annotators",
    "ChunkedFeedback",
    "ClipFeedback",
    "Constrain",
    "DelayedFeedback",
    "Feedback",
    "NoisyFeedback",
    "NormalizeFeedback",
    "OverlongPenalty",
    "PaddedTokens",
    "PotentialShaping",
    "ReferenceLogProb",
    "RemainingTokens",
    "SparseFeedback",
]
