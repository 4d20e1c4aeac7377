from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from perfkit.commands.inputs import folders
from perfkit.errors import UsageError

NOW = datetime(2026, 1, 2, 3, 4, 5)


def test_two_runs_of_one_second_have_two_folders(tmp_path: Path) -> None:
    """GIVEN a clock that stands still WHEN three folders are made THEN the later ones have a number after the name"""
    made = [folders.new(tmp_path / "new" / "traces", "tiny_forward", lambda: NOW) for _ in range(3)]
    name = "20260102-030405_tiny_forward"
    assert [folder.name for folder in made] == [name, f"{name}_2", f"{name}_3"]
    assert all(folder.is_dir() for folder in made)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Not a directory; choose another --traces-dir"):
        folders.new(tmp_path / "file", "x", lambda: NOW)
    with pytest.raises(UsageError, match="choose another --folder"):
        folders.given(tmp_path / "file")


def test_a_reserved_folder_has_room_for_one(tmp_path: Path) -> None:
    """GIVEN a folder that one command works in THEN another is refused until it has ended"""
    folder = tmp_path / "new" / "f"
    refused = pytest.raises(
        UsageError, match="f: another perfkit is at work in it; wait for its end, or choose another"
    )
    with folders.reserved(folder, "--output"), refused, folders.reserved(folder, "--output"):
        pass
    with folders.reserved(folder, "--output"):
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another --output"), folders.reserved(tmp_path / "file", "--output"):
        pass


def test_a_given_folder_is_made_and_must_be_empty(tmp_path: Path) -> None:
    assert folders.given(tmp_path / "a" / "b").is_dir()
    assert folders.given(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    with pytest.raises(UsageError, match="a is not empty; choose another --folder"):
        folders.given(tmp_path / "a")
