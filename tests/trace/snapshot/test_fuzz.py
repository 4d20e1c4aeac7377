"""Damaged input gives a Snapshot or a UsageError, nothing else. scripts/fuzz-snapshot goes on for as long as wanted."""

from __future__ import annotations

import gzip
import io
import pickle
import random
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.trace.snapshot.columns import Snapshot
from perfkit.trace.snapshot.reader import read_stream
from tests.snapshots import USER, block, event, segment, snapshot
from tests.trace.snapshot.damage import CANARY, damaged


def outcome(data: bytes) -> Snapshot | str:
    """The snapshot, or what the error says, which is one line."""
    try:
        return read_stream(io.BytesIO(data), Path("s.pickle"), "s.pickle")
    except UsageError as error:
        message = str(error)
    assert len(message.splitlines()) == 1
    assert message.startswith("s.pickle ")
    return message


def test_any_damage_gives_a_snapshot_or_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """GIVEN 400 damaged snapshots, some with calls of os.system THEN snapshots or lines, and no call"""
    monkeypatch.chdir(tmp_path)
    found = [outcome(damaged(random.Random(seed))) for seed in range(400)]
    assert 50 < sum(isinstance(one, Snapshot) for one in found) < 350
    assert not (tmp_path / CANARY).exists()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_a_snapshot_cut_off_anywhere_is_refused(packed: bool):
    """GIVEN a small snapshot cut at every byte THEN one line each time"""
    whole = pickle.dumps(snapshot([event("alloc", 512, 8, frames=[USER])], [segment(0, [block(0, 512, 8)])]), 4)
    data = gzip.compress(whole) if packed else whole
    assert isinstance(outcome(data), Snapshot)
    assert all(isinstance(outcome(data[:at]), str) for at in range(len(data)))
