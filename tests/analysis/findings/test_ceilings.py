"""Whether measured peaks are to be trusted."""

from __future__ import annotations

import pytest

from perfkit.analysis.findings.ceilings import UNSTEADY_PEAKS, unsteady
from perfkit.schema.finding import Evidence
from tests.measured_peaks import a_cpu, product

STEADY = {"fp64": product(), "fp32": product(0.01, 0.0101, cpu_share=0.96)}


def test_steady_times_on_a_quiet_machine_give_nothing():
    assert unsteady(a_cpu(matmul=STEADY)) is None


@pytest.mark.parametrize(("spread", "found"), [(0.049, False), (0.051, True)])
def test_times_that_vary_are_named_with_how_much(spread, found):
    """GIVEN two times whose standard deviation is 4.9% or 5.1% of the mean WHEN looked at THEN the limit is 5%"""
    half = spread / 2**0.5
    finding = unsteady(a_cpu(matmul=STEADY | {"bf16": product(1 - half, 1 + half)}))
    assert (finding is not None) is found
    if finding:
        assert finding.rule is UNSTEADY_PEAKS
        assert "times of bf16 matrix products varied by 5.10% (CV)" in finding.what
        assert finding.evidence == (Evidence("matrix_products", {"precision": "bf16"}),)


@pytest.mark.parametrize(("share", "found"), [(0.951, False), (0.949, True)])
def test_threads_that_did_not_get_their_cpus_are_named(share, found):
    slow = product(cpu_share=share)
    finding = unsteady(a_cpu(copy=slow))
    assert (finding is not None) is found
    if finding:
        assert "the threads got 94.9% of their CPU time during copies: other processes ran" in finding.what
        assert finding.evidence == (Evidence("copies", {}),)


def test_the_worst_one_is_named():
    noisy = {"fp64": product(cpu_share=0.9), "fp32": product(cpu_share=0.3), "bf16": product(0.01, 0.012)}
    assert "30.0% of their CPU time during fp32" in unsteady(a_cpu(matmul=noisy)).what
