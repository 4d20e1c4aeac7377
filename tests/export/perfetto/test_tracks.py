"""Slices of one track nest; what overlaps has siblings, shown as one row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.export.perfetto.tracks import flows, lanes
from tests.builders import TraceBuilder
from tests.export.perfetto.reading import shown

times = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), max_size=40)


def _lanes(intervals: list[tuple[int, int]], *, nests: bool) -> list[int]:
    start, end = np.array(intervals, dtype=np.int64).reshape(-1, 2).T
    return lanes(start, end, nests=nests).tolist()


def test_what_overlaps_has_lanes_of_its_own_and_gets_the_one_that_is_free():
    """GIVEN intervals, two at once WHEN placed THEN the second has lane 1, and so has the next one that does not fit"""
    assert _lanes([(0, 10), (5, 8), (8, 12), (10, 11)], nests=False) == [0, 1, 1, 0]


def test_what_nests_stays_and_what_crosses_goes():
    """GIVEN 0-10 with 2-5 inside and 8-12 across its end WHEN placed THEN only that one is on a sibling"""
    assert _lanes([(0, 10), (2, 5), (8, 12), (12, 13)], nests=True) == [0, 0, 1, 0]


@pytest.mark.parametrize("nests", [True, False])
@given(times=times)
def test_no_lane_holds_what_crosses(times, nests):
    """GIVEN any intervals WHEN placed THEN two of one lane are apart or, in lane 0 where they nest, one in the other"""
    intervals = sorted(((start, start + length) for start, length in times), key=lambda i: (i[0], -i[1]))
    placed = list(zip(_lanes(intervals, nests=nests), intervals, strict=True))
    for row, (lane, (_, end)) in enumerate(placed):
        for other, (start, until) in placed[row + 1 :]:
            inside = nests and lane == 0 and until <= end
            assert other != lane or start >= end or inside


def test_arrows_of_each_slice():
    """GIVEN two arrows at row 2 and one at row 0 WHEN asked row by row THEN each has its own"""
    found = flows(3, np.array([2, 0, 2]), np.array([7, 8, 9]), "kind", is_end=False)
    assert [found.of(row) for row in range(3)] == [[8], [], [7, 9]]
    assert found.at(np.array([2])).of(0) == [7, 9]


def test_kernels_at_the_same_time_are_on_siblings_that_show_as_one_row():
    """GIVEN two kernels of a stream, one inside the other's time WHEN exported THEN neither is inside the other"""
    found = shown(TraceBuilder().event("a", 0, 100).event("b", 10, 20).event("c", 30, 40))
    kernels = found.of("kernel")
    assert {(kernel.name, kernel.depth) for kernel in kernels} == {("a", 0), ("b", 0), ("c", 0)}
    places = [{kernel.track for kernel in kernels if kernel.name in names} for names in ("a", "bc")]
    assert [len(tracks) for tracks in places] == [1, 1]
    rows = {found.tracks[kernel.track].row for kernel in kernels}
    assert len(rows) == 1
    assert rows != {0}
