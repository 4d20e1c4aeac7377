"""Unpacking: plain, gzip in its varieties, zip; damage keeps what came before it; bombs are refused."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
import zlib
from collections.abc import Iterator

import pytest

from perfkit.errors import UsageError
from perfkit.trace import byte_stream
from perfkit.trace.byte_stream import StreamFacts, unpacked

TEXT = b"".join(b'{"line": %d}\n' % number for number in range(60_000))


def unpack(data: bytes) -> tuple[bytes, dict[str, int]]:
    facts = StreamFacts()
    return b"".join(unpacked(io.BytesIO(data), "t.gz", facts)), dict(facts.repairs)


def gzip_with_every_header_field(data: bytes, comment: int = 9) -> bytes:
    header = b"\x1f\x8b\x08\x1e" + bytes(6) + b"\x04\0abcd" + b"name.json\0"
    header += b"x" * comment + b"\0"
    header += zlib.crc32(header).to_bytes(4, "little")[:2]
    deflate = zlib.compressobj(wbits=-15)
    trailer = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return header + deflate.compress(data) + deflate.flush() + trailer


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return target.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        gzip.compress(TEXT),
        gzip.compress(TEXT, 0),
        gzip.compress(TEXT[:777_777]) + gzip.compress(b"") + gzip.compress(TEXT[777_777:]),
        gzip.compress(TEXT) + b"\0" * 512,
        gzip_with_every_header_field(TEXT),
        gzip_with_every_header_field(TEXT, comment=1 << 20),
        gzip.compress(gzip.compress(TEXT)),
        zipped(("t.json", TEXT)),
        zipped(("t.json", TEXT), method=zipfile.ZIP_STORED),
        zipped(("t.json", TEXT), ("__MACOSX/._t.json", b"\0\5\x16\7")),
        zipped(("a/", b""), ("a/t.json.gz", gzip.compress(TEXT)), ("README", b"hello")),
    ],
)
def test_every_packing_gives_the_same_bytes(data: bytes) -> None:
    assert unpack(data) == (TEXT, {})


class Pipe(io.BytesIO):
    """Bytes that can be read once."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: int) -> int:
        raise io.UnsupportedOperation("seek")


@pytest.mark.parametrize("held", [100, 1 << 20])
def test_a_zip_is_put_aside_in_memory_or_in_a_file(held: int) -> None:
    blocks = iter([zipped(("t.json", TEXT))])
    assert b"".join(byte_stream._unzipped_stream(blocks, "t", StreamFacts(), held)) == TEXT


def test_a_zip_comes_through_a_pipe() -> None:
    data = zipped(("t.json", TEXT))
    facts = StreamFacts()
    assert b"".join(unpacked(Pipe(data), "t", facts)) == TEXT
    assert (facts.packed, facts.unpacked) == (len(data), len(TEXT))


def test_a_bomb_is_refused_from_a_pipe_too() -> None:
    with pytest.raises(UsageError, match="more than 200 times its size"):
        for _ in unpacked(Pipe(zipped(("t.json", bytes(1 << 23)))), "t", StreamFacts(), ratio_from=1 << 20):
            pass


@pytest.mark.parametrize("blocks", [1, 7, 4096])
def test_the_size_of_the_reads_does_not_matter(blocks: int) -> None:
    """GIVEN a file that gives so many bytes at a time, whatever is asked for"""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(blocks)

    data = gzip.compress(TEXT[:3000]) + gzip_with_every_header_field(TEXT[3000:5000])
    facts = StreamFacts()
    assert b"".join(unpacked(Slow(data), "t.gz", facts)) == TEXT[:5000]
    assert not facts.repairs


def test_a_cut_gzip_stream_gives_what_there_is() -> None:
    data = gzip.compress(TEXT)
    text, repairs = unpack(data[: len(data) // 2])
    assert len(text) > len(TEXT) // 3
    assert TEXT.startswith(text)
    assert repairs == {"gzip stream ends early": 1}
    for missing in range(1, 9):  # only the trailer is cut
        assert unpack(data[:-missing]) == (TEXT, {"gzip stream ends early": 1})


def test_a_damaged_gzip_stream_gives_what_came_before() -> None:
    packed = bytearray(gzip.compress(random.Random(1).randbytes(300_000) + TEXT))
    packed[len(packed) - 3000] ^= 0xFF
    packed[len(packed) - 2999] ^= 0xFF
    text, repairs = unpack(bytes(packed))
    assert text.startswith(random.Random(1).randbytes(300_000)[:200_000])
    assert sum(repairs.values()) == 1


@pytest.mark.parametrize("at", [-8, -1])
def test_a_wrong_checksum_or_length_is_noted_and_costs_nothing(at: int) -> None:
    packed = bytearray(gzip.compress(TEXT))
    packed[at] ^= 1
    assert unpack(bytes(packed)) == (TEXT, {"gzip checksum does not match": 1})


def test_what_follows_the_gzip_stream_is_left_out() -> None:
    assert unpack(gzip.compress(TEXT) + b"garbage") == (TEXT, {"bytes after the gzip stream left out": 1})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "t.gz is empty"),
        (gzip.compress(b"", mtime=0), "t.gz is gzip but cannot be unpacked"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff", "is gzip but cannot be unpacked"),
        (b"\x1f\x8b", "is gzip but cannot be unpacked"),
        (b"\x1f\x8b\x09" + bytes(30), "is gzip but cannot be unpacked"),
        (gzip.compress(TEXT, mtime=0)[:15], "is gzip but cannot be unpacked"),
        (b"SQLite format 3\0" + bytes(84), "which cannot be read from a stream or packed"),
        (gzip.compress(b"SQLite format 3\0" + bytes(84), mtime=0), "is an sqlite file"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "unpack it first (zstd -d)"),
        (b"\xfd7zXZ\0" + bytes(20), "unpack it first (xz -d)"),
        (b"BZh91AY&SY" + bytes(20), "unpack it first (bzip2 -d)"),
        ("[]".encode("utf-16"), "is UTF-16 text"),
        (zipped(), "should contain one JSON file but contains nothing"),
        (zipped(("a.json", b"[]"), ("b.json", b"[]")), "contains a.json, b.json"),
        (zipped(("a.txt", b"[]"), ("b", b"[]")), "contains a.txt, b"),
        (zipped(("t.json", TEXT))[:-30], "is a zip archive that cannot be unpacked"),
        (gzip.compress(zipped(("t.json", TEXT)), mtime=0), "is a zip archive in a gzip file"),
    ],
)
def test_what_cannot_be_unpacked_is_refused_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        unpack(data)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_zip_that_is_damaged_inside_is_refused() -> None:
    data = bytearray(zipped(("t.json", TEXT)))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(UsageError, match="cannot be unpacked"):
        unpack(bytes(data))


def test_a_bomb_is_refused() -> None:
    for bomb in (gzip.compress(bytes(1 << 23)), zipped(("t.json", bytes(1 << 23)))):
        facts = StreamFacts()
        with pytest.raises(UsageError, match="unpacks to more than 200 times its size"):
            for _ in unpacked(io.BytesIO(bomb), "t.gz", facts, ratio_from=1 << 20):
                pass
        assert facts.unpacked < 1 << 22
    for sound in (gzip.compress(TEXT * 3, 1), zipped(("t.json", TEXT * 3))):
        pieces = unpacked(io.BytesIO(sound), "t.gz", StreamFacts(), ratio_from=1 << 20)
        assert b"".join(pieces) == TEXT * 3


def test_gzip_is_unpacked_twice_at_most() -> None:
    twice = gzip.compress(gzip.compress(TEXT))
    assert unpack(gzip.compress(twice))[0] == gzip.compress(TEXT)


def test_unpacking_is_lazy_and_keeps_no_more_than_a_piece() -> None:
    largest = 0

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal largest
            assert size is not None
            assert 0 < size <= byte_stream.PIECE
            largest = max(largest, size)
            return super().read(size)

    pieces: Iterator[bytes] = unpacked(Watched(gzip.compress(TEXT)), "t.gz", StreamFacts())
    assert max(len(piece) for piece in pieces) <= byte_stream.PIECE
    assert largest == byte_stream.PIECE


def test_progress_counts_the_packed_bytes() -> None:
    data = gzip.compress(random.Random(2).randbytes(600_000))
    calls: list[tuple[int, int | None]] = []
    pieces = unpacked(
        io.BytesIO(data), "t", StreamFacts(), size=len(data), progress=lambda done, size: calls.append((done, size))
    )
    assert sum(map(len, pieces)) == 600_000
    assert calls[-1] == (len(data), len(data))
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert len(calls) == 3


def test_of_many_members_five_are_named() -> None:
    members = [(f"{letter}.json", b"[]") for letter in "abcdefg"]
    with pytest.raises(UsageError, match=r"contains a\.json, b\.json, c\.json, d\.json, e\.json: unpack it"):
        unpack(zipped(*members))


def test_limits_are_those_that_are_said() -> None:
    """A ratio between that of traces (10 to 30) and a bomb's (1032), from 1 GiB on; 64 MiB of a zip in memory."""
    assert (byte_stream.MAX_RATIO, byte_stream.RATIO_FROM, byte_stream._HELD) == (200, 2**30, 64 * 2**20)
    assert (byte_stream.PIECE, byte_stream.INFLATED_PIECE) == (256 * 1024, 64 * 1024)


@pytest.mark.parametrize(
    ("packed", "unpacked_bytes", "refused"),
    [(5000, 10**6, False), (4999, 10**6, True), (10, 10**6 - 1, False), (10, 2000, False)],
)
def test_a_ratio_counts_from_a_size_on_and_above_its_limit(packed: int, unpacked_bytes: int, refused: bool) -> None:
    """GIVEN 200 as the limit, from above 999,999 bytes on"""
    facts = StreamFacts(packed=packed)
    pieces = byte_stream._watched(iter([bytes(unpacked_bytes)]), "t", facts, ratio_from=10**6 - 1)
    if refused:
        with pytest.raises(UsageError, match="more than 200 times"):
            next(pieces)
    else:
        assert len(next(pieces)) == facts.unpacked == unpacked_bytes


@pytest.mark.parametrize(
    ("text", "shown"),
    [("name.json", "name.json"), ("a\nb", r"a\nb"), ("ü" * 200, "ü" * 100), ("\n" + "x" * 200, r"\n" + "x" * 99)],
)
def test_a_text_from_a_file_is_shown_in_one_line_that_is_not_too_long(text: str, shown: str) -> None:
    assert byte_stream.printable(text) == shown


@pytest.mark.parametrize("flags", range(32))
def test_any_fields_of_a_gzip_header_are_stepped_over(flags: int) -> None:
    """RFC 1952: FTEXT 1, FHCRC 2, FEXTRA 4, FNAME 8, FCOMMENT 16."""
    header = b"\x1f\x8b\x08" + bytes([flags]) + bytes(6)
    header += b"\x03\0abc" if flags & 4 else b""
    header += b"name\0" if flags & 8 else b""
    header += b"comment\0" if flags & 16 else b""
    header += b"\x12\x34" if flags & 2 else b""
    assert unpack(header + gzip.compress(TEXT)[10:]) == (TEXT, {})


@pytest.mark.parametrize("flags", [0x20, 0x40, 0x80])
def test_a_gzip_header_with_reserved_flags_is_none(flags: int) -> None:
    with pytest.raises(UsageError, match="is gzip but cannot be unpacked"):
        unpack(b"\x1f\x8b\x08" + bytes([flags]) + gzip.compress(TEXT)[4:])


def test_the_size_of_a_pipe_is_not_known_and_its_bytes_are_counted() -> None:
    calls: list[tuple[int, int | None]] = []
    facts = StreamFacts()
    pieces = unpacked(Pipe(TEXT[:100]), "t", facts, progress=lambda done, size: calls.append((done, size)))
    assert b"".join(pieces) == TEXT[:100]
    assert calls == [(100, None)]
    assert (facts.packed, facts.unpacked) == (100, 100)


def test_padding_after_a_gzip_stream_is_no_garbage_however_long() -> None:
    assert unpack(gzip.compress(TEXT) + bytes(5) + b"x") == (TEXT, {"bytes after the gzip stream left out": 1})
    assert unpack(gzip.compress(TEXT) + bytes(9)) == (TEXT, {})


@pytest.mark.parametrize(("length", "kept"), [(5, 5), (2**32 - 1, 2**32 - 1), (2**32, 0), (2**32 + 5, 5)])
def test_a_member_of_2_to_the_32_bytes_counts_its_length_as_gzip_does(length: int, kept: int) -> None:
    """The trailer holds the length modulo 2^32, least byte first (RFC 1952, 2.3.1)."""
    assert byte_stream._trailer(0x04030201, length) == b"\1\2\3\4" + kept.to_bytes(4, "little")
