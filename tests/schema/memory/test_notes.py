"""What a run notes of its memory, as a file."""

from __future__ import annotations

import pytest

from perfkit.errors import UsageError
from perfkit.schema.memory import notes
from perfkit.schema.memory.notes import Held, Inventory, MemoryNotes, SavedOperation

WHOLE = MemoryNotes(
    inventories=(
        Inventory(
            step=0, moment="before", held=(Held(address=2**47, size=5, kind="gradients", name="a.b", scope="a"),)
        ),
    ),
    saved=(SavedOperation(scope="a", operation="MmBackward0", shape=(2, 3), dtype="float32", size=24, address=64),),
)


def test_notes_come_back_as_they_were(tmp_path):
    assert notes.load(notes.save(WHOLE, tmp_path)) == WHOLE
    assert [path.name for path in tmp_path.iterdir()] == ["memory.json"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "not what a run notes"), (b"[]", "not what a run notes"), (b"\xff", "not what a run notes"),
     (b"[" * 100_000, "not what a run notes"), (b'{"saved": [{"scope": 1}]}', "not what a run notes"),
     (b'{"format_version": 2}', "format 2, and this perfkit reads up to 1: upgrade perfkit")],
)  # fmt: skip
def test_what_is_no_notes_is_said(tmp_path, content, complaint):
    (tmp_path / "memory.json").write_bytes(content)
    with pytest.raises(UsageError, match=complaint):
        notes.load(tmp_path / "memory.json")


def test_a_file_or_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"memory\.json: No such file or directory"):
        notes.load(tmp_path / "memory.json")
    with pytest.raises(UsageError, match="choose another --traces-dir"):
        notes.save(WHOLE, tmp_path / "gone")
