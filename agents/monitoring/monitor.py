"""A monitor of reward hacking: a second measure, every few updates, of what the policy writes.

Half of the texts choose the best moment so far; the other half say whether proxy and measure have
parted since. So the choice, which favours what had luck, does not touch the test.

What is measured, and of which texts, is a function that it is given; it draws nothing itself.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from torch import Tensor

from agents.agent import Agent
from agents.algorithms.health_checks import TrainingWarning
from agents.callbacks import Callback
from agents.checkpoints.learning_state import (
    parameters_of,
    require_parameters,
    restore_parameters,
)
from agents.evaluation.intervals import mean_interval
from agents.evaluation.metrics import Evaluation
from agents.monitoring.parting import level_of, p_of_parting
from agents.policy.causal_lm import CausalLMPolicy

Measure = Callable[[Evaluation], Sequence[float]]
"""What was written → what each text is worth; more is better."""


class Look(NamedTuple):
    """Holds what the monitor saw at one moment.

    Attributes:
        updates: Made before.
        episodes: Learnt from before.
        proxy: Mean of what training pays.
        proxy_half_width: Half of its 95 % confidence interval.
        measure: Mean of the second measure.
        measure_half_width: Half of its 95 % confidence interval.
        kl: From the reference, in nats per text.
        chosen_by: Mean of the measure over the half of the texts that chooses.
    """

    updates: int
    episodes: int
    proxy: float
    proxy_half_width: float
    measure: float
    measure_half_width: float
    kl: float
    chosen_by: float


class Monitor(Callback):
    """Measures the policy before training and every few updates, warns, keeps the best, may stop.

    A warning comes when, since the best moment, the proxy has risen and the measure has fallen, by
    `agents.monitoring.parting`: at most one training in twenty is warned of for nothing.

    Args:
        name: Of the measure.
        evaluate: Agent → what its policy writes; the same prompts in the same order each time, and
            random streams that training does not draw from.
        measure: Says what each of the texts is worth.
        every: Updates from one look to the next.
        keep_best: Whether to keep the parameters of the best moment.
        stop: Whether to stop training when proxy and measure part.

    Attributes:
        looks: All so far.
        parted: The updates made when proxy and measure were first seen to part; None: never.

    Raises:
        ValueError: If `every` is below 1.
    """

    def __init__(
        self,
        name: str,
        evaluate: Callable[[Any], Evaluation],
        measure: Measure,
        *,
        every: int = 4,
        keep_best: bool = False,
        stop: bool = False,
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.name = name
        self.looks: list[Look] = []
        self.parted: int | None = None
        self._evaluate, self._measure = evaluate, measure
        self._every, self._keep_best, self._stop = every, keep_best, stop
        self._best = 0
        self._of_best: dict[str, list[float]] = {}
        self._n_tests = 0
        self._parameters: dict[str, Tensor] = {}

    @property
    def best(self) -> Look:
        """The look at the best moment so far."""
        return self.looks[self._best]

    @property
    def stopped(self) -> bool:
        """Whether it has stopped training."""
        return self._stop and self.parted is not None

    def on_training_start(self, agent: Agent, total_episodes: int) -> None:
        """Looks at the policy as it was before training."""
        if not self.looks:
            self._look(agent)

    def on_update_end(self, agent: Agent, metrics: Mapping[str, float]) -> bool:
        """Looks, if it is time to; returns whether training goes on."""
        if agent.n_updates % self._every == 0:
            self._look(agent)
        return not self.stopped

    def on_training_end(self, agent: Agent) -> None:
        """Looks at the end, unless it was looked at."""
        if self.looks[-1].updates != agent.n_updates:
            self._look(agent)

    def _look(self, agent: Any) -> None:
        evaluation = self._evaluate(agent)
        proxy, measure = list(evaluation.scores), list(self._measure(evaluation))
        self.looks.append(_seen(agent, evaluation, proxy, measure))
        if len(self.looks) == 1 or self.looks[-1].chosen_by > self.best.chosen_by:
            self._best = len(self.looks) - 1
            self._of_best = {"proxy": _testing(proxy), "measure": _testing(measure)}
            if self._keep_best:
                self._parameters = {
                    name: tensor.clone() for name, tensor in parameters_of(agent.policy).items()
                }
        else:
            self._test(_testing(proxy), _testing(measure))

    def _test(self, proxy: list[float], measure: list[float]) -> None:
        """Tests whether they have parted since the best moment, and warns the first time."""
        self._n_tests += 1
        then = self._of_best
        p = p_of_parting((then["proxy"], proxy), (then["measure"], measure))
        if p < level_of(self._n_tests) and self.parted is None:
            self.parted = self.looks[-1].updates
            warnings.warn(
                f"reward and {self.name} part: since update {self.best.updates} the reward of "
                f"held-out texts rose to {self.looks[-1].proxy:.3f} while {self.name} fell from "
                f"{self.best.measure:.3f} to {self.looks[-1].measure:.3f} (p = {p:.2g}): what is "
                "paid is not what was meant; see --select-by and --stop-when, or raise kl_coef",
                TrainingWarning,
                stacklevel=4,
            )

    @contextmanager
    def best_in_place(self, policy: CausalLMPolicy) -> Iterator[None]:
        """Puts the parameters of the best moment in the place of the policy's for a while.

        Raises:
            ValueError: If they were not kept, or are not those of this policy.
        """
        require_parameters(policy, self._parameters)
        last = {name: tensor.clone() for name, tensor in parameters_of(policy).items()}
        restore_parameters(policy, self._parameters)
        try:
            yield
        finally:
            restore_parameters(policy, last)

    def get_state(self) -> dict[str, Any]:
        """Returns what was seen, and what the next test compares with."""
        return {
            "looks": [look._asdict() for look in self.looks],
            "best": self._best,
            "of_best": self._of_best,
            "n_tests": self._n_tests,
            "parted": self.parted,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from what was seen before."""
        self.looks = [Look(**look) for look in state["looks"]]
        self._best, self._of_best = state["best"], dict(state["of_best"])
        self._n_tests, self.parted = state["n_tests"], state["parted"]

    def tensors(self) -> dict[str, Tensor]:
        """Returns the parameters of the best moment, if they are kept."""
        return dict(self._parameters)

    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over the parameters of the best moment."""
        self._parameters = dict(tensors)


def _seen(
    agent: Agent, evaluation: Evaluation, proxy: Sequence[float], measure: Sequence[float]
) -> Look:
    """Returns a look.

    Raises:
        ValueError: If there are fewer than four texts, of which each half needs two.
    """
    if len(measure) < 4:
        raise ValueError(f"a monitor must look at four texts or more, got {len(measure)}")
    return Look(
        agent.n_updates,
        agent.n_episodes,
        *mean_interval(proxy),
        *mean_interval(measure),
        mean_interval(evaluation.log_ratios).mean,
        mean_interval(measure[::2]).mean,
    )


def _testing(values: Sequence[float]) -> list[float]:
    """Returns the half of the values that tests; the other half chooses."""
    return list(values[1::2])
