"""Every rule about a recording of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from perfkit.analysis.memory.recorded.account import MemoryAccount
from perfkit.schema.finding import Finding

Find: TypeAlias = Callable[[MemoryAccount], Finding | None]
FINDINGS: tuple[Find, ...] = ()
"""Functions that look for findings, in the order of reading."""
