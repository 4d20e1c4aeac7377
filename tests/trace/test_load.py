"""From a path to a Trace: formats by content, directories, standard input, and errors in one line."""

from __future__ import annotations

import gzip
import io
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from perfkit.analysis.reports import trace as trace_report
from perfkit.errors import UsageError
from perfkit.launch.nsys_export import REPORT_MAGIC
from perfkit.trace.chrome import document as chrome_json
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.columns import Content
from perfkit.trace.load import load
from tests.nsys_export import NsysExport
from tests.reports import lines_in
from tests.trace.chrome_reference import equal
from tests.trace.trace_damage import small_trace

TEXT = small_trace()


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain.json"
    path.write_bytes(TEXT)
    return path


def test_the_format_is_found_from_the_content_not_the_name(plain: Path, tmp_path: Path) -> None:
    expected = load(plain)
    assert len(expected.host) == 40
    assert expected.source == str(plain)
    packed = tmp_path / "really-gzip.json"
    packed.write_bytes(gzip.compress(TEXT))
    archive = tmp_path / "really-zip.gz"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("t.json", TEXT)
    for path in (packed, archive, str(packed)):
        assert equal(load(path), expected)


def test_standard_input(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (TEXT, gzip.compress(TEXT)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        trace = load("-")
        assert equal(trace, load(plain))
        assert trace.source == "standard input"


def test_a_pipe(plain: Path) -> None:
    code = "from perfkit.trace.load import load; print(len(load('-').host))"
    done = subprocess.run([sys.executable, "-c", code], input=gzip.compress(TEXT), capture_output=True, check=True)
    assert done.stdout == b"40\n"


def test_standard_input_is_read_from_where_it_stands(tmp_path: Path) -> None:
    """GIVEN a log whose first line a shell has read, and a time of four decimals, for which the rest is read twice"""
    # GIVEN
    event = b'{"ph": "X", "cat": "cpu_op", "name": "a", "pid": 1, "tid": 1, "ts": 1.0006, "dur": 2}'
    log = tmp_path / "log"
    log.write_bytes(b"first line\n[" + event + b"]")

    # WHEN
    code = "from perfkit.trace.load import load; print(load('-').host.start.tolist())"
    with log.open("rb", buffering=0) as file:
        file.seek(len("first line\n"))
        done = subprocess.run([sys.executable, "-c", code], stdin=file, capture_output=True, check=True)

    # THEN
    assert done.stdout == b"[1001]\n"


def test_a_directory_with_one_trace_stands_for_it(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "log").mkdir()
    with pytest.raises(UsageError, match=r"that contains no \*\.pt\.trace\.json.*, but log/, notes\.json: name"):
        load(tmp_path)
    with pytest.raises(UsageError, match=r"log is an empty directory: name a trace file, or a folder that has one"):
        load(tmp_path / "log")
    (tmp_path / "host_1.pt.trace.json.gz").write_bytes(gzip.compress(TEXT))
    trace = load(tmp_path)
    assert len(trace.host) == 40
    assert trace.source.endswith("host_1.pt.trace.json.gz")
    (tmp_path / "host_2.pt.trace.json").write_bytes(TEXT)
    with pytest.raises(UsageError, match=r"contains 2 traces \(host_1\.pt\.trace\.json\.gz, host_2\.pt\.trace\.json\)"):
        load(tmp_path)


@pytest.mark.parametrize(("count", "rest"), [(5, ""), (6, ", ...")])
def test_of_many_traces_five_are_named(tmp_path: Path, count: int, rest: str) -> None:
    for number in range(count):
        (tmp_path / f"{number}.pt.trace.json").write_bytes(TEXT)
    names = ", ".join(f"{number}.pt.trace.json" for number in range(5))
    with pytest.raises(UsageError, match=re.escape(f"contains {count} traces ({names}{rest}): name one of them")):
        load(tmp_path)


def test_a_directory_with_one_export_of_nsys_stands_for_it(tmp_path: Path) -> None:
    NsysExport().range("a", 0, 9).write(tmp_path / "one.sqlite")
    assert load(tmp_path).source.endswith("one.sqlite")
    # Beside its report it is the same recording; another report is another.
    (tmp_path / "one.nsys-rep").write_bytes(REPORT_MAGIC)
    os.utime(tmp_path / "one.nsys-rep", (1, 1))
    assert load(tmp_path).source.endswith("one.nsys-rep")
    (tmp_path / "two.nsys-rep").write_bytes(REPORT_MAGIC)
    with pytest.raises(UsageError, match=r"contains 2 traces \(one\.nsys-rep, two\.nsys-rep\): name one of them"):
        load(tmp_path)


def test_an_export_older_than_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN no nsys to export it again
    export = NsysExport().range("a", 0, 9).kernel("k", 1, 2, 1).write(tmp_path / "r.sqlite")
    (tmp_path / "r.nsys-rep").write_bytes(REPORT_MAGIC)
    os.utime(export, (1, 1))
    monkeypatch.setenv("PATH", "/nowhere")

    # THEN the report says what to do, and the export says that it may be of another recording
    with pytest.raises(
        UsageError, match=r"r\.nsys-rep is newer than r\.sqlite beside it, and nsys is not installed here"
    ):
        load(tmp_path / "r.nsys-rep")
    remarks = lines_in(trace_report.report(load(export)))
    assert any(line.startswith("integrity, stale export: r.nsys-rep beside this file is newer") for line in remarks)
    assert load(export, content=Content.KERNELS).recording.newer_report == "r.nsys-rep"


def test_a_report_newer_than_its_export_is_exported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN an old export, and an nsys that exports something else
    NsysExport().range("old", 0, 9).write(tmp_path / "r.sqlite")
    new = NsysExport().range("new", 0, 9).write(tmp_path / "new.sqlite")
    os.utime(tmp_path / "r.sqlite", (1, 1))
    (tmp_path / "r.nsys-rep").write_bytes(REPORT_MAGIC)
    script = tmp_path / "nsys"
    script.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ncp "{new}" "$2"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    # THEN what is shown is the report's, and the old file stays as it is
    assert load(tmp_path / "r.nsys-rep").names[0] == "new"
    assert load(tmp_path / "r.sqlite").names[0] == "old"


def test_a_report_is_known_by_its_name_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a report that begins as none before, and no nsys
    (tmp_path / "r.nsys-rep").write_bytes(b"\0\1 of a later nsys")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="a report that only nsys can read, but there is none here"):
        load(tmp_path / "r.nsys-rep")


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.json does not exist: check the path"):
        load(tmp_path / "nowhere.json")
    with pytest.raises(UsageError, match=r"a\\nb does not exist"):
        load("a\nb")
    with pytest.raises(UsageError, match="cannot be opened: embedded null byte"):
        load("a\0b")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(UsageError, match="cannot be opened: Too many levels of symbolic links"):
        load(loop)
    with pytest.raises(UsageError, match="cannot be read: Input/output error"):
        load("/proc/self/mem")


def test_sqlite_from_a_stream_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.sqlite.gz"
    path.write_bytes(gzip.compress(b"SQLite format 3\0" + bytes(200)))
    with pytest.raises(UsageError, match=r"report\.sqlite\.gz is an sqlite file, .* unpack and name the file"):
        load(path)


def test_repairs_of_the_packing_reach_the_facts(tmp_path: Path) -> None:
    path = tmp_path / "t.gz"
    path.write_bytes(gzip.compress(TEXT)[:-4])
    assert load(path).facts.repairs == {"gzip stream ends early": 1}


def test_progress_ends_at_the_size(plain: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    load(plain, progress=lambda done, size: calls.append((done, size)))
    assert calls[-1] == (len(TEXT), len(TEXT))


def test_progress_of_an_export_and_of_reading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN an nsys that writes half an export, and the rest when that was noticed
    made = NsysExport().range("new", 0, 9).write(tmp_path / "made.sqlite")
    (tmp_path / "r.nsys-rep").write_bytes(REPORT_MAGIC)
    script = tmp_path / "nsys"
    script.write_text(
        f'#!/bin/sh\nfor argument; do [ "$last" = -o ] && target=$argument; last=$argument; done\n'
        f'printf half >"{tmp_path}/half"; mv "{tmp_path}/half" "$target"\n'  # never seen empty
        f'until [ -f "{tmp_path}/noticed" ]; do sleep 0.05; done; cp "{made}" "$target"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    told: list[tuple[int, int | None]] = []

    # WHEN
    def progress(done: int, total: int | None) -> None:
        told.append((done, total))
        (tmp_path / "noticed").touch()

    load(tmp_path / "r.nsys-rep", progress=progress)

    # THEN there is a word while nsys works, and more while its tables are read
    assert told[0] == (4, None)
    assert told[-1][0] > 4
    assert {total for _, total in told} == {None}


def test_an_interrupted_read_closes_the_file(plain: Path) -> None:
    opened: list[int] = []

    def interrupt(done: int, _size: int | None) -> None:
        opened.extend(int(path.name) for path in Path("/proc/self/fd").iterdir() if _is(path, plain))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(plain, progress=interrupt)
    assert len(opened) == 1
    assert not any(_is(path, plain) for path in Path("/proc/self/fd").iterdir())


def _is(link: Path, target: Path) -> bool:
    return link.exists() and link.resolve() == target.resolve()


def test_loading_imports_no_torch_no_scipy_no_pandas() -> None:
    code = (
        "import sys, perfkit.trace.load; "
        "print([m for m in ('torch', 'scipy', 'pandas', 'rich', 'cyclopts') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_memory_stays_bounded() -> None:
    """70 MB of text, whose columns take 12 MB, are read within 60 MB."""
    code = """
from pathlib import Path
from perfkit.trace.columns import Content
from perfkit.trace.chrome.reader import read_chrome_json
event = b'{"ph":"X","cat":"cpu_op","name":"aten::add","pid":1,"tid":1,"ts":%d.5,"dur":1.25,"args":{"x":"'
event += b"y" * 300 + b'"}},'
def pieces(count):
    yield b'{"traceEvents":['
    for first in range(0, count, 100):
        yield b"".join(event % (first + k) for k in range(100))
    yield b"]}"
read_chrome_json(pieces(2000), "warm up")
def peak():
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1])
before = peak()
trace = read_chrome_json(pieces(170_000), "large")
print(len(trace.host), (peak() - before) // 1024)
"""
    # Not ru_maxrss: it begins with the peak of the process that started this one, which hides everything below.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rows, megabytes = map(int, done.stdout.split())
    assert rows == 170_000
    assert megabytes < 60


def test_the_default_chunk_is_used(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chrome_json.CHUNK >= 1 << 16
    assert equal(load(plain), read_chrome_json([TEXT], "x", chunk=77))
