"""Who answers without regard to the texts, by a rule whose error is known.

Two tests of every annotator, each at error rate α:

- skill: stopped whose skill is below half of the median annotator's beyond doubt, that is, if
  γ + z·(standard error) < 1/2. Somebody at exactly half is named with probability α; whoever is
  better, more rarely.
- side: sides are drawn by lot, so whoever looks at the texts alone prefers the left one half of the
  time, whatever the texts. Named is who prefers one side in more than two thirds of the cases
  beyond doubt, that is, if Wilson's interval lies above; at exactly two thirds with probability α.

The first finds random answers, the second one side held down, which says nothing of skill. Knows
indices only; naming somebody excludes nobody.
"""

from __future__ import annotations

from text_gym.feedback.aggregation.bradley_terry import BradleyTerry
from text_gym.feedback.aggregation.comparisons import Comparisons
from text_gym.feedback.proportion import normal_quantile, wilson
from text_gym.feedback.quality_rules import Reason

LEAST_SKILL = 0.5
MOST_OF_ONE_SIDE = 2 / 3


def spammers(
    given: Comparisons, fit: BradleyTerry, error_rate: float = 0.01
) -> dict[int, list[Reason]]:
    """Returns the annotators who fail a test, with the reasons.

    Args:
        given: The comparisons,
        fit: and what was fitted to them.
        error_rate: α of each test, in (0, 1/2).

    Raises:
        ValueError: If the error rate is out of bounds.
    """
    if not 0 < error_rate < 0.5:
        raise ValueError(f"error_rate must lie in (0, 1/2), got {error_rate}")
    confidence = 1 - 2 * error_rate  # of a two-sided interval, one end of which is looked at
    found = {}
    for annotator in range(given.annotator_count):
        own = given.of(given.annotator == annotator)
        reasons = [*_skill(fit, annotator, confidence), *_side(own, confidence)]
        if reasons:
            found[annotator] = reasons
    return found


def _skill(fit: BradleyTerry, annotator: int, confidence: float) -> list[Reason]:
    skill = float(fit.skills[annotator])
    highest = skill + normal_quantile(confidence) * float(fit.skill_errors[annotator])
    return [Reason("skill", skill, LEAST_SKILL)] if highest < LEAST_SKILL else []


def _side(own: Comparisons, confidence: float) -> list[Reason]:
    left, right = int((own.outcome == 1).sum()), int((own.outcome == -1).sum())
    share = wilson(max(left, right), left + right, confidence)
    if not share.low > MOST_OF_ONE_SIDE:
        return []
    return [Reason("side bias", share.value, MOST_OF_ONE_SIDE)]
