"""Shapes and blocks that do not fill tensor cores and multiprocessors."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.performance.kernels.tensor_cores import few_tiles, odd_shapes
from perfkit.schema.finding import Cost
from tests.analysis.findings.performance.cases import found, launches, shapes
from tests.builders import TraceBuilder

BF16 = ("c10::BFloat16", "c10::BFloat16")


def step(**metadata) -> TraceBuilder:
    """A matmul of 100 ns on the device in a step of 1,000."""
    b = TraceBuilder(metadata={"record_shapes": 1, **metadata}).step(0, 0, 1000)
    b.range("aten::mm", 10, 40).launched("nvjet_gemm", 20, 100, 200)
    return b


def matmul(left, right, types=BF16):
    return shapes(3, {1: ((left, right), types)})  # the mm is the second of three ranges: step, mm, launch


@pytest.mark.parametrize(
    ("left", "right", "types"),
    [
        ((512, 50257), (50257, 768), BF16),
        ((512, 768), (768, 50257), BF16),
        ((4, 512, 65), (4, 65, 512), BF16),
        ((512, 766), (766, 768), ("float", "float")),
        ((512, 776), (776, 768), ("c10::Float8_e4m3fn", "c10::Float8_e4m3fn")),
    ],
)
def test_sides_that_are_no_multiple(left, right, types):
    """GIVEN a matmul of 100 of 1,000 ns with an odd side THEN half of it is at stake"""
    finding = found(odd_shapes, step(), matmul(left, right, types))
    assert finding.cost == Cost(50, 0.05)
    assert finding.sure == "guessed"


@pytest.mark.parametrize(
    ("left", "right", "types"),
    [
        ((512, 768), (768, 3072), BF16),
        ((512, 764), (764, 768), ("float", "float")),  # four floats are 16 bytes
        ((1, 768), (768, 768), BF16),  # one row: no tensor core would help
        ((512, 767), (767, 768), ("double", "double")),
    ],
)
def test_sides_that_fit(left, right, types):
    assert found(odd_shapes, step(), matmul(left, right, types)) is None


def test_without_matmuls_details_are_not_read():
    """GIVEN a step whose device does no matmul THEN the file is not read again (`case_of` would fail)"""
    b = TraceBuilder(metadata={"record_shapes": 1}).step(0, 0, 100).launched("elementwise_kernel", 1, 10, 90)
    assert found(odd_shapes, b) is None
    assert found(few_tiles, b) is None


H100 = {"deviceProperties": [{"id": 0, "name": "H100", "numSms": 132, "computeMajor": 9, "computeMinor": 0}]}


@pytest.mark.parametrize(
    ("blocks", "waste"),
    [
        (33, 0.75),
        (66, 0.5),
        (133, 131 / 264),
        (132, 0.0),
        (264, 0.0),
        (130, 2 / 132),
        (10_000, 1 - 10_000 / (76 * 132)),
    ],
)
def test_blocks_against_multiprocessors(blocks, waste):
    """GIVEN kernels of 200 KB of shared memory, one to a multiprocessor of 132 THEN the empty slots of the waves"""
    finding = found(few_tiles, step(**H100), launches(3, [(blocks, 256, 128, 200_000)]))
    if waste < 0.25:
        assert finding is None
    else:
        assert finding.cost.ns == pytest.approx(100 * waste, abs=1)
        assert "132 multiprocessors" in finding.what


def test_several_blocks_fit_into_a_multiprocessor():
    """GIVEN 264 blocks of 128 threads with 32 registers, of which 16 fit THEN 264 of 2,112 slots are used"""
    finding = found(few_tiles, step(**H100), launches(3, [(264, 128, 32, 1_000)]))
    assert finding.cost.ns == pytest.approx(100 * (1 - 264 / (16 * 132)), abs=1)


def test_a_device_without_a_number_of_multiprocessors_tells_nothing():
    assert found(few_tiles, step()) is None


@pytest.mark.parametrize(
    ("width", "types", "multiple"),
    [
        (766, ("float", "float"), 4),
        (1001, BF16, 8),
        (776, ("c10::Float8_e4m3fn", "c10::Float8_e4m3fn"), 16),
    ],
)
def test_the_multiple_is_that_of_the_type(width, types, multiple):
    """GIVEN fp8 of width 776, which is a multiple of 8 THEN it is said to be none of 16"""
    said = found(odd_shapes, step(), matmul((512, width), (width, 768), types)).what
    assert f"no multiple of {multiple} ({width})" in said


def test_matmuls_that_use_no_tensor_core_have_no_odd_shapes():
    b = TraceBuilder(metadata={"record_shapes": 1}).step(0, 0, 1000)
    b.range("aten::mm", 10, 40).launched("ampere_sgemm_128x64_nn", 20, 100, 200)
    assert found(odd_shapes, b, matmul((512, 766), (766, 768), ("float", "float"))) is None
