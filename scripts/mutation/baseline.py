"""What the tests do without a mutant: which pass, how long each takes, and which lines each reaches.

Each test file has one run, which is kept in a folder and repeated only if that file, or a source that it reached, has
changed. Processes that a test starts are measured too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coverage

from scripts.mutation.workers import Outcome, Request, Worker

FORMAT = 1
SETTINGS = """[run]
data_file = {home}/coverage/data/measured
parallel = true
source = {tree}/perfkit
context = ${{MUTATION_TEST-}}
"""
IN_EACH_PROCESS = "import coverage\n\ncoverage.process_startup()\n"


@dataclass(frozen=True, slots=True)
class Baseline:
    """One test file, run without a mutant."""

    file: str
    tests: dict[str, tuple[str, float]]
    """Test -> passed, failed or skipped, and seconds (under coverage.py, about twice the usual time)."""
    reached: dict[str, dict[str, frozenset[int]]]
    """Source file -> test -> the lines that it reached. The test '' is the import of the file."""
    digest: str
    """Hash of the file and of all files of tests/ that it imports."""
    reason: str = ""
    """Why the first failed test failed."""

    def passing(self) -> list[str]:
        return [test for test, (outcome, _) in self.tests.items() if outcome == "passed"]

    def reaching(self, source: str, first: int, last: int) -> set[str]:
        """The tests that reach one of these lines of a source file, including '' if the import does."""
        lines = range(first, last + 1)
        return {test for test, own in self.reached.get(source, {}).items() if not own.isdisjoint(lines)}


class Store:
    """Baselines in a folder, each with the hashes of the files it depends on. Working trees may share the folder."""

    def __init__(self, folder: Path, root: Path, corpus: str | None) -> None:
        self.folder = folder
        self.root = root
        self.corpus = bool(corpus)
        self._hashes: dict[str, str] = {}

    def hash_of(self, file: str) -> str:
        """Hash of a file's content; '' if there is no such file."""
        if file not in self._hashes:
            path = self.root / file
            self._hashes[file] = hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
        return self._hashes[file]

    def load(self, file: str) -> Baseline | None:
        """The baseline of a test file, or None if it has to be made."""
        for path in self._kept(file):
            try:
                kept = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if kept["format"] == FORMAT and kept["corpus"] == self.corpus and self._are(kept["files"]):
                return _baseline(file, kept)
        return None

    def _are(self, files: dict[str, str]) -> bool:
        return all(self.hash_of(name) == digest for name, digest in files.items())

    def make(self, file: str, worker: Worker) -> Baseline:
        """Run a test file and keep the result."""
        outcome, reached = _measure(file, worker)
        files = {name: self.hash_of(name) for name in (file, *_conftests(file), *outcome.imported, *reached)}
        kept = {
            "format": FORMAT, "corpus": self.corpus, "files": files, "tests": outcome.tests, "reason": outcome.reason,
            "reached": {
                source: {test: _packed(lines) for test, lines in tests.items()}
                for source, tests in reached.items()
            },
        }  # fmt: skip
        name = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:8]
        path = self.folder / f"{_flat(file)}~{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps(kept), encoding="utf-8")
        new.replace(path)
        return _baseline(file, json.loads(path.read_text(encoding="utf-8")))

    def _kept(self, file: str) -> list[Path]:
        """Baselines of a test file, the newest first."""
        dated = [(path.stat().st_mtime, path) for path in self.folder.glob(f"{_flat(file)}~*.json")]
        return [path for _, path in sorted(dated, reverse=True)]


def _flat(file: str) -> str:
    return file.replace("/", "~")


def _baseline(file: str, kept: Any) -> Baseline:
    """The baseline, read from its stored form."""
    reached = {
        source: {test: frozenset(_unpacked(lines)) for test, lines in tests.items()}
        for source, tests in kept["reached"].items()
    }
    tests = {test: (outcome, seconds) for test, (outcome, seconds) in kept["tests"].items()}
    own = sorted((name, digest) for name, digest in kept["files"].items() if name.startswith("tests/"))
    digest = hashlib.sha256(json.dumps(own).encode()).hexdigest()[:16]
    return Baseline(file, tests, reached, digest, kept["reason"])


def _measure(file: str, worker: Worker) -> tuple[Outcome, dict[str, dict[str, set[int]]]]:
    """Run a test file under coverage.py; return the outcome, and the lines reached by file and test."""
    folder = worker.home / "coverage"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    settings = folder / "settings"
    settings.write_text(SETTINGS.format(home=worker.home, tree=worker.tree), encoding="utf-8")
    (folder / "sitecustomize.py").write_text(IN_EACH_PROCESS, encoding="utf-8")
    outcome = worker.run(Request([file], coverage=str(settings), stop=False))
    users: dict[str, list[str]] = defaultdict(list)
    for test, fixtures in outcome.fixtures.items():
        for fixture in fixtures:
            users[f"fixture {fixture}"].append(test)
    reached: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for part in sorted((folder / "data").iterdir()):
        data = coverage.CoverageData(str(part))
        try:
            data.read()
        except coverage.exceptions.DataError:  # a test killed the process that was writing it
            continue
        for measured in data.measured_files():
            name = Path(os.path.relpath(measured, worker.tree)).as_posix()
            for line, contexts in data.contexts_by_lineno(measured).items():
                for context in contexts:
                    for test in users.get(context, [context]):
                        reached[name][test].add(line)
    shutil.rmtree(folder)
    return outcome, reached


def _conftests(file: str) -> Iterator[str]:
    for folder in Path(file).parents:
        yield (folder / "conftest.py").as_posix()


def _packed(lines: set[int]) -> list[list[int]]:
    """The lines as ranges, each [first, last]."""
    ranges: list[list[int]] = []
    for line in sorted(lines):
        if ranges and line == ranges[-1][1] + 1:
            ranges[-1][1] = line
        else:
            ranges.append([line, line])
    return ranges


def _unpacked(ranges: Any) -> Iterator[int]:
    for first, last in ranges:
        yield from range(first, last + 1)
