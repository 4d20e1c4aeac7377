"""NVIDIA's workstation cards, and those for mobile workstations."""

# fmt: off

from __future__ import annotations

from perfkit.analysis.costs.hardware.chips import ADA, AMPERE, BLACKWELL_PRO, TURING
from perfkit.analysis.costs.hardware.part import Part

_LAPTOPS = "NVIDIA professional laptop GPU line card (2023)"

PARTS = (
    Part("Quadro RTX 8000", TURING, 72, 1770, 48, 672, "nvlink:50 pcie:3x16", "NVIDIA Quadro RTX 8000 datasheet (2018)"),
    Part("TITAN RTX", TURING, 72, 1770, 24, 672, "nvlink:50 pcie:3x16", "NVIDIA TITAN RTX product page (2018)"),
    Part("RTX A6000", AMPERE, 84, 1800, 48, 768, "nvlink:56.25 pcie:4x16", "NVIDIA RTX A6000 datasheet (2021)"),
    Part("RTX A5500", AMPERE, 80, 1665, 24, 768, "nvlink:56.25 pcie:4x16", "NVIDIA RTX A5500 datasheet (2022)"),
    Part("RTX A5000", AMPERE, 64, 1695, 24, 768, "nvlink:56.25 pcie:4x16", "NVIDIA RTX A5000 datasheet (2021)"),
    Part("RTX A4500", AMPERE, 56, 1650, 20, 640, "nvlink:56.25 pcie:4x16", "NVIDIA RTX A4500 datasheet (2021)"),
    Part("RTX A4000", AMPERE, 48, 1560, 16, 448, "pcie:4x16", "NVIDIA RTX A4000 datasheet (2021)"),
    Part("RTX A2000", AMPERE, 26, 1200, 6, 288, "pcie:4x16", "NVIDIA RTX A2000 datasheet (2021)"),
    Part("RTX A2000 12GB", AMPERE, 26, 1200, 12, 288, "pcie:4x16", "NVIDIA RTX A2000 datasheet (2021)"),
    Part("RTX 6000 Ada Generation", ADA, 142, 2505, 48, 960, "pcie:4x16", "NVIDIA RTX 6000 Ada datasheet (2022)"),
    Part("RTX 5880 Ada Generation", ADA, 110, 2460, 48, 960, "pcie:4x16", "NVIDIA RTX 5880 Ada datasheet (2024)"),
    Part("RTX 5000 Ada Generation", ADA, 100, 2550, 32, 576, "pcie:4x16", "NVIDIA RTX 5000 Ada datasheet (2023)"),
    Part("RTX 4500 Ada Generation", ADA, 60, 2580, 24, 432, "pcie:4x16", "NVIDIA RTX 4500 Ada datasheet (2023)"),
    Part("RTX 4000 Ada Generation", ADA, 48, 2175, 20, 360, "pcie:4x16", "NVIDIA RTX 4000 Ada datasheet (2023)"),
    Part("RTX 4000 SFF Ada Generation", ADA, 48, 1565, 20, 280, "pcie:4x16", "NVIDIA RTX 4000 SFF Ada datasheet (2023)"),
    Part("RTX 2000 Ada Generation", ADA, 22, 2130, 16, 224, "pcie:4x8", "NVIDIA RTX 2000 Ada datasheet (2024)"),
    Part("RTX PRO 6000 Blackwell Workstation Edition", BLACKWELL_PRO, 188, 2617, 96, 1792, "pcie:5x16", "NVIDIA RTX PRO 6000 Blackwell datasheet (2025)"),
    Part("RTX PRO 6000 Blackwell Max-Q Workstation Edition", BLACKWELL_PRO, 188, 2288, 96, 1792, "pcie:5x16", "NVIDIA RTX PRO 6000 Blackwell Max-Q datasheet (2025)"),
    Part("RTX PRO 6000 Blackwell Server Edition", BLACKWELL_PRO, 188, None, 96, 1597, "pcie:5x16", "NVIDIA RTX PRO 6000 Blackwell Server datasheet (2025)"),
    Part("RTX PRO 5000 Blackwell", BLACKWELL_PRO, 110, None, 48, 1344, "pcie:5x16", "NVIDIA RTX PRO 5000 Blackwell datasheet (2025)"),
    Part("RTX PRO 4500 Blackwell", BLACKWELL_PRO, 82, None, 32, 896, "pcie:5x16", "NVIDIA RTX PRO 4500 Blackwell datasheet (2025)"),
    # Laptops: the maker of the laptop chooses the power, and so the boost clock.
    Part("RTX A5000 Laptop GPU", AMPERE, 48, None, 16, 448, "", _LAPTOPS),
    Part("RTX A4000 Laptop GPU", AMPERE, 40, None, 8, 384, "", _LAPTOPS),
    Part("RTX 5000 Ada Generation Laptop GPU", ADA, 76, None, 16, 576, "", _LAPTOPS),
    Part("RTX 4000 Ada Generation Laptop GPU", ADA, 58, None, 12, 432, "", _LAPTOPS),
    Part("RTX 3500 Ada Generation Laptop GPU", ADA, 40, None, 12, 432, "", _LAPTOPS),
    Part("RTX 3000 Ada Generation Laptop GPU", ADA, 36, None, 8, 256, "", _LAPTOPS),
    Part("RTX 2000 Ada Generation Laptop GPU", ADA, 24, None, 8, 256, "", _LAPTOPS),
)
