"""Wrappers for vector environments: the vector versions of those in `text_gym.wrappers`.

- `Annotators`: lets each text be rated by one of several annotators with their own bias and scale.
- `ChunkedFeedback`: pays the feedback incrementally, every few tokens.
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

from text_gym.wrappers.annotators import VectorAnnotators as Annotators
from text_gym.wrappers.chunked_feedback import VectorChunkedFeedback as ChunkedFeedback
from text_gym.wrappers.clip_feedback import VectorClipFeedback as ClipFeedback
from text_gym.wrappers.delayed_feedback import VectorDelayedFeedback as DelayedFeedback
from text_gym.wrappers.feedback import VectorFeedback as Feedback
from text_gym.wrappers.noisy_feedback import VectorNoisyFeedback as NoisyFeedback
from text_gym.wrappers.normalize_feedback import VectorNormalizeFeedback as NormalizeFeedback
from text_gym.wrappers.overlong_penalty import VectorOverlongPenalty as OverlongPenalty
from text_gym.wrappers.potential_shaping import VectorPotentialShaping as PotentialShaping
from text_gym.wrappers.reference_log_prob import VectorReferenceLogProb as ReferenceLogProb
from text_gym.wrappers.sparse_feedback import VectorSparseFeedback as SparseFeedback
from text_gym.wrappers.vector.constrain import Constrain
from text_gym.wrappers.vector.padded_tokens import PaddedTokens
from text_gym.wrappers.vector.remaining_tokens import RemainingTokens

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
