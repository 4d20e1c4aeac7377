"""docs/notebook.ipynb, run by Jupyter, as the page docs/notebook.md. `python -m tests.docs.pages` writes it.

`python -m tests.docs.notebook` writes the page and the picture in it, for which it needs a browser.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any
from unittest.mock import patch

from tests.docs import pages

NOTEBOOK = pages.ROOT / "docs" / "notebook.ipynb"
PAGE = NOTEBOOK.with_suffix(".md")
FRAME = "![The report in a frame of the notebook, in a browser](images/notebook.png)\n"
"""In place of what a browser shows: a page on a code host has no frames."""
SOURCE = """\
This page is [notebook.ipynb](notebook.ipynb), as Jupyter ran it. To run it yourself: `pip install jupyterlab`, and
`jupyter lab docs/notebook.ipynb`.
"""
PICTURE = NOTEBOOK.parent / "images" / "notebook.png"
_COLOUR_OR_BLANKS = re.compile(r"\x1b\[[\d;]*m| +$", re.MULTILINE)
_SECONDS = 300
"""A kernel that takes longer is stuck."""


def executed() -> Any:
    """The notebook with its outputs. Raises CellExecutionError where a cell fails."""
    import nbformat  # noqa: PLC0415 - only who runs it needs Jupyter
    from nbclient import NotebookClient  # noqa: PLC0415

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    client = NotebookClient(notebook, timeout=_SECONDS, resources=place, coalesce_streams=True)
    with patch.dict(os.environ, pages.environment()):
        client.execute(stderr=subprocess.DEVNULL)  # the kernel's remarks on its own transport
    return notebook


def page(notebook: Any) -> str:
    """Markdown of a notebook that was run: its text, its code, and what the code showed, as text."""
    parts = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(f"{cell.source}\n")
        else:
            parts += [f"```python\n{cell.source}\n```\n", *map(_output, cell.outputs)]
    parts.insert(1, SOURCE)
    return "\n".join(parts)


def _output(output: Any) -> str:
    if output.output_type == "stream":
        return _text(output.text)
    if "<iframe" in output.data.get("text/html", ""):
        return FRAME
    return _text(output.data["text/plain"])


def _text(shown: str) -> str:
    """Without colours, and without blanks at the ends of lines."""
    return f"```text\n{_COLOUR_OR_BLANKS.sub('', shown).rstrip()}\n```\n"


def draw(notebook: Any) -> None:
    """Write the picture of the report's frame."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    [frame] = [
        output.data["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "<iframe" in output.get("data", {}).get("text/html", "")
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        page.set_content(frame)
        page.frame_locator("iframe").locator("html[data-ready=yes]").wait_for()
        page.locator("iframe").screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    done = executed()
    PAGE.write_text(page(done), encoding="utf-8")
    draw(done)
