"""What perfkit says of collectives that ranks share, against the plain reference: to the nanosecond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perfkit.analysis.ranks import matching
from perfkit.analysis.ranks.calls import COLUMNS
from perfkit.analysis.ranks.matching import Matched
from tests.analysis.ranks.synthetic import Planted, recorded_layers
from tests.analysis.ranks.test_job import sides
from tests.reference import ranks_reference as reference
from tests.reference.ranks_reference import Call


def assert_equal(found: Matched, ranks: list[list[Call]]) -> None:
    """The same matches, with the same transfer and the same wait of each rank."""
    expected, alone = reference.matched(ranks)
    told = []
    for row, part in enumerate(found.takes_part.tolist()):
        took = [column for column, takes in enumerate(part) if takes]
        spans = tuple((found.ranks[one], int(found.start[row, one]), int(found.end[row, one])) for one in took)
        told.append((spans, int(found.transfer[row]), tuple(int(found.wait[row, one]) for one in took)))
    plain = [
        (tuple((rank, *span) for rank, span in one.spans.items()), one.transfer, tuple(one.wait.values()))
        for one in expected
    ]
    assert sorted(told) == sorted(plain)
    assert found.unmatched == alone


def assert_equal_files(paths: list[Path]) -> int:
    """The same of the traces of ranks, each read by perfkit and by the reference; how many calls there are."""
    found = matching.matched({side.rank: side.calls for side in sides(paths)})
    ranks = [reference.calls_of(path) for path in paths]
    assert_equal(found, ranks)
    return sum(map(len, ranks))


def test_eight_ranks_of_planted_files(tmp_path: Path):
    """GIVEN clocks that are off and drift, work and ends that vary, and one rank that is slow"""
    layers = dict(list(recorded_layers().items())[:2])
    first = next(iter(layers))
    planted = Planted(8, steps=3, noise=0.2, jitter=3000, offsets=[rank * 40_000 for rank in range(8)],
                      drifts=[rank * 1e-5 for rank in range(8)], slow={(5, first, 1): 2_000_000})  # fmt: skip
    assert assert_equal_files(planted.write(tmp_path, layers)) == 8 * 3 * len(layers)


@pytest.mark.parametrize("seed", range(20))
def test_eight_ranks_of_chance(seed: int):
    """GIVEN calls of several groups, kinds, sizes and steps, some of which single ranks lack or have once more"""
    rng = np.random.default_rng(seed)
    frames, ranks = {}, []
    for rank in range(8):
        rows = []
        for _ in range(60):
            start = int(rng.integers(0, 10**6))
            key = (f"g{rng.integers(2)}", ("all_reduce", "all_gather")[rng.integers(2)], f"{rng.integers(8)}")
            rows.append((*key, start, start + int(rng.integers(1, 10**5))))
        shared = [("all", "broadcast", str(step), step * 10**6 + int(rng.integers(10**5)), step * 10**6 + 200_000)
                  for step in range(10) if rng.random() > 0.05]  # fmt: skip
        rows = sorted([*rows, *shared], key=lambda row: row[3:])
        ranks.append([Call(row[:3], *row[3:]) for row in rows])
        made = [(kind, 4, 8, group, "net", step, start, end, 0) for group, kind, step, start, end in rows]
        frames[rank] = pd.DataFrame(made, columns=list(COLUMNS))
    assert_equal(matching.matched(frames), ranks)
    assert reference.matched(ranks)[0], "some match"
