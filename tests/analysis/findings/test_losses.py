"""Losses: device events that are missing, and events of categories that nobody told us of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.findings import losses
from perfkit.analysis.reports.trace import report
from perfkit.analysis.time.account import account_for
from perfkit.schema.finding import Cost, Evidence, Finding
from perfkit.trace.columns import NO_CATEGORY, DeviceKind, HostKind, ReadFacts, Trace
from perfkit.trace.load import load
from tests.analysis.time.test_launches import COPY, GRAPH, LAUNCH, SET, call, series
from tests.builders import TraceBuilder
from tests.corpus import corpus_file
from tests.nsys_export import NsysExport


def lost(b: TraceBuilder | Trace) -> Finding | None:
    trace = b.build() if isinstance(b, TraceBuilder) else b
    return losses.lost_device_events(account_for(trace, attribute(trace)))


def test_half_of_the_launches_lost():
    """GIVEN every second of 8 launches without an event WHEN examined THEN counts and places, and no time: unknown"""
    finding = lost(series("x.x.x.x."))
    assert finding is not None
    assert finding.rule is losses.LOST_DEVICE_EVENTS
    assert finding.what == (
        "4 of 8 kernel launches have no device event: 3 in the middle, 1 at the end of the recording;"
        " the profiler lost them, and every sum lacks their time"
    )
    assert (finding.cost, finding.sure) == (Cost(), "measured")
    assert finding.evidence == (Evidence("launches", {"call": "kernel launch"}),)


@pytest.mark.parametrize("ran", ["xxxxx", "xxxx.", ".xxxx", ".xxx."])
def test_an_edge_is_no_loss(ran):
    """GIVEN calls without an event just at an edge of the recording THEN another rule says so, if anything"""
    finding = lost(series(ran))
    assert (finding is None) == ("." not in ran)
    if finding is not None:
        assert finding.rule is losses.EDGE_LAUNCHES
        assert finding.what.startswith(f"{ran.count('.')} of 5 kernel launches have no device event: ")


def test_memsets_are_counted_apart():
    """GIVEN memsets without events WHEN nothing else is missing THEN nothing is said; else they are in the sentence"""
    b = series("xxxxx")
    call(b, 15, ran=False, name=SET)
    assert lost(b) is None
    call(b, 25, ran=False)
    finding = lost(b)
    assert finding is not None
    assert "1 of 6 kernel launches" in finding.what
    assert finding.what.endswith("; 1 of 1 memsets have none either, which is usual")


def test_copies_and_graphs_are_counted_by_kind():
    b = series("xx.xx")
    call(b, 15, ran=False, name=COPY)
    call(b, 16, name=COPY, kind=DeviceKind.MEMCPY)
    call(b, 25, ran=False, name=GRAPH)
    finding = lost(b)
    assert finding is not None
    assert finding.what.startswith("1 of 5 kernel launches and 1 of 2 copies and 1 of 1 graph launches have no")
    assert [one.key["call"] for one in finding.evidence] == ["kernel launch", "copy", "graph launch"]


def test_a_graph_alone_without_its_events():
    b = series("xxxxx")
    call(b, 15, ran=False, name=GRAPH)
    finding = lost(b)
    assert finding is not None
    assert finding.what.startswith("1 of 1 graph launches have no device event: 1 in the middle")


def test_a_device_whose_events_are_missing():
    """GIVEN a thread for each of two devices, one without its second half THEN the sentence says which"""
    b = TraceBuilder()
    for place in range(8):
        call(b, 10 * place, device=0)
        call(b, 10 * place + 5, ran=place < 4, device=1, thread=1)
    finding = lost(b)
    assert finding is not None
    assert "; 4 of 8 on device 1" in finding.what
    assert "device 0" not in finding.what


def test_a_file_that_is_cut_off():
    """GIVEN a file without its end, where Kineto has the device's events THEN that is why they are missing"""
    b = series("x.xx")
    b.facts = ReadFacts(truncated_at=1000)
    finding = lost(b)
    assert finding is not None
    assert finding.what.endswith("; the end of the file is missing")


@pytest.mark.parametrize(
    ("name", "tracer"), [(LAUNCH, "CUPTI"), ("hipModuleLaunchKernel", "roctracer"), ("cuLaunchKernelEx", "CUPTI")]
)
def test_launches_and_not_one_kernel(name, tracer):
    """GIVEN 6 launches and no kernel THEN the issue's sentence, and no table says there was no device work"""
    b = TraceBuilder().step(0, 0, 100).range("aten::mm", 0, 90)
    for place in range(6):
        call(b, 10 * place, ran=False, name=name)
    finding = lost(b)
    assert finding is not None
    assert finding.rule is losses.LOST_DEVICE_EVENTS
    assert finding.what == (
        "6 kernel launches were recorded, their kernels were not: the profiler lost them or "
        f"{tracer} failed; times in the tables are the host's"
    )
    one = report(b.build())
    said = [found.what for found in one.findings] + [note for table in one.tables for note in table.notes]
    assert not any("no device work" in text for text in said)
    assert "device work was launched, but is not in this trace" in said[0]


def test_copies_without_one_kernel():
    """GIVEN launches without kernels beside copies that were recorded THEN the kernels are what is missing"""
    b = TraceBuilder()
    for place in range(4):
        call(b, 10 * place, ran=False)
        call(b, 10 * place + 5, name=COPY, kind=DeviceKind.MEMCPY)
    finding = lost(b)
    assert finding is not None
    assert finding.what == (
        "4 kernel launches were recorded, their kernels were not: the profiler lost them or CUPTI failed"
    )


def test_without_kernels_in_a_file_that_is_cut_off():
    b = TraceBuilder()
    call(b, 0, ran=False)
    b.facts = ReadFacts(truncated_at=1000)
    finding = lost(b)
    assert finding is not None
    assert "their kernels were not: the end of the file is missing" in finding.what


def test_a_capture_alone_is_no_loss():
    b = TraceBuilder().range("cudaStreamBeginCapture", 0, 1, HostKind.RUNTIME)
    call(b, 2, ran=False)
    assert lost(b) is None


def test_an_export_without_kernels(tmp_path):
    """GIVEN an nsys export with launches and no table of kernels THEN it is not one without GPU work"""
    export = NsysExport().range("step", 0, 100).call("cudaLaunchKernel_v7000", 10, 12, 1)
    finding = lost(load(export.write(tmp_path / "report.sqlite")))
    assert finding is not None
    assert finding.what.startswith("1 kernel launches were recorded, their kernels were not")


def test_a_launch_that_failed_is_no_loss(tmp_path):
    """GIVEN launches of an export, one of which returned an error WHEN it has no kernel THEN none is missing"""
    export = NsysExport().launched("k", 10, 13, 17, 1).launched("k", 30, 33, 37, 3)
    export.call("cudaLaunchKernel_v7000", 20, 22, 2)
    path = export.write(tmp_path / "report.sqlite")
    assert lost(load(path)) is not None
    export.rows["CUPTI_ACTIVITY_KIND_RUNTIME"][2]["returnValue"] = 700
    del export.rows["StringIds"]
    assert lost(load(export.write(tmp_path / "failed.sqlite"))) is None


def test_a_call_with_an_error_keeps_the_event_that_it_has(tmp_path):
    """GIVEN a launch that returned the error of an earlier one, and its kernel THEN the two belong together"""
    export = NsysExport().launched("k", 10, 13, 17, 1)
    export.rows["CUPTI_ACTIVITY_KIND_RUNTIME"][0]["returnValue"] = 700
    trace = load(export.write(tmp_path / "report.sqlite"))
    assert attribute(trace).events.launch.tolist() == [0]


def unknown(facts: ReadFacts, b: TraceBuilder) -> Finding | None:
    b.facts = facts
    trace = b.build()
    return losses.unknown_events(account_for(trace, attribute(trace)))


def test_events_of_no_known_category():
    """GIVEN 2 events without a category and 3 of an unknown one WHEN examined THEN count, time and category of each"""
    b = TraceBuilder().step(0, 0, 100).step(1, 100, 200).range("aten::mm", 10, 40)
    facts = ReadFacts(ignored={NO_CATEGORY: 2, "npu": 3}, unknown={"npu": (3, 1_000_000), NO_CATEGORY: (2, 1_400_000)})
    finding = unknown(facts, b)
    assert finding is not None
    assert finding.what == (
        "2 events without a category (1.400 ms), 3 events of category npu (1.000 ms) are in no table:"
        " perfkit does not know what they are"
    )
    assert finding.cost == Cost(1_200_000)  # of a step


def test_events_of_an_accelerator_that_count_as_kernels():
    facts = ReadFacts(unknown={"mtia_ccp_events": (1313, 812_125_170)})
    finding = unknown(facts, series("x"))
    assert finding is not None
    assert finding.what == (
        "1,313 events of category mtia_ccp_events (812.1 ms) count as kernels:"
        " the category mixes kernels, copies and waits"
    )
    assert finding.cost == Cost(812_125_170)


def test_known_categories_are_silent():
    assert unknown(ReadFacts(ignored={"Trace": 1, "cuda_sync": 9}), series("x")) is None


CORPUS = Path(os.environ.get("PERFKIT_TRACE_CORPUS", "/nowhere"))
TRACES = [*sorted(CORPUS.glob("kineto/*.gz")), *sorted(CORPUS.glob("nsys/*.sqlite"))]


@pytest.mark.corpus
@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.name)
def test_no_real_trace_of_the_corpus_has_lost_events(path: Path):
    """GIVEN real traces, in which every launch and copy has its event up to the edges THEN none is called lost"""
    finding = lost(load(path))
    assert finding is None or finding.rule is losses.EDGE_LAUNCHES


@pytest.mark.corpus
def test_an_accelerator_that_is_no_gpu():
    """GIVEN MTIA's trace WHEN read THEN 1,313 device events of 812.125 ms (issue 11), 991 of which have a launch"""
    trace = load(corpus_file("kineto/mtia_inference.json.gz"))
    account = account_for(trace, attribute(trace))
    assert (len(account), int(account.total.sum())) == (1313, 812_125_170)
    assert account.on_device
    assert int((account.attribution.events.launch >= 0).sum()) == 1313 - 322  # 322 name no correlation (json.load)
    assert losses.unknown_events(account) is not None
