"""`--profiler nsys` around an nsys that is played by a function: commands, records, refusals."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perfkit.errors import InterruptedRunError, PerfkitError, UsageError
from perfkit.measure.nsys import process as nsys_process
from perfkit.measure.nsys import run as nsys
from perfkit.measure.nsys.process import Ended
from perfkit.measure.nsys.program import Nsys
from perfkit.schema import record
from perfkit.schema.config import RunConfig
from perfkit.schema.record import RunRecord
from tests.runs import saved

NSYS = Nsys("/opt/nsys", (2022, 4, 2))
FINE = Ended(exit_code=0, said="[1/1] report.nsys-rep", complaint="", error="", problem="", interrupted=None)
TERMINATED = {"interrupted": signal.SIGTERM}

Run = Callable[..., RunRecord]


@pytest.fixture
def commands() -> list[list[str]]:
    """What was run."""
    return []


@pytest.fixture
def run(tmp_path: Path, commands: list[list[str]]) -> Run:
    """Runs a configuration in tmp_path under an nsys that leaves what it is told."""

    def go(
        left: RunRecord | None = None,
        *,
        report: bool = True,
        ended: Ended = FINE,
        config: RunConfig | None = None,
        export: Callable[[Path, Path, str], object] = lambda source, target, name: target.write_bytes(b"tables"),
        beside: Callable[[], dict[str, str]] = dict,
    ) -> RunRecord:
        def play(command: list[str], hear: Callable[[str], None]) -> Ended:
            commands.append(command)
            hear("measured steps, 2")
            if left is not None:
                record.save(left, tmp_path)
            if report:
                (tmp_path / nsys.REPORT).write_bytes(b"report")
            return ended

        told: list[str] = []
        tools = nsys.Tools(record=play, export=export)
        result = nsys.run(config or RunConfig.of(profiler="nsys"), NSYS, "cpu", tmp_path, told.append, beside, tools)
        assert told[:2] == ["under nsys 2022.4.2", "measured steps, 2"]
        return result

    return go


def test_the_record_is_that_of_the_process_with_report_and_export(run, tmp_path):
    result = run(saved())
    assert result.config == saved().config
    assert result.artifacts == {"trace": "report.sqlite", "nsys_report": "report.nsys-rep"}
    assert record.load(tmp_path) == result
    assert result.steps == saved().steps


def test_what_runs_under_nsys_is_the_same_run_with_its_ranges(run, commands, tmp_path):
    # WHEN
    run(saved(), config=RunConfig.of(profiler="nsys", model_size="tiny", measure_steps=2, checkpoint=True))

    # THEN
    [command] = commands
    inner = command.index("perfkit.run") + 1
    assert command[:2] == ["/opt/nsys", "profile"]
    assert f"--output={tmp_path / 'report.nsys-rep'}" in command[:inner]
    assert command[inner:] == [
        "--model-size", "tiny", "--checkpoint", "--measure-steps", "2", "--profiler", "nsys", "--annotate", "on",
        "--folder", str(tmp_path),
    ]  # fmt: skip


def test_ranges_can_be_left_out(run, commands):
    run(saved(), config=RunConfig.of(profiler="nsys", annotate="off"))
    assert commands[0][commands[0].index("--annotate") + 1] == "off"


def test_out_of_memory_in_warm_up_leaves_a_record_and_no_report(run):
    result = run(saved(status="oom", steps=()), report=False, ended=dataclasses.replace(FINE, exit_code=3))
    assert (result.status, result.artifacts) == ("oom", {})


def test_a_signal_while_the_report_is_exported_keeps_all_but_the_export(run, tmp_path):
    # GIVEN
    def export(source: Path, target: Path, name: str) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    # WHEN
    result = run(saved(), export=export)

    # THEN
    assert (result.status, result.steps) == ("interrupted", saved().steps)
    assert result.failure is not None
    assert (result.failure.phase, result.failure.signal) == ("exporting the report", "SIGINT")
    assert result.artifacts == {"nsys_report": "report.nsys-rep"}
    assert record.load(tmp_path) == result
    assert not (tmp_path / nsys.EXPORT).exists()


@pytest.mark.parametrize(
    ("left", "report", "ended", "error", "message"),
    [
        (saved(), False, {"said": "no space left"}, UsageError, "nsys left no report (its last words: no space left);"),
        (saved(), True, {"problem": "nsys hung"}, UsageError, "nsys hung; the run's record is saved in"),
        (
            saved(),
            False,
            {"interrupted": signal.SIGTERM},
            InterruptedRunError,
            "interrupted by SIGTERM before nsys had written its report",
        ),
        (
            None,
            False,
            {"interrupted": signal.SIGHUP},
            InterruptedRunError,
            "interrupted by SIGHUP before the run began",
        ),
        (None, False, {"problem": "nsys hung"}, UsageError, "nsys hung"),
        (None, False, {"exit_code": 2, "error": "use auto"}, UsageError, "use auto"),
        (None, False, {"exit_code": 1, "said": "oh"}, PerfkitError, "ended with exit code 1 and left no record (oh); "),
        (
            None,
            False,
            {"exit_code": 1, "said": "oh", "complaint": "no endpoint"},
            PerfkitError,
            "no record (no endpoint); ",
        ),
    ],
)
def test_what_goes_wrong_is_one_line(run, left, report, ended, error, message):
    with pytest.raises(PerfkitError) as caught:
        run(left, report=report, ended=dataclasses.replace(FINE, **ended))
    assert type(caught.value) is error
    assert str(caught.value).startswith(message) or message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("found", "nvtx", "message"),
    [
        (None, "0.2.11", "there is no nsys on PATH; install Nsight Systems (scripts/install-nsys"),
        (NSYS, "0.2.12", "nsys 2022.4.2 records no range of nvtx 0.2.12: pip install nvtx==0.2.11"),
    ],
)
def test_what_cannot_work_is_refused_first(found: Any, nvtx: str, message: str):
    with pytest.raises(UsageError) as caught:
        nsys.prepare(lambda: found, lambda: nvtx)
    assert message in str(caught.value)


def test_ranges_that_are_switched_off_are_refused(monkeypatch):
    monkeypatch.setenv("NVTX_DISABLE", "1")
    with pytest.raises(UsageError, match="NVTX_DISABLE is set"):
        nsys.prepare()


def test_nsys_is_not_started_under_nsys(monkeypatch):
    monkeypatch.setenv("NSYS_PROFILING_SESSION_ID", "1")
    with pytest.raises(UsageError, match="starts nsys by itself"):
        nsys.prepare()


def test_the_process_that_nsys_records_measures_itself(monkeypatch):
    monkeypatch.setenv("NSYS_PROFILING_SESSION_ID", "1")
    monkeypatch.setenv(nsys_process.MARK, "of this recording")
    assert nsys.prepare() is None


def test_what_works_here_is_the_nsys_to_use(monkeypatch):
    for name in ("NSYS_PROFILING_SESSION_ID", "NVTX_INJECTION64_PATH", "NVTX_DISABLE"):
        monkeypatch.delenv(name, raising=False)
    assert nsys.prepare(lambda: NSYS, lambda: "0.2.11") is NSYS
    monkeypatch.setenv("NVTX_DISABLE", "")  # set to nothing is not set
    assert nsys.prepare(lambda: NSYS, lambda: "0.2.11") is NSYS


def test_the_record_is_written_once_more_when_all_is_there(run, tmp_path):
    """GIVEN something that is measured beside it WHEN that looks at the folder THEN only the process has written"""
    seen = []

    def beside() -> dict[str, str]:
        seen.append(record.load(tmp_path).artifacts)
        assert (tmp_path / nsys.EXPORT).exists()
        return {"plain": "plain/record.json"}

    result = run(saved(), beside=beside)
    assert seen == [{}]
    assert list(result.artifacts) == ["nsys_report", "trace", "plain"]
    assert record.load(tmp_path) == result


def test_a_signal_in_what_is_measured_beside_it_keeps_report_and_export(run, tmp_path):
    def beside() -> dict[str, str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(saved(), beside=beside)
    kept = record.load(tmp_path)
    assert (kept.status, list(kept.artifacts)) == ("ok", ["nsys_report", "trace"])


def test_nothing_is_measured_beside_a_run_that_failed(run):
    def beside() -> dict[str, str]:
        raise AssertionError

    assert run(saved(status="oom"), beside=beside).status == "oom"


def test_a_signal_in_the_export_does_not_hide_why_the_run_ended(run):
    def export(source: Path, target: Path, name: str) -> None:
        raise KeyboardInterrupt  # before there is any of it

    failure = record.Failure(phase="measured step 2, forward", message="out of memory")
    result = run(saved(status="oom", failure=failure), export=export)
    assert (result.status, result.failure, result.artifacts) == ("oom", failure, {"nsys_report": "report.nsys-rep"})


def test_a_report_of_an_nsys_that_was_stopped_is_not_exported(run):
    def export(source: Path, target: Path, name: str) -> None:
        raise AssertionError("half a report")

    result = run(saved(status="oom"), ended=dataclasses.replace(FINE, problem="nsys hung"), export=export)
    assert (result.status, result.artifacts) == ("oom", {})


@pytest.mark.parametrize(
    ("ended", "why"),
    [
        ({"exit_code": 1, "error": "e", "complaint": "c", "said": "s"}, "code 1 and left no record (e)"),
        ({"exit_code": 1, "complaint": "c", "said": "s"}, "left no record (c)"),
        ({"exit_code": 0, "said": ""}, "code 0 and left no record (it said nothing)"),
        ({"exit_code": 2, "said": "s"}, "code 2 and left no record (s)"),
    ],
)
def test_a_run_without_a_record_is_explained_by_the_nearest_words(run, ended, why):
    with pytest.raises(PerfkitError) as caught:
        run(None, report=True, ended=dataclasses.replace(FINE, **ended))
    assert type(caught.value) is PerfkitError
    assert why in str(caught.value)
    assert "what was run: /opt/nsys profile " in str(caught.value)


def test_last_words_that_are_none_are_called_so(run):
    with pytest.raises(UsageError, match=r"nsys left no report \(its last words: none\)"):
        run(saved(), report=False, ended=dataclasses.replace(FINE, said=""))
