"""Ranks of a job side by side."""

from __future__ import annotations

import dataclasses

from perfkit.analysis.runs import ranks
from perfkit.schema.record import MemoryPeaks, RankResult, RunRecord
from tests.runs import quick, sample, saved

MIB = 2**20


def job(first: MemoryPeaks, other: MemoryPeaks) -> RunRecord:
    """Two ranks, of which rank 1 took 30 and 50 ms."""
    rank = RankResult(rank=1, hostname="there", device="cpu", device_name="a CPU", status="ok",
                      steps=(sample(0.03), sample(0.05)), memory=other)  # fmt: skip
    return saved(memory=first, ranks=(rank,))


def test_a_row_a_rank():
    """GIVEN rank 0 of 20 and 40 ms, whose process had 100 MiB, and rank 1 of 30 and 50 ms with 150 MiB"""
    record = job(MemoryPeaks(resident=100 * MIB), MemoryPeaks(resident=150 * MIB))
    table = ranks.table(record)
    assert table.frame[["rank", "hostname", "steps", "mean_s", "max_s", "resident_bytes"]].to_dict("records") == [
        {"rank": 0, "hostname": "here", "steps": 2, "mean_s": 0.03, "max_s": 0.04, "resident_bytes": 100 * MIB},
        {"rank": 1, "hostname": "there", "steps": 2, "mean_s": 0.04, "max_s": 0.05, "resident_bytes": 150 * MIB},
    ]
    assert table.frame["tensor_bytes"].isna().all()
    found = ranks.finding(record)
    assert found is not None
    assert found.what == ("peak memory (resident) of 2 ranks: from 100 MiB (rank 0) to 150 MiB (rank 1), 33.3% apart")


def test_tensors_are_what_counts_where_all_ranks_counted_them():
    found = ranks.finding(job(MemoryPeaks(allocated=8 * MIB, resident=1), MemoryPeaks(allocated=8 * MIB, resident=2)))
    assert found is not None
    assert found.what == "peak memory in tensors of 2 ranks: 8.00 MiB in each"
    found = ranks.finding(job(MemoryPeaks(allocated=8 * MIB, resident=MIB), MemoryPeaks(resident=MIB)))
    assert found is not None
    assert found.what == "peak memory (resident) of 2 ranks: 1.00 MiB in each"
    assert ranks.finding(job(MemoryPeaks(), MemoryPeaks())) is None


def test_one_process_is_no_job():
    assert ranks.results(saved()) == []
    assert ranks.finding(saved()) is None


def test_folders_of_ranks_are_one_job_where_they_measured_the_same():
    """GIVEN records of rank 1 and 0 in folders of theirs THEN rank 0's, with the other beside it, and files in them"""
    first, other = (saved(artifacts={"trace": f"{name}.json"}, steps=(sample(0.01),)) for name in "ab")
    record = ranks.joined({"rank_1": other, "rank_0": first})
    assert record is not None
    assert record.artifacts == {"trace": "rank_0/a.json"}
    assert [(one.rank, one.artifacts) for one in record.ranks] == [(1, {"trace": "rank_1/b.json"})]
    there = dataclasses.replace(other, environment=dataclasses.replace(other.environment, device="cuda:1"))
    assert ranks.joined({"rank0": first, "rank1": there}) is not None
    longer = dataclasses.replace(other, config=quick(measure_steps=7))
    for folders in (
        {"rank_0": first}, {"rank_1": first, "rank_2": other}, {"rank_0": first, "run": other},
        {"rank_0": first, "rank_0_2": other}, {"rank_0": first, "rank0": other}, {"rank_0": first, "rank_1": longer},
    ):  # fmt: skip
        assert ranks.joined(folders) is None, folders
