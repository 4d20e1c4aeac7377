"""Findings about rates that a device cannot have."""

from __future__ import annotations

import pytest

from perfkit.analysis.costs.roofline import utilisation
from perfkit.analysis.findings.roofline import above_roof, tf32_used
from perfkit.schema.finding import Evidence, Finding
from tests.analysis.costs.roofline.devices import SQUARE, account_of, one_step, save_peaks, traced
from tests.builders import TraceBuilder


@pytest.fixture(autouse=True)
def _peaks(monkeypatch, tmp_path):
    save_peaks(monkeypatch, tmp_path)


def above(b: TraceBuilder) -> Finding | None:
    account = account_of(b)
    return above_roof(account, utilisation.scalars(account.partial))


def matmul(ns: int, dtype: str = "float") -> TraceBuilder:
    b = traced().step(0, 0, 20_000)
    return b.call("aten::mm", 5, 20, SQUARE, dtype).launched("gemm", 10, 100, 100 + ns)


def test_tf32_is_named_where_only_it_explains_the_rate():
    """GIVEN 2,000,000 operations on fp32 tensors in 1,000 ns, where fp32 has 1,000 a ns and TF32 4,000 THEN it was on;
    1,050 a ns are a higher clock, and 5,000 are not TF32"""
    found = tf32_used(account_of(matmul(1_000)), {})
    assert found is not None
    assert found.what == (
        "aten::mm of 100x100, 100x100 takes fp32 tensors: 2.00 TFLOP/s is more than the 1.00 of fp32: TF32 was on,"
        " whose peak is 4.00"
    )
    assert found.evidence == (Evidence("roofline", {"operator": "aten::mm", "shapes": "100x100, 100x100"}),)
    for ns in (1_910, 400):
        assert tf32_used(account_of(matmul(ns)), {}) is None


def test_work_above_its_roof_is_explained():
    """GIVEN a matmul at 5,000 operations a ns, more than TF32 THEN a finding; at 1,040 none: that is within 5%"""
    found = above(matmul(400))
    assert found is not None
    assert "aten::mm of 100x100, 100x100 at 500.0%" in found.what
    assert "peak is too low" in found.what
    assert above(matmul(1_930)) is None
    assert above(one_step()) is None


def test_small_tensors_come_from_a_cache():
    """GIVEN an addition of 60,000 bytes in 300 ns, where memory would take 600"""
    b = traced().step(0, 0, 20_000).call("aten::add", 5, 20, [[5_000], [5_000]]).launched("add", 10, 100, 400)
    found = above(b)
    assert found is not None
    assert "100.0% of the time goes to work above its roof, most to aten::add of 5000, 5000 at 200.0%" in found.what
    assert "its 58.6 KiB a call can come from a cache" in found.what


def test_little_work_above_its_roof_is_no_finding():
    """GIVEN the same beside a kernel of 14,800 ns: 300 of 15,100 ns are 1.99%, of 14,950 2.01%"""
    for ns, is_found in ((14_800, False), (14_600, True)):
        b = traced().step(0, 0, 20_000).call("aten::add", 5, 20, [[5_000], [5_000]]).launched("add", 10, 100, 400)
        assert (above(b.launched("long", 30, 400, 400 + ns)) is not None) == is_found


def test_steps_that_use_more_than_the_peak():
    """GIVEN a step of 1,000 ns with 4,000 ns of work at the peak, which runs in 400 ns THEN 400% of it"""
    b = traced().step(0, 0, 1_000)
    for number in range(2):
        at = 100 * number
        b.call("aten::mm", at + 5, at + 20, SQUARE).launched("gemm", at + 10, at + 300, at + 400)
    found = above(b)
    assert found is not None
    assert found.what.startswith("the steps use 400.0% of the peak (HFU): the device may have worked on beyond")


def test_nothing_is_said_of_an_unknown_device():
    account = account_of(one_step("a card of tomorrow"))
    assert (tf32_used(account, {}), above_roof(account, {})) == (None, None)
