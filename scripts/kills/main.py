"""scripts/kill-runs: end perfkit by signals at random moments, and check what is left each time.

It sends SIGINT, SIGTERM, SIGHUP or SIGKILL to the process, to its group, or to every process of the job, and sometimes
a second signal during the cleanup, at any moment of run, `run --profiler torch` (with many and with few steps), sweep
and `compare --run`. After each kill no announced step, result or process may be lost (SIGKILL may lose the steps of one
run), every file must be readable, the record must name the signal, the exit code and the last line must be right, and
no process may be left. A sweep continues with --resume.
"""

from __future__ import annotations

import argparse
import os
import pty
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Literal

import psutil

from scripts.kills.commands import COMMANDS, Broken, Command, check_files, runs

ROOT = Path(__file__).resolve().parents[2]
GENTLE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE_S = 600.0
"""Seconds until a command that got a signal must have ended, and until any other must have made progress."""
GONE_S = 60.0
"""Seconds that the kernel and the keeper may take to end the processes that SIGKILL leaves."""
_MARK = "PERFKIT_KILLS"
_SECOND_S = 2.5
_PYTHONS_OWN = re.compile(r"((Traceback|Fatal Python error|Could not import runpy)((?!/perfkit/[a-z]).)*)?", re.DOTALL)
"""Output if a signal comes while Python itself starts: nothing, or a traceback whose only files of perfkit are the
first two, `__init__` and `__main__`."""


@dataclass(frozen=True, slots=True)
class Kill:
    """When a signal is sent, to which processes, and which signal."""

    number: Signals
    whom: Literal["process", "group", "job"]
    announced: int | None
    """Wait for this many announced steps, results or processes; 0: until work begins; None: count from the start."""
    after_s: float
    again: tuple[Signals, float] | None = None
    """A second signal, and how many seconds after the first."""

    def __str__(self) -> str:
        second = f", {self.again[0].name} {self.again[1]:.2f} s later" if self.again else ""
        since = "the start" if self.announced is None else self.announced
        return f"{self.number.name} to the {self.whom}, {self.after_s:.2f} s after {since}{second}"


@dataclass(slots=True)
class Ended:
    """A command that has ended."""

    code: int
    said: str
    """Its output on standard error."""
    killed: bool
    """Whether it was still running when the signal was sent."""
    announced: int
    announced_then: int
    """What was announced when the signal was sent."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kills", nargs="?", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    for number in GENTLE:  # a shell makes background processes and their children ignore ctrl-C
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    with tempfile.TemporaryDirectory(prefix="kill-runs-") as folder:
        try:
            done = torment(Path(folder), options.kills, random.Random(options.seed))
        except Broken as broken:
            print(f"BROKEN: {broken}")
            return 1
    _summarise(done)
    return 0


def torment(folder: Path, kills: int, generator: random.Random) -> Counter[tuple[str, str]]:
    """Kill `kills` times, the commands in turn; return (command, signal) -> count. Raises Broken if a check fails."""
    took = {command.name: _undisturbed(command, folder / f"{command.name}-whole") for command in COMMANDS}
    print(", ".join(f"{name} takes {seconds:.1f} s" for name, seconds in took.items()), flush=True)
    done: Counter[tuple[str, str]] = Counter()
    number = 0
    while done.total() < kills:
        command = COMMANDS[number % len(COMMANDS)]
        own = folder / command.name if command.resumes else folder / f"{command.name}-{number}"
        left = command.all_of_them - command.kept(own)
        kill = _random_kill(left, took[command.name] * left / command.all_of_them, generator)
        ended, before, after = killed_once(command, own, kill)
        number += 1
        done[command.name, kill.number.name] += ended.killed
        how = f"{kill}: exit code {ended.code}" if ended.killed else "had ended by itself"
        print(
            f"{done.total():3}/{kills}  {command.name:7} {how}, {before} -> {after} of {command.all_of_them}",
            flush=True,
        )
        if command.resumes and after == command.all_of_them:
            own.rename(folder / f"{command.name}-{number}")
    return done


def _undisturbed(command: Command, folder: Path) -> float:
    began = time.monotonic()
    ended, _, after = killed_once(command, folder, None)
    if ended.code or after != command.all_of_them:
        raise Broken(f"{command.name}: exit code {ended.code}, {after} of {command.all_of_them}: {ended.said}")
    return time.monotonic() - began


def _random_kill(left: int, took_s: float, generator: random.Random) -> Kill:
    any_time = generator.random() < 0.5
    again = None
    if generator.random() < 0.3:
        again = generator.choice(GENTLE), generator.uniform(0, _SECOND_S)
    return Kill(
        number=generator.choice([*GENTLE, signal.SIGKILL]),
        whom=generator.choice(["process", "group", "job"]),
        announced=None if any_time else generator.randint(0, left),
        after_s=generator.uniform(0, took_s if any_time else 0.1),
        again=again,
    )


def killed_once(command: Command, folder: Path, kill: Kill | None) -> tuple[Ended, int, int]:
    """Run a command in `folder`, end it, check what is left; return also the finished counts before and after."""
    folder.mkdir(exist_ok=True)
    before = command.kept(folder)
    mark = uuid.uuid4().hex
    ended = _run(command, folder, kill, mark)
    try:
        check_left(mark)
        after = check(command, folder, kill, ended, before)
    except Exception as error:
        text = f"{command.name}, {kill}: exit code {ended.code}: {error}; it said: {ended.said[-600:]!r}"
        raise Broken(text) from error
    return ended, before, after


def _run(command: Command, folder: Path, kill: Kill | None, mark: str) -> Ended:
    environment = os.environ | {_MARK: mark, "TERM": "xterm", "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    with _listening(on_terminal=command.on_terminal) as (sink, heard):
        process = subprocess.Popen(
            [sys.executable, "-m", "perfkit", *command.arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=sink,
            start_new_session=True,
        )
        os.close(sink)
        killed, then = False, 0
        if kill is not None:
            _wait_for(process, lambda: _has_come(command, kill, _text(heard)))
            with suppress(subprocess.TimeoutExpired):
                process.wait(kill.after_s)
            killed, then = process.poll() is None, command.announced(_text(heard))
            _send(process, kill.number, kill.whom, mark)
            if kill.again:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(kill.again[1])
                _send(process, kill.again[0], kill.whom, mark)
        try:
            code = process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
            raise Broken(f"{command.name}, {kill}: did not end: {_text(heard)[-600:]!r}") from None
    said = _text(heard)
    return Ended(code, said, killed, command.announced(said), then)


def _has_come(command: Command, kill: Kill, said: str) -> bool:
    return kill.announced is None or (command.begins in said and command.announced(said) >= kill.announced)


@contextmanager
def _listening(*, on_terminal: bool) -> Iterator[tuple[int, list[bytes]]]:
    """A descriptor to write to, and the list of what was written; it is complete when the body ends."""
    source, sink = pty.openpty() if on_terminal else os.pipe()
    heard: list[bytes] = []

    def listen() -> None:
        with suppress(OSError):  # reading a closed terminal fails
            while data := os.read(source, 1 << 16):
                heard.append(data)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield sink, heard
    finally:
        thread.join(GONE_S)  # longer if a process that is left has it open; that is found later
        os.close(source)


def _text(heard: Sequence[bytes]) -> str:
    return b"".join(heard).decode(errors="replace").replace("\r\n", "\n")


def _wait_for(process: subprocess.Popen[bytes], ready: object) -> None:
    assert callable(ready)
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and not ready():
        if time.monotonic() > until:
            process.kill()
            raise Broken("it does not get on")
        time.sleep(0.002)


def _send(process: subprocess.Popen[bytes], number: Signals, whom: str, mark: str) -> None:
    with suppress(ProcessLookupError):
        if whom == "process":
            process.send_signal(number)
        elif whom == "group" and process.poll() is None:
            os.killpg(process.pid, number)
        else:
            for nsys_child in _marked(mark):
                with suppress(psutil.Error):
                    nsys_child.send_signal(number)


def _marked(mark: str) -> list[psutil.Process]:
    marked = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                marked.append(process)
    return marked


# --- what is left -----------------------------------------------------------------------------------------------


def check_left(mark: str, gone_s: float = GONE_S) -> None:
    """Check that no process is left after `gone_s` seconds."""
    until = time.monotonic() + gone_s
    while left := _marked(mark):
        if time.monotonic() > until:
            names = [" ".join(process.cmdline()) for process in left]
            for process in left:
                process.kill()
            raise Broken(f"processes are left: {names}")
        time.sleep(0.02)


def check(command: Command, folder: Path, kill: Kill | None, ended: Ended, before: int) -> int:
    """Check that nothing is lost and that the messages are right; return how many are finished now."""
    by_force = kill is not None and kill.number == signal.SIGKILL
    check_files(folder, drafts=by_force or command.resumes)
    after = command.kept(folder)
    if not (by_force and not command.outlives_sigkill) and not ended.announced <= after - before <= ended.announced + 1:
        raise Broken(f"{ended.announced} were announced as finished, and {after - before} are kept")
    if (
        kill is not None
        and ended.killed
        and ended.code == 0
        and before + ended.announced_then + 1 < command.all_of_them
    ):
        raise Broken("it went on as if nothing had happened")
    if kill is not None and ended.code != 0:
        _check_end(kill, ended, complete=after == command.all_of_them, empty=not any(folder.rglob("record.json")))
        if not by_force and command.on_terminal and after < command.all_of_them:
            for saved in runs(folder):
                if saved.failure is None or (saved.status, saved.failure.signal) != ("interrupted", kill.number.name):
                    raise Broken(f"the record says {saved.status}, {saved.failure}")
    return after


def _check_end(kill: Kill, ended: Ended, *, complete: bool, empty: bool) -> None:
    """Check exit code and last line. Death by the signal itself is right before perfkit begins and as it ends."""
    if kill.number == signal.SIGKILL:
        if ended.code != -signal.SIGKILL:
            raise Broken("another end than by SIGKILL")
        return
    lines = [line for line in ended.said.splitlines() if "perfkit: " in line]
    numbers = {kill.number, *([kill.again[0]] if kill.again else [])}
    before_it_began = empty and ended.announced == 0 and _PYTHONS_OWN.fullmatch(ended.said)
    if ended.code in {-number for number in numbers} or (ended.code == 1 and "KeyboardInterrupt" in ended.said):
        told = lines and f"interrupted by {kill.number.name}" in lines[-1]
        if not (before_it_began or complete or told):
            raise Broken("it did not handle the signal")
        return
    if ended.code != 128 + kill.number:
        raise Broken(f"the exit code should be {128 + kill.number}")
    if "Traceback" in ended.said:
        raise Broken("a traceback")
    last = ended.said.splitlines()[-1]
    if len(lines) != 1 or lines[0] != last or not re.search(rf"perfkit: interrupted by {kill.number.name}\b", last):
        raise Broken("the last line should say what ended it, and it alone")


def _summarise(done: Counter[tuple[str, str]]) -> None:
    columns = [number.name for number in (*GENTLE, signal.SIGKILL)]
    print(f"{'':9}" + "".join(f"{name:>9}" for name in columns))
    for command in COMMANDS:
        print(f"{command.name:9}" + "".join(f"{done[command.name, name]:9}" for name in columns))
    print(f"{done.total()} kills: nothing lost, every file can be read, every end is told, no process left")
