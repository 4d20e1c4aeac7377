"""Part: one product, as a line of the tables."""

from __future__ import annotations

import msgspec

from perfkit.analysis.costs.hardware import chips
from perfkit.analysis.costs.hardware.chips import Chip
from perfkit.analysis.costs.hardware.model import Bandwidth, Hardware, Link, LinkKind, Peak, factors

_LANE = {3: 8.0, 4: 16.0, 5: 32.0}
"""PCI Express Base Specification: GT/s of a lane by generation."""
_KINDS: dict[str, LinkKind] = {"nvlink": "NVLink", "c2c": "NVLink-C2C", "xgmi": "Infinity Fabric", "pcie": "PCIe"}


class Part(msgspec.Struct, frozen=True):
    """What the vendor's documents say of one product."""

    name: str
    """As CUDA and ROCm report it, without NVIDIA's own name in front, which older drivers leave out."""
    chip: Chip
    multiprocessors: int
    mhz: int | tuple[int, int] | None
    """Boost clock; (fp64 and fp32, tensor cores) where they differ; None where the vendor names no single one."""
    gib: float
    """Memory, nominal; devices report up to a tenth less."""
    gb_per_s: float | None
    """Memory bandwidth, in 1e9 B/s; None where it is not published."""
    links: str
    """`nvlink:450 pcie:5x16`: GB/s in one direction; generation and lanes of PCIe."""
    source: str

    def hardware(self) -> Hardware:
        """The part, with a source for each number."""
        rates = {precision: 2 * fma * self.multiprocessors for precision, fma in self.chip.fma.items()}
        source = f"{self.source}; {self.chip.source}"
        vector, tensor = self.mhz if isinstance(self.mhz, tuple) else (self.mhz, self.mhz)
        peaks = {}
        for precision, flops in rates.items():
            mhz = vector if precision in chips.VECTOR else tensor
            if mhz is not None:
                peaks[precision] = Peak(flops * mhz * 1e6, factors(source, flops, mhz))
        bandwidth = None if self.gb_per_s is None else Bandwidth(self.gb_per_s * 1e9, self.source)
        links = tuple(self._link(*word.split(":")) for word in self.links.split())
        return Hardware(self.name, peaks, bandwidth, links, self.multiprocessors, rates, source)

    def _link(self, kind: str, speed: str) -> Link:
        if kind != "pcie":
            return Link(_KINDS[kind], float(speed) * 1e9, self.source)
        generation, lanes = map(int, speed.split("x"))
        each = _LANE[generation] * 1e9 / 8 * 128 / 130  # 128 of 130 bits are data
        return Link(_KINDS[kind], each * lanes, f"{self.source}: PCIe {generation}.0, {lanes} lanes of 128b/130b")

    def could_be(self, memory: int | None, multiprocessors: int | None) -> bool:
        """Whether a device of this name that reports so many bytes and multiprocessors may be this part."""
        fits = memory is None or 0.88 <= memory / 2**30 / self.gib <= 1.05
        return fits and multiprocessors in (None, self.multiprocessors)
