"""Write reports to files, completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from perfkit.errors import UsageError
from perfkit.render.medium import Medium
from perfkit.render.writers import WRITERS

if TYPE_CHECKING:
    from perfkit.schema.report import Report


def check(path: Path) -> None:
    """Raise UsageError where `write` could not succeed, so that a command can say so before it computes."""
    check_place(path, tuple(writer.extension for writer in WRITERS))


def check_place(path: Path, extensions: Sequence[str]) -> None:
    """Raise UsageError where no file of one of these extensions can be written there."""
    if path.suffix.lower() not in extensions:
        raise UsageError(f"{path}: the extension chooses the format: use {', '.join(extensions)}")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Raise UsageError where no file can be written there, whatever its extension."""
    try:
        _check_place(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error


def write(path: Path, report: Report) -> None:
    """Write the report's tables in the format that the extension names (`writers.WRITERS`).

    A reader sees the old file or the whole new one, never a part. CSV has room for the main table alone; summary and
    findings go into JSON alone. Raises UsageError for an unknown extension or an unwritable path.
    """
    check(path)
    [writer] = (writer for writer in WRITERS if writer.extension == path.suffix.lower())
    document = writer.document([report], Medium())
    replace(path, document.encode() if isinstance(document, str) else document)


def _check_place(path: Path) -> None:
    if path.is_dir():
        raise UsageError(f"{path}: is a directory: name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: there is no directory {path.parent}: create it first")
    if not path.exists() and not os.access(path.parent, os.W_OK):
        raise UsageError(f"{path}: the directory {path.parent} is not writable: choose another")
    if path.exists() and not os.access(path, os.W_OK):
        raise UsageError(f"{path}: is not writable: choose another name or change its permissions")


def replace(path: Path, data: bytes) -> None:
    """Write data to a file, completely or not at all. Raises UsageError where it cannot be written."""
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a sibling to write into; at the end rename it over `path` (or over the file that a link there points to).

    Raises UsageError where it cannot be written.
    """
    target = path.resolve()
    sibling = target.with_name(f".{target.name[:100]}.{os.getpid()}.tmp")
    try:
        with sibling.open("wb") as file:
            yield file
        sibling.replace(target)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            sibling.unlink()
