"""The model's tree, module path -> class in the order of `named_modules()`, as a small file beside a run's trace."""

from __future__ import annotations

from pathlib import Path

import msgspec

from perfkit.errors import UsageError

FILE = "modules.json"


def save(tree: dict[str, str], folder: Path) -> None:
    """Write the tree into a run's folder, in one step. Raises UsageError where the folder cannot be written."""
    path = folder / FILE
    draft = path.with_suffix(".json.part")
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(tree), indent=2) + b"\n")
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be saved: {error.strerror}; choose another --traces-dir") from error


def load(path: Path) -> dict[str, str]:
    """Read a tree. Raises UsageError where it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{path}: not a JSON object of path: class ({error})") from error
