"""The report of a run of scripts/mutants: rates by folder and by file, survivors with their lines, and a verdict."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import PurePosixPath

from scripts.mutation.sites import Site
from scripts.mutation.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Rate:
    """How many mutants of a place were noticed."""

    noticed: int
    survived: int
    equivalent: int

    @property
    def judged(self) -> int:
        """Number of mutants without the equivalent ones, which no test can notice."""
        return self.noticed + self.survived

    @property
    def percent(self) -> float:
        return 100.0 * self.noticed / self.judged if self.judged else 100.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run must reach; None means no limit."""

    at_least: float | None = None
    """Percent of all mutants."""
    file_at_least: tuple[float, int] | None = None
    """Percent in each file, and the number of mutants from which on a file counts."""
    equivalent_at_most: float | None = None
    """Percent of all mutants."""


@dataclass(slots=True)
class Run:
    """The mutants of a run and their results."""

    seed: int
    sites: list[Site]
    sources: dict[str, bytes]
    equivalent: dict[str, str]
    """Id -> the reason why the mutant is equivalent."""
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    flaky: set[str] = field(default_factory=set)
    failing: dict[str, str] = field(default_factory=dict)
    """Tests that fail without a mutant, with the reason for the first one in each file."""
    seconds: float = 0.0

    def rate(self, sites: Sequence[Site]) -> Rate:
        outcomes = Counter(self.outcome(site) for site in sites)
        return Rate(outcomes["noticed"] + outcomes["timeout"], outcomes["survived"], outcomes["equivalent"])

    def outcome(self, site: Site) -> str:
        """noticed, timeout, survived, equivalent, or open if the time ran out before."""
        if site.id in self.equivalent:
            return "equivalent"
        return self.verdicts[site.id].verdict if site.id in self.verdicts else "open"

    def survivors(self) -> list[Site]:
        survived = [site for site in self.sites if self.outcome(site) == "survived"]
        return sorted(survived, key=lambda site: (site.file, site.line, site.id))


def lines(run: Run, limits: Limits) -> Iterator[str]:
    """The whole report; see `faults` for the verdict."""
    yield from _survivors(run)
    yield from _rates("by file", run, lambda site: site.file)
    yield from _rates("by folder", run, lambda site: PurePosixPath(site.file).parts[1])
    yield ""
    for test, reason in sorted(run.failing.items()):
        yield f"fails without a mutant, and was left out: {test}: {reason}"
    for test in sorted(run.flaky):
        yield f"failed without a mutant when it was run again, and was left out: {test}"
    yield summary(run)
    for fault in faults(run, limits):
        yield f"mutants: {fault}"


def summary(run: Run) -> str:
    count = Counter(run.outcome(site) for site in run.sites)
    total = run.rate(run.sites)
    cut = sum(verdict.cut > 0 for site in run.survivors() if (verdict := run.verdicts[site.id]))
    parts = [
        f"seed {run.seed}: {len(run.sites)} mutants",
        f"{count['noticed'] + count['timeout']} noticed ({total.percent:.1f}%; {count['timeout']} by a timeout)",
        f"{count['survived']} survived" + (f" ({cut} with tests left out for their time)" if cut else ""),
        f"{count['equivalent']} equivalent",
        *([f"{count['open']} not tried for lack of time"] if count["open"] else []),
        f"{run.seconds / 60:.1f} min",
    ]
    return ", ".join(parts)


def faults(run: Run, limits: Limits) -> list[str]:
    """One sentence for each limit that is not met."""
    total = run.rate(run.sites)
    reasons = []
    if limits.at_least is not None and total.percent < limits.at_least:
        reasons.append(f"{total.percent:.1f}% were noticed, less than {limits.at_least:g}%")
    if limits.file_at_least is not None:
        percent, enough = limits.file_at_least
        for file, sites in _grouped(run, lambda site: site.file):
            rate = run.rate(sites)
            if rate.judged >= enough and rate.percent < percent:
                reasons.append(f"{file}: {rate.percent:.0f}% of {rate.judged} were noticed, less than {percent:g}%")
    share = 100.0 * total.equivalent / len(run.sites) if run.sites else 0.0
    if limits.equivalent_at_most is not None and share > limits.equivalent_at_most:
        reasons.append(f"{share:.1f}% are listed as equivalent, more than {limits.equivalent_at_most:g}%")
    limited = (limits.at_least, limits.file_at_least, limits.equivalent_at_most) != (None, None, None)
    if limited and any(run.outcome(site) == "open" for site in run.sites):
        reasons.append("the time was up before all were tried: run it again with --resume")
    return reasons


def _survivors(run: Run) -> Iterator[str]:
    for site in run.survivors():
        source = run.sources[site.file]
        before, after = changed_lines(source, site.apply(source))
        verdict = run.verdicts[site.id]
        hint = "" if verdict.reached else " (no test is known to reach it)"
        hint += f" ({verdict.cut} slow tests were left out)" if verdict.cut else ""
        yield f"{site.file}:{site.line}: {site.kind} in {site.scope} survived{hint}"
        yield from (f"    - {line.strip()}" for line in before)
        yield from (f"    + {line.strip()}" for line in after)
        yield f"    id: {json.dumps(site.id, ensure_ascii=False)}"


def changed_lines(before: bytes, after: bytes) -> tuple[list[str], list[str]]:
    """The lines that differ, from both versions."""
    old, new = before.decode().splitlines(), after.decode().splitlines()
    blocks = [block for block in SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if block[0] != "equal"]
    first, last = blocks[0], blocks[-1]
    return old[first[1] : last[2]], new[first[3] : last[4]]


def _rates(title: str, run: Run, key: Callable[[Site], str]) -> Iterator[str]:
    groups = [(name, run.rate(sites)) for name, sites in _grouped(run, key)]
    width = max((len(name) for name, _ in groups), default=0)
    yield ""
    yield f"{title:<{width}}  noticed  of mutants  equivalent"
    for name, rate in groups:
        yield f"{name:<{width}}  {rate.percent:6.0f}%  {rate.noticed:>3} of {rate.judged:<3}  {rate.equivalent:>10}"


def _grouped(run: Run, key: Callable[[Site], str]) -> list[tuple[str, list[Site]]]:
    tried = sorted((site for site in run.sites if run.outcome(site) != "open"), key=key)
    return [(name, list(sites)) for name, sites in groupby(tried, key)]
