"""Tables of roofs: by operator and kernel, by layer and phase, by step and device.

efficiency   roof / time, of what has a roof
above        time - roof: what the best kernel that moves and computes as much could save
bound        what bounds most of the time: compute, memory or, where kernels are too short to show their speed or the
             device waited for the launches, launch
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.costs.flops import precision
from perfkit.analysis.costs.flops.table import NO_OPERATOR
from perfkit.analysis.costs.roofline import starved
from perfkit.analysis.costs.roofline.roofs import PRODUCT_KINDS, ROOFS, SUMS, Bound, Devices, devices_of, roofed
from perfkit.analysis.costs.roofline.utilisation import ideal_times, times_of_steps
from perfkit.analysis.kernels import kinds
from perfkit.analysis.kernels.short_names.unique import named, short_names
from perfkit.analysis.time.breakdown import rest_last, with_share
from perfkit.analysis.time.cells import scopes_of
from perfkit.analysis.time.partial import Facts, Partial
from perfkit.analysis.time.trace_table import TraceTable, View
from perfkit.schema import units
from perfkit.schema.table import Audience, Column, Table

ALL = [*SUMS, *ROOFS]
"""What adds up."""
_EFFICIENCY = (
    "the roof, the least time by peak and bandwidth, over the time; a dash: not counted, or a roof that is not known"
)
_BEYOND = "time beyond the roof"
_RATES = (
    Column("flops_per_s", "/s", "rate", "FLOP/s"),
    Column("bytes_per_s", "/s", "rate", "B/s", spare=True),
    Column("flops_per_byte", "", "rate", "FLOP/B"),
    Column("bound"),
    Column("efficiency", "1", "share", note=_EFFICIENCY),
)
_WORK = (
    Column("flops", "FLOP", "flops", "work", summed=True, audience="scripts"),
    Column("masked_flops", "FLOP", "flops", "masked", summed=True, audience="scripts"),
    Column("bytes", "B", "bytes", summed=True, audience="scripts"),
)
_UNKNOWN = (
    "no roofs: the peaks of this device are not known (docs/hardware.md); perfkit doctor --measure-peaks measures them"
)


def operator_table(partial: Partial, view: View) -> Table:
    """One row an operator, shapes of its arguments, precision and kernel, longest first; without an operator last."""
    devices = devices_of(partial.facts, view.mhz)
    frame = roofed(partial, devices)
    frame["kernel"] = frame["kernel"].where(frame["name"] != NONE, NONE)  # all there is without an operator is one row
    keys = ["name", "kind", "shapes", "kernel", "precision"]
    idle = starved.of_operators(partial).drop(columns=["precision", "phase"])
    calls = [key for key in keys if key != "precision"]
    frame = frame.groupby(keys)[ALL].sum().reset_index()
    frame = _with_idle(frame, idle, calls)
    names = np.array([*partial.facts.names, NO_OPERATOR], dtype=object)
    frame["operator"] = names[frame["name"].to_numpy()]
    frame["kernel"] = _or_none(frame["kernel"], partial.facts.names)
    frame["precision"] = _or_none(frame["precision"], precision.ALL)
    frame["category"] = _or_none(frame["kind"], kinds.ALL)
    frame["rest"] = frame["operator"] == NO_OPERATOR
    order = ["rest", "total_ns", "operator", "shapes", "kernel", "precision"]
    frame = frame.sort_values(
        order, ascending=[True, False, *[True] * 4], na_position="last", kind="stable", ignore_index=True
    )
    short = short_names(partial.facts.device_names) if partial.facts.on_device else {}
    frame["short_kernel"] = pd.Series([short.get(name, name) for name in frame["kernel"]], frame.index, dtype=object)
    kernel = named("kernel", "short_kernel", "kernel") if partial.facts.on_device else ()
    columns = (
        Column("operator"),
        *kernel,
        Column("category", audience="scripts"),
        Column("shapes"),
        Column("precision"),
        *times(partial),
    )
    rest = int(frame["rest"].sum())
    return Table("roofline", "Roofline by operator", columns, derived(frame, partial), _notes(partial, devices), rest)


def layer_table(partial: Partial, view: View) -> Table:
    """One row a scope and phase."""
    devices = devices_of(partial.facts, view.mhz)
    cells = roofed(partial, devices, "path", "phase")
    cells = _with_idle(
        cells.groupby(["path", "phase"])[ALL].sum().reset_index(), starved.of_layers(partial), ["path", "phase"]
    )
    number, texts = scopes_of(partial, cells)
    frame = cells.assign(scope=number).groupby(["scope", "phase"])[ALL].sum().reset_index()
    frame["scope"] = texts[frame["scope"].to_numpy()]
    frame["phase"] = [Phase(value).label for value in frame["phase"]]
    frame = rest_last(frame, ["total_ns", "scope", "phase"])
    columns = (Column("scope"), Column("phase"), *times(partial))
    rest = int(frame["rest"].sum())
    return Table(
        "roofline_layers",
        "Roofline by layer and phase",
        columns,
        derived(frame, partial),
        _notes(partial, devices),
        rest,
    )


_PACE = (
    "the step's wall time or, where the host runs ahead of the device, the time until its work is done, of the first"
    " step also what was launched before it; rates, efficiency and above are of it"
)
_MFU = "FLOPs of matmul, attention and convolution without recomputation, over pace and peak"


def step_table(partial: Partial, view: View) -> Table:
    """One row a step and device; without steps, a device."""
    facts, devices = partial.facts, devices_of(partial.facts, view.mhz)
    frame = roofed(partial, devices, "step")
    frame = frame.groupby(["step", "device"])[ALL].sum().reset_index()
    if facts.steps:
        frame = frame[frame["step"] != NONE].reset_index(drop=True)
    frame = _with_idle(frame, starved.of_steps(partial), ["step", "device"])
    frame = frame.merge(times_of_steps(partial), how="left", on=["step", "device"])
    products = ideal_times(partial, devices).groupby(["step", "device"])[["executed_ps", "model_ps", "unknown_flops"]]
    frame = frame.merge(products.sum().reset_index(), how="left", on=["step", "device"])
    time = frame["pace_ns"].where(frame["pace_ns"] > 0)
    is_known = (frame["unknown_flops"] == 0) & (frame["executed_ps"] > 0) & (facts.only is None)
    frame["mfu"], frame["hfu"] = ((frame[name] / 1e3 / time).where(is_known) for name in ("model_ps", "executed_ps"))
    labels = (*facts.device_labels, None)
    order = np.lexsort((frame["device"].to_numpy(), frame["step"].to_numpy()))
    frame = frame.assign(
        device=pd.Series([labels[number] for number in frame["device"]], frame.index, dtype=object),
        step=pd.arrays.IntegerArray(frame["step"].to_numpy(dtype=np.int64), mask=(frame["step"] == NONE).to_numpy()),
    ).iloc[order]
    columns = (
        Column("step"),
        Column("device"),
        Column("pace_ns", "ns", "time", "pace", summed=True, scale="time", note=_PACE),
        Column("total_ns", "ns", "time", "work", summed=True, scale="time"),
        Column("roof_ns", "ns", "time", "roof", summed=True, scale="time"),
        Column("above_ns", "ns", "time", "above", summed=True, scale="time", note=_BEYOND),
        *_WORK,
        *_RATES,
        Column("mfu", "1", "share", "MFU", note=_MFU),
        Column("hfu", "1", "share", "HFU", note="the same with recomputation"),
    )
    shown = _rates(frame.reset_index(drop=True), "pace_ns", frame["pace_ns"].reset_index(drop=True))
    return Table("roofline_steps", "Roofline by step", columns, shown, _notes(partial, devices))


def _with_idle(frame: pd.DataFrame, idle: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Add launch-starved time to what launches bound, where the frame has such rows; of equal keys to the first one."""
    waited = idle.groupby(keys)["idle_ns"].sum().reset_index()
    first = ~frame.duplicated(keys)
    added = frame[keys].merge(waited, how="left", on=keys)["idle_ns"].fillna(0).astype(np.int64).to_numpy()
    return frame.assign(launch_ns=frame["launch_ns"] + np.where(first, added, 0))


def derived(frame: pd.DataFrame, partial: Partial) -> pd.DataFrame:
    """Add rates, roofs and shares: times are those of the rows, roofs those of what has one."""
    frame = _rates(frame, "total_ns", frame["roofed_ns"])
    steps = max(len(partial.facts.steps), 1)
    frame["above_step_ns"] = frame["above_ns"] / steps
    return with_share(frame)


def _rates(frame: pd.DataFrame, time: str, roofed_ns: pd.Series[Any]) -> pd.DataFrame:
    seconds = (frame[time] / 1e9).where(frame[time] > 0)
    done, moved = frame["flops"] - frame["masked_flops"], frame["bytes"].where(frame["count_without_bytes"] == 0)
    has_roof = frame["roofed_ns"] > 0
    bounds = frame[[f"{bound.label}_ns" for bound in Bound]].to_numpy()
    labels = np.array([bound.label for bound in Bound], dtype=object)[bounds.argmax(axis=1)]
    return frame.assign(
        flops_per_s=(done / seconds).where(done > 0),
        bytes_per_s=(moved / seconds).where(moved > 0),
        flops_per_byte=(done / moved.where(moved > 0)).where(done > 0),
        bytes=moved.astype(pd.Int64Dtype()),
        roof_ns=(frame["roof_ps"] / 1e3).where(has_roof),
        above_ns=(roofed_ns - frame["roof_ps"] / 1e3).where(has_roof),
        efficiency=(frame["roof_ps"] / 1e3 / roofed_ns).where(has_roof),
        bound=pd.Series(labels, frame.index, dtype=object).where((bounds.sum(axis=1) > 0) & has_roof, None),
    )


def times(partial: Partial, *, shows_work: bool = False) -> tuple[Column, ...]:
    """Columns of counts, times, work, rates and roofs; work is for scripts, unless it is to be shown."""
    work = (replace(column, audience="everyone" if shows_work else column.audience) for column in _WORK[:1])
    above = Column("above_step_ns", "ns", "time", "above, a step", True, "above", divided=False, note=_BEYOND)
    return (
        Column("count", "", "count", summed=True),
        Column("total_ns", "ns", "time", "sum", summed=True, scale="time"),
        Column("share", "1", "share", summed=True),
        *work,
        *_WORK[1:],
        *_RATES,
        Column("above_ns", "ns", "time", "above", summed=True, scale="time", audience="scripts"),
        *((above,) if partial.facts.steps else ()),
    )


def _notes(partial: Partial, devices: Devices) -> tuple[str, ...]:
    """What the numbers mean, and which peaks the roofs are of: those of the precisions that products have."""
    if not devices.is_known:
        return (_UNKNOWN,)
    frame = roofed(partial, devices)
    products = frame[frame["kind"].isin(PRODUCT_KINDS) & (frame["precision"] != NONE)]
    pairs = sorted({*zip(products["device"].tolist(), products["precision"].tolist(), strict=True)})
    roofs: dict[str, list[str]] = {}
    for device, number in pairs:
        hardware, peak = devices.of[device], devices.peak(device, precision.ALL[number])
        if hardware is not None and peak is not None:
            roofs.setdefault(hardware.name, []).append(f"{precision.ALL[number]} {units.rate(peak)}FLOP/s")
    for number, hardware in enumerate(devices.of):
        if hardware is not None and (speed := devices.bandwidth(number)) is not None:
            roofs.setdefault(hardware.name, []).append(f"{units.rate(speed)}B/s")
    said = "; ".join(f"{name}: {', '.join(dict.fromkeys(texts))}" for name, texts in roofs.items())
    return (f"peaks of {said}",) if said else ()


def _or_none(numbers: pd.Series[Any], texts: Any) -> pd.Series[Any]:
    """Texts by number; None for NONE."""
    every = np.array([*texts, None], dtype=object)
    return pd.Series(every[numbers.to_numpy()], numbers.index, dtype=object)


def with_shapes(facts: Facts) -> Audience | None:
    """The audience of a table that needs shapes."""
    return "scripts" if facts.has_shapes else None


_NAMES = "`flops`, `masked_flops`, `bytes`, `flops_per_s`, `bytes_per_s`, `flops_per_byte`, `bound`, `efficiency`"
OPERATORS = TraceTable(
    "roofline",
    "an operator, the shapes of its arguments, precision and kernel (with shapes only)",
    "`operator`, `kernel`, `short_kernel` (with a device only), `category`, `shapes`, `precision`, `count`, "
    f"`total_ns`, `share`, {_NAMES}, `above_ns`, `above_step_ns` (with steps only)",
    operator_table,
    with_shapes,
    adds_up_steps=True,
)
LAYERS = TraceTable(
    "roofline_layers",
    "scope and phase (with shapes only)",
    f"`scope`, `phase`, `count`, `total_ns`, `share`, {_NAMES}, `above_ns`, `above_step_ns` (with steps only)",
    layer_table,
    with_shapes,
    adds_up_steps=True,
)
STEPS = TraceTable(
    "roofline_steps",
    "a step and a device; step null without steps (with shapes only)",
    f"`step`, `device`, `pace_ns`, `total_ns`, `roof_ns`, `above_ns`, {_NAMES}, `mfu`, `hfu`",
    step_table,
    with_shapes,
    divides=False,
)
