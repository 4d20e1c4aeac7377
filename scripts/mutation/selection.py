"""Which tests belong to a mutant, and in which order they run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from scripts.mutation.baseline import Baseline
from scripts.mutation.sites import Site

BESIDE = {"analysis": ("reference", "truth"), "trace": ("reference", "truth"), "workload": ("reference", "truth")}
"""Folders of tests that belong to a folder of perfkit, in addition to its own."""
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
    """False if no test is known to reach the line."""
    cut: int
    """Number of tests that are left out because they take too long."""

    def tests(self) -> list[str]:
        return [test for batch in self.batches for test in batch.tests]


def files_of(root: Path, source: str, *, beside: bool = True) -> list[str]:
    """The test files that belong to a source file, its own first, then those of its folder and of BESIDE's folders."""
    parts = PurePosixPath(source).parts
    folders = (parts[1], *(BESIDE.get(parts[1], ()) if beside else ())) if len(parts) > 2 else AT_THE_TOP
    files = [
        file.relative_to(root).as_posix()
        for folder in folders
        for file in sorted((root / "tests" / folder).rglob("test_*.py"))
    ]
    own = re.compile(rf"test_{re.escape(PurePosixPath(source).stem)}(_\w+)?\.py")
    return sorted(files, key=lambda file: own.fullmatch(PurePosixPath(file).name) is None)


class Selector:
    """Chooses the tests of each mutant."""

    def __init__(self, root: Path, baselines: dict[str, Baseline], at_most: float, *, beside: bool) -> None:
        self.root = root
        self.beside = beside
        self.baselines = baselines
        self.at_most = at_most
        """Seconds of tests for one mutant; the slowest tests beyond that are left out."""
        self.flaky: set[str] = set()
        """Tests that also fail without a mutant."""
        self._uses: dict[str, dict[str, list[int]]] | None = None

    def select(self, site: Site) -> Selection:
        """The tests that reach the mutant, those of its own test file first, and the fastest first.

        The other tests of its own test file follow, because only the first test reaches code whose result a cache or
        a shared object keeps. A line that no test is known to reach gets the tests that reach any line of the file.
        """
        baselines = {file: self.baselines[file] for file in files_of(self.root, site.file, beside=self.beside)}
        reaching = {file: self._reaching(site, baseline) for file, baseline in baselines.items()}
        reached = any(reaching.values())
        if not reached:
            reaching = {file: self._reaching_file(site, baseline) for file, baseline in baselines.items()}
        chosen = []
        for file, baseline in baselines.items():
            own = PurePosixPath(file).stem == f"test_{PurePosixPath(site.file).stem}"
            if tests := self._ordered(baseline, reaching[file], rest=own):
                chosen.append((not own, sum(tests.values()), file, tests))
        return self._batches([tests for *_, tests in sorted(chosen, key=lambda entry: entry[:3])], reached)

    def _batches(self, chosen: Sequence[dict[str, float]], reached: bool) -> Selection:
        """Three batches: tests of the file's own or the fastest test file; one per other test function; the rest."""
        phases: tuple[list[str], list[str], list[str]] = ([], [], [])
        for place, tests in enumerate(chosen):
            firsts = _one_of_each(tests)
            for test in tests:
                phases[0 if place == 0 else 1 if test in firsts else 2].append(test)
        every = {test: seconds for tests in chosen for test, seconds in tests.items()}
        left, batches = self.at_most, list[Batch]()
        for phase in phases:
            fitting: dict[str, float] = {}
            for test in phase:
                if every[test] <= left or not (batches or fitting):
                    left -= every[test]
                    fitting[test] = every[test]
            if fitting:
                files = dict.fromkeys(test.split("::", 1)[0] for test in fitting)
                batches.append(Batch(tuple(files), fitting))
        return Selection(tuple(batches), reached, len(every) - sum(len(batch.tests) for batch in batches))

    def _ordered(self, baseline: Baseline, reaching: set[str], *, rest: bool = False) -> dict[str, float]:
        passing = [test for test in baseline.passing() if test not in self.flaky and (rest or test in reaching)]
        passing.sort(key=lambda test: (test not in reaching, baseline.tests[test][1]))
        firsts = _one_of_each(passing)
        passing.sort(key=lambda test: (test not in reaching, test not in firsts))
        return {test: baseline.tests[test][1] for test in passing}

    def _reaching(self, site: Site, baseline: Baseline) -> set[str]:
        """The tests of a file that reach a site.

        A line that runs at import counts as reached by the tests that run any line of that file, or a line that names
        the constant. The same holds for a function that the import calls.
        """
        reaching = baseline.reaching(site.file, *site.lines)
        if site.at_import or "" in reaching:
            reaching |= self._reaching_file(site, baseline)
            for source, lines in self._lines_that_name(site.scope.rsplit(".", 1)[-1]).items():
                for line in lines:
                    reaching |= baseline.reaching(source, line, line) - {""}
        return (reaching & set(baseline.passing())) - self.flaky - {""}

    def _reaching_file(self, site: Site, baseline: Baseline) -> set[str]:
        return (set(baseline.reached.get(site.file, ())) & set(baseline.passing())) - self.flaky - {""}

    def _lines_that_name(self, name: str) -> dict[str, list[int]]:
        if self._uses is None:
            self._uses = {}
            for file in sorted((self.root / "perfkit").rglob("*.py")):
                for used, line in _names(file):
                    self._uses.setdefault(used, {}).setdefault(file.relative_to(self.root).as_posix(), []).append(line)
        return self._uses.get(name, {})


def _one_of_each(tests: Iterable[str]) -> set[str]:
    """The first test of each test function; other parameters seldom notice what the first one misses."""
    return set({test.split("[", 1)[0]: test for test in reversed(list(tests))}.values())


def _names(file: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.end_lineno or node.lineno
