"""The commands that signals end: how each is started, what it announces while it works, and what it must have saved.

The script counts what is finished by what a user sees: the bar of a run on a terminal counts its steps, a sweep prints
one line per result, a comparison one line per process. All of this is written after the step, result or process ends.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perfkit.launch import journal
from perfkit.schema import record
from perfkit.schema.own_files import RECORD_FILE
from perfkit.schema.record import RunRecord

STEPS, FEW, RESULTS, PROCESSES = 40, 2, 4, 4
_MODEL = ("--num-layers", "1", "--d-model", "32", "--num-heads", "2", "--d-ff", "64", "--vocab-size", "100",
          "--context-length", "16", "--num-threads", "1", "--device", "cpu")  # fmt: skip
_WARMED_UP = ("run", *_MODEL, "--warmup-steps", "3", "--measure-steps")
_RUN = (*_WARMED_UP, str(STEPS))
_SIDE = " ".join([*_MODEL, "--warmup-steps", "1", "--measure-steps", "2"])


class Broken(Exception):  # noqa: N818 - a finding, not an error of this script
    """A fault of perfkit that a kill has shown."""


@dataclass(frozen=True, slots=True)
class Command:
    """A perfkit command, and what is expected of it."""

    name: str
    arguments: tuple[str, ...]
    """Arguments of the command, which runs in its own folder; they do not contain the folder's name."""
    on_terminal: bool
    """Whether standard error is a terminal."""
    all_of_them: int
    """Total number of steps, results or processes."""
    announced: Callable[[str], int]
    """How many of them its standard error says are finished."""
    kept: Callable[[Path], int]
    """How many of them the files in its folder have."""
    outlives_sigkill: bool = True
    """Whether finished work outlives SIGKILL."""
    resumes: bool = False
    """Whether the next command continues in the same folder."""
    begins: str = ""
    """Text on its standard error when its work begins."""


def _bar(total: int) -> Callable[[str], int]:
    return lambda said: max((int(number) for number in re.findall(rf"(?<![\d/])(\d+)/{total}\b", said)), default=0)


def _lines(said: str) -> int:
    return len(re.findall(r"^\[\d+/\d+\]", said, re.MULTILINE))


def _processes(said: str) -> int:
    """Number of announced processes without the one that is still running."""
    begun = map(int, re.findall(r"^process (\d+) of ", said, re.MULTILINE))  # said again each ten seconds
    return max(begun, default=1) - 1


def runs(folder: Path) -> list[RunRecord]:
    """Records of runs, without the plain steps beside a profile."""
    return [record.load(file) for file in folder.rglob(RECORD_FILE) if file.parent.name != "plain"]


def _steps(folder: Path) -> int:
    return sum(len(saved.steps) for saved in runs(folder))


def _rows(folder: Path) -> int:
    file = folder / "sweep.csv"
    rows = journal.parse(file, file.read_bytes()) if file.exists() else []
    if odd := [f"{row.outcome}: {row.message}" for row in rows if row.outcome != "ok"]:
        raise Broken(f"results that are none: {odd}")
    return len(rows)


def _whole_runs(folder: Path) -> int:
    return sum(saved.status == "ok" for saved in runs(folder))


_SWEEP = (*_MODEL[:-6], "--context-length", "16", "32", *_MODEL[-4:], "--batch-size", "1", "2", "--warmup-steps", "1",
          "--measure-steps", "2", "--output", "sweep.csv", "--resume")  # fmt: skip

_FIRST = "warm-up steps"

COMMANDS = (
    Command("run", _RUN, True, STEPS, _bar(STEPS), _steps, outlives_sigkill=False, begins=_FIRST),
    Command(
        "torch",
        (*_RUN, "--profiler", "torch"),
        True,
        STEPS,
        _bar(STEPS),
        _steps,
        outlives_sigkill=False,
        begins=_FIRST,
    ),
    Command(  # few steps, so that it spends most of its time preparing, starting and stopping the profiler
        "brief",
        (*_WARMED_UP, str(FEW), "--profiler", "torch", "--overhead", "off"),
        True,
        FEW,
        _bar(FEW),
        _steps,
        outlives_sigkill=False,
        begins=_FIRST,
    ),
    Command("sweep", ("sweep", *_SWEEP), False, RESULTS, _lines, _rows, resumes=True),
    Command(
        "compare",
        ("compare", "--run", _SIDE, f"{_SIDE} --attention sdpa", "--repeats", str(PROCESSES // 2)),
        False,
        PROCESSES,
        _processes,
        _whole_runs,
    ),
)


def check_files(folder: Path, *, drafts: bool) -> None:
    """Check that every file can be read. With `drafts`, unfinished files and empty run folders are allowed."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            if not drafts and path.parent != folder and not any(path.iterdir()):
                raise Broken(f"{path} is empty")
        elif path.name.endswith((".part", "unfinished.json.gz")):
            if not drafts:
                raise Broken(f"{path} is no more than a draft")
        elif path.name == RECORD_FILE:
            record.load(path)
        elif path.name.endswith(".json.gz"):
            json.loads(gzip.decompress(path.read_bytes()))
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".csv":
            journal.parse(path, path.read_bytes())
        elif path.suffix != ".log" and ".tfevents." not in path.name:  # of those TensorBoard reads what is whole
            raise Broken(f"{path}: what is this?")
