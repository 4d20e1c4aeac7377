"""Documents that hand-made and random events are written to, in every style, and the columns that come out."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfkit.errors import UsageError
from perfkit.trace.chrome.document import CHUNK
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.columns import MISSING, DeviceKind, HostKind, Thread, Trace
from perfkit.trace.recording import Device, Recording, Tool, Versions
from tests.trace.chrome_reference import equal, parsed, rows, trace_rows
from tests.trace.trace_damage import device_event, host_event, small_trace


def read(document: Any, *, chunk: int = CHUNK, piece: int = 1 << 20) -> Trace:
    """Read an object (written as JSON) or a ready text."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_chrome_json((text[at : at + piece] for at in range(0, len(text), piece)), "t.json", chunk=chunk)


def events(*listed: dict[str, Any], **kwargs: Any) -> Trace:
    return read({"traceEvents": list(listed)}, **kwargs)


# What an event becomes


def test_a_kernel_has_every_column() -> None:
    args: dict[str, Any] = {
        "device": 0,
        "stream": 0,
        "correlation": 9,
        "External id": 4,
        "graph node id": 12,
        "bytes": 64,
    }
    args["annotation"] = "layers.3"
    trace = events(device_event(0, ts=7.25, dur=0.5, args=args))
    (row,) = trace_rows(trace)["device"]
    assert row == {
        "name": "void k<0>(int)", "kind": DeviceKind.KERNEL, "device": 0, "stream": 0, "start": 7250, "end": 7750,
        "correlation": 9, "external_id": 4, "process": MISSING, "bytes": 64, "graph_node": 12,
        "annotation": "layers.3",
    }  # fmt: skip


def test_what_a_kernel_lacks_is_missing_and_its_place_is_taken_from_pid_and_tid() -> None:
    (row,) = trace_rows(events(device_event(0, pid=2, tid=5, args={})))["device"]
    assert (row["device"], row["stream"]) == (2, 5)
    assert {row[key] for key in ("correlation", "external_id", "bytes", "graph_node")} == {MISSING}


@pytest.mark.parametrize(("value", "device"), [(0, 0), (7, 7), ("3", 3), (-5, -1), (2**31, -1), (2**63, -1)])
def test_device_numbers(value: int | str, device: int) -> None:
    assert events(device_event(0, pid=MISSING, args={"device": value})).device.device.tolist() == [device]


def test_graph_node_zero_means_no_graph() -> None:
    assert events(device_event(0, args={"graph node id": 0})).device.graph_node[0] == MISSING


def test_an_op_has_its_autograd_columns() -> None:
    trace = events(
        host_event(0, args={"External id": 8, "Sequence number": 3, "Fwd thread id": 2, "Ev Idx": 40}),
        host_event(1, args={"Sequence number": 4}),
        host_event(2, args={"Fwd thread id": 1}),
        host_event(3, args={"Sequence number": -1, "correlation": 5}),
    )
    host = trace.host
    assert host.sequence.tolist() == [3, 4, MISSING, MISSING]
    assert host.forward_thread.tolist() == [2, 0, MISSING, MISSING]
    assert host.order.tolist() == [40, 1, 2, 3]
    assert host.external_id.tolist() == [8, MISSING, MISSING, MISSING]
    assert host.correlation.tolist() == [MISSING] * 4


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("cpu_op", HostKind.OP),
        ("Operator", HostKind.OP),
        ("user_annotation", HostKind.ANNOTATION),
        ("python_function", HostKind.PYTHON),
        ("cuda_runtime", HostKind.RUNTIME),
        ("cuda_driver", HostKind.RUNTIME),
        ("Runtime", HostKind.RUNTIME),
        ("xpu_runtime", HostKind.RUNTIME),
        ("hip_runtime", HostKind.RUNTIME),
    ],
)
def test_host_categories(category: str, kind: HostKind) -> None:
    host = events(host_event(0, cat=category, args={"correlation": 7})).host
    assert host.kind.tolist() == [kind]
    assert host.correlation.tolist() == [7 if kind is HostKind.RUNTIME else MISSING]


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("kernel", DeviceKind.KERNEL),
        ("Kernel", DeviceKind.KERNEL),
        ("gpu_memcpy", DeviceKind.MEMCPY),
        ("Memcpy", DeviceKind.MEMCPY),
        ("gpu_memset", DeviceKind.MEMSET),
        ("Memset", DeviceKind.MEMSET),
    ],
)
def test_device_categories(category: str, kind: DeviceKind) -> None:
    assert events(device_event(0, cat=category)).device.kind.tolist() == [kind]


def test_what_no_column_holds_is_counted_by_category() -> None:
    trace = events(
        host_event(0),
        host_event(0, cat="gpu_user_annotation"),
        host_event(0, cat="overhead"),
        host_event(0, cat="overhead"),
        {"ph": "s", "cat": "ac2g", "id": 1, "pid": 1, "tid": 1, "ts": 1},
        {"ph": "i", "name": "Record Window End", "s": "g", "ts": 5},
        host_event(0, ph="B"),
        host_event(0, ph="E"),
        {"ph": "M", "name": "process_labels", "args": {"labels": "CPU"}},
    )
    assert trace.facts.ignored == {
        "gpu_user_annotation": 1, "overhead": 2, "ac2g": 1, "ph i": 1, "begin and end events (ph B, E)": 2,
    }  # fmt: skip
    assert trace.facts.events == 4
    assert len(trace.host) == 1


def test_odd_phases_do_not_shift_the_others() -> None:
    for odd in ("", "XX", "ü", "\u2028", "\0"):
        pair = {"": "XX", "XX": ""}.get(odd, "B")
        trace = events(
            host_event(0, name="a", ph=odd), host_event(1, name="b"), host_event(2, ph=pair), device_event(3)
        )
        assert [trace.names[code] for code in trace.host.name] == ["b"]
        assert len(trace.device) == 1
        assert sum(trace.facts.ignored.values()) == 2


def test_more_categories_than_anyone_has() -> None:
    trace = events(*(host_event(i, cat=f"c{i}") for i in range(400)), device_event(1, cat="kernel"), host_event(0))
    assert trace.facts.events == 402
    assert len(trace.host) == len(trace.device) == 1
    assert sum(trace.facts.ignored.values()) == 400


def test_flows() -> None:
    trace = events(
        host_event(0),
        {"ph": "s", "cat": "fwdbwd", "id": 6, "pid": 10, "tid": 11, "ts": 1.5},
        {"ph": "f", "cat": "forward_backward", "id": 6, "pid": 10, "tid": 99, "ts": 2},
    )
    assert trace_rows(trace)["flows"] == [
        {"flow": 6, "is_start": True, "thread": (10, 11), "time": 1500},
        {"flow": 6, "is_start": False, "thread": (10, 99), "time": 2000},
    ]


def test_threads_are_those_of_the_host_and_have_names() -> None:
    trace = events(
        {"ph": "M", "name": "process_name", "pid": 10, "tid": 0, "args": {"name": "python"}},
        {"ph": "M", "name": "thread_name", "pid": 10, "tid": 11, "args": {"name": "main"}},
        host_event(0, pid=10, tid=11),
        host_event(1, pid="10", tid="12"),
        host_event(2, pid=10, tid="gloo worker"),
        host_event(3, pid=20, tid="gloo worker"),
        device_event(0, pid=0, tid=7),
    )
    assert trace.threads[:2] == (Thread(10, 11, "main"), Thread(10, 12, "python"))
    assert [(t.pid, t.name) for t in trace.threads[2:]] == [(10, "python"), (20, "gloo worker")]
    assert trace.threads[2].tid == trace.threads[3].tid < MISSING
    assert trace.host.thread.tolist() == [0, 1, 2, 3]


def test_times_are_exact_where_float64_is_not() -> None:
    trace = read(b'[{"ph":"X","cat":"cpu_op","name":"a","pid":1,"tid":1,"ts":1712195495519689.047,"dur":0.001}]')
    assert (trace.host.start[0], trace.host.end[0]) == (1712195495519689047, 1712195495519689048)


@pytest.mark.parametrize(
    ("listed", "resolution"),
    [
        ([{"ts": 5, "dur": 3}, {"ts": "7.000", "dur": 2.0}], 1000),
        ([{"ts": 5, "dur": 3}, {"ts": 7, "dur": 2.5}], 1),
        ([{"ts": 5.001, "dur": 3}], 1),
    ],
)
def test_resolution(listed: list[dict[str, Any]], resolution: int) -> None:
    assert events(*(host_event(0, **times) for times in listed)).facts.resolution_ns == resolution


# The document


def test_the_rest_of_the_document_is_what_it_says_of_itself() -> None:
    trace = read(small_trace())
    assert trace.facts.base_time_ns == 1_700_000_000_000_000_000
    devices = (Device(0, "GPU", 1 << 34),)
    assert trace.recording == Recording(Tool.KINETO, Versions(schema="1"), devices, rank=3, world_size=8)


def test_an_overlong_member_is_left_out() -> None:
    trace = read({"INFO": ["x" * 1000] * 5000, "traceEvents": [host_event(0)], "schemaVersion": 1}, piece=10_000)
    assert trace.recording == Recording(Tool.KINETO, Versions(schema="1"))
    assert trace.facts.repairs == {"overlong top-level member INFO left out": 1}


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 1, 0]])
@pytest.mark.parametrize("chunk", [1, 50, CHUNK])
def test_the_order_of_the_members_does_not_matter(order: list[int], chunk: int) -> None:
    listed = [host_event(0), device_event(1), host_event(2)]
    members = [
        ("traceEvents", listed),
        ("deviceProperties", [{"id": 0, "name": "A"}, {"name": "B", "id": 1}]),
        ("other", {"traceEvents": [{"ph": "X"}, {"ph": "X"}], "text": ']}, {"ph": 1}'}),
    ]
    trace = read(dict(members[i] for i in order), chunk=chunk, piece=7)
    assert trace_rows(trace)["host"] == rows(listed)["host"]
    assert [device.name for device in trace.recording.devices] == ["A", "B"]
    assert trace.facts.truncated_at is None
    assert trace.facts.repairs == {}


@pytest.mark.parametrize("end", ["]", "", ",", ",\n]", " \n"])
def test_a_bare_array_is_a_document_and_its_bracket_optional(end: str) -> None:
    listed = [host_event(0), device_event(1)]
    text = json.dumps(listed)[:-1] + end
    for chunk in (3, CHUNK):
        trace = read(text.encode(), chunk=chunk, piece=5)
        assert trace_rows(trace)["device"] == rows(listed)["device"]
        assert len(trace.host) == 1
        assert trace.facts.truncated_at is None


def test_a_byte_order_mark_is_stepped_over() -> None:
    assert len(read(b"\xef\xbb\xbf" + small_trace()).host) == 40


@pytest.mark.parametrize("chunk", [1, 60, CHUNK])
def test_text_that_looks_like_the_end_of_an_event_is_text(chunk: int) -> None:
    tricky = ['}, {"ph": "X"', "}]", '"}],"', "\\", '\\"},{"name":"x","args":{', "}] }", ']},{"cat":1']
    listed = [
        host_event(i, name=name, args={name: name, "nested": [{"ph": 1}, {"ph": 2}]}) for i, name in enumerate(tricky)
    ]
    trace = events(*listed, chunk=chunk, piece=11)
    assert [trace.names[code] for code in trace.host.name] == tricky
    assert trace.facts.repairs == {}


def _names() -> st.SearchStrategy[str]:
    tricky = st.sampled_from(
        ['}, {"ph": "X", ', "}]", "\\", '"', "", "a\nb", "ü", "\u2028", "😀", "void k<int>(float*)"]
    )
    return st.one_of(tricky, st.text(st.characters(exclude_categories=["Cs"]), max_size=12))


_TIMES = st.one_of(
    st.integers(0, 10**6),
    st.integers(0, 2 * 10**18).map(lambda ns: Decimal(ns) / 1000),
    st.integers(0, 10**9).map(lambda ns: Decimal(ns) / 100),
)
_DURATIONS = _TIMES.filter(lambda us: us < 3 * 10**14)
"""Below ten years (`plausible`): what lasts longer has no row."""
_IDS = st.integers(0, 2**40)


@st.composite
def _event(draw: st.DrawFn) -> dict[str, Any]:
    category = draw(st.sampled_from(["cpu_op", "user_annotation", "python_function", "cuda_runtime", "kernel",
                                     "gpu_memcpy", "gpu_memset", "fwdbwd", "ac2g", "overhead"]))  # fmt: skip
    event: dict[str, Any] = {
        "ph": draw(st.sampled_from("sf")) if category in ("fwdbwd", "ac2g") else "X",
        "cat": category,
    }
    event |= {"name": draw(_names()), "pid": draw(st.integers(0, 3)), "tid": draw(_IDS), "ts": draw(_TIMES)}
    if event["ph"] == "X":
        event["dur"] = draw(_DURATIONS)
    else:
        event["id"] = draw(_IDS)
    keys = ["External id", "correlation", "Sequence number", "Fwd thread id", "Ev Idx", "device", "stream", "bytes"]
    args = draw(st.dictionaries(st.sampled_from(keys), st.integers(0, 2**31 - 1)))
    args |= draw(st.dictionaries(_names(), st.one_of(_names(), st.lists(st.integers(), max_size=3)), max_size=2))
    if draw(st.booleans()):
        event["args"] = args
    return {key: event[key] for key in draw(st.permutations(sorted(event)))}


def _written(document: Any, **style: Any) -> bytes:
    """json.dumps with exact decimals: each is written as a marked string, whose quotes then go."""

    def marked(value: object) -> str:
        assert isinstance(value, Decimal)
        return f"<decimal {value:f}>"

    text = json.dumps(document, default=marked, **style)
    return re.sub('"<decimal ([0-9.]+)>"', r"\1", text).encode()


_STYLES = [
    {},
    {"indent": 1},
    {"indent": 4},
    {"separators": (",", ":")},
    {"separators": (",\n", " : ")},
    {"ensure_ascii": False},
    {"sort_keys": True, "indent": "\t"},
]


@settings(max_examples=120)
@given(st.lists(_event(), max_size=8), st.sampled_from(_STYLES), st.integers(1, 400), st.booleans(), st.integers(0, 2))
def test_any_style_and_chunk_size_gives_the_columns_of_the_slow_reading(
    listed: list[dict[str, Any]], style: dict[str, Any], chunk: int, bare: bool, place: int
) -> None:
    listed = [host_event(0), *listed]
    members = [("schemaVersion", 1), ("z", {"b": [{}, {"ph": 1}]})]
    members.insert(place, ("traceEvents", listed))
    text = _written(listed if bare else dict(members), **style)
    document = parsed(text)
    trace = read(text, chunk=chunk, piece=max(1, chunk // 3))
    assert trace_rows(trace) == rows(document if bare else document["traceEvents"])
    assert trace.facts.repairs == {}
    assert trace.facts.truncated_at is None
    assert equal(trace, read(text))


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"hello", "t.json is not a trace: it does not begin with { or [; pass a torch.profiler trace"),
        (b"\x7fELF\2\1", "is not a trace: it is binary data of no known kind"),
        (b" \n ", "contains only white space"),
        (b"{}", "is JSON without traceEvents"),
        (b'{"a": 1, "b": [{}]}', "is JSON without traceEvents"),
        (b'{"traceEvents": 3}', "is JSON without traceEvents"),
        (b'{"traceEvents": []}', "holds no events: the profiler recorded no step"),
        (b"[]", "holds no events"),
        (
            b'{"traceEvents": [{"ph": "X", "cat": "Trace", "name": "PyTorch Profiler (0)", "ts": 1, "dur": 2}]}',
            "holds nothing that was recorded: export it while a step of the profiler's schedule is active",
        ),
        (b'{"traceEvents": [', "is cut off at byte 17, before any whole event"),
        (b'{"deviceProp', "is cut off at byte"),
        (b'{"traceEvents": [{"ph":"X","cat":"overhead","ts":1,"dur":1}]}', "only 1 overhead: record with"),
        (b'{"traceEvents": [1, 2, "x"]}', "holds no events"),
        (
            b"[" + b",".join(b'{"ph":"X","cat":"%c","ts":1,"dur":1}' % cat for cat in b"edcba") + b"]",
            "only 1 a, 1 b, 1 c, 1 d: record with",
        ),
        (b'[{"ph":"X","cat":"a\\nb","ts":1,"dur":1}]', r"only 1 a\nb: record with"),
        (b"[" * 100_000, "cut off"),
        (b'{"a":' * 100_000, "cut off"),
    ],
)
@pytest.mark.parametrize("chunk", [1, CHUNK])
def test_what_is_no_trace_is_refused_in_one_line(text: bytes, message: str, chunk: int) -> None:
    with pytest.raises(UsageError) as caught:
        read(text, chunk=chunk)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("base", "kept"), [((1 << 63) - 1, (1 << 63) - 1), (1 << 63, None), ("5", None), (True, None)])
def test_a_base_time_is_a_number_that_a_column_can_hold(base: object, kept: int | None) -> None:
    event = {"ph": "X", "cat": "cpu_op", "name": "a", "ts": 1, "dur": 1}
    text = json.dumps({"baseTimeNanoseconds": base, "traceEvents": [event]}).encode()
    assert read(text).facts.base_time_ns == kept
