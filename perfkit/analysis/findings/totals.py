"""The first line of a trace: how long a step takes, how busy the device is in it, and why it is idle."""

from __future__ import annotations

import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time.account import Account
from perfkit.analysis.time.breakdown import without_device
from perfkit.analysis.time.cells import BY_STEP, CELLS
from perfkit.analysis.time.idle.folds import WALL_TIME
from perfkit.analysis.time.idle.kinds import Cause, Kind
from perfkit.analysis.time.paces import StepTime, step_time
from perfkit.analysis.time.partial import Facts, Partial
from perfkit.analysis.time.summary import SPANS, Scalars, device_span
from perfkit.schema import units
from perfkit.schema.finding import APART, TRACE_TOTALS, Finding, Rule

_WORTH_SAYING = 0.01
"""Smaller shares of the time are left out of the line; the tables have them."""
_APART = 0.05
"""Devices that are busy for shares further apart than this are not one number; nor are a step's work and its length."""
_WHY = {
    Cause.LAUNCH_STARVED: "the host is too slow",
    Cause.BLOCKING: "the host waits for the device",
    Cause.DEPENDENCY: "work waits for other streams",
    Cause.DATA_LOADING: "the host loads data",
    Cause.BETWEEN_STEPS: "the host is between steps",
    Cause.OUTSIDE_STEPS: "outside the steps",
    Cause.UNKNOWN: "the file does not say why",
}
_EXPOSED = {Kind.COMMUNICATION: "exposed communication", Kind.COPY: "exposed copies"}


PHASE_TOTALS = Rule("phase-totals", "trace", "how much time the phase that was asked for takes", read="first")


def trace_totals(account: Account, scalars: Scalars) -> Finding:
    """Time a step; the device's busy and idle time with its largest cause; model FLOPs utilisation where it is known.

    Without a device: the phases of the host's time. Of a single phase: its time.
    """
    partial = account.partial
    facts = partial.facts
    if facts.only is not None:
        return Finding(PHASE_TOTALS, _of_phase(facts, scalars))
    step = step_time(partial)
    parts = [_how_long(partial, scalars), _device_use(partial) if facts.on_device else _phases(partial, scalars)]
    if scalars.get("mfu") is not None:
        parts.append(f"MFU {units.percent(scalars['mfu'])}")
    if facts.on_device:
        parts.append(_on_the_host(step) if step and step.is_pace else _behind(partial))
    elif facts.has_operators or facts.has_launches:
        parts.append(without_device(facts))
    else:
        parts.append("no GPU work was captured")
    return Finding(TRACE_TOTALS, APART.join(filter(None, parts)))


def _of_phase(facts: Facts, scalars: Scalars) -> str:
    """`phase forward: 12.90 ms a step (3 steps) of device work`, or on the host."""
    steps, total = max(len(facts.steps), 1), scalars["total_ns"]
    where = "of device work" if facts.on_device else "on the main thread"
    each = f" a step ({_steps(facts)})" if facts.steps else ""
    name = Phase(facts.only).label if facts.only is not None else ""
    return f"phase {name}: {units.duration_ns(total / steps)}{each} {where}"


def _steps(facts: Facts) -> str:
    count = len(facts.steps)
    return "1 step" if count == 1 else f"{count:,} steps" if count else "no steps"


def _how_long(partial: Partial, scalars: Scalars) -> str:
    """`220.5 ms a step (3 steps, 2 devices)`; without steps, from the first event of a device to its last.

    `95.59 ms a step until its work is done (the last 4 of 5 steps)` where the host runs ahead of the device.
    """
    facts = partial.facts
    devices = len(partial.of(SPANS)) if facts.on_device else 0
    step, steps = step_time(partial), _steps(facts)
    if step and step.of < len(facts.steps):
        steps = f"the last {step.of:,} of {steps}"
    of_what = f"({steps}, {devices} devices)" if devices > 1 else f"({steps})"
    if step:
        return f"{units.duration_ns(step.ns)} a step{' until its work is done' if step.is_pace else ''} {of_what}"
    if facts.on_device:
        return f"{units.duration_ns(device_span(partial) / max(devices, 1))} recorded {of_what}"
    return f"{units.duration_ns(scalars['total_ns'])} on the main thread {of_what}"


def _device_use(partial: Partial) -> str:
    """`busy 23.8% (5.98% exposed communication) · idle 76.2% (75.0% launch-starved: ...)`, of steps or all."""
    rows = partial.of(WALL_TIME)
    rows = rows[rows["step"] != NONE] if partial.facts.steps else rows
    total = int(rows["total_ns"].sum())
    if not total:
        return ""
    shares = rows.groupby("kind")["total_ns"].sum() / total
    exposed = {name: float(shares.get(kind, 0.0)) for kind, name in _EXPOSED.items()}
    said = [f"{units.percent(share)} {name}" for name, share in exposed.items() if share >= _WORTH_SAYING]
    idle = float(shares.get(Kind.IDLE, 0.0))
    text = f"busy {_busy(rows, 1 - idle)}" + (f" ({', '.join(said)})" if said else "")
    text += f" · idle {units.percent(idle)}"
    if idle < _WORTH_SAYING:
        return text
    causes = rows[rows["kind"] == Kind.IDLE].groupby("cause")["total_ns"].sum() / total
    main = max(Cause, key=lambda cause: causes.get(cause, 0.0))
    return f"{text} ({units.percent(float(causes[main]))} {main.label}: {_WHY[main]})"


def _busy(rows: pd.DataFrame, mean: float) -> str:
    """The busy share of the devices, or the least and the greatest one."""
    by_device = rows.groupby("device")["total_ns"].sum()
    idle = rows[rows["kind"] == Kind.IDLE].groupby("device")["total_ns"].sum().reindex(by_device.index, fill_value=0)
    shares = 1 - idle / by_device
    if shares.max() - shares.min() <= _APART:
        return units.percent(mean)
    return f"{units.percent(shares.min())} to {units.percent(shares.max())}"


def _on_the_host(step: StepTime) -> str:
    """What the tables of wall time have the means of, where that is not the time of a step."""
    return f"on the host {units.duration_ns(step.host_ns)} a step: the device runs behind it"


def _behind(partial: Partial) -> str:
    """Where the device still works on what a step launched when the step has ended."""
    rows, wall = partial.of(BY_STEP), partial.of(WALL_TIME)
    wall = wall[wall["step"] != NONE]
    launched, whole = int(rows["exclusive_ns"][rows["step"] != NONE].sum()), int(wall["total_ns"].sum())
    ran = int(wall["total_ns"][wall["kind"] != Kind.IDLE].sum())
    if not partial.facts.steps or launched - ran <= _APART * whole:
        return ""
    if launched > whole:
        each = units.duration_ns(launched / len(wall[["device", "step"]].drop_duplicates()))
        return f"a step launches {each} of work: the device runs behind the host"
    return f"{units.percent(1 - ran / launched)} of what a step launches runs after it"


def _phases(partial: Partial, scalars: Scalars) -> str:
    """`forward 30.5% · backward 36.5%`: of the host's time, in the order of the step."""
    total = scalars["total_ns"]
    if not total:
        return ""
    times = partial.of(CELLS).groupby("phase")["total_ns"].sum()
    if set(times.index) <= {Phase.OTHER}:
        return ""
    shares = [(phase.label, float(times.get(phase, 0)) / total) for phase in Phase]
    return " · ".join(f"{label} {units.percent(share)}" for label, share in shares if share >= _WORTH_SAYING)
