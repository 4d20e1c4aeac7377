"""Which hardware a device is, by the name that CUDA, ROCm or nsys reports, and what else it says of itself."""

from __future__ import annotations

from collections import defaultdict
from functools import reduce
from typing import TypeVar

from msgspec.structs import replace

from perfkit.analysis.costs.hardware import amd, datacentre, geforce, workstation
from perfkit.analysis.costs.hardware.model import Bandwidth, Hardware
from perfkit.analysis.costs.hardware.part import Part
from perfkit.regex import Regex
from perfkit.trace.recording import Device

PARTS = (*datacentre.PARTS, *workstation.PARTS, *geforce.PARTS, *amd.PARTS)

_SLICE = Regex(r"(.+?) MIG \d+c?\.?\d*g\.\d+gb(?:\+.+)?")
"""The name of an instance of a GPU that is divided (NVIDIA's multi-instance GPU)."""
_Cell = TypeVar("_Cell")


def _by_name() -> dict[str, list[Part]]:
    parts = defaultdict(list)
    for part in PARTS:
        parts[part.name].append(part)
    return dict(parts)


_BY_NAME = _by_name()


def hardware_of(
    name: str, memory: int | None = None, multiprocessors: int | None = None, mhz: float | None = None
) -> Hardware | None:
    """The device of this name; None where it is unknown, or where what it reports does not fit the name.

    `memory` (bytes) and `multiprocessors` are what it reports, and tell apart parts that share a name; a cell in which
    those that remain differ is left out. `mhz` is the clock that was measured: the peaks are then at that clock.

    Names are compared letter by letter (an `RTX 2070 SUPER` is a desktop card, an `RTX 2070 Super` is in a laptop), but
    for NVIDIA's own name in front, which older drivers leave out.
    """
    name = " ".join(name.split()).removeprefix("NVIDIA ")
    if found := _SLICE.fullmatch(name):
        hardware = _slice(found[1], name, multiprocessors)
    else:
        parts = [part for part in _BY_NAME.get(name, ()) if part.could_be(memory, multiprocessors)]
        hardware = reduce(_common, (part.hardware() for part in parts)) if parts else None
    return hardware if hardware is None or mhz is None else hardware.at_clock(mhz)


def hardware_of_device(device: Device, mhz: float | None = None) -> Hardware | None:
    """`hardware_of` with everything that a recording says of one of its devices.

    nsys also says what the driver reports: the boost clock of this very board, which is used where the vendor has one
    clock for all units, and the bandwidth, which is used where the name leaves it open.
    """
    hardware = hardware_of(device.name, device.memory, device.multiprocessors)
    if hardware is None:
        return None
    if hardware.bandwidth is None and device.bytes_per_s and not _SLICE.fullmatch(device.name):
        hardware = replace(hardware, bandwidth=Bandwidth(float(device.bytes_per_s), "as its driver reports it"))
    if mhz is None and device.clock_hz and len(_clocks(hardware)) < 2:
        mhz = device.clock_hz * 1e-6
    return hardware if mhz is None else hardware.at_clock(mhz)


def _clocks(hardware: Hardware) -> set[int]:
    """The clocks of its peaks, in MHz."""
    rates = hardware.flops_per_clock or {}
    return {round(peak.flops_per_s / rates[precision] * 1e-6) for precision, peak in hardware.peaks.items()}


def _slice(whole: str, name: str, multiprocessors: int | None) -> Hardware | None:
    """An instance of a divided GPU: the peaks of its multiprocessors; its part of the bandwidth is not known."""
    parts = _BY_NAME.get(whole, [])
    if len(parts) != 1 or multiprocessors is None or multiprocessors > parts[0].multiprocessors:
        return None
    instance = replace(parts[0], name=name, multiprocessors=multiprocessors, gb_per_s=None, links="")
    return instance.hardware()


def _common(one: Hardware, other: Hardware) -> Hardware:
    """What two devices have in common."""
    source = one.source if one.source == other.source else f"{one.source}, or {other.source}"
    rates = _shared(one.flops_per_clock, other.flops_per_clock)
    return replace(
        one,
        peaks={
            precision: replace(peak, source=source)
            for precision, peak in one.peaks.items()
            if (twin := other.peak(precision)) is not None and twin.flops_per_s == peak.flops_per_s
        },
        bandwidth=one.bandwidth if _speed(one) == _speed(other) else None,
        links=tuple(link for link in one.links if link in other.links),
        multiprocessors=_shared(one.multiprocessors, other.multiprocessors),
        flops_per_clock=rates or {},
        source=source,
    )


def _shared(one: _Cell, other: _Cell) -> _Cell | None:
    return one if one == other else None


def _speed(hardware: Hardware) -> float | None:
    return None if hardware.bandwidth is None else hardware.bandwidth.bytes_per_s
