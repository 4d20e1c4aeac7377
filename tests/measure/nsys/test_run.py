"""`--profiler nsys` around an nsys that is played by a function: commands, records, refusals."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from perfkit.errors import InterruptedRunError, PerfkitError, UsageError
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
        def play(command: Sequence[str], hear: Callable[[str], None]) -> Ended:
            commands.append([*command])
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


def test_what_runs_under_nsys_is_the_run_that_was_asked_for(run, commands, tmp_path):
    # WHEN
    run(saved(), config=RunConfig.of(profiler="nsys", model_size="tiny", measure_steps=2, checkpoint=True))

    # THEN
    [command] = commands
    inner = command.index("perfkit.run") + 1
    assert command[:2] == ["/opt/nsys", "profile"]
    assert f"--output={tmp_path / 'report.nsys-rep'}" in command[:inner]
    assert command[inner:] == [
        "--model-size", "tiny", "--checkpoint", "--measure-steps", "2", "--profiler", "nsys",
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
        (
            saved(),
            False,
            {"said": "no space left"},
            UsageError,
            "nsys left no report (its last line of output: no space left);",
        ),
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


def test_what_lies_beside_the_record_is_named_as_soon_as_it_is_there(run, tmp_path):
    """GIVEN an export, then plain steps, each of which takes long WHEN SIGKILL comes meanwhile, of which nobody is told
    THEN the record names what is there"""
    named = []

    def export(source: Path, target: Path, name: str) -> None:
        named.append(list(record.load(tmp_path).artifacts))
        target.write_bytes(b"tables")

    def beside() -> dict[str, str]:
        named.append(list(record.load(tmp_path).artifacts))
        return {"plain": "plain/record.json"}

    result = run(saved(), export=export, beside=beside)
    assert named == [["nsys_report"], ["nsys_report", "trace"]]
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
        ({"exit_code": 0, "said": ""}, "code 0 and left no record (it printed nothing)"),
        ({"exit_code": 2, "said": "s"}, "code 2 and left no record (s)"),
    ],
)
def test_a_run_without_a_record_is_explained_by_the_nearest_words(run, ended, why):
    with pytest.raises(PerfkitError) as caught:
        run(None, report=True, ended=dataclasses.replace(FINE, **ended))
    assert type(caught.value) is PerfkitError
    assert why in str(caught.value)
    assert "the command was: /opt/nsys profile " in str(caught.value)


def test_last_words_that_are_none_are_called_so(run):
    with pytest.raises(UsageError, match=r"nsys left no report \(its last line of output: none\)"):
        run(saved(), report=False, ended=dataclasses.replace(FINE, said=""))


def run_script(folder: Path, ended: Ended, *, left: RunRecord | None, report: bool = True) -> tuple[int, Any]:
    """A script under an nsys that leaves what it is told."""

    def play(command: Sequence[str], _: object, *, hear_output: Callable[[str], None], patience_s: float) -> Ended:
        assert command[-4:] == ["perfkit.run", "train.py", "--", "--epochs"]
        assert patience_s > 600
        hear_output("epoch 1")
        if left is not None:
            record.save(left, folder)
        if report:
            (folder / nsys.REPORT).write_bytes(b"report")
        return ended

    said: list[str] = []
    tools = nsys.Tools(record=play, export=lambda _, target, __: target.write_bytes(b"tables"))
    arguments = ["train.py", "--", "--epochs"]
    try:
        return nsys.run_script(arguments, NSYS, "cpu", folder, lambda _: None, said.append, tools)
    finally:
        assert said == ["epoch 1"]


def test_a_script_leaves_its_record_its_report_and_its_exit_code(tmp_path):
    code, found = run_script(tmp_path, dataclasses.replace(FINE, exit_code=7), left=saved())
    assert code == 7
    assert found == record.load(tmp_path)
    assert found.artifacts == {"trace": "report.sqlite", "nsys_report": "report.nsys-rep"}


def test_a_script_that_was_not_measured_leaves_nothing(tmp_path):
    """GIVEN too few steps WHEN it ends by itself THEN its code is kept, and the report of nothing is removed"""
    assert run_script(tmp_path, dataclasses.replace(FINE, exit_code=1), left=None) == (1, None)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("ended", "left", "kind", "message"),
    [
        ({"exit_code": 2, "error": "no module named train"}, None, UsageError, "no module named train"),
        ({"exit_code": None, "problem": "nsys hung"}, None, UsageError, "nsys hung"),
        ({"exit_code": 0, "said": "the end"}, saved(), UsageError, r"nsys left no report \(its last line"),
        ({"exit_code": 0, "lost": "agent lost"}, saved(), UsageError, r"nsys left no report \(agent lost\)"),
        ({"exit_code": 0, "lost": "agent lost"}, None, PerfkitError, r"left no record \(agent lost\)"),
        (TERMINATED, None, InterruptedRunError, "before the run began; nothing was saved"),
    ],
)
def test_what_goes_wrong_with_nsys_and_a_script_is_said(tmp_path, ended, left, kind, message):
    with pytest.raises(kind, match=message):
        run_script(tmp_path, dataclasses.replace(FINE, **ended), left=left, report=False)
