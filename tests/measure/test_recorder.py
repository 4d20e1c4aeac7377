"""Who writes a record, and when: at the end, before a trace, and once more for what nsys has recorded."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.measure import recorder
from perfkit.measure.loop import Observer
from perfkit.measure.recorder import WRITING, Recorder
from perfkit.schema import record as records
from perfkit.schema.record import Failure, RunRecord
from tests.runs import quick, sample, saved


class Naming(Observer):
    """An observer that leaves a file."""

    def add_to(self, record: RunRecord) -> RunRecord:
        return dataclasses.replace(record, artifacts=record.artifacts | {"plain": "p"})


def test_a_record_has_what_was_measured_and_what_observers_add(tmp_path: Path) -> None:
    made = Recorder(quick(), tmp_path, [Naming()])
    made.measured.steps.append(sample(0.1))
    written = made.write(None)
    assert (written.status, written.steps, written.artifacts) == ("ok", (sample(0.1),), {"plain": "p"})
    assert records.load(tmp_path) == written


def test_an_error_that_is_no_result_is_raised_and_nothing_is_written(tmp_path: Path) -> None:
    made = Recorder(quick(), tmp_path, [])
    with pytest.raises(RuntimeError, match="a bug"):
        made.write(RuntimeError("a bug"))
    with pytest.raises(UsageError, match="--sdpa-backend auto has no kernel"):
        made.write(RuntimeError("No available kernel. Aborting execution."))
    assert not any(tmp_path.iterdir())


def test_before_the_trace_is_written_what_there_is_is_saved(tmp_path: Path) -> None:
    """GIVEN a run that has come to its end THEN what fails from now on fails in writing the trace"""
    made = Recorder(quick(), tmp_path, [])
    made.measured.ended_by = "measure-steps"
    made.write_before_the_trace()
    assert records.load(tmp_path).status == "ok"
    assert made.measured.where == WRITING


def test_a_record_of_another_process_is_completed_and_keeps_the_rest(tmp_path: Path) -> None:
    before = saved(artifacts={"nsys_report": "r"})
    after = recorder.completed(before, tmp_path, {"trace": "t"})
    assert after == dataclasses.replace(before, artifacts={"nsys_report": "r", "trace": "t"})
    assert records.load(tmp_path) == after


def test_why_no_more_came_of_it_is_an_interruption(tmp_path: Path) -> None:
    failure = Failure(phase="exporting the report", message="interrupted", signal="SIGTERM")
    after = recorder.completed(saved(), tmp_path, failure=failure)
    assert (after.status, after.failure, after.artifacts) == ("interrupted", failure, {})
    assert records.load(tmp_path) == after
