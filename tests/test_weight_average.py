"""Moving averages of parameters: by hand, put in place and taken back, saved and refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.algorithms.weight_average import WeightAverage
from tests.members import MEMBERS


def test_the_average_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([0.0, 8.0]))
    average = WeightAverage({"weight": weight}, decay=0.75)
    for value in (4.0, 8.0):
        weight.data.fill_(value)
        average.update()
    # 0.75 * (0.75 * 0 + 0.25 * 4) + 0.25 * 8, and the same from 8.
    assert average.tensors()["weight"].tolist() == [2.75, 7.25]


def test_in_place_the_averages_and_afterwards_the_parameters_again() -> None:
    weight = nn.Parameter(torch.tensor([1.0]))
    average = WeightAverage({"weight": weight}, decay=0.5)
    weight.data.fill_(3.0)
    with average.in_place():
        assert weight.item() == 1.0
    assert weight.item() == 3.0
    assert average.tensors()["weight"].item() == 1.0


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "only here: weight"),
        ({"weight": torch.zeros(1), "bias": torch.zeros(1)}, "only saved: bias"),
        ({"weight": torch.zeros(2)}, r"must be torch.float32 \(1,\), got torch.float32 \(2,\)"),
    ],
)
def test_other_averages_are_refused(tensors: dict[str, torch.Tensor], message: str) -> None:
    average = WeightAverage({"weight": nn.Parameter(torch.zeros(1))}, decay=0.5)
    with pytest.raises(ValueError, match=message):
        average.load_tensors(tensors)


def test_an_agent_averages_what_learns_after_every_step() -> None:
    agent = MEMBERS[0].agent(ema_decay=0.5, n_epochs=1, batch_size=16)
    start = {n: p.detach().clone() for n, p in agent.policy.trainable_parameters().items()}
    agent.learn(16)  # one step
    for name, parameter in agent.policy.trainable_parameters().items():
        expected = start[name] / 2 + parameter.detach() / 2
        torch.testing.assert_close(agent.average.tensors()[name], expected)


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_a_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"ema_decay must be None or in \(0, 1\)"):
        MEMBERS[0].config(ema_decay=decay)
