"""The report of measured peaks: beside the datasheet where there is one."""

from __future__ import annotations

import pytest

from perfkit.analysis.reports import peaks
from tests.analysis.columns import names
from tests.measured_peaks import a_cpu, an_h100, product


def test_a_known_gpu_is_shown_beside_its_datasheet():
    """GIVEN 800 TFLOP/s in bf16 and 3 TB/s WHEN the datasheet has 989.4 and 3.35 THEN 80.9% and 89.6%"""
    report = peaks.report(an_h100(skipped={"fp8": "no kernel"}))
    products, copies = report.table("matrix_products"), report.table("copies")
    assert names(products) == ["precision", "measured_per_s", "datasheet_per_s", "share", "size", "cv", "samples"]
    [row] = products.frame.to_dict("records")
    assert (row["precision"], row["measured_per_s"]) == ("bf16", pytest.approx(800e12))
    assert row["datasheet_per_s"] == pytest.approx(989.4e12, rel=1e-4)
    assert row["share"] == pytest.approx(0.8086, abs=1e-4)
    assert (row["size"], row["samples"], row["cv"]) == (10_000, 5, 0)
    assert copies.frame["share"].tolist() == [pytest.approx(3 / 3.35)]
    assert products.notes == ("fp8 was not measured: no kernel",)
    assert report.findings == ()


def test_a_precision_without_a_printed_peak_has_an_empty_cell():
    frame = peaks.report(an_h100(matmul={"fp16-acc16": product()})).table("matrix_products").frame
    assert frame["datasheet_per_s"].isna().all()
    assert frame["share"].isna().all()


def test_a_cpu_has_no_datasheet_and_says_its_threads():
    report = peaks.report(a_cpu())
    products = report.table("matrix_products")
    assert products.title == "Matrix products on AMD EPYC, 2 threads"
    assert names(products) == ["precision", "measured_per_s", "size", "cv", "samples"]
    assert names(report.table("copies")) == ["measured_per_s", "size", "cv", "samples"]
    assert products.notes == ()


def test_a_gpu_that_is_in_no_table_says_so():
    products = peaks.report(an_h100(device_name="NVIDIA X1")).table("matrix_products")
    assert products.notes == ("perfkit knows no datasheet of this device (docs/hardware.md)",)


def test_peaks_that_are_not_to_be_trusted_come_with_the_finding():
    [finding] = peaks.report(a_cpu(copy=product(0.01, 0.02))).findings
    assert finding.rule.id == "unsteady-peaks"
