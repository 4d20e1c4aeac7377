"""AMD's Instinct accelerators."""

# fmt: off

from __future__ import annotations

from perfkit.analysis.costs.hardware.chips import CDNA2, CDNA3, CDNA4
from perfkit.analysis.costs.hardware.part import Part

_MI250 = "AMD Instinct MI250 data sheet (2022), one of its two dies"
_MI250X = "AMD Instinct MI250X data sheet (2022), one of its two dies"
_MI300X = "AMD Instinct MI300X data sheet (2023)"
_MI325X = "AMD Instinct MI325X data sheet (2024)"

# Each die of an MI250 or MI250X is a device of its own.
PARTS = (
    Part("AMD Instinct MI210", CDNA2, 104, 1700, 64, 1638.4, "xgmi:150 pcie:4x16", "AMD Instinct MI210 data sheet (2022)"),
    Part("AMD Instinct MI250", CDNA2, 104, 1700, 64, 1638.4, "", _MI250),
    Part("AMD Instinct MI250X", CDNA2, 110, 1700, 64, 1638.4, "", _MI250X),
    Part("AMD Instinct MI250X / MI250", CDNA2, 104, 1700, 64, 1638.4, "", _MI250),
    Part("AMD Instinct MI250X / MI250", CDNA2, 110, 1700, 64, 1638.4, "", _MI250X),
    Part("AMD Instinct MI250X/MI250", CDNA2, 104, 1700, 64, 1638.4, "", _MI250),
    Part("AMD Instinct MI250X/MI250", CDNA2, 110, 1700, 64, 1638.4, "", _MI250X),
    Part("AMD Instinct MI300A", CDNA3, 228, 2100, 128, 5300, "", "AMD Instinct MI300A data sheet (2023)"),
    Part("AMD Instinct MI300X", CDNA3, 304, 2100, 192, 5300, "xgmi:448 pcie:5x16", _MI300X),
    Part("AMD Instinct MI300X VF", CDNA3, 304, 2100, 192, 5300, "xgmi:448 pcie:5x16", _MI300X),
    Part("AMD Instinct MI308X", CDNA3, 80, None, 192, None, "", "AMD publishes no data sheet of the MI308X"),
    Part("AMD Instinct MI325X", CDNA3, 304, 2100, 256, 6000, "xgmi:448 pcie:5x16", _MI325X),
    Part("AMD Instinct MI350X", CDNA4, 256, 2200, 288, 8000, "xgmi:537.6 pcie:5x16", "AMD Instinct MI350X data sheet (2025)"),
    Part("AMD Instinct MI355X", CDNA4, 256, 2400, 288, 8000, "xgmi:537.6 pcie:5x16", "AMD Instinct MI355X data sheet (2025)"),
)
