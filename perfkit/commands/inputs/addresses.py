"""Files by path or by address (s3://, gs://, https://): which there are, and their bytes where a reader wants them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from perfkit.commands.inputs import recordings
from perfkit.errors import UsageError
from perfkit.schema import module_tree
from perfkit.schema.own_files import RECORD_FILE
from perfkit.trace import foreign

_ENDINGS = (".json", ".json.gz", ".nsys-rep", ".sqlite")
_NEEDED = {"s3": "perfkit[cluster]", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}


class FileAt(msgspec.Struct, frozen=True):
    """One file."""

    name: str
    """Its path or address."""
    size: int
    """Bytes; 0 where the server does not say."""
    token: str
    """Changes when the file does: of its times, its size, or what the server has instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """Who does the work, and where what is done is kept."""

    workers: int = 1
    """Processes; 1: this one."""
    scheduler: str | None = None
    """The address of a Dask scheduler whose workers do it instead."""
    resume: Path | None = None
    """A folder for what was made of each file; what it has is not made again."""


def is_remote(names: Sequence[str]) -> bool:
    """Whether one of them is an address."""
    return any(foreign.is_address(name) for name in names)


def files_at(names: Sequence[str]) -> list[FileAt]:
    """The files of paths, folders and addresses, which may be patterns; sorted within each, and each once.

    Raises UsageError where one does not exist or has no traces, and where what reads addresses is not installed.
    """
    found = [file for name in names for file in (_remote(name) if foreign.is_address(name) else _local(Path(name)))]
    return list({file.name: file for file in found}.values())


@contextmanager
def fetched(file: FileAt) -> Iterator[Path]:
    """The file on this machine: itself, or a copy for as long as it is needed. Raises UsageError where that fails."""
    if not foreign.is_address(file.name):
        yield Path(file.name)
        return
    with tempfile.TemporaryDirectory(prefix="perfkit-") as folder:
        copy = Path(folder) / (PurePosixPath(file.name).name or "trace")
        filesystem, path = _filesystem(file.name)
        try:
            filesystem.get_file(path, str(copy))
        except OSError as error:
            raise UsageError(f"{file.name} cannot be read: {error.strerror or error}") from error
        try:
            yield copy
        except UsageError as error:  # of the copy, which nobody knows
            raise UsageError(str(error).replace(str(copy), file.name)) from error


def _local(path: Path) -> list[FileAt]:
    if path.is_dir():
        files = [one.path for one in recordings.in_folder(path)] or sorted(
            one for one in path.iterdir() if _may_be_a_trace(one.name)
        )
        if not files:
            raise UsageError(f"{path} has no traces in it: name a folder with {', '.join(_ENDINGS)} files")
    elif path.exists():
        files = [path]
    else:
        raise foreign.missing(path)
    return [
        FileAt(str(file), (status := file.stat()).st_size, f"{status.st_size} {status.st_mtime_ns}") for file in files
    ]


def _remote(address: str) -> list[FileAt]:
    filesystem, path = _filesystem(address)
    scheme = address.partition("://")[0]
    try:
        if any(mark in path for mark in "*?["):
            infos = list(filesystem.glob(path, detail=True).values())
        elif not path.endswith("/") and filesystem.isfile(path):  # to a web server a folder's page is a file
            infos = [filesystem.info(path)]
        else:
            infos = [info for info in filesystem.find(path, detail=True).values() if _may_be_a_trace(info["name"])]
            if not infos:
                filesystem.info(path)  # says why, where it is not that there is nothing
    except (OSError, ValueError) as error:
        cause = error.__cause__ or error  # fsspec calls a web server that does not answer a file that is not there
        if not isinstance(cause, FileNotFoundError):
            raise UsageError(f"{address} cannot be listed: {cause}: check the address and the credentials") from error
        infos = []
    files = [info for info in infos if info["type"] == "file"]
    if not files:
        raise UsageError(f"{address}: there are no files with {', '.join(_ENDINGS)}: check the address")
    return [
        FileAt(_named(scheme, str(info["name"])), int(info.get("size") or 0), _token(info))
        for info in sorted(files, key=lambda info: info["name"])
    ]


def _may_be_a_trace(name: str) -> bool:
    """By the name alone: what perfkit writes beside a trace of its own is none."""
    return name.endswith(_ENDINGS) and PurePosixPath(name).name not in (RECORD_FILE, module_tree.FILE)


def _named(scheme: str, name: str) -> str:
    return name if "://" in name else f"{scheme}://{name}"


def _token(info: dict[str, Any]) -> str:
    """What says that the bytes are the same: the server's own tag, or time and size."""
    return str(info.get("ETag") or (info.get("LastModified") or info.get("mtime") or "", info.get("size")))


def _filesystem(address: str) -> tuple[Any, str]:
    """What reads an address. Raises UsageError where it is not installed."""
    scheme = address.partition("://")[0]
    try:
        import fsspec

        filesystem, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        package = _NEEDED.get(scheme, "perfkit[cluster]")
        raise UsageError(f"{address}: {scheme}:// needs another package: pip install '{package}'") from error
    except ValueError as error:
        raise UsageError(f"{address}: {scheme}:// is not known: use s3://, gs:// or https://") from error
    return filesystem, str(path)
