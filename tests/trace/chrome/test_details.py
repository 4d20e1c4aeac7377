"""What a Chrome trace says of its events beyond times: small documents by hand, and real ones beside json.load."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perfkit.errors import UsageError
from perfkit.trace.byte_stream import StreamFacts, unpacked
from perfkit.trace.chrome.details import read_chrome_details
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.columns import MISSING, Content
from perfkit.trace.detail_columns import Details, LaunchGeometry, Operands
from perfkit.trace.details import read_details
from perfkit.trace.load import load
from tests.trace.trace_damage import damaged, device_event, host_event, packed

CORPUS = Path(os.environ.get("PERFKIT_TRACE_CORPUS", "/nowhere")) / "kineto"
SHAPES = {"Input Dims": [[8, 4], [], [[2, 3], [5]]], "Input Strides": [[4, 1], [], [[3, 1], [1]]],
          "Input type": ["float", "Scalar", "TensorList"], "Concrete Inputs": ["", "1.5", ""]}  # fmt: skip
LAUNCH = {"grid": [5, 4, 3], "block": [128, 2, 1], "registers per thread": 40, "shared memory": 1280,
          "est. achieved occupancy %": 37}  # fmt: skip


def details(*events: dict[str, Any], chunk: int = 1 << 19, content: Content = Content.ALL) -> Details:
    return details_of(json.dumps({"traceEvents": events}).encode(), chunk, content)


def details_of(text: bytes, chunk: int = 1 << 19, content: Content = Content.ALL) -> Details:
    def pieces() -> Iterator[bytes]:
        return (text[at : at + 64] for at in range(0, len(text), 64))

    trace = read_chrome_json(pieces(), "t.json", chunk=chunk, content=content)
    return read_chrome_details(pieces(), trace, chunk=chunk, content=content)


def spelled(operands: Operands) -> list[tuple[Any, ...]]:
    """Shapes, types, strides and values of each row; None where nothing is said."""
    columns = ("shapes", "dtypes", "strides", "values")
    texts = [[*getattr(operands, f"all_{name}"), None] for name in columns]
    codes = [getattr(operands, name).tolist() for name in columns]
    return [tuple(text[code] for text, code in zip(texts, row, strict=True)) for row in zip(*codes, strict=True)]


def launches(geometry: LaunchGeometry) -> list[tuple[Any, ...]]:
    columns = (geometry.grid, geometry.block, geometry.registers, geometry.shared_memory, geometry.occupancy)
    return list(zip(*(column.tolist() for column in columns), strict=True))


# --- calls --------------------------------------------------------------------------------------------------------


def test_the_kernels_that_calls_launch() -> None:
    """GIVEN calls as AMD's profiler writes them, one as NVIDIA's, and odd ones WHEN asked THEN the kernels' names"""
    said = [
        {"kernel": "gemm", "grid": [1, 1, 1]},
        {},
        {"kernel": "gelu"},
        {"kernel": 7},
        {"kernel": ""},
        {"kernel": "gemm"},
    ]
    events = [host_event(i, cat="cuda_runtime", name="hipLaunchKernel", args=args) for i, args in enumerate(said)]
    calls = details(*events, host_event(7, name="kernel")).calls
    names = [*calls.all_kernels, None]
    assert [names[code] for code in calls.kernel] == ["gemm", None, "gelu", None, None, "gemm", None]
    assert (len(calls), calls.kernel.dtype) == (7, np.int32)
    assert len(details(device_event(0)).calls) == 0


# --- operands -----------------------------------------------------------------------------------------------------


def test_operands_of_a_call() -> None:
    """GIVEN a call with a tensor, a number and a list of tensors, and one of which nothing is said WHEN asked THEN
    the first one's, argument by argument"""
    operands = details(host_event(0, args=SHAPES), host_event(1)).operands
    assert spelled(operands) == [
        (
            ((8, 4), (), ((2, 3), (5,))),
            ("float", "Scalar", "TensorList"),
            ((4, 1), (), ((3, 1), (1,))),
            ("", "1.5", ""),
        ),
        (None, None, None, None),
    ]
    assert (len(operands), operands.shapes.dtype) == (2, np.int32)


def test_what_repeats_is_kept_once() -> None:
    """GIVEN calls with the same shapes, once with other blanks WHEN asked THEN one entry serves all"""
    other = json.dumps(host_event(1, args={"Input Dims": [[1, 2]]})).replace("[[1, 2]]", "[ [1,2] ]")
    text = json.dumps([host_event(0, args={"Input Dims": [[1, 2]]}), 0, host_event(2, args={"Input Dims": [[3]]})])
    operands = details_of(text.replace(", 0,", f", {other},").encode()).operands
    assert operands.all_shapes == (((1, 2),), ((3,),))
    assert operands.shapes.tolist() == [0, 0, 1]


def test_traces_of_2021_have_a_small_d() -> None:
    assert spelled(details(host_event(0, cat="Operator", args={"Input dims": [[3], []]})).operands)[0][0] == ((3,), ())


@pytest.mark.parametrize(
    "value", [None, 7, "[[1]]", {}, [1], ["x"], [[1.5]], [[True]], [[1 << 63]], [[[[1]]]], [[[1], 2]], [[1], None]]
)
@pytest.mark.parametrize(("key", "place"), [("Input Dims", 0), ("Input Strides", 2)])
def test_sizes_that_are_none_are_not_said(key: str, place: int, value: Any) -> None:
    rows = spelled(details(host_event(0, args=SHAPES | {key: value}), host_event(1, args=SHAPES)).operands)
    assert rows[0][place] is None
    assert rows[1] == spelled(details(host_event(0, args=SHAPES)).operands)[0]


@pytest.mark.parametrize("value", [None, 7, "float", {}, [1], [["float"]], ["float", None]])
@pytest.mark.parametrize(("key", "place"), [("Input type", 1), ("Concrete Inputs", 3)])
def test_words_that_are_none_are_not_said(key: str, place: int, value: Any) -> None:
    assert spelled(details(host_event(0, args=SHAPES | {key: value})).operands)[0][place] is None


@pytest.mark.parametrize(("length", "is_said"), [(65_536, True), (65_537, False)])
def test_a_text_longer_than_any_name_says_nothing(length: int, is_said: bool) -> None:
    said = ["x" * (length - len('[""]'))]
    shapes, *_, values = spelled(details(host_event(0, args=SHAPES | {"Concrete Inputs": said})).operands)[0]
    assert (shapes is not None, values is not None) == (True, is_said)


@pytest.mark.parametrize("args", [None, 7, "Input", ["Input Dims"], [[[]]]])
def test_args_that_are_none(args: Any) -> None:
    found = details(host_event(0, args=args), device_event(1, args=args))
    assert spelled(found.operands) == [(None,) * 4]
    assert launches(found.geometry) == [([MISSING] * 3, [MISSING] * 3, MISSING, MISSING, MISSING)]


def test_an_event_with_a_member_of_an_odd_type_keeps_its_operands() -> None:
    assert spelled(details(host_event(0, name=5, args=SHAPES)).operands) == spelled(
        details(host_event(0, args=SHAPES)).operands
    )


# --- launches -----------------------------------------------------------------------------------------------------


def test_launches() -> None:
    """GIVEN a kernel, a copy and a kernel of which nothing is said WHEN asked THEN the first one's launch"""
    copy = device_event(1, cat="gpu_memcpy")
    geometry = details(device_event(0, args=LAUNCH), copy, device_event(2)).geometry
    nothing = ([MISSING] * 3, [MISSING] * 3, MISSING, MISSING, MISSING)
    assert launches(geometry) == [([5, 4, 3], [128, 2, 1], 40, 1280, 37), nothing, nothing]
    assert geometry.static_shared_memory.tolist() == geometry.dynamic_shared_memory.tolist() == [MISSING] * 3
    assert (len(geometry), geometry.grid.shape, geometry.grid.dtype) == (3, (3, 3), np.int32)


@pytest.mark.parametrize("value", [None, 7, "5", [], [1, 2], [1, 2, 3, 4], [1, 2, -1], [1, 2, 1 << 31], [1, 2, 3.5]])
def test_a_grid_that_is_none(value: Any) -> None:
    grid, block, *rest = launches(details(device_event(0, args=LAUNCH | {"grid": value})).geometry)[0]
    assert grid == [MISSING] * 3
    assert [block, *rest] == [[128, 2, 1], 40, 1280, 37]


@pytest.mark.parametrize("value", [None, "5", [1, 2], -1, 1 << 31, 3.5, True])
def test_a_count_that_is_none(value: Any) -> None:
    geometry = details(device_event(0, args=LAUNCH | {"registers per thread": value})).geometry
    assert (geometry.registers.tolist(), geometry.occupancy.tolist()) == ([MISSING], [37])


# --- which rows ---------------------------------------------------------------------------------------------------


def test_events_without_a_time_have_no_row() -> None:
    found = details(
        host_event(0, dur="x", args=SHAPES), host_event(1), device_event(2, ts=None, args=LAUNCH), device_event(3)
    )
    assert (len(found.operands), len(found.geometry)) == (1, 1)
    assert (found.operands.all_shapes, found.geometry.registers.tolist()) == ((), [MISSING])


@pytest.mark.parametrize("chunk", [1, 300, 5000])
def test_rows_of_many_chunks(chunk: int) -> None:
    """GIVEN more chunks than are joined at once WHEN asked THEN each row's own"""
    events = [host_event(i, args={"Input Dims": [[i % 7]]}) for i in range(200)]
    operands = details(*events, chunk=chunk).operands
    assert [operands.all_shapes[code] for code in operands.shapes] == [((i % 7,),) for i in range(200)]


def test_kernels_alone() -> None:
    copy = device_event(1, cat="gpu_memcpy")
    found = details(host_event(0, args=SHAPES), copy, device_event(2, args=LAUNCH), content=Content.KERNELS)
    assert (len(found.operands), found.geometry.registers.tolist()) == (0, [40])


def test_without_events_of_a_kind() -> None:
    found = details(host_event(0))
    assert (found.geometry.grid.shape, found.geometry.registers.shape) == ((0, 3), (0,))
    assert (len(found.counters), len(found.memory), found.counters.names) == (0, 0, ())


def test_another_text_is_refused() -> None:
    """GIVEN a text whose second event begins 1 us later WHEN asked for details of the first THEN refused"""
    texts = [json.dumps([host_event(0), host_event(at)]).encode() for at in (1, 2)]
    trace = read_chrome_json([texts[0]], "t.json")
    with pytest.raises(UsageError, match=r"t\.json has changed since it was read: analyze it again"):
        read_chrome_details([texts[1]], trace, content=Content.ALL)


def test_damage_is_stepped_over_as_it_was_before() -> None:
    """GIVEN damaged documents that can be read WHEN asked THEN as many rows, and none in another's place"""
    events = [host_event(0, args=SHAPES), device_event(0, args=LAUNCH)] * 8
    text = json.dumps({"traceEvents": events, "x": 1}).encode()
    expected, read = spelled(details_of(text).operands)[0], 0
    for seed in range(300):
        draw = random.Random(seed)
        data, chunk = packed(damaged(text, draw), draw), draw.choice((1, 300, 1 << 19))
        pieces = [list(_unpacked(data)), list(_unpacked(data))]
        try:
            trace = read_chrome_json(pieces[0], "t", chunk=chunk)
        except UsageError:
            continue
        found = read_chrome_details(pieces[1], trace, chunk=chunk, content=Content.ALL)
        assert (len(found.operands), len(found.geometry)) == (len(trace.host), len(trace.device))
        read += spelled(found.operands).count(expected)
    assert read > 300


def _unpacked(data: bytes) -> Iterator[bytes]:
    try:
        yield from unpacked(io.BytesIO(data), "t", StreamFacts())
    except UsageError:
        return


def test_an_event_mended_by_its_looks_has_no_operands() -> None:
    """GIVEN raw quotes in a name WHEN asked THEN the event has its row, the neighbour its shapes"""
    text = json.dumps([host_event(0, name="MARK", args=SHAPES), host_event(1, args=SHAPES)])
    operands = details_of(text.replace("MARK", 'say "hello" twice').encode()).operands
    assert [shapes is None for shapes, *_ in spelled(operands)] == [True, False]


# --- memory and counters ------------------------------------------------------------------------------------------

ALLOCATION = {"ph": "i", "cat": "cpu_instant_event", "name": "[memory]", "pid": 10, "tid": 11, "ts": 7.5}
SAID = {"Bytes": 512, "Addr": 140_000, "Device Type": 1, "Device Id": 2, "Total Allocated": 600,
        "Total Reserved": 1024}  # fmt: skip


def test_allocations() -> None:
    """GIVEN an allocation, a free as traces of 2021 have it, on a thread without ranges, and another instant WHEN asked
    THEN the two, as they are"""
    free = {"ph": "i", "name": "[memory]", "pid": 10, "tid": 99, "ts": 9}
    memory = details(
        host_event(0),
        ALLOCATION | {"args": SAID},
        free | {"args": {"Bytes": -512, "Device Type": 0, "Device Id": -1}},
        free | {"name": "Record Window End", "args": SAID},
    ).memory
    assert memory.thread.tolist() == [0, MISSING]
    assert memory.time.tolist() == [7500, 9000]
    assert (memory.device_type.tolist(), memory.device.tolist()) == ([1, 0], [2, MISSING])
    assert (memory.bytes.tolist(), memory.address.tolist()) == ([512, -512], [140_000, MISSING])
    assert (memory.allocated.tolist(), memory.reserved.tolist()) == ([600, MISSING], [1024, MISSING])
    assert (memory.thread.dtype, memory.device.dtype, memory.bytes.dtype) == (np.int32, np.int32, np.int64)


@pytest.mark.parametrize(
    "changes",
    [{"ts": "x"}, {"args": None}, {"args": []}, {"args": {}}]
    + [{"args": SAID | {"Bytes": value}} for value in (None, "512", 1.5, True, 1 << 63, [1])],
)
def test_an_allocation_without_a_time_or_a_size_is_none(changes: dict[str, Any]) -> None:
    assert len(details(host_event(0), ALLOCATION | {"args": SAID} | changes).memory) == 0


@pytest.mark.parametrize("value", [None, "7", 1.5, True, 1 << 63])
def test_an_address_that_is_none(value: Any) -> None:
    memory = details(host_event(0), ALLOCATION | {"args": SAID | {"Addr": value, "Device Id": value}}).memory
    assert (memory.address.tolist(), memory.device.tolist()) == ([MISSING], [MISSING])


def test_counters() -> None:
    """GIVEN counters of one and of two values, and values that are none WHEN asked THEN a row for each number"""
    power = {"ph": "C", "name": "power", "pid": 3, "ts": 5}
    counters = details(
        host_event(0),
        power | {"args": {"W": 250.5}},
        power | {"name": "memory", "ts": 6, "args": {"used": 7, "free": 9, "x": "text", "y": None, "z": True}},
        power | {"args": {"W": 1 << 70}},
        power | {"ts": "x", "args": {"W": 1}},
        power | {"args": [1]},
    ).counters
    assert [counters.names[code] for code in counters.name] == ["power", "memory", "memory"]
    assert [counters.names[code] for code in counters.series] == ["W", "used", "free"]
    assert (counters.time.tolist(), counters.value.tolist()) == ([5000, 6000, 6000], [250.5, 7.0, 9.0])
    assert (counters.process.tolist(), counters.value.dtype, len(counters)) == ([3, 3, 3], np.float64, 3)


def test_they_stay_counted_as_events_of_no_column() -> None:
    text = json.dumps([host_event(0), ALLOCATION | {"args": SAID}, {"ph": "i", "name": "[memory]", "ts": 1},
                       {"ph": "C", "name": "power", "ts": 1}]).encode()  # fmt: skip
    assert read_chrome_json([text], "t").facts.ignored == {"cpu_instant_event": 1, "ph i": 1, "ph C": 1}


# --- real traces --------------------------------------------------------------------------------------------------

HOST = ("cpu_op", "operator", "user_annotation", "python_function", "cuda_runtime", "cuda_driver", "runtime",
        "hip_runtime", "mtia_runtime")  # fmt: skip
DEVICE = ("kernel", "gpu_memcpy", "gpu_memset", "memcpy", "memset", "mtia_ccp_events")
TRUTH = sorted(path.name for path in CORPUS.glob("*.json.gz"))


def tuples(value: Any) -> Any:
    return tuple(map(tuples, value)) if isinstance(value, list) else value


@pytest.mark.corpus
@pytest.mark.skipif(not TRUTH, reason="PERFKIT_TRACE_CORPUS names no folder of traces")
@pytest.mark.parametrize("name", TRUTH)
def test_every_row_is_what_the_file_says(name: str) -> None:
    """GIVEN a real trace WHEN asked THEN every row has what json.load finds in that event's args"""
    found = read_details(load(CORPUS / name))
    document = json.loads(gzip.decompress((CORPUS / name).read_bytes()).decode("utf-8", "replace"), strict=False)
    timed = [event for event in document["traceEvents"] if event.get("ph") == "X"]
    host, device = ([event for event in timed if event["cat"].lower() in chosen] for chosen in (HOST, DEVICE))
    said = [event.get("args", {}) for event in host]
    assert spelled(found.operands) == [
        (
            tuples(args.get("Input Dims", args.get("Input dims"))),
            *(tuples(args.get(key)) for key in ("Input type", "Input Strides", "Concrete Inputs")),
        )
        for args in said
    ]
    nothing = dict.fromkeys(LAUNCH, MISSING) | dict.fromkeys(("grid", "block"), [MISSING] * 3)
    expected = [nothing | event.get("args", {}) for event in device]
    assert launches(found.geometry) == [tuple(args[key] for key in LAUNCH) for args in expected]
    allocations = [event for event in document["traceEvents"] if event.get("ph") == "i" and event["name"] == "[memory]"]
    args = [event["args"] for event in allocations]
    assert found.memory.bytes.tolist() == [arg["Bytes"] for arg in args]
    assert found.memory.address.tolist() == [arg.get("Addr", MISSING) for arg in args]
    assert found.memory.allocated.tolist() == [arg.get("Total Allocated", MISSING) for arg in args]
