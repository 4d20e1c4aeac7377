"""Hardware: peaks at a measured clock, and what it means to be above the fp32 peak."""

from __future__ import annotations

import pytest

from perfkit.analysis.costs.hardware.lookup import hardware_of
from perfkit.analysis.costs.hardware.measured import hardware
from perfkit.analysis.costs.hardware.model import Hardware, above_fp32
from tests.measured_peaks import a_cpu


def test_peaks_scale_with_the_clock_and_bandwidth_does_not():
    """GIVEN an H100 that ran at 1,320 MHz WHEN asked THEN 132 SMs x 2,048 x 2 x 1.32 GHz, and 3,350 GB/s"""
    slow = hardware_of("NVIDIA H100 80GB HBM3").at_clock(1320)
    assert slow.peak("bf16").flops_per_s == pytest.approx(132 * 2048 * 2 * 1.32e9)
    assert slow.peak("fp32").flops_per_s == pytest.approx(132 * 128 * 2 * 1.32e9)
    assert slow.bandwidth.bytes_per_s == 3350e9
    assert slow.peak("bf16").source.endswith("540,672 FLOPs a clock at 1,320 MHz")


def test_both_boost_clocks_give_way_to_the_measured_one():
    """GIVEN two boost clocks, 1,980 and 1,830 MHz WHEN at one clock THEN fp32 to bf16 is as their units are, 1 : 16"""
    at = hardware_of("NVIDIA H100 80GB HBM3").at_clock(1500)
    assert at.peak("bf16").flops_per_s / at.peak("fp32").flops_per_s == 16


@pytest.mark.parametrize("mhz", [0, -1, float("nan")])
def test_a_clock_that_cannot_be_is_refused(mhz):
    with pytest.raises(ValueError, match="cannot have been measured"):
        hardware_of("NVIDIA L4").at_clock(mhz)


def test_measured_peaks_are_at_the_clock_that_they_ran_at():
    measured = hardware(a_cpu())
    assert measured.at_clock(1000) == measured


def test_a_precision_that_a_device_lacks_has_no_peak():
    assert hardware_of("Tesla V100-SXM2-16GB").peak("bf16") is None
    assert hardware_of("NVIDIA H20").peak("fp32") is None  # the datasheet's 44 TFLOP/s is no product of its cores


@pytest.mark.parametrize(
    ("name", "tera", "said"),
    [
        ("NVIDIA H100 80GB HBM3", 60, ""),
        ("NVIDIA H100 80GB HBM3", 70, ""),  # less than 5% above the nominal boost
        ("NVIDIA H100 80GB HBM3", 158, "158 TFLOP/s is more than the 66.9 of fp32: TF32 was on, whose peak is 495"),
        ("NVIDIA H100 80GB HBM3", 600, "and than TF32 can explain"),
        ("NVIDIA GeForce RTX 4090", 100, "and than TF32 can explain"),  # whose TF32 is as fast as its fp32
        ("Tesla V100-SXM2-16GB", 17, "and than TF32 can explain"),
        ("NVIDIA H20", 1000, ""),  # without an fp32 peak there is nothing to say
    ],
)
def test_more_than_the_fp32_peak_means_tf32(name, tera, said):
    """GIVEN operations on fp32 tensors WHEN faster than fp32 can be THEN it says which explains it

    158 TFLOP/s is what public results of an H100 come to, whose authors thought that they had measured fp32.
    """
    text = above_fp32(hardware_of(name), tera * 1e12)
    assert said in text
    assert bool(text) is bool(said)


def test_an_unknown_device_has_no_verdict():
    assert above_fp32(Hardware("none", {}), 1e18) == ""
