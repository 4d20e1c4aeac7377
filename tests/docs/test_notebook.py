"""The notebook of the documents, run by Jupyter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.docs import notebook


@pytest.fixture(scope="module")
def executed() -> Any:
    """The notebook with its outputs."""
    for package in ("nbclient", "ipykernel"):
        pytest.importorskip(package, reason="pip install -e '.[test]'")
    return notebook.executed()


def test_its_page_is_what_it_shows(executed):
    """GIVEN the notebook WHEN Jupyter runs it THEN each cell shows what its page has"""
    assert notebook.page(executed) == notebook.PAGE.read_text(encoding="utf-8"), "run python -m tests.docs.pages"


def test_a_report_is_a_frame_and_what_it_prints_is_text(executed):
    """GIVEN its outputs WHEN looking at their types THEN a frame below the cap, tables, and streams without HTML"""
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    shown = [output.data["text/html"] for output in outputs if "data" in output and "text/html" in output.data]
    assert shown[0].startswith("<iframe ")
    assert len(shown[0]) < 1_100_000
    assert shown[1].startswith("<table>")
    assert {output.name for output in outputs if output.output_type == "stream"} == {"stdout"}
    assert {output.output_type for output in outputs} == {"execute_result", "stream"}


def test_the_file_has_no_outputs():
    """GIVEN the file THEN it has none: a report in each copy of the repository would be a megabyte"""
    cells = json.loads(notebook.NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") for cell in cells)
