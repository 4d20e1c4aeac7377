"""One worker: process 1 of its own PID namespace, which forks a process for each run of tests.

It imports the packages that perfkit and its tests use, but nothing of perfkit, so that a run takes no longer than its
tests. A run reads perfkit from this worker's own copy of the tree. A mutant's kill() or rmtree() affects only the
processes and files of this worker: all others are invisible or read-only. This file runs alone (`python -P server.py`)
and reads requests from stdin and writes answers to stdout, one JSON object per line.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

BESIDE_TESTS_S = 60.0
"""Seconds for collecting tests, and for ending after the last one."""
FILE_BYTES = 2**31
PSEUDO_FILES = ("/proc", "/sys", "/dev")


class Plugin:
    """Runs the requested tests in order, and reports each result to the server through a pipe."""

    def __init__(self, request: dict[str, Any], pipe: int, coverage: Any) -> None:
        self.order = {test: place for place, test in enumerate(request["tests"])}
        self.left_out = set(request["left_out"])
        self.pipe = pipe
        self.coverage = coverage
        self.seconds: dict[str, float] = {}

    def tell(self, *what: Any) -> None:
        os.write(self.pipe, json.dumps(what).encode() + b"\n")

    def pytest_sessionstart(self) -> None:
        # A failing example is enough, so no time is spent on shrinking it.
        if (hypothesis := sys.modules.get("hypothesis")) is not None:
            phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
            hypothesis.settings.register_profile("mutants", hypothesis.settings(), phases=phases)
            hypothesis.settings.load_profile("mutants")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid not in self.left_out]
        items.sort(key=lambda item: self.order.get(item.nodeid, len(self.order)))
        self.tell("collected", len(items))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.tell("start", item.nodeid)
        self.enter(item.nodeid)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Iterator[Any]:
        """Count the lines that a shared fixture reaches for all tests that use it, not only for the first."""
        item = getattr(request, "_pyfuncitem", None)
        if fixturedef.scope == "function" or self.coverage is None:
            return (yield)
        before = os.environ.get("MUTATION_TEST", "")
        self.enter(f"fixture {fixturedef.argname}")
        made = yield
        self.enter(item.nodeid if item is not None else before)
        return made

    def enter(self, context: str) -> None:
        """Count the lines that this process and its children run from now on as reached by `context`."""
        if self.coverage is not None:
            self.coverage.switch_context(context)
            os.environ["MUTATION_TEST"] = context

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.tell("failed", report.nodeid, _reason(report), "collect")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.tell("failed", report.nodeid, _reason(report), report.when)
        elif report.skipped:
            self.tell("skipped", report.nodeid)
        if report.when == "teardown":
            self.tell("end", report.nodeid, round(self.seconds[report.nodeid], 4))

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if self.coverage is not None:
            self.tell("fixtures", item.nodeid, list(getattr(item, "fixturenames", ())))


def _reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr).strip().rsplit("\n", 1)[-1]
    return text.split("\n", 1)[0][:200]


def _child(request: dict[str, Any], pipe: int, log: Path) -> NoReturn:
    """Run pytest in this (forked) process and leave it."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    limits = {resource.RLIMIT_AS: request["memory"], resource.RLIMIT_FSIZE: FILE_BYTES, resource.RLIMIT_CORE: 0}
    for limit, amount in limits.items():
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))
    measured = None
    if request["coverage"]:
        coverage = importlib.import_module("coverage")
        os.environ["COVERAGE_PROCESS_START"] = request["coverage"]
        measured = coverage.Coverage(config_file=request["coverage"])
        measured.start()
    plugin = Plugin(request, pipe, measured)
    arguments = [*request["files"], "-p", "no:cacheprovider", "--tb=short", *(["-x"] if request["stop"] else [])]
    code = int(pytest.main(arguments, plugins=[plugin]))
    if measured is not None:
        measured.stop()
        measured.save()
        plugin.tell("imported", sorted(_own_files()))
    plugin.tell("done", code)
    os._exit(0)


def _own_files() -> Iterator[str]:
    """The files of the test modules that are loaded."""
    here = Path.cwd()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(here / "tests"):
            yield Path(file).relative_to(here).as_posix()


class Server:
    def __init__(self, home: Path) -> None:
        self.temporary = home / "tmp"
        self.log = home / "log"
        self.alone = os.getpid() == 1
        """True in a PID namespace, where every other process was left by a mutant."""

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run tests in a forked process; return the outcome."""
        self.temporary.mkdir(exist_ok=True)
        reading, writing = os.pipe()
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.setsid()
            _child(request, writing, self.log)
        os.close(writing)
        heard = _Heard(request)
        ended = self._listen(pid, reading, heard)
        os.close(reading)
        self._kill(pid)
        shutil.rmtree(self.temporary, ignore_errors=True)
        return {**heard.answer(ended), "seconds": round(time.monotonic() - began, 3)}

    def _listen(self, pid: int, reading: int, heard: _Heard) -> bool:
        """Read the tests' reports to the end, and reap zombies meanwhile; return False if a test takes too long."""
        rest = b""
        while True:
            ready, _, _ = select.select([reading], [], [], 0.05)
            more = os.read(reading, 65536) if ready else None
            if more:
                *lines, rest = (rest + more).split(b"\n")
                for line in lines:
                    heard.hear(*json.loads(line))
            gone = self._reap(pid)
            if heard.code is not None or more == b"" or (gone and not ready):
                return True
            if time.monotonic() > heard.deadline:
                return False

    def _reap(self, pid: int) -> bool:
        gone = False
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                gone |= ended == pid
        return gone

    def _kill(self, pid: int) -> None:
        """Kill the processes that the run has left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        if self.alone:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while self.alone or os.waitpid(pid, os.WNOHANG)[0] == 0:
                os.waitpid(-1 if self.alone else pid, 0)


class _Heard:
    """What the tests of one run have reported so far."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.limits: dict[str, float] = request["limits"]
        self.otherwise: float = request["limit"]
        self.deadline = time.monotonic() + BESIDE_TESTS_S
        self.code: int | None = None
        self.running: str | None = None
        self.tests: dict[str, list[Any]] = {}
        self.failed: list[str] | None = None
        self.fixtures: dict[str, list[str]] = {}
        self.imported: list[str] = []

    def hear(self, what: str, *more: Any) -> None:
        match what:
            case "start":
                self.running = more[0]
                self.tests[more[0]] = ["passed", 0.0]
                self.deadline = time.monotonic() + self.limits.get(more[0], self.otherwise)
            case "failed":
                self.failed = self.failed or list(more[:2])
                self.tests.setdefault(more[0], ["failed", 0.0])[0] = "failed"
            case "skipped":
                self.tests[more[0]][0] = "skipped"
            case "end":
                self.tests[more[0]][1] = more[1]
                self.running = None
                self.deadline = time.monotonic() + BESIDE_TESTS_S
            case "fixtures":
                self.fixtures[more[0]] = more[1]
            case "imported":
                self.imported = more[0]
            case "done":
                self.code = more[0]

    def answer(self, ended: bool) -> dict[str, Any]:
        if not ended:
            outcome = "timeout"
        elif self.code is None:
            outcome = "crashed"
        else:
            outcome = "passed" if self.code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else "failed"
        test, reason = self.failed or (self.running or "", "")
        return {
            "outcome": outcome, "test": test, "reason": reason, "tests": self.tests, "fixtures": self.fixtures,
            "imported": self.imported,
        }  # fmt: skip


def _protect(home: Path) -> bool:
    """Make all file systems read-only except this worker's own folder; return False if that is not possible."""
    mount = shutil.which("mount")
    if mount is None:
        return False

    def mounted(*arguments: str) -> bool:
        return subprocess.run([mount, *arguments], capture_output=True, check=False).returncode == 0

    places = [line.split(" ")[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    done = mounted("--bind", str(home), str(home))
    for place in places:
        if not place.startswith(PSEUDO_FILES) and place != str(home):
            read_only = mounted("-o", "remount,bind,ro", place)
            done &= read_only or place != "/"
    os.chdir(Path.cwd())  # enter the folder again by its path, as it is mounted now
    return done


def _preload(names: list[str]) -> None:
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def main() -> None:
    """Serve until stdin ends."""
    home = Path(sys.argv[1])
    alone = os.getpid() == 1
    protected = alone and _protect(home)
    server = Server(home)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    _preload(json.loads(sys.stdin.readline()))
    gc.collect()
    gc.freeze()
    print(json.dumps({"alone": alone, "protected": protected}), file=answers)
    while line := sys.stdin.readline():
        print(json.dumps(server.run(json.loads(line))), file=answers)


if __name__ == "__main__":
    main()
