"""Which hardware a device is: by its exact name, and by what else it reports."""

from __future__ import annotations

import pytest

from perfkit.analysis.costs.hardware.lookup import PARTS, hardware_of, hardware_of_device
from perfkit.trace.load import load
from perfkit.trace.recording import Device
from tests.corpus import corpus_file

GIB = 2**30


def tera(name: str, precision, **reported) -> float | None:
    """The peak in TFLOP/s."""
    peak = hardware_of(name, **reported).peak(precision)
    return None if peak is None else round(peak.flops_per_s * 1e-12, 1)


def gigabytes(name: str, **reported) -> float | None:
    """The bandwidth in GB/s."""
    bandwidth = hardware_of(name, **reported).bandwidth
    return None if bandwidth is None else round(bandwidth.bytes_per_s * 1e-9, 1)


def test_a_device_is_known_by_the_name_that_torch_reports():
    assert tera("NVIDIA H100 80GB HBM3", "bf16") == 989.4
    assert tera("NVIDIA A100-SXM4-80GB", "tf32", memory=85_051_572_224, multiprocessors=108) == 155.9
    assert tera("Tesla V100-SXM2-32GB", "fp16", memory=34_079_637_504, multiprocessors=80) == 125.3
    assert tera("AMD Instinct MI300X", "bf16", memory=206_141_652_992, multiprocessors=304) == 1307.4


@pytest.mark.parametrize("name", ["A100-SXM4-40GB", "GeForce RTX 3090", "NVIDIA  GeForce RTX 3090 "])
def test_older_drivers_leave_out_whose_it_is(name):
    assert hardware_of(name) is not None


@pytest.mark.parametrize(
    "name",
    ["", "NVIDIA", "ARTEMIS", "NVIDIA H100", "H100", "nvidia h100 80gb hbm3", "NVIDIA GeForce RTX 2070 Super",
     "NVIDIA A100-SXM4-80GB-X", "GRID A100X-10C", "NVIDIA GeForce RTX 4090 Laptop", "AMD EPYC"],
)  # fmt: skip
def test_an_unknown_name_gives_nothing(name):
    """GIVEN a name that is not one of the table, however like one WHEN asked THEN None, no default"""
    assert hardware_of(name) is None


def test_what_does_not_fit_the_name_gives_nothing():
    assert hardware_of("NVIDIA A100-SXM4-80GB", memory=40 * GIB) is None
    assert hardware_of("NVIDIA A100-SXM4-80GB", multiprocessors=42) is None
    assert hardware_of("AMD Instinct MI300X", memory=24 * GIB, multiprocessors=38) is None  # an eighth of it


@pytest.mark.parametrize(
    ("reported", "fp32", "bandwidth"),
    [({"memory": 10 * GIB}, 29.8, 760), ({"memory": 12 * GIB}, 30.6, 912), ({"multiprocessors": 70}, 30.6, 912)],
)
def test_memory_or_multiprocessors_tell_variants_apart(reported, fp32, bandwidth):
    name = "NVIDIA GeForce RTX 3080"
    assert (tera(name, "fp32", **reported), gigabytes(name, **reported)) == (fp32, bandwidth)


def test_where_nothing_tells_variants_apart_only_what_they_share_is_said():
    """GIVEN a name of two cards WHEN they differ in memory, or in clocks THEN that cell is missing, the rest is not"""
    assert (tera("NVIDIA GeForce RTX 4070", "fp32"), gigabytes("NVIDIA GeForce RTX 4070")) == (29.1, None)
    desktop_or_laptop = "NVIDIA GeForce RTX 2070"
    assert (tera(desktop_or_laptop, "fp32"), gigabytes(desktop_or_laptop)) == (None, 448)
    assert tera(desktop_or_laptop, "fp32", mhz=1620) == 7.5  # 36 x 64 x 2 x 1.62 GHz, whichever it is
    unclear = hardware_of("NVIDIA GeForce RTX 3080")
    assert (dict(unclear.peaks), unclear.bandwidth, unclear.multiprocessors) == ({}, None, None)
    assert hardware_of("NVIDIA GeForce RTX 3080", mhz=1710).peaks == {}


def test_each_die_of_an_mi250_is_a_device():
    """GIVEN the name that ROCm has for both cards WHEN it has 104 or 110 units THEN half of one or the other"""
    name = "AMD Instinct MI250X / MI250"
    assert tera(name, "bf16", multiprocessors=104) == 181.0
    assert tera(name, "bf16", multiprocessors=110) == 191.5
    assert (tera(name, "bf16"), gigabytes(name)) == (None, 1638.4)


def test_a_laptop_at_the_clock_that_was_measured():
    """GIVEN the RTX 4090 of laptops at 1.7 GHz WHEN asked THEN 33 TFLOP/s in fp32 and TF32, 66 in bf16, 576 GB/s

    The numbers are the issue's: an AD103, not the desktop card's AD102.
    """
    name = "NVIDIA GeForce RTX 4090 Laptop GPU"
    assert [tera(name, of, mhz=1700, memory=16 * GIB) for of in ("fp32", "tf32", "bf16")] == [33.1, 33.1, 66.2]
    assert gigabytes(name) == 576
    assert tera(name, "fp32") == pytest.approx(33, rel=0.02)
    assert tera("NVIDIA GeForce RTX 4090", "fp32") == 82.6


def test_a_laptop_whose_clock_nobody_publishes_needs_a_measured_one():
    name = "NVIDIA GeForce RTX 5080 Laptop GPU"
    assert tera(name, "bf16") is None
    assert tera(name, "bf16", mhz=2000) == 61.4  # 60 x 256 x 2 x 2 GHz


def test_an_instance_of_a_divided_gpu_has_the_peaks_of_its_multiprocessors():
    """GIVEN three sevenths of an A100 WHEN asked THEN 42 x 1,024 x 2 x 1.41 GHz, and no bandwidth"""
    name = "NVIDIA A100-SXM4-80GB MIG 3g.40gb"
    assert tera(name, "bf16", multiprocessors=42) == 121.3
    assert gigabytes(name, multiprocessors=42) is None
    assert hardware_of(name) is None
    assert hardware_of(name, multiprocessors=200) is None
    assert hardware_of("NVIDIA A0-SXM MIG 3g.40gb", multiprocessors=42) is None
    assert hardware_of("NVIDIA H100 80GB HBM3 MIG 1g.10gb+me", multiprocessors=16) is not None


def test_links_are_one_direction():
    """GIVEN 900 GB/s of NVLink, both directions together WHEN asked THEN half; of PCIe 5.0, 16 lanes of 32 GT/s"""
    h100 = hardware_of("NVIDIA H100 80GB HBM3")
    assert h100.link("NVLink").bytes_per_s == 450e9
    assert h100.link("PCIe").bytes_per_s == pytest.approx(32e9 * 16 / 8 * 128 / 130)
    assert h100.link("Infinity Fabric") is None
    assert hardware_of("NVIDIA GH200 480GB").link("NVLink-C2C").bytes_per_s == 450e9
    assert hardware_of("AMD Instinct MI300X").link("Infinity Fabric").bytes_per_s == 448e9


def test_every_device_of_the_table_is_found_by_its_name():
    for part in PARTS:
        found = hardware_of(part.name, round(part.gib * GIB * 0.95), part.multiprocessors)
        assert found is not None
        assert found.flops_per_clock == part.hardware().flops_per_clock


LAPTOP = Device(
    0, "NVIDIA GeForce RTX 3060 Laptop GPU", 6 * GIB, 30, clock_hz=1_703_000_000, bytes_per_s=336_000_000_000
)


def test_what_the_driver_says_of_a_board_fills_what_the_name_leaves_open():
    """GIVEN a laptop's card of several clocks and memories WHEN nsys has its own THEN 30 x 128 x 2 x 1.703 GHz"""
    found = hardware_of_device(LAPTOP)
    assert found.peak("fp32").flops_per_s == pytest.approx(13.08e12, rel=1e-3)
    assert (found.bandwidth.bytes_per_s, found.bandwidth.source) == (336e9, "as its driver reports it")
    measured = hardware_of_device(LAPTOP, mhz=1000)
    assert measured.peak("fp32").flops_per_s == pytest.approx(7.68e12)


def test_a_card_with_two_boost_clocks_keeps_them_and_a_known_bandwidth_stays():
    """GIVEN an H100, whose driver reports the clock of its fp32 units WHEN asked THEN tensor cores are not at it"""
    h100 = Device(0, "NVIDIA H100 80GB HBM3", 85 * 10**9, 132, clock_hz=1_980_000_000, bytes_per_s=1)
    assert hardware_of_device(h100) == hardware_of("NVIDIA H100 80GB HBM3")


def test_an_instance_has_not_the_bandwidth_of_the_whole():
    instance = Device(0, "NVIDIA A100-SXM4-80GB MIG 3g.40gb", 40 * GIB, 42, bytes_per_s=2 * 10**12)
    assert hardware_of_device(instance).bandwidth is None


def test_an_unknown_device_stays_unknown_whatever_it_says():
    assert hardware_of_device(Device(0, "X1", GIB, 1, clock_hz=1, bytes_per_s=1)) is None


@pytest.mark.corpus
@pytest.mark.parametrize("file", ["rtx3080_tiny", "rtx3090_2023_schema"])
def test_two_drivers_report_the_very_clock_and_bandwidth_of_the_table(file):
    """GIVEN two cards that nsys recorded WHEN compared with the table THEN an oracle that nobody typed agrees: 0.1%"""
    device, *_ = load(corpus_file(f"nsys/{file}.sqlite")).recording.devices
    found = hardware_of(device.name, device.memory, device.multiprocessors)
    assert found.bandwidth.bytes_per_s == pytest.approx(device.bytes_per_s, rel=1e-3)
    assert hardware_of_device(device).peak("bf16").flops_per_s == pytest.approx(found.peak("bf16").flops_per_s)


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("file", "bf16", "bandwidth"),
    [
        ("kineto/a100_ddp_training.json.gz", 311.9, 1555),  # a board number; PCI id 20B0, as A100-SXM4-40GB
        ("kineto/b300_moe_decode.json.gz", 2249.0, 8000),
        ("kineto/mi300_moe_decode.json.gz", 1307.4, 5300),
        ("kineto/particle_transformer.json.gz", 311.9, 1555),
        ("kineto/v100_training.json.gz", None, 900),
        ("kineto/resnet50_torch18_workers0.json.gz", None, 900),
        ("nsys/rtx3080_tiny.sqlite", 59.5, 760),
        ("nsys/rtx3090_2023_schema.sqlite", 71.2, 936),
    ],
)
def test_devices_of_real_recordings_are_known(file, bf16, bandwidth):
    """GIVEN real files WHEN their devices are looked up with all that they report THEN each is a known one"""
    devices = load(corpus_file(file)).recording.devices
    assert devices
    for device in devices:
        reported = {"memory": device.memory, "multiprocessors": device.multiprocessors}
        assert (tera(device.name, "bf16", **reported), gigabytes(device.name, **reported)) == (bf16, bandwidth)
