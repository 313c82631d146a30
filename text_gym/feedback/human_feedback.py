"""Feedback by people while a policy learns: a reward function whose answers come from a study.

One process serves the study's pages; this one opens the same store beside it, as all commands but
`serve` do, adds what was written and looks until it is judged. Nothing passes between the two but
rows on disk, so either may stop and start again. Knows nothing of pages or of who learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from text_gym.episode import Episode
from text_gym.feedback.answers import Answer, Preferred, Ratings
from text_gym.feedback.config import StudyConfig
from text_gym.feedback.items import Completion, Item, content_hash
from text_gym.feedback.store import Store
from text_gym.feedback.waiting import WaitsForPeople
from text_gym.quoting import quoted
from text_gym.rewards.function import PlainFunction, RewardFunction, as_reward_function, score

SKIPPED = 0.0
"""What an episode is paid that is skipped: the middle of every scale, and a tie."""


class Question(NamedTuple):
    """Holds one item, and which of its completions somebody wants to know about."""

    item: Item
    completion: int


class HumanFeedback(WaitsForPeople):
    """Pays finished texts what people say of them on the pages of a study.

    The texts of a call are added to the study, and the call returns when each was judged as often
    as the study asks. In a study of mode "rate" a text is paid the mean of its ratings, the ends of
    every scale being −1 and 1. In one of mode "compare" it is compared with each other text of its
    prompt in the call, and with the prompt's reference if there is one, and is paid the share of
    comparisons that it wins minus the share that it loses; other modes give no reward. Annotators
    count by their weight.

    An item is named by what is in it. So what was judged before is not asked again: a run that goes
    on after a crash is paid what it was paid before, and costs nobody's time twice. What comes too
    late for a call stays in the study, and is there for the next one.

    Vector environments call once per step, for the texts that ended in it. This is for studies of
    few episodes; the normal way is to sample, to judge and to learn from the file.

    Args:
        study: The folder. Best one of its own: other items wait in the same queue. Serve it by
            `python -m text_gym.feedback serve STUDY`, before or while this waits.
        on_timeout: What becomes of a text of which nothing was said in time. "wait": time does not
            matter, and a text that everybody skips is waited for until somebody else comes. "skip":
            it is paid `SKIPPED`, and counted. "stop": TimeoutError. Or a reward function that pays
            it, whose scale should be [−1, 1] too.
        timeout: Seconds from the call.

    Attributes:
        skipped: Number of texts so far that were paid `SKIPPED` or by the other reward function.

    Raises:
        FileNotFoundError: If there is no study.
        ValueError: If the study is of another mode, `on_timeout` is another word, or `timeout` is
            not above 0.

    Example:
        >>> import tempfile, warnings
        >>> from text_gym.feedback import StudyConfig, create_study
        >>> folder = Path(tempfile.mkdtemp()) / "study"
        >>> study = create_study(folder, StudyConfig(mode="rate"), [])
        >>> reward = HumanFeedback(folder, on_timeout="skip", timeout=0.01)
        >>> with warnings.catch_warnings(action="ignore"):  # nobody serves it
        ...     reward([Episode.from_text("How are you?", "fine")])
        array([0.])
    """

    name = "human_feedback"

    def __init__(
        self,
        study: Path | str,
        on_timeout: Literal["wait", "skip", "stop"] | RewardFunction | PlainFunction = "wait",
        timeout: float = 600.0,
    ) -> None:
        super().__init__(study, ("rate", "compare"), on_timeout, timeout, "a reward function")
        self.fallback = (
            None if isinstance(on_timeout, str) else as_reward_function(on_timeout, "on_timeout")
        )

    def __call__(self, episodes: Sequence[Episode]) -> NDArray[np.float64]:
        """Returns what people say of n episodes, (n,), in [−1, 1].

        Raises:
            TimeoutError: If nothing was said of a text in time, and the policy is "stop".
            ValueError: If two texts are to be compared and there is nothing to compare one with.
        """
        asked = questions(episodes, self.study.config)
        items = (one.item for each in asked for one in each)
        config = self.study.config
        said = self.heard(items, lambda store: [_mean_worth(store, each, config) for each in asked])
        silent = [at for at, value in enumerate(said) if value is None]
        instead = dict(zip(silent, self._instead([episodes[at] for at in silent]), strict=True))
        return np.array([instead.get(at, value) for at, value in enumerate(said)], dtype=np.float64)

    def _instead(self, silent: Sequence[Episode]) -> Sequence[float]:
        """Returns what texts are paid of which nothing was said."""
        self.count_silence(len(silent), "texts must be judged")
        if self.fallback is None:
            return [SKIPPED] * len(silent)
        paid: list[float] = score(self.fallback, silent).total.tolist()
        return paid


def questions(episodes: Sequence[Episode], config: StudyConfig) -> list[list[Question]]:
    """Returns what is to be asked about each episode.

    Raises:
        ValueError: If two texts are to be compared and there is nothing to compare one with.
    """
    if config.mode == "rate":
        return [[Question(_item(one.prompt, one.completion), 0)] for one in episodes]
    return [_comparisons(one, _others(one, episodes)) for one in episodes]


def _others(episode: Episode, episodes: Sequence[Episode]) -> list[str]:
    """Returns the different texts that one is compared with."""
    texts = [one.completion for one in episodes if one.prompt == episode.prompt]
    texts += [] if episode.reference is None else [episode.reference]
    return [text for text in dict.fromkeys(texts) if text != episode.completion]


def _comparisons(episode: Episode, others: Sequence[str]) -> list[Question]:
    if not others:
        raise ValueError(
            "texts of a study of mode compare must have another text of their prompt in the call, "
            f"or a reference, but there is none for {quoted(episode.completion)} after "
            f"{quoted(episode.prompt)}; a study of mode rate needs none"
        )
    pairs = [sorted((episode.completion, other)) for other in others]
    return [
        Question(_item(episode.prompt, *pair), pair.index(episode.completion)) for pair in pairs
    ]


def _item(prompt: str, *texts: str) -> Item:
    item = Item("-", prompt, tuple(map(Completion, texts)))
    return replace(item, id=content_hash(item))


def _mean_worth(store: Store, asked: Sequence[Question], config: StudyConfig) -> float | None:
    """Returns what was said of a text, in [−1, 1]; None if nothing was."""
    worths, weights = [], []
    for item, completion in asked:
        for judgement in store.judgements.counted(item=item.id):
            annotator = store.annotators.get(judgement.annotator)
            weights.append(1.0 if annotator is None else annotator.weight)
            worths.append(worth(judgement.answer, completion, config.bounds))
    return float(np.average(worths, weights=weights)) if worths else None


def worth(answer: Answer, completion: int, bounds: Mapping[str, tuple[int, int]]) -> float:
    """Returns what an answer says of one completion, in [−1, 1].

    Args:
        answer: Of a study of mode "rate" or "compare", and no skip.
        completion: Its place in the item.
        bounds: Lowest and highest number of each scale.

    Example:
        >>> worth(Preferred(1), 0, {}), worth(Ratings({"kind": 4}), 0, {"kind": (1, 5)})
        (-1.0, 0.5)
    """
    match answer:
        case Preferred(better):
            return 1.0 if better == completion else -1.0
        case Ratings(ratings):
            ends = [(number, *bounds[name]) for name, number in ratings.items()]
            places = [(2 * number - low - high) / (high - low) for number, low, high in ends]
            return float(np.mean(places))
    return 0.0  # a tie, or both bad
