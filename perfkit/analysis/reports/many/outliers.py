"""Which files, hosts and steps of a job differ from the others, and in what: medians, and distances in MADs.

Each number is compared with the median of the same number of all others. Its distance is in robust standard deviations,
1.4826 times the median absolute deviation, which outliers hardly move, and of at least 1% of a step: where nearly all
files are equal, a difference that nobody would notice is none. An outlier is five of them away.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from perfkit.analysis.reports.many.folded import FileRow
from perfkit.analysis.statistics.stats import Floats

LEAST = 5
"""Files, hosts or steps to compare: the median of fewer is that of the outlier itself, or nearly."""
FAR = 5.0
"""Robust standard deviations. Of normal noise 6 in 10 million are so far out."""
_FLOOR = 0.01
"""Of the median step: a robust standard deviation is at least so long."""
_MAD = 1.4826
STEP = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlier:
    """One number of a file, a host or a step, in ns a step."""

    file: str = ""
    """Empty: it is of a host, or of a step of all files."""
    rank: int | None = None
    host: str = ""
    step: int | None = None
    what: str
    ns: float
    usual_ns: float
    """The median of the others and itself."""
    distance: float
    """From the median, in robust standard deviations."""


def outliers(rows: Sequence[FileRow]) -> list[Outlier]:
    """Hosts, then files, then steps; the farthest first. None where there are too few to compare."""
    there = [row for row in rows if not row.why]
    with_steps = [row.times[STEP] for row in there if STEP in row.times]
    least = _FLOOR * float(np.median(with_steps)) if with_steps else 0.0
    hosts = list(_of_hosts(there, least))
    known = {(found.host, found.what) for found in hosts}  # what is said of a host is not said of each of its files
    files = [found for found in _of_files(there, least) if (found.host, found.what) not in known]
    named = {found.file for found in files if found.what == STEP}
    slow = {found.host for found in hosts if found.what == STEP}
    steps = [*_of_every_file(there), *_of_steps([row for row in there if row.file not in named | slow])]
    return [found for some in (hosts, files, steps) for found in sorted(some, key=lambda one: -abs(one.distance))]


def distances(values: Floats, least: float) -> Floats:
    """From the median, in robust standard deviations of at least `least`; 0 where both are 0."""
    middle = np.median(values)
    scale = max(_MAD * float(np.median(np.abs(values - middle))), least)
    return (values - middle) / scale if scale else np.zeros(len(values))


def _far(values: Sequence[float], least: float) -> Iterator[tuple[int, float, float]]:
    """Index, median and distance of those that are far out."""
    if len(values) < LEAST:
        return
    series = np.array(values, dtype=np.float64)
    away = distances(series, least)
    for index in np.flatnonzero(np.abs(away) >= FAR):
        yield int(index), float(np.median(series)), float(away[index])


def _measures(rows: Sequence[FileRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.times))


def _of_files(rows: Sequence[FileRow], least: float) -> Iterator[Outlier]:
    for what in _measures(rows):
        with_it = [row for row in rows if what in row.times]
        for index, usual, away in _far([row.times[what] for row in with_it], least):
            row = with_it[index]
            yield Outlier(file=row.file, rank=row.rank, host=row.host, what=what, ns=row.times[what], usual_ns=usual,
                          distance=away)  # fmt: skip


def _of_hosts(rows: Sequence[FileRow], least: float) -> Iterator[Outlier]:
    """Hosts by the median of their files, of which there are at least two."""
    for what in _measures(rows):
        values: dict[str, list[float]] = defaultdict(list)
        for row in rows:
            if row.host and what in row.times:
                values[row.host].append(row.times[what])
        medians = {host: float(np.median(some)) for host, some in values.items() if len(some) > 1}
        names = list(medians)
        for index, usual, away in _far(list(medians.values()), least):
            host = names[index]
            yield Outlier(host=host, what=what, ns=medians[host], usual_ns=usual, distance=away)


def _of_every_file(rows: Sequence[FileRow]) -> Iterator[Outlier]:
    """Steps that are long, or short, in all files: by the median over the files that have as many steps as most.

    Of fewer than LEAST such files nothing is said of all: what is odd is then a step of its file.
    """
    counts = [len(row.step_walls) for row in rows if row.step_walls]
    if not counts:
        return
    usual_count = max(set(counts), key=lambda count: (counts.count(count), count))
    walls = np.array([row.step_walls for row in rows if len(row.step_walls) == usual_count], dtype=np.float64)
    if len(walls) < LEAST:
        return
    medians = np.median(walls, axis=0)
    for step, usual, away in _far(medians.tolist(), _FLOOR * float(np.median(medians))):
        yield Outlier(step=step, what=STEP, ns=float(medians[step]), usual_ns=usual, distance=away)


def _of_steps(rows: Sequence[FileRow]) -> Iterator[Outlier]:
    """Steps of a file that are far from the others of its own, where the same step of most files is not."""
    common = {found.step for found in _of_every_file(rows)}
    for row in rows:
        walls = np.array(row.step_walls, dtype=np.float64)
        middle = float(np.median(walls)) if len(walls) else 0.0
        for step, usual, away in _far(walls.tolist(), _FLOOR * middle):
            if step not in common:
                yield Outlier(file=row.file, rank=row.rank, host=row.host, step=step, what=STEP, ns=float(walls[step]),
                              usual_ns=usual, distance=away)  # fmt: skip
