"""Memory from step to step: the peak and the end of each, and what steps leave behind."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from perfkit.analysis.memory.lifetimes import LABELS, Kind, Lifetimes
from perfkit.analysis.memory.recorded import live
from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.analysis.memory.recorded.tables import texts
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import MISSING, Int64s


def _ends(lives: Lifetimes, device: int) -> list[tuple[int, int, int]]:
    """(step, number of its first event, number of its last) of each step of a device, in order."""
    found: dict[int, tuple[int, int]] = {}
    for span in lives.spans:
        if span.device == device and span.step != MISSING:
            first, _ = found.get(span.step, (span.first, 0))
            found[span.step] = (first, span.last)
    return [(step, *ends) for step, ends in found.items()]


def steps(account: MemoryAccount) -> Table:
    """By step, the most bytes that lived in it, and those that lived as it ended."""
    lives, device = account.lives, account.at.device
    moments, used = live.line(lives, device)
    rows: list[tuple[int, int, int, int | None]] = []
    for step, first, last in _ends(lives, device):
        inside = used[(moments >= first) & (moments <= last)]
        end = int(used[np.searchsorted(moments, last, side="right") - 1])
        rows.append((step, int(inside.max(initial=0)) or end, end, end - rows[-1][2] if rows else None))
    columns = (
        Column("step"), Column("peak_bytes", "B", "bytes", "peak", scale="bytes"),
        Column("end_bytes", "B", "bytes", "at its end", scale="bytes"),
        Column("change_bytes", "B", "bytes", "more than at the end before"),
    )  # fmt: skip
    return Table("steps", "Memory by step", columns, pd.DataFrame(rows, columns=[column.name for column in columns]))


def left(account: MemoryAccount) -> Table:
    """What steps leave behind: made in a step, and alive after the next one is over. By where it was made.

    What several steps leave behind in the same place is a leak. What a single one leaves is as a rule the optimizer's
    state, which is made once.
    """
    lives = account.lives
    rows = _left_behind(lives, account.at.device)
    frame = pd.DataFrame({
        "scope": lives.scope[rows], "operator": lives.operator[rows], "stack": lives.stack[rows],
        "kind": lives.kind[rows], "step": lives.step[rows], "bytes": lives.size[rows],
    })  # fmt: skip
    places = ["scope", "operator", "stack", "kind"]
    frame = frame.groupby(places, as_index=False).agg(
        count_steps=("step", "nunique"), count=("bytes", "size"), bytes=("bytes", "sum")
    )
    frame = frame.sort_values(["count_steps", "bytes"], ascending=False, kind="stable", ignore_index=True)
    stack = frame["stack"].to_numpy(np.int32)
    frame = frame.assign(
        scope=texts(frame["scope"].to_numpy(np.int32), lives.scopes),
        operator=texts(frame["operator"].to_numpy(np.int32), lives.operators),
        frame=texts(stack, lives.places) if lives.places else "",
        kind=[LABELS[Kind(kind)] for kind in frame["kind"]],
    )
    columns = (
        Column("scope"), Column("operator"), Column("frame", title="where"), Column("kind"),
        Column("count_steps", "", "count", "steps"), Column("count", "", "count", "pieces", summed=True),
        Column("bytes", "B", "bytes", summed=True),
    )  # fmt: skip
    return Table("left", "Left behind by steps", columns, frame[[column.name for column in columns]])


def _left_behind(lives: Lifetimes, device: int) -> Int64s:
    ends = _ends(lives, device)
    found = [np.empty(0, np.int64)]
    for (step, _, _), (_, _, over) in pairwise(ends):
        found.append(np.flatnonzero((lives.step == step) & (lives.device == device) & (lives.end > over)))
    return np.concatenate(found)
