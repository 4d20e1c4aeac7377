"""A cache of parsed traces, so that a file that was read before need not be parsed again.

An entry is one file, named by the SHA-256 of the trace file's bytes, so a copied or renamed file is found and a
changed one is not. One rename creates it, complete or not at all, so several writers may race; it can be deleted
at any time. The least recently used entries are deleted when the total size exceeds a limit. The cache never
removes a folder, or a file whose name does not follow the cache's own pattern.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import msgspec
import platformdirs

from perfkit.trace import cache_entry
from perfkit.trace.columns import Trace

VERSION = 11
"""Increase it whenever reading the same file would give other columns; entries of other versions are never read."""

DAMAGED = "its cache entry was damaged, so the file was read again"
NOT_OURS = "the cache was not used because other users can write to its folder: set PERFKIT_CACHE_DIR to another folder"

_NAME = re.compile(r"(?P<digest>[0-9a-f]{64})\.(?P<kind>trace|note)")
_DRAFT = ".draft-"
_NOTE_BYTES = 200
_CHUNK = 2**20


class Key(msgspec.Struct, frozen=True):
    """Identifies the entry of a file."""

    digest: str
    """The SHA-256 of the file's bytes, which is the entry's name."""
    identity: str
    """Device, inode, size and times of the file before it was hashed: while these stay the same, so do its bytes."""
    is_settled: bool
    """False for a file modified within the last seconds, whose times may not show its next change."""
    is_noted: bool = False
    """The digest comes from a note; the file was not hashed."""


@dataclasses.dataclass(frozen=True)
class Cache:
    """The folder of parsed traces and its limits."""

    smallest_bytes: int = 4 * 2**20
    """Smaller files are not cached: parsing them is faster than looking them up."""
    limit_bytes: int = 4 * 2**30
    """Limit of the total size of all entries."""
    most_notes: int = 10_000
    """Limit of the number of notes; each takes one disk block."""
    settled_s: float = 2.0
    """The times of a file that was modified more recently than this may not show its next change."""
    now: Callable[[], float] = time.time

    @property
    def folder(self) -> Path:
        """The folder of this version's entries; PERFKIT_CACHE_DIR overrides the user's cache directory."""
        base = os.environ.get("PERFKIT_CACHE_DIR") or platformdirs.user_cache_dir("perfkit", appauthor=False)
        return Path(base) / "traces" / f"v{VERSION}"

    def is_ours(self) -> bool:
        """Whether this user owns the folder and nobody else can write to it; True where it does not exist yet."""
        try:
            status = self.folder.lstat()
        except OSError:
            return True
        return stat.S_ISDIR(status.st_mode) and _is_private(status)

    def is_worth_it(self, file: IO[bytes]) -> bool:
        """True for regular files large enough that looking them up beats parsing them."""
        status = os.fstat(file.fileno())
        return stat.S_ISREG(status.st_mode) and status.st_size >= self.smallest_bytes

    def key_of(self, file: IO[bytes]) -> Key:
        """Return the key of an open file. Reads the whole file, unless a note has the digest of the unchanged file."""
        status = os.fstat(file.fileno())
        identity = _identity(status)
        if noted := self._noted(identity):
            return Key(noted, identity, is_settled=True, is_noted=True)
        is_settled = self.is_settled(status.st_mtime, status.st_ctime)
        return Key(_digest(file), identity, is_settled)

    def is_settled(self, modified: float, changed: float) -> bool:
        """Whether a file with these times (s) would show its next change in them."""
        return self.now() - max(modified, changed) > self.settled_s

    def remember(self, key: Key) -> None:
        """Note the file's digest once its entry exists, so that a cancelled read leaves no note."""
        if key.is_settled and not key.is_noted:
            _put(self._note(key.identity), [_note_text(key.identity, key.digest)])

    def read(self, digest: str, source: str) -> Trace | None:
        """Return the trace of this digest, or None where there is no entry. `source` is the file's present name.

        Raises cache_entry.DamagedError for an incomplete or damaged entry.
        """
        entry = self.folder / f"{digest}.trace"
        if (data := _own_bytes(entry, self.limit_bytes)) is None:
            return None
        trace = cache_entry.decode(data, digest, source)
        with contextlib.suppress(OSError):
            os.utime(entry)  # the entry's age is the time since its last use
        return trace

    def write(self, digest: str, trace: Trace) -> None:
        """Store a parsed trace. A cache that cannot be written (no space, no permission) is not an error."""
        from pyarrow import ArrowException  # noqa: PLC0415 - costs 0.1 s, and small files have no entry

        try:
            pieces = cache_entry.encode(digest, trace)
        except (ValueError, OSError, ArrowException):  # a name that UTF-8 cannot encode; Arrow raises OSError, too
            return
        _put(self.folder / f"{digest}.trace", pieces)
        self.forget_oldest()

    def _noted(self, identity: str) -> str | None:
        """Return the digest noted for a file of this identity, or None where there is no reliable note."""
        text = _own_bytes(self._note(identity), _NOTE_BYTES)
        digest = (text or b"")[:64].decode("ascii", "replace")
        return digest if text == _note_text(identity, digest) else None

    def _note(self, identity: str) -> Path:
        return self.folder / f"{hashlib.sha256(identity.encode()).hexdigest()}.note"

    def forget_oldest(self) -> None:
        """Delete the least recently used entries and notes beyond the limits, and what interrupted writers left."""
        now = self.now()
        files: dict[str, list[tuple[float, int, Path]]] = {"trace": [], "note": []}
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                if name := _NAME.fullmatch(path.name):
                    files[name["kind"]].append((status.st_mtime, status.st_size, path))
                elif path.name.startswith(_DRAFT) and status.st_mtime < now - 3600:
                    path.unlink(missing_ok=True)
        total = 0
        for _, size, path in sorted(files["trace"], reverse=True):
            total += size
            if total > self.limit_bytes:
                path.unlink(missing_ok=True)
        for _, _, path in sorted(files["note"], reverse=True)[self.most_notes :]:
            path.unlink(missing_ok=True)


def still_holds(key: Key, file: IO[bytes]) -> bool:
    """Whether the bytes read since are those that the key identifies. May read the whole file again."""
    if _identity(os.fstat(file.fileno())) != key.identity:
        return False
    file.seek(0)
    return key.is_settled or _digest(file) == key.digest


def _is_private(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _identity(status: os.stat_result) -> str:
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _note_text(identity: str, digest: str) -> bytes:
    """Encode the digest with a checksum of the digest and of the file's identity."""
    return f"{digest} {hashlib.sha256(f'{identity} {digest}'.encode()).hexdigest()}\n".encode()


def _own_bytes(path: Path, most: int) -> bytes | None:
    """Return the content of a cache file; None where it is missing, a link, another user's or too large."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and _is_private(status) and status.st_size <= most:
                return file.read(most)
    except OSError:
        pass
    return None


def _put(path: Path, pieces: Iterable[Any]) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=_DRAFT, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(pieces)
            Path(draft).replace(path)
        finally:
            Path(draft).unlink(missing_ok=True)
