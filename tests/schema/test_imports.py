"""What schema may import: the contract in pyproject.toml names today's other libraries, and cannot know tomorrow's."""

from __future__ import annotations

import ast
import sys

import pytest

from tests.docs.pages import ROOT

ALLOWED = {"perfkit", "msgspec", "numpy", "pandas"} | sys.stdlib_module_names


@pytest.mark.parametrize("path", sorted((ROOT / "perfkit" / "schema").rglob("*.py")), ids=lambda path: path.stem)
def test_schema_imports_no_library_but_three(path):
    """GIVEN a file of schema WHEN looking at its imports THEN it needs no other library"""
    tree = ast.parse(path.read_bytes())
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in named} <= ALLOWED
