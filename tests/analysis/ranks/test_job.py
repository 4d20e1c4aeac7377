"""Jobs whose numbers are planted, from files to tables and findings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.ranks import clocks, job, matching
from perfkit.analysis.ranks.side import Side, side_of
from perfkit.analysis.time.account import account_for
from perfkit.trace.load import load
from tests.analysis import columns
from tests.analysis.ranks.synthetic import ELEMENTS, START, TRANSFER, Planted, recorded_layers


def sides(paths: list[Path]) -> list[Side]:
    made = []
    for rank, path in enumerate(paths):
        trace = load(path)
        made.append(side_of(account_for(trace, attribute(trace)), rank))
    return made


@pytest.mark.parametrize("ranks", [8, 64])
def test_clocks_that_are_off_and_drift_are_recovered_within_5_us(tmp_path: Path, ranks: int):
    """GIVEN clocks up to 300 us apart that drift by up to 100 us a second, ends that differ by 3 us, work by 20%"""
    rng = np.random.default_rng(3)
    offsets = [0, 300_000, *rng.integers(-300_000, 300_000, ranks - 2).tolist()]
    drifts = [0.0, 1e-4, *rng.uniform(-1e-4, 1e-4, ranks - 2).tolist()]
    planted = Planted(ranks, steps=10, noise=0.2, jitter=3000, offsets=offsets, drifts=drifts)
    found = matching.matched({side.rank: side.calls for side in sides(planted.write(tmp_path, recorded_layers()))})
    on_one, own = clocks.aligned(found)
    assert found.unmatched == 0
    true = np.linspace(START, START + int(np.ptp(on_one.end[:, 0])), 5).astype(np.int64)
    for rank, clock in enumerate(own):
        assert np.abs(clock.aligned(planted.own(rank, true)) - true).max() < 5000, rank
    assert np.nanmax(np.abs(clocks.residuals(on_one))) < 10_000
    columns.assert_regular(clocks.table(on_one, own))


def test_a_straggler_costs_what_was_planted(tmp_path: Path):
    """GIVEN 4 ranks that work alike but for rank 2, slower in one layer by 1 ms in step 0, 5 ms in step 3"""
    layers = recorded_layers()
    layer = list(layers)[1]
    planted = Planted(4, slow={(2, layer, 0): 1_000_000, (2, layer, 3): 5_000_000})
    judged = job.judged(sides(planted.write(tmp_path, layers)))
    tables = {table.name: table for table in judged.tables}
    ranks = tables["ranks"].frame.set_index("rank")
    assert ranks["cost_ns"].to_dict() == {0: 0, 1: 0, 2: 6_000_000, 3: 0}
    assert ranks["wait_ns"].to_dict() == {0: 6_000_000, 1: 6_000_000, 2: 0, 3: 6_000_000}
    spread = tables["layer_ranks"].frame.iloc[0]
    assert (spread["scope"], spread["slowest"], spread["spread_ns"]) == (layer, 2, 6_000_000)
    told, slow = judged.findings
    count = 6 * len(layers)
    assert told.what.startswith(f"4 ranks: {count} collectives match; aligned by their ends, clocks agree to")
    assert (slow.rule.id, slow.where, slow.cost.ns) == ("straggler", "rank 2", 1_000_000)
    assert f"most of it in {layer}:" in slow.what
    assert "ProfilerStep#3 loses most, 5.000 ms (4 ranks were looked at)" in slow.what
    for table in judged.tables:
        columns.assert_regular(table)


def test_bandwidths_are_of_the_transfer_without_waiting(tmp_path: Path):
    """GIVEN all-reduces of 1 MiB by 4 ranks that take 40 us once all are there. Bus: 2 (n - 1) / n of it"""
    layers = recorded_layers()
    planted = Planted(4, steps=2, slow={(1, next(iter(layers)), 0): 2_000_000})
    table = {table.name: table for table in job.judged(sides(planted.write(tmp_path, layers))).tables}["exchanges"]
    (row,) = table.frame.to_dict("records")
    assert (row["collective"], row["ranks"], row["message_bytes"], row["count"]) == (
        "all_reduce", 4, 4 * ELEMENTS, 2 * len(layers),
    )  # fmt: skip
    assert row["transfer_ns"] == TRANSFER * row["count"]
    assert (row["wait_ns"], row["longest_wait_ns"]) == (1_500_000, 2_000_000)
    assert row["algorithm_bytes_per_s"] == pytest.approx(4 * ELEMENTS / (TRANSFER / 1e9))
    assert row["bus_bytes_per_s"] == pytest.approx(1.5 * row["algorithm_bytes_per_s"])


def test_the_verdict_is_of_the_ranks_that_were_captured(tmp_path: Path):
    judged = job.judged(sides(Planted(8).write(tmp_path, recorded_layers())[:2]))
    assert judged.findings[0].what.startswith("2 of 8 ranks: ")


def test_ranks_alike_have_no_straggler(tmp_path: Path):
    judged = job.judged(sides(Planted(3).write(tmp_path, recorded_layers())))
    assert [finding.rule.id for finding in judged.findings] == ["job"]


def test_two_ranks_that_vary_by_chance_have_no_straggler(tmp_path: Path):
    """GIVEN work that varies by 20% for either rank: without each, the job would be shorter; neither is slow"""
    paths = Planted(2, noise=0.2).write(tmp_path, recorded_layers())
    judged = job.judged(sides(paths))
    [ranks] = [table for table in judged.tables if table.name == "ranks"]
    assert (ranks.frame["cost_ns"] > 0).all()
    assert [finding.rule.id for finding in judged.findings] == ["job"]


def test_one_rank_twice_and_ranks_without_collectives_are_no_job(tmp_path: Path):
    (one, other) = sides(Planted(2).write(tmp_path, recorded_layers()))
    assert job.judged([one, one]) == job.NOTHING
    assert job.judged([one]) == job.NOTHING
    nothing = Side(1, 2, other.calls.iloc[:0], other.layers, other.begin, other.end, 1)
    assert job.judged([one, nothing]) == job.NOTHING
