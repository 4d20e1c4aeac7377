"""The command as a process whose streams are closed, full, narrow, left by their reader or short of letters."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from perfkit import cli
from perfkit.errors import OutOfMemoryError, UsageError, naming_out_of_memory
from perfkit.schema import record
from tests.runs import QUICK_FLAGS

NAMES = ("caf\u00e9", "\u4e2d\u6587 k", "plain")
PERFKIT = f"{sys.executable} -m perfkit"
RUN = f"{PERFKIT} run {' '.join(QUICK_FLAGS)} --measure-steps 2 --warmup-steps 0 --traces-dir runs"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Three kernels, two of them with letters that are not ASCII."""
    events = [
        {"ph": "X", "cat": "kernel", "name": name, "pid": 0, "tid": 7, "ts": 10 * row, "dur": 4, "args": {"stream": 7}}
        for row, name in enumerate(NAMES)
    ]
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    return path


def shell(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """A line of bash, with the exit code of the first command in a pipe."""
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "CUDA_VISIBLE_DEVICES": "", **variables}
    command = ["bash", "-o", "pipefail", "-c", line]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, timeout=300, check=False)


# --- closed, full, left -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", ["--help", "--version", "analyze t.json", "run --help"])
def test_a_closed_standard_output_is_one_line(trace: Path, arguments: str) -> None:
    done = shell(f"{PERFKIT} {arguments} >&-", trace.parent)
    assert done.returncode == 2
    assert done.stderr == b"perfkit: standard output is closed: redirect it, to /dev/null if to nowhere\n"


@pytest.mark.parametrize(("arguments", "code"), [("analyze t.json", 0), ("analyze nosuch.json", 2)])
def test_a_closed_standard_error_is_nowhere_else(trace: Path, arguments: str, code: int) -> None:
    """GIVEN no stderr WHEN there is something to complain about THEN it is not among the tables"""
    done = shell(f"{PERFKIT} {arguments} 2>&-", trace.parent)
    assert (done.returncode, b"perfkit:" in done.stdout, bool(done.stdout)) == (code, False, code == 0)


def test_both_closed(trace: Path) -> None:
    assert shell(f"{PERFKIT} analyze t.json >&- 2>&-", trace.parent).returncode == 2


def test_a_closed_standard_input_holds_nothing(trace: Path) -> None:
    done = shell(f"{PERFKIT} analyze - <&-", trace.parent)
    assert (done.returncode, done.stderr) == (2, b"perfkit: standard input is empty: record the trace again\n")


@pytest.mark.parametrize("arguments", ["--help", "run --help", "analyze t.json", "analyze t.json --format csv"])
def test_a_reader_that_has_gone_is_no_failure(trace: Path, arguments: str) -> None:
    done = shell(f"{PERFKIT} {arguments} 2>err | true", trace.parent)
    assert done.returncode == 0
    assert b"Traceback" not in (trace.parent / "err").read_bytes()


def test_a_full_disk_is_one_line(trace: Path) -> None:
    done = shell(f"{PERFKIT} analyze t.json >/dev/full", trace.parent)
    assert (done.returncode, done.stderr) == (1, b"perfkit: cannot write: No space left on device\n")


@pytest.mark.parametrize("stderr", ["2>/dev/full >/dev/null", "2>&- >/dev/null", "2>&1 | true"])
def test_a_measurement_outlives_who_watched_it(tmp_path: Path, stderr: str) -> None:
    """GIVEN a standard error that takes nothing WHEN running THEN all steps are measured and saved"""
    assert shell(f"{RUN} {stderr}", tmp_path).returncode == 0
    [folder] = (tmp_path / "runs").iterdir()
    assert len(record.load(folder).steps) == 2


# --- letters and widths -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=["ascii", "latin-1", "C"],
)
@pytest.mark.parametrize("form", ["table", "csv", "md"])
def test_letters_that_the_encoding_lacks_are_replaced(trace: Path, variables: dict[str, str], form: str) -> None:
    done = shell(f"{PERFKIT} analyze t.json --format {form}", trace.parent, **variables)
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert b"plain" in done.stdout
    if form == "table":  # the columns stand below each other
        lines = [line for line in done.stdout.decode("latin-1").splitlines() if re.match(r"\S+( k)? +other +1\b", line)]
        assert len(lines) == len(NAMES)
        assert len({line.index(" other ") for line in lines}) == 1


def test_json_keeps_its_letters_in_any_encoding(trace: Path) -> None:
    done = shell(f"{PERFKIT} analyze t.json --format json", trace.parent, PYTHONIOENCODING="ascii")
    rows = json.loads(done.stdout)["tables"]["kernels"]["rows"]
    assert sorted(row["name"] for row in rows) == sorted(NAMES)


@pytest.mark.parametrize("columns", ["0", "-5", "abc", "", "\u00b2", "000"])
def test_columns_that_are_no_width_are_as_unset(trace: Path, columns: str) -> None:
    unset = shell(f"unset COLUMNS; {PERFKIT} analyze t.json", trace.parent)
    done = shell(f"{PERFKIT} analyze t.json", trace.parent, COLUMNS=columns)
    assert b"plain" in done.stdout
    assert done.stdout == unset.stdout


@pytest.mark.parametrize("columns", ["1", "4", "1000000000", "9" * 30])
def test_any_width_ends(trace: Path, columns: str) -> None:
    """GIVEN no room at all, or a gigabyte of it a line WHEN asked for help and tables THEN there they are"""
    done = shell(f"{PERFKIT} analyze t.json && {PERFKIT} run --help", trace.parent, COLUMNS=columns)
    assert (done.returncode, b"plain" in done.stdout) == (0, True)
    assert len(done.stdout) < 2_000_000


# --- empty paths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["run", "--output="], "--output ''"),
        (["run", "--output", ""], "--output ''"),
        (["run", "--folder", ""], "--folder ''"),
        (["run", "--traces-dir="], "--traces-dir ''"),
        (["analyze", "t", "--modules", ""], "--modules ''"),
        (["analyze", ""], "''"),
        (["compare", "a", ""], "''"),
        (["sweep", "--output", ""], "--output ''"),
        (["sweep", "--tables", "a.md", ""], "''"),
        (["sweep", "--plot="], "--plot ''"),
    ],
)
def test_an_empty_path_is_not_the_present_folder(
    capsys: pytest.CaptureFixture[str], arguments: list[str], what: str
) -> None:
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err == f"perfkit: {what}: is empty; give it a value, or leave it out\n"


def test_flags_of_a_side_may_be_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", "--run", "", "--no-such-flag"]) == 2
    assert "--no-such-flag" in capsys.readouterr().err


def test_a_home_behind_an_equals_sign(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    assert cli.main(["run", "--output=~/x.csv"]) == 2
    assert capsys.readouterr().err == "perfkit: /nowhere/x.csv: there is no directory /nowhere: create it first\n"


def test_a_zero_byte_is_in_no_path(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--output", "a\0.csv"]) == 2
    assert capsys.readouterr().err == "perfkit: 'a\\x00.csv': no value has a zero byte in it\n"


# --- want of memory ------------------------------------------------------------------------------------------------


def array_memory_error() -> Exception:
    try:
        np.empty(2**59)
    except MemoryError as error:
        return error
    raise AssertionError("this machine has 4 EiB")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        array_memory_error(),
        pa.ArrowMemoryError("malloc of size 64 failed"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libarrow.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64 bytes"),
        SystemError("error return without exception set"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_want_of_memory_has_a_code_of_its_own(
    trace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """GIVEN what libraries raise, as it is or behind an error of another name THEN one line and exit code 3"""

    def fails(*_: object, **__: object) -> None:
        raise error

    def fails_within(*_: object, **__: object) -> None:
        try:
            raise error
        except type(error) as cause:
            raise UsageError("t.json cannot be read") from cause

    for load in (fails, fails_within):
        monkeypatch.setattr("perfkit.trace.load.load", load)
        assert cli.main(["analyze", str(trace)]) == 3
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith("perfkit: out of memory")
        assert err.endswith("; of a large trace, --table kernel_summary takes the least\n")


def test_other_failures_keep_their_name() -> None:
    with pytest.raises(ImportError, match="no module"), naming_out_of_memory():
        raise ImportError("no module named x")
    with pytest.raises(UsageError, match=r"out of memory\.json"), naming_out_of_memory():
        raise UsageError("out of memory.json does not exist")
    with pytest.raises(OutOfMemoryError, match="saved"), naming_out_of_memory():
        raise OutOfMemoryError("an allocation failed (record saved)") from MemoryError()


@pytest.mark.parametrize("module", ["cyclopts", "perfkit.commands.analyze"])
def test_want_of_memory_while_the_program_loads(trace: Path, module: str) -> None:
    """GIVEN a library that cannot be mapped, of the program or of the command THEN one line and exit code 3"""
    hook = trace.parent / "sitecustomize.py"
    hook.write_text(
        "import sys\n"
        "class Full:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            raise ImportError('lib.so: failed to map segment from shared object: Cannot allocate memory')\n"
        "sys.meta_path.insert(0, Full())\n"
    )
    places = os.pathsep.join([str(trace.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = shell(f"{PERFKIT} analyze t.json", trace.parent, PYTHONPATH=places)
    assert (done.returncode, done.stderr.count(b"\n")) == (3, 1)
    assert done.stderr.startswith(b"perfkit: out of memory")


@pytest.mark.parametrize("arguments", ["doctor", "run --repeats 2", "analyze t.json --table kernel_summary"])
def test_want_of_memory_is_no_reason_to_advise_what_does_not_apply(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: str
) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cli, "_checked", fails)
    assert cli.main(arguments.split()) == 3
    assert capsys.readouterr().err.endswith(": raise the limit or free memory\n")


@pytest.mark.parametrize(
    ("arguments", "limited", "code", "says"),
    [
        ("analyze t.json", True, 3, b"perfkit: out of memory (ulimit -v allows "),
        ("--version", True, 0, b""),
        ("analyze t.json", False, 1, b"OpenBLAS error: giving up.\n"),
    ],
)
def test_a_numpy_that_ends_the_process_is_tried_in_another_one(
    trace: Path, arguments: str, limited: bool, code: int, says: bytes
) -> None:
    """GIVEN a limit within which OpenBLAS ends the process that loads it THEN one line and exit code 3

    A limit of 1 TiB, which nothing here meets: a stand-in for numpy ends the process, as numpy does under a small one.
    """
    (trace.parent / "numpy.py").write_text("import os\nos.write(2, b'OpenBLAS error: giving up.\\n')\nos._exit(1)\n")
    places = os.pathsep.join([str(trace.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    limit = f"ulimit -v {2**30};" if limited else ""
    done = shell(f"{limit} {PERFKIT} {arguments}", trace.parent, PYTHONPATH=places)
    assert (done.returncode, done.stderr.count(b"\n")) == (code, bool(says))
    assert done.stderr.startswith(says)
