"""Draws pictures into files. What draws is loaded only where a picture was asked for: it takes half a second."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from perfkit import signals
from perfkit.render import files

if TYPE_CHECKING:
    from perfkit.schema.chart import Chart
    from perfkit.schema.page.pictures import Picture


def draw(picture: Picture | Chart, path: Path) -> None:
    """Write it, completely or not at all. Raises UsageError where the file cannot be written."""
    with signals.at_once():
        from perfkit.render import charts

    files.replace(path, charts.draw(picture, path.suffix.lower()))
