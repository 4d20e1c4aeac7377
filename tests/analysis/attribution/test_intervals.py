"""Interval arithmetic against brute force on random sets: nested, crossing, equal, of zero length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.analysis.attribution import intervals
from perfkit.analysis.attribution.intervals import NONE

SAME_BLOCKS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""All examples of a test have one size of blocks, which is what its fixture is for."""
TIMES = st.integers(0, 30)
RANGES = st.lists(st.tuples(st.integers(0, 1), TIMES, st.integers(0, 12), st.booleans()), max_size=30)


def columns(ranges):
    rows = np.array([(t, s, s + d, leaf) for t, s, d, leaf in ranges], dtype=np.int64).reshape(-1, 4)
    return rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3].astype(bool)


@pytest.fixture(autouse=True, params=[3, 2**16], ids=["small blocks", "one block"])
def _blocks(request, monkeypatch):
    """The same answers whether rows are worked on in blocks or all together."""
    monkeypatch.setattr(intervals, "_BLOCK", request.param)


def forest_of(ranges, tolerance=0):
    thread, start, end, leaf = columns(ranges)
    return intervals.build_forest(thread, start, end, leaf, np.arange(len(thread)), tolerance)


@settings(SAME_BLOCKS, max_examples=150)
@given(RANGES, st.sampled_from([0, 3]))
def test_parents_by_the_letter_of_the_rule(ranges, tolerance):
    """GIVEN any ranges WHEN nested THEN each parent is the nearest previous range that holds it"""
    forest = forest_of(ranges, tolerance)
    thread, start, end, leaf = (column[forest.order] for column in columns(ranges))
    for i in range(len(ranges)):
        holders = [
            j
            for j in range(i)
            if thread[j] == thread[i]
            and not leaf[j]
            and end[j] + tolerance >= end[i]
            and (end[j] > start[i] or start[j] == start[i])
        ]
        assert forest.parent[i] == (holders[-1] if holders else NONE)


@settings(SAME_BLOCKS, max_examples=100)
@given(RANGES, st.sampled_from([0, 3]))
def test_self_times_add_up_over_every_subtree(ranges, tolerance):
    """GIVEN any forest WHEN self times are added over a root's subtree THEN they are the root's duration, exactly"""
    forest = forest_of(ranges, tolerance)
    _, start, end, _ = (column[forest.order] for column in columns(ranges))
    own = intervals.self_times(forest.parent, start, end, np.zeros(len(start), dtype=bool))
    root = np.arange(len(start))
    while (forest.parent[root] != NONE).any():
        root = np.where(forest.parent[root] == NONE, root, forest.parent[root])
    for row in np.flatnonzero(forest.parent == NONE):
        assert own[root == row].sum() == end[row] - start[row]
    assert (own >= 0).all()  # also of a range in which others cross


@settings(SAME_BLOCKS, max_examples=100)
@given(RANGES, st.data())
def test_nearest_flagged_ancestor(ranges, data):
    """GIVEN flags WHEN the nearest flagged self-or-ancestor is asked for THEN climbing one by one gives the same"""
    forest = forest_of(ranges)
    flags = np.array([data.draw(st.booleans()) for _ in ranges], dtype=bool)
    found = intervals.nearest(forest.parent, flags)
    for i in range(len(ranges)):
        at = i
        while at != NONE and not flags[at]:
            at = forest.parent[at]
        assert found[i] == at


@settings(SAME_BLOCKS, max_examples=150)
@given(st.lists(st.tuples(TIMES, st.integers(0, 12), st.integers(0, 2)), max_size=20))
def test_exclusive_time_instant_by_instant(events):
    """GIVEN overlapping intervals of three ranks WHEN each instant goes to one THEN it is the one the rule names"""
    start = np.array([s for s, _, _ in events], dtype=np.int64)
    end = np.array([s + d for s, d, _ in events], dtype=np.int64)
    rank = np.array([r for _, _, r in events], dtype=np.int64)
    expected = [0] * len(events)
    for instant in range(50):
        busy = [i for i in range(len(events)) if start[i] <= instant < end[i]]
        if busy:
            expected[min(busy, key=lambda i: (rank[i], start[i], i))] += 1
    assert intervals.exclusive_times(start, end, rank).tolist() == expected
    assert intervals.union_length(start, end) == sum(expected)


@settings(SAME_BLOCKS, max_examples=100)
@given(
    st.lists(st.tuples(st.integers(-1, 3), TIMES), max_size=20),
    st.lists(st.tuples(st.integers(-1, 3), TIMES), max_size=20),
    st.booleans(),
)
def test_last_at_or_before(known, wanted, strictly):
    """GIVEN groups and times WHEN the latest row before a time is asked for THEN a scan gives the same row"""
    group, time = (np.array([row[k] for row in known], dtype=np.int64) for k in (0, 1))
    wanted_group, wanted_time = (np.array([row[k] for row in wanted], dtype=np.int64) for k in (0, 1))
    found = intervals.last_at_or_before(group, time, wanted_group, wanted_time, strictly=strictly)
    for answer, (g, t) in zip(found, wanted, strict=True):
        rows = [i for i, (h, u) in enumerate(known) if h == g and (u < t if strictly else u <= t)]
        assert answer == (max(rows, key=lambda i: (known[i][1], i)) if rows else NONE)


@settings(SAME_BLOCKS, max_examples=100)
@given(RANGES)
def test_depths_are_numbers_of_ancestors(ranges):
    """GIVEN any forest WHEN depths are asked for THEN climbing one by one counts the same"""
    parent = forest_of(ranges).parent
    for row, depth in enumerate(intervals.depths(parent)):
        at, steps = row, 0
        while parent[at] != NONE:
            at, steps = parent[at], steps + 1
        assert depth == steps


@settings(SAME_BLOCKS, max_examples=100)
@given(RANGES, st.data())
def test_nearest_proper_ancestor(ranges, data):
    """GIVEN flags WHEN the nearest flagged proper ancestor is asked for THEN it is the parent's nearest flagged one"""
    parent = forest_of(ranges).parent
    flags = np.array([data.draw(st.booleans()) for _ in ranges], dtype=bool)
    nearest = intervals.nearest(parent, flags)
    expected = [NONE if above == NONE else nearest[above] for above in parent]
    assert intervals.strictly_above(parent, nearest).tolist() == expected


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-(2**40), 2**40), st.booleans()), max_size=12))
@settings(SAME_BLOCKS, max_examples=100)
def test_keys_are_equal_where_rows_are_and_dense(rows):
    columns = [np.array([row[k] for row in rows], dtype=np.int64) for k in range(3)]
    keys = intervals.pair_keys(*columns)
    for key, row in zip(keys, rows, strict=True):
        assert [other == key for other in keys] == [other == row for other in rows]
    assert sorted(set(keys.tolist())) == list(range(len(set(rows))))


def test_a_child_that_outlasts_its_parent_is_cut_at_every_level():
    """GIVEN a root of 10 ns whose child and grandchild end 2 and 3 ns late WHEN self times are asked for THEN the cut
    goes down: 10 = 4 + 3 + 3"""
    parent = np.array([NONE, 0, 1])
    own = intervals.self_times(parent, np.array([0, 4, 7]), np.array([10, 12, 13]), np.zeros(3, dtype=bool))
    assert own.tolist() == [4, 3, 3]
    late = intervals.self_times(np.array([NONE, 0]), np.array([0, 12]), np.array([10, 15]), np.zeros(2, dtype=bool))
    assert late.tolist() == [10, 0]  # began after its parent's end: nothing is left of it


def test_of_two_children_that_overlap_the_first_is_cut_where_the_second_starts():
    """GIVEN a call of 30 ns round a range that cannot be its child WHEN self times are asked for THEN nothing counts
    twice; a step stays whole"""
    parent, start, end = np.array([NONE, 0, 0]), np.array([0, 5, 6]), np.array([100, 35, 34])
    assert intervals.self_times(parent, start, end, np.zeros(3, dtype=bool)).tolist() == [71, 1, 28]
    assert intervals.self_times(parent, start, end, np.array([False, True, False])).tolist() == [42, 30, 28]


def test_a_union_of_touching_intervals():
    start, end = np.array([5, 0, 20, 6]), np.array([10, 5, 30, 7])
    assert intervals.union_length(start, end) == 20
    assert intervals.union_length(start[:0], end[:0]) == 0


def test_equal_starts_nest_the_longest_first_then_by_the_recorders_order_and_calls_last():
    """GIVEN four ranges and a call that start together WHEN nested THEN by length, then by order, the call innermost"""
    thread, start = np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64)
    end, leaf = np.array([5, 9, 5, 9]), np.array([False, False, False, True])
    forest = intervals.build_forest(thread, start, end, leaf, np.array([2, 0, 1, 3]), 0)
    assert forest.order.tolist() == [1, 2, 0, 3]
    assert forest.parent.tolist() == [NONE, 0, 1, 0]


@pytest.mark.parametrize(
    ("values", "rows", "absent", "expected"),
    [
        (np.array([7, 8, 9], dtype=np.int32), [2, NONE, 0], NONE, [9, NONE, 7]),
        (np.array([True, False]), [NONE, 0], False, [False, True]),
        (np.array(["a", "b"], dtype=object), [1, NONE], "rest", ["b", "rest"]),
        (np.empty(0, dtype=np.int64), [NONE, NONE], 5, [5, 5]),
    ],
    ids=["numbers", "flags", "texts", "no values"],
)
def test_values_by_row_with_a_value_for_no_row(values, rows, absent, expected):
    """GIVEN a column and rows of it, some NONE WHEN looked up THEN NONE gives the value for absent, of the same type"""
    looked_up = intervals.at(values, np.array(rows), absent=absent)
    assert looked_up.tolist() == expected
    assert looked_up.dtype == values.dtype
