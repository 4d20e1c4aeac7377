"""Hardware: the most that a device can do. Datasheets and measurements give the same type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from perfkit.schema import units
from perfkit.schema.ceilings import Precision

LinkKind = Literal["NVLink", "NVLink-C2C", "Infinity Fabric", "PCIe"]

SLACK = 1.05
"""Clocks go somewhat beyond the nominal boost."""


class Peak(msgspec.Struct, frozen=True):
    """The fastest matrix product of dense operands."""

    flops_per_s: float
    """A multiply-add is 2; of int8, operations."""
    source: str
    """Document and factors, or the measurement."""


class Bandwidth(msgspec.Struct, frozen=True):
    """The fastest that the device's memory is read and written."""

    bytes_per_s: float
    source: str


class Link(msgspec.Struct, frozen=True):
    """All links of one kind together, in one direction; vendors print both directions, twice as much."""

    kind: LinkKind
    bytes_per_s: float
    source: str


class Hardware(msgspec.Struct, frozen=True):
    """What one device, as programs see it, can do. A cell that is not known is missing, never a default."""

    name: str
    peaks: Mapping[Precision, Peak]
    """At the nominal boost clock. Empty where the vendor names none, or one name has several: see `at_clock`."""
    bandwidth: Bandwidth | None = None
    links: tuple[Link, ...] = ()
    multiprocessors: int | None = None
    """Streaming multiprocessors, or compute units of AMD."""
    flops_per_clock: Mapping[Precision, int] | None = None
    """Of the whole device; None where the peaks are measured."""
    source: str = ""
    """The document; empty where the peaks are measured."""

    def peak(self, precision: Precision) -> Peak | None:
        """The peak of a precision; None where the device lacks it, or the peak is not known."""
        return self.peaks.get(precision)

    def link(self, kind: LinkKind) -> Link | None:
        """The links of one kind; None where the device has none, or they are not known."""
        return next((link for link in self.links if link.kind == kind), None)

    def at_clock(self, mhz: float) -> Hardware:
        """The same device at a clock that was measured: peaks scale with it, bandwidths do not.

        Measured peaks stay: they ran at the clock that the device keeps up. Raises ValueError for a clock <= 0.
        """
        if not mhz > 0:
            raise ValueError(f"a clock of {mhz} MHz cannot have been measured")
        if self.flops_per_clock is None:
            return self
        return replace(
            self,
            peaks={
                precision: Peak(flops * mhz * 1e6, factors(self.source, flops, mhz))
                for precision, flops in self.flops_per_clock.items()
            },
        )


def factors(source: str, flops: int, mhz: float) -> str:
    """The source of a peak that is a product."""
    return f"{source}: {flops:,} FLOPs a clock at {mhz:,.0f} MHz"


def above_fp32(hardware: Hardware, flops_per_s: float) -> str:
    """What it means that operations on fp32 tensors ran at this rate; empty where the fp32 peak allows it.

    Only TF32 takes fp32 tensors to tensor cores, so more than the fp32 peak means that it was on. More than 105% of
    both peaks is an anomaly. 5% above the fp32 peak count as clocks beyond the nominal boost.
    """
    fp32, tf32 = hardware.peak("fp32"), hardware.peak("tf32")
    if fp32 is None or flops_per_s <= fp32.flops_per_s * SLACK:
        return ""
    said = f"{_tera(flops_per_s)} TFLOP/s is more than the {_tera(fp32.flops_per_s)} of fp32"
    if tf32 is not None and flops_per_s <= tf32.flops_per_s * SLACK:
        return f"{said}: TF32 was on, whose peak is {_tera(tf32.flops_per_s)}"
    return f"{said} and than TF32 can explain: the clock was higher, or FLOPs are counted that were not executed"


def _tera(flops_per_s: float) -> str:
    return units.significant(flops_per_s * 1e-12, 3)
