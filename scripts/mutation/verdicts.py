"""The verdict on each mutant: whether a test notices, and a file that keeps verdicts from run to run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.mutation.baseline import Store
from scripts.mutation.selection import Batch, Selection, Selector
from scripts.mutation.sites import Site
from scripts.mutation.workers import Outcome, Request, Worker


@dataclass(frozen=True, slots=True)
class Patience:
    """The time limit of a test: seconds plus a multiple of its measured time. A test that takes longer hangs."""

    seconds: float = 30.0
    times: float = 4.0

    def with_test(self, took_s: float) -> float:
        """Seconds that a test may take."""
        return self.seconds + self.times * took_s


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of the tests for one mutant."""

    id: str
    verdict: str
    """noticed, timeout (which counts as noticed) or survived."""
    by: str
    """The test that noticed."""
    reason: str
    reached: bool
    cut: int
    """Number of tests that were left out because they take too long."""
    seconds: float
    source: str
    """Hash of the source file."""
    tests: str
    """Hash of the tests that the verdict depends on: the one that noticed, or all that did not."""


class Judge:
    """Runs the tests of mutants. Several threads may use it at once, each with its own worker."""

    def __init__(
        self, store: Store, selector: Selector, sources: dict[str, bytes], memory: int, patience: Patience
    ) -> None:
        self.store = store
        self.selector = selector
        self.sources = sources
        self.memory = memory
        self.patience = patience
        self.trusted: set[str] = set()
        """Tests that noticed a mutant, and pass without one when they are run in the same way."""
        self._lock = threading.Lock()

    def judge(self, site: Site, worker: Worker) -> Verdict:
        """Change one place, run the tests, and change it back."""
        seconds = 0.0
        selection = self.selector.select(site)
        while True:
            noticed: tuple[Batch, Outcome] | None = None
            worker.change(site.file, site.apply(self.sources[site.file]))
            for batch in selection.batches:
                outcome = worker.run(self._request(batch))
                seconds += outcome.seconds
                if outcome.outcome != "passed":
                    noticed = batch, outcome
                    break
            worker.change(site.file, self.sources[site.file])
            if noticed is None or self._passes_otherwise(*noticed, worker):
                return self._verdict(site, selection, noticed[1] if noticed else None, seconds)
            selection = self.selector.select(site)

    def _passes_otherwise(self, batch: Batch, outcome: Outcome, worker: Worker) -> bool:
        """Whether the failed test passes without the mutant, after the same tests; if not, it is left out."""
        test = outcome.test
        if test not in batch.tests or test in self.trusted:
            return True
        names = list(batch.tests)
        before = dict.fromkeys(names[: names.index(test) + 1], 0.0)
        again = worker.run(self._request(Batch(batch.files, {name: batch.tests[name] for name in before})))
        with self._lock:
            if again.outcome == "passed":
                self.trusted.add(test)
                return True
            self.selector.flaky.add(again.test if again.test in batch.tests else test)
        return False

    def _request(self, batch: Batch) -> Request:
        known = [test for file in batch.files for test in self.selector.baselines[file].tests]
        return Request(
            batch.files,
            list(batch.tests),
            [test for test in known if test not in batch.tests],
            {test: self.patience.with_test(seconds) for test, seconds in batch.tests.items()},
            self.patience.seconds,
            memory=self.memory,
        )

    def _verdict(self, site: Site, selection: Selection, noticed: Outcome | None, seconds: float) -> Verdict:
        verdict, by, reason = "survived", "", ""
        if noticed is not None:
            verdict = "timeout" if noticed.outcome == "timeout" else "noticed"
            by, reason = noticed.test, noticed.reason or noticed.outcome
        return Verdict(
            site.id, verdict, by, reason, selection.reached, selection.cut, round(seconds, 2),
            self.store.hash_of(site.file), self._tests_hash([by] if by else selection.tests()),
        )  # fmt: skip

    def holds(self, verdict: Verdict, site: Site) -> bool:
        """Whether an earlier run's verdict still holds: the source and the tests that it depends on are unchanged.

        A noticed mutant depends on the test that noticed it; a survivor on all tests that belong to it.
        """
        if verdict.source != self.store.hash_of(site.file):
            return False
        stands_on = [verdict.by] if verdict.by else self.selector.select(site).tests()
        return verdict.tests == self._tests_hash(stands_on)

    def _tests_hash(self, tests: Sequence[str]) -> str:
        files = {test.split("::")[0] for test in tests}
        baselines = [self.selector.baselines[file] for file in sorted(files) if file in self.selector.baselines]
        named = [*sorted(tests), *(baseline.digest for baseline in baselines)]
        return hashlib.sha256("\n".join(named).encode()).hexdigest()[:16]


class Results:
    """A file of verdicts, one JSON object per line; a mutant's last one counts."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path = path
        self.kept: dict[str, Verdict] = {}
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        if not resume:
            path.write_text("", encoding="utf-8")
        elif path.exists():
            text = path.read_text(encoding="utf-8")
            complete = text[: text.rfind("\n") + 1]  # the last line may be incomplete
            if complete != text:
                path.write_text(complete, encoding="utf-8")
            for line in complete.splitlines():
                verdict = Verdict(**json.loads(line))
                self.kept[verdict.id] = verdict

    def add(self, verdict: Verdict) -> None:
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            self.kept[verdict.id] = verdict
            file.write(json.dumps(dataclasses.asdict(verdict)) + "\n")
