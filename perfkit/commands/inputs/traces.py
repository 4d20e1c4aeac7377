"""Reads traces, and what other traces say of them; shows progress on stderr."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from perfkit.analysis.attribution.attribute import attribute
from perfkit.analysis.attribution.captures import Captures, captures_of
from perfkit.commands.console import progress
from perfkit.commands.inputs.recordings import alone_in
from perfkit.errors import UsageError
from perfkit.schema.progress import Progress
from perfkit.trace import load as loader
from perfkit.trace.columns import Content, Trace
from perfkit.trace.details import read_details


def load(
    path: Path | str,
    *,
    use_cache: bool = True,
    content: Content = Content.ALL,
    reading: Callable[[str], AbstractContextManager[Progress]] = progress.reading,
) -> Trace:
    """Like `trace.load.load`; `reading` shows the file's name and the progress. Of a folder, the only trace there."""
    path = (alone_in(Path(path)) if Path(path).is_dir() else None) or path
    with reading(Path(path).name) as advance:
        return loader.load(path, progress=advance, use_cache=use_cache, content=content)


def captures(path: Path, modules: Mapping[str, str] | None, *, use_cache: bool = True) -> Captures:
    """The captures of CUDA graphs in a trace, and their launches' scopes. Raises UsageError if there are none."""
    try:
        trace = load(path, use_cache=use_cache)
        return captures_of(trace, attribute(trace, modules=modules), read_details(trace).calls)
    except UsageError as error:
        raise UsageError(f"--capture {error}") from error
