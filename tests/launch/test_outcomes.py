"""What an exit code, a record and the last words of a child mean."""

from __future__ import annotations

import io
import signal

import pytest

from perfkit import signals
from perfkit.launch import processes
from perfkit.schema.own_files import RECORD_FILE
from tests import runs


@pytest.mark.parametrize(
    ("status", "measured", "end"),
    [
        (0, True, ("ok", 0, None)),
        (0, False, ("error", 0, None)),
        (1, True, ("error", 1, None)),
        (3, True, ("oom", 3, None)),
        (None, True, ("timeout", None, None)),
        (130, False, ("interrupted", 130, None)),
        (-9, True, ("host-killed", None, 9)),
        (-15, True, ("error", None, 15)),
        (-1, True, ("error", None, 1)),
    ],
)
def test_an_exit_code_decides_before_a_record_does(status, measured, end):
    found = processes._finished(status, 1.5, "tail", runs.saved() if measured else None)
    assert (found.outcome, found.exit_code, found.signal) == end
    assert (found.wall_s, found.stderr_tail, found.record is not None) == (1.5, "tail", measured)


FINISHED = runs.saved()
PROFILED = runs.saved(config=runs.quick(profiler="torch"))
TRACED = runs.saved(config=runs.quick(profiler="torch"), artifacts={"trace": "a.json.gz"})
CUT_SHORT = runs.saved(status="interrupted")
OUT_OF_MEMORY = runs.saved(status="oom")


@pytest.mark.parametrize(
    ("status", "interrupted", "found", "outcome"),
    [
        (143, True, FINISHED, "ok"),  # it met the signal after it had saved all
        (143, False, FINISHED, "ok"),  # which somebody else sent
        (None, True, FINISHED, "ok"),  # it did not end in time, or a second signal came
        (-9, True, FINISHED, "ok"),
        (1, True, FINISHED, "ok"),
        (143, True, OUT_OF_MEMORY, "oom"),
        (143, True, CUT_SHORT, "interrupted"),
        (143, True, None, "interrupted"),
        (None, True, CUT_SHORT, "timeout"),
        (143, True, PROFILED, "interrupted"),  # saved before the trace, which is not there
        (143, True, TRACED, "ok"),
        (None, False, FINISHED, "timeout"),
        (-9, False, FINISHED, "host-killed"),
        (1, False, FINISHED, "error"),
    ],
)
def test_after_a_signal_a_record_that_has_all_decides(status, interrupted, found, outcome):
    assert processes._finished(status, 1.5, "", found, interrupted=interrupted).outcome == outcome


GIVEN_UP = "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.\n"
"""numpy's last words, with exit code 1."""


@pytest.mark.parametrize(
    ("status", "said", "found", "outcome"),
    [
        (1, GIVEN_UP, None, "oom"),
        (
            -6,
            "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
            None,
            "oom",
        ),
        (1, GIVEN_UP + "KeyError: 'a'\n", None, "error"),
        (2, "perfkit: out of memory.json is not empty; choose another --folder\n", None, "error"),
        (1, GIVEN_UP, FINISHED, "error"),
        (0, GIVEN_UP, FINISHED, "ok"),
    ],
)
def test_a_library_that_ends_the_process_for_want_of_memory_is_believed(status, said, found, outcome):
    assert processes._finished(status, 1.5, said, found).outcome == outcome


@pytest.mark.parametrize(("size", "first"), [(0, ""), (1, "0"), (4000, "0"), (4001, "1")])
def test_the_tail_is_the_last_4000_bytes(size, first):
    data = b"".join(b"%d" % (index % 10) for index in range(size))
    tail = processes._tail(io.BytesIO(data))
    assert (tail[:1], len(tail)) == (first, min(size, 4000))
    assert processes._tail(io.BytesIO(b"\xff")) == "\ufffd"


def test_a_record_that_cannot_be_read_is_none(tmp_path):
    assert processes._record(tmp_path) is None
    (tmp_path / RECORD_FILE).write_text("{")
    assert processes._record(tmp_path) is None


def test_signals_that_perfkit_takes_end_a_run_as_interrupted():
    """GIVEN 128 and the number, as a shell has it (bash(1), EXIT STATUS)"""
    assert set(processes._INTERRUPTED) == {128 + signal.SIGINT, 128 + signal.SIGTERM, 128 + signal.SIGHUP}


@pytest.mark.parametrize(
    ("status", "found", "returned"),
    [
        (0, FINISHED, True), (3, OUT_OF_MEMORY, True), (3, None, True), (130, FINISHED, True), (None, FINISHED, True),
        (130, CUT_SHORT, False), (130, None, False), (2, None, False), (None, None, False),
    ],
)  # fmt: skip
def test_a_signal_is_raised_at_once_unless_there_is_a_result_to_tell_of(status, found, returned):
    """GIVEN a caller that holds signals WHEN one came THEN only what is measured comes back, with the signal after it

    Whatever else came back would be taken for an end of the child's own.
    """
    ended = processes._finished(status, 1.5, "", found, interrupted=True)
    came_back = []
    with signals.installed(), signals.raised(), pytest.raises(KeyboardInterrupt) as raised:  # noqa: SIM117
        with signals.held():
            came_back.append(processes._returned(ended, KeyboardInterrupt()))
    assert came_back == ([ended] if returned else [])
    assert isinstance(raised.value, signals.Interrupted) is returned  # the one put off, not the one given
