"""Files by path and by address: which there are, and their bytes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from perfkit.commands.inputs.addresses import FileAt, fetched, files_at, is_remote
from perfkit.errors import UsageError
from tests.analysis.reports.many import jobs
from tests.commands.inputs import s3_server


@pytest.fixture
def memory() -> Iterator[Any]:
    """A filesystem of fsspec's in this process, with three traces and something else."""
    fsspec = pytest.importorskip("fsspec")
    filesystem = fsspec.filesystem("memory")
    for name in ("job/b.json.gz", "job/a.json", "job/deep/c.json", "job/readme.txt"):
        filesystem.pipe(f"/{name}", name.encode())
    yield filesystem
    filesystem.rm("/job", recursive=True)


def names(*given: str) -> list[str]:
    return [file.name for file in files_at(given)]


def test_a_folder_at_an_address_is_all_traces_below_it(memory: Any) -> None:
    assert names("memory://job/") == ["memory:///job/a.json", "memory:///job/b.json.gz", "memory:///job/deep/c.json"]


def test_a_pattern_and_a_file_at_an_address(memory: Any) -> None:
    assert names("memory://job/*.json", "memory://job/a.json") == ["memory:///job/a.json"]
    assert is_remote(["x.json", "memory://job"])
    assert not is_remote(["x.json"])


def test_a_file_at_an_address_is_there_as_long_as_it_is_needed(memory: Any) -> None:
    [file] = files_at(["memory://job/a.json"])
    with fetched(file) as copy:
        assert (copy.name, copy.read_bytes(), file.size) == ("a.json", b"job/a.json", 10)
    assert not copy.exists()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server that lists a folder with two traces and a page; nobody hears what it logs."""
    pytest.importorskip("aiohttp")
    (tmp_path / "job").mkdir()
    for name in ("b.json.gz", "a.json", "readme.html"):
        (tmp_path / "job" / name).write_text(name)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_web_servers_folder_pattern_and_file(web: str) -> None:
    both = [f"{web}/job/a.json", f"{web}/job/b.json.gz"]
    assert names(f"{web}/job/") == both
    assert names(f"{web}/job/*.gz", f"{web}/job/a.json") == both[::-1]
    [file] = files_at([both[0]])
    with fetched(file) as copy:
        assert copy.read_text() == "a.json"
    with pytest.raises(UsageError, match=f"^{web}/job/a.json: damaged"), fetched(file) as copy:
        raise UsageError(f"{copy}: damaged")


def test_a_web_server_that_lacks_a_file_or_is_not_there(web: str) -> None:
    with pytest.raises(UsageError, match=r"/job/no\.json cannot be listed: 404"):
        files_at([f"{web}/job/no.json"])
    with pytest.raises(UsageError, match="cannot be listed: Cannot connect"):
        files_at(["http://127.0.0.1:9/job/"])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("memory://job/*.none", "there are no files with .json, .json.gz"),
        ("memory://nothing/", "there are no files with .json, .json.gz"),
        ("gopher://x/y", "gopher:// is not known: use s3://, gs:// or https://"),
    ],
    ids=["pattern", "folder", "scheme"],
)
def test_what_is_not_there_is_said_in_one_line(memory: Any, address: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^{address.replace('*', '.')}.*{said}") as raised:
        files_at([address])
    assert "\n" not in str(raised.value)


def test_a_file_that_is_gone_meanwhile_is_said(memory: Any) -> None:
    with (
        pytest.raises(UsageError, match=r"memory:///job/gone\.json cannot be read"),
        fetched(FileAt("memory:///job/gone.json", 1, "")),
    ):
        pass


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(UsageError, match=r"s3:// needs another package: pip install 'perfkit\[cluster\]'"):
        files_at(["s3://bucket/job/"])


def test_local_folders_and_files(tmp_path: Path) -> None:
    """GIVEN a folder with two traces and a note THEN it is both; a file is itself, and not copied"""
    first, second = jobs.folder(tmp_path / "job", 2)
    (tmp_path / "job" / "note.txt").write_text("no trace")
    assert names(str(tmp_path / "job"), str(first)) == [str(first), str(second)]
    [file] = files_at([str(first)])
    assert file.size == first.stat().st_size
    with fetched(file) as path:
        assert path == first
    before = file.token
    first.write_bytes(gzip.compress(b"{}"))
    assert files_at([str(first)])[0].token != before


def test_what_perfkit_writes_beside_a_trace_is_no_trace(memory: Any, tmp_path: Path) -> None:
    """GIVEN folders of runs, whose trace is alone, WHEN each is named, as by a pattern, THEN only its trace is read"""
    [trace] = jobs.folder(tmp_path / "job", 1)
    for name in ("record.json", "modules.json"):
        (tmp_path / "job" / name).write_text("{}")
        memory.pipe(f"/job/{name}", b"{}")
    assert names(str(tmp_path / "job")) == [str(trace)]
    assert not any("record" in name or "modules" in name for name in names("memory://job/"))


@pytest.mark.parametrize("name", ["nowhere.json", "empty"])
def test_a_local_path_that_is_not_there_or_has_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"does not exist|has no traces in it"):
        files_at([str(tmp_path / name)])


def test_s3_by_a_server_of_its_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GIVEN two traces in a bucket WHEN they are named by the bucket THEN they are listed, with tags, and fetched"""
    s3fs = pytest.importorskip("s3fs")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    with s3_server.serving() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        s3fs.S3FileSystem.clear_instance_cache()
        filesystem = s3fs.S3FileSystem()
        filesystem.mkdir("bucket")
        for file in jobs.folder(tmp_path, 2):
            filesystem.put_file(str(file), f"bucket/job/{file.name}")
        found = files_at(["s3://bucket/job/"])
        assert [file.name for file in found] == [f"s3://bucket/job/{path.name}" for path in sorted(tmp_path.iterdir())]
        assert len({file.token for file in found}) == 2
        with fetched(found[1]) as copy:
            assert copy.read_bytes() == (tmp_path / copy.name).read_bytes()
        with pytest.raises(UsageError, match="s3://bucket/other/: there are no files"):
            files_at(["s3://bucket/other/"])
        with pytest.raises(UsageError, match="s3://nobodys/job/"):
            files_at(["s3://nobodys/job/"])
    s3fs.S3FileSystem.clear_instance_cache()
