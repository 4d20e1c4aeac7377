"""NVIDIA's data centre cards."""

# fmt: off

from __future__ import annotations

from perfkit.analysis.costs.hardware.chips import (
    ADA,
    ADA_HALF,
    AMPERE,
    AMPERE_HALF,
    BLACKWELL,
    BLACKWELL_ULTRA,
    GA100,
    H20,
    H800,
    HOPPER,
    TURING,
    VOLTA,
)
from perfkit.analysis.costs.hardware.part import Part

_V100 = "NVIDIA Tesla V100 datasheet (2020)"
_STATION = "NVIDIA DGX Station datasheet (2018)"
_A100 = "NVIDIA A100 Tensor Core GPU datasheet (2022)"
_A800 = "NVIDIA A800 datasheet (2022)"
_H100 = "NVIDIA H100 Tensor Core GPU datasheet (2023)"
_NVL = "NVIDIA H100 NVL datasheet (2024)"
_H200 = "NVIDIA H200 Tensor Core GPU datasheet (2024)"
_GH200 = "NVIDIA GH200 Grace Hopper Superchip datasheet (2023)"
_H800 = "NVIDIA H800 datasheet (2023)"
_H20 = "NVIDIA H20 datasheet (2024)"
_B200 = "NVIDIA DGX B200 datasheet (2024)"
_GB200 = "NVIDIA GB200 NVL72 datasheet (2024)"
_B300 = "NVIDIA HGX B300 datasheet (2025)"
_GB300 = "NVIDIA GB300 NVL72 datasheet (2025)"

PARTS = (
    Part("Tesla V100-SXM2-16GB", VOLTA, 80, 1530, 16, 900, "nvlink:150 pcie:3x16", _V100),
    Part("Tesla V100-SXM2-32GB", VOLTA, 80, 1530, 32, 900, "nvlink:150 pcie:3x16", _V100),
    Part("Tesla V100-DGXS-16GB", VOLTA, 80, 1530, 16, 900, "pcie:3x16", _STATION),
    Part("Tesla V100-DGXS-32GB", VOLTA, 80, 1530, 32, 900, "pcie:3x16", _STATION),
    Part("Tesla V100-PCIE-16GB", VOLTA, 80, 1380, 16, 900, "pcie:3x16", _V100),
    Part("Tesla V100-PCIE-32GB", VOLTA, 80, 1380, 32, 900, "pcie:3x16", _V100),
    Part("Tesla V100S-PCIE-32GB", VOLTA, 80, 1597, 32, 1134, "pcie:3x16", _V100),
    Part("Tesla T4", TURING, 40, 1590, 16, 320, "pcie:3x16", "NVIDIA T4 Tensor Core GPU datasheet (2019)"),
    Part("A100-SXM4-40GB", GA100, 108, 1410, 40, 1555, "nvlink:300 pcie:4x16", _A100),
    Part("A100-PG509-200", GA100, 108, 1410, 40, 1555, "nvlink:300 pcie:4x16", _A100),
    Part("A100-SXM4-80GB", GA100, 108, 1410, 80, 2039, "nvlink:300 pcie:4x16", _A100),
    Part("PG509-210", GA100, 108, 1410, 80, 2039, "nvlink:300 pcie:4x16", _A100),
    Part("A100-PCIE-40GB", GA100, 108, 1410, 40, 1555, "nvlink:300 pcie:4x16", _A100),
    Part("A100 80GB PCIe", GA100, 108, 1410, 80, 1935, "nvlink:300 pcie:4x16", _A100),
    Part("A800-SXM4-80GB", GA100, 108, 1410, 80, 2039, "nvlink:200 pcie:4x16", _A800),
    Part("A800 80GB PCIe", GA100, 108, 1410, 80, 1935, "nvlink:200 pcie:4x16", _A800),
    Part("A30", GA100, 56, 1440, 24, 933, "nvlink:100 pcie:4x16", "NVIDIA A30 datasheet (2021)"),
    Part("A40", AMPERE, 84, 1740, 48, 696, "nvlink:56.25 pcie:4x16", "NVIDIA A40 datasheet (2021)"),
    Part("A10", AMPERE, 72, 1695, 24, 600, "pcie:4x16", "NVIDIA A10 datasheet (2021)"),
    Part("A10G", AMPERE_HALF, 80, 1710, 24, 600, "pcie:4x16", "NVIDIA A10G datasheet (2021)"),
    Part("A16", AMPERE, 10, 1755, 16, 200, "pcie:4x16", "NVIDIA A16 datasheet (2021), one of its four GPUs"),
    Part("A2", AMPERE, 10, 1770, 16, 200, "pcie:4x8", "NVIDIA A2 datasheet (2021)"),
    Part("L4", ADA, 58, 2040, 24, 300, "pcie:4x16", "NVIDIA L4 datasheet (2023)"),
    Part("L20", ADA_HALF, 92, 2520, 48, 864, "pcie:4x16", "NVIDIA L20 datasheet (2023)"),
    Part("L40", ADA_HALF, 142, 2490, 48, 864, "pcie:4x16", "NVIDIA L40 datasheet (2022)"),
    Part("L40S", ADA, 142, 2520, 48, 864, "pcie:4x16", "NVIDIA L40S datasheet (2023)"),
    Part("H100 80GB HBM3", HOPPER, 132, (1980, 1830), 80, 3350, "nvlink:450 pcie:5x16", _H100),
    Part("H100 PCIe", HOPPER, 114, (1755, 1620), 80, 2039, "nvlink:300 pcie:5x16", _H100),
    Part("H100 NVL", HOPPER, 132, (1785, 1545), 94, 3938, "nvlink:300 pcie:5x16", _NVL),
    Part("H200", HOPPER, 132, (1980, 1830), 141, 4800, "nvlink:450 pcie:5x16", _H200),
    Part("H200 NVL", HOPPER, 132, (1785, 1545), 141, 4800, "nvlink:450 pcie:5x16", _H200),
    Part("GH200 480GB", HOPPER, 132, (1980, 1830), 96, 4000, "nvlink:450 c2c:450", _GH200),
    Part("GH200 120GB", HOPPER, 132, (1980, 1830), 96, 4000, "nvlink:450 c2c:450", _GH200),
    Part("GH200 144G HBM3e", HOPPER, 132, (1980, 1830), 144, 4900, "nvlink:450 c2c:450", _GH200),
    Part("H800", H800, 132, (1980, 1830), 80, 3350, "nvlink:200 pcie:5x16", _H800),
    Part("H800 PCIe", H800, 114, (1755, 1620), 80, 2039, "nvlink:200 pcie:5x16", _H800),
    Part("H20", H20, 78, 1830, 96, 4000, "nvlink:450 pcie:5x16", _H20),
    Part("H20-3e", H20, 78, 1830, 141, 4800, "nvlink:450 pcie:5x16", _H20),
    Part("B200", BLACKWELL, 148, (1965, 1855), 180, 8000, "nvlink:900 pcie:5x16", _B200),
    Part("GB200", BLACKWELL, 152, (2062, 2008), 186, 8000, "nvlink:900 c2c:450", _GB200),
    Part("B300 SXM6 AC", BLACKWELL_ULTRA, 148, (1965, 1855), 288, 8000, "nvlink:900", _B300),
    Part("GB300", BLACKWELL_ULTRA, 152, (2062, 2008), 288, 8000, "nvlink:900 c2c:450", _GB300),
)
