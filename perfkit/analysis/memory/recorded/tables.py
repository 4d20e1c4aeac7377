"""Tables of what lives at a moment, and of live bytes over time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.lifetimes import LABELS, Kind
from perfkit.analysis.memory.recorded import live
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import MISSING, Int32s

LARGEST = 50
"""Rows of the table of the largest pieces."""
MOST_POINTS = 2_000
"""Moments of the table of live bytes."""
_BYTES = Column("bytes", "B", "bytes", summed=True, scale="bytes")


def texts(codes: Int32s, names: tuple[str, ...]) -> list[str]:
    """Texts of codes; empty where MISSING."""
    return ["" if code == MISSING else names[code] for code in codes.tolist()]


def peak(account: MemoryAccount) -> Table:
    """What lives at the moment, by kind and scope: the rows add up to its requested bytes."""
    lives, rows = account.lives, account.rows
    frame = pd.DataFrame({
        "kind": lives.kind[rows], "scope": lives.scope[rows], "bytes": lives.size[rows], "count": 1,
    })  # fmt: skip
    frame = frame.groupby(["kind", "scope"], as_index=False, sort=True).sum()
    frame = frame.assign(
        scope=texts(frame["scope"].to_numpy(np.int32), lives.scopes),
        share=frame["bytes"] / max(account.at.bytes, 1),
        order=-frame.groupby("kind")["bytes"].transform("sum"),
    ).sort_values(["order", "kind"], kind="stable", ignore_index=True)
    frame["kind"] = [LABELS[Kind(kind)] for kind in frame["kind"]]
    columns = (
        Column("kind"), Column("scope"), _BYTES, Column("share", "1", "share", summed=True),
        Column("count", "", "count", "pieces", summed=True, spare=True),
    )  # fmt: skip
    return Table("peak", "Memory at the peak", columns, frame[[column.name for column in columns]], lives.reasons)


def largest(account: MemoryAccount, most: int = LARGEST) -> Table:
    """The largest pieces that live at the moment, and why they are as large. Equal ones of one stack are a row."""
    lives, rows = account.lives, account.rows
    keys = ("kind", "phase", "operator", "stack")
    frame = pd.DataFrame({"bytes": lives.size[rows], **{key: getattr(lives, key)[rows] for key in keys}, "row": rows})
    frame = (
        frame.assign(scope=lives.scope[rows])
        .groupby(["bytes", *keys], as_index=False, sort=False)
        .agg(count=("row", "size"), row=("row", "first"), scope=("scope", "first"), scopes=("scope", "nunique"))
    )
    frame = frame.sort_values("bytes", ascending=False, kind="stable", ignore_index=True).head(most)
    stack = frame["stack"].to_numpy(np.int32)
    frame = frame.assign(
        kind=[LABELS[Kind(kind)] for kind in frame["kind"]],
        scope=_several(texts(frame["scope"].to_numpy(np.int32), lives.scopes), frame["scopes"].tolist()),
        phase=[Phase(phase).label for phase in frame["phase"]],
        operator=texts(frame["operator"].to_numpy(np.int32), lives.operators),
        frame=texts(stack, lives.places) if lives.places else "",
        why=[account.why(size, row) for size, row in zip(frame["bytes"].tolist(), frame["row"].tolist(), strict=True)],
    )
    columns = (
        Column("bytes", "B", "bytes"), Column("count", "", "count", "pieces"), Column("kind"), Column("scope"),
        Column("phase", spare=True), Column("operator"), Column("frame", title="where"), Column("why"),
    )  # fmt: skip
    return Table("largest", "The largest at the peak", columns, frame[[column.name for column in columns]])


def _several(scopes: list[str], count: list[int]) -> list[str]:
    """The first scope of each row, and how many others there are."""
    pairs = zip(scopes, count, strict=True)
    return [scope if number == 1 else f"{scope or 'none'} and {number - 1} more" for scope, number in pairs]


def over_time(account: MemoryAccount, most: int = MOST_POINTS) -> Table:
    """Live bytes by kind, over at most so many moments, the peak among them: a column a kind."""
    lives, device = account.lives, account.at.device
    moments, at, kinds = live.by_kind(lives, device, most)
    names = {kind: LABELS[kind].replace(" ", "_") + "_bytes" for kind in kinds}
    frame = pd.DataFrame({
        "moment": moments, "time_ns": at if lives.has_times else None,
        "bytes": np.sum(list(kinds.values()), axis=0) if kinds else 0,
        **{names[kind]: held for kind, held in kinds.items()},
    })  # fmt: skip
    columns = (
        Column("moment", audience="scripts"), Column("time_ns", "ns", "time", "time", divided=False),
        Column("bytes", "B", "bytes", scale="bytes"),
        *(Column(names[kind], "B", "bytes", LABELS[kind], scale="bytes") for kind in kinds),
    )  # fmt: skip
    return Table("live", "Live memory over time", columns, frame)
