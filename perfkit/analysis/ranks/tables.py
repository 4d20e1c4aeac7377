"""Tables of a job: collectives with bandwidths, what of them is exposed and where, ranks, layers by rank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.costs.flops.collectives import bus_factor
from perfkit.analysis.ranks.bubbles import BUBBLES
from perfkit.analysis.ranks.matching import Matched
from perfkit.analysis.ranks.side import Side
from perfkit.analysis.ranks.stragglers import Straggler
from perfkit.schema.table import Column, Table

EXCHANGES, EXPOSED, RANKS, LAYERS = "exchanges", "exposed", "ranks", "layer_ranks"
CLOCKS = "clocks"
NAMES = (RANKS, EXCHANGES, EXPOSED, LAYERS, CLOCKS, BUBBLES)
"""The tables of a job, beside its recordings."""


def exchange_table(found: Matched) -> Table:
    """One row a kind of collective, group and size: transfer (the shortest participant's) against waiting."""
    frame = found.calls[["collective", "group", "ranks", "size"]].copy()
    frame["count"] = 1
    frame["transfer_ns"] = found.transfer
    frame["wait_ns"] = found.wait.sum(axis=1) / np.maximum(found.takes_part.sum(axis=1), 1)
    frame["longest_wait_ns"] = found.wait.max(axis=1, initial=0)
    keys = ["collective", "group", "ranks", "size"]
    how = {"count": "sum", "transfer_ns": "sum", "wait_ns": "sum", "longest_wait_ns": "max"}
    frame = frame.groupby(keys, sort=False).agg(how).reset_index()
    frame = frame.sort_values(["transfer_ns", *keys], ascending=[False, *[True] * 4], ignore_index=True)
    known = frame["size"].where(frame["size"] != NONE).astype("float64")
    frame["algorithm_bytes_per_s"] = known * frame["count"] / (frame["transfer_ns"] / 1e9)
    pairs = zip(frame["collective"], frame["ranks"], strict=True)
    factors = [bus_factor(name, int(ranks)) if ranks != NONE else None for name, ranks in pairs]
    frame["bus_bytes_per_s"] = frame["algorithm_bytes_per_s"] * pd.Series(factors, frame.index, dtype="float64")
    frame["message_bytes"] = known
    frame["ranks"] = frame["ranks"].where(frame["ranks"] != NONE).astype(pd.Int64Dtype())
    columns = (
        Column("collective"),
        Column("group", spare=True),
        Column("ranks"),
        Column("message_bytes", "B", "bytes", "size"),
        Column("count", "", "count", summed=True),
        Column("transfer_ns", "ns", "time", "transfer", summed=True, scale="time",
               note="as long as the shortest participant was in it; its bandwidths have no waiting in them"),
        Column("wait_ns", "ns", "time", "wait", summed=True, scale="time", note="the rest, mean of the participants"),
        Column("longest_wait_ns", "ns", "time", "longest wait", scale="time", spare=True),
        Column("algorithm_bytes_per_s", "/s", "rate", "algorithm B/s"),
        Column("bus_bytes_per_s", "/s", "rate", "bus B/s"),
    )  # fmt: skip
    return Table(EXCHANGES, "Collectives of the job", columns, frame)


def exposed_table(found: Matched) -> Table:
    """One row a scope and kind: what no computation hides, of the mean participant, and the rank with most of it."""
    part = np.maximum(found.takes_part.sum(axis=1), 1)
    total = np.where(found.takes_part, found.end - found.start, 0)
    frame = found.calls[["scope", "collective"]].copy()
    frame["count"] = 1
    frame["total_ns"], frame["exposed_ns"] = total.sum(axis=1) / part, found.exposed.sum(axis=1) / part
    frame["hidden_ns"] = frame["total_ns"] - frame["exposed_ns"]
    frame["transfer_ns"] = found.transfer
    made = frame.groupby(["scope", "collective"], sort=False).sum().reset_index()
    made = made.sort_values(["exposed_ns", "scope", "collective"], ascending=[False, True, True], ignore_index=True)
    columns = (
        Column("scope", title="for"),
        Column("collective"),
        Column("count", "", "count", summed=True),
        Column("total_ns", "ns", "time", "sum", summed=True, scale="time"),
        Column("exposed_ns", "ns", "time", "exposed", summed=True, scale="time",
               note="the rank computes nothing meanwhile: it was asked for too late, or waits for others"),
        Column("hidden_ns", "ns", "time", "hidden", summed=True, scale="time"),
        Column("transfer_ns", "ns", "time", "transfer", summed=True, scale="time"),
    )  # fmt: skip
    return Table(EXPOSED, "Exposed communication by layer (mean of ranks)", columns, made)


def rank_table(sides: Sequence[Side], found: Matched, slow: Sequence[Straggler] | None) -> Table:
    """One row a rank: what it computes, waits and transfers, and what the job costs more because of it.

    `slow`: None where ranks wait for messages of single ranks, of which a replay of collectives knows nothing.
    """
    costs = {one.rank: one.cost for one in slow or []}
    waits = found.wait.sum(axis=0)
    moved = np.where(found.takes_part, found.transfer[:, None] if len(found.start) else 0, 0).sum(axis=0)
    rows = [
        {
            "rank": side.rank,
            "count": len(side.calls),
            "span_ns": side.end - side.begin,
            "compute_ns": int(side.layers.sum()),
            "wait_ns": int(waits[column]),
            "transfer_ns": int(moved[column]),
            "exposed_ns": int(side.calls["exposed"].sum()),
            "cost_ns": np.nan if slow is None else costs.get(side.rank, 0),
        }
        for column, side in enumerate(sides)
    ]
    columns = (
        Column("rank"),
        Column("count", "", "count", "collectives", spare=True),
        Column("span_ns", "ns", "time", "first to last", scale="time"),
        Column("compute_ns", "ns", "time", "in layers", scale="time"),
        Column("wait_ns", "ns", "time", "waits", scale="time", note="for other ranks, in collectives"),
        Column("transfer_ns", "ns", "time", "transfers", scale="time"),
        Column("exposed_ns", "ns", "time", "exposed", scale="time", spare=True),
        Column("cost_ns", "ns", "time", "costs the job", scale="time",
               note="against a replay with the median of the other ranks' work in its place"),
    )  # fmt: skip
    return Table(RANKS, "Ranks", columns, pd.DataFrame(rows))


def layer_table(sides: Sequence[Side]) -> Table:
    """One row a layer: ns that the ranks compute in it, the least, the median and the most, and whose that is."""
    wide = pd.DataFrame({side.rank: side.layers for side in sides}).fillna(0)
    frame = pd.DataFrame(
        {
            "scope": wide.index,
            "min_ns": wide.min(axis=1).to_numpy(),
            "median_ns": wide.median(axis=1).to_numpy(),
            "max_ns": wide.max(axis=1).to_numpy(),
            "slowest": wide.idxmax(axis=1).to_numpy() if len(wide) else [],
        }
    )
    frame["spread_ns"] = frame["max_ns"] - frame["min_ns"]
    frame = frame.sort_values(["spread_ns", "scope"], ascending=[False, True], ignore_index=True)
    columns = (
        Column("scope"),
        Column("min_ns", "ns", "time", "least", scale="time"),
        Column("median_ns", "ns", "time", "median", scale="time"),
        Column("max_ns", "ns", "time", "most", scale="time"),
        Column("slowest", title="of rank"),
        Column("spread_ns", "ns", "time", "spread", scale="time"),
    )
    return Table(LAYERS, "Layers by rank", columns, frame)
