"""The command as a process whose streams are closed, full, narrow, left by their reader or short of letters."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert done.stderr == b"perfkit: standard output is closed: redirect it to a file or to /dev/null\n"


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
