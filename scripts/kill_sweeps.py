"""scripts/kill-sweeps: kill -9 sweeps at random moments, and check what is left each time.

After every kill: the results file parses, every result that the sweep announced is in it (and at most the one that it
had no time to announce), what was in it before is unchanged, and no process of the sweep is left. Then `--resume`, and
the next kill. A sweep that has all its results is checked to have each once; another begins until all kills are done.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from perfkit.launch import journal
from perfkit.schema.sweep import SweepRow

GRID = (
    "--num-layers", "1", "--d-model", "32", "--num-heads", "2", "--d-ff", "64", "--vocab-size", "100",
    "--batch-size", "1", "2", "--context-length", "16", "32", "--num-threads", "1", "--device", "cpu",
    "--warmup-steps", "1", "--measure-steps", "2", "--repeats", "2",
)  # fmt: skip
"""A sweep whose points take as long as PyTorch takes to start."""
RESULTS = 8
GONE_S = 10.0
"""How long the kernel and the keeper may take to end what a killed sweep leaves."""


class Broken(Exception):  # noqa: N818 - a finding, not an error of this script
    """What should never be seen."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kills", nargs="?", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--longest", type=float, default=12.0, help="seconds after which a sweep is killed at the latest"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kill-sweeps-") as folder:
        try:
            torment(Path(folder), options.kills, random.Random(options.seed), options.longest)
        except Broken as found:
            print(f"BROKEN: {found}")
            return 1
    return 0


def torment(folder: Path, kills: int, generator: random.Random, longest_s: float) -> None:
    """Kill `kills` times; raises Broken where something is left that should not be, or lost."""
    sweeps, done = 0, 0
    while done < kills:
        output = folder / f"sweep-{sweeps}.csv"
        sweeps += 1
        while done < kills and len(_rows(output)) < RESULTS:
            moment = generator.uniform(0.1, longest_s)
            before = _rows(output)
            announced, killed = _run(output, moment)
            after = _rows(output)
            _check(output, before, after, announced)
            done += killed
            how = f"killed after {moment:5.2f} s" if killed else "ended by itself"
            print(f"{done:3}/{kills}  {how}: {len(before)} -> {len(after)} of {RESULTS} results", flush=True)
        _complete(output)
    print(f"{kills} kills, {sweeps} sweeps: no result lost, none twice, no process left")


def _run(output: Path, moment_s: float | None) -> tuple[int, bool]:
    """Start or resume a sweep and kill it at that moment: how many results it announced, and whether it was killed."""
    said = output.with_suffix(".err")
    with said.open("wb") as sink:
        command = [sys.executable, "-m", "perfkit", "sweep", *GRID, "--output", str(output), "--resume"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=sink)
        try:
            code = process.wait(moment_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            code = process.wait()
    if code not in (0, -signal.SIGKILL):
        raise Broken(f"exit code {code}: {said.read_text()}")
    return len(re.findall(r"^\[\d+/\d+\]", said.read_text(), re.MULTILINE)), code != 0


def _check(output: Path, before: list[SweepRow], after: list[SweepRow], announced: int) -> None:
    if after[: len(before)] != before:
        raise Broken(f"{output}: earlier results have changed")
    new = len(after) - len(before)
    if not announced <= new <= announced + 1:
        raise Broken(f"{output}: {announced} results were announced, and {new} are new in the file")
    deadline = time.monotonic() + GONE_S
    while left := _processes(str(output.with_suffix(""))):
        if time.monotonic() > deadline:
            raise Broken(f"processes are left: {left}")
        time.sleep(0.02)


def _complete(output: Path) -> None:
    """Let the sweep come to its end: each result once."""
    before = _rows(output)
    _, killed = _run(output, None)
    rows = _rows(output)
    names = {(row.key, row.repeat) for row in rows}
    if killed or rows[: len(before)] != before or len(rows) != RESULTS or len(names) != RESULTS:
        raise Broken(f"{output}: {len(rows)} results, {len(names)} different ones, for {RESULTS} points")
    if any(row.outcome != "ok" for row in rows):
        raise Broken(f"{output}: {[row.message for row in rows if row.outcome != 'ok']}")


def _rows(output: Path) -> list[SweepRow]:
    return journal.parse(output, output.read_bytes()) if output.exists() else []


def _processes(mark: str) -> list[str]:
    """Command lines that name the sweep's files, other than this process's."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if mark in line:
                found.append(f"{folder.name} {line}")
    return found
