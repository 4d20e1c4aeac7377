"""What profilers really write, and what becomes of it: nothing else is lost, and each repair is counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perfkit.errors import UsageError
from perfkit.trace.chrome.columns import ColumnBuilder
from perfkit.trace.chrome.document import CHUNK, Document
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.chrome.window import Window
from perfkit.trace.columns import MISSING, Trace
from tests.trace.chrome_reference import rows, trace_rows
from tests.trace.trace_damage import device_event, host_event, small_trace

MARK = "@@@"
BEFORE = [host_event(i) for i in range(3)]
AFTER = [device_event(i) for i in range(3)]


def read(text: bytes, chunk: int = CHUNK) -> Trace:
    return read_chrome_json((text[at : at + 64] for at in range(0, len(text), 64)), "t.json", chunk=chunk)


def members(text: bytes, chunk: int = CHUNK) -> dict[str, Any]:
    """What a document has beside its events."""
    pieces = (text[at : at + 64] for at in range(0, len(text), 64))
    document = Document(Window(pieces, chunk), "t.json", ColumnBuilder())
    document.read()
    return document.members


def around(event: bytes, indent: int | None = None) -> bytes:
    """A document with `event`, written as it is, between sound ones, and a sound member behind them."""
    document = {"traceEvents": [*BEFORE, MARK, *AFTER], "schemaVersion": 7}
    return json.dumps(document, indent=indent).encode().replace(f'"{MARK}"'.encode(), event)


def check_neighbours(trace: Trace) -> None:
    found = trace_rows(trace)
    assert found["host"][:3] == rows(BEFORE)["host"]
    assert found["device"] == rows(AFTER)["device"]
    assert trace.recording.versions.schema == "7"
    assert trace.facts.truncated_at is None


OP = b'{"ph":"X","cat":"cpu_op","name":"%s","pid":10,"tid":11,"ts":500,"dur":2%s}'


@pytest.mark.parametrize("chunk", [1, 150, CHUNK])
@pytest.mark.parametrize(
    ("name", "expected", "repair"),
    [
        (rb"C:\path\op", r"C:\path\op", "unescaped backslash"),
        (rb"half \u12 escape", r"half \u12 escape", "unescaped backslash"),
        (b"two\nlines\tand a tab", "two\nlines\tand a tab", "raw control character in a string"),
        (b"caf\xe9 and \xc3\xa9", "caf\ufffd and é", "bytes that are not UTF-8"),
        (rb"lone \ud83d half", "lone \ufffd half", "lone surrogate"),
        (b'say "hello" twice', 'say "hello" twice', "raw quotes in an event: its members were found by pattern"),
        (b'f("a", "b")', 'f("a", "b")', "raw quotes in an event: its members were found by pattern"),
    ],
)
def test_a_name_that_needs_mending(name: bytes, expected: str, repair: str, chunk: int) -> None:
    trace = read(around(OP % (name, b"")), chunk)
    check_neighbours(trace)
    assert trace.names[trace.host.name[3]] == expected
    assert trace.host.start[3] == 500_000
    assert list(trace.facts.repairs) == [repair]


@pytest.mark.parametrize("chunk", [1, 150, CHUNK])
@pytest.mark.parametrize(
    ("members", "repair"),
    [
        (b',"args":{"bandwidth":NaN}', "bare word (NaN, N/A, ...) read as null"),
        (b',"args":{"a":-nan,"b":Infinity,"c":-Infinity,"d":N/A,"e":inf}', "bare word (NaN, N/A, ...) read as null"),
        (b',"args":{"a":007,"b":1.,"c":0x1f,"d":None}', "bare word (NaN, N/A, ...) read as null"),
        (b',"args":{"a":1,},', "stray comma"),
        (b',"args":{"a":[1,2,],"b":,"c":}', "stray comma"),
        (b',"args":{"a":,"b":}', "missing value read as null"),
        (b',"args":{"text":"\x01 \\x"}', "raw control character in a string"),
        (b',\0"args":{}', "control character between tokens"),
    ],
)
def test_members_that_need_mending(members: bytes, repair: str, chunk: int) -> None:
    trace = read(around(OP % (b"op", members)), chunk)
    check_neighbours(trace)
    assert trace_rows(trace)["host"][3]["name"] == "op"
    assert repair in trace.facts.repairs


def test_identifiers_survive_the_mending_of_their_neighbours() -> None:
    kernel = device_event(7, name=MARK, args={"device": 1, "stream": 3, "correlation": 77, "External id": 5, "x": MARK})
    text = around(json.dumps(kernel).encode())
    for name, value in ((b'k<"a">', b'"'), (b"k<\\a>", b"NaN"), (b"k\n", b"\\")):
        damaged = text.replace(MARK.encode(), name, 1).replace(MARK.encode(), value, 1)
        row = trace_rows(read(damaged))["device"][0]
        assert (row["device"], row["stream"], row["correlation"], row["external_id"]) == (1, 3, 77, 5)
        assert row["name"].encode() == name


@pytest.mark.parametrize("chunk", [1, 150, CHUNK])
@pytest.mark.parametrize(
    "event",
    [
        b'{"ph":"X","cat":"cpu_op" "name":}}}',
        b'{"ph":"X", "args": {"unclosed": [1, 2}',
        b"}{",
        b"12, null",
        b'{"ph":"X","args":' + b'{"a":' * 5000 + b"}" * 5001,
        b'{"ph":"X","args":{"deep":' + b"[" * 5000 + b"]" * 5000 + b"}}",
    ],
)
def test_an_event_beyond_repair_takes_no_other_with_it(event: bytes, chunk: int) -> None:
    trace = read(around(event), chunk)
    found = trace_rows(trace)
    assert found["host"][:3] == rows(BEFORE)["host"]
    assert found["device"][-2:] == rows(AFTER)["device"][-2:]
    assert sum(trace.facts.repairs.values()) >= 1


@pytest.mark.parametrize("comma", [b"", b",,", b", ,"])
def test_events_with_too_few_or_too_many_commas_between(comma: bytes) -> None:
    text = around(OP % (b"op", b""), indent=1)
    damaged = text.replace(b"},\n  {", b"}" + comma + b"\n  {")
    for chunk in (1, 100, CHUNK):
        trace = read(damaged, chunk)
        assert len(trace.host) == 4
        check_neighbours(trace)


@pytest.mark.parametrize(
    ("member", "value"),
    [("ts", '"x"'), ("ts", "null"), ("ts", "1e999"), ("ts", "{}"), ("dur", "null"), ("dur", '"?"'), ("dur", "9" * 40)],
)
def test_an_event_without_a_usable_time_is_counted(member: str, value: str) -> None:
    event = json.dumps(host_event(9) | {member: MARK}).replace(f'"{MARK}"', value)
    trace = read(around(event.encode()))
    check_neighbours(trace)
    assert len(trace.host) == 3
    assert trace.facts.ignored == {"cpu_op without a usable time": 1}
    assert trace.facts.events == 7


def test_an_event_without_ts_or_dur_is_counted() -> None:
    event = host_event(9)
    del event["dur"]
    kernel = device_event(9)
    del kernel["ts"]
    trace = read(around(json.dumps(event).encode() + b"," + json.dumps(kernel).encode()))
    check_neighbours(trace)
    assert trace.facts.ignored == {"cpu_op without a usable time": 1, "kernel without a usable time": 1}


def test_a_negative_duration_is_clamped_and_counted() -> None:
    trace = read(around(json.dumps(host_event(9, ts=5, dur=-3.5)).encode()))
    check_neighbours(trace)
    assert (trace.host.start[3], trace.host.end[3]) == (5000, 5000)
    assert trace.facts.negative_durations == 1


def test_negative_times_are_times() -> None:
    trace = read(around(json.dumps(host_event(9, ts=-0.5, dur=2)).encode()))
    assert (trace.host.start[3], trace.host.end[3]) == (-500, 1500)


@pytest.mark.parametrize(
    ("changes", "column", "value"),
    [
        ({"args": {"Sequence number": "12"}}, "sequence", 12),
        ({"args": {"Sequence number": -7}}, "sequence", MISSING),
        ({"args": {"Sequence number": "0x1F"}}, "sequence", 31),
        ({"args": {"Sequence number": 12.0}}, "sequence", 12),
        ({"args": {"Sequence number": 12.5}}, "sequence", MISSING),
        ({"args": {"Sequence number": "N/A"}}, "sequence", MISSING),
        ({"args": {"Sequence number": None}}, "sequence", MISSING),
        ({"args": {"Sequence number": [1]}}, "sequence", MISSING),
        ({"args": {"Sequence number": True}}, "sequence", MISSING),
        ({"args": {"Sequence number": 2**64 - 1}}, "sequence", MISSING),
        ({"args": {"Sequence number": 10**400}}, "sequence", MISSING),
        ({"args": None}, "sequence", MISSING),
        ({"args": [1, 2]}, "sequence", MISSING),
        ({"args": "text"}, "external_id", MISSING),
        ({"args": {"external id": 6}}, "external_id", 6),
        ({"dur": "2.5"}, "end", 3500),
        ({"ts": "1"}, "start", 1000),
        ({"ts": 1e3}, "start", 1000_000),
    ],
)
def test_values_of_an_unexpected_type(changes: dict[str, Any], column: str, value: int) -> None:
    event = host_event(9, ts=1, dur=1, args={}) | changes
    trace = read(around(json.dumps(event).encode()))
    check_neighbours(trace)
    assert getattr(trace.host, column)[3] == value
    assert trace.facts.repairs == {}


def test_a_name_that_is_no_text_is_spelled() -> None:
    trace = read(around(json.dumps(host_event(9, name=[1, "a"])).encode()))
    check_neighbours(trace)
    assert trace.names[trace.host.name[3]] == '[1, "a"]'


def test_an_unreadable_member_of_the_document_is_left_out_or_mended() -> None:
    text = b'{"a": N/A, "b": {"c": [1,2,], "d": "x\ty"}, "traceEvents": [%s], "e": 1}'
    assert members(text % json.dumps(host_event(1)).encode()) == {"a": None, "b": {"c": [1, 2], "d": "x\ty"}, "e": 1}
    deep = b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b', "traceEvents": [%s]}'
    assert members(deep % json.dumps(host_event(1)).encode()) == {}
    trace = read(deep % json.dumps(host_event(1)).encode())
    assert trace.facts.repairs == {"unreadable top-level member left out": 1}


@pytest.mark.parametrize("chunk", [1, CHUNK])
def test_the_last_event_needs_mending_and_looks_of_events_follow(chunk: int) -> None:
    other = {"other": [{"ph": 1}, {"ph": 2}, {"name": "}]"}], "x": "y"}
    text = around(OP % (b"op", b"")).replace(b'"schemaVersion": 7}', json.dumps(other).encode()[1:])
    text = text.replace(b'"correlation": 2}', b'"correlation": 2, "x": NaN}')
    trace = read(text, chunk)
    assert trace_rows(trace)["device"] == rows(AFTER)["device"]
    assert members(text, chunk) == other
    assert trace.facts.ignored == {}


def test_damage_in_front_of_the_events_is_stepped_over() -> None:
    trace = read(small_trace().replace(b'"name": "GPU"', b'"name": "GP"U"', 1))
    assert len(trace.host) == 40
    assert trace.facts.repairs == {"damaged text before the events left out": 1}
    assert trace.recording.versions.schema == "1"


def test_a_stray_bracket_does_not_end_the_events() -> None:
    for stray in (b"],", b"]},"):
        trace = read(
            around(OP % (b"op", b"")).replace(
                b'}, {"ph": "X", "cat": "kernel"', b"}" + stray + b'{"ph":"X","cat": "kernel"', 1
            )
        )
        assert len(trace.device) == 3
        assert trace.facts.repairs["stray bracket among the events"] == 1
        assert trace.recording.versions.schema == "7"
        assert trace.facts.truncated_at is None


@pytest.mark.parametrize("chunk", [1, 700, CHUNK])
@pytest.mark.parametrize("separator", [b",", b" ,\n "])
def test_a_cut_file_is_read_up_to_the_last_whole_event(separator: bytes, chunk: int) -> None:
    listed = [host_event(0), device_event(1), host_event(2, name='}, {"ph"'), host_event(3)]
    text, ends = b'{"schemaVersion": 1, "traceEvents": [', list[int]()
    for event in listed:
        text += (separator if ends else b"") + json.dumps(event).encode()
        ends.append(len(text))
    text += b'], "traceName": "x", "more": {"a": [1]}}'
    for cut in range(ends[0], len(text) + 1):
        trace = read(text[:cut], chunk)
        whole = sum(end <= cut for end in ends)
        assert trace_rows(trace)["host"] == rows(listed[:whole])["host"], cut
        assert trace_rows(trace)["device"] == rows(listed[:whole])["device"], cut
        assert trace.facts.repairs == {}
        if cut == len(text):
            assert trace.facts.truncated_at is None
        else:
            assert ends[whole - 1] <= (trace.facts.truncated_at or 0) <= cut
            assert text[: trace.facts.truncated_at].rstrip()[-1:] in b'}],"'
    for cut in (0, 1, 10, 30, 37, ends[0] - 1):
        with pytest.raises(UsageError):
            read(text[:cut], chunk)


@pytest.mark.parametrize("chunk", [1, 50, CHUNK])
@pytest.mark.parametrize(("tail", "schema"), [(b'], "schemaVersion": "x"}', "x"), (b"]}", "")])
@pytest.mark.parametrize(
    ("last", "kept"),
    [
        (b'{"ph":"X","cat":"cpu_op" "name":}', 1),
        (b'{"ph":"X","name":"a,"ts":1}', 1),
        (b'{"ph":"X", "args": {"unclosed": [1, 2}', 1),
        (OP % (b'say "hello" twice', b""), 2),
    ],
)
def test_a_last_event_that_is_damaged_hides_neither_the_end_nor_what_follows(
    last: bytes, kept: int, tail: bytes, schema: str, chunk: int
) -> None:
    trace = read(b'{"traceEvents": [' + json.dumps(host_event(0)).encode() + b", " + last + tail, chunk)
    assert (len(trace.host), trace.recording.versions.schema, trace.facts.truncated_at) == (kept, schema, None)
    assert sum(trace.facts.repairs.values()) == 1


@pytest.mark.parametrize(
    ("behind", "noted"), [(b"", 0), (b" \n", 0), (b"\0\0", 0), (b" x", 1), (b"{}", 1), (b', "a": 1', 1)]
)
def test_text_behind_the_document_is_noted_and_padding_is_not(behind: bytes, noted: int) -> None:
    trace = read(around(OP % (b"op", b"")) + behind)
    check_neighbours(trace)
    assert trace.facts.repairs == ({"text after the end of the JSON left out": 1} if noted else {})
