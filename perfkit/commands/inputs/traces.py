"""Traces read for a person, who sees on stderr how far it is."""

from __future__ import annotations

from pathlib import Path

from perfkit.commands.console.progress import reading
from perfkit.trace import load as loader
from perfkit.trace.columns import Trace


def load(path: Path | str, *, use_cache: bool = True, kernels_only: bool = False) -> Trace:
    """As `trace.load.load`."""
    with reading(Path(path).name) as progress:
        return loader.load(path, progress=progress, use_cache=use_cache, kernels_only=kernels_only)
