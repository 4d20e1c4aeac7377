"""The charting library's JavaScript, as its Python package ships it. Nothing of it is in this repository."""

from __future__ import annotations

import base64
import importlib.util
import zlib
from pathlib import Path

from perfkit.errors import UsageError

_FILES = ("bokeh.min.js", "bokeh-api.min.js")
"""BokehJS (BSD-3-Clause, as the first lines of each file say), and the part that makes figures from JavaScript."""


def javascript() -> str:
    """The library as one script. Raises UsageError where its package is missing; importing it is not needed."""
    found = importlib.util.find_spec("bokeh")
    if found is None or found.origin is None:
        raise UsageError("charts need the package bokeh: pip install bokeh")
    folder = Path(found.origin).parent / "server" / "static" / "js"
    try:
        return "\n;".join((folder / name).read_text("utf-8") for name in _FILES)
    except OSError as error:
        raise UsageError(f"the package bokeh lacks {error.filename}: install it again") from error


def packed(text: str) -> str:
    """Text that a page unpacks with DecompressionStream: deflated (zlib, RFC 1950), in base64."""
    return base64.b64encode(zlib.compress(text.encode("utf-8", "backslashreplace"), 9)).decode("ascii")
