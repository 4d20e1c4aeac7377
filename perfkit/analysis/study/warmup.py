"""Why the first steps are slower: what each of them takes beyond the steady pace, and which counters moved beside it.

The k-th step of a process is the k-th whatever is called warm-up: the processes of a study of 0, 1, 2 and 5 warm-up
steps are so many samples of each of the first steps. The steady pace of a process is the median of the second half of
its steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from perfkit.analysis.noise.causes import Cause, CauseTimes, times_by_cause
from perfkit.analysis.runs.summary import phase_series, summarize, wall_times
from perfkit.analysis.statistics.stats import Floats
from perfkit.analysis.study.question import (
    OUTCOME,
    Answer,
    Question,
    Results,
    Row,
    Scope,
    Taken,
    UnansweredError,
    listed,
    outcome_of,
    table_of,
)
from perfkit.analysis.sweeps.chart import warmup_chart
from perfkit.schema import units
from perfkit.schema.config import RunConfig
from perfkit.schema.page.pictures import Picture
from perfkit.schema.record import RunRecord
from perfkit.schema.table import Column, Table

COUNTS = (0, 1, 2, 5)
"""Warm-up steps that are compared."""
SHOWN = 6
"""First steps of a process that the table has."""
_LEAST, _MADS, _MAD = 0.02, 3.0, 1.4826
"""A step still warms up where it is above the pace by more than 2%, and by more than three standard deviations of the
steady steps, which are estimated by their median absolute deviation (1.4826 of it, of a normal distribution)."""
_NAMED_SHARE = 0.1
"""A cause of less than a tenth of a step's excess is in the table, not in the sentence."""

_WAITED = 1.2
"""Times its own cost from which what page faults are said to take is called with the wait that they brought."""

_WORDS = {
    Cause.FAULTS: "page faults",
    Cause.COMPILE: "compilation",
    Cause.GC: "garbage collection",
    Cause.PREEMPTED: "waiting for a CPU that others had",
    Cause.CPU_TIME: "CPU time of first calls",
    Cause.WAITING: "sleep (files, locks)",
    Cause.STEAL: "CPU steal",
    Cause.THROTTLED: "a CPU quota",
}
_COLUMNS = {
    "faults_s": Cause.FAULTS, "compile_s": Cause.COMPILE, "cpu_s": Cause.CPU_TIME, "sleep_s": Cause.WAITING,
    "others_s": Cause.PREEMPTED,
}  # fmt: skip


def _run(scope: Scope, size: str, warmup: int) -> RunConfig:
    return scope.config(size, pass_type="train", warmup_steps=warmup)


@dataclass(frozen=True, slots=True)
class FirstStep:
    """What the k-th step of the processes took."""

    number: int
    """From 1."""
    processes: int
    wall_s: float
    """Median over the processes, as everything here."""
    excess_s: float
    """Beyond the steady pace."""
    causes: dict[Cause, float]
    """Seconds beyond what a steady step has of each, where counters tell."""
    phases: dict[str, float]
    """The excess by phase."""
    faults: float
    """Page faults beyond those of a steady step; nan where they were not counted."""
    fault_s: float
    """Seconds of page faults alone, at the cost that the runs measured: a cause has also its share of the wait for a
    CPU (`noise.causes`); nan where they were not counted."""
    graphs: float
    """Graphs that torch.compile made."""
    mallocs: float
    """Calls of cudaMalloc."""
    clock_mhz: float
    """Of the GPU, beyond that of steady steps; nan without one."""

    @property
    def unexplained_s(self) -> float:
        """Of the excess."""
        return self.excess_s - sum(self.causes.values())


@dataclass(frozen=True, slots=True)
class WarmUp:
    """How a configuration warms up."""

    steady_s: float
    noise_s: float
    """A step is above the pace where it is by more than this."""
    first: tuple[FirstStep, ...]

    @property
    def needed(self) -> int:
        """Leading steps above the pace: so many warm-up steps are enough."""
        return next((step.number - 1 for step in self.first if step.excess_s <= self.noise_s), len(self.first))


def examine(records: Sequence[RunRecord]) -> WarmUp:
    """How the processes of one configuration warm up. `records` have different numbers of warm-up steps."""
    whole = [_whole(record) for record in records]
    paces = [pace_of(record) for record in records]
    first = [_first(number, whole) for number in range(1, SHOWN + 1)]
    noise = _median(
        max(_LEAST * pace, _MADS * _MAD * float(np.median(np.abs(_second_half(wall_times(record.steps)) - pace))))
        for record, pace in zip(whole, paces, strict=True)
    )
    return WarmUp(_median(iter(paces)), noise, tuple(step for step in first if step.processes))


def pace_of(record: RunRecord) -> float:
    """Seconds of a steady step of a process: the median of the second half of its steps, with its warm-up.

    Each process has its own, since processes differ by more than their steps do.
    """
    return float(np.median(_second_half(wall_times(_whole(record).steps))))


def _second_half(values: Floats) -> Floats:
    return values[len(values) // 2 :]


def _whole(record: RunRecord) -> RunRecord:
    """The record with its warm-up steps among the measured ones."""
    return replace(record, steps=(*record.warmup, *record.steps), warmup=())


def _first(number: int, records: Sequence[RunRecord]) -> FirstStep:
    having = [record for record in records if len(record.steps) >= number]
    if not having:
        return FirstStep(number, 0, math.nan, math.nan, {}, {}, *[math.nan] * 5)
    causes = [_causes(times_by_cause(record), number) for record in having]
    named = {cause for one in causes for cause in one}
    series = [{name: _above(values, number) for name, values in phase_series(record.steps).items()}
              for record in having]  # fmt: skip
    return FirstStep(
        number=number,
        processes=len(having),
        wall_s=_median(record.steps[number - 1].wall_s for record in having),
        excess_s=_median(_above(wall_times(record.steps), number) for record in having),
        causes={cause: _median(one.get(cause, 0.0) for one in causes) for cause in Cause if cause in named},
        phases={name: _median(one[name] for one in series) for name in series[0] if name not in ("step", "rest")},
        faults=_counter(having, number, "minor_faults"),
        fault_s=_median(
            (record.probing.seconds_per_fault or math.nan) * _counter([record], number, "minor_faults")
            for record in having
            if record.probing is not None
        ),
        graphs=_counter(having, number, "compilations"),
        mallocs=_counter(having, number, "device_allocs"),
        clock_mhz=_median(_clock(record, number) for record in having),
    )


def _median(values: Iterator[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan


def _above(values: Floats, number: int) -> float:
    """The k-th of a series beyond the median of its second half."""
    return float(values[number - 1] - np.median(_second_half(values)))


def _causes(times: CauseTimes, number: int) -> dict[Cause, float]:
    return {cause: _above(seconds, number) for cause, seconds in times.seconds.items()}


def _counter(records: Sequence[RunRecord], number: int, name: str) -> float:
    """The median of a counter beyond its steady value, whole; nan where some step of each lacks it."""
    found = _median(
        _above(np.array(values, dtype=np.float64), number)
        for record in records
        for values in ([getattr(step.probes, name, None) for step in record.steps],)
        if None not in values
    )
    return found if math.isnan(found) else round(found)


def _clock(record: RunRecord, number: int) -> float:
    """The GPU's clock in the k-th step, beyond its median in the second half of the steps."""
    spans = [
        (step.probes.began_s, step.wall_s)
        for step in record.steps
        if step.probes is not None and step.probes.began_s is not None
    ]
    if len(spans) < len(record.steps) or not record.gpu:
        return math.nan
    clocks = [
        _median(
            sample.sm_mhz for sample in record.gpu if sample.sm_mhz and began <= sample.at_s <= began + wall
        )
        for began, wall in spans
    ]  # fmt: skip
    return clocks[number - 1] - _median(iter(clocks[len(clocks) // 2 :]))


def _answer(scope: Scope, results: Results) -> Answer:
    rows: list[Row] = []
    tables: list[Table] = []
    sentences, drawn = [], []
    needed = 0
    for size in scope.sizes:
        taken = [results[_run(scope, size, count)] for count in COUNTS]
        records = [one.measured for one in taken if one.measured is not None and one.measured.steps]
        rows += _rows(size, taken)
        if not records:
            continue
        found = examine(records)
        tables.append(_first_steps(size, found, several=len(scope.sizes) > 1))
        sentences.append(_sentence(size, found, records, on_gpu=scope.on_gpu))
        needed = max(needed, found.needed)
        drawn += records
    if not drawn:
        results.record(_run(scope, scope.sizes[0], COUNTS[-1]))
        raise UnansweredError("no run has a step")
    columns = (
        Column("size"), Column("warmup_steps", "", "count", "warm-up steps"), Column("n", "", "count"),
        Column("first_s", "s", "time", "first measured", scale="time"),
        Column("mean_s", "s", "time", "mean", scale="time"), Column("cv", "1", "share", "CV"),
        Column("bias", "1", "share", "mean above the pace"), OUTCOME,
    )  # fmt: skip
    notes = ("the pace: the median of the second half of the steps of the same process, its warm-up among them",)
    main = table_of("study_warmup", "What so many warm-up steps leave in the measurement", columns, rows, notes)
    chart = warmup_chart(drawn, ("warmup_steps", *(["model_size"] if len(scope.sizes) > 1 else [])))
    picture = Picture(figure=chart, title="Every step, by the number of warm-up steps", notes=chart.notes)
    advice = f"--warmup-steps {max(1, needed)} for such runs, or perfkit run --warmup-steps 0 -v for each step's causes"
    return Answer(sentence="; ".join(sentences), advice=advice, tables=(main, *tables), picture=picture)


def _rows(size: str, taken: Sequence[Taken]) -> Iterator[Row]:
    for count, one in zip(COUNTS, taken, strict=True):
        row: Row = {"size": size, "warmup_steps": count, "outcome": outcome_of(one)}
        if one.measured is not None:
            of_run = summarize(one.measured)
            row |= {"n": of_run.steps, "first_s": one.measured.steps[0].wall_s, "mean_s": of_run.mean_s}
            row |= {"cv": of_run.cv, "bias": of_run.mean_s / pace_of(one.measured) - 1}
        yield row


def _first_steps(size: str, found: WarmUp, *, several: bool) -> Table:
    rows = [
        {"step": step.number, "processes": step.processes, "wall_s": step.wall_s, "excess_s": step.excess_s,
         **{name: step.causes.get(cause, math.nan) for name, cause in _COLUMNS.items()},
         "rest_s": step.excess_s - sum(step.causes.get(cause, 0.0) for cause in _COLUMNS.values()),
         **{f"{name}_s": step.phases.get(name, math.nan) for name in ("forward", "backward", "optimizer")},
         "faults": step.faults, "graphs": step.graphs, "mallocs": step.mallocs, "clock": step.clock_mhz}
        for step in found.first
    ]  # fmt: skip
    titles = {
        "wall_s": "takes", "excess_s": "beyond the pace", "faults_s": "page faults", "compile_s": "compilation",
        "cpu_s": "CPU time", "sleep_s": "sleep", "others_s": "preempted", "rest_s": "rest", "forward_s": "in forward",
        "backward_s": "in backward", "optimizer_s": "in optimizer",
    }  # fmt: skip
    columns = (
        Column("step", "", "count"), Column("processes", "", "count", spare=True),
        *(Column(name, "s", "time", title, scale="time", spare=name.startswith(("forward", "backward", "optimizer")))
          for name, title in titles.items()),
        Column("faults", "", "count", "more faults"), Column("graphs", "", "count", "graphs compiled"),
        Column("mallocs", "", "count", "more cudaMalloc"), Column("clock", "", "count", "clock (MHz)"),
    )  # fmt: skip
    notes = (
        "medians over the processes; causes: seconds beyond a steady step's, of the thread that runs the step, each"
        " with its share of the wait for a CPU; rest: on a GPU mostly the device itself",
    )
    name = "study_first_steps" + (f"_{size}" if several else "")
    return table_of(name, f"The first steps of {size}, beyond {units.duration(found.steady_s)}", columns, rows, notes)


def _sentence(size: str, found: WarmUp, records: Sequence[RunRecord], *, on_gpu: bool) -> str:
    one = found.first[0]
    fresh = min(records, key=lambda record: len(record.warmup))
    mean = summarize(fresh).mean_s
    text = (
        f"{size}: step 1 takes {units.duration(one.wall_s)}, {units.duration(one.excess_s)} beyond the pace of"
        f" {units.duration(found.steady_s)}{_why(one)}"
    )
    if not fresh.warmup:
        text += (
            f"; without warm-up the mean of {len(fresh.steps)} steps is"
            f" {units.percent(mean / pace_of(fresh) - 1)} above the pace"
        )
    later = [step for step in found.first[1:3] if step.excess_s > _LEAST * found.steady_s]
    if later:
        text += "; " + listed(
            [f"step {step.number} still {units.duration(step.excess_s)}{_why(step)}" for step in later]
        )
        if 2 * later[0].causes.get(Cause.FAULTS, 0.0) > later[0].excess_s:
            text += (
                ", most likely because the optimizer's state, made at the end of step 1, has taken memory that now"
                " comes as new pages"
            )
    if one.mallocs > 0:
        text += f"; the allocator grew by {one.mallocs:.0f} calls of cudaMalloc in step 1"
    if on_gpu and one.clock_mhz < 0:
        text += f"; the clock was {-one.clock_mhz:.0f} MHz lower"
    is_enough = found.needed < len(found.first)
    enough = f"{units.many(found.needed, 'warm-up step is', 'warm-up steps are')} enough here"
    if any(step.number > found.needed for step in later):
        enough += ", since steady steps vary as much as what is left"
    return f"{text}; {enough if is_enough else f'{found.needed} steps are not enough: the pace is not steady'}"


def _why(step: FirstStep) -> str:
    """The causes of a step's excess, largest first, with the count behind the seconds."""
    if step.excess_s <= 0:
        return ""
    large = sorted(step.causes.items(), key=lambda item: -item[1])
    waited = (
        ", with the wait for a CPU that they brought"
        if step.causes.get(Cause.FAULTS, 0.0) > _WAITED * step.fault_s
        else ""
    )
    counts = {Cause.FAULTS: f" ({step.faults:,.0f} more{waited})", Cause.COMPILE: f" ({step.graphs:.0f} graphs)"}
    named = [(cause, seconds) for cause, seconds in large if seconds >= _NAMED_SHARE * step.excess_s]
    parts = [
        f"{units.duration(seconds)} {_WORDS.get(cause, cause.value)}{counts.get(cause, '')}" for cause, seconds in named
    ]
    rest = step.excess_s - sum(seconds for _, seconds in named)
    if named and abs(rest) >= _NAMED_SHARE * step.excess_s:
        what = "all else" if rest > 0 else "all else, of which steady steps have more"
        parts.append(f"{'' if rest > 0 else 'less '}{units.duration(abs(rest))} {what}")
    where = max(step.phases.items(), key=lambda item: item[1], default=("", 0.0))
    most = f"; by phase most in {where[0]}, {units.duration(where[1])}" if where[1] > 0.5 * step.excess_s else ""
    return f" ({'; '.join(parts)}{most})" if parts or most else ""


WARMUP = Question(
    number=2,
    word="warmup",
    asks="What do 0, 1, 2 or 5 warm-up steps do, and why is the first step, or the second, different?",
    needs=lambda scope: [_run(scope, size, count) for size in scope.sizes for count in COUNTS],
    answer=_answer,
    on_gpu="CUDA loads each kernel when it is first called, cudaMalloc grows the pool, and clocks rise under load;"
    " cudaMalloc calls and clocks are columns then",
)
