"""Files that a file names: those below its folder, and no others."""

from __future__ import annotations

import pytest

from perfkit.errors import UsageError
from perfkit.schema.own_files import inside


@pytest.mark.parametrize("name", ["a", "sub/a", "sub/../a", "./a", "not there", "within"])
def test_what_lies_in_the_folder_is_named_by_its_path(tmp_path, name):
    """GIVEN names of files in the folder, there or not, and a link that stays in it"""
    (tmp_path / "run" / "sub").mkdir(parents=True)
    (tmp_path / "run" / "within").symlink_to("sub")
    assert inside(tmp_path / "run", name, "r.json: trace") == tmp_path / "run" / name


@pytest.mark.parametrize("name", ["../a", "sub/../../a", "/etc/passwd", "out/a", "circle/a", "a\0b", "n" * 300])
def test_what_does_not_is_refused(tmp_path, name):
    (tmp_path / "run" / "sub").mkdir(parents=True)
    (tmp_path / "run" / "out").symlink_to(tmp_path)
    (tmp_path / "run" / "circle").symlink_to("circle")
    with pytest.raises(UsageError) as refused:
        inside(tmp_path / "run", name, "r.json: trace")
    assert str(refused.value).startswith(f"r.json: trace names {name[:80]!r}, which is not in the folder")


def test_a_path_of_the_folder_itself_that_is_absolute_is_refused(tmp_path):
    """GIVEN the folder as an absolute name THEN it is refused: elsewhere it would lead out of the copy"""
    with pytest.raises(UsageError, match="only files in it are read"):
        inside(tmp_path, str(tmp_path / "a"), "r.json: trace")
