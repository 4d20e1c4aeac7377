"""Snapshots to columns, from files of every packing; and files that are none."""

from __future__ import annotations

import collections
import gzip
import os
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from perfkit.errors import UsageError
from perfkit.trace.columns import MISSING
from perfkit.trace.snapshot.columns import Action, Annotation, BlockState, Frame
from perfkit.trace.snapshot.interned import StackNumbers
from perfkit.trace.snapshot.reader import read
from tests.snapshots import INNER, USER, block, event, freed, segment, snapshot, written

CORPUS = Path(os.environ.get("PERFKIT_TRACE_CORPUS", "/nonexistent")) / "memory"

VALUE = snapshot(
    [
        event("alloc", 4096, 1000, time=5, frames=[INNER, USER], user_metadata="mine"),
        event("alloc", 8192, 24, time=6, frames=[USER], compile_context="0/1"),
        *freed(4096, 1000, time=9, frames=[INNER, USER]),
        {"action": "oom", "device_free": 77, "size": 5, "stream": 3, "time_us": 11, "frames": []},
        event("segment_alloc", 4096, 2 << 20, time=12),
        event("something new", 0, 0, time=13),
    ],
    [segment(4096, [block(4096, 4096, 1000, "inactive"), block(8192, 512, 24, frames=[USER])])],
    external_annotations=[
        {"stage": "START", "name": "step", "device": 0, "time_us": 4},
        {"stage": "START", "name": "open", "device": 0, "time_us": 6},
        {"stage": "END", "name": "step", "device": 0, "time_us": 8},
        {"stage": "END", "name": "began before", "device": 0, "time_us": 7},
        {"noted by": "other code", "device": 0, "time_us": 7},
    ],
    allocator_settings={"expandable_segments": False, "roundup_power2_divisions": {"1": 0}},
)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_everything_is_in_columns(protocol: int, tmp_path: Path):
    """GIVEN one event of each kind THEN columns, each frame and stack once, times in ns"""
    read_back = read(written(tmp_path / "s.pickle", VALUE, protocol))
    events = read_back.events
    assert events.action.tolist() == [
        Action.ALLOC, Action.ALLOC, Action.FREE_REQUESTED, Action.FREE_COMPLETED, Action.OOM, Action.SEGMENT_ALLOC,
        Action.OTHER,
    ]  # fmt: skip
    assert events.address.tolist() == [4096, 8192, 4096, 4096, 77, 4096, 0]
    assert events.size.tolist() == [1000, 24, 1000, 1000, 5, 2 << 20, 0]
    assert events.time.tolist() == [5_000, 6_000, 9_000, 9_000, 11_000, 12_000, 13_000]
    assert events.stream.tolist() == [0, 0, 0, 0, 3, 0, 0]
    assert events.device.tolist() == [0] * 7
    assert events.stack.tolist() == [0, 1, 0, 0, MISSING, MISSING, MISSING]
    assert [read_back.texts[code] for code in (events.metadata[0], events.compile_context[1])] == ["mine", "0/1"]
    assert set(events.metadata[1:].tolist()) == {MISSING}
    assert read_back.frames == (Frame("linear", "functional.py", 3), Frame("forward", "model.py", 12))
    assert [read_back.stacks.of(stack).tolist() for stack in range(2)] == [[0, 1], [1]]
    assert read_back.has_times
    assert read_back.blocks.address.tolist() == [4096, 8192]
    assert read_back.blocks.requested.tolist() == [1000, 24]
    assert read_back.blocks.state.tolist() == [BlockState.INACTIVE, BlockState.ACTIVE]
    assert read_back.blocks.stack.tolist() == [MISSING, 1]
    assert read_back.segments.total.tolist() == [4608]
    assert read_back.segments.is_large.tolist() == [1]
    assert read_back.annotations == (
        Annotation("step", 0, 4_000, 8_000),
        Annotation("began before", 0, 4_000, 7_000),
        Annotation("open", 0, 6_000, 13_000),
    )
    assert read_back.settings == {"expandable_segments": False}


def test_events_of_several_devices_keep_their_device(tmp_path: Path):
    """GIVEN traces of three devices, one of them empty THEN each event has its own"""
    value = {
        "segments": [],
        "device_traces": [[event("alloc", 1, 2)], [], [event("alloc", 3, 4), event("alloc", 5, 6)]],
    }
    assert read(written(tmp_path / "s.pickle", value)).events.device.tolist() == [0, 2, 2]


def test_old_layouts(tmp_path: Path):
    """GIVEN no times, no addresses of blocks and their frames in a history THEN they are filled in, or said missing"""
    old = {"size": 512, "state": "active_allocated", "history": [{"addr": 1, "real_size": 100, "frames": [USER]}]}
    value = snapshot(
        [{"action": "alloc", "addr": 1024, "size": 100, "stream": 0, "frames": []}],
        [{**segment(1024, []), "blocks": [old, {**old, "state": "active_pending_free"}]}],
    )
    read_back = read(written(tmp_path / "s.pickle", value))
    assert not read_back.has_times
    assert read_back.blocks.address.tolist() == [1024, 1536]
    assert read_back.blocks.stack.tolist() == [0, 0]
    assert read_back.blocks.state.tolist() == [BlockState.ACTIVE, BlockState.AWAITING_FREE]
    assert len(read(written(tmp_path / "l.pickle", value["segments"])).blocks) == 2


def test_packings(tmp_path: Path):
    """GIVEN the same snapshot in gzip and zip THEN the same columns; an archive of torch.save says what to do"""
    data = pickle.dumps(VALUE, 4)
    (tmp_path / "s.pickle.gz").write_bytes(gzip.compress(data))
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("s.pickle", data)
    for name in ("s.pickle.gz", "s.zip"):
        assert read(tmp_path / name).events.size.tolist() == [1000, 24, 1000, 1000, 5, 2 << 20, 0]
    with zipfile.ZipFile(tmp_path / "t.pt", "w") as archive:
        archive.writestr("t/data.pkl", data)
        archive.writestr("t/version", "3")
    with pytest.raises(UsageError, match=r"written by torch\.save, .* write a snapshot with pickle\.dump"):
        read(tmp_path / "t.pt")


def test_progress_is_told(tmp_path: Path):
    """GIVEN a file larger than what is read at a time THEN progress grows up to the whole"""
    told: list[tuple[int, int | None]] = []
    path = written(tmp_path / "s.pickle", snapshot([event("alloc", n, n, frames=[USER]) for n in range(9_000)]))
    read(path, lambda done, size: told.append((done, size)))
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1] == (path.stat().st_size, path.stat().st_size)


@pytest.mark.parametrize("shared", [False, True], ids=["own lists", "shared lists"])
def test_events_taken_while_the_rest_is_not_read_are_all_there(shared: bool, tmp_path: Path):
    """GIVEN more events than a pickle appends at a time, on two devices THEN each is there once, in its order"""
    stacks = [[INNER] * (n % 5) + [USER] for n in range(7)]
    events = [
        event("alloc", n, 3 * n, time=n, frames=stacks[n % 7]) | ({"frames": stacks[n % 7]} if shared else {})
        for n in range(5_003)
    ]
    path = written(tmp_path / "s.pickle", {"segments": [], "device_traces": [events[:2_001], events[2_001:]]})
    found = read(path)
    assert found.events.address.tolist() == list(range(5_003))
    assert found.events.size.tolist() == list(range(0, 15_009, 3))
    assert found.events.device.tolist() == [0] * 2_001 + [1] * 3_002
    lengths = [len(found.stacks.of(stack)) for stack in found.events.stack.tolist()]
    assert lengths == [n % 7 % 5 + 1 for n in range(5_003)]
    assert found.frames == (Frame("forward", "model.py", 12), Frame("linear", "functional.py", 3))
    assert len(found.stacks) == 5


def test_a_stack_without_its_event_says_that_entries_are_lost(tmp_path: Path):
    """GIVEN a block in use with a recorded stack WHEN there is no alloc at its address THEN entries are lost"""
    seen, unseen = event("alloc", 4096, 8, frames=[USER]), event("alloc", 512, 8)
    held = [segment(4096, [block(4096, 512, 8, frames=[USER]), block(4608, 512, 8), block(5120, 512, 8, "inactive")])]
    assert not read(written(tmp_path / "a", snapshot([seen], held))).entries_lost
    assert read(written(tmp_path / "b", snapshot([unseen], held))).entries_lost
    assert not read(written(tmp_path / "c", snapshot([], held))).entries_lost, "nothing was recorded"


def test_a_gzip_whose_checksum_is_wrong_is_refused(tmp_path: Path):
    """GIVEN a snapshot that loads WHEN the checksum of its gzip stream says that it was changed THEN one line"""
    data = bytearray(gzip.compress(pickle.dumps(VALUE, 4)))
    data[-8] ^= 1
    (tmp_path / "s.gz").write_bytes(data)
    with pytest.raises(UsageError, match="checksum does not match"):
        read(tmp_path / "s.gz")


def test_a_snapshot_through_a_pipe(tmp_path: Path):
    """GIVEN a named pipe THEN what comes through it"""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(path.write_bytes, pickle.dumps(VALUE, 4))
        assert len(read(path).events) == 7


def test_what_many_share_is_walked_once(tmp_path: Path):
    """GIVEN a file of some KB, in which 3,000 segments share 3,000 blocks, and these a stack THEN 3,000 rows"""
    shared = block(0, 512, 8)
    shared["frames"] = [USER] * 3_000
    blocks = [dict(shared) for _ in range(3_000)]
    value = snapshot([], [{**segment(0, []), "blocks": blocks} for _ in range(3_000)])
    found = read(written(tmp_path / "s.pickle", value))
    assert len(found.segments) == len(found.blocks) == 3_000
    assert found.stacks.start.tolist() == [0, 3_000]


def test_a_list_of_frames_is_looked_at_once():
    """GIVEN a list whose stack has its number THEN it holds that alone: as large as it was, it has been freed"""
    numbers, frames = StackNumbers(), [INNER, USER] * 100
    assert numbers.of(frames) == numbers.of(frames) == 0
    assert len(frames) == 1
    assert [numbers.of(other) for other in ([USER], [INNER, USER] * 100, None, [])] == [1, 0, MISSING, MISSING]


def test_a_long_text_is_shortened_once(tmp_path: Path):
    """GIVEN 3,000 frames and ranges of one name, of 200,000 characters, not all ASCII THEN one text of 65,536"""
    long = "\u00e9" * 200_000
    stack = [{"name": long, "filename": "a.py", "line": n} for n in range(3_000)]
    marks = [{"stage": "START", "name": long, "device": 0, "time_us": n} for n in range(3_000)]
    value = snapshot([event("alloc", 1, 2, frames=stack)], external_annotations=marks)
    found = read(written(tmp_path / "s.pickle", value))
    assert len({id(frame.name) for frame in found.frames}) == len({id(one.name) for one in found.annotations}) == 1
    assert found.frames[0].name == found.annotations[0].name == "\u00e9" * 65_536


NO_SNAPSHOTS: dict[str, object] = {
    "a number": 3,
    "another dictionary": {"a": 1},
    "traces of numbers": {"segments": [], "device_traces": [[1, 2]]},
    "a text for a size": snapshot([event("alloc", 1, 2) | {"size": "large"}]),
    "a fraction": snapshot([event("alloc", 1, 2) | {"size": 1.5}]),
    "a negative size": snapshot([event("alloc", 1, -2)]),
    "a size beyond 64 bits": snapshot([event("alloc", 1, 1 << 70)]),
    "a list for an action": snapshot([event("alloc", 1, 2) | {"action": ["alloc"]}]),
    "a number for frames": snapshot([event("alloc", 1, 2) | {"frames": 7}]),
    "numbers for frames": snapshot([event("alloc", 1, 2) | {"frames": [1, 2]}]),
    "a state of nobody's": snapshot([], [segment(0, [block(0, 1, 1, "lost")])]),
    "a text for a segment": snapshot([], [{**segment(0, []), "total_size": "x"}]),
    "segments that are a number": {"segments": 5, "device_traces": []},
    "one event twice": snapshot([VALUE["device_traces"][0][0], {}]),
}


@pytest.mark.parametrize("value", NO_SNAPSHOTS.values(), ids=NO_SNAPSHOTS.keys())
def test_what_torch_does_not_write_is_refused_in_one_line(value: object, tmp_path: Path):
    """GIVEN a pickle of something else THEN one line that names the file"""
    with pytest.raises(UsageError) as error:
        read(written(tmp_path / "s.pickle", value))
    assert "\n" not in str(error.value)
    assert "s.pickle" in str(error.value)


def test_a_file_that_is_no_pickle(tmp_path: Path):
    """GIVEN an empty file, JSON and none at all THEN one line each"""
    for name, data in (("empty", b""), ("json", b'{"traceEvents": []}'), ("gz", gzip.compress(b"{}"))):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UsageError, match=r"is (empty|.*it is no pickle)"):
            read(tmp_path / name)
    with pytest.raises(UsageError, match="does not exist"):
        read(tmp_path / "none")


@pytest.mark.skipif(not CORPUS.is_dir(), reason="PERFKIT_TRACE_CORPUS is not set")
def test_corpus():
    """GIVEN real snapshots THEN as many events of each action, bytes and frames as a plain walk finds"""

    class Plain(pickle.Unpickler):
        def find_class(self, module: str, name: str, /) -> Any:
            raise AssertionError(f"{module}.{name}")

    paths = sorted(CORPUS.glob("*.pickle.gz"))
    assert len(paths) == 6
    for path in paths:
        with gzip.open(path) as file:
            value = Plain(file).load()
        trace = value["device_traces"][0]
        read_back = read(path)
        names = [action.name.lower() for action in map(Action, read_back.events.action.tolist())]
        assert collections.Counter(names) == collections.Counter(e["action"] for e in trace)
        assert read_back.events.size.tolist() == [e["size"] for e in trace]
        assert read_back.events.address.tolist() == [e["addr"] for e in trace]
        for row in range(0, len(trace), 997):
            frames = [read_back.frames[code] for code in read_back.stacks.of(int(read_back.events.stack[row]))]
            assert [(f.name, f.file, f.line) for f in frames] == [
                (f["name"], f["filename"], f["line"]) for f in trace[row]["frames"]
            ]
        assert read_back.blocks.requested.sum() == sum(
            b["requested_size"] for s in value["segments"] for b in s["blocks"]
        )
        assert read_back.segments.total.tolist() == [s["total_size"] for s in value["segments"]]
