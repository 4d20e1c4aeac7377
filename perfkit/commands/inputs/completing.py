"""What a shell offers when TAB is pressed: names that only the program knows, and paths that it can read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perfkit.schema.own_files import RECORD_FILE

if TYPE_CHECKING:
    from cyclopts.completion._engine import CompletionContext

_READ = (".json", ".json.gz", ".csv", ".sqlite", ".nsys-rep")
_RUNS = Path("traces")
"""Where `perfkit run` puts its folders."""


def names(known: Sequence[str]) -> Callable[[CompletionContext], list[str]]:
    """Offers these names."""
    return lambda context: [name for name in known if name.startswith(context.incomplete)]


def paths(context: CompletionContext) -> list[str]:
    """Offers folders of runs, other folders to look into, and files that perfkit reads.

    Before anything is typed, runs in ./traces come too.
    """
    folder, start = os.path.split(context.incomplete)
    found = [*_below(Path(folder or "."), start, folder)]
    if not context.incomplete:
        found += [path for path in _below(_RUNS, "", str(_RUNS)) if not path.endswith(os.sep)]
    return found


def _below(folder: Path, start: str, spelled: str) -> Iterator[str]:
    """Paths in a folder, as they are spelled on the command line; after another folder than a run's more follows."""
    try:
        entries = sorted(os.scandir(folder.expanduser()), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if not entry.name.startswith(start) or (entry.name.startswith(".") and not start):
            continue
        path = os.path.join(spelled, entry.name)  # noqa: PTH118 - as typed: Path would drop ./
        if not entry.is_dir():
            if entry.name.endswith(_READ):
                yield path
        else:
            yield path if Path(entry.path, RECORD_FILE).exists() else path + os.sep
