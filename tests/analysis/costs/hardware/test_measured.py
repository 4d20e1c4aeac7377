"""Measured peaks: found for the device that they were measured on, and for no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.analysis.costs.hardware import measured
from perfkit.analysis.costs.hardware.measured import measured_peaks
from perfkit.errors import UsageError
from perfkit.schema import ceilings
from tests.measured_peaks import a_cpu, an_h100

H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(tmp_path))


def saved(found: ceilings.Ceilings) -> Path:
    path = measured.default_path(found.device_name, found.threads)
    ceilings.save(found, path)
    return path


def test_they_come_as_the_type_of_datasheets():
    """GIVEN 2e12 FLOPs in 2.5 ms, 6e9 bytes in 2 ms WHEN asked THEN 800 TFLOP/s and 3 TB/s, each with its source"""
    path = saved(an_h100())
    found = measured_peaks(H100, memory=85_000_000_000, multiprocessors=132)
    assert found.peak("bf16").flops_per_s == pytest.approx(800e12)
    assert found.bandwidth.bytes_per_s == pytest.approx(3e12)
    assert found.peak("bf16").source == (
        "perfkit doctor --measure-peaks on here, 2026-01-02T03:04:05+00:00: "
        "median of 5 matrix products of 10,000 x 10,000, CV 0.00%"
    )
    assert found.bandwidth.source.endswith("median of 5 copies of 2.8 GiB, CV 0.00%")
    assert found.peak("fp32") is None
    assert path.parent == measured.folder()


def test_of_a_device_that_was_not_measured_there_are_none():
    assert measured_peaks(H100) is None


@pytest.mark.parametrize(
    ("reported", "fits"),
    [
        ({}, True),
        ({"memory": 85_100_000_000}, True),
        ({"memory": 100_000_000_000}, False),
        ({"multiprocessors": 114}, False),
        ({"threads": 2}, False),
    ],
)
def test_what_is_reported_must_agree(reported, fits):
    path = saved(an_h100())
    assert (measured_peaks(H100, path=path, **reported) is not None) is fits


@pytest.mark.parametrize(("threads", "fits"), [(2, True), (1, False), (None, False)])
def test_on_a_cpu_the_threads_must_be_the_same(threads, fits):
    saved(a_cpu())
    assert (measured_peaks("AMD EPYC", threads=threads) is not None) is fits


def test_names_that_make_one_file_are_not_mixed_up():
    path = saved(an_h100())
    assert measured_peaks("nvidia h100-80GB hbm3", path=path) is None


def test_a_file_that_cannot_be_read_is_none_unless_it_was_asked_for():
    path = saved(an_h100())
    path.write_text("{")
    assert measured_peaks(H100) is None
    with pytest.raises(UsageError, match="measure again"):
        measured_peaks(H100, path=path)


def test_without_the_variable_they_are_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("PERFKIT_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert measured.folder() == tmp_path / "cache" / "perfkit" / "peaks"
