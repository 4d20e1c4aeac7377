"""Charts as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfkit.commands.console import plots
from perfkit.errors import UsageError
from perfkit.schema.chart import Chart


@pytest.mark.parametrize(("extension", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_extension_chooses_the_format(tmp_path: Path, extension: str, start: bytes):
    file = tmp_path / f"chart{extension}"
    plots.draw(Chart(rows=()), file)
    assert file.read_bytes().startswith(start)


def test_a_file_that_cannot_be_written(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be written"):
        plots.draw(Chart(rows=()), tmp_path / "nowhere" / "chart.png")
