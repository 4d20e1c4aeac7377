"""Collectives: sizes, and bandwidths as nccl-tests has them."""

from __future__ import annotations

import json

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.costs.flops.collectives import bus_factor, collective_table, size_of
from perfkit.analysis.reports.trace import report
from perfkit.analysis.time.account import account_for
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.columns import Trace
from perfkit.trace.load import load
from perfkit.trace.operands import Message, messages_of
from tests.analysis.columns import assert_regular
from tests.builders import TraceBuilder
from tests.corpus import corpus_file
from tests.trace.trace_damage import host_event


def table_of(trace: Trace):
    return collective_table(account_for(trace, attribute(trace)).partial)


def test_bandwidths_of_collectives():
    """GIVEN two all-reduces of 1000 floats on 4 ranks, one of them with two kernels, of 60 ns together, and a wait
    WHEN tabled THEN 8000 bytes in 60 ns, and 2 x 3/4 of that on the bus"""
    b = TraceBuilder().collective(0, 20, ["allreduce", 1000, 1000, 4, "Float"])
    b.launched("ncclDevKernel_AllReduce", 5, 100, 120).launched("ncclDevKernel_AllReduce", 7, 120, 130)
    b.collective(30, 40, ["allreduce", 1000, 1000, 4, "Float"]).launched("ncclDevKernel_AllReduce", 35, 130, 160)
    b.collective(50, 60, ["wait", 0, 0, 1, "Byte"]).launched("odd", 55, 200, 210)
    found = table_of(b.build())
    assert_regular(found)
    row = found.frame.iloc[0]
    assert len(found) == 1
    assert row[["collective", "ranks", "message_bytes", "count", "total_ns", "bytes"]].tolist() == [
        "allreduce", 4, 4000, 2, 60, 8000,
    ]  # fmt: skip
    assert row["algorithm_bytes_per_s"] == pytest.approx(8000 / 60e-9)
    assert row["bus_bytes_per_s"] == pytest.approx(1.5 * 8000 / 60e-9)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("allreduce", 1.5), ("allreduce_coalesced", 1.5), ("_allgather_base", 0.75), ("_reduce_scatter_base", 0.75),
        ("reduce_scatter_tensor_coalesced", 0.75), ("all_to_allv", 0.75), ("broadcast", 1), ("reduce", 1), ("send", 1),
        ("recv", 1), ("gather", 0.75), ("scatter", 0.75), ("barrier", None),
    ],
)  # fmt: skip
def test_what_goes_over_the_bus_on_four_ranks(name, factor):
    assert bus_factor(name, 4) == factor


def test_a_message_is_as_large_as_the_buffer_of_all_ranks():
    """GIVEN an all-gather, whose result is larger, and a reduce-scatter, whose argument is"""
    assert size_of(Message("_allgather_base", 100, 400, 4, "BFloat16")) == 800
    assert size_of(Message("_reduce_scatter_base", 400, 100, 4, "Long")) == 3200
    assert size_of(Message("allreduce", 100, 100, 4, "Tomorrow")) is None


def test_the_reader_keeps_what_is_said_of_a_collective():
    said = {"Collective name": "allreduce", "In msg nelems": 7, "Out msg nelems": 9, "Group size": 2, "dtype": "Float"}
    odd = said | {"In msg nelems": "x"}
    events = [host_event(0, args=said), host_event(1), host_event(2, args=odd), host_event(3, args={"dtype": "Float"})]
    trace = read_chrome_json([json.dumps(events).encode()], "t.json")
    assert messages_of(trace) == (Message("allreduce", 7, 9, 2, "Float"), None)
    assert trace.host.arguments.tolist() == [0, -1, 1, -1]


def test_without_a_device_or_collectives_there_is_no_table():
    on_host = TraceBuilder().collective(0, 20, ["allreduce", 1000, 1000, 4, "Float"]).build()
    assert "collectives" not in report(on_host).names
    assert len(table_of(on_host)) == 0
    assert "collectives" not in report(TraceBuilder().launched("gemm", 0, 5, 9).build()).names


@pytest.mark.corpus
def test_collectives_of_a_real_trace():
    """GIVEN data-parallel training on two A100s THEN its 21 NCCL kernels are all there, 46.9 ms as the issue has it;
    on two ranks all-reduce sends each byte once, so the bandwidths are equal"""
    found = table_of(load(corpus_file("kineto/a100_ddp_training.json.gz"))).frame
    assert (found["count"].sum(), found["total_ns"].sum()) == (21, 46_876_493)
    assert found["bus_bytes_per_s"].tolist() == found["algorithm_bytes_per_s"].tolist()
    assert found["bytes"].sum() == 3 * 4 * (2049000 + 7875584 + 6563840 + 6637568 + 2431040 + 53120) + 3 * small(found)


def small(found) -> int:
    return int(found["message_bytes"].min())
