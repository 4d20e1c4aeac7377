"""Which tests belong to a mutant, and in which order they run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scripts.mutation.baseline import Baseline
from scripts.mutation.sites import Site

BESIDE = {"analysis": ("reference", "truth"), "trace": ("reference", "truth"), "workload": ("reference", "truth")}
"""Folders of tests that belong to a folder of perfkit, beside its own."""
AT_THE_TOP = ("commands", "docs")


@dataclass(frozen=True, slots=True)
class Batch:
    """Tests that run in one process, in their order, with the seconds each takes."""

    files: tuple[str, ...]
    tests: dict[str, float]


@dataclass(frozen=True, slots=True)
class Selection:
    """The tests of a mutant."""

    batches: tuple[Batch, ...]
    reached: bool
    """False where no test is known to reach the line."""
    cut: int
    """Tests left out for their time."""

    def tests(self) -> list[str]:
        return [test for batch in self.batches for test in batch.tests]


def files_of(root: Path, source: str) -> list[str]:
    """The files of tests that belong to a source file: those of its folder's tests, its own first."""
    parts = PurePosixPath(source).parts
    folders = (parts[1], *BESIDE.get(parts[1], ())) if len(parts) > 2 else AT_THE_TOP
    files = [
        file.relative_to(root).as_posix()
        for folder in folders
        for file in sorted((root / "tests" / folder).rglob("test_*.py"))
    ]
    own = re.compile(rf"test_{re.escape(PurePosixPath(source).stem)}(_\w+)?\.py")
    return sorted(files, key=lambda file: own.fullmatch(PurePosixPath(file).name) is None)


class Selector:
    """Chooses the tests of one mutant after the other."""

    def __init__(self, root: Path, baselines: dict[str, Baseline], at_most: float) -> None:
        self.root = root
        self.baselines = baselines
        self.at_most = at_most
        """Seconds of tests for one mutant, the slowest being left out."""
        self.flaky: set[str] = set()
        """Tests that fail without a mutant too."""
        self._uses: dict[str, dict[str, list[int]]] | None = None

    def select(self, site: Site) -> Selection:
        """The tests that reach the mutant, those of its own file first, the fastest first.

        The rest of its own file's tests follow: what a cache or a shared object keeps, only the first test reaches. A
        line that no test is known to reach has the tests that reach any line of the file.
        """
        own_name = PurePosixPath(site.file).stem
        chosen: list[tuple[bool, float, str, dict[str, float]]] = []
        reached = False
        for file in files_of(self.root, site.file):
            baseline = self.baselines[file]
            own = PurePosixPath(file).stem == f"test_{own_name}"
            reaching = self._reaching(site, baseline) - self.flaky
            reached |= bool(reaching)
            chosen.append((not own, 0.0, file, self._ordered(baseline, reaching, rest=own)))
        if not reached:
            chosen = [
                (first, 0.0, file, self._ordered(self.baselines[file], self._reaching_file(site, self.baselines[file])))
                for first, _, file, _ in chosen
            ]
        chosen = [(first, sum(tests.values()), file, tests) for first, _, file, tests in chosen if tests]
        return self._batches(sorted(chosen, key=lambda one: one[:3]), reached)

    def _batches(self, chosen: Sequence[tuple[bool, float, str, dict[str, float]]], reached: bool) -> Selection:
        """Two processes: the file's own tests or the fastest file's, and the others."""
        left, cut = self.at_most, 0
        kept: list[tuple[str, dict[str, float]]] = []
        for _, _, file, tests in chosen:
            fitting: dict[str, float] = {}
            for test, seconds in tests.items():
                if seconds <= left or (not kept and not fitting):
                    left -= seconds
                    fitting[test] = seconds
            cut += len(tests) - len(fitting)
            if fitting:
                kept.append((file, fitting))
        batches = []
        for part in (kept[:1], kept[1:]):
            if part:
                every = {test: seconds for _, tests in part for test, seconds in tests.items()}
                batches.append(Batch(tuple(file for file, _ in part), every))
        return Selection(tuple(batches), reached, cut)

    def _ordered(self, baseline: Baseline, reaching: set[str], *, rest: bool = False) -> dict[str, float]:
        passing = [test for test in baseline.passing() if test not in self.flaky and (rest or test in reaching)]
        passing.sort(key=lambda test: (test not in reaching, baseline.tests[test][1]))
        return {test: baseline.tests[test][1] for test in passing}

    def _reaching(self, site: Site, baseline: Baseline) -> set[str]:
        """The tests of a file that reach a site.

        What runs at import is reached by the tests that run any line of that file, or a line that names the constant.
        """
        reaching = baseline.reaching(site.file, *site.lines) - {""}
        if site.at_import:
            reaching |= self._reaching_file(site, baseline)
            for source, lines in self._lines_that_name(site.scope.rsplit(".", 1)[-1]).items():
                for line in lines:
                    reaching |= baseline.reaching(source, line, line) - {""}
        return reaching & set(baseline.passing())

    def _reaching_file(self, site: Site, baseline: Baseline) -> set[str]:
        return (set(baseline.reached.get(site.file, ())) - {""}) & set(baseline.passing())

    def _lines_that_name(self, name: str) -> dict[str, list[int]]:
        if self._uses is None:
            self._uses = {}
            for file in sorted((self.root / "perfkit").rglob("*.py")):
                for used, line in _names(file):
                    self._uses.setdefault(used, {}).setdefault(file.relative_to(self.root).as_posix(), []).append(line)
        return self._uses.get(name, {})


def _names(file: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.end_lineno or node.lineno
