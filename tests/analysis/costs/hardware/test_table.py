"""Every cell of the table, against what vendors print and against the factors it must be a product of."""

from __future__ import annotations

import pytest

from perfkit.analysis.costs.hardware.lookup import PARTS
from perfkit.analysis.costs.hardware.part import Part
from tests.analysis.costs.hardware.printed import MEMORY, PRINTED, TWO_SPEEDS

# Tensor or matrix cores of a multiprocessor, and multiply-adds of one in a clock, dense, with fp32 (int32) sums; fp64
# and fp32 of units without such cores as (1, ...). From the descriptions of the multiprocessors in the whitepapers.
UNITS = {
    "Volta": {"fp64": (1, 32), "fp32": (1, 64), "fp16": (8, 64)},
    "Turing": {"fp64": (1, 2), "fp32": (1, 64), "fp16": (8, 64), "int8": (8, 128)},
    "Turing GeForce": {"fp64": (1, 2), "fp32": (1, 64), "fp16": (8, 32), "int8": (8, 128)},
    "Ampere GA100": {
        "fp64": (4, 16), "fp32": (1, 64), "tf32": (4, 128), "bf16": (4, 256), "fp16": (4, 256), "int8": (4, 512),
    },
    "Ampere GA10x": {
        "fp64": (1, 2), "fp32": (1, 128), "tf32": (4, 64), "bf16": (4, 128), "fp16": (4, 128), "int8": (4, 256),
    },
    "Ampere GeForce": {
        "fp64": (1, 2), "fp32": (1, 128), "tf32": (4, 32), "bf16": (4, 64), "fp16": (4, 64), "int8": (4, 256),
    },
    "Ampere A10G": {
        "fp64": (1, 2), "fp32": (1, 128), "tf32": (4, 32), "bf16": (4, 64), "fp16": (4, 64), "int8": (4, 128),
    },
    "Ada": {
        "fp64": (1, 2), "fp32": (1, 128), "tf32": (4, 64), "bf16": (4, 128), "fp16": (4, 128), "fp8": (4, 256),
        "int8": (4, 256),
    },
    "Ada GeForce": {
        "fp64": (1, 2), "fp32": (1, 128), "tf32": (4, 32), "bf16": (4, 64), "fp16": (4, 64), "fp8": (4, 128),
        "int8": (4, 256),
    },
    "Ada L40": {
        "fp64": (1, 2), "fp32": (1, 128), "tf32": (4, 32), "bf16": (4, 64), "fp16": (4, 64), "fp8": (4, 128),
        "int8": (4, 128),
    },
    "Hopper": {
        "fp64": (4, 32), "fp32": (1, 128), "tf32": (4, 256), "bf16": (4, 512), "fp16": (4, 512), "fp8": (4, 1024),
        "int8": (4, 1024),
    },
    "Hopper H800": {
        "fp32": (1, 128), "tf32": (4, 256), "bf16": (4, 512), "fp16": (4, 512), "fp8": (4, 1024), "int8": (4, 1024),
    },
    "Hopper H20": {"tf32": (4, 64), "bf16": (4, 128), "fp16": (4, 128), "fp8": (4, 256), "int8": (4, 256)},
    "Blackwell": {
        "fp64": (1, 64), "fp32": (1, 128), "tf32": (4, 512), "bf16": (4, 1024), "fp16": (4, 1024), "fp8": (4, 2048),
        "int8": (4, 2048), "fp4": (4, 4096),
    },
    "Blackwell Ultra": {
        "fp32": (1, 128), "tf32": (4, 512), "bf16": (4, 1024), "fp16": (4, 1024), "fp8": (4, 2048), "fp4": (4, 6144),
    },
    "Blackwell GeForce": {
        "fp64": (1, 2), "fp32": (1, 128), "tf32": (4, 32), "bf16": (4, 64), "fp16": (4, 64), "fp8": (4, 128),
        "int8": (4, 256), "fp4": (4, 512),
    },
    "Blackwell RTX PRO": {
        "fp64": (1, 2), "fp32": (1, 128), "tf32": (4, 64), "bf16": (4, 128), "fp16": (4, 128), "fp8": (4, 256),
        "int8": (4, 256), "fp4": (4, 512),
    },
    "CDNA 2": {"fp64": (4, 32), "fp32": (4, 32), "bf16": (4, 128), "fp16": (4, 128), "int8": (4, 128)},
    "CDNA 3": {
        "fp64": (4, 32), "fp32": (4, 32), "tf32": (4, 128), "bf16": (4, 256), "fp16": (4, 256), "fp8": (4, 512),
        "int8": (4, 512),
    },
    "CDNA 4": {
        "fp64": (4, 16), "fp32": (4, 32), "bf16": (4, 512), "fp16": (4, 512), "fp8": (4, 1024), "int8": (4, 1024),
        "fp4": (4, 2048),
    },
}  # fmt: skip
ACC16 = {"fp16-acc16", "fp8-acc16"}
"""Sums in fp16: at least the rate of fp32 sums, at most twice it."""
ROUNDED = {"AMD Instinct MI325X", "AMD Instinct MI350X", "AMD Instinct MI355X"}
"""Cards whose bandwidth is printed with one digit: 6 and 8 TB/s for 6.144 and 8.192."""
UNCLEAR_LAPTOPS = {f"GeForce RTX {name} Laptop GPU" for name in ("3080", "3070", "3060")}
"""Sold with memory of 12 and of 14 Gbit/s."""
PUBLISH_NOTHING = {"AMD Instinct MI308X"}


def key(part: Part, table: object) -> str:
    """The part's name in a table of golden numbers, with its memory where the table tells variants apart."""
    longer = f"{part.name} {part.gib:.0f}"
    return longer if longer in table else part.name  # type: ignore[operator]


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.name} {part.gib}")
def test_peaks_are_those_that_the_vendor_prints(part: Part):
    """GIVEN a part WHEN its peaks are compared with the printed ones THEN none is off by more than 2%"""
    printed = PRINTED.get(key(part, PRINTED), {})
    peaks = {str(precision): peak for precision, peak in part.hardware().peaks.items()}
    for precision, tera in printed.items():
        assert peaks[precision].flops_per_s == pytest.approx(tera * 1e12, rel=0.02), precision


def test_nearly_every_card_has_a_printed_peak():
    """GIVEN the table WHEN looking for printed peaks THEN only these cards have none to be compared with

    NVIDIA prints no FLOP/s of these GeForce cards, and names their cores and clocks; of laptops, a range of clocks.
    """
    lacking = {part.name for part in PARTS if part.mhz is not None and key(part, PRINTED) not in PRINTED}
    known_by_cores = {name for name in lacking if name.startswith("GeForce RTX ")}
    assert lacking - known_by_cores == {"AMD Instinct MI250X / MI250", "AMD Instinct MI250X/MI250"}  # names of two


def test_no_printed_peak_is_of_an_unknown_card():
    names = {key(part, PRINTED) for part in PARTS}
    assert PRINTED.keys() - names == set()
    assert MEMORY.keys() - {key(part, MEMORY) for part in PARTS} == set()


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.name} {part.gib}")
def test_peaks_are_products(part: Part):
    """GIVEN multiprocessors, cores, multiply-adds and clock WHEN multiplied THEN every peak is that number, and has it
    in its source"""
    units = UNITS[part.chip.name]
    hardware = part.hardware()
    assert set(hardware.peaks) - ACC16 == (set(units) if part.mhz else set())
    vector, tensor = part.mhz if isinstance(part.mhz, tuple) else (part.mhz, part.mhz)
    for precision, peak in hardware.peaks.items():
        of = precision.removesuffix("-acc16")
        cores, fma = units[of]
        product = part.multiprocessors * cores * fma * 2 * (vector if of in ("fp64", "fp32") else tensor) * 1e6
        if precision in ACC16:
            assert peak.flops_per_s / product in (1, 2)
        else:
            assert peak.flops_per_s == pytest.approx(product, rel=1e-9), precision
        assert part.source in peak.source
        assert part.chip.source in peak.source


@pytest.mark.parametrize("part", PARTS, ids=lambda part: f"{part.name} {part.gib}")
def test_bandwidths_are_bus_width_times_data_rate(part: Part):
    """GIVEN the width of the bus and the rate of its pins WHEN multiplied THEN they give the bandwidth within 2%"""
    bandwidth = part.hardware().bandwidth
    if part.name in PUBLISH_NOTHING | UNCLEAR_LAPTOPS:
        assert bandwidth is None
        return
    speeds = TWO_SPEEDS.get(part.name) or {MEMORY[key(part, MEMORY)]}
    tolerance = 0.025 if part.name in ROUNDED else 0.02
    assert any(bandwidth.bytes_per_s == pytest.approx(b * r / 8 * 1e9, rel=tolerance) for b, r in speeds)
    assert bandwidth.source == part.source


@pytest.mark.parametrize(
    ("name", "precision", "wrong", "right"),
    [
        ("H100 80GB HBM3", "bf16", 1979, 989.4),  # torch/_inductor/analysis/device_info.py: with sparsity
        ("H100 80GB HBM3", "tf32", 989, 494.7),
        ("L4", "bf16", 242, 121.2),
        ("GeForce RTX 4090", "bf16", 82.6, 165.2),  # Lightning: the fp32 peak of the cores without tensors
    ],
)
def test_public_tables_that_are_wrong(name, precision, wrong, right):
    """GIVEN what other tools have WHEN compared with the product THEN they are off by two, and this table is not"""
    [part] = [part for part in PARTS if part.name == name]
    peak = part.hardware().peak(precision).flops_per_s / 1e12
    assert peak == pytest.approx(right, rel=0.002)
    assert max(wrong / peak, peak / wrong) == pytest.approx(2, rel=0.01)


def test_the_l4_reads_300_gigabytes_a_second():
    """torch's device_info.py has the H100's 3,350 GB/s for it."""
    [part] = [part for part in PARTS if part.name == "L4"]
    assert part.hardware().bandwidth.bytes_per_s == 300e9


def test_parts_of_one_name_can_be_told_apart_or_are_alike():
    """GIVEN lines of one name WHEN compared THEN they differ in something (no line stands twice)"""
    lines = [(part.name, part.multiprocessors, part.mhz, part.gib, part.gb_per_s) for part in PARTS]
    assert len(set(lines)) == len(lines)
