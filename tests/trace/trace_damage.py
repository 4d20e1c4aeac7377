"""Small traces and ways to damage them, for fuzzing: shared by test_fuzz.py and scripts/fuzz-reader."""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

TOKENS = [
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\n",
        b"\0",
        b"\xff",
        b"\xc3",
        b" " * 5000,
        b"x" * 5000,
    ),
    *(
        b"NaN",
        b"-nan",
        b"N/A",
        b"Infinity",
        b"null",
        b"true",
        b"1e999",
        b"-1",
        b"9" * 23,
        b"0.0001",
        b"1.5e3",
    ),
    *(
        b"\\u12",
        b"\\ud800",
        b'},{"ph":"X"',
        b'"traceEvents": [',
        b"]}",
        b'"ts":',
        b'"args":{',
        b'"cat":"kernel"',
    ),
    *(b"[" * 3000, b'{"a":' * 3000),
]


def host_event(index: int, **changes: Any) -> dict[str, Any]:
    """An operator; `changes` replace its members."""
    return {
        "ph": "X", "cat": "cpu_op", "name": f"aten::op_{index % 5}", "pid": 10, "tid": 11 + index % 2,
        "ts": 1000 + index, "dur": 5.125, "args": {"External id": index, "Ev Idx": index},
    } | changes  # fmt: skip


def device_event(index: int, **changes: Any) -> dict[str, Any]:
    """A kernel; `changes` replace its members."""
    return {
        "ph": "X", "cat": "kernel", "name": f"void k<{index % 3}>(int)", "pid": 0, "tid": 7,
        "ts": 2000 + index, "dur": 1.5, "args": {"device": 0, "stream": 7, "correlation": index},
    } | changes  # fmt: skip


def small_trace(events: int = 40) -> bytes:
    """A document with a bit of everything, as Kineto lays it out."""
    listed: list[dict[str, Any]] = []
    for index in range(events):
        listed += [
            host_event(index),
            device_event(index),
            {
                "ph": "s",
                "cat": "fwdbwd",
                "name": "fwdbwd",
                "id": index,
                "pid": 10,
                "tid": 11,
                "ts": 1000 + index,
            },
            {
                "ph": "f",
                "cat": "ac2g",
                "name": "ac2g",
                "id": index,
                "pid": 0,
                "tid": 7,
                "ts": 2000,
                "bp": "e",
            },
        ]
    listed.append({"ph": "M", "name": "thread_name", "pid": 10, "tid": 11, "ts": 0, "args": {"name": "main"}})
    document = {
        "schemaVersion": 1,
        "deviceProperties": [{"id": 0, "name": "GPU", "totalGlobalMem": 1 << 34, "warpSize": 32}],
        "distributedInfo": {"rank": 3, "world_size": 8},
        "traceEvents": listed,
        "traceName": "small.json",
        "baseTimeNanoseconds": 1700000000000000000,
    }
    return json.dumps(document, indent=1).encode()


def damaged(data: bytes, draw: random.Random) -> bytes:
    """One to six random edits."""
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(data) + 1)
        to = min(len(data), at + draw.choice((0, 1, 1, 2, 10, 300)))
        edit = draw.randrange(7)
        if edit == 0:
            data = data[:at]
        elif edit == 1:
            data = data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
        elif edit == 2:
            data = data[:at] + draw.choice(TOKENS) + data[to:]
        elif edit == 3:
            data = data[:at] + data[to:]
        elif edit == 4:
            data = data[:to] + data[at:to] + data[to:]
        elif edit == 5:
            data = data[:at] + draw.randbytes(draw.randint(1, 20)) + data[to:]
        else:
            other = draw.randrange(len(data) + 1)
            data = data[:at] + data[other : other + 200] + data[to:]
    return data


def packed(data: bytes, draw: random.Random) -> bytes:
    """The text as it is, or in gzip (whole, in members, damaged) or in a zip archive."""
    ways: list[Callable[[], bytes]] = [
        lambda: data,
        lambda: gzip.compress(data, 1),
        lambda: gzip.compress(data[:999], 1) + gzip.compress(data[999:], 1),
        lambda: damaged(gzip.compress(data, 1), draw),
        lambda: damaged(_zipped(data), draw),
    ]
    return draw.choice(ways)()


def _zipped(data: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("trace.json", data)
    return target.getvalue()
