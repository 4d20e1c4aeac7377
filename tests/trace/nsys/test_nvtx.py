"""NVTX events: which of them are ranges, whose, and what emit_nvtx appends to their names."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.trace.columns import MISSING, HostKind
from perfkit.trace.load import load
from perfkit.trace.recording import OwnNotes
from tests.nsys_export import START_END, NsysExport, global_tid


@pytest.mark.parametrize(
    ("number", "is_range", "is_mark"),
    # ENUM_NSYS_EVENT_TYPE: 59 and 70 push/pop, 60 and 71 start/end, 34 and 65 marks
    [(33, False, False), (34, False, True), (35, False, False), (58, False, False), (59, True, False),
     (60, True, False), (61, False, False), (64, False, False), (65, False, True), (66, False, False),
     (69, False, False), (70, True, False), (71, True, False), (72, False, False), (75, False, False)],
)  # fmt: skip
def test_types_of_events(tmp_path: Path, number: int, is_range: bool, is_mark: bool) -> None:
    """GIVEN an event of a type, beside a kernel THEN it is a range, a mark, or nothing that counts"""
    trace = load(NsysExport().kernel("k", 0, 9, 1).range("a", 1, 5, eventType=number).write(tmp_path / "x.sqlite"))
    assert trace.host_names().tolist() == (["a"] if is_range else [])
    assert trace.facts.ignored == ({"NVTX marks": 1} if is_mark else {})
    assert trace.facts.events == 1 + (is_range or is_mark)


@pytest.mark.parametrize("number", [59, 70, 60, 71])
@pytest.mark.parametrize("end_tid", [None, 0, 100, 101])
@pytest.mark.parametrize("end", [9, None])
def test_lanes(tmp_path: Path, number: int, end_tid: int | None, end: int | None) -> None:
    """GIVEN a range that ends on its thread, another, or never THEN one of type start/end has a lane in the latter"""
    ends_on = global_tid(100, end_tid) if end_tid else end_tid
    export = NsysExport().range("a", 1, end, eventType=number, endGlobalTid=ends_on).kernel("k", 2, 20, 1)
    [thread] = load(export.write(tmp_path / "x.sqlite")).threads
    across = number in (60, 71) and (end_tid == 101 or end is None)
    assert (thread.pid, thread.tid, thread.name) == ((100, 0, "across threads") if across else (100, 100, ""))


def test_a_range_that_never_ends_on_its_own_thread_is_still_open(tmp_path: Path) -> None:
    export = NsysExport().range("a", 1, None, eventType=START_END).range("b", 2, None).range("c", 3, 4)
    assert load(export.write(tmp_path / "x.sqlite")).facts.repairs == {"ranges still open at the end of the file": 2}


@pytest.mark.parametrize(
    ("text", "name", "sequence", "operation"),
    [
        ("op, seq = 0", "op", 0, MISSING),
        ("op, op_id = 0", "op", MISSING, 0),
        ("op, seq = 1, op_id = 2", "op", 1, 2),
        ("op, sizes = [[1]]", "op", MISSING, MISSING),
        ("op, input_op_ids = []", "op", MISSING, MISSING),
        (f"op, seq = {'9' * 18}", "op", 10**18 - 1, MISSING),
        (f"op, seq = {'9' * 19}", None, MISSING, MISSING),  # more than int64 may hold: a name like any other
        (f"op, op_id = {'9' * 18}", "op", MISSING, 10**18 - 1),
        (f"op, op_id = {'9' * 19}", None, MISSING, MISSING),
        ("op", None, MISSING, MISSING),
    ],
)
def test_numbers_of_operators(tmp_path: Path, text: str, name: str | None, sequence: int, operation: int) -> None:
    trace = load(NsysExport().range(text, 0, 9).write(tmp_path / "x.sqlite"))
    found = trace.host_names()[0], trace.host.sequence[0], trace.host.external_id[0], trace.host.kind[0]
    expected = (name or text, sequence, operation, HostKind.OP if name else HostKind.ANNOTATION)
    assert found == expected


def test_what_emit_nvtx_repeats_of_perfkit_is_counted(tmp_path: Path) -> None:
    export = NsysExport().domain("perfkit", 1).range("fc", 0, 9, domainId=1).range("perfkit::fc, op_id = 1", 0, 9)
    trace = load(export.range("other", 2, 3).write(tmp_path / "x.sqlite"))
    assert trace.host_names().tolist() == ["perfkit::fc", "other"]
    assert trace.facts.ignored == {"ranges of perfkit that emit_nvtx repeats": 1}
    assert trace.recording.own == OwnNotes()


@pytest.mark.parametrize("domain", ["NCCL", "CCCL", "cuBLAS", "cublasLt", "cuDNN", "NVSHMEM"])
def test_ranges_of_libraries_are_told_by_their_domain(tmp_path: Path, domain: str) -> None:
    """GIVEN a library's domain in one process, whose number is a user's domain in another THEN only the first is so"""
    export = NsysExport().domain(domain, 3).range("a call", 0, 9, domainId=3).range("mine", 10, 19)
    export.domain("TensorRT", 3, pid=200).range("conv1 + relu", 0, 9, pid=200, domainId=3)
    trace = load(export.write(tmp_path / "x.sqlite"))
    kinds = dict(zip(trace.host_names().tolist(), map(HostKind, trace.host.kind.tolist()), strict=True))
    assert kinds == {"a call": HostKind.LIBRARY, "mine": HostKind.ANNOTATION, "conv1 + relu": HostKind.ANNOTATION}
    assert attribute(trace).paths == ("mine", "conv1 + relu")
