"""Counters: the queue, FLOP/s, and what the file itself counts."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.costs.flops.table import WORK
from perfkit.analysis.time.account import account_for
from perfkit.trace.details import read_details
from perfkit.trace.load import load
from tests.analysis.time.idle.traces import account_of
from tests.builders import TraceBuilder
from tests.corpus import corpus_file
from tests.export.perfetto.reading import exported, shown, timeline


def test_the_queue_counts_what_was_launched_and_has_not_begun():
    b = TraceBuilder().step(0, 0, 100).launched("a", 10, 20, 40).launched("b", 12, 40, 50)
    assert shown(b).counter("queue depth") == [(10, 1), (12, 2), (20, 1), (40, 0)]


def test_flops_are_those_of_the_operator_over_the_time_of_its_kernels():
    """GIVEN 2 x 3 times 3 x 4, 48 operations in kernels of 10 and 14 ns, and one more at the same time as the second

    THEN the rate is 2 FLOP/ns while one runs, twice that for both, and nothing between them.
    """
    b = TraceBuilder().step(0, 0, 100).call("aten::mm", 0, 5, [[2, 3], [3, 4]])
    b.launched("a", 1, 10, 20).launched("b", 2, 30, 44)
    b.call("aten::mm", 6, 9, [[2, 3], [3, 4]], thread=1).launched("c", 7, 30, 54, thread=1, stream=8)
    assert shown(b).counter("FLOP/s") == [(10, 2e9), (20, 0), (30, 4e9), (44, 2e9), (54, 0)]


def test_a_file_without_shapes_has_no_flops():
    b = TraceBuilder().step(0, 0, 100).range("aten::mm", 0, 5).launched("a", 1, 10, 20)
    found = shown(b)
    assert [found.path(track) for track in found.counters] == ["Device 0 / queue depth, device 0"]


@pytest.mark.corpus
def test_flops_over_time_are_the_work_of_the_table():
    """GIVEN a recording by others WHEN the rate is added up over time THEN it is the work that the table counts"""
    trace = load(corpus_file("kineto/h100_bert_small_inference.json.gz"), use_cache=False)
    account = account_for(trace, attribute(trace))
    values = timeline(exported(account)).counter("FLOP/s")
    total = sum(rate * (end - start) / 1e9 for (start, rate), (end, _) in pairwise(values))
    assert total == pytest.approx(int(account.partial.of(WORK)["flops"].sum()), rel=1e-9)


def test_counters_and_memory_of_the_file(tmp_path):
    """GIVEN a file with a counter and allocations WHEN exported THEN each value is there at its time, in its unit"""
    memory = {"Device Type": 1, "Device Id": 0, "Addr": 1, "Bytes": 512, "Total Reserved": 4096}
    events = [
        {"ph": "X", "cat": "kernel", "name": "k", "pid": 0, "tid": 7, "ts": 1, "dur": 2,
         "args": {"device": 0, "stream": 7}},
        *({"ph": "i", "s": "t", "name": "[memory]", "pid": 1, "tid": 1, "ts": at,
           "args": {**memory, "Total Allocated": bytes_}} for at, bytes_ in ((1, 512), (2.5, 1024))),
        {"ph": "C", "name": "GPU power", "pid": 0, "ts": 1.25, "args": {"W": 250.5}},
    ]  # fmt: skip
    path = tmp_path / "memory.pt.trace.json"
    path.write_text(json.dumps({"traceEvents": events}))
    trace = load(path, use_cache=False)

    found = timeline(exported(account_for(trace, attribute(trace)), (), read_details(trace)))

    assert found.counter("Device 0", "memory allocated") == [(1000, 512), (2500, 1024)]
    assert found.counter("Device 0", "memory reserved") == [(1000, 4096), (2500, 4096)]
    assert found.counter("GPU power W") == [(1250, 250.5)]


def test_a_trace_of_nothing_has_a_file():
    assert timeline(exported(account_of(TraceBuilder()))).slices == []
