"""How scripts/bench measures: fresh child processes, repeats interleaved, medians, and the rows of its table.

The parent imports nothing large. Linux counts a parent's memory into the peak of a child that has not called exec
yet, so a parent with torch in it would report torch's memory as every child's peak.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
CHILD_TIMEOUT_S = 1800.0

T = TypeVar("T")


class BenchError(Exception):
    """A benchmark cannot be run here; the message says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a quantity, what it is compared with, and the bound it must keep."""

    quantity: str
    measured: str
    against: str = ""
    """What the value is compared with, and that quantity's own value."""
    ratio: float | None = None
    limit: str = ""
    """The bound, in words."""
    kept: bool | None = None
    """Whether the bound holds; None if there is no bound."""


@dataclass(frozen=True, slots=True)
class Child:
    """What one child process cost from start to end, and what it printed."""

    wall_s: float
    cpu_s: float
    """User and system time of the process and of every descendant it waited for."""
    peak_bytes: int
    """Largest resident set of the process (or of one of those descendants)."""
    output: bytes
    code: int

    def answer(self) -> Any:
        """The JSON on the last line of its output."""
        return json.loads(self.output.splitlines()[-1])


def run_child(
    argv: Sequence[str | Path], *, timeout_s: float = CHILD_TIMEOUT_S, environment: Mapping[str, str] | None = None
) -> Child:
    """Run a command to its end and ask the kernel (wait4) what it cost.

    Raises BenchError, with the end of its stderr, if it fails or takes longer than `timeout_s`.
    """
    command = [str(part) for part in argv]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=ROOT, env=_environment(environment)
        )
        killer = threading.Timer(timeout_s, process.kill)
        killer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # also ctrl-C: leave no child behind
            process.kill()
            raise
        finally:
            killer.cancel()
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        output, complaints = out.read(), err.read().decode("utf-8", "replace").strip()
    if process.returncode:
        last = complaints.splitlines()[-1] if complaints else "no message"
        late = f" (after {wall:.0f} s)" if process.returncode < 0 else ""
        raise BenchError(f"{' '.join(command[-4:])}: exit code {process.returncode}{late}: {last}")
    return Child(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output, 0)


def _environment(changes: Mapping[str, str] | None) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path} | dict(changes or {})


def run_python(
    *argv: str | Path, timeout_s: float = CHILD_TIMEOUT_S, environment: Mapping[str, str] | None = None
) -> Child:
    """Measure a child process that runs this Python interpreter."""
    return run_child([sys.executable, *argv], timeout_s=timeout_s, environment=environment)


def interleaved(cases: Mapping[str, Callable[[], T]], repeats: int) -> dict[str, list[T]]:
    """Run every case once, then every case again, and so on: slow drift of the machine affects all cases alike."""
    answers: dict[str, list[T]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            answers[name].append(case())
    return answers


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def corpus_file(name: str) -> Path:
    """A trace of the corpus. Raises BenchError if it does not exist."""
    path = corpus_folder() / "kineto" / f"{name}.json.gz"
    if not path.is_file():
        raise BenchError(f"{path} does not exist: set PERFKIT_TRACE_CORPUS to the folder of traces")
    return path


def corpus_folder() -> Path:
    """The folder of the corpus; it may not exist."""
    folder = os.environ.get("PERFKIT_TRACE_CORPUS")
    return Path(folder) if folder else ROOT.parent / "shared" / "traces"


def cache_folder() -> Path:
    """The folder of generated traces and the rivals' virtual environments; it is safe to delete."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "perfkit" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def seconds(value: float) -> str:
    """A time as text, in a suitable unit."""
    for limit, factor, unit in ((1e-6, 1e9, "ns"), (1e-3, 1e6, "us"), (1.0, 1e3, "ms")):
        if abs(value) < limit:
            return f"{value * factor:.3g} {unit}"
    return f"{value:.3g} s"


def megabytes(count: float) -> str:
    """A number of bytes as text, in megabytes (1e6 bytes)."""
    return f"{count / 1e6:,.0f} MB"
