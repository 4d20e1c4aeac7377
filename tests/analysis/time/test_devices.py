"""Devices, one row each."""

from __future__ import annotations

import dataclasses

import pytest

from perfkit.analysis.attribution.attribute import Phase, attribute
from perfkit.analysis.time.account import Selection, account_for
from perfkit.analysis.time.devices import DEVICES, device_table
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.summary import summary
from perfkit.analysis.time.trace_table import View, by_numbers
from perfkit.trace.columns import DeviceKind, Trace, TraceDevice
from perfkit.trace.load import load
from perfkit.trace.recording import Device
from tests.analysis import columns
from tests.builders import TraceBuilder, host_step, saying
from tests.corpus import corpus_file


def partial_of(trace: Trace, selection: Selection | None = None) -> Partial:
    return account_for(trace, attribute(trace), selection).partial


def two_devices() -> TraceBuilder:
    """40 ns of kernels on device 10, 10 of them side by side; a copy of 5 ns and a memset of 1 ns on device 9."""
    b = TraceBuilder().module("net", 0, 50)
    b.launched("a", 10, 100, 120, device=10).launched("b", 20, 110, 130, device=10, stream=8)
    b.launched("Memcpy", 30, 100, 105, device=9, kind=DeviceKind.MEMCPY)
    return b.launched("Memset", 60, 110, 111, device=9, kind=DeviceKind.MEMSET)


def test_a_row_a_device_in_the_order_of_their_numbers():
    trace = saying(two_devices().build(), devices=(Device(10, "H100"), Device(3, "not used")))
    table = device_table(partial_of(trace))
    assert table.frame[[column.name for column in table.columns]].to_dict("records") == [
        {"device": "9", "name": None, "kernels": 0, "copies": 1, "memsets": 1, "total_ns": 6, "busy_ns": 6,
         "span_ns": 11, "busy_share": pytest.approx(6 / 11)},
        {"device": "10", "name": "H100", "kernels": 2, "copies": 0, "memsets": 0, "total_ns": 40, "busy_ns": 30,
         "span_ns": 30, "busy_share": 1.0},
    ]  # fmt: skip
    columns.assert_regular(table)
    assert columns.summed(table) == ["kernels", "copies", "memsets", "total_ns", "busy_ns"]


def test_devices_of_a_merged_file_go_by_their_labels():
    """GIVEN two ranks' devices 0, busy at the same time THEN both are counted, by name and by label"""
    b = TraceBuilder().event("k", 0, 30).event("k", 10, 50, device=1)
    devices = (TraceDevice(0, "[TP00] 0", 0), TraceDevice(1, "[TP01] 0", 0))
    trace = dataclasses.replace(saying(b.build(), devices=(Device(0, "A100"),)), devices=devices)
    frame = device_table(partial_of(trace)).frame
    assert frame[["device", "name", "busy_ns"]].to_numpy().tolist() == [
        ["[TP00] 0", "A100", 30], ["[TP01] 0", "A100", 40],
    ]  # fmt: skip
    assert summary(partial_of(trace))["devices"] == ["A100", "A100"]
    assert summary(partial_of(trace))["busy_ns"] == 70


def test_only_what_is_accounted_for_counts():
    frame = device_table(partial_of(two_devices().build(), Selection(Phase.OTHER))).frame
    assert frame[["device", "memsets", "total_ns"]].to_numpy().tolist() == [["9", 1, 1]]


def test_a_device_that_the_file_does_not_say():
    assert device_table(partial_of(TraceBuilder().event("k", 5, 5, device=-1).build())).frame[
        ["device", "busy_ns", "span_ns"]
    ].to_numpy().tolist() == [["unknown", 0, 0]]


def test_whom_the_table_is_for():
    audiences = [
        DEVICES.audience(partial_of(b.build()).facts)
        for b in (two_devices(), TraceBuilder().event("k", 0, 5), host_step())
    ]
    assert audiences == ["everyone", "scripts", None]
    assert DEVICES.of(partial_of(host_step().build()), View()) is None


def test_numbers_in_labels_are_numbers():
    labels = ["[TP10] 0", "[TP09] 0", "10", "9", "x", "09"]
    assert sorted(labels, key=by_numbers) == ["9", "09", "10", "[TP09] 0", "[TP10] 0", "x"]


@pytest.mark.corpus
def test_both_devices_of_a_real_export():
    """Issue 11: 1,721 kernels each."""
    frame = device_table(partial_of(load(corpus_file("nsys/h100_2gpu_1s.sqlite")))).frame
    assert frame[["device", "kernels"]].to_numpy().tolist() == [["0", 1721], ["1", 1721]]
