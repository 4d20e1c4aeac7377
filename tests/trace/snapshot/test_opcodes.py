"""Pickles that would run code, or take all memory, time or stack: each is refused in one line, and does nothing."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest

from perfkit.errors import UsageError
from perfkit.trace import byte_stream
from perfkit.trace.snapshot.opcodes import HAND_OVER, MOST_TUPLES, NotPlainError, PlainPickle
from perfkit.trace.snapshot.reader import read
from tests.snapshots import USER, event, freed, snapshot, written

CANARY = "touched"

PROTO = b"\x80\x04"


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def touch(folder: Path) -> str:
    return f"touch {folder / CANARY}"


def attacks(folder: Path) -> dict[str, bytes]:
    """Each would make the canary, or harm."""
    command = touch(folder)
    call = text("os") + text("system") + b"\x93" + text(command) + b"\x85R."
    laughs = PROTO + b")" + b"2\x86" * 60 + b"}" + b"\x86\x85."  # a tuple of itself twice, 60 times
    key = PROTO + b"}" + b")" + b"2\x86" * 60 + b"Ns."  # as a key: hashing it takes 2^60 steps
    return {
        "os.system by STACK_GLOBAL": PROTO + call,
        "os.system by GLOBAL": b"\x80\x02cos\nsystem\nX"
        + struct.pack("<I", len(command))
        + command.encode()
        + b"\x85R.",
        "INST": b"\x80\x02(S'" + command.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"\x80\x02(cos\nsystem\nS'" + command.encode() + b"'\no.",
        "builtins": PROTO + text("builtins") + text("eval") + b"\x93" + text("1") + b"\x85R.",
        "NEWOBJ": PROTO + text("collections") + text("OrderedDict") + b"\x93)\x81.",
        "NEWOBJ_EX": PROTO + text("collections") + text("OrderedDict") + b"\x93)}\x92.",
        "a name of perfkit": PROTO + text("perfkit.trace.snapshot.columns") + text("Frame") + b"\x93.",
        "REDUCE of a dictionary": PROTO + b"})R.",
        "BUILD of a dictionary": PROTO + b"}}" + text("__class__") + b"Nsb.",
        "EXT1": b"\x80\x02\x82\x01.",
        "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
        "PERSID": b"\x80\x02P" + command.encode() + b"\n.",
        "BINPERSID": PROTO + text(command) + b"Q.",
        "100,000 lists deep": PROTO + b"]" * 100_000 + b"a" * 99_999 + b".",
        "a key 1,000,000 tuples deep": PROTO + b"}" + b")" + b"\x85" * 1_000_000 + b"Ns.",
        "100,000 marks": PROTO + b"(" * 100_000 + b".",
        "laughs": laughs,
        "laughs as a key": key,
        "BINBYTES8 of 2^62": PROTO + b"\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
        "BINBYTES of 3 GB": PROTO + b"B" + struct.pack("<I", 3 << 30) + b"x.",
        "BYTEARRAY8 of 2^40": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
        "BINUNICODE8 of 2^40": PROTO + b"\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
        "LONG4 of 2^31": b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b"1.",
        "FRAME of 2^63": PROTO + b"\x95" + struct.pack("<Q", (1 << 63) - 1) + b"N.",
        "a memo of 64 GB": PROTO + b"Nr" + struct.pack("<I", (1 << 32) - 1) + b".",
        "a memo of more, in digits": b"\x80\x02Np9999999999999\n.",
        "NEXT_BUFFER": b"\x80\x05\x97.",
        "a number of a million digits": b"\x80\x02L" + b"9" * 1_000_000 + b"L\n.",
        "nothing on the stack": PROTO + b"R.",
    }


@pytest.mark.parametrize("name", attacks(Path("/")).keys())
def test_attacks_are_refused(name: str, tmp_path: Path):
    """GIVEN a malicious pickle THEN one line, and nothing has been done"""
    path = tmp_path / "s.pickle"
    path.write_bytes(attacks(tmp_path)[name])
    with pytest.raises(UsageError) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert "s.pickle" in str(error.value)
    assert not (tmp_path / CANARY).exists()


def test_the_attack_would_work(tmp_path: Path):
    """GIVEN the first attack WHEN Python's own unpickler loads it THEN the canary is there: the test can fail"""
    pickle.loads(attacks(tmp_path)["os.system by STACK_GLOBAL"])
    assert (tmp_path / CANARY).exists()


def test_an_attack_inside_a_snapshot(tmp_path: Path):
    """GIVEN a class where an address should be THEN the whole file is refused"""

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (touch(tmp_path),)

    (tmp_path / "s.pickle").write_bytes(pickle.dumps(snapshot([event("alloc", 1, 2), {"action": Attack()}])))
    with pytest.raises(UsageError, match="has the opcode STACK_GLOBAL, which no snapshot has"):
        read(tmp_path / "s.pickle")
    assert not (tmp_path / CANARY).exists()


def small() -> bytes:
    return pickle.dumps(snapshot([event("alloc", 512, 8, frames=[USER]), *freed(512, 8)]), 4)


def test_a_bomb_in_gzip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """GIVEN a file that unpacks to a thousand times its size THEN it is refused before it is loaded"""
    monkeypatch.setitem(byte_stream.unpacked.__kwdefaults__, "ratio_from", 1 << 20)
    (tmp_path / "s.gz").write_bytes(gzip.compress(PROTO + b"]" * (8 << 20) + b"."))
    with pytest.raises(UsageError, match="unpacks to more than 200 times its size"):
        read(tmp_path / "s.gz")


def test_a_file_that_takes_far_more_memory_than_its_size_is_refused():
    """GIVEN a process that takes 1 GB for a few bytes of lists in lists THEN the next bytes are not looked at"""
    taken = iter((0, 0, 1 << 30))
    file = PlainPickle(iter((PROTO + b"]" * 100, b"]" * 100, b".")), lambda: next(taken))
    file.read(60)
    with pytest.raises(NotPlainError, match="far more memory than a snapshot of its size"):
        file.read(200)


@pytest.mark.parametrize("size", [1, 2, 3, 17, 100_000])
def test_opcodes_may_come_in_pieces_of_any_size(size: int):
    """GIVEN a snapshot in pieces that cut opcodes THEN the unpickler gets all but the frames, and lists handed over"""
    whole = small()
    file = PlainPickle(whole[at : at + size] for at in range(0, len(whole), size))
    given = b""
    while more := file.peek(1):
        given += file.read(len(more))
    frame = whole[2:11]
    assert frame[:1] == b"\x95"
    assert given.replace(HAND_OVER, b"") == whole.replace(frame, b"")
    assert given.count(HAND_OVER) >= (1 if size > 10 else 0)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", [(), (1,), ("a", 2, None), (1, 2, 3, 4, 5), ((1, (2, 3)), ("x",)), [(0, 1), (0, 2)]])
def test_tuples_are_data_where_they_are_no_keys(value: object, protocol: int, tmp_path: Path):
    """GIVEN members that perfkit does not know, with tuples of every kind THEN the snapshot is read"""
    told = snapshot([event("alloc", 4096, 8, new=value), *freed(4096, 8)], settings={"new": value})
    assert len(read(written(tmp_path / "s.pickle", told, protocol)).events) == 3


def test_what_an_event_says_in_other_types_is_left_out(tmp_path: Path):
    """GIVEN metadata and a context of compilation that are no texts THEN as if there were none"""
    odd = event("alloc", 4096, 8, user_metadata={"a": 1}, compile_context=("0", "1", 2))
    none = event("alloc", 8192, 8)
    del none["user_metadata"], none["compile_context"]
    events = read(written(tmp_path / "s.pickle", snapshot([odd, none]))).events
    assert events.metadata[0] == events.metadata[1]
    assert events.compile_context[0] == events.compile_context[1]


def test_tuples_without_end_are_refused():
    """GIVEN more tuples than any snapshot has, each of which costs a look THEN they are refused"""
    file = PlainPickle(iter((PROTO + b"]" + b")a" * (MOST_TUPLES + 1), b".")))
    with pytest.raises(NotPlainError, match="more tuples than a snapshot"):
        file.read(1 << 22)
