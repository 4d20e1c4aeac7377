"""Which files are taken for recordings of memory."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from pathlib import Path

import pytest

from perfkit.trace.snapshot.known import is_snapshot
from tests.snapshots import snapshot

PICKLE = pickle.dumps(snapshot(), 4)


def zipped(*names: str) -> bytes:
    """A zip archive of files that all are a snapshot."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name in names:
            archive.writestr(name, PICKLE)
    return data.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "is_one"),
    [
        ("any name", PICKLE, True),
        ("any name", pickle.dumps(snapshot(), 2), True),
        ("s.gz", gzip.compress(PICKLE), True),
        ("s.zip", zipped("s.pickle"), True),
        ("damaged.pickle", b"\0\0", True),
        ("damaged.pickle.gz", gzip.compress(b"\0\0"), True),
        ("model.pt", zipped("model/data.pkl", "model/version"), False),
        ("old.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M", False),
        ("trace.json", b'{"traceEvents": []}', False),
        ("cut.gz", gzip.compress(PICKLE)[:12], False),
        ("empty", b"", False),
    ],
    ids=[
        "pickle",
        "protocol 2",
        "gzip",
        "zip",
        "by name",
        "gzip by name",
        "model",
        "old model",
        "trace",
        "cut",
        "empty",
    ],
)
def test_a_snapshot_is_known_by_its_first_bytes_or_its_name(name: str, data: bytes, is_one: bool, tmp_path: Path):
    (tmp_path / name).write_bytes(data)
    assert is_snapshot(tmp_path / name) is is_one
