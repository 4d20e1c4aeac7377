"""Compares every row of an attribution with what the witness knows about it, and every sum with the profiler's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from torch.autograd.profiler_util import FunctionEvent

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.host_view import EVALUATE
from perfkit.analysis.attribution.intervals import NONE
from perfkit.analysis.time import breakdown
from perfkit.analysis.time.account import account_for
from perfkit.schema import range_names
from perfkit.trace.columns import HostKind
from tests.truth import witness as truth
from tests.truth.recording import STEPS, Recording

Expected = tuple[str | None, str]
"""(path, phase)."""

_ACCUMULATE = "torch::autograd::AccumulateGrad"


@dataclass
class Verdict:
    """How many were right, and what was wrong with the others."""

    right: Counter[str] = field(default_factory=Counter)
    """By kind: engine range, node, accumulation, operation; unowned, and not judged: a leaf that is no parameter."""
    wrong: list[str] = field(default_factory=list)

    def count(self, kind: str, what: str, expected: Expected, actual: Expected) -> None:
        """Note one answer."""
        self.right[kind] += expected == actual
        if expected != actual:
            self.wrong.append(f"{kind} {what}: {actual} is wrong, {expected} is right")


def assert_right(recording: Recording) -> Verdict:
    """Every node and operation is where it belongs, every node linked, and every sum is whole."""
    verdict = judge(recording)
    assert verdict.wrong == []
    events = recording.profiler.events()
    ranges = sum(event.name.startswith(EVALUATE) for event in events)
    assert ranges == verdict.right["engine range"] + verdict.right["unowned engine range"]
    assert verdict.right["node"] > 0
    assert unlinked(recording) == []
    assert_sums(recording)
    return verdict


def judge(recording: Recording) -> Verdict:
    """Judge every backward node, gradient accumulation, and operation inside any of them or inside a known range."""
    return _Judge(recording).verdict


def judge_hooks(recording: Recording) -> Verdict:
    """Judge the names of perfkit's ranges round nodes, each against the node inside; `none` has no range."""
    judge = _Judge(recording)
    verdict = Verdict()
    host, links = judge.seen, recording.attribution.links
    for row, name in enumerate(judge.names):
        kind, known = judge._own(row)
        if kind not in ("node", "accumulation") or known is None:
            continue
        hooks, above = [], judge.parent[row]
        while not judge.names[above].startswith(EVALUATE):
            hooks += [above] if links.is_hooked[above] else []
            above = judge.parent[above]
        label = host.own_names[int(host.name[hooks[0]])].label if hooks else None
        if hooks:
            verdict.count(kind, f"{row} {name}", known, (label, "backward"))
        else:
            verdict.right[f"none: {known[0]}"] += 1
        assert len(hooks) <= 1
    return verdict


class _Judge:
    def __init__(self, recording: Recording) -> None:
        self.attribution, self.seen, self.witness = recording.attribution, recording.attribution.host, recording.witness
        self.parent = self.seen.forest.parent.tolist()
        self.names = [self.seen.names[index] for index in self.seen.name.tolist()]
        self.inside: dict[int, list[int]] = {}
        for row, parent in enumerate(self.parent):
            self.inside.setdefault(parent, []).append(row)
        self.threads = _signatures(recording)
        self.verdict = Verdict()
        self.known: dict[int, Expected | None] = {NONE: None}
        for row in range(len(self.parent)):
            self._judge(row)

    def _judge(self, row: int) -> None:
        name = self.names[row]
        kind, own = self._own(row)
        expected = self.known[row] = own or self.known[self.parent[row]]
        if kind.startswith("unowned"):
            self.known[row] = None
            self.verdict.right[kind] += 1
            return
        # A range of perfkit's is wider than the witness's in it, and is judged by what it holds.
        judged = self.seen.kind[row] == HostKind.OP and range_names.parse_trace(name) is None
        # Outside every scope, what needs no gradient is recomputed like any other, and nothing in a trace says so.
        judged &= expected != (None, "recompute") or self.seen.sequence[row] >= 0
        if judged and expected is not None and not name.startswith((truth.RANGE, truth.GRADIENT)):
            if self.witness.naming == "annotation" and not self.attribution.ranges.is_evident[row]:
                assert self.seen.sequence[row] < 0  # in a user's range nothing says that this one is forward
                expected = expected[0], Phase.OTHER.label
            self.verdict.count(kind, f"{row} {name}", expected, self._actual(row))

    def _own(self, row: int) -> tuple[str, Expected | None]:
        """What a row is, and what is known of it; None where it goes with what it stands in."""
        name = self.names[row]
        if name.startswith(truth.RANGE):
            return "", truth.read_range(name)
        if name.removeprefix(EVALUATE) == _ACCUMULATE:
            kind = "accumulation" if name == _ACCUMULATE else "engine range"
            owner = self._owner(row)
            return (kind, (owner or None, "backward")) if owner is not None else (f"unowned {kind}", None)
        if name.startswith(EVALUATE):
            return "engine range", (self._maker(self._node_of(row)), "backward")
        if self.seen.sequence[row] >= 0 and self.seen.forward_thread[row] > 0:
            return "node", (self._maker(row), "backward")
        return "operation", None

    def _actual(self, row: int) -> Expected:
        path = int(self.attribution.ranges.path[row])
        return None if path == NONE else self.attribution.paths[path], Phase(self.attribution.ranges.phase[row]).label

    def _maker(self, node: int) -> str | None:
        thread = self.threads[int(self.seen.forward_thread[node])]
        return self.witness.maker(thread, int(self.seen.sequence[node]))

    def _node_of(self, engine: int) -> int:
        wanted = self.names[engine].removeprefix(EVALUATE)
        direct = self.inside[engine]
        around = [row for row in direct if self.names[row].startswith("perfkit.backward::")]
        inner = [row for outer in around for row in self.inside.get(outer, [])]
        (node,) = [row for row in direct + inner if self.names[row] == wanted]
        return node

    def _owner(self, accumulation: int) -> str | None:
        """Path of the module whose parameter is accumulated (empty: of no scope); None for any other leaf."""
        waiting = [accumulation]
        while waiting:
            row = waiting.pop(0)
            if self.names[row].startswith(truth.GRADIENT):
                return self.names[row].removeprefix(truth.GRADIENT)
            waiting += self.inside.get(row, [])
        return None


def _signatures(recording: Recording) -> dict[int, int]:
    """torch's own number of a thread -> the witness's."""
    return {
        event.thread: int(event.name.removeprefix(truth.THREAD))
        for event in recording.profiler.events()
        if event.name.startswith(truth.THREAD)
    }


def unlinked(recording: Recording) -> list[str]:
    """Names of numbered backward nodes that lead to no forward operation."""
    host, links = recording.attribution.host, recording.attribution.links
    return [host.name_of(int(row)) for row in np.flatnonzero(links.numbered & (links.target == NONE))]


def opened_scopes(recording: Recording) -> dict[Expected, int]:
    """(path, phase) -> how many of perfkit's scopes say so; to be compared with the witness's calls."""
    attribution, host = recording.attribution, recording.attribution.host
    scopes = {
        index
        for index, own in host.own_names.items()
        if own.kind in ("module", "recompute") or (own.kind == "phase" and own.label in attribution.paths)
    }
    rows = np.flatnonzero(np.isin(host.name, list(scopes))).tolist()
    return Counter(
        (attribution.paths[attribution.ranges.path[row]], Phase(attribution.ranges.phase[row]).label) for row in rows
    )


# --- sums ------------------------------------------------------------------------------------------------------


def assert_sums(recording: Recording) -> None:
    """Layers add up to the steps' wall time, and operators to the profiler's own averages, both to the nanosecond."""
    account = account_for(recording.trace, recording.attribution)
    steps = [event for event in recording.profiler.events() if event.name == "ProfilerStep*"]
    assert len(steps) == STEPS
    assert int(breakdown.layer_table(account.partial).frame["total_ns"].sum()) == sum(map(_total, steps))
    frame = breakdown.kernel_table(account.partial).frame.query("count > 0")
    actual = {name: (count, ns) for name, count, ns in frame[["name", "count", "total_ns"]].itertuples(index=False)}
    merged = _merged(recording)
    assert {name: (count - merged[name], ns) for name, (count, ns) in actual.items()} == _averages(recording)


def _total(event: FunctionEvent) -> int:
    return round(event.cpu_time_total * 1000)


def _averages(recording: Recording) -> dict[str, tuple[int, int]]:
    """Operator -> (count, self ns) on the main thread, as `key_averages()` has them."""
    events = recording.profiler.events()
    (main,) = {event.thread for event in events if event.name == "ProfilerStep*"}
    sums: dict[str, list[float]] = {}
    for event in events:
        if event.thread == main and _is_operator(event):
            entry = sums.setdefault(event.key, [0, 0.0])
            entry[0] += 1
            entry[1] += event.self_cpu_time_total
    averages = {name: (int(count), round(us * 1000)) for name, (count, us) in sums.items()}
    if len({event.thread for event in events}) == 1:
        whole = {e.key: (e.count, round(e.self_cpu_time_total * 1000)) for e in recording.profiler.key_averages()}
        assert whole.items() >= averages.items()
    return averages


def _is_operator(event: FunctionEvent) -> bool:
    return not (event.is_user_annotation or event.is_python_function or range_names.parse_trace(event.name))


def _merged(recording: Recording) -> Counter[str]:
    """Ranges that the profiler's averages lack: it takes an only child of its parent's name for the parent."""
    host, attribution = recording.attribution.host, recording.attribution
    on_main = host.thread == attribution.main_thread
    parents = host.forest.parent[on_main]
    children = Counter(parents.tolist())
    rows = np.flatnonzero(on_main).tolist()
    return Counter(
        host.name_of(row)
        for row, parent in zip(rows, parents.tolist(), strict=True)
        if parent != NONE and children[parent] == 1 and host.name[row] == host.name[parent]
    )
