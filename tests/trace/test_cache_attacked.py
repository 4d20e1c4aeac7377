"""The cache against what somebody, or a power cut, put into it: nothing outside it is touched, no number changes."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from perfkit.schema.progress import Progress
from perfkit.trace import cache, cache_entry
from perfkit.trace.cache import Cache
from perfkit.trace.columns import Thread, Trace
from perfkit.trace.load import load as load_file
from perfkit.trace.recording import Device, Tool, WholeGraphs
from tests.builders import saying
from tests.reference import random_traces

LONG_AGO = (1e9, 1e9)
KEPT = Cache(smallest_bytes=0, settled_s=-1.0)
"""A cache of files of any size, which notes their digests at once."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for the cache."""
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(path: Path, *, cache: Cache = KEPT, use_cache: bool = True, progress: Progress | None = None) -> Trace:
    return load_file(path, cache=cache, use_cache=use_cache, progress=progress)


def write_trace(path: Path, seed: int = 1) -> Path:
    random_traces.write_json(random_traces.generate(seed), path)
    return path


def only(pattern: str) -> Path:
    (path,) = KEPT.folder.glob(pattern)
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def same_columns(first: Trace, second: Trace) -> bool:
    return all(
        np.array_equal(getattr(getattr(first, part), field.name), getattr(getattr(second, part), field.name))
        for part in ("host", "device", "flows")
        for field in dataclasses.fields(getattr(first, part))
    )


@pytest.mark.parametrize(
    "note",
    [
        "",
        ".",
        "..",
        "../..",
        "{victim}",
        "../../../victim",
        "{victim}/",
        "\0",
        "a" * 63,
        "a" * 64,
        "A" * 64,
        "g" * 64,
        "{digest}",
        "{digest} {digest}\n",
        "\udcff\udcfe",
        "x" * 100_000,
    ],
)
def test_a_note_names_no_path(tmp_path, note):
    """GIVEN a note with a path, with nothing, or with any other text in it WHEN the trace is read, and read again
    THEN folders elsewhere, and other entries, are as they were, and the numbers are the file's"""
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "meta.json").write_text("precious")
    file, other = write_trace(tmp_path / "t.json"), write_trace(tmp_path / "other.json", 2)
    load(other)
    other_entry = only("*.trace")
    first = load(file)
    for path in KEPT.folder.glob("*.note"):
        text = note.format(victim=victim, digest=other_entry.stem)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    for _ in range(2):
        assert same_columns(load(file), first)
    assert content(victim) == {"meta.json": b"precious"}
    assert other_entry.is_file()


def test_a_whole_note_of_another_file_is_not_believed(tmp_path):
    """GIVEN the note of one file under the name of another's WHEN that is read THEN its own numbers come"""
    file, other = write_trace(tmp_path / "t.json"), write_trace(tmp_path / "other.json", 2)
    first = load(file)
    note = only("*.note")
    load(other)
    (others_note,) = set(KEPT.folder.glob("*.note")) - {note}
    note.write_bytes(others_note.read_bytes())
    assert same_columns(load(file), first)


def test_nothing_but_own_files_is_ever_removed(tmp_path):
    """GIVEN folders and files of others in the cache's folder, old and large WHEN entries are cleared away THEN they
    stay, and where a folder has an entry's name the trace is read all the same"""
    file = write_trace(tmp_path / "t.json")
    with file.open("rb") as opened:
        digest = KEPT.key_of(opened).digest
    root = KEPT.folder
    for name in (f"{digest}.trace", "a" * 64, "b" * 64 + ".trace", "b" * 64 + ".note", ".draft-x", "seen", "mine"):
        (root / name).mkdir(parents=True)
        (root / name / "meta.json").write_text("precious")
    for name in ("a" * 63 + ".trace", "a" * 64 + ".trace.bak", "results.csv"):
        (root / name).write_text("precious")
    for path in root.rglob("*"):
        os.utime(path, LONG_AGO)
    root.chmod(0o700)
    before = content(root)
    load(file, cache=Cache(smallest_bytes=0, settled_s=-1.0, limit_bytes=1))
    assert content(root).items() >= before.items()


def test_a_link_in_the_place_of_an_entry_is_not_followed(tmp_path):
    """GIVEN links where entry and note should be WHEN the trace is read THEN what they lead to is neither read nor
    changed"""
    file = write_trace(tmp_path / "t.json")
    first = load(file)
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("*.trace", "*.note"):
        path = only(name)
        path.rename(outside / path.name)
        path.symlink_to(outside / path.name)
    before = content(outside)
    again = load(file)
    assert same_columns(first, again)
    assert content(outside) == before
    assert not only("*.trace").is_symlink()  # read anew, and kept anew


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_not_used(tmp_path, mode):
    """GIVEN a cache folder open to others, with a good entry WHEN a trace is read THEN the entry is not used and
    nothing is written, and a remark says why"""
    file = write_trace(tmp_path / "t.json")
    load(file)
    before = content(KEPT.folder)
    KEPT.folder.chmod(mode)
    assert load(file).facts.remarks == (cache.NOT_OURS,)
    assert load(write_trace(tmp_path / "more.json", 2)).facts.remarks == (cache.NOT_OURS,)
    assert content(KEPT.folder) == before


def test_a_link_in_the_place_of_the_folder_is_not_used(tmp_path):
    """GIVEN a link to a user's folder where the cache should be WHEN a trace is read THEN nothing is written there"""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    KEPT.folder.parent.mkdir(parents=True)
    KEPT.folder.symlink_to(elsewhere)
    assert load(write_trace(tmp_path / "t.json")).facts.remarks == (cache.NOT_OURS,)
    assert not any(elsewhere.iterdir())


def test_an_entry_that_others_can_write_to_is_not_used(tmp_path):
    file = write_trace(tmp_path / "t.json")
    first = load(file)
    only("*.trace").write_bytes(b"not an entry")
    only("*.trace").chmod(0o666)
    again = load(file)
    assert again.facts.remarks == ()
    assert same_columns(first, again)


def test_the_cache_is_private(tmp_path):
    """GIVEN the most generous umask WHEN the cache is made THEN nobody else can read or write it"""
    before = os.umask(0)
    try:
        load(write_trace(tmp_path / "t.json"))
    finally:
        os.umask(before)
    assert KEPT.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in KEPT.folder.iterdir()} == {0o600}


def forged(entry: Path, change: Callable[[Trace], Trace]) -> None:
    """The entry as somebody would write it who knows its format: with a checksum that matches."""
    trace = cache_entry.decode(entry.read_bytes(), entry.stem, "t.json")
    entry.write_bytes(b"".join(cache_entry.encode(entry.stem, change(trace))))


def with_column(part: str, column: str, value: Any) -> Callable[[Trace], Trace]:
    def change(trace: Trace) -> Trace:
        columns = getattr(trace, part)
        values = value(getattr(columns, column))
        return dataclasses.replace(trace, **{part: dataclasses.replace(columns, **{column: values})})

    return change


def with_facts(**facts: Any) -> Callable[[Trace], Trace]:
    return lambda trace: dataclasses.replace(trace, facts=msgspec.structs.replace(trace.facts, **facts))


def last_is(number: int) -> Callable[[Any], Any]:
    return lambda values: np.concatenate([values[:-1], np.array([number], dtype=values.dtype)])


@pytest.mark.parametrize(
    "change",
    [
        with_column("host", "name", last_is(-1)),
        with_column("host", "name", last_is(10**6)),
        with_column("host", "kind", last_is(5)),
        with_column("host", "thread", last_is(-1)),
        with_column("host", "thread", last_is(10**6)),
        with_column("host", "end", last_is(-(2**62))),
        with_column("host", "start", lambda values: values.astype(np.int32)),
        with_column("host", "start", lambda values: values.astype(np.uint64)),
        with_column("device", "name", last_is(-1)),
        with_column("device", "name", last_is(10**6)),
        with_column("device", "kind", last_is(3)),
        with_column("device", "annotation", last_is(-2)),
        with_column("device", "annotation", last_is(10**6)),
        with_column("device", "end", last_is(-(2**62))),
        with_column("flows", "thread", last_is(10**6)),
        lambda trace: dataclasses.replace(trace, names=()),
        lambda trace: dataclasses.replace(trace, threads=()),
        # Numbers that are none: times, durations, counts of another kind than the readers make.
        with_column("host", "start", last_is(-(2**63))),
        with_column("host", "end", last_is(2**63 - 1)),
        with_column("host", "sequence", last_is(-2)),
        with_column("host", "forward_thread", last_is(-(2**63))),
        with_column("device", "start", last_is(-(2**63))),
        with_column("device", "end", last_is(2**63 - 1)),
        with_column("device", "device", last_is(-2)),
        with_column("device", "bytes", lambda values: np.full(len(values), 2**62)),
        with_column("flows", "time", last_is(-(2**63))),
        with_column("flows", "time", last_is(2**61 + 1)),
        with_facts(resolution_ns=0),
        with_facts(resolution_ns=10),
        with_facts(events=-1),
        with_facts(negative_durations=10**40),
        with_facts(overhead_ns=-5),
        with_facts(truncated_at=-1),
        with_facts(base_time_ns=10**40),
        with_facts(base_time_ns=-(2**63) - 1),
        with_facts(ignored={"x": -1}),
        with_facts(ignored={"\x1b[31m": 1}),
        with_facts(repairs={"y": 10**30}),
        with_facts(remarks=("\x1b[31mhi",)),
        lambda trace: saying(trace, rank=10**30),
        lambda trace: saying(trace, rank=2**63),
        lambda trace: dataclasses.replace(trace, threads=tuple(Thread(10**30, 1) for _ in trace.threads)),
        lambda trace: dataclasses.replace(trace, threads=tuple(Thread(1, -(2**63) - 1) for _ in trace.threads)),
        lambda trace: saying(trace, devices=(Device(2**63, "gpu"),)),
        lambda trace: saying(trace, devices=(Device(0, "gpu", 2**63),)),
        lambda trace: saying(trace, devices=(Device(0, "gpu", multiprocessors=2**63),)),
        lambda trace: saying(trace, devices=(Device(0, "gpu", compute_major=2**63),)),
        lambda trace: saying(trace, devices=(Device(0, "gpu", compute_minor=2**63),)),
        lambda trace: saying(trace, devices=(Device(0, "gpu", clock_hz=2**63),)),
        lambda trace: saying(trace, devices=(Device(0, "gpu", bytes_per_s=2**63),)),
        lambda trace: saying(trace, world_size=2**63),
        lambda trace: saying(trace, tool=Tool.NSYS),
        lambda trace: saying(trace, newer_report="a.nsys-rep"),
        lambda trace: saying(trace, whole_graphs=WholeGraphs(1, 1)),
    ],
)
def test_an_entry_of_values_that_no_file_gives_is_damaged(tmp_path, change):
    """GIVEN an entry with a matching checksum and an index that points at nothing, or a number that reading never makes
    WHEN read THEN the file is instead, and it is said once"""
    file = write_trace(tmp_path / "t.json", 9)
    first = load(file)
    assert all(len(part) for part in (first.host, first.device, first.flows))
    forged(only("*.trace"), change)
    again = load(file)
    assert again.facts.remarks == (cache.DAMAGED,)
    assert same_columns(first, again)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{}",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"null",
        b'{"key":"' + b"a" * 64 + b'"}',
    ],
)
def test_a_head_that_is_none_is_damaged(tmp_path, head):
    """GIVEN an entry whose checksum matches and whose head is not one WHEN read THEN the file is instead"""
    file = write_trace(tmp_path / "t.json")
    first = load(file)
    rest = head + b"\n"
    only("*.trace").write_bytes(hashlib.sha256(rest).hexdigest().encode() + b"\n" + rest)
    again = load(file)
    assert again.facts.remarks == (cache.DAMAGED,)
    assert same_columns(first, again)


def in_parquet(body: bytes) -> bytes:
    """The last byte before the tables' own description, which makes that one unreadable."""
    return body[:-9] + bytes([body[-9] ^ 0xFF]) + body[-8:]


@pytest.mark.parametrize(
    "change",
    [
        in_parquet,
        lambda body: body[: body.index(b"\n") + 1] + b"\0" * (len(body) - body.index(b"\n") - 1),
        lambda body: body[:-4] + b"PAR2",
        lambda body: body.replace(b'"names":["', b'"names":["\xff\xfe'),
        lambda body: body.replace(b'"versions":{', b'"versions":{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b",", 1),
        lambda body: body.replace(b'"pid":', b'"pid":1' + b"0" * 30, 1),
    ],
    ids=["parquet", "zeros", "magic", "utf-8", "nested", "huge"],
)
def test_an_entry_that_cannot_be_decoded_is_damaged(tmp_path, change):
    """GIVEN an entry with a matching checksum whose inside is no JSON, no UTF-8, no Parquet, or too deep or large WHEN
    read THEN the file is instead, and it is said once"""
    file = write_trace(tmp_path / "t.json", 9)
    first = load(file)
    entry = only("*.trace")
    body = entry.read_bytes()[65:]
    changed = change(body)
    assert changed != body
    entry.write_bytes(hashlib.sha256(changed).hexdigest().encode() + b"\n" + changed)
    again = load(file)
    assert again.facts.remarks == (cache.DAMAGED,)
    assert same_columns(first, again)


@pytest.mark.parametrize("settled_seconds", [-1.0, 1e9])
@pytest.mark.parametrize("times_kept", [False, True])
def test_a_file_replaced_while_it_is_read_leaves_no_entry(tmp_path, settled_seconds, times_kept):
    """GIVEN a file that gets other content after it was hashed WHEN its reading ends THEN the cache has nothing of
    it, under neither name, and a remark says that it changed; the first content's numbers come when it is back"""
    file = write_trace(tmp_path / "t.json")
    one, two = file.read_bytes(), write_trace(tmp_path / "two.json", 2).read_bytes()
    size = max(len(one), len(two))
    one, two = one.ljust(size), two.ljust(size)
    file.write_bytes(one)
    before = file.stat()

    def replace(*_: object) -> None:
        file.write_bytes(two)
        if times_kept:
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    class Replacing(Cache):
        def read(self, digest: str, source: str) -> Trace | None:
            found = super().read(digest, source)
            replace()
            return found

    time.sleep(0.02)  # a tick of the file system's clock, so that the second writing has another time
    load(file, cache=Replacing(smallest_bytes=0, settled_s=settled_seconds))
    assert not list(KEPT.folder.glob("*.trace")) if KEPT.folder.exists() else True
    for data in (one, two):
        file.write_bytes(data)
        assert same_columns(load(file), load(file, use_cache=False))


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path):
    """GIVEN a file that grows while it is read, with the cache or without WHEN read THEN a remark says so"""
    file = write_trace(tmp_path / "t.json")

    def grow(*_: object) -> None:
        if file.stat().st_size == size:
            with file.open("ab") as more:
                more.write(b" ")

    for use_cache in (False, True):
        size = file.stat().st_size
        (remark,) = load(file, progress=grow, use_cache=use_cache).facts.remarks
        assert remark.startswith("the file changed while it was read")
    assert load(file).facts.remarks == ()
