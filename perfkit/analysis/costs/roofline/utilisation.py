"""MFU and HFU: the part of their device's peak that steps use.

    MFU = model FLOPs / (time x peak), without recomputation
    HFU = FLOPs as executed / (time x peak), with it

as in Chowdhery et al. 2022, PaLM, arXiv 2204.02311, appendix B. Attention's backward has four matmuls of the model; the
fifth of fused kernels, which repeats one of forward, is recomputation, too.

FLOPs are those of matmul, attention and convolution. Where steps have several precisions, each has its own peak: time x
peak becomes the time that all of it would take at its peaks.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.costs.flops.table import WORK
from perfkit.analysis.costs.roofline.roofs import PRODUCT_KINDS, Devices, devices_of, peaks, with_tf32
from perfkit.analysis.time.cells import BY_STEP, Work, categories
from perfkit.analysis.time.paces import STEP_PACES, step_time
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.summary import SPANS

_WITHOUT_PEAK = 0.01
"""Share of the FLOPs whose peak may be unknown; they then count for nothing."""
_COUNTED = 0.9
"""Share of the time of matmuls, attention and convolutions that must be counted, or utilisation is not known."""


class Utilisation(msgspec.Struct, frozen=True):
    """Of the steps of a recording, or without any of the recording. None where it is not known."""

    mfu: float | None = None
    hfu: float | None = None


def scalars(partial: Partial, mhz: float | None = None) -> dict[str, Any]:
    """MFU and HFU for the summary; `mhz` is the clock that was measured."""
    found = utilisation(partial, devices_of(partial.facts, mhz))
    return {"mfu": found.mfu, "hfu": found.hfu}


def utilisation(partial: Partial, devices: Devices) -> Utilisation:
    """None without shapes, of a single phase, where peaks are not known, and where too little is counted."""
    facts = partial.facts
    if not facts.has_shapes or facts.only is not None or not devices.is_known or counted_products(partial) < _COUNTED:
        return Utilisation()
    if len({devices.peaks_of(device) for device in times_of_steps(partial)["device"].unique().tolist()}) > 1:
        return Utilisation()  # one that waits has other peaks than those that the work's time is compared with
    rows = ideal_times(partial, devices)
    if facts.steps:
        rows = rows[rows["step"] != NONE]
    time = pace_ns(partial)
    flops = int(rows["flops"].sum())
    if not time or not flops or rows["unknown_flops"].sum() > _WITHOUT_PEAK * flops:
        return Utilisation()
    executed, model = (int(rows[name].sum()) / 1e3 for name in ("executed_ps", "model_ps"))
    return Utilisation(model / time, executed / time)


def ideal_times(partial: Partial, devices: Devices) -> pd.DataFrame:
    """One row for each step, device and precision of products: FLOPs, and how long they would take at the peak, ps."""
    cells = partial.of(WORK)
    cells = cells[cells["kind"].isin(PRODUCT_KINDS)].reset_index(drop=True)
    is_model = cells["phase"] != Phase.RECOMPUTE
    cells = cells.assign(
        precision=with_tf32(cells, devices), model=(cells["flops"] - cells["repeated_flops"]).where(is_model, 0)
    )
    sums = cells.groupby(["step", "device", "precision"])[["flops", "model"]].sum().reset_index()
    per_flop = 1e12 / peaks(sums.assign(kind=PRODUCT_KINDS[0]), devices)
    unknown = pd.isna(per_flop)
    return sums.assign(
        executed_ps=(sums["flops"] * per_flop).where(~unknown, 0).round().astype("int64"),
        model_ps=(sums["model"] * per_flop).where(~unknown, 0).round().astype("int64"),
        unknown_flops=sums["flops"].where(unknown, 0),
    )


def pace_ns(partial: Partial) -> int:
    """How long the steps took as the first line says it, a step of each device counted, ns; else the devices' span."""
    times, step = times_of_steps(partial), step_time(partial)
    return round(step.ns * len(times)) if step else int(times["pace_ns"].sum())


def times_of_steps(partial: Partial) -> pd.DataFrame:
    """`pace_ns` of each `step` and `device`, ns; without steps the device's span, and step NONE.

    It is the step's wall time or, where the host runs ahead of the device, the time until its work is done, as
    `step_time` decides for all of them.
    """
    facts, rows, step = partial.facts, partial.of(BY_STEP), step_time(partial)
    if step is None:
        spans = partial.of(SPANS)
        return pd.DataFrame({"step": NONE, "device": spans["device"], "pace_ns": spans["last"] - spans["first"]})
    paces = partial.of(STEP_PACES).set_index("step")["pace_ns"]
    each = paces if step.is_pace else pd.Series(facts.steps)
    pairs = rows.loc[rows["step"] != NONE, ["step", "device"]].drop_duplicates(ignore_index=True)
    return pairs.assign(pace_ns=pairs["step"].map(each).astype(np.int64))


def counted_products(partial: Partial) -> float:
    """Share of the time of matmuls, attention and convolutions whose work is counted; 1 where there are none.

    Of those in the steps, where there are steps. What was launched before the window has no operator to count.
    """
    rows = partial.of(WORK)
    rows = rows[(rows["phase"] != Phase.UNLAUNCHED) & (not partial.facts.steps or rows["step"] != NONE)]
    counted = int(rows["total_ns"][rows["kind"].isin(PRODUCT_KINDS)].sum())
    rows = rows[rows["kind"] == NONE]
    on_device = partial.facts.on_device
    names = rows["kernel"] if on_device else rows["name"]
    rows = rows.assign(operator=rows["name"], name=names, work=Work.KERNEL if on_device else Work.OPERATOR)
    rows = rows[rows["name"] != NONE]
    uncounted = int(rows["total_ns"].to_numpy()[np.isin(categories(partial, rows), PRODUCT_KINDS)].sum())
    return counted / (counted + uncounted) if counted else float(not uncounted)
