"""MemoryNotes: what a run under `--profiler memory` knows of its tensors, beside its recording (`memory.json`).

A recording has addresses and sizes. Which of them are parameters, gradients or the optimizer's state, and what each
block keeps for backward, only the run can say.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from perfkit.errors import UsageError

FORMAT_VERSION = 1
FILE = "memory.json"
"""Name of the file in the run's folder."""

HeldKind = Literal["parameters", "gradients", "optimizer state", "batch and constants"]
Moment = Literal["before", "backward", "after"]
"""Of a recorded step: before it begins, when backward is over, and when the step is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One storage that the run can name."""

    address: int
    """Of the storage's first byte, as the allocator's events have it."""
    size: int
    """Bytes of the storage."""
    kind: HeldKind
    name: str
    """The parameter's qualified name (`layers.3.attn.q_proj.weight`); for Adam's state with its key: `... exp_avg`."""
    scope: str
    """The module it belongs to (`layers.3.attn.q_proj`); empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """All storages that can be named at one moment of a recorded step."""

    step: int
    """Among the recorded ones, from 0."""
    moment: Moment
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedOperation:
    """What one kind of operation of one module keeps for backward."""

    scope: str
    """The innermost module whose forward ran (`layers.3.attn.q_proj`)."""
    operation: str
    """The autograd node that keeps it (`MmBackward0`), or what could be found of it."""
    shape: tuple[int, ...]
    dtype: str
    size: int
    """Bytes of the storage; parameters and what is already counted for another operation are left out."""
    address: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNotes:
    """All of it. Bytes are those of storages, each counted once."""

    format_version: int = FORMAT_VERSION
    inventories: tuple[Inventory, ...] = ()
    saved: tuple[SavedOperation, ...] = ()
    """By saved-tensor hooks, in one step that was not recorded."""


def save(notes: MemoryNotes, folder: Path) -> Path:
    """Write the notes into a run's folder, in one step, and return their path.

    Raises UsageError where the folder cannot be written.
    """
    path = folder / FILE
    draft = path.with_suffix(".json.part")
    try:
        draft.write_bytes(msgspec.json.encode(notes) + b"\n")
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be saved: {error.strerror}; choose another --traces-dir") from error
    return path


def load(path: Path) -> MemoryNotes:
    """Read the notes of a run. Raises UsageError where they cannot be read, or are of a later version."""
    try:
        notes = msgspec.json.decode(path.read_bytes(), type=MemoryNotes)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not what a run notes of its memory: {error}") from error
    if notes.format_version > FORMAT_VERSION:
        raise UsageError(
            f"{path}: format {notes.format_version}, and this perfkit reads up to {FORMAT_VERSION}: upgrade perfkit"
        )
    return notes
