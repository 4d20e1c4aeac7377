"""The last lines of a run: what to do next."""

from __future__ import annotations

from pathlib import Path

from perfkit.commands.console import following
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import Failure
from tests import runs


def lines(config: RunConfig, folder: Path = Path("traces/r"), **changes: object) -> list[str]:
    return list(following.lines(config, runs.saved(config=config, **changes), folder))


def test_a_plain_run_is_to_be_profiled_next():
    """GIVEN flags as they were given WHEN told THEN those, and the profiler: nothing that perfkit chose itself"""
    assert lines(RunConfig.of(model_size="tiny", batch_size=8)) == [
        "",
        "saved in traces/r",
        "next: perfkit run --model-size tiny --batch-size 8 --profiler torch   time by layer and kernel",
        "      perfkit analyze traces/r                                        every table of this run",
    ]


def test_where_a_line_is_too_short_what_a_command_shows_stands_above_it():
    """GIVEN 60 columns, too few for both THEN each fits, and no command is broken; GIVEN 80 THEN one line each"""
    config, record = RunConfig.of(batch_size=8), runs.saved()
    assert list(following.lines(config, record, Path("traces/r"), 60))[2:] == [
        "next: time by layer and kernel:",
        "        perfkit run --batch-size 8 --profiler torch",
        "      every table of this run:",
        "        perfkit analyze traces/r",
    ]
    assert list(following.lines(config, record, Path("traces/r"), 80)) == lines(config)


def test_a_trace_is_to_be_read_and_to_be_opened(tmp_path):
    """GIVEN a trace WHEN told THEN the table by layer, and the page"""
    (tmp_path / "t.pt.trace.json.gz").touch()
    told = lines(RunConfig.of(profiler="torch"), tmp_path, artifacts={"trace": "t.pt.trace.json.gz"})
    assert [line[6:].split("   ")[0] for line in told[2:]] == [
        f"perfkit analyze {tmp_path} --table groups --by layer",
        f"perfkit report {tmp_path} --open",
    ]


def test_a_recording_of_memory_is_to_be_looked_at_first(tmp_path):
    """GIVEN notes of memory, with a trace or without THEN `perfkit memory` comes first"""
    (tmp_path / "memory.json").touch()
    told = lines(RunConfig.of(profiler="memory"), tmp_path, artifacts={"memory": "memory.json"})
    assert [line[6:].split("   ")[0] for line in told[2:]] == [
        f"perfkit memory {tmp_path}",
        f"perfkit analyze {tmp_path}",
    ]


def test_what_no_flag_can_ask_for_has_no_command():
    config = RunConfig(workload=Own(name="mine"))
    assert [line.split("   ")[0] for line in lines(config)[2:]] == ["next: perfkit analyze traces/r"]


def test_a_run_that_failed_has_nothing_next():
    assert lines(runs.quick(), failure=Failure(phase="model", message="no")) == ["", "saved in traces/r"]
