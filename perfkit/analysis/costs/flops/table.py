"""Tables of work: operations, bytes and time, by operator and shapes, and by layer and phase.

The rows of each add up to the account's time. An operator's work belongs to the operator, and the times of all kernels
that it launched add up (on the host: its self time, and that of what it called and does not count for itself). So its
rate is that of all its kernels together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE, Bools, Ints, at
from perfkit.analysis.costs.flops import precision
from perfkit.analysis.costs.flops.work import PRODUCTS, Work, work_of
from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.names import LOOKED_AT
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.breakdown import rest_last, with_share
from perfkit.analysis.time.cells import scopes_of
from perfkit.analysis.time.partial import Facts, Fold, Partial, Rows
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Audience, Column, Table
from perfkit.trace.columns import MISSING
from perfkit.trace.detail_columns import Operand, Operands

NO_OPERATOR = "<no operator>"
"""The row of time outside every operator."""
_MEASURES = ("count", "flops", "masked_flops", "repeated_flops", "bytes", "count_without_bytes", "total_ns")


def _rows(account: Account) -> Rows:
    operands = account.operands
    work = work_of(operands, account.attribution)
    owner = at(work.owner, account.place, absent=NONE)
    carries = _carries(account, work)
    steps = np.full(len(account.attribution.steps) + 1, NONE, dtype=np.int64)
    steps[list(account.steps)] = np.arange(len(account.steps))  # the last element belongs to NONE
    host, row = account.attribution.host, np.where(carries, owner, NONE)
    moved = at(work.bytes, row, absent=0)
    frame = pd.DataFrame(
        {
            "name": np.where(owner == NONE, account.operator, at(host.name.astype(np.int64), owner, absent=NONE)),
            **(calls := of_calls(account, operands, work, owner)),
            "kernel": np.where((owner == NONE) & account.on_device, account.name, calls["kernel"]),
            "phase": account.phase.astype(np.int64),
            "path": account.path_or_label.astype(np.int64),
            "step": steps[account.step],
            "device": account.device,
            "count": carries.astype(np.int64),
            "flops": at(work.flops, row, absent=0),
            "masked_flops": at(work.masked, row, absent=0),
            "repeated_flops": at(work.repeated, row, absent=0),
            "bytes": np.maximum(moved, 0),
            "count_without_bytes": (moved == MISSING).astype(np.int64),
            "total_ns": account.total,
        }
    )
    added = frame.groupby(list(_KEYS), sort=False)[list(_MEASURES)].sum().reset_index()
    return with_texts({str(name): added[name].to_numpy() for name in added}, operands)


def with_texts(rows: Rows, operands: Operands) -> Rows:
    """The rows with shapes as text."""
    texts = np.array([*map(_shapes, operands.all_shapes), ""], dtype=object)  # the last is for NONE
    return {**rows, "shapes": texts[rows["shapes"]]}


def of_calls(account: Account, operands: Operands, work: Work, owner: Ints) -> dict[str, Ints]:
    """What tells calls of one name apart: shapes by number, kind of work, precision, and the kernel of most time."""
    order = account.attribution.host.forest.order.astype(np.int64)
    kernel = _main_kernels(account, work)
    return {
        "shapes": at(operands.shapes.astype(np.int64), at(order, owner, absent=NONE), absent=NONE),
        "kind": at(work.kind, owner, absent=NONE),
        "precision": at(_precisions(account, operands, work, kernel), owner, absent=NONE),
        "kernel": at(kernel, owner, absent=NONE),
    }


def _main_kernels(account: Account, work: Work) -> Ints:
    """Of each host range whose work is counted, the name of the kernel that took most of its time; NONE for none."""
    events = account.trace.device
    owner = owners_of_events(account, work)
    kernel = np.full(len(work.kind), NONE, dtype=np.int64)
    order = np.argsort(events.end - events.start, kind="stable")  # the last of equal indices stays: the longest
    order = order[owner[order] != NONE]
    kernel[owner[order]] = events.name[order]
    return kernel


def _precisions(account: Account, operands: Operands, work: Work, kernel: Ints) -> Ints:
    """The precision of each host range; of matmuls and their like also by the names of their kernels."""
    found = precision.of_arguments(operands)[account.attribution.host.forest.order]
    products = np.isin(work.kind, [kinds.ALL.index(kind) for kind in PRODUCTS])
    fp32, tf32 = precision.ALL.index("fp32"), precision.ALL.index("tf32")
    rows = np.flatnonzero(products & (kernel != NONE) & np.isin(found, (NONE, fp32)))
    unique, place = np.unique(kernel[rows], return_inverse=True)
    names = [account.trace.names[code][:LOOKED_AT] for code in unique.tolist()]
    told = np.array([precision.of_kernel(name) for name in names], dtype=np.int64)[place]
    own = np.where(found[rows] == NONE, told, found[rows])
    found[rows] = np.where(
        np.array([precision.is_tf32(name) for name in names], dtype=bool)[place] & (own == fp32), tf32, own
    )
    return found


def _carries(account: Account, work: Work) -> Bools:
    """The one row of each operator that has its work: its first event in the file or, on the host, its own range."""
    if not account.on_device:
        return work.is_counted[account.row]
    owner = owners_of_events(account, work)
    first = np.zeros(len(owner), dtype=bool)
    first[np.unique(owner, return_index=True)[1]] = True
    return (first & (owner != NONE))[account.row]


def owners_of_events(account: Account, work: Work) -> Ints:
    """The row of the host range whose work each device event of the file does; NONE for none that is counted."""
    return at(work.owner, account.attribution.events.leaf, absent=NONE)


def _shapes(shapes: tuple[Operand, ...]) -> str:
    """The shapes of the arguments that have dimensions: `8944x1024, 1024x2816`; of a list, how many it has."""
    return ", ".join(filter(None, map(_shape, shapes)))


def _shape(operand: Operand) -> str:
    if operand and isinstance(operand[0], tuple):
        return f"{len(operand)} tensors"
    return "x".join(map(str, operand))


CALL = ("name", "shapes", "kind", "precision", "kernel", "device")
"""Calls that are equal in these do equal work."""
_KEYS = (*CALL, "phase", "path", "step")
WORK = Fold(
    "work",
    _rows,
    keys=_KEYS,
    measures=dict.fromkeys(_MEASURES, "sum"),
    texts={"name": "names", "kernel": "names", "path": "paths", "device": "device_labels"},
    is_counted=True,
)
"""One row for each operator, shapes and precision of its arguments, kind of work (NONE: not counted), kernel that took
most of its time, phase, scope, step, device. Where nothing is counted the kernel is each one's own."""

_WORK_IS = "a multiply-add is two operations, and causal attention counts in full"
_RATE_IS = "without what a causal mask hides; a dash: not counted, or types that the trace does not tell"
_COLUMNS = (
    Column("count", "", "count", summed=True),
    Column("total_ns", "ns", "time", "sum", summed=True, scale="time"),
    Column("share", "1", "share", summed=True),
    Column("flops", "FLOP", "flops", "work", summed=True, note=_WORK_IS),
    Column("masked_flops", "FLOP", "flops", "masked", summed=True, audience="scripts"),
    Column("flops_per_s", "/s", "rate", "FLOP/s", note=_RATE_IS),
    Column("bytes", "B", "bytes", summed=True, note="each argument read and each result written once"),
    Column("bytes_per_s", "/s", "rate", "B/s"),
    Column("flops_per_byte", "", "rate", "FLOP/B"),
)


def work_table(partial: Partial) -> Table:
    """One row an operator and the shapes of its arguments, longest first; time without an operator last."""
    frame = partial.of(WORK).groupby(["name", "kind", "shapes"])[list(_MEASURES)].sum().reset_index()
    names = np.array([*partial.facts.names, NO_OPERATOR], dtype=object)
    frame["operator"] = names[frame["name"].to_numpy()]
    labels = np.array([*kinds.ALL, None], dtype=object)
    frame["category"] = pd.Series(labels[frame["kind"].to_numpy()], frame.index, dtype=object)
    frame["rest"] = frame["operator"] == NO_OPERATOR
    frame = frame.sort_values(
        ["rest", "total_ns", "operator", "shapes"],
        ascending=[True, False, True, True],
        kind="stable",
        ignore_index=True,
    )
    columns = (Column("operator"), Column("category"), Column("shapes"), *_COLUMNS)
    return Table("work", "Work by operator", columns, _derived(frame), (), int(frame["rest"].sum()))


def layer_table(partial: Partial) -> Table:
    """One row a scope and phase."""
    cells = partial.of(WORK)
    number, texts = scopes_of(partial, cells)
    cells = cells.assign(scope=number, kind=np.where(cells["kind"] == NONE, NONE, 0))
    frame = cells.groupby(["scope", "phase"])[list(_MEASURES)].sum().reset_index()
    frame["kind"] = cells.groupby(["scope", "phase"])["kind"].max().to_numpy()
    frame["scope"] = texts[frame["scope"].to_numpy()]
    frame["phase"] = [Phase(value).label for value in frame["phase"]]
    frame = rest_last(frame, ["total_ns", "scope", "phase"])
    columns = (Column("scope"), Column("phase"), *_COLUMNS)
    return Table("work_layers", "Work by layer and phase", columns, _derived(frame), (), int(frame["rest"].sum()))


def _derived(frame: pd.DataFrame) -> pd.DataFrame:
    """Add shares and rates. What is not counted has no work, and no bytes where those of a part are not known."""
    counted = frame["kind"] != NONE
    seconds = (frame["total_ns"] / 1e9).where(frame["total_ns"] > 0)
    done, moved = frame["flops"] - frame["masked_flops"], frame["bytes"].where(frame["count_without_bytes"] == 0)
    frame["flops_per_s"] = (done / seconds).where(counted & (done > 0))
    frame["bytes_per_s"] = (moved / seconds).where(counted & (moved > 0))
    frame["flops_per_byte"] = (done / moved.where(moved > 0)).where(counted & (done > 0))
    for name in ("flops", "masked_flops"):
        frame[name] = frame[name].astype(pd.Int64Dtype()).where(counted)
    frame["bytes"] = moved.astype(pd.Int64Dtype()).where(counted)
    return with_share(frame)


def scalars(partial: Partial) -> dict[str, Any]:
    """Operations of matmul, attention and convolution as executed, for a step; and the share of time that is counted.

    None in a trace without shapes; operations also where there are no steps.
    """
    facts = partial.facts
    if not facts.has_shapes:
        return {"flops_per_step": None, "counted_share": None}
    cells = partial.of(WORK)
    products = cells["kind"].isin([kinds.ALL.index(kind) for kind in PRODUCTS]) & (cells["step"] != NONE)
    total = int(cells["total_ns"].sum())
    counted = int(cells["total_ns"][cells["kind"] != NONE].sum())
    flops = int(cells["flops"][products].sum())
    steps = len(facts.steps)
    per_step = None if not steps else flops // steps if flops % steps == 0 else flops / steps
    return {"flops_per_step": per_step, "counted_share": counted / total if total else None}


def _with_shapes(facts: Facts) -> Audience | None:
    return "scripts" if facts.has_shapes else None


_NAMES = (
    "`count`, `total_ns`, `share`, `flops`, `masked_flops`, `flops_per_s`, `bytes`, `bytes_per_s`, `flops_per_byte`"
)
OPERATORS = TraceTable(
    "work",
    "an operator and the shapes of its arguments (with shapes only)",
    f"`operator`, `category`, `shapes`, {_NAMES}",
    lambda partial, _: work_table(partial),
    _with_shapes,
    adds_up_steps=True,
)
LAYERS = TraceTable(
    "work_layers",
    "scope and phase (with shapes only)",
    f"`scope`, `phase`, {_NAMES}",
    lambda partial, _: layer_table(partial),
    _with_shapes,
    adds_up_steps=True,
)
