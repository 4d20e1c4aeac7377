"""Reads traces and shows progress on stderr."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from perfkit.commands.console import progress
from perfkit.schema.progress import Progress
from perfkit.trace import load as loader
from perfkit.trace.columns import Content, Trace


def load(
    path: Path | str,
    *,
    use_cache: bool = True,
    content: Content = Content.ALL,
    reading: Callable[[str], AbstractContextManager[Progress]] = progress.reading,
) -> Trace:
    """Like `trace.load.load`; `reading` shows the file's name and the progress."""
    with reading(Path(path).name) as advance:
        return loader.load(path, progress=advance, use_cache=use_cache, content=content)
