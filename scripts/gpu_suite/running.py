"""Runs one point in a separate process, within a time limit, and returns its outcome."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from scripts.gpu_suite.points import Flags, Point

ROOT = Path(__file__).resolve().parents[2]
LAST_WORDS_S = 8.0
"""Seconds between ctrl-C and SIGKILL, in which a run saves its samples."""
ANALYZE_TIMEOUT_S = 60.0

Status = Literal["ok", "oom", "refused", "failed", "timeout", "skipped"]
_BY_CODE: dict[int, Status] = {2: "refused", 3: "oom"}
"""perfkit's exit codes; any other code except 0 is a failure."""
_ERROR = re.compile(r"[\w.]*(?:Error|Exception|NotFound)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one point."""

    name: str
    status: Status
    flags: Flags | None = None
    """Flags of `perfkit run`; None for another command."""
    argv: list[str] = field(default_factory=list)
    seconds: float = 0.0
    exit_code: int | None = None
    message: str = ""
    """The last line of its output, if it failed."""


def run_point(
    point: Point, folder: Path, timeout_s: float, *, rehearsal: bool = False, analyze_s: float = ANALYZE_TIMEOUT_S
) -> Outcome:
    """Run a point; make `folder` and write the point's output to output.txt in it."""
    folder.mkdir(parents=True, exist_ok=True)
    argv, flags = point.argv(str(folder), rehearsal=rehearsal), point.used_flags(rehearsal=rehearsal)
    output = folder / "output.txt"
    began = time.monotonic()
    code = run_in_time(argv, output, timeout_s)
    seconds = time.monotonic() - began
    outcome = Outcome(name=point.name, status="ok", flags=flags, argv=argv, seconds=seconds, exit_code=code)
    if code is None:
        return replace(outcome, status="timeout", message=f"stopped after {timeout_s:.0f} s")
    if code in point.fine:
        if point.profiled:
            _analyze(folder, analyze_s)
        return outcome
    status = "failed" if flags is None else _BY_CODE.get(code, "failed")
    return replace(outcome, status=status, message=_last_words(output))


def run_in_time(argv: list[str], output: Path, timeout_s: float) -> int | None:
    """Run a command with its output in a file. Returns its exit code, or None if it had to be stopped."""
    with output.open("wb") as sink:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment(),
            start_new_session=True,
        )
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGINT)
            try:
                process.wait(LAST_WORDS_S)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                process.wait()
            return None
        finally:
            _signal_group(process, signal.SIGKILL)  # compile workers and the like


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def environment() -> dict[str, str]:
    """Environment of child processes: this repository's perfkit, wide tables, unbuffered output."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path, "COLUMNS": "200", "PYTHONUNBUFFERED": "1"}


def run_folder(folder: Path) -> Path | None:
    """The folder in which a run left its record."""
    records = sorted(folder.glob("*/record.json"))
    return records[0].parent if records else None


def _analyze(folder: Path, timeout_s: float) -> None:
    """Analyze the trace again, from its file alone, and write analysis.json, or what went wrong."""
    run = run_folder(folder)
    if run is None:
        return
    target = folder / "analysis.json"
    with (folder / "analysis.txt").open("wb") as complaints, target.open("wb") as sink:
        argv = [sys.executable, "-m", "perfkit", "analyze", str(run), "--format", "json"]
        try:
            subprocess.run(
                argv,
                stdout=sink,
                stderr=complaints,
                cwd=ROOT,
                env=environment(),
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            complaints.write(b"\nstopped: took too long\n")


def _last_words(output: Path) -> str:
    """The last line of the output, after the first error of a traceback, which is the cause of the others."""
    lines = output.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it said nothing"]
    errors = [line for line in lines if _ERROR.match(line)]
    return " -> ".join(dict.fromkeys([*errors[:1], lines[-1].strip()]))
