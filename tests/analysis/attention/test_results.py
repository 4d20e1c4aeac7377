"""Records and ended processes as results of cells."""

from __future__ import annotations

import pytest

from perfkit.analysis.attention.results import against_eager, of_finished, of_record, predicted
from perfkit.schema.parts.attention import DEVIATION, FIRST_CALL, HELD
from perfkit.schema.record import Failure, MemoryPeaks
from tests.analysis.attention.cells import cell, record, result
from tests.sweeps import finished


def test_times_are_medians_of_the_passes_without_the_loss():
    """GIVEN three passes of 1+2, 2+4 and 3+9 s THEN medians are 2, 4 and 6 s, the total 21 s"""
    found = of_record(
        cell("compiled"),
        record(
            cell("compiled"), (1, 2), (2, 4), (3, 9), memory=MemoryPeaks(tensors=700, resident=9_999),
            observed={HELD: 500, DEVIATION: 1e-7, FIRST_CALL: 20.0},
        ),
    )  # fmt: skip
    assert (found.passes, found.forward_s, found.backward_s, found.both_s, found.total_s) == (3, 2, 4, 6, 21)
    assert found.spread == pytest.approx((42 / 2) ** 0.5 / 7)  # 3, 6, 12: mean 7, squares 16 + 1 + 25
    assert (found.held_bytes, found.peak_bytes, found.deviation, found.compile_s) == (500, 700, 1e-7, 14)
    assert of_record(cell(), record(cell(), (1, 2), observed={FIRST_CALL: 20.0})).compile_s is None


def test_out_of_memory_is_a_row_with_its_prediction():
    """GIVEN a pass that failed on 80,000 bytes THEN the row says so, and what the formula needs: 288,000 B"""
    lacking = Failure(phase="model", message="out of memory in model", requested=80_000, available=100_000)
    ended = finished(record(cell(), status="oom", failure=lacking), outcome="oom", exit_code=3)
    found = of_finished(cell(), ended)
    assert (found.outcome, found.passes, found.forward_s, found.available_bytes) == ("oom", 0, None, 100_000)
    assert found.message == (
        "an allocation of 78.1 KiB failed; by the formula a pass needs 281.2 KiB, and there were 97.7 KiB"
    )
    assert of_finished(cell("compiled"), finished(outcome="oom", exit_code=1)).message == "an allocation failed"


def test_other_ends_say_why():
    assert of_finished(cell(), finished(outcome="timeout", exit_code=None)).message == "stopped after 4.000 s"
    assert of_finished(cell(), finished(outcome="host-killed", exit_code=None)).outcome == "host-killed"
    assert of_finished(cell(), finished(outcome="error", exit_code=1, stderr_tail="a\nperfkit: b")).message == "b"


def test_what_is_predicted_not_to_fit_is_not_tried():
    """GIVEN eager's 3 x 80,000 + 6 x 8,000 B THEN 288,000 B are enough, and one less is not; a compiler is tried"""
    assert predicted(cell(), 288_000) is None
    found = predicted(cell(), 287_999)
    assert found is not None
    assert found.outcome == "predicted-oom"
    assert found.message.startswith("not run: needs 281.2 KiB, and there are ")
    assert predicted(cell("compiled"), 1) is None
    assert predicted(cell(), None) is None


def test_ratios_are_of_equal_shapes():
    slow, fast, alone = result(cell()), result(cell("sdpa"), 0.5, 1.0), result(cell("sdpa", sequence=200))
    assert against_eager([slow, fast, alone]) == {fast.cell: 2.0}
