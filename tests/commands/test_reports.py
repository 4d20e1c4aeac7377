"""The reports of a run's folder: what it holds decides which there are, and the first comes before a trace is read."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from perfkit.analysis.time.trace_table import View
from perfkit.commands import reports
from perfkit.commands.inputs.paths import TraceFile
from perfkit.commands.sources import source_of
from perfkit.errors import UsageError
from perfkit.schema import record
from perfkit.schema.probes import GpuSample
from tests.docs.pages import ROOT
from tests.nsys_export import two_ranks

SAMPLE = ROOT / "traces" / "samples" / "tiny_train_cpu"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A profiled run: its record and its trace."""
    return Path(shutil.copytree(SAMPLE, tmp_path / "run"))


def test_a_profiled_run_has_a_report_of_its_record_and_one_of_its_trace(folder: Path) -> None:
    run, trace = reports.of_run(record.load(folder), folder)
    assert run.table("steps") is not None
    assert trace.title == "sample_1.1.pt.trace.json.gz"
    assert trace.findings[0].rule.id == "trace-totals"


def test_a_run_with_plain_steps_has_the_profilers_overhead_too(folder: Path) -> None:
    saved = record.load(folder)
    (folder / "plain").mkdir()
    record.save(dataclasses.replace(saved, artifacts={}), folder / "plain")
    both = dataclasses.replace(saved, artifacts={"plain": "plain/record.json"})
    titles = [report.title for report in reports.of_run(both, folder)]
    assert titles[1:] == ["Overhead of --profiler torch"]


def test_peaks_are_at_the_clock_of_the_plain_steps(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN a profiled run whose plain steps were measured at 1,500 MHz THEN the trace is looked at with that clock"""
    saved = record.load(folder)
    (folder / "plain").mkdir()
    gpu = (GpuSample(at_s=1.0, sm_mhz=1_500, utilization=100),)
    record.save(dataclasses.replace(saved, artifacts={}, gpu=gpu), folder / "plain")
    both = dataclasses.replace(saved, artifacts={**saved.artifacts, "plain": "plain/record.json"})
    views: list[View | None] = []
    monkeypatch.setattr(reports, "of_trace", lambda trace, view, **_: views.append(view))
    assert len(list(reports.of_run(both, folder))) == 3
    assert [view.mhz for view in views if view] == [1_500]


def test_the_record_is_reported_before_the_trace_is_read(folder: Path) -> None:
    for trace in folder.glob("*.gz"):
        trace.write_bytes(b"no trace")
    made = reports.of_run(record.load(folder), folder)
    assert next(made).table("run") is not None
    with pytest.raises(UsageError):
        next(made)


@pytest.mark.parametrize(
    ("script", "unneeded"),
    [
        pytest.param(
            "cli.main(['analyze', sys.argv[1] + '/sample_1.1.pt.trace.json.gz'])",
            "perfkit.analysis.reports.page perfkit.analysis.reports.run perfkit.analysis.reports.recorded_memory"
            " perfkit.analysis.reports.sweep perfkit.analysis.reports.recordings perfkit.analysis.ranks"
            " perfkit.analysis.memory perfkit.analysis.noise perfkit.analysis.runs perfkit.commands.sources"
            " perfkit.schema.record perfkit.schema.config perfkit.schema.sweep perfkit.schema.page.figures"
            " perfkit.trace.nsys adbc_driver_manager pyarrow scipy",
            id="a trace",
        ),
        pytest.param(
            "cli.main(['analyze', sys.argv[1]])",
            "perfkit.analysis.ranks perfkit.commands.sources perfkit.trace.nsys adbc_driver_manager pyarrow scipy",
            id="a run with its trace",
        ),
        pytest.param(
            "from dataclasses import replace; import perfkit.commands.run; from perfkit.commands import reports; "
            "from perfkit.schema import record; plain = replace(record.load(folder), artifacts={});"
            "list(reports.of_run(plain, folder))",
            "perfkit.analysis.reports.trace perfkit.analysis.reports.page perfkit.analysis.findings.performance",
            id="a plain run",
        ),
    ],
)
def test_what_is_not_shown_is_not_loaded(script: str, unneeded: str) -> None:
    """GIVEN a new process WHEN a trace alone or a run without one is reported THEN analyses of others are not loaded"""
    code = (
        f"import sys; from pathlib import Path; from perfkit import cli; folder = Path(sys.argv[1]); {script};"
        f" print(sorted(set({unneeded!r}.split()) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, SAMPLE], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_processes_of_an_nsys_recording_are_ranks_on_the_terminal_and_on_a_page(tmp_path: Path) -> None:
    path = two_ranks().write(tmp_path / "job.sqlite")
    (page,) = source_of(TraceFile(path), "job").reports
    for shown in (reports.of_trace(path), page):
        assert shown.table("ranks").frame["wait_ns"].tolist() == [60_000, 0]
        assert any(finding.rule.id == "straggler" for finding in shown.findings)
        assert shown.main_table.name == "kernels"
