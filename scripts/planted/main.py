"""The table of scripts/planted-causes: what was planted, and how often the report names it first."""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

from perfkit.analysis.noise import stability
from perfkit.render import findings
from perfkit.schema import record, units
from perfkit.schema.record import RunRecord
from scripts.planted.child import HOG_FROM, PLANTS

ROOT = Path(__file__).resolve().parents[2]
_TIMEOUT_S = 300
_ENVIRON = dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), "4294967296")
"""Keep freed memory mapped: otherwise page faults add 7 to 11% of noise, which the report would rightly name."""
_NO_EFFECT = "(no effect on the steps)"
_EFFECT = 0.05
_SHARE = 0.9
"""Share of runs in which a planted cause must be named first."""


def main() -> int:
    """Run every plant several times in random order and print the table; return 1 if one is named too rarely."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10, help="runs of each plant (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=PLANTS, default=list(PLANTS), help="these plants only")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="keep the records in this folder")
    parser.add_argument("--verbose", action="store_true", help="print the findings of every run")
    options = parser.parse_args()
    points = [(name, index) for name in options.only for index in range(options.repeats)]
    random.Random(options.seed).shuffle(points)
    named: dict[str, Counter[str]] = {name: Counter() for name in options.only}
    with tempfile.TemporaryDirectory() as scratch:
        base = options.keep or Path(scratch)
        for done, (name, index) in enumerate(points, 1):
            made = _measured(name, base / f"{name}-{index}")
            examined = stability.examine(made)
            first = (
                _NO_EFFECT if name == "hog" and not _took_effect(made) else (examined and examined.first_cause) or "-"
            )
            named[name][first] += 1
            print(f"{done}/{len(points)} {name}: {first}", file=sys.stderr)
            if options.verbose:
                lines = findings.lines(examined.findings if examined is not None else ())
                print("\n".join(f"    {line}" for line in lines), file=sys.stderr)
    return _report(named)


def _took_effect(made: RunRecord) -> bool:
    """Whether the plant changed anything: a hog does not if CPUs share neither cache nor scarce memory bandwidth."""
    walls = [step.wall_s for step in made.steps]
    return median(walls[HOG_FROM:]) >= (1 + _EFFECT) * median(walls[:HOG_FROM])


def _measured(name: str, folder: Path) -> RunRecord:
    command = [sys.executable, "-m", "scripts.planted.child", name, str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=_TIMEOUT_S, env={**os.environ, **_ENVIRON})
    return record.load(folder)


def _report(named: dict[str, Counter[str]]) -> int:
    width = max(map(len, named))
    print(f"{'planted':{width}}  named first  causes named first")
    failed = False
    for name, causes in named.items():
        expected, runs = PLANTS[name][2], causes.total() - causes[_NO_EFFECT]
        hits = f"{causes[expected]} of {runs}" if expected else "-"
        failed |= bool(expected) and causes[expected or ""] < _SHARE * runs
        print(f"{name:{width}}  {hits:11}  {', '.join(f'{cause} {count}' for cause, count in causes.most_common())}")
    print(f"none: whatever is named there is this machine's own; {units.percent(_SHARE)} is asked of the others")
    return int(failed)
