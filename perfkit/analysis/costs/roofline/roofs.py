"""Roofs: the least time that work can take on its device, by its peak and its bandwidth.

    roof = max(FLOPs / peak of the precision, bytes / bandwidth)      Williams et al. 2009, CACM 52(4), 65-76

Times of roofs are whole picoseconds of groups of equal calls, so that sums are the same in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from perfkit.analysis.attribution.intervals import NONE, pair_keys
from perfkit.analysis.costs.flops import precision
from perfkit.analysis.costs.flops.table import CALL, WORK
from perfkit.analysis.costs.flops.work import PRODUCTS
from perfkit.analysis.costs.hardware.lookup import hardware_of_device
from perfkit.analysis.costs.hardware.measured import measured_peaks
from perfkit.analysis.costs.hardware.model import SLACK, Hardware
from perfkit.analysis.kernels import kinds
from perfkit.analysis.time.partial import Facts, Partial
from perfkit.schema.ceilings import Precision
from perfkit.trace.recording import Device

PRODUCT_KINDS = tuple(kinds.ALL.index(kind) for kind in PRODUCTS)
SUMS = ("count", "flops", "masked_flops", "repeated_flops", "bytes", "count_without_bytes", "total_ns")
ROOFS = ("roofed_ns", "roof_ps", "compute_ns", "memory_ns", "launch_ns")
"""Of `roofed`: time of what has a roof, the roofs, and that time by what bounds it."""
LAUNCH_NS = 10_000
"""What a launch takes of the host, at most (NVIDIA, "Getting Started with CUDA Graphs": 5 to 10 us)."""
_TERA = 1e12
_FP32, _FP64, _TF32 = (precision.ALL.index(name) for name in ("fp32", "fp64", "tf32"))


class Bound(IntEnum):
    """What keeps work from being faster."""

    COMPUTE = 0
    """The peak of its precision: its intensity lies right of the ridge."""
    MEMORY = 1
    """The bandwidth."""
    LAUNCH = 2
    """Neither: what it takes to start it."""

    @property
    def label(self) -> str:
        """As written in tables."""
        return self.name.lower()


class Devices(msgspec.Struct, frozen=True):
    """What is known of the devices of a partial."""

    of: tuple[Hardware | None, ...]
    """By number, as rows have them; the last is that of the host, whose number is NONE."""

    @property
    def is_known(self) -> bool:
        """Whether any is."""
        return any(hardware is not None for hardware in self.of)

    def peaks_of(self, device: int) -> frozenset[tuple[Precision, float]] | None:
        """FLOP/s by precision; None where the device is not known."""
        hardware = self.of[device]
        return (
            None if hardware is None else frozenset((name, peak.flops_per_s) for name, peak in hardware.peaks.items())
        )

    def peak(self, device: int, wanted: Precision) -> float | None:
        """FLOP/s; None where it is not known."""
        hardware = self.of[device]
        peak = None if hardware is None else hardware.peak(wanted)
        return None if peak is None else peak.flops_per_s

    def bandwidth(self, device: int) -> float | None:
        """B/s; None where it is not known."""
        hardware = self.of[device]
        return None if hardware is None or hardware.bandwidth is None else hardware.bandwidth.bytes_per_s


def devices_of(facts: Facts, mhz: float | None = None) -> Devices:
    """What the devices can do: by their datasheets, else as measured. `mhz` is the clock that was measured."""
    named = dict(facts.devices)
    alike = {replace(device, index=0) for device in named.values()}
    only = alike.pop() if len(alike) == 1 else None  # the file may number devices otherwise than its events do
    found = (_hardware(named.get(label, only), mhz) for label in facts.device_labels)
    cpu = facts.cpus[0] if len(facts.cpus) == 1 and not facts.on_device else None
    return Devices((*found, measured_peaks(cpu.model, threads=cpu.threads) if cpu else None))


def _hardware(device: Device | None, mhz: float | None) -> Hardware | None:
    if device is None:
        return None
    known = hardware_of_device(device, mhz)
    return measured_peaks(device.name, device.memory, device.multiprocessors) if known is None else known


def roofed(partial: Partial, devices: Devices, *keys: str) -> pd.DataFrame:
    """Equal calls, one row each for every combination of `keys`, with what their roofs are.

    Sums as in `WORK`; `precision` is tf32 where fp32 products are faster than the fp32 peak; `bound` is NONE where
    there is no roof; `roof_ps`, and `roofed_ns`, the time of what has one; `told` the precision without rates.
    """
    frame = partial.of(WORK).groupby([*CALL, *keys], sort=True)[list(SUMS)].sum().reset_index()
    frame = frame.assign(told=frame["precision"], precision=with_tf32(frame, devices))
    seconds = frame["total_ns"].to_numpy() / 1e9
    peak, bandwidth = peaks(frame, devices), _bandwidths(frame, devices)
    is_product = frame["kind"].isin(PRODUCT_KINDS).to_numpy()
    is_told = (frame["count_without_bytes"] == 0).to_numpy()
    compute = np.nan_to_num((frame["flops"] - frame["masked_flops"]).to_numpy() / peak)
    memory = np.nan_to_num(np.where(is_told, frame["bytes"].to_numpy(), 0) / bandwidth)
    # of what is no product the bytes decide; those of a product may be unknown
    has_roof = (frame["kind"] != NONE).to_numpy() & np.where(
        is_product, ~np.isnan(peak), is_told & ~np.isnan(bandwidth)
    )
    roof = np.where(has_roof, np.maximum(compute, memory), 0.0)
    has_roof &= roof > 0
    each = frame["total_ns"].to_numpy() / np.maximum(frame["count"].to_numpy(), 1)
    bound = np.where(compute >= memory, Bound.COMPUTE, Bound.MEMORY)
    bound = np.where((each < LAUNCH_NS) & (2 * roof < seconds), Bound.LAUNCH, bound)
    frame = frame.assign(
        bound=np.where(has_roof, bound, NONE),
        roofed_ns=np.where(has_roof, frame["total_ns"], 0),
        roof_ps=np.round(roof * _TERA).astype(np.int64),
    )
    for kind in Bound:
        frame[f"{kind.label}_ns"] = np.where(frame["bound"] == kind, frame["total_ns"], 0)
    return frame


def peaks(frame: pd.DataFrame, devices: Devices) -> Any:
    """FLOP/s of each row; nan where it is not known. What is no product runs on the units for fp32, or fp64."""
    own = frame["precision"].to_numpy()
    units = np.where(own == _FP64, _FP64, _FP32)
    wanted = np.where(frame["kind"].isin(PRODUCT_KINDS), own, units)
    return _looked_up(frame["device"].to_numpy(), wanted, _peak_of(devices))


def _peak_of(devices: Devices) -> Callable[[int, int], float | None]:
    """The peak of a device for a precision by its number."""
    return lambda device, code: None if code == NONE else devices.peak(device, precision.ALL[code])


def _bandwidths(frame: pd.DataFrame, devices: Devices) -> Any:
    device = frame["device"].to_numpy()
    return _looked_up(device, np.zeros_like(device), lambda number, _: devices.bandwidth(number))


def _looked_up(device: Any, code: Any, of: Any) -> Any:
    """What `of` says of each pair of a device and a code, as floats; nan where it says None. Asks once a pair."""
    if not len(device):
        return np.empty(0, dtype=np.float64)
    _, first, place = np.unique(pair_keys(device, code), return_index=True, return_inverse=True)
    known = [of(int(device[row]), int(code[row])) for row in first]
    return np.array([np.nan if value is None else value for value in known], dtype=np.float64)[place]


def with_tf32(frame: pd.DataFrame, devices: Devices) -> Any:
    """The precision of each row: tf32 of fp32 products that are faster than the fp32 peak, all over the recording."""
    found = frame["precision"].to_numpy().copy()
    rows = products_in_fp32(frame)
    sums = rows.groupby([*CALL])[["flops", "masked_flops", "total_ns"]].transform("sum")
    time = sums["total_ns"].to_numpy(dtype=np.float64)
    done = (sums["flops"] - sums["masked_flops"]).to_numpy() / np.where(time > 0, time, np.inf) * 1e9
    device = rows["device"].to_numpy()
    fp32, tf32 = (_looked_up(device, np.full_like(device, code), _peak_of(devices)) for code in (_FP32, _TF32))
    found[rows.index[(done > SLACK * fp32) & (done <= SLACK * tf32)].to_numpy()] = _TF32  # nan is neither
    return found


def products_in_fp32(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of products whose arguments are fp32, and whose kernels do not say tf32."""
    return frame[(frame["precision"] == _FP32) & frame["kind"].isin(PRODUCT_KINDS)]


def rate(rows: pd.DataFrame) -> float:
    """FLOP/s of rows together, without what masks hide; 0 where they took no time."""
    time = int(rows["total_ns"].sum())
    return int((rows["flops"] - rows["masked_flops"]).sum()) / time * 1e9 if time else 0.0
