"""Tables of a replay: each step, replayed and recorded; and what is on the critical path."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import COMMUNICATION, UNATTRIBUTED, Phase
from perfkit.analysis.attribution.intervals import NONE, Ints, at, nearest
from perfkit.analysis.kernels.short_names.unique import NAMES, short_names
from perfkit.analysis.time.account import Account, is_operator
from perfkit.analysis.time.partial import Facts, Fold, Partial, Rows
from perfkit.analysis.time.replay.critical import Path, PathKind, paths
from perfkit.analysis.time.replay.graph import MOST_LAUNCHES, Graph, graph_of
from perfkit.analysis.time.replay.replay import Replayed, replay
from perfkit.analysis.time.trace_table import TraceTable
from perfkit.schema.table import Audience, Column, Table
from perfkit.schema.units import percent
from perfkit.trace.recording import Tool

_STEP_COLUMNS = (
    Column("step"),
    Column("name", spare=True),
    Column("wall_ns", "ns", "time", "wall", summed=True, scale="time"),
    Column("replayed_ns", "ns", "time", "replayed", summed=True, scale="time"),
    Column("error_share", "1", "share", "error"),
    Column("pace_ns", "ns", "time", "pace", summed=True, scale="time"),
    Column("replayed_pace_ns", "ns", "time", "pace, replayed", summed=True, scale="time"),
    Column("host_ns", "ns", "time", "host", summed=True, scale="time"),
    Column("device_ns", "ns", "time", "device", summed=True, scale="time"),
    Column("delay_ns", "ns", "time", "delays", summed=True, scale="time"),
)
_PART_COLUMNS = (
    Column("kind"),
    Column("scope"),
    *NAMES,
    Column("total_ns", "ns", "time", "time", summed=True),
    Column("share", "1", "share"),
)
_NOTE = (
    "the chain of work that sets the pace of the steps, each until its work is done; what is not on it could be faster"
    " at no gain"
)
_BETWEEN = "<outside every range>"


def replay_of(account: Account) -> Replayed:
    """The replay of an account's trace."""
    return replay(graph_of(account.trace, account.attribution, most_launches=MOST_LAUNCHES))


def _numbers(account: Account, graph: Graph) -> list[tuple[int, int]]:
    """The steps accounted for that are replayed: their place in the account, and in the graph; NONE without steps."""
    if not account.steps:
        return [] if account.steps_only or graph.numbers else [(NONE, place) for place in range(len(graph.steps))]
    return [(place, graph.numbers.index(step)) for place, step in enumerate(account.steps) if step in graph.numbers]


def _step_rows(account: Account) -> Rows:
    replayed = replay_of(account)
    numbers = [] if replayed.graph.problem else _numbers(account, replayed.graph)
    parts = paths(replayed) if numbers else []
    rows = [place for _, place in numbers]
    on_path = [[int(path.ns[np.isin(path.kind, kinds)].sum()) for path in parts] for kinds in _SPLIT]
    columns = {
        "wall_ns": replayed.measured,
        "replayed_ns": replayed.replayed,
        "pace_ns": replayed.measured_pace,
        "replayed_pace_ns": replayed.pace,
        **dict(zip(("host_ns", "device_ns", "delay_ns"), map(np.array, on_path), strict=True)),
    }
    names = [replayed.graph.steps[place].name for place in rows]
    return {
        "source": np.full(len(rows), account.trace.source, dtype=object),
        "step": np.array([number for number, _ in numbers], dtype=np.int64),
        "name": np.array(names, dtype=object),
        "refused": np.full(len(rows), replayed.refused if rows else "", dtype=object),
        **{name: np.asarray(column, dtype=np.int64)[rows] for name, column in columns.items()},
    }


_SPLIT = (
    (PathKind.HOST,),
    (PathKind.DEVICE,),
    (PathKind.LAUNCH, PathKind.GAP, PathKind.RETURN, PathKind.UNKNOWN),
)
STEP_REPLAYS = Fold(
    "step replays",
    _step_rows,
    keys=("source", "step", "name", "refused"),
    measures=dict.fromkeys((column.name for column in _STEP_COLUMNS if column.summed), "sum"),
)
"""Each step of the main thread; where there are none, all of it as one."""


def _part_rows(account: Account) -> Rows:
    replayed = replay_of(account)
    numbers = [] if replayed.graph.problem else _numbers(account, replayed.graph)
    whole = paths(replayed) if numbers else []
    found = [_described(account, whole[place], number) for number, place in numbers]
    if not found:
        nothing = np.empty(0, dtype=np.int64)
        return dict.fromkeys(("step", "kind", "phase", "path", "name", "total_ns"), nothing)
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _described(account: Account, path: Path, number: int) -> dict[str, Ints]:
    """The parts of a step's path, by kind, phase, scope and name."""
    attribution, events = account.attribution, account.attribution.events
    host = attribution.host
    on_device = path.event != NONE
    scope = np.where(
        on_device, at(events.path, path.event, absent=NONE), at(attribution.ranges.path, path.row, absent=NONE)
    )
    phase = np.where(
        on_device,
        at(events.phase, path.event, absent=Phase.OTHER),
        at(attribution.ranges.phase, path.row, absent=Phase.OTHER),
    )
    operator = nearest(host.forest.parent, is_operator(attribution))
    row = at(operator, path.row, absent=NONE)
    row = np.where((row == NONE) | (path.kind == PathKind.RETURN), path.row, row)
    name = np.where(on_device, at(account.trace.device.name, path.event, absent=NONE), at(host.name, row, absent=NONE))
    return {
        "step": np.full(len(path), number),
        "kind": path.kind.astype(np.int64),
        "phase": phase.astype(np.int64),
        "path": scope.astype(np.int64),
        "name": name.astype(np.int64),
        "total_ns": path.ns,
    }


CRITICAL_PARTS = Fold(
    "critical parts",
    _part_rows,
    keys=("step", "kind", "phase", "path", "name"),
    measures={"total_ns": "sum"},
    texts={"path": "paths", "name": "names"},
)
"""The parts of the critical path; they add up to the replayed pace of each step."""


def replay_table(partial: Partial) -> Table:
    """One row a step: recorded and replayed, and what its critical path is made of."""
    frame = partial.of(STEP_REPLAYS)
    frame = frame.assign(error_share=(frame["replayed_ns"] - frame["wall_ns"]).abs() / frame["wall_ns"].clip(lower=1))
    refused = [text for text in dict.fromkeys(frame["refused"]) if text]
    notes = [f"no gain is derived from this trace: {text}" for text in refused]
    if len(frame):
        notes.append(f"mean error of the steps: {percent(float(frame['error_share'].mean()))}")
    if 0 < len(frame) < len(partial.facts.steps):
        replayed = "step is" if len(frame) == 1 else f"{len(frame)} steps are"
        notes.append(f"the first {replayed} replayed, of {len(partial.facts.steps)}")
    frame = frame.drop(columns=["source", "refused"]).astype({"step": pd.Int64Dtype()})
    frame["step"] = frame["step"].astype(object).where(frame["step"] != NONE, None)
    return Table("replay", "Replay of the steps", _STEP_COLUMNS, frame.reset_index(drop=True), tuple(notes))


def critical_table(partial: Partial) -> Table:
    """What is on the critical path of the steps, by scope and name, the longest first."""
    facts, rows = partial.facts, partial.of(CRITICAL_PARTS)
    texts = np.array([*facts.paths, UNATTRIBUTED], dtype=object)
    scope = np.where(rows["phase"] == Phase.COMMUNICATION, COMMUNICATION, texts[rows["path"]])
    name = np.array([*facts.names, _BETWEEN], dtype=object)[rows["name"]]
    frame = pd.DataFrame(
        {
            "kind": [PathKind(kind).label for kind in rows["kind"]],
            "scope": scope,
            "name": np.where(rows["kind"] == PathKind.UNKNOWN, "", name),
            "total_ns": rows["total_ns"],
        }
    )
    frame = frame.groupby(["kind", "scope", "name"], sort=False)["total_ns"].sum().reset_index()
    keys = ["total_ns", "kind", "scope", "name"]
    frame = frame.sort_values(keys, ascending=[False, True, True, True]).reset_index(drop=True)
    frame["share"] = frame["total_ns"] / max(int(frame["total_ns"].sum()), 1)
    short = short_names(facts.device_names)
    frame["short_name"] = pd.Series([short.get(name, name) for name in frame["name"]], frame.index, dtype=object)
    return Table("critical", "Critical path", _PART_COLUMNS, frame, (_NOTE,))


def _of_profiler(facts: Facts) -> Audience | None:
    return "asked" if set(facts.tools) == {Tool.KINETO.value} else None


REPLAY = TraceTable(
    "replay",
    "a step replayed (traces of torch.profiler; only if named)",
    ", ".join(f"`{column.name}`" for column in _STEP_COLUMNS),
    lambda partial, _: replay_table(partial),
    _of_profiler,
    divides=False,
)
CRITICAL = TraceTable(
    "critical",
    "work on the critical path, by kind, scope and name (as above)",
    ", ".join(f"`{column.name}`" for column in _PART_COLUMNS),
    lambda partial, _: critical_table(partial),
    _of_profiler,
    divides=False,
)
