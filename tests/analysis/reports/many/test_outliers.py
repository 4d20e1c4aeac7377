"""Which files, hosts and steps differ: what was made slow is found, and equal files and noise are not."""

from __future__ import annotations

import numpy as np
import pytest

from perfkit.analysis.reports.many.folded import FileRow
from perfkit.analysis.reports.many.outliers import distances, outliers


def row(number: int, step: float = 1000.0, walls: tuple[int, ...] = (), host: str = "", **times: float) -> FileRow:
    walls = walls or (round(step),) * 4
    return FileRow(file=f"f{number}", rank=number, host=host, step_walls=walls, times={"step": step, **times})


def test_a_distance_is_in_robust_deviations_by_hand():
    """GIVEN 1 2 3 4 100 THEN the median is 3, the median distance 1, and 100 is 97 / 1.4826 away"""
    assert distances(np.array([1.0, 2, 3, 4, 100]), 0.0)[-1] == pytest.approx(97 / 1.4826)
    assert distances(np.array([1.0, 2, 3, 4, 100]), 9.7)[-1] == pytest.approx(10)
    assert distances(np.ones(5), 0.0).tolist() == [0] * 5


def test_a_slow_rank_is_found_with_what_is_slow_in_it():
    """GIVEN 9 equal files, one with 100 ns more compute THEN its compute and its step are named, at 5% and not below"""
    rows = [row(n, compute=500) for n in range(8)]
    found = outliers([*rows, row(8, step=1100, compute=600)])
    assert {(one.file, one.rank, one.what, one.ns, one.usual_ns) for one in found} == {
        ("f8", 8, "step", 1100, 1000),
        ("f8", 8, "compute", 600, 500),
    }
    assert [one.distance for one in found] == pytest.approx([10, 10])
    assert outliers([*rows, row(8, step=1049, compute=549)]) == []


def test_a_slow_host_is_one_row_and_not_one_for_each_of_its_files():
    rows = [row(n, host=f"h{n // 3}") for n in range(18)] + [row(20 + n, step=1300, host="slow") for n in range(3)]
    assert [(one.file, one.host, one.what) for one in outliers(rows)] == [("", "slow", "step")]


def test_a_step_that_is_slow_in_all_files_is_one_row():
    """GIVEN step 3 of 6 long everywhere, and step 1 of one file alone THEN each is named once"""
    walls = (1000, 1000, 1000, 2000, 1000, 1000)
    rows = [row(n, walls=walls) for n in range(7)]
    rows.append(row(7, walls=(1000, 1500, 1000, 2000, 1000, 1000)))
    assert [(one.file, one.step, one.ns) for one in outliers(rows)] == [("", 3, 2000), ("f7", 1, 1500)]


def test_a_step_of_few_files_is_a_step_of_its_file():
    """GIVEN two files, of which one alone has six steps, the first of them short THEN that file is named with it"""
    rows = [row(0, walls=(300, 1000, 1000, 1000, 1000, 1000)), row(1, walls=(2000, 2000, 2000))]
    assert [(one.file, one.step, one.ns) for one in outliers(rows)] == [("f0", 0, 300)]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_files_have_no_outliers(count: int) -> None:
    assert outliers([row(n, step=1000.0 * (n + 1)) for n in range(count)]) == []


def test_files_that_were_not_read_are_not_compared():
    rows = [row(n) for n in range(6)]
    assert outliers([*rows, FileRow(file="x", why="no trace", times={"step": 9e9})]) == []


def test_noise_is_rarely_an_outlier():
    """GIVEN 300 jobs of 64 equal ranks with normal noise of 3% in 6 times each THEN in under 4% of them one is named"""
    rng = np.random.default_rng(0)
    named = 0
    for _ in range(300):
        times = rng.normal(1000, 30, (64, 6)).tolist()
        rows = [
            FileRow(file=str(n), times=dict(zip(["step", "a", "b", "c", "d", "e"], some, strict=True)))
            for n, some in enumerate(times)
        ]
        named += bool(outliers(rows))
    assert named <= 12
