"""Host threads, in lanes of their own: only the main thread's time is in the account."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.partial import Facts, Fold, Partial, Rows
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Audience, Column, Table

_NEVER = np.iinfo(np.int64).min
_COLUMNS = (
    Column("thread"),
    Column("role"),
    Column("ranges", "", "count"),
    Column("busy_ns", "ns", "time", "in ranges"),
)


def _rows(account: Account) -> Rows:
    """One row a thread of the file, whatever part of it is accounted for."""
    host, trace = account.attribution.host, account.trace
    roots = host.forest.parent == NONE
    rows = pd.DataFrame({"thread": host.thread, "ranges": 1, "until": np.where(roots, host.end, _NEVER)})
    before = rows.groupby("thread")["until"].cummax().groupby(rows["thread"]).shift(1, fill_value=_NEVER)
    alone = (host.end - np.maximum(host.start, before)).clip(0)  # ranges across threads overlap: once is enough
    rows["busy_ns"] = np.where(roots, alone, 0)
    frame = rows.groupby("thread")[["ranges", "busy_ns"]].sum().reset_index()
    threads = [trace.threads[index] for index in frame["thread"]]
    labels = [f"{thread.pid}/{thread.tid}" + (f" {thread.name}" if thread.name else "") for thread in threads]
    roles = ["main" if index == account.attribution.main_thread else "other" for index in frame["thread"]]
    return {
        "source": np.full(len(frame), trace.source, dtype=object),
        "thread": np.array(labels, dtype=object),
        "twin": pd.Series(labels, dtype=object).groupby(labels).cumcount().to_numpy(),
        "role": np.array(roles, dtype=object),
        "ranges": frame["ranges"].to_numpy(),
        "busy_ns": frame["busy_ns"].to_numpy(),
    }


LANES = Fold("lanes", _rows, keys=("source", "thread", "twin", "role"), measures={"ranges": "max", "busy_ns": "max"})
"""One row a thread; `twin` tells apart threads of a file that have the same name."""


def thread_table(partial: Partial) -> Table:
    """One row a thread, in the files' order."""
    grouped = partial.of(LANES).groupby(["thread", "twin", "role"], sort=False)
    frame = grouped[["ranges", "busy_ns"]].sum().reset_index()
    return Table("threads", "Host threads", _COLUMNS, frame)


def _with_several(facts: Facts) -> Audience | None:
    return ("scripts" if facts.on_device else "everyone") if facts.several_threads else None


THREADS = TraceTable(
    "threads",
    "a host thread (with more than one only)",
    "`thread`, `role`, `ranges`, `busy_ns`",
    lambda partial, _: thread_table(partial),
    _with_several,
    divides=False,
)
