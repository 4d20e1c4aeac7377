"""How reading a large file reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int | None], None]
"""Called with the bytes read from disk so far and the file's size (None where unknown)."""
