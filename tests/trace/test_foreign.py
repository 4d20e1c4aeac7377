"""Files that are no traces: each is named by its content, or else by its name, in one line that says what to do."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from perfkit.errors import UsageError
from perfkit.trace.byte_stream import StreamFacts, unpacked
from perfkit.trace.chrome.reader import read_chrome_json
from perfkit.trace.foreign import HEAD, KINDS, Kind, is_address, missing, refuse
from perfkit.trace.load import load
from tests.corpus import corpus_file
from tests.trace.trace_damage import small_trace

TRACE = small_trace()
SNAPSHOT = {"segments": [{"device": 0, "address": 1}], "device_traces": [[]]}
FRAME = {"functionName": "(root)", "scriptId": "0", "url": ""}


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that holds bytes, fewer than 128 of them."""
    return bytes([number << 3 | 2, len(content)]) + content


def tar(*names: str, version: int = tarfile.PAX_FORMAT) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=version) as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            member.size = 0 if name.endswith("/") else len(TRACE)
            archive.addfile(member, io.BytesIO(TRACE))
    return target.getvalue()


def zipped(*names: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return target.getvalue()


def table(*header: str) -> bytes:
    return ",".join(header).encode() + b"\n1,2,3\n"


EVENT = b"\x09" + struct.pack("<d", 1.7e9) + field(3, b"brain.Event:2")
PACKET = field(1, b"\x40\x80\x01\x50\x01" + field(11, b"\x08\0"))  # timestamp, sequence, track event

FILES: dict[str, tuple[bytes, str, str]] = {
    "lfs.json.gz": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer", "git lfs pull"),
    "annex.json": (b"/annex/objects/SHA256E-s1--0.json\n", "a git-annex pointer", "git annex get"),
    "t.tar": (tar("run/", "run/rank0.json"), "a tar archive that begins with run/rank0.json", "(tar -xf) and pass the"),
    "t.tgz": (gzip.compress(tar("rank0.json")), "a tar archive that begins with rank0.json", "and pass the trace"),
    "gnu.tar.gz": (gzip.compress(tar("a\nb", version=tarfile.GNU_FORMAT)), r"begins with a\nb", "unpack it"),
    "t.zip": (zipped("a.json", "b.json"), "should contain one JSON file but contains a.json, b.json", "and name one"),
    "packed": (gzip.compress(gzip.compress(gzip.compress(TRACE))), "packed with gzip more than twice", "gunzip"),
    "lz4": (b"\x04\x22M\x18" + bytes(20), "lz4-compressed", "lz4 -d"),
    "t.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(20), "a 7z archive", "unpack it (7z x)"),
    "r.nsys-rep.gz": (gzip.compress(b"NVIDIA Tegra Profiler Report\0"), "a report of nsys, which", "unpack and name"),
    "m.json": (json.dumps([[1, 2], [[0, 5], [0, 6]]]).encode(), "a memory timeline", "perfkit memory m.json"),
    "m2.json": (b"[[], []]", "a memory timeline", "perfkit memory m2.json"),
    "m.raw.json.gz": (gzip.compress(b"[[-1, 0, 512, 3], [7, 1, 8, 2]]"), "a memory timeline", "perfkit memory m.raw"),
    "m.html": (b"<html>\n<head><title>GPU Memory Timeline HTML</title>", "a picture of memory", "write it as .json"),
    "s.pickle": (pickle.dumps(SNAPSHOT), "a memory snapshot", "look at it with perfkit memory s.pickle"),
    "s 2.pickle.gz": (gzip.compress(pickle.dumps(SNAPSHOT, 2)), "a memory snapshot",
                      "look at it with perfkit memory 's 2.pickle.gz'"),
    "list.pickle": (pickle.dumps([{"device": 0, "total_size": 1}]), "a memory snapshot", "perfkit memory"),
    "s.json": (json.dumps(SNAPSHOT).encode(), "a memory snapshot", "perfkit memory"),
    "other.pickle": (pickle.dumps({"loss": 1.0}), "a pickle", "prof.export_chrome_trace"),
    "model.bin": (zipped("model/data.pkl", "model/version"), "a checkpoint of PyTorch", "export_chrome_trace"),
    "old.bin": (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M", "a checkpoint of PyTorch", "export_chrome"),
    "et.json": (b'{\n  "schema": "1.1.1-chakra.0.0.4", "pid": 1, "nodes": [', "an execution trace", "export_chrome"),
    "table": (b"-------  -------\n   Name   Self CPU %\n", "what key_averages().table() prints", "export_chrome_trace"),
    "stacks": (b"main;forward;aten::mm 12\nmain 3\n", "a list of stacks with weights", "prof.export_chrome_trace"),
    "r": (b"NVR\0\x0c\0\0\0", "a report of Nsight Compute", "open it with ncu --import r, and record a timeline"),
    "stats": (table("Time (%)", "Total Time (ns)", "Instances"), "a table of nsys stats", ".nsys-rep or .sqlite"),
    "old": (table('"Time(%)"', '"Total Time (ns)"', "Calls"), "a table of nsys stats", ".nsys-rep or .sqlite"),
    "gputrace": (table("Start (ns)", "Duration (ns)", "CorrId"), "a table of nsys stats", ".nsys-rep or .sqlite"),
    "text": (b" ** CUDA API Summary (cuda_api_sum):\n\n Time (%)", "a table of nsys stats", ".nsys-rep or .sqlite"),
    "log": (b"Processing [r.sqlite] with [cuda_api_sum.py]...\n", "a table of nsys stats", ".nsys-rep or .sqlite"),
    "x": (b"\n\xe4\x07\x08\x02" + field(2, b"/device:GPU:0"), "a profile of xprof", "record with torch.profiler"),
    "x2": (field(1, field(2, b"/host:CPU")), "a profile of xprof", "record with torch.profiler"),
    "events": (struct.pack("<Q", len(EVENT)) + b"\1\2\3\4" + EVENT, "a TensorBoard event file", "tensorboard_trace_"),
    "p": (PACKET * 9, "a Perfetto trace in its binary form", "pass the file that torch.profiler wrote"),
    "p2": (b"\n\x0b" + b"\xe2\x03\x08\x08\x05\x12\x04main", "a Perfetto trace in its binary form", "pass the file"),
    "spy.json": (b'{"$schema":"https://www.speedscope.app/file-format-schema.json"', "a speedscope profile", "record"),
    "scope.json": (b'{"shared": {"frames": [{"name": "main"}]}, "profiles": []}', "a speedscope profile", "record"),
    "v8.json": (json.dumps({"nodes": [{"id": 1, "callFrame": FRAME}]}).encode(), "a CPU profile of V8", "record"),
    "c": (b"\xfb\x29\x03\xfa\x01~\xe9\0\0\0\0", "a profile of cProfile", "record with torch.profiler or nsys profile"),
    "memray.bin": (b"memray\0\x0c", "a recording of memray", "record with torch.profiler or nsys profile"),
    "perf.data": (b"PERFILE2h\0\0\0", "a recording of perf", "record with torch.profiler or nsys profile"),
    "run": (b":W&B\xe1\xbe\0", "data of Weights & Biases", "record with torch.profiler or nsys profile"),
    "own.json": (b'{\n  "summary": {\n "source": "t.json",\n "scope_source": "perfkit"', "what perfkit wrote", "pass"),
    "note": (b'{\n "cells": [', "a notebook", "prof.export_chrome_trace"),
    "lines.json": (b'{"loss": 1.0}\n{"loss": 0.9}\n', "several JSON documents, one a line", "export_chrome_trace"),
    "numbers.json": (b"[1.5, 2]", "a JSON list of numbers or texts", "prof.export_chrome_trace"),
    "i": (b"\x89PNG\r\n", "a picture", "prof.export_chrome_trace"),
    "flame": (b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C"><svg ', "a picture", "prof.export_chrome_trace"),
    "page.json": (b"\n\n<!DOCTYPE html>\n<html>", "a web page (HTML)", "prof.export_chrome_trace"),
    "xml": (b"<?xml version='1.0'?>\n<root>", "XML", "prof.export_chrome_trace"),
    "w": (struct.pack("<Q", 40) + b'{"w":{"dtype"', "a file of tensors (safetensors)", "prof.export_chrome_trace"),
    "a": (b"\x93NUMPY\x01", "a file of arrays (NumPy)", "prof.export_chrome_trace"),
    "a.npz": (zipped("a.npy", "b.npy"), "a file of arrays (NumPy)", "prof.export_chrome_trace"),
    "script": (b"#!/usr/bin/env python3\nimport torch\n", "Python source", "run it under torch.profiler"),
}  # fmt: skip
"""Name -> content, what it is called, and what to do."""

NAMES = {
    "a.pt": "a checkpoint of PyTorch", "a.NCU-REP": "a report of Nsight Compute", "a.qdstrm": "what nsys recorded but",
    "a.xplane.pb": "a profile of xprof", "a.pftrace.gz": "a Perfetto trace", "a.cpuprofile": "a CPU profile of V8",
    "a.wandb": "data of Weights & Biases", "a.ipynb": "a notebook", "a.html": "a web page", "a.pkl": "a pickle",
    "a.safetensors": "a file of tensors", "a.py": "Python source", "a.log": "a log or other text", "a.tar": "a tar arc",
    "a.csv": "a table of values",
}  # fmt: skip
"""Name -> what a file of unknown content is called."""


def message(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load(path)
    return str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_trace_is_named_with_what_to_do(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIVEN a file by another tool, or packed WHEN loaded as a trace THEN one line names it and says what to do"""
    content, what, instead = FILES[name]
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content)
    said = message(Path(name))
    assert said.startswith(f"{name} ")
    assert what in said.partition(": ")[0] + ":"
    assert instead in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_unknown_content_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"nobody knows this") if name.endswith(".gz") else b"nobody knows this")
    assert f"{name} is {NAMES[name]}" in message(path)


def test_content_comes_before_the_name(tmp_path: Path) -> None:
    """GIVEN files whose names lie WHEN loaded THEN the content decides, and a trace is a trace"""
    for name in NAMES.keys() - {"a.pftrace.gz"}:
        (tmp_path / name).write_bytes(TRACE)
        assert len(load(tmp_path / name).host) == 40
    (tmp_path / "a.pt").write_bytes(b"NVR\0\0")
    assert "a.pt is a report of Nsight Compute" in message(tmp_path / "a.pt")


def test_every_kind_has_its_file_here(tmp_path: Path) -> None:
    """GIVEN the table of kinds WHEN compared with what the tests above expect THEN each is among it, or packing"""

    said = (*(what for _, what, _ in FILES.values()), *NAMES.values())

    def is_met(kind: Kind) -> bool:
        begin = kind.what.partition("{")[0]
        return any(what in begin or begin in what for what in said)

    elsewhere = {"Zstandard-compressed", "xz-compressed", "bzip2-compressed", "UTF-16 text"}  # test_byte_stream.py
    sqlite = "an sqlite file, which cannot be read from a stream or packed"  # test_load.py
    assert {kind.what for kind in KINDS if not is_met(kind)} == elsewhere | {sqlite}


class Pipe(io.BytesIO):
    """Bytes that come one at a time, once."""

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (tar("rank0.json"), "standard input is a tar archive that begins with rank0.json"),
        (zipped("m/data.pkl"), "standard input is a checkpoint of PyTorch"),
        (pickle.dumps(SNAPSHOT), "look at it with perfkit memory FILE"),
        (json.dumps([[1], [[2]]]).encode(), "standard input is a memory timeline"),
        (b"no trace", "standard input is not a trace: it does not begin with { or ["),
        (b"\x7fELF\2\1\1\0", "standard input is not a trace: it is binary data of no known kind"),
    ],
)
def test_what_comes_through_a_pipe_is_named_too(content: bytes, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_chrome_json(unpacked(Pipe(content), "standard input", StreamFacts()), "standard input")
    assert says in str(caught.value)


def test_only_the_beginning_is_read() -> None:
    """GIVEN a large profile of another tool WHEN loaded THEN it is refused before more of it is read"""
    served = 0

    def pieces() -> Iterator[bytes]:
        nonlocal served
        yield b'{"$schema": "https://www.speedscope.app/file-format-schema.json", "profiles": ['
        for _ in range(1000):
            served += 1
            yield b'{"type": "sampled"},' * 1000

    with pytest.raises(UsageError, match="speedscope"):
        read_chrome_json(pieces(), "t")
    assert served <= 30  # 512 KiB of text, at 20,000 bytes each


@pytest.mark.parametrize(
    "text",
    [
        TRACE,
        b'{"schemaVersion": 1, "$schema": "https://www.speedscope.app/", "traceEvents": [',
        b'{"traceEvents": [{"ph": "X"}\n{"ph": "X"}',  # a comma is missing
        b'{"summary": {"scope_source": 1}, "traceEvents": []}',
        b"\n\n  {",
        b"[\n",
        b'\n{"ph"',
        b"[[{",
        b"\xef\xbb\xbf[]",
        b'{"deviceProperties": [{"id": 0, "name": "\0\1 damaged"}],',
        b"",
    ],
)
def test_what_may_be_a_trace_is_not_refused(text: bytes) -> None:
    refuse(text, "t.py")


@pytest.mark.parametrize("unit", [b"<!-- -->", b"; 1", b"<?xml>", b"-", b" ", b"{}", b"a; 1 ", b"\n\x08", b"<!--"])
def test_no_beginning_keeps_the_patterns_busy(unit: bytes) -> None:
    """GIVEN text made to be matched in very many ways WHEN looked at THEN it is done, within the limit of any test"""
    with suppress(UsageError):
        refuse(unit * HEAD, "t.json")


@pytest.mark.corpus
def test_no_real_trace_is_refused() -> None:
    """GIVEN traces by other projects WHEN their beginnings are looked at THEN none is of a kind that is no trace"""
    files = [path for path in corpus_file("kineto").iterdir() if path.suffix == ".gz"]
    assert files
    for path in files:
        with gzip.open(path) as file:
            refuse(file.read(HEAD), path.name)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("https://host/t.json?x=1", "https://host/t.json?x=1 is an address, not a path: download the file first"),
        (Path("s3://bucket/t.json"), "s3://bucket/t.json is an address, not a path: download the file first"),
        ("file:///tmp/t.json", "file:///tmp/t.json is an address, not a path: pass the path alone"),
        ("traces/*.json", "traces/*.json does not exist, and no file fits it as a pattern: check the path"),
        (Path("C:/t.json"), "C:/t.json does not exist: check the path"),
        ("a: b/t.json", "a: b/t.json does not exist: check the path"),
    ],
)
def test_a_path_that_does_not_exist(path: Path | str, says: str) -> None:
    assert str(missing(path)).startswith(says)
    assert is_address(path) == ("address" in says)


def test_an_address_is_no_path_for_the_loader() -> None:
    with pytest.raises(UsageError, match=r"^https://host/t\.json is an address, not a path: download"):
        load("https://host/t.json")
