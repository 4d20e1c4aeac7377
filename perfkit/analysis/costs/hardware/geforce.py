"""NVIDIA's GeForce cards, and those of laptops."""

# fmt: off

from __future__ import annotations

from perfkit.analysis.costs.hardware.chips import ADA_GEFORCE, AMPERE_GEFORCE, BLACKWELL_GEFORCE, TURING_GEFORCE
from perfkit.analysis.costs.hardware.part import Part

_RTX20, _RTX30, _RTX40, _RTX50 = (
    f"NVIDIA GeForce RTX {series} series specifications ({year})"
    for series, year in (("20", 2019), ("30", 2022), ("40", 2024), ("50", 2025))
)
_LAPTOP20, _LAPTOP30, _LAPTOP40, _LAPTOP50 = (
    f"NVIDIA GeForce RTX {series} series laptop comparison ({year})"
    for series, year in (("20", 2019), ("30", 2022), ("40", 2023), ("50", 2025))
)
_VARIANTS = "ComputerBase's list of RTX 30 laptop variants (2021), https://www.hardwaretimes.com/nvidia-is-offering-28-variants-of-the-rtx-30-series-mobile-gpus-to-oems/"
_FPSBENCH = "https://fpsbench.com/compare/gpu/nvidia-"

_DESKTOP = (
    Part("GeForce RTX 2080 Ti", TURING_GEFORCE, 68, 1545, 11, 616, "nvlink:50 pcie:3x16", _RTX20),
    Part("GeForce RTX 2080 SUPER", TURING_GEFORCE, 48, 1815, 8, 496, "nvlink:25 pcie:3x16", _RTX20),
    Part("GeForce RTX 2080", TURING_GEFORCE, 46, 1710, 8, 448, "nvlink:25 pcie:3x16", _RTX20),
    Part("GeForce RTX 2070 SUPER", TURING_GEFORCE, 40, 1770, 8, 448, "nvlink:25 pcie:3x16", _RTX20),
    Part("GeForce RTX 2070", TURING_GEFORCE, 36, 1620, 8, 448, "pcie:3x16", _RTX20),
    Part("GeForce RTX 2060 SUPER", TURING_GEFORCE, 34, 1650, 8, 448, "pcie:3x16", _RTX20),
    Part("GeForce RTX 2060", TURING_GEFORCE, 34, 1650, 12, 336, "pcie:3x16", _RTX20),
    Part("GeForce RTX 2060", TURING_GEFORCE, 30, 1680, 6, 336, "pcie:3x16", _RTX20),
    Part("GeForce RTX 3090 Ti", AMPERE_GEFORCE, 84, 1860, 24, 1008, "nvlink:56.25 pcie:4x16", _RTX30),
    Part("GeForce RTX 3090", AMPERE_GEFORCE, 82, 1695, 24, 936, "nvlink:56.25 pcie:4x16", _RTX30),
    Part("GeForce RTX 3080 Ti", AMPERE_GEFORCE, 80, 1665, 12, 912, "pcie:4x16", _RTX30),
    Part("GeForce RTX 3080", AMPERE_GEFORCE, 70, 1710, 12, 912, "pcie:4x16", _RTX30),
    Part("GeForce RTX 3080", AMPERE_GEFORCE, 68, 1710, 10, 760, "pcie:4x16", _RTX30),
    Part("GeForce RTX 3070 Ti", AMPERE_GEFORCE, 48, 1770, 8, 608, "pcie:4x16", _RTX30),
    Part("GeForce RTX 3070", AMPERE_GEFORCE, 46, 1725, 8, 448, "pcie:4x16", _RTX30),
    Part("GeForce RTX 3060 Ti", AMPERE_GEFORCE, 38, 1665, 8, 448, "pcie:4x16", _RTX30),  # GDDR6
    Part("GeForce RTX 3060 Ti", AMPERE_GEFORCE, 38, 1665, 8, 608, "pcie:4x16", _RTX30),  # GDDR6X
    Part("GeForce RTX 3060", AMPERE_GEFORCE, 28, 1777, 12, 360, "pcie:4x16", _RTX30),
    Part("GeForce RTX 3060", AMPERE_GEFORCE, 28, 1777, 8, 240, "pcie:4x16", _RTX30),
    Part("GeForce RTX 3050", AMPERE_GEFORCE, 20, 1777, 8, 224, "pcie:4x8", _RTX30),
    Part("GeForce RTX 3050", AMPERE_GEFORCE, 18, 1470, 6, 168, "pcie:4x8", _RTX30),
    Part("GeForce RTX 4090", ADA_GEFORCE, 128, 2520, 24, 1008, "pcie:4x16", _RTX40),
    Part("GeForce RTX 4090 D", ADA_GEFORCE, 114, 2520, 24, 1008, "pcie:4x16", _RTX40),
    Part("GeForce RTX 4080 SUPER", ADA_GEFORCE, 80, 2550, 16, 736, "pcie:4x16", _RTX40),
    Part("GeForce RTX 4080", ADA_GEFORCE, 76, 2505, 16, 716.8, "pcie:4x16", _RTX40),
    Part("GeForce RTX 4070 Ti SUPER", ADA_GEFORCE, 66, 2610, 16, 672, "pcie:4x16", _RTX40),
    Part("GeForce RTX 4070 Ti", ADA_GEFORCE, 60, 2610, 12, 504, "pcie:4x16", _RTX40),
    Part("GeForce RTX 4070 SUPER", ADA_GEFORCE, 56, 2475, 12, 504, "pcie:4x16", _RTX40),
    Part("GeForce RTX 4070", ADA_GEFORCE, 46, 2475, 12, 504, "pcie:4x16", _RTX40),  # GDDR6X
    Part("GeForce RTX 4070", ADA_GEFORCE, 46, 2475, 12, 480, "pcie:4x16", _RTX40),  # GDDR6
    Part("GeForce RTX 4060 Ti", ADA_GEFORCE, 34, 2535, 16, 288, "pcie:4x8", _RTX40),
    Part("GeForce RTX 4060 Ti", ADA_GEFORCE, 34, 2535, 8, 288, "pcie:4x8", _RTX40),
    Part("GeForce RTX 4060", ADA_GEFORCE, 24, 2460, 8, 272, "pcie:4x8", _RTX40),
    Part("GeForce RTX 5090", BLACKWELL_GEFORCE, 170, 2407, 32, 1792, "pcie:5x16", _RTX50),
    Part("GeForce RTX 5080", BLACKWELL_GEFORCE, 84, 2617, 16, 960, "pcie:5x16", _RTX50),
    Part("GeForce RTX 5070 Ti", BLACKWELL_GEFORCE, 70, 2452, 16, 896, "pcie:5x16", _RTX50),
    Part("GeForce RTX 5070", BLACKWELL_GEFORCE, 48, 2512, 12, 672, "pcie:5x16", _RTX50),
    Part("GeForce RTX 5060 Ti", BLACKWELL_GEFORCE, 36, 2572, 16, 448, "pcie:5x8", _RTX50),
    Part("GeForce RTX 5060 Ti", BLACKWELL_GEFORCE, 36, 2572, 8, 448, "pcie:5x8", _RTX50),
    Part("GeForce RTX 5060", BLACKWELL_GEFORCE, 30, 2497, 8, 448, "pcie:5x8", _RTX50),
    Part("GeForce RTX 5050", BLACKWELL_GEFORCE, 20, 2572, 8, 320, "pcie:5x8", _RTX50),
)

# The maker of a laptop chooses the power, and so the boost clock: of an RTX 4090 from 1455 MHz (80 W) to 2040 (150 W).
# The clock here is that of the power in the source; None where none was found. Names end in "Laptop GPU" since the RTX
# 30 series; earlier laptops have the names of desktop cards.
_LAPTOP = (
    Part("GeForce RTX 2080", TURING_GEFORCE, 46, None, 8, 448, "", _LAPTOP20),
    Part("GeForce RTX 2070", TURING_GEFORCE, 36, None, 8, 448, "", _LAPTOP20),
    Part("GeForce RTX 2060", TURING_GEFORCE, 30, None, 6, 336, "", _LAPTOP20),
    Part("GeForce RTX 3080 Ti Laptop GPU", AMPERE_GEFORCE, 58, None, 16, 512, "", _LAPTOP30),
    Part("GeForce RTX 3080 Laptop GPU", AMPERE_GEFORCE, 48, 1545, 16, None, "", f"115 W; {_VARIANTS}"),
    Part("GeForce RTX 3080 Laptop GPU", AMPERE_GEFORCE, 48, 1545, 8, None, "", f"115 W; {_VARIANTS}"),
    Part("GeForce RTX 3070 Ti Laptop GPU", AMPERE_GEFORCE, 46, None, 8, 448, "", _LAPTOP30),
    Part("GeForce RTX 3070 Laptop GPU", AMPERE_GEFORCE, 40, 1560, 8, None, "", f"115 W; {_VARIANTS}"),
    Part("GeForce RTX 3060 Laptop GPU", AMPERE_GEFORCE, 30, 1425, 6, None, "", f"80 W; {_VARIANTS}"),
    Part("GeForce RTX 3050 Ti Laptop GPU", AMPERE_GEFORCE, 20, None, 4, 192, "", _LAPTOP30),
    Part("GeForce RTX 3050 Laptop GPU", AMPERE_GEFORCE, 16, None, 4, 192, "", _LAPTOP30),
    Part("GeForce RTX 4090 Laptop GPU", ADA_GEFORCE, 76, 1695, 16, 576, "", f"120 W; {_FPSBENCH}geforce-rtx-4090-mobile-vs-nvidia-t550-mobile"),
    Part("GeForce RTX 4080 Laptop GPU", ADA_GEFORCE, 58, 1665, 12, 432, "", "110 W; https://www.hardwaredb.net/geforce-rtx-4080-laptop-benchmark"),
    Part("GeForce RTX 4070 Laptop GPU", ADA_GEFORCE, 36, None, 8, 256, "", _LAPTOP40),
    Part("GeForce RTX 4060 Laptop GPU", ADA_GEFORCE, 24, 1890, 8, 256, "", "https://gpudecision.com/review/nvidia-geforce-rtx-4060-mobile"),
    Part("GeForce RTX 4050 Laptop GPU", ADA_GEFORCE, 20, 1755, 6, 192, "", f"50 W; {_FPSBENCH}geforce-rtx-4050-mobile-vs-nvidia-t400"),
    Part("GeForce RTX 5090 Laptop GPU", BLACKWELL_GEFORCE, 82, 1515, 24, 896, "", "95 W; https://fpsbench.com/compare/gpu/amd-radeon-540-vs-nvidia-geforce-rtx-5090-mobile"),
    Part("GeForce RTX 5080 Laptop GPU", BLACKWELL_GEFORCE, 60, None, 16, 896, "", _LAPTOP50),
    Part("GeForce RTX 5070 Ti Laptop GPU", BLACKWELL_GEFORCE, 46, None, 12, 672, "", _LAPTOP50),
    Part("GeForce RTX 5070 Laptop GPU", BLACKWELL_GEFORCE, 36, None, 8, 384, "", _LAPTOP50),
    Part("GeForce RTX 5060 Laptop GPU", BLACKWELL_GEFORCE, 26, 1455, 8, 384, "", "45 W; https://fpsbench.com/compare/gpu/nvidia-t550-mobile-vs-nvidia-geforce-rtx-5060-mobile"),
)

PARTS = (*_DESKTOP, *_LAPTOP)
