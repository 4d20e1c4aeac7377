"""Collectives: what they move, and how fast: algorithm and bus bandwidth.

As nccl-tests defines them (its doc/PERFORMANCE.md): the algorithm's is size by time, where the size is that of the
whole buffer, of all ranks for all-gather and reduce-scatter. The bus's is that times what each rank has to send of it
for n ranks: 2 (n - 1) / n for all-reduce, (n - 1) / n for all-gather, reduce-scatter, all-to-all, gather and scatter, 1
for broadcast, reduce, send and receive. It is to be compared with the bandwidth of the links.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.intervals import NONE, Ints, at, nearest
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.breakdown import with_share
from perfkit.analysis.time.partial import Facts, Fold, Partial, Rows
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Audience, Column, Table
from perfkit.trace.operands import Message, messages_of

_FACTORS = (
    ("allreduce", 2), ("allgather", 1), ("reducescatter", 1), ("alltoall", 1), ("broadcast", None), ("scatter", 1),
    ("gather", 1), ("reduce", None), ("send", None), ("recv", None),
)  # fmt: skip
"""Words of collectives, of which the first decides; how often a rank sends (n - 1) / n; None: it sends all once."""
_BYTES = {
    "Bool": 1, "Byte": 1, "Char": 1, "Float8_e4m3fn": 1, "Float8_e5m2": 1, "Short": 2, "Half": 2, "BFloat16": 2,
    "Int": 4, "Float": 4, "Long": 8, "Double": 8,
}  # fmt: skip
"""Bytes of an element (c10::ScalarType)."""


def size_of(message: Message) -> int | None:
    """Bytes of the whole buffer; None for an unknown type, and for what moves nothing: a barrier, a wait."""
    elements = max(message.elements_in, message.elements_out)
    if message.dtype not in _BYTES or not 0 < elements < 1 << 50:
        return None
    return elements * _BYTES[message.dtype]


def bus_factor(collective: str, ranks: int) -> float | None:
    """Bus bandwidth by algorithm bandwidth; None for a collective that is not known."""
    plain = collective.lower().replace("_", "")
    for word, times in _FACTORS:
        if word in plain:
            return 1.0 if times is None else times * (ranks - 1) / ranks if ranks > 0 else None
    return None


def message_bytes(account: Account) -> Ints:
    """Bytes of the message that each device event of the file moves; NONE for none, or an unknown one."""
    sizes, code, owner = _messages(account)
    return at(sizes[code], owner, absent=NONE)


def _messages(account: Account) -> tuple[Ints, Ints, Ints]:
    """Bytes of each of the trace's arguments, the arguments of each host range, and each event's collective there."""
    trace, host = account.trace, account.attribution.host
    sizes = np.array([NONE if m is None else size_of(m) or NONE for m in messages_of(trace)] + [NONE], dtype=np.int64)
    code = trace.host.arguments[host.forest.order]
    owner = nearest(host.forest.parent, sizes[code] != NONE)
    return sizes, code, at(owner, account.attribution.events.leaf, absent=NONE)


def _rows(account: Account) -> Rows:
    """One row a collective's event; its message belongs to the first event in the file."""
    messages = messages_of(account.trace)
    sizes, code, event_owner = _messages(account)
    first = np.zeros(len(event_owner), dtype=bool)
    first[np.unique(event_owner, return_index=True)[1]] = True
    own = event_owner[account.row] != NONE if account.on_device else np.zeros(len(account), dtype=bool)
    rows = account.row[own]
    told = code[event_owner[rows]]
    names = np.array([*(m.collective if m else "" for m in messages), ""], dtype=object)
    ranks = np.array([*(m.ranks if m else NONE for m in messages), NONE], dtype=np.int64)
    return {
        "collective": names[told],
        "ranks": ranks[told],
        "size": sizes[told],
        "device": account.device[own],
        "count": first[rows].astype(np.int64),
        "bytes": np.where(first[rows], sizes[told], 0),
        "total_ns": account.total[own],
    }


MESSAGES = Fold(
    "messages",
    _rows,
    keys=("collective", "ranks", "size", "device"),
    measures={"count": "sum", "bytes": "sum", "total_ns": "sum"},
    texts={"device": "device_labels"},
    is_counted=True,
)
"""One row for each collective, number of ranks, size of the message, and device."""


_RATE_IS = "a low rate may be waiting for the slowest rank, which the time of a collective's kernel includes"


def collective_table(partial: Partial) -> Table:
    """One row a collective, number of ranks and size, longest first."""
    frame = partial.of(MESSAGES).groupby(["collective", "ranks", "size"])[["count", "bytes", "total_ns"]].sum()
    order, ascending = ["total_ns", "collective", "ranks", "size"], [False, True, True, True]
    frame = frame.reset_index().sort_values(order, ascending=ascending, kind="stable", ignore_index=True)
    seconds = (frame["total_ns"] / 1e9).where(frame["total_ns"] > 0)
    pairs = zip(frame["collective"], frame["ranks"], strict=True)
    frame["algorithm_bytes_per_s"] = frame["bytes"] / seconds
    factors = pd.Series([bus_factor(name, int(ranks)) for name, ranks in pairs], frame.index, dtype="float64")
    frame["bus_bytes_per_s"] = frame["algorithm_bytes_per_s"] * factors
    frame["message_bytes"] = frame["size"]
    columns = (
        Column("collective"),
        Column("ranks"),
        Column("message_bytes", "B", "bytes", "size"),
        Column("count", "", "count", summed=True),
        Column("total_ns", "ns", "time", "sum", summed=True, scale="time"),
        Column("share", "1", "share", summed=True),
        Column("bytes", "B", "bytes", summed=True),
        Column("algorithm_bytes_per_s", "/s", "rate", "algorithm B/s", note=_RATE_IS),
        Column("bus_bytes_per_s", "/s", "rate", "bus B/s", note=_RATE_IS),
    )
    return Table("collectives", "Collectives", columns, with_share(frame))


def _with_collectives(facts: Facts) -> Audience | None:
    return "scripts" if facts.has_collectives and facts.on_device else None


COLLECTIVES = TraceTable(
    "collectives",
    "a collective, number of ranks and size of the message (where the file says them)",
    "`collective`, `ranks`, `message_bytes`, `count`, `total_ns`, `share`, `bytes`, `algorithm_bytes_per_s`, "
    "`bus_bytes_per_s`",
    lambda partial, _: collective_table(partial),
    _with_collectives,
    adds_up_steps=True,
)
