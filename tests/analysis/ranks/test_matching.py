"""Which collectives belong together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.ranks.calls import COLUMNS, kind_of
from perfkit.analysis.ranks.clocks import aligned
from perfkit.analysis.ranks.matching import matched


def calls(*rows: tuple[str, str, str, int, int]) -> pd.DataFrame:
    """Rows: group, collective, step, start, end."""
    made = [(kind, 4, 2, group, "net", step, start, end, 0) for group, kind, step, start, end in rows]
    return pd.DataFrame(made, columns=list(COLUMNS))


def test_the_nth_of_its_kind_group_and_step_belong_together():
    a = calls(("g", "all_reduce", "0", 10, 30), ("h", "all_reduce", "0", 40, 60), ("g", "all_reduce", "0", 70, 90))
    b = calls(("h", "all_reduce", "0", 50, 60), ("g", "all_reduce", "0", 62, 64), ("g", "all_reduce", "0", 80, 90))
    found = matched({0: a, 1: b})
    starts = {tuple(row) for row in found.start.tolist()}
    assert starts == {(10, 62), (40, 50), (70, 80)}
    assert found.unmatched == 0


def test_what_ranks_disagree_on_is_left_out_of_that_step_alone():
    a = calls(("g", "broadcast", "0", 0, 5), ("g", "broadcast", "1", 10, 15))
    b = calls(("g", "broadcast", "0", 0, 5), ("g", "broadcast", "0", 6, 9), ("g", "broadcast", "1", 12, 15))
    found = matched({0: a, 1: b})
    assert found.start.tolist() == [[10, 12]]
    assert found.unmatched == 3
    assert (found.transfer.tolist(), found.wait.tolist()) == ([3], [[2, 0]])


def test_clocks_are_aligned_through_a_rank_between():
    """GIVEN rank 2 shares nothing with rank 0, and is 100 ahead of rank 1, which is 1000 ahead of rank 0"""
    found = matched({
        0: calls(("g", "all_reduce", "0", 0, 10)),
        1: calls(("g", "all_reduce", "0", 1000, 1010), ("h", "all_gather", "0", 1020, 1050)),
        2: calls(("h", "all_gather", "0", 1120, 1150)),
    })  # fmt: skip
    on_one, own = aligned(found)
    assert [clock.offset for clock in own] == [0, 1000, 1100]
    assert on_one.end.tolist() == [[10, 10, 0], [0, 50, 50]]


def test_a_rank_that_shares_nothing_keeps_its_clock():
    found = matched({
        0: calls(("g", "all_reduce", "0", 0, 10)), 1: calls(("g", "all_reduce", "0", 0, 10)),
        2: calls(("h", "all_gather", "0", 5, 6)),
    })  # fmt: skip
    _, own = aligned(found)
    assert [clock.is_known for clock in own] == [True, True, False]
    assert own[2].aligned(np.array([7])).tolist() == [7]


def test_kinds_by_any_name():
    names = ["ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL", "c10d::_allgather_base_", "gloo:all_reduce", "alltoallv",
             "ncclDevKernel_SendRecv", "odd"]  # fmt: skip
    assert [kind_of(name) for name in names] == [
        "reduce_scatter", "all_gather", "all_reduce", "all_to_all", "send_recv", "odd",
    ]  # fmt: skip
