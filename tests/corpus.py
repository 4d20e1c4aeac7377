"""The real traces that PERFKIT_TRACE_CORPUS names; tests that need one skip where it is unset."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def corpus_file(name: str) -> Path:
    """A file of the corpus, or a skip."""
    folder = os.environ.get("PERFKIT_TRACE_CORPUS")
    if not folder:
        pytest.skip("PERFKIT_TRACE_CORPUS is unset")
    return Path(folder) / name
