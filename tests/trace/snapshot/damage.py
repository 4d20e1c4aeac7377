"""Small snapshots and ways to damage them, for fuzzing: shared by test_fuzz.py and scripts/fuzz-snapshot."""

from __future__ import annotations

import pickle
import random
from typing import Any

from tests.snapshots import block, event, segment, snapshot

CANARY = "canary"
"""The file that an attack would make in the working folder."""
OPCODES = b"().0212FNKMJLGISTUVXBCR]}atbcdeghijlopqrsuPQ" + bytes(range(0x80, 0x99))
"""Every opcode of pickle: random bytes seldom mean anything."""
PIECES = (
    b"cos\nsystem\nX\x0c\0\0\0touch canary\x85R",
    b"\x8c\x02os\x8c\x06system\x93\x8c\x0ctouch canary\x85R",
    b"(S'touch canary'\nios\nsystem\n",
    b"(cos\nsystem\nS'touch canary'\no",
    *(b"Ptouch canary\n", b"\x8c\x06canaryQ", b"2Q0", b"\x82\x01", b"}b", b"]" * 5000, b"(" * 5000),
    *(b")" + b"2\x86" * 50, b"}" + b")" + b"2\x86" * 50 + b"Ns", b"\x8e\xff\xff\xff\xff\0\0\0\0", b"r\xff\xff\xff\x7f"),
    *(
        b"\x8d\0\0\0\0\1\0\0\0",
        b"\x95\xff\xff\xff\xff\0\0\0\0",
        b"\x8b\xff\xff\xff\x7f",
        b"\x96\0\0\0\0\0\1\0\0",
        b"\x97",
    ),
)
"""Calls of os.system by each way there is, and what would take all memory or time."""
VALUES: tuple[Any, ...] = (None, -1, 1 << 63, 1 << 62, 1.5, "x", "\ud800", [], {}, (0, 0), True, [[[]]], {"a": 1})


def small(draw: random.Random) -> dict[str, Any]:
    """A snapshot of some events, sometimes with a value or a member that no writer would write."""
    frames = [{"name": f"f{n}", "filename": "a.py", "line": n} for n in range(4)]
    actions = ("alloc", "free_requested", "free_completed", "segment_alloc", "oom", "snapshot")
    events = [
        event(draw.choice(actions), 512 * n, n, time=n, frames=draw.sample(frames, 3), user_metadata=f"m{n % 3}")
        for n in range(draw.randint(0, 20))
    ]
    blocks = [block(512 * n, 512, n, frames=frames[:2]) for n in range(3)]
    whole = snapshot(
        events,
        [segment(0, blocks), segment(1 << 20, [])],
        external_annotations=[{"stage": "START", "name": "a", "device": 0, "time_us": 1}],
        allocator_settings={"expandable_segments": True},
    )
    if draw.random() < 0.4:
        places = [*events, *blocks, *frames, *whole["segments"], *whole["external_annotations"], whole]
        place = draw.choice(places)
        name = draw.choice(list(place))
        if draw.random() < 0.3:
            del place[name]
        else:
            place[name] = draw.choice(VALUES)
    return whole


def damaged(draw: random.Random) -> bytes:
    """A small snapshot of any protocol, in most cases with bytes that are changed, left out, added or repeated."""
    data = bytearray(pickle.dumps(small(draw), draw.choice((2, 3, 4, 5))))
    for _ in range(draw.choice((0, 1, 1, 2, 5, 20))):
        at, length = draw.randrange(2, len(data) + 1), draw.choice((1, 1, 2, 8, 64))
        kind = draw.randrange(7)
        if kind == 0:
            data[at : at + length] = draw.randbytes(length)
        elif kind == 1:
            data[at : at + length] = bytes(draw.choices(OPCODES, k=length))
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length] * draw.choice((1, 2, 100))
        elif kind == 4:
            data[at:at] = draw.choice(PIECES)
        elif kind == 5:
            other = draw.randrange(2, len(data) + 1)
            data[at : at + length] = data[other : other + length]
        elif draw.random() < 0.3:
            del data[at:]
    return bytes(data)
