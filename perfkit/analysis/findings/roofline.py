"""Rates that a device cannot have: TF32 where fp32 was asked for, and what no peak explains."""

from __future__ import annotations

from typing import Any

import pandas as pd

from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.costs.flops import precision
from perfkit.analysis.costs.hardware.model import Hardware, above_fp32
from perfkit.analysis.costs.roofline.roofs import Bound, Devices, devices_of, rate, roofed
from perfkit.analysis.kernels import kinds
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.summary import Scalars
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule

_ANOMALY = 1.05
"""Clocks go somewhat beyond the nominal boost; more than 5% above a roof has another reason."""
_LEAST = 0.02
"""Share of the time of all rows that those above the roof must have."""
_CACHE = 256 * 2**20
"""Bytes of the largest last-level cache: that of AMD's MI300X (CDNA 3 white paper, 2023)."""

TENSOR_FLOAT_USED = Rule(
    "tensor-float-used", "trace", "fp32 matmuls or convolutions are faster than the fp32 peak: TF32 was on"
)
ABOVE_ROOF = Rule("above-roof", "trace", "work or steps are faster than the device can be, by more than 5%, and why")


def tf32_used(account: Account, _: Scalars) -> Finding | None:
    """Products of fp32 tensors that are too fast for fp32, by the one with most time. Kernels named so are no news."""
    frame, devices = _roofed(account)
    frame = frame[(frame["precision"] != frame["told"]) & (frame["precision"] != NONE)]
    if not len(frame):
        return None
    longest = frame.sort_values("total_ns", kind="stable").tail(1)
    hardware = _hardware(longest, devices)
    said = above_fp32(hardware, rate(longest)) if hardware else ""
    text = f"{_named(longest, account)} takes fp32 tensors: {said}"
    return Finding(TENSOR_FLOAT_USED, text, evidence=(_evidence(longest, account),), sure="derived")


def above_roof(account: Account, scalars: Scalars) -> Finding | None:
    """Rows more than 5% above their roof that take 2% of all time; and steps that use more than 105% of the peak."""
    frame, devices = _roofed(account)
    if not len(frame):
        return None
    roof_ns = frame["roof_ps"] / 1e3
    above = frame[(frame["bound"] != NONE) & (roof_ns > _ANOMALY * frame["total_ns"]) & (frame["total_ns"] > 0)]
    share = above["total_ns"].sum() / max(int(frame["total_ns"].sum()), 1)
    said = []
    if (scalars.get("hfu") or 0.0) > _ANOMALY:
        masked = " causal attention counts in full, and" if frame["masked_flops"].any() else ""
        said.append(
            f"the steps use {units.percent(scalars['hfu'])} of the peak (HFU):{masked} the device may have worked on"
            " beyond the steps"
        )
    evidence: tuple[Evidence, ...] = ()
    if share >= _LEAST:
        longest = above.sort_values("total_ns", kind="stable").tail(1)
        times = float((longest["roof_ps"] / 1e3 / longest["total_ns"]).to_numpy()[0])
        said.append(
            f"{units.percent(share)} of the time goes to work above its roof, most to {_named(longest, account)} at"
            f" {units.percent(times)}: {_why(longest, _hardware(longest, devices))}"
        )
        evidence = (_evidence(longest, account),)
    return Finding(ABOVE_ROOF, "; ".join(said), evidence=evidence, sure="guessed") if said else None


def _why(row: pd.DataFrame, hardware: Hardware | None) -> str:
    """What lets a row be faster than its roof."""
    each = int(row["bytes"].sum()) / max(int(row["count"].sum()), 1)
    kind = kinds.ALL[_first(row, "kind")]
    if _first(row, "bound") == Bound.MEMORY:
        if each <= _CACHE:
            return f"its {units.size(each)} a call can come from a cache, which is faster than memory"
        return "it moves less than its shapes say, such as the rows of a table that an index repeats"
    if hardware is not None and hardware.flops_per_clock is None:
        return "the measured peak is too low; measure it again on a quiet machine"
    if kind == kinds.CONVOLUTION:
        return "its algorithm (Winograd, FFT) does fewer operations than the direct one, which is counted"
    if kind == kinds.ATTENTION:
        return "a mask that the trace does not tell hides part of it"
    told = _first(row, "precision")
    if told != NONE and precision.ALL[told] == "fp32" and hardware is not None:
        return above_fp32(hardware, rate(row))
    return "the clock was higher than the datasheet's, or operations are counted that were not executed"


def _roofed(account: Account) -> tuple[pd.DataFrame, Devices]:
    """The roofs of equal calls; no rows without shapes or peaks."""
    devices = devices_of(account.partial.facts)
    if not account.partial.facts.has_shapes or not devices.is_known:
        return pd.DataFrame({"precision": [], "told": []}), devices
    return roofed(account.partial, devices), devices


def _first(row: pd.DataFrame, column: str) -> int:
    return int(row[column].to_numpy()[0])


def _hardware(row: pd.DataFrame, devices: Devices) -> Hardware | None:
    return devices.of[_first(row, "device")]


def _named(row: pd.DataFrame, account: Account) -> str:
    return f"{account.trace.names[_first(row, 'name')]} of {_shapes(row)}"


def _shapes(row: pd.DataFrame) -> Any:
    return row["shapes"].to_numpy()[0]


def _evidence(row: pd.DataFrame, account: Account) -> Evidence:
    return Evidence("roofline", {"operator": account.trace.names[_first(row, "name")], "shapes": _shapes(row)})
