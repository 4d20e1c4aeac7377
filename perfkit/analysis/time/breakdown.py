"""Account -> tables by kernel, category, layer and phase. The rows of each add up to its total, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, Phase
from perfkit.analysis.attribution.intervals import NONE, Ints
from perfkit.analysis.kernels import categories as kernel_categories
from perfkit.analysis.kernels.categories import HOST
from perfkit.analysis.time.account import Account, is_operator
from perfkit.schema.table import Column, Table
from perfkit.trace.columns import DeviceKind

REST_SCOPES = (COMMUNICATION, UNATTRIBUTED)

_HOST_TIMES = "host self time on the main thread; the rows add up to the steps' wall time"
_NEVER = np.iinfo(np.int64).min
_CATEGORIES = np.array(kernel_categories.ALL, dtype=object)

_TIMES = (
    Column("mean_ns", "ns", "time", "mean", scale="each", spare=True),
    Column("min_ns", "ns", "time", "min", scale="each", spare=True),
    Column("max_ns", "ns", "time", "max", scale="each", spare=True),
)
_SUM = (
    Column("count", "", "count", summed=True),
    Column("total_ns", "ns", "time", "sum", summed=True, scale="time"),
)
_SHARE = Column("share", "1", "share", summed=True)
_KERNEL_COLUMNS = (
    Column("name"),
    Column("category"),
    *_SUM,
    _SHARE,
    Column("count_per_step", "", "count", "per step"),
    Column("count_per_forward", "", "count", "per forward", spare=True),
    *_TIMES,
)
_PER_PASS = Column("count_per_pass", "", "count", "per pass", spare=True)


def kernel_table(account: Account) -> Table:
    """Device kernels by name; without a device, operators by self time, and what lies between them as a rest row."""
    if not account.on_device:
        return _operator_table(account)
    kernels = account.kept(account.trace.device.kind[account.row] == DeviceKind.KERNEL)
    notes = ("sum: durations added up; kernels that run at the same time count twice here, once in exclusive time",)
    return Table("kernels", "Kernels", _present(_KERNEL_COLUMNS, kernels), with_share(_by_name(kernels)), notes)


def _operator_table(account: Account) -> Table:
    operators = account.kept(is_operator(account.attribution)[account.row])
    frame = _by_name(operators)
    rest = int(account.total.sum() - operators.total.sum())
    if len(account):
        frame.loc[len(frame)] = {"name": UNATTRIBUTED, "category": HOST, "count": 0, "total_ns": rest}
    notes = (
        "no device work in this trace: operators by self time on the main thread, inside the steps",
        f"{UNATTRIBUTED} is the time between operators: Python, the framework, the profiler",
    )
    columns = _present(_KERNEL_COLUMNS, account)
    return Table("kernels", "Operators, self time", columns, with_share(frame), notes, pinned=min(1, len(frame)))


def _present(columns: tuple[Column, ...], account: Account) -> tuple[Column, ...]:
    """Leave out counts per step where there are no steps; add those per pass through the one phase that is shown."""
    if not account.steps:
        return tuple(c for c in columns if not c.name.startswith("count_per_"))
    if account.only is None:
        return columns
    end = [c.name for c in columns].index("count_per_forward")
    forward = replace(columns[end], audience="scripts")  # one count by pass is enough to read
    return (*columns[:end], forward, _PER_PASS, *columns[end + 1 :])


def _by_name(account: Account) -> pd.DataFrame:
    """One row a name, longest first; its category is the one most of its time went to."""
    events = pd.DataFrame({"name": account.name, "category": account.category, "duration": account.total})
    grouped = events.groupby("name")["duration"].agg(["size", "sum", "min", "max"])
    shares = events.groupby(["name", "category"])["duration"].agg(["sum", "size"]).reset_index()
    main = shares.sort_values(["sum", "size"], ascending=False, kind="stable").drop_duplicates("name")
    forward = events["name"][account.phase == Phase.FORWARD].value_counts()
    frame = pd.DataFrame(
        {
            "name": _texts(account, grouped.index.to_numpy()),
            "category": _CATEGORIES[main.set_index("name")["category"].reindex(grouped.index).to_numpy(dtype=np.int64)],
            "count": grouped["size"].to_numpy(),
            "total_ns": grouped["sum"].to_numpy(),
            "mean_ns": (grouped["sum"] / grouped["size"]).to_numpy(),
            "min_ns": grouped["min"].to_numpy(),
            "max_ns": grouped["max"].to_numpy(),
            "count_per_step": (grouped["size"] / max(len(account.steps), 1)).to_numpy(),
            "count_per_forward": forward.reindex(grouped.index, fill_value=0).to_numpy()
            / max(account.passes(Phase.FORWARD), 1),
        }
    )
    if account.only is not None:
        frame["count_per_pass"] = frame["count"] / max(account.passes(account.only), 1)
    return frame.sort_values(["total_ns", "name"], ascending=[False, True], kind="stable", ignore_index=True)


def _texts(account: Account, names: Ints) -> Ints:
    return np.asarray(account.trace.names, dtype=object)[names] if len(names) else np.empty(0, dtype=object)


def with_share(frame: pd.DataFrame) -> pd.DataFrame:
    """Add each row's share of the total."""
    total = frame["total_ns"].sum()
    frame["share"] = frame["total_ns"] / total if total else 0.0
    return frame


def copy_table(account: Account) -> Table:
    """Copies and memsets by name."""
    copies = account.kept(account.trace.device.kind[account.row] != DeviceKind.KERNEL)
    frame = _by_name(copies)
    moved = pd.Series(np.maximum(account.trace.device.bytes[copies.row], 0)).groupby(_texts(copies, copies.name)).sum()
    frame["bytes"] = moved.reindex(frame["name"]).to_numpy() if len(frame) else []
    columns = (Column("name"), *_SUM, _SHARE, Column("bytes", "B", "bytes", summed=True), *_TIMES)
    return Table("copies", "Copies and memsets", columns, with_share(frame))


# --- layers, phases and categories -----------------------------------------------------------------------------

_ACCOUNT_COLUMNS = (
    *_SUM,
    Column("exclusive_ns", "ns", "time", "exclusive", summed=True, scale="time"),
    _SHARE,
)


def layer_table(account: Account) -> Table:
    """Self time by scope and phase, one row a pair; what has no scope is in the rest rows."""
    frame = _sums(account, path=account.path, phase=account.phase)
    frame.insert(0, "scope", account.attribution.path_names(frame["path"].to_numpy(), frame["phase"].to_numpy()))
    frame["phase"] = [Phase(value).label for value in frame["phase"]]
    frame = rest_last(frame, ["total_ns", "scope", "phase"])
    columns = (Column("scope"), Column("phase"), *_ACCOUNT_COLUMNS)
    pinned = int(frame["rest"].sum())
    title = "Layers by phase, self time"
    return Table("layers", title, columns, with_share(frame), notes(account), pinned, audience="scripts")


def rest_last(frame: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Longest first, then by text; the rest rows at the end, marked in the column `rest`. Needs a column `scope`."""
    frame["rest"] = frame["scope"].isin(REST_SCOPES)
    ascending = [True, *(column != "total_ns" for column in order)]
    return frame.sort_values(["rest", *order], ascending=ascending, kind="stable", ignore_index=True)


def phase_table(account: Account) -> Table:
    """Time by phase; every phase has its row, with nothing in it where there is none."""
    frame = _sums(account, phase=account.phase).set_index("phase")
    frame = frame.reindex([int(phase) for phase in Phase], fill_value=0).reset_index()
    frame["phase"] = [Phase(value).label for value in frame["phase"]]
    columns = (Column("phase"), *_ACCOUNT_COLUMNS)
    return Table("phases", "Phases", columns, with_share(frame), notes(account), pinned=len(frame))


def category_table(account: Account) -> Table:
    """Time by kind of work."""
    frame = _sums(account, category=account.category)
    frame["category"] = _CATEGORIES[frame["category"].to_numpy(dtype=np.int64)]
    frame = frame.sort_values(["total_ns", "category"], ascending=[False, True], kind="stable", ignore_index=True)
    columns = (Column("category"), *_ACCOUNT_COLUMNS)
    return Table("categories", "Categories", columns, with_share(frame), notes(account))


def _sums(account: Account, **keys: Ints) -> pd.DataFrame:
    count = account.is_counted.astype(np.int64)
    values = {"count": count, "total_ns": account.total, "exclusive_ns": account.exclusive}
    events = pd.DataFrame({**keys, **values})
    return events.groupby(list(keys))[list(values)].sum().reset_index()


def notes(account: Account) -> tuple[str, ...]:
    """What the times of an account table mean."""
    if account.on_device:
        return (
            "sum: durations of kernels, copies and memsets added up;"
            " exclusive: each busy instant in one row only, so that the rows add up to the time the device was busy",
        )
    counts = "" if is_operator(account.attribution)[account.row].any() else "; count: ranges"
    return (f"no device work in this trace: {_HOST_TIMES}{counts}",)


def thread_table(account: Account) -> Table:
    """Host threads in lanes of their own: only the main thread's time is in the account."""
    host, trace = account.attribution.host, account.trace
    roots = host.forest.parent == NONE
    rows = pd.DataFrame({"thread": host.thread, "ranges": 1, "until": np.where(roots, host.end, _NEVER)})
    before = rows.groupby("thread")["until"].cummax().groupby(rows["thread"]).shift(1, fill_value=_NEVER)
    alone = (host.end - np.maximum(host.start, before)).clip(0)  # ranges across threads overlap: once is enough
    rows["busy_ns"] = np.where(roots, alone, 0)
    frame = rows.groupby("thread")[["ranges", "busy_ns"]].sum().reset_index()
    roles = ["main" if index == account.attribution.main_thread else "other" for index in frame["thread"]]
    threads = [trace.threads[index] for index in frame["thread"]]
    frame["thread"] = [f"{thread.pid}/{thread.tid}" + (f" {thread.name}" if thread.name else "") for thread in threads]
    frame["role"] = roles
    columns = (
        Column("thread"),
        Column("role"),
        Column("ranges", "", "count"),
        Column("busy_ns", "ns", "time", "in ranges"),
    )
    return Table("threads", "Host threads", columns, frame)
