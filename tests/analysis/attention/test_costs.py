"""Costs by hand, and memory against what PyTorch allocated."""

from __future__ import annotations

import pytest

from perfkit.analysis.attention import costs
from perfkit.analysis.attention.runs import config_of
from perfkit.measure import runner
from perfkit.schema.parts.attention import HELD
from tests.analysis.attention.cells import cell

T = 2 * 100 * 10 * 4
"""B S d e of the usual cell: 8,000 bytes."""
N = 2 * 100 * 100 * 4
"""B S^2 e: 80,000 bytes."""


def test_flops_are_of_the_products_that_the_result_needs():
    """GIVEN 2 x 100 x 10 THEN 4 B S^2 d = 800,000 forward, twice that backward; causal 5,050 pairs of 10,000"""
    assert costs.forward(cell()).flops == 800_000
    assert costs.backward(cell()).flops == 1_600_000
    assert costs.forward(cell(causal=True)).flops == 2 * 5_050 * 10 * 4


def test_bytes_are_of_what_is_written_out():
    assert costs.forward(cell()).bytes == 6 * N + 4 * T
    assert costs.backward(cell()).bytes == 9 * N + 8 * T
    assert costs.forward(cell("sdpa")).bytes == 4 * T
    assert (costs.forward(cell("compiled")) + costs.backward(cell("compiled"))).bytes == 12 * T
    assert costs.forward(cell("sdpa-math", precision="bf16")).bytes == 6 * N + 4 * T // 2


def test_memory_of_the_usual_cell():
    assert costs.held(cell()) == N + 5 * T
    assert costs.peak(cell()) == 3 * N + 6 * T
    assert costs.held(cell(causal=True)) == N + 5 * T + 100 * 100
    assert costs.held(cell("sdpa")) == 5 * T + 2 * 100 * 4
    assert costs.held(cell("compiled")) is costs.peak(cell("function")) is None


def test_the_largest_cell_of_the_course_needs_24_gib():
    """GIVEN batch 8, sequence 16,384, fp32: scores 8 GiB, so that 24 GiB and some rows are needed"""
    one = cell(sequence=16_384, width=16, batch=8)
    assert costs.scores_bytes(one) == 8 * 2**30
    assert costs.peak(one) == 24 * 2**30 + 6 * 8 * 2**20


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("implementation", "causal"), [("eager", False), ("eager", True), ("sdpa-math", False)])
def test_memory_is_what_pytorch_allocated(tmp_path, implementation, causal, precision):
    """GIVEN a measured cell THEN what is held and the peak are the formula's, to the bytes of two scalars; the peak of
    bf16 within 5%, since a CPU's products of bf16 have buffers of their own"""
    one = cell(implementation, sequence=128, width=16, causal=causal, precision=precision)
    record = runner.run(runner.resolve(config_of(one, "cpu", passes=1, warmup=1)), tmp_path)
    held, peak = costs.held(one), costs.peak(one)
    assert held is not None
    assert peak is not None
    assert record.observed[HELD] == pytest.approx(held, abs=32)
    assert record.memory.tensors == pytest.approx(peak, abs=32 if precision == "fp32" else 0.05 * peak)


def test_a_fused_kernel_holds_rows_alone(tmp_path):
    """GIVEN sdpa at 512 x 16 THEN it holds 5t and the log-sums; its peak is below one score matrix"""
    one = cell("sdpa", sequence=512, width=16)
    record = runner.run(runner.resolve(config_of(one, "cpu", passes=1, warmup=1)), tmp_path)
    assert record.observed[HELD] == pytest.approx(5 * 2 * 512 * 16 * 4 + 2 * 512 * 4, abs=32)
    assert record.memory.tensors is not None
    assert record.memory.tensors < 2 * 512 * 512 * 4
