"""The model's tree as a file."""

from __future__ import annotations

import pytest

from perfkit.errors import UsageError
from perfkit.schema import module_tree


def test_a_tree_comes_back_in_its_order(tmp_path):
    tree = {"Model": "Model", "layers.1": "Block", "layers.0": "Block"}
    module_tree.save(tree, tmp_path)
    assert list(module_tree.load(tmp_path / module_tree.FILE).items()) == list(tree.items())
    assert [path.name for path in tmp_path.iterdir()] == [module_tree.FILE]


def test_the_file_is_indented_json_for_people_to_read(tmp_path):
    module_tree.save({"Model": "Model", "head": "Linear"}, tmp_path)
    assert (tmp_path / module_tree.FILE).read_text() == '{\n  "Model": "Model",\n  "head": "Linear"\n}\n'


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UsageError, match=r"modules\.json: No such file or directory"):
        module_tree.load(tmp_path / module_tree.FILE)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_tree_is_said(tmp_path, content):
    (tmp_path / "tree.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"tree\.json: not a JSON object of path: class"):
        module_tree.load(tmp_path / "tree.json")


def test_a_folder_that_has_gone_is_said(tmp_path):
    with pytest.raises(UsageError, match="choose another --traces-dir"):
        module_tree.save({}, tmp_path / "gone")
