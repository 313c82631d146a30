"""MaskTable: which mask holds for which row, in Gymnasium's vector infos."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.vector import VectorEnv

from agents.policy.action_masks import MaskTable

A, B, C = (np.array(bits, dtype=np.int8) for bits in ([1, 1, 0], [0, 1, 1], [0, 0, 1]))


def infos(*masks: np.ndarray | None) -> dict[str, object]:
    """What a Gymnasium vector environment makes of the rows' infos (None: not reported)."""
    gathered: dict[str, object] = {}
    envs = VectorEnv()
    envs.num_envs = len(masks)
    for row, mask in enumerate(masks):
        if mask is not None:
            gathered = envs._add_info(gathered, {"action_mask": mask}, row)
    return gathered


def allowed(table: MaskTable, n: int) -> list[list[int]]:
    masks = table.allowed(range(n))
    assert masks is not None
    return masks.int().tolist()


def test_rows_have_the_masks_they_reported() -> None:
    table = MaskTable(3)
    table.update(infos(A, B, A))
    assert allowed(table, 3) == [A.tolist(), B.tolist(), A.tolist()]
    assert table.table.dtype == torch.bool
    assert len(table.table) == 3  # equal masks are kept once, beside the one that allows all


def test_before_a_mask_is_reported_there_is_none() -> None:
    table = MaskTable(2)
    table.update({"asked": np.array([1, 2])})
    assert len(table) == 0
    assert table.allowed([0, 1]) is table.at(torch.zeros(2, 3, dtype=torch.long)) is None


def test_rows_that_never_reported_a_mask_are_free() -> None:
    table = MaskTable(2)
    table.update(infos(None, B))
    assert allowed(table, 2) == [[1, 1, 1], B.tolist()]


def test_rows_that_report_nothing_keep_their_mask() -> None:
    table = MaskTable(3)
    table.update(infos(A, B, A))
    table.update(infos(None, None, C))
    assert allowed(table, 3) == [A.tolist(), B.tolist(), C.tolist()]
    table.update({"stop_reason": np.array(["eos", None, None])})
    assert allowed(table, 3) == [A.tolist(), B.tolist(), C.tolist()]


def test_numbers_stay_valid_when_masks_are_added() -> None:
    table = MaskTable(2)
    table.update(infos(A, B))
    index, first = table.current.copy(), table.table
    table.update(infos(C, None))
    assert torch.equal(table.table[:3], first)
    assert table.table[torch.from_numpy(index)].int().tolist() == [A.tolist(), B.tolist()]
    assert table.current.tolist() == [3, 2]
    assert allowed(table, 2) == [C.tolist(), B.tolist()]


def test_a_mask_that_allows_nothing_is_refused_unless_nobody_writes_there() -> None:
    nothing = np.zeros(3, dtype=np.int8)
    table = MaskTable(2)
    table.update(infos(A, B))
    table.update(infos(nothing, C), np.array([False, True]))
    assert allowed(table, 2) == [A.tolist(), C.tolist()]
    table.update(infos(nothing, None), np.array([False, True]))
    with pytest.raises(ValueError, match=r"action_mask must allow at least one token, got array"):
        table.update(infos(nothing, C), np.array([True, True]))


def test_one_mask_broadcast_to_all_rows() -> None:
    table = MaskTable(4)
    table.update(
        {
            "action_mask": np.broadcast_to(B, (4, 3)),
            "_action_mask": np.array([True, True, True, True]),
        }
    )
    assert allowed(table, 4) == [B.tolist()] * 4


def test_masks_that_differ_only_late_are_told_apart() -> None:
    one, other = np.ones(17, dtype=np.int8), np.ones(17, dtype=np.int8)
    other[16] = 0
    table = MaskTable(2)
    table.update(infos(one, other))
    assert allowed(table, 2) == [one.tolist(), other.tolist()]


@pytest.mark.parametrize("rows", [[2, 0], [1]])
def test_allowed_follows_the_order_asked_for(rows: list[int]) -> None:
    table = MaskTable(3)
    table.update(infos(A, B, C))
    assert table.allowed(rows).int().tolist() == [[A, B, C][row].tolist() for row in rows]
