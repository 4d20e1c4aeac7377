"""Devices of merged files: which lanes are one device, what it is called, and whose it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfkit.analysis.attribution.attribute import attribute
from perfkit.trace.chrome.devices import Lane, identify
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.columns import MISSING, Trace


def merged(*kernels: tuple[object, int | None], hosts: tuple[object, ...] = ()) -> Trace:
    """A file with kernels of these (pid, args.device), and a call in each of the host processes."""
    events: list[dict[str, Any]] = [
        {"ph": "X", "cat": "cuda_runtime", "name": "launch", "pid": pid, "tid": 1, "ts": 0, "dur": 1} for pid in hosts
    ]
    for at, (pid, device) in enumerate(kernels):
        args = {} if device is None else {"device": device}
        events.append({"ph": "X", "cat": "kernel", "name": "k", "pid": pid, "tid": 7, "ts": at, "dur": 1, "args": args})
    events.append({"ph": "M", "name": "process_name", "pid": 2_000_000_000, "tid": 0, "args": {"name": "python"}})
    return read_chrome_json([json.dumps({"traceEvents": events}).encode()], "t.json")


def labels(trace: Trace) -> list[str]:
    return [trace.device_label(number) for number in trace.device.device.tolist()]


def test_the_usual_file_has_numbers():
    trace = merged((0, 0), (1, 1), (0, 0), (3, None))
    assert (labels(trace), trace.device.device.tolist()) == (["0", "1", "0", "3"], [0, 1, 0, 3])
    assert (trace.devices, trace.device.process.tolist()) == ((), [MISSING] * 4)


def test_one_number_in_two_processes_is_two_devices():
    """GIVEN sglang's merged file: pids are texts THEN their texts are the labels, and name the host process"""
    trace = merged(("[TP00] 0", 0), ("[TP01] 0", 0), ("[TP00] 0", 0), hosts=("[TP00] 5000", "[TP01] 5001"))
    assert labels(trace) == ["[TP00] 0", "[TP01] 0", "[TP00] 0"]
    assert trace.device.device.tolist() == [0, 1, 0]
    assert [device.index for device in trace.devices] == [0, 0]
    first, second = (thread.pid for thread in trace.threads)
    assert trace.device.process.tolist() == [first, second, first]


def test_ranks_whose_devices_have_different_numbers_keep_them_and_their_processes():
    trace = merged(("[TP00] 0", 0), ("[TP01] 1", 1), hosts=("[TP00] 5000", "[TP01] 5001"))
    assert (labels(trace), trace.devices) == (["0", "1"], ())
    assert trace.device.process.tolist() == [thread.pid for thread in trace.threads]


def test_each_rank_has_its_own_launches():
    """GIVEN two ranks whose calls share a correlation THEN an event belongs to that of its process, not to the first"""
    events: list[dict[str, Any]] = []
    for rank, at in (("[TP00]", 0), ("[TP01]", 5)):
        common = {"ph": "X", "dur": 2, "args": {"correlation": 7, "device": 0}}
        events.append({**common, "cat": "cuda_runtime", "name": "launch", "pid": f"{rank} 50", "tid": 1, "ts": at})
        events.append({**common, "cat": "kernel", "name": "k", "pid": f"{rank} 0", "tid": 7, "ts": at + 10})
    trace = read_chrome_json([json.dumps({"traceEvents": events}).encode()], "t.json")
    found = attribute(trace)
    assert found.host.start[found.events.launch].tolist() == [0, 5000]
    assert found.events.exclusive.tolist() == [2000, 2000]


def test_new_numbers_are_above_all_others():
    assert merged(("a 0", 0), ("b 0", 0), ("b 1", 1)).device.device.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("pids", "hosts"),
    [(("0_0", "1_0"), ("0_71", "1_72")), (("0 (rank 0)", "0 (rank 1)"), ("71 (rank 0)", "72 (rank 1)")),
     (("rank0 GPU", "rank1 GPU"), ("rank0 71", "rank1 72")), ((0, 10**9), (71, 10**9 + 72))],
)  # fmt: skip
def test_a_pid_tells_the_process(pids, hosts):
    trace = merged(*((pid, 0) for pid in pids), hosts=hosts)
    of_host = dict(zip(hosts, (thread.pid for thread in trace.threads), strict=True))
    expected = [of_host[host] for host in hosts]
    if pids[0] == "rank0 GPU":  # nothing but a number that is the rank, too: it could be either's
        expected = [MISSING, MISSING]
    assert trace.device.process.tolist() == expected
    assert len(set(labels(trace))) == 2


@pytest.mark.parametrize("offset", [1_000, 100_000, 1_000_000, 10_000_000])
def test_each_offset_has_a_process_of_its_own(offset):
    """GIVEN pids with an offset for the second and third process THEN each has its lanes, in whatever order they come

    1,071 may be the first one's number, too; but the second one has no other.
    """
    pids, hosts = (0, 1, offset, 2 * offset), (71 + offset, 70, 2 * offset + 3)
    trace = merged(*zip(pids, (0, 1, 0, 0), strict=True), hosts=hosts)
    assert trace.device.process.tolist() == [70, 70, 71 + offset, 2 * offset + 3]


def test_ranks_with_offsets_and_devices_of_their_own():
    """GIVEN two ranks on devices 0 and 1, whose events are in the lanes 0 and 100,001 THEN each has its process"""
    trace = merged((0, 0), (100_001, 1), hosts=(71, 100_072))
    assert (labels(trace), trace.device.process.tolist()) == (["0", "1"], [71, 100_072])


@pytest.mark.parametrize("hosts", [(1071, 1072), (71, 1071, 1072), (71,), (71, 72)])
def test_offsets_that_do_not_tell(hosts):
    """GIVEN lanes 0 and 1,000 WHEN processes fit them in two ways or in none THEN no lane has a process"""
    trace = merged((0, 0), (1000, 0), hosts=hosts)
    assert (trace.device.process.tolist(), trace.device.device.tolist()) == ([MISSING, MISSING], [0, 1])


def test_ranks_merged_with_a_small_offset_have_their_own_launches():
    """GIVEN the calls of two ranks with the same correlation, 5 us apart, and pids 100,000 apart THEN as with texts"""
    events: list[dict[str, Any]] = []
    for offset, at in ((0, 0), (100_000, 5)):
        common = {"ph": "X", "dur": 2, "args": {"correlation": 7, "device": 0}}
        events.append({**common, "cat": "cuda_runtime", "name": "launch", "pid": offset + 5000, "tid": 1, "ts": at})
        events.append({**common, "cat": "kernel", "name": "k", "pid": offset, "tid": 7, "ts": at + 10})
    found = attribute(read_chrome_json([json.dumps({"traceEvents": events}).encode()], "t.json"))
    assert found.host.start[found.events.launch].tolist() == [0, 5000]


def test_numbers_of_merged_files_have_the_processs_number_and_name():
    assert labels(merged((1_000_000_000, 0), (2_000_000_000, 0))) == ["1000000000/0", "2000000000/0 python"]


def test_a_text_without_the_number_gets_it():
    assert labels(merged(("TP00", 0), ("TP00", 1), ("TP01", 0), ("rank 10", 0))) == [
        "TP00 0", "TP00 1", "TP01 0", "rank 10 0",
    ]  # fmt: skip


def test_events_that_do_not_say_their_device_are_on_that_of_their_pid():
    trace = merged(("[TP00] 0", 0), ("[TP00] 0", None), ("[TP01] 0", 0))
    assert labels(trace) == ["[TP00] 0", "[TP00] 0", "[TP01] 0"]
    assert labels(merged(("first", None), ("second", None), (None, None))) == ["first", "second", "unknown"]


def test_labels_are_unique():
    found = identify([Lane(0, -5), Lane(0, -6)], {-5: "a 0", -6: "a"}, (), lambda _: "")
    assert [device.label for device in found.devices] == ["a 0", "a 0 (2)"]
