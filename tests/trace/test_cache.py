"""The cache of parsed traces: the same columns back, whatever happens around it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from perfkit.schema.progress import Progress
from perfkit.trace import cache
from perfkit.trace.cache import Cache
from perfkit.trace.columns import Trace
from perfkit.trace.load import load as load_file
from tests.reference import random_traces

ANY_SIZE = Cache(smallest_bytes=0)
"""A cache of files of any size."""
SETTLED = Cache(smallest_bytes=0, settled_s=-1.0)
"""One that takes no file for new."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for the cache."""
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(
    path: Path | str, *, cache: Cache = ANY_SIZE, use_cache: bool = True, progress: Progress | None = None
) -> Trace:
    return load_file(path, cache=cache, use_cache=use_cache, progress=progress)


def write_trace(path: Path, seed: int) -> Path:
    random_traces.write_json(random_traces.generate(seed), path)
    return path


def key(path: Path) -> str:
    with path.open("rb") as file:
        return ANY_SIZE.key_of(file).digest


def entry_of(path: Path) -> Path:
    return ANY_SIZE.folder / f"{key(path)}.trace"


def assert_same(first: Trace, second: Trace) -> None:
    for part in ("host", "device", "flows"):
        one, other = getattr(first, part), getattr(second, part)
        for field in dataclasses.fields(one):
            a, b = getattr(one, field.name), getattr(other, field.name)
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)
    columns = {"host", "device", "flows", "origin"}  # which is of the file in hand, as its time is
    rest = [field.name for field in dataclasses.fields(first) if field.name not in columns]
    assert [getattr(first, name) for name in rest] == [getattr(second, name) for name in rest]


def parsed(*_: object) -> None:
    """Progress of a file that should not be read anew."""
    raise AssertionError("parsed again")


@pytest.mark.parametrize("seed", range(10))
def test_a_second_look_does_not_parse_and_gives_the_same(tmp_path, seed):
    """GIVEN a trace read once WHEN read again THEN it comes from the cache, equal in every column"""
    file = write_trace(tmp_path / "t.json", seed)
    first = load(file)
    assert_same(first, load(file, progress=parsed))


def test_a_copy_is_found_and_a_changed_file_is_not(tmp_path):
    """GIVEN a cached file WHEN it is copied THEN the copy is found; WHEN it changes THEN it is read anew"""
    file = write_trace(tmp_path / "t.json", 1)
    first = load(file)
    write_trace(file, 2)
    assert len(load(file).host) != len(first.host)
    copy = write_trace(tmp_path / "copy.json", 1)
    assert_same(dataclasses.replace(first, source=str(copy)), load(copy, progress=parsed))


def test_a_change_within_the_clock_tick_is_seen(tmp_path):
    """GIVEN a file rewritten to the same size right after it was read WHEN read again THEN the new content counts"""
    events = [{"ph": "X", "cat": "cpu_op", "name": "a", "pid": 1, "tid": 1, "ts": 1, "dur": 1, "args": {}}]
    file = tmp_path / "t.json"
    for name in ("a", "b", "c"):
        events[0]["name"] = name
        random_traces.write_json(events, file)
        assert load(file).names == (name,)


def test_no_cache_leaves_nothing(tmp_path, own_cache):
    load(write_trace(tmp_path / "t.json", 1), use_cache=False)
    assert not own_cache.exists()


def test_a_cancelled_reading_leaves_nothing(tmp_path, own_cache):
    """GIVEN a file that is not new WHEN its reading is cancelled THEN the cache is as it was; read, it is noted"""
    file = write_trace(tmp_path / "t.json", 1)
    os.utime(file, (1, 1))

    def cancelled(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(file, cache=SETTLED, progress=cancelled)
    assert not own_cache.exists()
    load(file, cache=SETTLED)
    assert len(list(ANY_SIZE.folder.glob("*.note"))) == 1
    assert entry_of(file).is_file()


def test_small_files_are_not_kept(tmp_path, own_cache):
    load(write_trace(tmp_path / "t.json", 1), cache=Cache())
    assert not own_cache.exists()


@pytest.mark.parametrize("damage", ["cut", "empty", "one byte", "of another file"])
def test_a_damaged_entry_is_read_anew_and_said(tmp_path, damage):
    """GIVEN an entry that was damaged WHEN the file is read THEN it is parsed, with one remark; next time with none"""
    file, other = write_trace(tmp_path / "t.json", 3), write_trace(tmp_path / "other.json", 4)
    first = load(file)
    load(other)
    entry = entry_of(file)
    data = bytearray(entry.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "empty":
        data.clear()
    elif damage == "one byte":
        data[len(data) // 2] ^= 1
    else:
        data[:] = entry_of(other).read_bytes()
    entry.write_bytes(data)
    again = load(file)
    assert again.facts.remarks == (cache.DAMAGED,)
    assert_same(first, dataclasses.replace(again, facts=first.facts))
    assert_same(first, load(file))


def test_a_deleted_cache_is_no_damage(tmp_path, own_cache):
    file = write_trace(tmp_path / "t.json", 3)
    first = load(file)
    shutil.rmtree(own_cache)
    assert_same(first, load(file))


def test_entries_of_another_version_are_not_read(tmp_path):
    file = write_trace(tmp_path / "t.json", 1)
    load(file)
    assert ANY_SIZE.folder.name == f"v{cache.VERSION}"
    ANY_SIZE.folder.rename(ANY_SIZE.folder.with_name(f"v{cache.VERSION + 1}"))
    with pytest.raises(AssertionError, match="parsed again"):
        load(file, progress=parsed)


def test_the_least_recently_used_go_first(tmp_path):
    """GIVEN a limit of a few entries WHEN more are written THEN the one used longest ago is gone, the used one stays"""
    files = [write_trace(tmp_path / f"{seed}.json", seed) for seed in range(4)]
    for age, file in enumerate(files[:3]):
        load(file)
        os.utime(entry_of(file), (1e9 + age, 1e9 + age))
    load(files[0])  # used again: now the newest
    limit = sum(path.stat().st_size for path in ANY_SIZE.folder.glob("*.trace"))
    load(files[3], cache=Cache(smallest_bytes=0, limit_bytes=limit))
    kept = [entry_of(file).exists() for file in files]
    assert kept[0]
    assert not kept[1]
    assert kept[3]


def test_notes_do_not_pile_up(tmp_path):
    """GIVEN more notes than are kept WHEN an entry is written THEN the oldest are gone, the newest stay"""
    ANY_SIZE.folder.mkdir(parents=True, mode=0o700)
    notes = [ANY_SIZE.folder / f"{digit * 64}.note" for digit in "abc"]
    for age, note in enumerate(notes):
        note.write_text("x")
        os.utime(note, (1e9 + age, 1e9 + age))
    load(write_trace(tmp_path / "t.json", 1), cache=Cache(smallest_bytes=0, most_notes=2))
    assert [note.exists() for note in notes] == [False, True, True]


def test_an_unwritable_cache_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PERFKIT_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert len(load(write_trace(tmp_path / "t.json", 1)).host)


def _load_often(path: str) -> int:
    for _ in range(5):
        rows = len(load(path).host)
        shutil.rmtree(ANY_SIZE.folder, ignore_errors=True)
    return rows


def test_writers_may_race(tmp_path):
    """GIVEN several processes that read, write and delete the same entry WHEN all are done THEN none failed"""
    file = write_trace(tmp_path / "t.json", 5)
    # Not forked: this process has threads by now, and what one of them holds would be held for ever in the copies.
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        rows = pool.map(_load_often, [str(file)] * 4)
    assert set(rows) == {len(load(file, use_cache=False).host)}


def test_what_interrupted_writers_left_is_cleared(tmp_path):
    """GIVEN a draft of an hour ago, and one of now WHEN an entry is written THEN the old one alone is gone"""
    load(write_trace(tmp_path / "a.json", 1))
    old, new = ANY_SIZE.folder / ".draft-old", ANY_SIZE.folder / ".draft-new"
    for draft in (old, new):
        draft.write_bytes(b"")
    os.utime(old, (time.time() - 7200,) * 2)
    load(write_trace(tmp_path / "b.json", 2))
    assert not old.exists()
    assert new.exists()
    assert [path.name for path in ANY_SIZE.folder.glob(".draft-*")] == [new.name]  # nor one of its own


def test_a_name_that_no_text_can_hold_is_not_kept_and_no_error(tmp_path):
    """GIVEN a trace whose name is half a surrogate pair WHEN read twice THEN both times it is the same"""
    file = tmp_path / "t.json"
    event = {"ph": "X", "cat": "cpu_op", "name": "\ud800", "pid": 1, "tid": 1, "ts": 1, "dur": 1, "args": {}}
    file.write_text(json.dumps({"traceEvents": [event]}))
    assert_same(load(file), load(file))


def test_a_noted_file_is_not_hashed_again(tmp_path):
    """GIVEN a settled file that was read WHEN its key is asked for THEN it is the noted one, and nothing is read"""
    file = write_trace(tmp_path / "t.json", 1)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with file.open("rb") as opened:
        first = SETTLED.key_of(opened)
    assert (first.digest, first.is_settled, first.is_noted) == (digest, True, False)
    load(file, cache=SETTLED)
    with file.open("rb") as opened:
        again = SETTLED.key_of(opened)
        assert opened.tell() == 0
    assert (again.digest, again.is_settled, again.is_noted) == (digest, True, True)
    assert again.identity == first.identity


@pytest.mark.parametrize(
    ("modified", "changed", "is_settled"),
    [(97, 97, True), (98, 98, False), (99, 97, False), (97, 99, False), (90, 97.9, True)],
)
def test_a_file_of_the_last_two_seconds_is_not_settled(modified, changed, is_settled):
    """GIVEN the time 100 WHEN a file's content or name changed within two seconds THEN its times need not show it"""
    assert Cache(now=lambda: 100.0).is_settled(modified, changed) is is_settled


@pytest.mark.parametrize(("size", "worth"), [(9, False), (10, True), (11, True)])
def test_files_from_a_size_on_are_looked_up(tmp_path, size, worth):
    (tmp_path / "x").write_bytes(b"x" * size)
    with (tmp_path / "x").open("rb") as file:
        assert Cache(smallest_bytes=10).is_worth_it(file) is worth


def test_the_bounds_of_the_cache():
    """GIVEN nothing set THEN files from 4 MiB on are kept, up to 4 GiB of them (docs/analyze.md), and 10,000 notes"""
    kept = Cache()
    assert (kept.smallest_bytes, kept.limit_bytes, kept.most_notes) == (4_194_304, 4_294_967_296, 10_000)


def test_what_is_no_regular_file_is_not_looked_up():
    with Path(os.devnull).open("rb") as file:
        assert not ANY_SIZE.is_worth_it(file)


@pytest.mark.parametrize(("size", "is_read"), [(10, True), (11, False)])
def test_an_entry_up_to_the_limit_is_read(tmp_path, size, is_read):
    (tmp_path / "x").write_bytes(b"x" * size)
    assert cache._own_bytes(tmp_path / "x", 10) == (b"x" * size if is_read else None)


@pytest.mark.parametrize(("spare", "kept"), [(0, [True, True]), (-1, [False, True])])
def test_entries_that_just_fit_stay(tmp_path, spare, kept):
    """GIVEN two entries and a limit of their size, or one byte less WHEN tidied THEN both stay, or the newer"""
    files = [write_trace(tmp_path / f"{seed}.json", seed) for seed in range(2)]
    for age, file in enumerate(files):
        load(file)
        os.utime(entry_of(file), (1e9 + age, 1e9 + age))
    together = sum(entry_of(file).stat().st_size for file in files)
    Cache(limit_bytes=together + spare).forget_oldest()
    assert [entry_of(file).exists() for file in files] == kept


@pytest.mark.parametrize(("is_settled", "is_noted", "kept"), [(True, False, 1), (True, True, 0), (False, False, 0)])
def test_the_digest_of_a_settled_file_is_noted_once(own_cache, is_settled, is_noted, kept):
    ANY_SIZE.remember(cache.Key("a" * 64, "device, inode, size, times", is_settled, is_noted))
    assert len(list(ANY_SIZE.folder.glob("*.note"))) == kept


def test_what_cannot_be_put_in_place_leaves_no_draft(tmp_path):
    """GIVEN a folder where the entry should go WHEN it is written THEN nothing is, and nothing of it is left"""
    entry = tmp_path / "entry"
    entry.mkdir()
    cache._put(entry, [b"text"])
    assert list(tmp_path.iterdir()) == [entry]


@pytest.mark.parametrize(("age", "stays"), [(3599, True), (3600, True), (3601, False)])
def test_a_draft_stays_for_an_hour(age, stays):
    ANY_SIZE.folder.mkdir(parents=True, mode=0o700)
    draft = ANY_SIZE.folder / ".draft-x"
    draft.write_bytes(b"")
    os.utime(draft, (1e9 - age, 1e9 - age))
    Cache(now=lambda: 1e9).forget_oldest()
    assert draft.exists() is stays


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o720, 0o702, 0o777])
def test_a_folder_is_ours_if_nobody_else_can_write_to_it(mode):
    assert ANY_SIZE.is_ours()  # there is none yet
    ANY_SIZE.folder.mkdir(parents=True)
    ANY_SIZE.folder.chmod(mode)
    assert ANY_SIZE.is_ours() is (mode in (0o700, 0o755))
