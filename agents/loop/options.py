"""What `python -m agents.rlhf` can be asked.

A plain dataclass, without torch, so that the command line answers at once. `agents.loop.pipeline`
does what it says.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agents.algorithms.configs.reward_model import RewardModelConfig
from agents.applications.dialogue import DIALOGUE
from agents.applications.fine_tuning import FineTuning

PRESET = "rlhf"
"""What `config.json` calls a loop, where another run names its preset and its learner."""

_LEAST = {"judgements": 1, "rounds": 1, "pool": 1, "per_prompt": 2, "reward_models": 1}


@dataclass(frozen=True, kw_only=True)
class Loop(FineTuning):
    """Makes a model better by what is judged of its texts, round by round.

    Each round samples pairs of replies, has some of them judged, learns a reward from all that was
    judged so far, fine-tunes the model on it, and evaluates; the next begins with the tuned model.
    """

    reward: str = "sentiment"
    """What simulated annotators like, and what replies are evaluated by if `annotators` are
    simulated."""
    annotators: Literal["people", "simulated"] = "people"
    """Who judges: people, on the pages of the study in the loop's folder, or chance with known odds
    in their place."""
    accuracy: float = 0.75
    """Of simulated annotators: how often they prefer the better of two replies."""
    judgements: int = 1000
    """Of all rounds together, each with its share."""
    rounds: int = 1
    """How often the whole is done."""
    pairs: Literal["random", "disagreement"] = "random"
    """Which pairs are judged: any, or from the second round on those on which the reward models of
    the round before disagree most."""
    pool: int = 2
    """Pairs to choose from, for each one that is judged."""
    per_prompt: int = 2
    """Replies to each prompt, every two of which are a pair."""
    reward_models: int = 1
    """Reward models of a round, of different seeds; of several the lowest reward counts."""
    threads: int | None = None
    """Threads of torch; None: `$OMP_NUM_THREADS`, else 2. Results are the same bit for bit only for
    the same number."""
    reward_algorithm: RewardModelConfig = field(
        default_factory=lambda: RewardModelConfig(learning_rate=1e-3, n_epochs=2)
    )
    """How a reward is learnt."""

    def __post_init__(self) -> None:
        """Checks the fields that have a rule of their own.

        Raises:
            ValueError: If a number is too low, pairs are chosen by what does not exist, or there
                are turns or an environment of another kind.
        """
        super().__post_init__()
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("chat", "responder", "constraint", "env_id", "wrappers"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} must be left out of a loop, in which replies of one turn are judged, "
                    f"got {getattr(self, name)!r}"
                )
        if self.judgements < self.rounds:
            raise ValueError(
                f"judgements must be at least one for each of {self.rounds} rounds, "
                f"got {self.judgements}"
            )
        if not 0 < self.accuracy < 1:
            raise ValueError(f"accuracy must lie in (0, 1), got {self.accuracy}")
        if self.pairs == "disagreement" and self.reward_models < 2:
            raise ValueError(
                "reward_models must be at least 2 to disagree, where pairs are chosen by "
                f"disagreement, got {self.reward_models}"
            )

    def judgements_of(self, number: int) -> int:
        """Returns how many judgements a round asks for: its share, the first ones one more."""
        share, left = divmod(self.judgements, self.rounds)
        return share + (number <= left)

    def prompts_of(self, number: int) -> int:
        """Returns how many prompts a round needs for as many pairs as there are to choose from."""
        return math.ceil(self.pool * self.judgements_of(number) / math.comb(self.per_prompt, 2))

    def fine_tuning(self, model: str, reward: str, folder: Path, seed: int) -> FineTuning:
        """Returns what the fine-tuning of a round is told.

        Args:
            model: That it starts from.
            reward: What replies are paid for.
            folder: Of the run.
            seed: Of what it draws.
        """
        own = {one.name: getattr(self, one.name) for one in dataclasses.fields(FineTuning)}
        own |= {"model": model, "reward": reward, "output": folder.parent, "name": folder.name}
        algorithm = dataclasses.replace(self.algorithm, seed=seed)
        return FineTuning(**{**own, "algorithm": algorithm})


DIALOGUE_LOOP = Loop(
    **{
        **{one.name: getattr(DIALOGUE.preset, one.name) for one in dataclasses.fields(FineTuning)},
        "total_episodes": 8192,
        "algorithm": dataclasses.replace(
            DIALOGUE.preset.algorithm, kl_coef=0.1, learning_rate=2e-4
        ),
    }
)
"""The main job, by what is judged in the place of a known reward.

A learnt reward has a standard deviation of 1 where the known one has about a half: hence the price
of a nat. Fewer replies, at twice the learning rate, leave time for the other stages.
"""
