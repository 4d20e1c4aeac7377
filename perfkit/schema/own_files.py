"""Files in a run's folder: its record, and those that it names, which are opened only if they are in that folder."""

from __future__ import annotations

from pathlib import Path

from perfkit.errors import UsageError

RECORD_FILE = "record.json"
"""The record of a run, in the folder of its own."""

_SHOWN = 80
"""Characters of a path that a message shows."""


def inside(folder: Path, name: str, source: str) -> Path:
    """The path `name` as it was read from a file in `folder`; `source` says in messages which file and what in it.

    Raises UsageError where it is absolute, leads out of the folder by `..` or through a link, or is not a valid path.
    """
    path = folder / name
    try:
        path.exists()  # which raises where there cannot be such a path
        within = not Path(name).is_absolute() and path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a name too long, a circle of links, a NUL
        within = False
    if not within:
        raise UsageError(
            f"{source} names {name[:_SHOWN]!r}, which is not in the folder {folder}:"
            " only files in it are read, and no links that lead out of it"
        )
    return path
