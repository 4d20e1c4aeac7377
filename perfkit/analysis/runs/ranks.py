"""What the ranks of a job measured, side by side: their steps and what their memory was at its peak."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

import numpy as np
import pandas as pd

from perfkit.analysis.runs.summary import wall_times
from perfkit.schema import units
from perfkit.schema.finding import Finding, Rule
from perfkit.schema.record import MemoryPeaks, RankResult, RunRecord, rank_result
from perfkit.schema.table import Column, Table

NAME = "rank_results"
_RANK = re.compile(r"rank[-_]?(\d{1,6})")
MEMORY_OF_RANKS = Rule("memory-of-ranks", "run", "peak memory of each rank of a job, and how far apart they are")


def results(record: RunRecord) -> list[RankResult]:
    """All ranks of a job, rank 0 first; that one is the record itself. Empty for one process."""
    if not record.ranks:
        return []
    return [rank_result(0, record), *record.ranks]


def joined(saved: Mapping[str, RunRecord]) -> RunRecord | None:
    """One job's record, of those of its ranks by the folders that each wrote: `rank_0`, `rank_1`, ...

    As `perfkit run --parallel` writes it. None where folders are named for anything else, rank 0 is not among them, or
    they did not measure the same.
    """
    named = {folder: _RANK.fullmatch(folder) for folder in saved}
    places = {int(match[1]): folder for folder, match in named.items() if match}
    if len(saved) < 2 or len(places) < len(saved) or 0 not in places:
        return None
    if len({(one.config.workload, one.config.measurement) for one in saved.values()}) > 1:
        return None
    ranks = [rank_result(rank, saved[folder], folder) for rank, folder in sorted(places.items())]
    return dataclasses.replace(saved[places[0]], ranks=tuple(ranks[1:]), artifacts=ranks[0].artifacts)


def table(record: RunRecord) -> Table:
    """One row a rank: where it ran, its steps (s) and its peaks (bytes; missing where they were not counted)."""
    rows = [_row(one) for one in results(record)]
    columns = (
        Column("rank"),
        Column("hostname", title="host", spare=True),
        Column("device"),
        Column("steps", "", "count", "n"),
        Column("mean_s", "s", "time", "mean", scale="time"),
        Column("max_s", "s", "time", "max", scale="time"),
        Column("tensor_bytes", "B", "bytes", "peak in tensors", scale="bytes"),
        Column("reserved_bytes", "B", "bytes", "reserved", scale="bytes", spare=True),
        Column("resident_bytes", "B", "bytes", "resident", scale="bytes"),
    )
    frame = pd.DataFrame(rows, columns=[column.name for column in columns])
    for name in ("tensor_bytes", "reserved_bytes", "resident_bytes"):
        frame[name] = frame[name].astype(pd.Int64Dtype())
    return Table(NAME, "Ranks: steps and peak memory", columns, frame)


def _row(one: RankResult) -> dict[str, object]:
    wall = wall_times(one.steps)
    return {
        "rank": one.rank,
        "hostname": one.hostname,
        "device": one.device,
        "steps": len(wall),
        "mean_s": float(wall.mean()) if len(wall) else np.nan,
        "max_s": float(wall.max()) if len(wall) else np.nan,
        "tensor_bytes": one.memory.in_tensors,
        "reserved_bytes": one.memory.reserved,
        "resident_bytes": one.memory.resident,
    }


def finding(record: RunRecord) -> Finding | None:
    """The least and the most of the ranks' peaks: in tensors where all counted them, else what processes occupy."""
    every = results(record)
    peaks, what = _peaks([one.memory for one in every])
    if not peaks:
        return None
    least, most = min(peaks), max(peaks)
    text = f"peak memory {what} of {len(peaks)} ranks: {units.size(least, digits=3)} in each"
    if most > least:
        low, high = (every[peaks.index(peak)].rank for peak in (least, most))
        text = (
            f"peak memory {what} of {len(peaks)} ranks: from {units.size(least, digits=3)} (rank {low}) to"
            f" {units.size(most, digits=3)} (rank {high}), {(most - least) / most:.1%} apart"
        )
    return Finding(MEMORY_OF_RANKS, text)


def _peaks(memory: list[MemoryPeaks]) -> tuple[list[int], str]:
    for what, values in (
        ("in tensors", [one.in_tensors for one in memory]),
        ("(resident)", [one.resident for one in memory]),
    ):
        known = [value for value in values if value is not None]
        if known and len(known) == len(values):
            return known, what
    return [], ""
