"""scripts/gpu-suite: run what needs a GPU within a time budget, and write one folder of results."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import median
from typing import IO, Any, NoReturn

from perfkit.analysis.runs import summary as run_summary
from perfkit.analysis.statistics import stats
from perfkit.schema import units
from scripts.gpu_suite.points import ALLOWANCE, POINTS, Point
from scripts.gpu_suite.results import Results
from scripts.gpu_suite.running import ANALYZE_TIMEOUT_S, ROOT, Outcome, environment, run_point

PACK_S = 10.0
"""Seconds of the budget that are kept for writing the results."""
PACK_EVERY_S = 45.0
WORTH_STARTING = 0.3
"""A reserved point is started if at least this share of its time is left."""
NAMED_SKIPPED = 6
PACE_FROM = 3
"""Number of points after which the times taken so far correct the expected times."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long points and other work may take."""

    allowance: float = ALLOWANCE
    """Time limit of a point, as a multiple of its expected time."""
    probe_s: float = 120.0
    analyze_s: float = ANALYZE_TIMEOUT_S


_PATIENCE = Patience()


def main(argv: Sequence[str] | None = None, patience: Patience = _PATIENCE) -> int:
    """Run the suite; return 0 if every point that ran ended as it should (out of memory included), else 1."""
    began = time.monotonic()
    chosen = _parser().parse_args(argv)
    points = _selected(chosen.only)
    if points is None:
        return 2
    if chosen.dry_run:
        _print_plan(points, chosen.budget)
        return 0
    out = Path(chosen.out or ROOT / "traces" / f"gpu-suite-{datetime.now():%Y%m%d-%H%M%S}").resolve()
    if (out / "manifest.json").exists() or (out / "runs").exists():
        print(f"gpu-suite: {out} holds the results of an earlier run: choose another --out", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, _interrupted)
    machine = _probe(patience.probe_s)
    if machine["gpu"] is None and not chosen.cpu_rehearsal:
        what = f"PyTorch {machine['torch']} sees no GPU" if machine["torch"] else "PyTorch is not installed"
        print(f"gpu-suite: nothing to do: {what} on this machine (try --dry-run or --cpu-rehearsal)")
        return 0
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, (out / "suite.log").open("w", buffering=1) as log:
        work = Path(scratch) if chosen.pack_only else out
        (work / "runs").mkdir(exist_ok=True)
        results = Results(out, work, machine)
        suite = _Suite(results, chosen.budget, log, rehearsal=chosen.cpu_rehearsal, began=began, patience=patience)
        return suite.run(points)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/gpu-suite",
        description="Run what needs a GPU on this machine's GPU, the most valuable first, within a time budget. "
        "Writes one folder: results.csv, results.md, environment.json, manifest.json (what ran, what was left out and "
        "why), suite.log, results.tar.gz (all of it, below 16 MB) and runs/. Without a GPU it says so and exits 0.",
    )
    add = parser.add_argument
    add("--budget", type=_seconds, default=480.0, metavar="TIME", help="time for all points: 8m (default), 90s, 480")
    add("--out", type=Path, metavar="DIR", help="results folder (default: traces/gpu-suite-<time>)")
    add("--only", nargs="+", metavar="NAME", help="only these points, by name or pattern ('small_*'; see --dry-run)")
    add("--dry-run", action="store_true", help="list the points in order and what fits the budget; run nothing")
    add("--cpu-rehearsal", action="store_true", help="run every point on a CPU at a toy size, to exercise the suite")
    add("--pack-only", action="store_true", help="leave out runs/, which is in results.tar.gz anyway")
    return parser


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: write 8m, 90s or 480")
    return float(match[1]) * (60 if match[2] == "m" else 1)


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _selected(patterns: Sequence[str] | None) -> tuple[Point, ...] | None:
    """The points to run, the reserved ones last. If a pattern matches no point, print a message and return None."""
    points = sorted(POINTS, key=lambda point: point.reserved)
    if patterns is None:
        return tuple(points)
    for pattern in patterns:
        if not any(fnmatchcase(point.name, pattern) for point in points):
            print(f"gpu-suite: --only {pattern}: no such point; --dry-run lists them", file=sys.stderr)
            return None
    return tuple(p for p in points if any(fnmatchcase(p.name, pattern) for pattern in patterns))


def _print_plan(points: Sequence[Point], budget: float) -> None:
    plan = _planned(points, budget)
    for number, point in enumerate(points, start=1):
        mark = "  " if point in plan else "- "
        what = " ".join(point.argv("...")[1:])
        print(f"{mark}{number:3}  {point.name:<44} {point.expected_s:4.0f} s  {what.partition(' --traces-dir')[0]}")
    print(f"{len(plan)} of {len(points)} points are expected to fit {_clock(budget)}; the others (-) are left out")


def _planned(points: Sequence[Point], budget: float) -> list[Point]:
    left = budget - PACK_S - sum(point.expected_s for point in points if point.reserved)
    plan = []
    for point in points:
        if point.reserved or point.expected_s <= left:
            plan.append(point)
            left -= 0 if point.reserved else point.expected_s
    return plan


def _probe(timeout_s: float) -> dict[str, Any]:
    """A description of this machine, made by a separate process."""
    argv = [sys.executable, "-m", "scripts.gpu_suite.probe"]
    answer = subprocess.run(
        argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=True, timeout=timeout_s
    )
    probed: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return probed | {"driver": _nvidia_smi()}


def _nvidia_smi() -> dict[str, str] | None:
    """What nvidia-smi says about the first GPU; None without nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    asked = (
        "driver_version", "name", "memory.total", "memory.used", "utilization.gpu", "clocks.sm", "clocks.max.sm",
        "clocks.mem", "power.draw", "power.limit", "temperature.gpu", "ecc.mode.current", "mig.mode.current", "pstate",
    )  # fmt: skip
    argv = [program, f"--query-gpu={','.join(asked)}", "--format=csv,noheader"]
    answer = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    lines = answer.stdout.splitlines()
    return dict(zip(asked, lines[0].split(", "), strict=False)) if lines else {"error": answer.stderr.strip()}


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02}"


@dataclass(slots=True)
class _Suite:
    """One run of the suite."""

    results: Results
    budget: float
    log: IO[str]
    rehearsal: bool
    patience: Patience = _PATIENCE
    run_point: Callable[..., Outcome] = run_point
    now: Callable[[], float] = time.monotonic
    began: float = field(default_factory=time.monotonic)
    started: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))
    packed: float = 0.0
    _paces: list[float] = field(default_factory=list)
    """Seconds taken divided by seconds expected, for every run that was not stopped."""

    @property
    def elapsed(self) -> float:
        return self.now() - self.began

    def run(self, points: Sequence[Point]) -> int:
        rehearsed = ", CPU rehearsal" if self.rehearsal else ""
        self.say(f"{self.results.machine()}{rehearsed}; {len(points)} points, {_clock(self.budget)}")
        ended = "finished"
        try:
            self.run_all(points)
        except KeyboardInterrupt:
            ended = "interrupted"
        self.summary(ended)
        archive = self.results.pack(self.facts(ended))
        size = units.size(archive.stat().st_size)
        print(f"results in {self.results.out}: results.md, results.csv, {archive.name} ({size})")
        bad = any(outcome.status in ("failed", "timeout") for outcome in self.results.outcomes)
        return 130 if ended == "interrupted" else int(bad)

    def run_all(self, points: Sequence[Point]) -> None:
        """Run every point that fits the time; time that reserved points do not use goes to points left out before."""
        waiting = []
        for number, point in enumerate(points):
            place = f"[{number + 1:{len(str(len(points)))}}/{len(points)}]"
            kept = sum(later.expected_s for later in points[number + 1 :] if later.reserved)
            if not self.attempt(point, place, self.budget - self.elapsed - PACK_S - kept):
                waiting.append((point, place))
        for point, place in waiting:
            left = self.budget - self.elapsed - PACK_S
            if not self.attempt(point, place, left):
                message = f"no time: {max(0.0, left):.0f} s left, {self.expected(point):.0f} s expected"
                self.results.outcomes.append(Outcome(name=point.name, status="skipped", message=message))

    def expected(self, point: Point) -> float:
        """Seconds that a point should take, judged by the points that have run."""
        pace = median(self._paces) if len(self._paces) >= PACE_FROM else 1.0
        return point.expected_s * (WORTH_STARTING if point.reserved else pace)

    def attempt(self, point: Point, place: str, left: float) -> bool:
        """Run one point if the `left` seconds are enough for it; return False if they are not."""
        if left < self.expected(point):
            return False
        folder = self.results.folder(point.name)
        timeout = left if point.reserved else min(left, point.expected_s * self.patience.allowance)
        analyze_s = self.patience.analyze_s
        outcome = self.run_point(point, folder, timeout, rehearsal=self.rehearsal, analyze_s=analyze_s)
        self.results.outcomes.append(outcome)
        if point.flags is not None and outcome.status in ("ok", "oom"):
            self._paces.append(outcome.seconds / point.expected_s)
        self.results.note_large_traces(point.name)
        clock = f"{_clock(self.elapsed)}, {_clock(self.budget - self.elapsed)} left"
        self.say(
            f"{place} {clock:<16} {point.name:<42} {outcome.status:<8} {outcome.seconds:5.1f} s  {self.said(outcome)}"
        )
        if self.elapsed - self.packed > PACK_EVERY_S:
            self.packed = self.elapsed
            self.results.pack(self.facts("running"))
        return True

    def said(self, outcome: Outcome) -> str:
        """A point's result in a few words."""
        if outcome.message:
            return outcome.message[:140]
        saved = self.results.load(outcome.name)
        if saved is None or not saved.steps:
            return ""
        step = stats.summarize(run_summary.wall_times(saved.steps))
        peak = saved.memory.headline
        return f"{units.duration(step.median)} a step" + (f", peak {units.size(peak)}" if peak else "")

    def facts(self, ended: str) -> dict[str, Any]:
        return {
            "ended": ended,
            "started": self.started,
            "budget_s": self.budget,
            "elapsed_s": round(self.elapsed, 1),
            "cpu_rehearsal": self.rehearsal,
            "commit": _commit(),
            "counts": self.counts(),
        }

    def counts(self) -> dict[str, int]:
        statuses = [outcome.status for outcome in self.results.outcomes]
        return {status: statuses.count(status) for status in dict.fromkeys(statuses)}

    def summary(self, ended: str) -> None:
        by_status = ", ".join(f"{count} {status}" for status, count in self.counts().items())
        self.say(f"{ended} after {_clock(self.elapsed)}: {by_status or 'nothing ran'}")
        skipped = [outcome.name for outcome in self.results.outcomes if outcome.status == "skipped"]
        if skipped:
            more = f" and {len(skipped) - NAMED_SKIPPED} more" if len(skipped) > NAMED_SKIPPED else ""
            self.say(f"left out for lack of time: {', '.join(skipped[:NAMED_SKIPPED])}{more}")

    def say(self, line: str) -> None:
        print(line, flush=True)
        print(line, file=self.log)


def _commit() -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    answer = subprocess.run([git, "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
