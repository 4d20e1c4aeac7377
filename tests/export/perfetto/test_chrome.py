"""Chrome's JSON is a trace that perfkit itself reads back."""

from __future__ import annotations

import gzip
import json

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.time.account import account_for
from perfkit.trace.columns import ReadFacts, Trace
from perfkit.trace.load import load
from tests.analysis.time.idle.traces import account_of
from tests.builders import TraceBuilder, device_step
from tests.corpus import corpus_file
from tests.export.perfetto.reading import exported


def _reread(trace: Trace, folder, suffix: str = ".json") -> Trace:
    path = folder / f"out{suffix}"
    path.write_bytes(exported(account_for(trace, attribute(trace)), name=path.name))
    return load(path, use_cache=False)


def _host(trace: Trace, offset: int = 0) -> list[tuple[object, ...]]:
    host = trace.host
    columns = (host.kind, host.start + offset, host.end + offset, host.correlation, host.sequence)
    return sorted(zip(trace.host_names().tolist(), *(column.tolist() for column in columns), strict=True))


def _device(trace: Trace, offset: int = 0) -> list[tuple[object, ...]]:
    device = trace.device
    times = (device.start + offset, device.end + offset)
    columns = (device.kind, *times, device.device, device.stream, device.correlation, device.bytes)
    return sorted(zip(trace.device_names().tolist(), *(column.tolist() for column in columns), strict=True))


def test_perfkit_reads_its_own_export(tmp_path):
    """GIVEN a trace WHEN exported as JSON THEN perfkit reads the same ranges and events, to the nanosecond"""
    trace = device_step().call("aten::mm", 41, 43, [[2, 3], [3, 4]]).build()
    again = _reread(trace, tmp_path)
    assert _host(again) == _host(trace)
    assert _device(again) == _device(trace)
    assert set(again.facts.unknown) == {"perfkit.step", "perfkit.phase", "perfkit.module", "perfkit.idle"}
    assert [said.shapes for said in again.arguments] == [said.shapes for said in trace.arguments]


def test_times_count_from_the_first_event(tmp_path):
    """GIVEN times since 1970 WHEN exported THEN JSON counts from the first event, and says when that was"""
    first = 1_700_000_000_000_000_123
    b = TraceBuilder(facts=ReadFacts(base_time_ns=5)).range("a", first, first + 7)
    document = json.loads(exported(account_of(b), name="x.json"))
    [event] = [event for event in document["traceEvents"] if event["ph"] == "X" and event["cat"] == "cpu_op"]
    assert (event["ts"], event["dur"]) == (0, 0.007)
    assert document["baseTimeNanoseconds"] == first + 5


def test_arrows_have_a_begin_and_an_end():
    document = json.loads(exported(account_of(device_step()), name="x.json"))
    ends = {kind: {e["id"] for e in document["traceEvents"] if e["ph"] == kind} for kind in "sf"}
    assert len(ends["s"]) == 4
    assert ends["s"] == ends["f"]


def test_a_trace_of_nothing_is_json():
    assert json.loads(exported(account_of(TraceBuilder()), name="x.json"))["traceEvents"] == []


def test_gz_is_compressed_and_the_same_each_time():
    account = account_of(device_step())
    once, again = (exported(account, name="x.JSON.gz") for _ in range(2))
    assert once == again
    assert gzip.decompress(once) == exported(account, name="x.json")


@pytest.mark.corpus
def test_perfkit_reads_its_export_of_a_real_recording(tmp_path):
    trace = load(corpus_file("kineto/b300_moe_decode.json.gz"), use_cache=False)
    first = min(int(trace.host.start.min()), int(trace.device.start.min()))
    again = _reread(trace, tmp_path)
    assert _host(again, first) == _host(trace)
    assert _device(again, first) == _device(trace)
