"""Partial -> tables by kernel, category, layer and phase. The rows of each add up to its total, exactly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, Phase
from perfkit.analysis.attribution.fallback import LayersBy
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.kernels import copies, kinds
from perfkit.analysis.kernels.short_names.unique import NAMES, short_names
from perfkit.analysis.time.cells import CELLS, Work, categories, scopes_of
from perfkit.analysis.time.partial import Facts, Partial
from perfkit.analysis.time.passes import passes
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Audience, Column, Table

REST_SCOPES = (COMMUNICATION, UNATTRIBUTED)

_NO_WALL = "there is no table wall, which says where the wall time of a device goes"
_HOST_TIMES = "host self time on the main thread"
_CATEGORIES = np.array(kinds.ALL, dtype=object)

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
    *NAMES,
    Column("category"),
    Column("operator", spare=True),
    *_SUM,
    _SHARE,
    Column("count_per_step", "", "count", "per step", read="in total"),
    Column("count_per_forward", "", "count", "per forward", spare=True),
    *_TIMES,
)
_ADDED_UP = "durations added up; kernels that run at the same time count twice"
_PER_PASS = Column("count_per_pass", "", "count", "per pass", spare=True)


def kernel_table(partial: Partial) -> Table:
    """Device kernels by name; without a device, operators by self time, and the time between them as a rest row."""
    if not partial.facts.on_device:
        return _operator_table(partial)
    frame = with_share(_by_name(partial, Work.KERNEL))
    columns = (replace(c, note=_ADDED_UP) if c.name == "total_ns" else c for c in _present(_KERNEL_COLUMNS, partial))
    return Table("kernels", "Kernels", tuple(columns), frame)


def _operator_table(partial: Partial) -> Table:
    cells = partial.of(CELLS)
    frame = _by_name(partial, Work.OPERATOR)
    rest = int(cells["total_ns"].sum() - frame["total_ns"].sum())
    if len(cells):
        frame.loc[len(frame)] = {"name": UNATTRIBUTED, "category": kinds.HOST, "count": 0, "total_ns": rest}
    notes = (
        f"{without_device(partial.facts)}: operators by self time on the main thread, inside the steps",
        f"{UNATTRIBUTED} is the time between operators: Python, the framework, the profiler",
    )
    frame["short_name"] = frame["name"]
    columns = tuple(column for column in _present(_KERNEL_COLUMNS, partial) if column.name != "operator")
    return Table("kernels", "Operators, self time", columns, with_share(frame), notes, pinned=min(1, len(frame)))


def _present(columns: tuple[Column, ...], partial: Partial) -> tuple[Column, ...]:
    """Leave out counts per step where there are no steps; add those per pass through the one phase that is shown."""
    if not partial.facts.steps:
        return tuple(c for c in columns if not c.name.startswith("count_per_"))
    if partial.facts.only is None:
        return columns
    end = [c.name for c in columns].index("count_per_forward")
    forward = replace(columns[end], audience="scripts")  # one count by pass is enough to read
    return (*columns[:end], forward, _PER_PASS, *columns[end + 1 :])


def _by_name(partial: Partial, *kinds: Work, sums: tuple[str, ...] = ()) -> pd.DataFrame:
    """One row a name, longest first; its category is the one with most of its time. `sums`: more columns."""
    cells = partial.of(CELLS)
    cells = cells[cells["work"].isin(kinds)]
    cells = cells.assign(category=categories(partial, cells))
    by_name = cells.groupby("name")
    grouped = by_name[["count", "total_ns", *sums]].sum()
    shares = cells.groupby(["name", "category"])[["total_ns", "count"]].sum().reset_index()
    main = shares.sort_values(["total_ns", "count"], ascending=False, kind="stable").drop_duplicates("name")
    forward = cells[cells["phase"] == Phase.FORWARD].groupby("name")["count"].sum()
    names = np.array([*partial.facts.names, None], dtype=object)  # the last element belongs to NONE
    launcher = _launcher(cells, names).reindex(grouped.index)
    own = names[grouped.index.to_numpy(dtype=np.int64)]
    short = short_names(partial.facts.device_names) if partial.facts.on_device else {}
    frame = pd.DataFrame(
        {
            "name": own,
            "short_name": pd.Series([short.get(name, name) for name in own], dtype=object),
            "operator": pd.Series(launcher.to_numpy(), dtype=object),
            "category": _CATEGORIES[main.set_index("name")["category"].reindex(grouped.index).to_numpy(dtype=np.int64)],
            "count": grouped["count"].to_numpy(),
            "total_ns": grouped["total_ns"].to_numpy(),
            "mean_ns": (grouped["total_ns"] / grouped["count"]).to_numpy(),
            "min_ns": by_name["min_ns"].min().to_numpy(),
            "max_ns": by_name["max_ns"].max().to_numpy(),
            "count_per_step": (grouped["count"] / max(len(partial.facts.steps), 1)).to_numpy(),
            "count_per_forward": forward.reindex(grouped.index, fill_value=0).to_numpy()
            / max(passes(partial, Phase.FORWARD), 1),
            **{column: grouped[column].to_numpy() for column in sums},
        }
    )
    only = partial.facts.only
    if only is not None:
        frame["count_per_pass"] = frame["count"] / max(passes(partial, only), 1)
    return frame.sort_values(["total_ns", "name"], ascending=[False, True], kind="stable", ignore_index=True)


def _launcher(cells: pd.DataFrame, names: np.ndarray[Any, Any]) -> pd.Series[Any]:
    """For each name the operator that launched most of its time; None where no operator did."""
    launched = cells.groupby(["name", "operator"])["total_ns"].sum().reset_index()
    launched["text"] = pd.Series(names[launched["operator"].to_numpy(dtype=np.int64)], dtype=object)
    longest = launched.sort_values(["total_ns", "text"], ascending=[False, True], kind="stable")
    return longest.drop_duplicates("name").set_index("name")["text"]


def with_share(frame: pd.DataFrame) -> pd.DataFrame:
    """Add each row's share of the total."""
    total = frame["total_ns"].sum()
    frame["share"] = frame["total_ns"] / total if total else 0.0
    return frame


def copy_table(partial: Partial) -> Table:
    """Copies and memsets by name: what they move, and how fast; the rate is missing where the trace has no bytes."""
    frame = _by_name(partial, Work.MEMCPY, Work.MEMSET, sums=("bytes",))
    frame["host_memory"] = pd.Series([copies.host_memory(name) for name in frame["name"]], dtype=object)
    moved, seconds = frame["bytes"].to_numpy(), frame["total_ns"].to_numpy() / 1e9
    frame["bytes_per_s"] = np.divide(moved, seconds, out=np.full(len(frame), np.nan), where=(moved > 0) & (seconds > 0))
    columns = (
        *NAMES,
        Column("category"),
        Column("host_memory", title="host memory"),
        *_SUM,
        _SHARE,
        Column("bytes", "B", "bytes", summed=True),
        Column("bytes_per_s", "/s", "rate", "B/s"),
        *_TIMES,
    )
    return Table("copies", "Copies and memsets", columns, with_share(frame))


# --- layers, phases and categories -----------------------------------------------------------------------------

_EXCLUSIVE = "each busy instant in one row only, so that the rows add up to the time the device was busy"


def account_columns(partial: Partial) -> tuple[Column, Column, Column]:
    """Count, sum and exclusive time of rows that add up, each with what it means in this trace."""
    on_device = partial.facts.on_device
    counts_ranges = not on_device and not (partial.of(CELLS)["work"] == Work.OPERATOR).any()
    count, total = _SUM
    added_up = "durations of kernels, copies and memsets added up"
    return (
        replace(count, note="ranges" if counts_ranges else ""),
        replace(total, note=added_up if on_device else ""),
        Column(
            "exclusive_ns",
            "ns",
            "time",
            "exclusive",
            True,
            "time",
            repeats="total_ns",
            note=_EXCLUSIVE if on_device else "",
        ),
    )


def layer_table(partial: Partial) -> Table:
    """Self time by scope and phase, one row a pair; what has no scope is in the rest rows."""
    cells = partial.of(CELLS)
    number, texts = scopes_of(partial, cells)
    frame = _sums(cells.assign(scope=number), "scope", "phase")
    frame["scope"] = texts[frame["scope"].to_numpy()]
    frame["phase"] = [Phase(value).label for value in frame["phase"]]
    frame = rest_last(frame, ["total_ns", "scope", "phase"])
    columns = (Column("scope"), Column("phase"), *account_columns(partial), _SHARE)
    pinned = int(frame["rest"].sum())
    kind = row_kind(partial)
    title = f"{kind.capitalize()}s by phase, self time" if kind else "Layers by phase, self time"
    return Table("layers", title, columns, with_share(frame), (*notes(partial), *fallback_notes(partial)), pinned)


def row_kind(partial: Partial) -> str:
    """What rows by layer are, where the trace lacks scopes: `operator`; empty where they are scopes."""
    by = partial.facts.layers_by
    if by.is_scope:
        return ""
    has_scopes = (partial.of(CELLS)["reason"] == NONE) & (partial.of(CELLS)["path"] != NONE)
    return f"range or {by.noun}" if has_scopes.any() else by.noun


def fallback_notes(partial: Partial) -> tuple[str, ...]:
    """Why rows by layer are no scopes."""
    by = partial.facts.layers_by
    if by.is_scope:
        return ()
    else_by = ", without one by operator" if by is LayersBy.FRAMES else ""
    return (f"no range of the trace names a module: time outside ranges goes by {by.noun}{else_by}; it has no scope",)


def rest_last(frame: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """Longest first, then by text; the rest rows at the end, marked in the column `rest`. Needs a column `scope`."""
    frame["rest"] = frame["scope"].isin(REST_SCOPES)
    ascending = [True, *(column != "total_ns" for column in order)]
    return frame.sort_values(["rest", *order], ascending=ascending, kind="stable", ignore_index=True)


def phase_table(partial: Partial) -> Table:
    """Time by phase; every phase has its row, with nothing in it where there is none."""
    frame = _sums(partial.of(CELLS), "phase").set_index("phase")
    frame = frame.reindex([int(phase) for phase in Phase], fill_value=0).reset_index()
    frame["phase"] = [Phase(value).label for value in frame["phase"]]
    columns = (Column("phase", note=_of_optimizer(partial)), *account_columns(partial), _SHARE)
    wall = () if partial.facts.on_device else (_NO_WALL,)
    return Table("phases", "Phases", columns, with_share(frame), (*notes(partial), *wall), pinned=len(frame))


def _of_optimizer(partial: Partial) -> str:
    """What the optimizer's phase is where all of it is zero_grad: a step without an update clears its gradients."""
    cells = partial.of(CELLS)
    places = cells["path"][(cells["phase"] == Phase.OPTIMIZER) & (cells["total_ns"] > 0)].unique().tolist()
    alone = places and {partial.facts.paths[place] if place != NONE else "" for place in places} == {"zero_grad"}
    return "optimizer is zero_grad alone, since nothing is updated" if alone else ""


def category_table(partial: Partial) -> Table:
    """Time by kind of work."""
    cells = partial.of(CELLS)
    frame = _sums(cells.assign(category=categories(partial, cells)), "category")
    frame["category"] = _CATEGORIES[frame["category"].to_numpy(dtype=np.int64)]
    frame = frame.sort_values(["total_ns", "category"], ascending=[False, True], kind="stable", ignore_index=True)
    columns = (Column("category"), *account_columns(partial), _SHARE)
    return Table("categories", "Categories", columns, with_share(frame), notes(partial))


def _sums(cells: pd.DataFrame, *keys: str) -> pd.DataFrame:
    return cells.groupby(list(keys))[["count", "total_ns", "exclusive_ns"]].sum().reset_index()


def notes(partial: Partial) -> tuple[str, ...]:
    """Whose times those of an account table are, where they are not a device's."""
    if partial.facts.on_device:
        return ()
    whole = "; the rows add up to the steps' wall time" if partial.facts.step_source.is_certain else ""
    return (f"{without_device(partial.facts)}: {_HOST_TIMES}{whole}",)


def without_device(facts: Facts) -> str:
    """Why times are the host's."""
    return (
        "device work was launched, but is not in this trace" if facts.has_launches else "no device work in this trace"
    )


def _unless_ranges_only(facts: Facts) -> Audience:
    return "scripts" if facts.has_ranges_only else "everyone"


def _with_device(facts: Facts) -> Audience | None:
    return ("everyone" if facts.has_copies else "scripts") if facts.on_device else None


PHASES = TraceTable(
    "phases",
    "a phase; all seven, always",
    "`phase`, `count`, `total_ns`, `exclusive_ns`, `share`",
    lambda partial, _: phase_table(partial),
    adds_up_steps=True,
)
CATEGORIES = TraceTable(
    "categories",
    "a kind of work",
    "`category`, `count`, `total_ns`, `exclusive_ns`, `share`",
    lambda partial, _: category_table(partial),
    _unless_ranges_only,
    adds_up_steps=True,
)
KERNELS = TraceTable(
    "kernels",
    "a kernel's name; without a device an operator's",
    "`name`, `short_name`, `category`, `operator` (that launched most of its time), "
    "`count`, `total_ns`, `share`, `count_per_step`, `count_per_forward`, "
    "`count_per_pass` (with `--phase` only), `mean_ns`, `min_ns`, `max_ns`",
    lambda partial, _: kernel_table(partial),
    _unless_ranges_only,
    adds_up_steps=True,
)
LAYERS = TraceTable(
    "layers",
    "scope and phase, self time; no total row",
    "`scope`, `phase`, `count`, `total_ns`, `exclusive_ns`, `share`",
    lambda partial, _: layer_table(partial),
    lambda _: "scripts",
    adds_up_steps=True,
)
COPIES = TraceTable(
    "copies",
    "a copy's or memset's name (with a device only)",
    "`name`, `short_name`, `category`, `host_memory`, `count`, `total_ns`, `share`, `bytes`, `bytes_per_s`, "
    "`mean_ns`, `min_ns`, `max_ns`",
    lambda partial, _: copy_table(partial),
    _with_device,
    adds_up_steps=True,
)
