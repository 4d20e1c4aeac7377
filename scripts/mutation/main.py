"""scripts/mutants: change one place of perfkit at a time and check whether the tests that belong to it notice."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

from scripts.mutation import report, selection, sites
from scripts.mutation.baseline import Baseline, Store
from scripts.mutation.selection import Selector
from scripts.mutation.sites import Site
from scripts.mutation.verdicts import Judge, Patience, Results
from scripts.mutation.workers import Worker, WorkerError, copy_tree

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = "scripts/mutation/equivalent.toml"
T = TypeVar("T")
_PATIENCE = Patience()
PERFKIT = "perfkit"
KILLS = re.compile(rb"\b(kill|killpg|send_signal|terminate|rmtree|unlink|rmdir|replace|rename|write_text|open)\(")
"""Calls whose mutants could affect other processes and files if these are not protected; see server.py."""


def main(argv: Sequence[str] | None = None, patience: Patience = _PATIENCE) -> int:
    """Try mutants; return 0, 1 if a limit is not met, 2 for a request that cannot work, or 130 after ctrl-C."""
    chosen = _parser().parse_args(argv)
    began = time.monotonic()
    try:
        run = _plan(chosen)
        if chosen.list:
            print(*(site.id for site in run.sites), sep="\n")
            return 0
        _try(run, chosen, began, patience)
    except (ValueError, WorkerError) as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("mutants: stopped; --resume goes on from here", file=sys.stderr)
        return 130
    run.seconds = time.monotonic() - began
    limits = report.Limits(chosen.at_least, chosen.file_at_least, chosen.equivalent_at_most)
    for line in report.lines(run, limits):
        print(line)
    return 1 if report.faults(run, limits) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/mutants",
        description="Change one place of perfkit at a time (a comparison, a constant, a statement left out, two "
        "arguments swapped, ...), run the tests that belong to it, and list the changes that no test notices. The "
        "working tree is not changed. Without PERFKIT_TRACE_CORPUS the tests that need it are skipped.",
    )
    add = parser.add_argument
    add("--under", nargs="+", default=[PERFKIT], metavar="PATH", help="folders or files (default: perfkit)")
    add("--seed", type=int, default=0, help="seed of the sample (default: 0); the same seed gives the same mutants")
    add("--count", type=int, default=500, help="mutants in the sample (default: 500); a larger count adds to it")
    add("--all", action="store_true", help="all mutants, not a sample")
    add("--id", nargs="+", metavar="ID", help="these mutants only")
    add("--list", action="store_true", help="print the ids of the mutants and try none")
    add("--budget", type=_seconds, metavar="TIME", help="time limit, such as 30m or 90s; no mutant is tried after it")
    add("--jobs", type=int, default=1, help="mutants at a time (default: 1)")
    add("--results", type=Path, metavar="FILE", help="where verdicts are kept (default: .mutants/results.jsonl)")
    add("--resume", action="store_true", help="keep the verdicts whose source and tests are unchanged")
    add("--own-folder", action="store_true", help="do not run tests/reference and tests/truth: quicker and stricter")
    add("--tests-at-most", type=_seconds, default=60.0, metavar="TIME", help="time for a mutant's tests (default: 60s)")
    add("--memory", type=float, default=8.0, metavar="GIB", help="address space of one process (default: 8)")
    add(
        "--check-equivalent",
        action="store_true",
        help="also try the mutants listed as equivalent; exit 2 if one is noticed",
    )
    add("--at-least", type=float, metavar="PERCENT", help="exit 1 if fewer of all mutants are noticed")
    add(
        "--file-at-least",
        type=_percent_and_count,
        metavar="PERCENT:N",
        help="exit 1 if fewer are noticed in a file with N or more mutants",
    )
    add("--equivalent-at-most", type=float, metavar="PERCENT", help="exit 1 if more are listed as equivalent")
    add("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    add("--cache", type=Path, metavar="DIR", help="folder for what tests reach, shared by trees (default: .mutants)")
    return parser


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 90s, 30m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _percent_and_count(text: str) -> tuple[float, int]:
    match = re.fullmatch(r"(\d+(?:\.\d+)?):(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not PERCENT:N, as 80:10 is")
    return float(match[1]), int(match[2])


def _plan(chosen: argparse.Namespace) -> report.Run:
    """The mutants to try. Raises ValueError for a file or mutant that does not exist."""
    root: Path = chosen.root
    every = sites.sites_below(root, [PERFKIT])
    equivalent = _equivalent(root / EQUIVALENT)
    if stale := sorted(equivalent.keys() - {site.id for site in every}):
        raise ValueError(f"{EQUIVALENT} lists a mutant that no longer exists, delete or renew it: {stale[0]}")
    below = tuple(_below(path, root) for path in chosen.under)
    within = [site for site in every if any(site.file == path or site.file.startswith(f"{path}/") for path in below)]
    if chosen.id:
        if missing := sorted(set(chosen.id) - {site.id for site in every}):
            raise ValueError(f"there is no mutant {missing[0]} (see --list)")
        within = [site for site in every if site.id in chosen.id]
    if not within:
        raise ValueError(f"nothing to change below {', '.join(chosen.under)}")
    everything = chosen.all or chosen.id
    taken = sites.sample(within, chosen.seed, None if everything else chosen.count)
    sources = {file: (root / file).read_bytes() for file in {site.file for site in taken}}
    return report.Run(chosen.seed, taken, sources, equivalent)


def _below(path: str, root: Path) -> str:
    text = path.removeprefix("./").rstrip("/")
    if not (root / text).exists():
        raise ValueError(f"{path} does not exist below {root}")
    return text


def _equivalent(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        listed = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name}: {error}") from error
    for name, reason in listed.items():
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f'{path.name}: {name} has no reason: write "id" = "reason"')
    return listed


def _try(run: report.Run, chosen: argparse.Namespace, began: float, patience: Patience) -> None:
    """Try the mutants of a run, and enter the results in it."""
    root, corpus = chosen.root.resolve(), os.environ.get("PERFKIT_TRACE_CORPUS")
    cache = chosen.cache or root / ".mutants"
    deadline = float("inf") if chosen.budget is None else began + chosen.budget
    pending = [site for site in run.sites if chosen.check_equivalent or site.id not in run.equivalent]
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        snapshot = Path(scratch) / "snapshot"  # later edits make no difference
        copy_tree(root, snapshot)
        with _Pool(snapshot, Path(scratch), chosen.jobs, corpus) as pool:
            if not pool.protected:
                _say("no namespaces on this system: mutants of files that kill or delete are left out")
                run.sites = [site for site in run.sites if KILLS.search(run.sources[site.file]) is None]
                pending = [site for site in pending if site in run.sites]
            store = Store(cache / "baseline", snapshot, corpus)
            baselines = _baselines(snapshot, store, pool, pending, beside=not chosen.own_folder)
            for baseline in baselines.values():
                for test, (outcome, _) in baseline.tests.items():
                    if outcome == "failed":
                        run.failing[test] = baseline.reason
            selector = Selector(snapshot, baselines, chosen.tests_at_most, beside=not chosen.own_folder)
            judge = Judge(store, selector, run.sources, int(chosen.memory * 2**30), patience)
            results = Results(chosen.results or root / ".mutants" / "results.jsonl", resume=chosen.resume)
            _judge(run, pending, judge, results, pool, deadline)
            run.flaky = judge.selector.flaky
    if chosen.check_equivalent:
        for name in run.equivalent.keys() & run.verdicts.keys():
            if run.verdicts[name].verdict != "survived":
                raise ValueError(f"{EQUIVALENT} lists a mutant that {run.verdicts[name].by} notices: {name}")


def _judge(
    run: report.Run, pending: Sequence[Site], judge: Judge, results: Results, pool: _Pool, deadline: float
) -> None:
    """Find a verdict on each mutant, in the order of the sample, so that an incomplete run is a sample too."""
    for site in pending:
        if (kept := results.kept.get(site.id)) is not None and judge.holds(kept, site):
            run.verdicts[site.id] = kept
    left = [site for site in pending if site.id not in run.verdicts]
    if len(left) < len(pending):
        _say(f"{len(pending) - len(left)} of {len(pending)} verdicts kept")

    def judge_one(site: Site, worker: Worker) -> None:
        if time.monotonic() > deadline:
            return
        verdict = judge.judge(site, worker)
        results.add(verdict)
        run.verdicts[site.id] = verdict
        by = f" by {verdict.by}" if verdict.by else ""
        _say(f"{len(run.verdicts)}/{len(pending)} {verdict.seconds:5.1f} s  {verdict.verdict}{by}: {site.id}")

    pool.each(judge_one, left)


def _baselines(root: Path, store: Store, pool: _Pool, pending: Iterable[Site], *, beside: bool) -> dict[str, Baseline]:
    """The baseline of every test file that belongs to one of the mutants."""
    sources = {site.file for site in pending}
    files = sorted({file for source in sources for file in selection.files_of(root, source, beside=beside)})
    baselines = {file: baseline for file in files if (baseline := store.load(file)) is not None}
    missing = [file for file in files if file not in baselines]

    def make(file: str, worker: Worker) -> None:
        began = time.monotonic()
        baselines[file] = store.make(file, worker)
        _say(f"{len(baselines)}/{len(files)} {time.monotonic() - began:5.1f} s  without a mutant: {file}")

    pool.each(make, missing)
    return baselines


class _Pool:
    """Workers, each of which does one thing at a time."""

    def __init__(self, root: Path, scratch: Path, jobs: int, corpus: str | None) -> None:
        self._free: SimpleQueue[Worker] = SimpleQueue()
        self._stop = threading.Event()
        with ThreadPoolExecutor(jobs) as threads:
            made = threads.map(lambda number: Worker(root, scratch / str(number), corpus), range(jobs))
            self.workers = list(made)
        for worker in self.workers:
            self._free.put(worker)

    @property
    def protected(self) -> bool:
        return all(worker.protected for worker in self.workers)

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.close()

    def each(self, do: Callable[[T, Worker], None], what: Iterable[T]) -> None:
        """Call `do` for each item with a free worker. The first error ends it."""

        def on_worker(thing: T) -> None:
            if self._stop.is_set():
                return
            worker = self._free.get()
            try:
                do(thing, worker)
            finally:
                self._free.put(worker)

        with ThreadPoolExecutor(len(self.workers)) as threads:
            try:
                for _ in threads.map(on_worker, what):
                    pass
            except BaseException:
                self._stop.set()
                for worker in self.workers:
                    worker.close()
                raise


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
