"""The bytes of a trace file, whether it is plain, gzip or zip."""

from __future__ import annotations

import io
import lzma
import struct
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import IO, TypeAlias

import msgspec
from isal import igzip_lib, isal_zlib

from perfkit.errors import UsageError
from perfkit.schema.progress import Progress
from perfkit.trace import foreign

PIECE = 256 * 1024
"""Bytes read from the file at a time."""
INFLATED_PIECE = 64 * 1024
"""Bytes unpacked at a time: at most this much is lost before the point where a gzip stream is damaged."""
RATIO_FROM = 1 << 30
"""The ratio is checked once this many bytes are unpacked."""
MAX_RATIO = 200
"""Largest ratio of unpacked to packed bytes. Traces reach 10-30; deflate's limit, which a bomb reaches, is 1032."""

_InflateError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # isal's stub is wrong
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    RuntimeError,
)
"""What zipfile raises on damaged, encrypted or foreign archives."""
_ZIP = b"PK\x03\x04"
_HELD = 64 << 20
"""A zip archive from a pipe is held in memory up to this many bytes; a larger one goes to a temporary file."""
_MAC = "__MACOSX/"
"""The folder that macOS adds to a zip archive for its own metadata."""
_DAMAGED = "gzip stream damaged: read up to the damage"
_CUT = "gzip stream ends early"
_GZIP = b"\x1f\x8b"
Takes: TypeAlias = Callable[[bytes], bool]
"""Whether a file that begins so is wanted."""


def printable(text: str) -> str:
    """Shorten a text from a file to one line of limited length for use in a message."""
    return text[:100] if text.isprintable() else ascii(text[:100])[1:-1]


class StreamFacts(msgspec.Struct):
    """What unpacking found; it is filled in while the bytes are read."""

    packed: int = 0
    """Bytes read from the file."""
    unpacked: int = 0
    """Bytes yielded to the caller."""
    repairs: Counter[str] = msgspec.field(default_factory=Counter)
    """Damage found in the packing: kind -> times."""


def unpacked(
    file: IO[bytes],
    name: str,
    facts: StreamFacts,
    *,
    size: int | None = None,
    progress: Progress | None = None,
    ratio_from: int = RATIO_FROM,
    takes: Takes = foreign.begins_as_json,
) -> Iterator[bytes]:
    """Yield the content of `file` piece by piece; unpack gzip and zip (one JSON member) on the way.

    `takes` tells by the first bytes what is wanted, whatever else is known of files that begin so. Raises UsageError
    where the file is empty, is of another kind, or unpacks to an absurd size of at least `ratio_from`.
    """
    if file.seekable() and zipfile_magic(file):
        foreign.refuse(peeked(file, foreign.HEAD), name, by_name=False)
        pieces = _sniffed(_unzipped(file, name, facts), name, facts, takes, depth=1)
    else:
        pieces = _sniffed(_blocks(file, facts, size, progress), name, facts, takes, depth=2)
    return _watched(pieces, name, facts, ratio_from)


def zipfile_magic(file: IO[bytes]) -> bool:
    """Whether a zip archive starts here; the position does not change."""
    return peeked(file, 4) in (_ZIP, b"PK\x05\x06")


def peeked(file: IO[bytes], count: int) -> bytes:
    """The bytes that come next in a file that can seek; the position does not change."""
    head = file.read(count)
    file.seek(-len(head), io.SEEK_CUR)
    return head


def _blocks(file: IO[bytes], facts: StreamFacts, size: int | None, progress: Progress | None) -> Iterator[bytes]:
    while block := file.read(PIECE):
        facts.packed += len(block)
        if progress is not None:
            progress(facts.packed, size)
        yield block


def _sniffed(blocks: Iterator[bytes], name: str, facts: StreamFacts, takes: Takes, depth: int) -> Iterator[bytes]:
    """Look at the first bytes: unpack gzip (at most `depth` times) and refuse other known formats."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= foreign.HEAD:
            break
    if not head:
        raise UsageError(f"{name} is empty: record the trace again")
    blocks = chain((head,), blocks)
    if head.startswith(_GZIP):
        return _sniffed(_gunzipped(blocks, name, facts), name, facts, takes, depth - 1) if depth else blocks
    if not takes(head):
        foreign.refuse(head, name, by_name=not head.startswith(_ZIP))
    if head.startswith(_ZIP):
        if depth < 2:
            raise UsageError(f"{name} is a zip archive in a gzip file or another zip: unpack it first")
        return _sniffed(_unzipped_stream(blocks, name, facts), name, facts, takes, depth=1)
    return blocks


def _watched(pieces: Iterator[bytes], name: str, facts: StreamFacts, ratio_from: int) -> Iterator[bytes]:
    for piece in pieces:
        facts.unpacked += len(piece)
        if facts.unpacked > ratio_from and facts.unpacked > MAX_RATIO * facts.packed:
            raise UsageError(
                f"{name} unpacks to more than {MAX_RATIO} times its size, which is unusual for a trace: "
                "if it is a trace, unpack it and pass the unpacked file"
            )
        yield piece


class _Input:
    """A stream of blocks to which unused bytes can be returned."""

    __slots__ = ("_blocks", "_held")

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._held = b""

    def block(self) -> bytes:
        """Return the next bytes, as many as are available; empty at the end."""
        held, self._held = self._held, b""
        return held or next(self._blocks, b"")

    def put_back(self, data: bytes) -> None:
        self._held = data + self._held

    def drop(self) -> None:
        """Discard the rest."""
        self._held, self._blocks = b"", iter(())

    def skip_behind_zero(self) -> None:
        """Skip everything up to and including the next zero byte."""
        while block := self.block():
            _, zero, self._held = block.partition(b"\0")
            if zero:
                return

    def take(self, count: int) -> bytes:
        """Return `count` bytes, or fewer at the end."""
        while len(self._held) < count and (block := next(self._blocks, b"")):
            self._held += block
        taken, self._held = self._held[:count], self._held[count:]
        return taken


def _gunzipped(blocks: Iterator[bytes], name: str, facts: StreamFacts) -> Iterator[bytes]:
    """Unpack every member of a gzip file. Damage ends the stream and is noted; the bytes before it are kept."""
    source = _Input(blocks)
    found_any = False
    while _skip_header(source):
        checksum = length = 0
        for piece in _inflated(source, facts):
            checksum = isal_zlib.crc32(piece, checksum)
            length += len(piece)
            found_any = True
            yield piece
        trailer = source.take(8)
        if len(trailer) < 8:
            if not facts.repairs.keys() & {_DAMAGED, _CUT}:
                facts.repairs[_CUT] += 1
            break
        if trailer != _trailer(checksum, length):
            facts.repairs["gzip checksum does not match"] += 1
    if not found_any:
        raise UsageError(f"{name} is gzip but cannot be unpacked: copy or record it again")
    if source.take(PIECE).strip(b"\0"):
        facts.repairs["bytes after the gzip stream left out"] += 1


def _trailer(checksum: int, length: int) -> bytes:
    """The end of a gzip member: CRC32, and the length modulo 2^32 (RFC 1952)."""
    return checksum.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")


def _inflated(source: _Input, facts: StreamFacts) -> Iterator[bytes]:
    """Unpack one deflate stream. The bytes after it stay in `source`, unless the stream is damaged."""
    inflater = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    while not inflater.eof:
        block = source.block() if inflater.needs_input else b""
        try:
            piece = inflater.decompress(block, INFLATED_PIECE)
        except _InflateError:
            facts.repairs[_DAMAGED] += 1
            source.drop()
            return
        if piece:
            yield piece
        elif not block and not inflater.eof:
            facts.repairs[_CUT] += 1
            return
    source.put_back(inflater.unused_data)


def _skip_header(source: _Input) -> bool:
    """Skip one gzip header (RFC 1952); return False and consume nothing where there is none."""
    head = source.take(10)
    if len(head) < 10 or head[:3] != b"\x1f\x8b\x08" or head[3] & 0xE0:
        source.put_back(head)
        return False
    flags = head[3]
    if flags & 4:
        source.take(int.from_bytes(source.take(2), "little"))
    for bit in (8, 16):  # a file name, a comment
        if flags & bit:
            source.skip_behind_zero()
    if flags & 2:
        source.take(2)
    return True


def _unzipped_stream(blocks: Iterator[bytes], name: str, facts: StreamFacts, held: int = _HELD) -> Iterator[bytes]:
    """Like _unzipped, but from a pipe: a zip archive's directory is at its end, so all of it is stored first."""
    with tempfile.SpooledTemporaryFile(held) as file:
        file.writelines(blocks)
        file.seek(0)
        yield from _unzipped(file, name, facts)


def _unzipped(file: IO[bytes], name: str, facts: StreamFacts) -> Iterator[bytes]:
    """The one JSON file in a zip archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith(_MAC)]
            chosen = [m for m in members if m.filename.endswith((".json", ".json.gz"))] or members
            if len(chosen) != 1:
                named = ", ".join(printable(m.filename) for m in chosen[:5]) or "nothing"
                raise UsageError(f"{name} should contain one JSON file but contains {named}: unpack it and name one")
            facts.packed = file.seek(0, io.SEEK_END)
            with archive.open(chosen[0]) as member:
                while piece := member.read(PIECE):
                    yield piece
    except _ZIP_ERRORS as error:
        raise UsageError(
            f"{name} is a zip archive that cannot be unpacked ({printable(str(error))}): unpack it first"
        ) from error
