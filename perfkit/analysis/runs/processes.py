"""The unit of replication: one process, reduced to its medians; and the groups of processes that are compared.

Steps of one process share its memory layout, its clocks and other random effects; ten of them are not ten measurements
of a configuration. So each process counts once, by the median of its measured steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from perfkit.analysis.runs.summary import STEP, phase_series
from perfkit.analysis.statistics.stats import Floats
from perfkit.schema.config import RunConfig
from perfkit.schema.finding import Rule
from perfkit.schema.parts.workloads import Own
from perfkit.schema.record import Environment, RunRecord

NOT_COMPARED = frozenset({"measure_steps", "warmup_steps", "target_ci", "max_time", "max_steps"})
"""Fields of how long was measured: differences are reported, but do not make another configuration."""

_UNNAMED = (None, "auto")


UNFINISHED_RUNS = Rule("unfinished-runs", "processes", "runs were left out because they did not finish")


@dataclass(frozen=True, slots=True)
class Process:
    """The measurement of one process."""

    name: str
    """Where it was read from, for messages."""
    config: RunConfig
    environment: Environment
    created: str
    """ISO 8601."""
    medians: dict[str, float]
    """Median over the measured steps, seconds: of the step, then of each of its phases and the rest."""
    spread: dict[str, float]
    """Standard deviation of the steps' logarithms, under the same keys; nan for one step or where a time is 0."""
    steps: int
    peak_bytes: int | None = None
    """In tensors; of a CPU's other workloads than perfkit's own the resident set."""
    compile_s: float | None = None
    """The first warm-up step beyond a measured one, where something is compiled in it."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A run that cannot be compared."""

    what: str
    """Its name, and why."""
    config: RunConfig

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True, slots=True)
class Side:
    """A or B: its processes, and those of its runs that cannot be compared."""

    name: str
    path: str
    """Where it was read from, for messages."""
    processes: tuple[Process, ...]
    left_out: tuple[LeftOut, ...] = ()
    independent: bool = True
    """False where all ran in one process, which then counts as one."""


def process_of(name: str, record: RunRecord) -> Process:
    """Reduce a record that has measured steps."""
    series = phase_series(record.steps)
    return Process(
        name=name,
        config=record.config,
        environment=record.environment,
        created=record.created,
        medians={key: float(np.median(times)) for key, times in series.items()},
        spread={key: _log_spread(times) for key, times in series.items()},
        steps=len(record.steps),
        peak_bytes=record.memory.in_tensors if record.memory.in_tensors is not None else record.memory.resident,
        compile_s=_compile_time(record, float(np.median(series[STEP]))),
    )


def _compile_time(record: RunRecord, step_s: float) -> float | None:
    if record.config.step.compile == "off" or not record.warmup:
        return None
    return max(0.0, record.warmup[0].wall_s - step_s)


def _log_spread(times: Floats) -> float:
    return float(np.log(times).std(ddof=1)) if len(times) > 1 and times.min() > 0 else float("nan")


def side_of(
    name: str,
    path: str,
    runs: Iterable[tuple[str, RunRecord]],
    failed: Iterable[LeftOut] = (),
    *,
    independent: bool = True,
) -> Side:
    """A side of the finished runs; the others are left out, with the reason."""
    kept, left_out = [], list(failed)
    for run, record in runs:
        if record.status == "ok" and record.steps:
            kept.append(process_of(run, record))
        else:
            why = "no measured steps" if record.status == "ok" else record.status
            left_out.append(LeftOut(f"{run} ({why})", record.config))
    return Side(name, path, tuple(kept), tuple(left_out), independent)


@dataclass(frozen=True, slots=True)
class Pair:
    """The processes of one configuration on either side."""

    config: dict[str, Any]
    """The fields that tell this pair from the others; empty where there is only one."""
    a: tuple[Process, ...]
    b: tuple[Process, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """Which processes are compared with which."""

    changed: dict[str, tuple[Any, Any]]
    """Fields with one value all over A and another all over B: what is compared."""
    pairs: tuple[Pair, ...]
    alone: tuple[tuple[str, dict[str, Any]], ...]
    """Configurations that one side only has: its name and their fields."""

    def same(self, config: RunConfig, other: RunConfig) -> bool:
        """Whether two configurations would be a pair, as far as both name their values."""
        fields = (name for name in config.flat() | other.flat() if name not in NOT_COMPARED | {*self.changed})
        values = ((config.value(name), other.value(name)) for name in fields)
        return all(a == b or not {a, b}.isdisjoint(_UNNAMED) for a, b in values)


def match(a: Side, b: Side) -> Match:
    """Pair the configurations of two sides: equal in every field but those that tell the sides apart throughout.

    Sides of one configuration each are always a pair. Of several, a pair is a row: `perfkit sweep` twice, before and
    after a change, or once with --attention eager and once with sdpa.
    """
    configs_a, configs_b = ([process.config.flat() for process in side.processes] for side in (a, b))
    fields = [name for name in dict.fromkeys(chain(*configs_a, *configs_b)) if name not in NOT_COMPARED]
    values = {name: ({c.get(name) for c in configs_a}, {c.get(name) for c in configs_b}) for name in fields}
    changed = {
        name: (next(iter(of_a)), next(iter(of_b)))
        for name, (of_a, of_b) in values.items()
        if len(of_a) == len(of_b) == 1 and of_a != of_b
    }
    telling = [name for name, (of_a, of_b) in values.items() if name not in changed and len(of_a | of_b) > 1]
    groups_a, groups_b = _grouped(a, telling), _grouped(b, telling)
    pairs = [
        Pair(dict(zip(telling, key, strict=True)), tuple(groups_a[key]), tuple(groups_b[key]))
        for key in groups_a
        if key in groups_b
    ]
    alone = [
        (side.name, dict(zip(telling, key, strict=True)))
        for side, own, other in ((a, groups_a, groups_b), (b, groups_b, groups_a))
        for key in own
        if key not in other
    ]
    pairs.sort(key=lambda pair: (_parameters(pair.a[0].config), *map(_place, pair.config.values())))
    alone.sort(key=lambda item: (item[0], *map(_place, item[1].values())))
    return Match(changed, tuple(pairs), tuple(alone))


def spelled(config: dict[str, Any]) -> str:
    """The fields of a configuration for people."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in config.items())


def _parameters(config: RunConfig) -> int:
    return 0 if isinstance(config.workload, Own) else config.workload.parameters


def _place(value: Any) -> tuple[str, Any]:
    """Numbers among numbers, names among names; a field's values may be of several types, or none."""
    return ("", 0) if value is None else (type(value).__name__, value)


def _grouped(side: Side, fields: Sequence[str]) -> dict[tuple[Any, ...], list[Process]]:
    groups: dict[tuple[Any, ...], list[Process]] = {}
    for process in side.processes:
        groups.setdefault(tuple(process.config.value(name) for name in fields), []).append(process)
    return groups
