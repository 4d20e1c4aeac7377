"""Layers: work done twice, and one layer that takes longer than its siblings."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import msgspec
import numpy as np
import pandas as pd

from perfkit.analysis.attribution.intervals import NONE, Ints
from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.findings.performance.case import Case
from perfkit.regex import Regex
from perfkit.schema import units
from perfkit.schema.finding import Evidence, Finding, Rule, Sure
from perfkit.trace.columns import MISSING

RECOMPUTATION = Rule(
    "recomputation", "performance", "how much of the step runs forward again for backward: activation checkpointing"
)
_LEAST = 0.01
"""Share of the step from which the findings are made."""


def recomputation(case: Case) -> Finding | None:
    """Work in phase recompute.

    At stake: all of it, on a host with the Python between its operators, if memory allows to keep what it makes again.
    """
    again = case.unit_phase == Phase.RECOMPUTE
    on_host = not case.on_device and again.any()
    time = (
        case.stretch(again & (case.steps_at(case.units.start) != NONE))
        if on_host
        else case.time(case.in_phase(Phase.RECOMPUTE))
    )
    if not case.is_worth(time, _LEAST):
        return None
    text = (
        f"recomputation for backward (activation checkpointing) takes {case.each(time)}:"
        " the price of the memory that it saves"
    )
    advice = (
        "checkpointing fewer layers, or only cheap operations (create_selective_checkpoint_contexts), if memory has"
        " room (perfkit run: without --checkpoint)"
    )
    return Finding(
        RECOMPUTATION, text, case.cost(time), (Evidence("phases", {"phase": Phase.RECOMPUTE.label}),), advice
    )


UNEVEN_LAYERS = Rule(
    "uneven-layers", "performance", "a layer takes far longer than its siblings, which are alike among themselves"
)
_SIBLINGS = 4
"""Layers, from which a typical one can be told."""
_FAR = 2.0
"""A layer of this many medians is far from its siblings,"""
_DEVIATIONS = 6 * 1.4826
"""if it is also this many median deviations away: six standard deviations, where times are normal."""
_FEW = 0.25
"""Share of the layers, up to which those far from the others are exceptions."""
_NUMBER = Regex(r"^(.*?)[_\[.]?(\d+)\]?$")


class _Place(msgspec.Struct, frozen=True):
    """A numbered part of a path: `layers.3.attn` is in layer 3 of `layers.*`, and `.attn` of it."""

    group: str
    number: int
    scope: str
    rest: str


def uneven_layers(case: Case) -> Finding | None:
    """Layers of one group (`layers.*`): their time with all that is in them.

    Whatever else a machine does makes a layer slower, never faster, so that a layer stands out by the step in which it
    was quickest. At stake: what such layers take beyond the median of their siblings, in the median step. Layers that
    call different operators are no siblings. On a host, one that does what its siblings do, to the same shapes, is
    slower for reasons that are not its own: memory that the others had used before it.
    """
    found = max(_groups(case), key=lambda item: item[0], default=None)
    if found is None:
        return None
    excess, scopes, median = found
    if not case.is_worth(excess * case.share_of, _LEAST):
        return None
    shown = ", ".join(f"{scope} {units.duration_ns(time)}" for scope, time in scopes[:3])
    lead = f"{len(scopes)} layers stand out: " if len(scopes) > 1 else ""
    siblings = "their siblings" if len(scopes) > 1 else "its siblings"
    text = f"{lead}{shown}{case.a_step}, where {siblings} take {units.duration_ns(median)}"
    evidence = tuple(Evidence("layers", {"scope": scope}) for scope, _ in scopes[:3])
    advice = "--by module --no-fold, which shows what these layers do more than the others"
    sure: Sure = "derived" if case.step_count > 1 else "guessed"
    cost = case.cost(excess * case.share_of)
    return Finding(UNEVEN_LAYERS, text, cost, evidence, advice, sure, where=", ".join(scope for scope, _ in scopes[:3]))


def _groups(case: Case) -> Iterator[tuple[float, list[tuple[str, float]], float]]:
    """Excess ns a step, the layers that stand out with their times, and the median, of each group that has some."""
    paths = case.account.attribution.paths
    places: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    parts: dict[tuple[str, int], set[str]] = defaultdict(set)
    scope_of: dict[tuple[str, int], str] = {}
    for index, path in enumerate(paths):
        for place in _places(path):
            places[place.group][place.number].append(index)
            parts[place.group, place.number].add(place.rest)
            scope_of[place.group, place.number] = place.scope
    times = _by_step(case)
    for group, layers in places.items():
        if len(layers) < _SIBLINGS or _differ(case, group, layers, parts, scope_of):
            continue
        numbers = sorted(layers)
        by_step = np.array([times[layers[number]].sum(axis=0) for number in numbers])
        by_step = by_step / (case.share_of / case.step_count)
        each = by_step.min(axis=1)
        median = float(np.median(each))
        spread = float(np.median(np.abs(each - median)))
        far = np.flatnonzero(each > max(_FAR * median, median + _DEVIATIONS * spread))
        if not median or not 0 < len(far) <= _FEW * len(each):
            continue
        calls = [_calls(case, layers[number]) for number in numbers]
        others = [call for number, call in enumerate(calls) if number not in far]
        if any(not _stands_out(case, calls[number], others) for number in far.tolist()):
            continue
        usual = np.median(by_step, axis=1)
        scopes = [(scope_of[group, numbers[one]], float(usual[one])) for one in far.tolist()]
        yield float((usual[far] - np.median(usual)).sum()), scopes, float(np.median(usual))


_Calls = Counter[tuple[str, object]]


def _calls(case: Case, paths: list[int]) -> _Calls:
    """How often the modules of some paths call which operator with which shapes (None: not recorded), in forward."""
    rows = np.flatnonzero(np.isin(case.unit_path, paths) & (case.unit_phase == Phase.FORWARD) & case.works)
    texts = [case.units.names[name] for name in case.units.name[rows].tolist()]
    if case.on_device or case.operands is None:
        return Counter((text, None) for text in texts)
    operands = case.operands
    codes = operands.shapes[case.host.forest.order[case.units.row[rows]]].tolist()
    shapes = [None if code == MISSING else operands.all_shapes[code] for code in codes]
    return Counter(zip(texts, shapes, strict=True))


def _stands_out(case: Case, calls: _Calls, others: list[_Calls]) -> bool:
    """Whether a layer is its siblings' like, by the operators that it calls, and does other work than they do.

    Most siblings call the same operators, of which the layer calls half or more.
    """
    usual, count = Counter(map(_names, others)).most_common(1)[0]
    alike = 2 * count > len(others) and 2 * len(usual & _names(calls)) >= len(usual)
    return alike and (case.on_device or case.operands is None or calls not in others)


def _names(calls: _Calls) -> frozenset[str]:
    return frozenset(name for name, _ in calls)


def _by_step(case: Case) -> Ints:
    """ns by path and step: [paths, steps]. Of several processes the n-th steps are one, as a job's ranks take them."""
    account = case.account
    inside = case.is_inside & (account.path != NONE)
    steps = _turns(case)[np.searchsorted(account.steps, account.step[inside])]
    shape = (len(account.attribution.paths), case.step_count)
    flat = np.bincount(
        account.path[inside] * shape[1] + steps, weights=account.exclusive[inside], minlength=shape[0] * shape[1]
    )
    return flat.reshape(shape)


def _turns(case: Case) -> Ints:
    """Of each step of the account its place among its thread's, at most the last of `bounds`; [0] without steps."""
    if not case.account.steps:
        return np.zeros(1, np.int64)
    threads = pd.Series([case.account.attribution.steps[index].thread for index in case.account.steps])
    return np.minimum(threads.groupby(threads).cumcount().to_numpy(), case.step_count - 1)


def _places(path: str) -> Iterator[_Place]:
    """Every numbered part of a path, which is of names joined by `.` or `/`."""
    cuts = [match.start() for match in re.finditer(r"[./]", path)] + [len(path)]
    begin = 0
    for cut in cuts:
        match = _NUMBER.match(path[begin:cut])
        if match:
            yield _Place(f"{path[:begin]}{match[1]}*", int(match[2]), path[:cut], path[cut:])
        begin = cut + 1


def _differ(
    case: Case,
    group: str,
    layers: dict[int, list[int]],
    parts: dict[tuple[str, int], set[str]],
    scope_of: dict[tuple[str, int], str],
) -> bool:
    """Whether the layers are not of one kind: of several classes or, where those are unknown, of several parts."""
    modules = case.account.attribution.modules
    classes = {modules.get(scope_of[group, number], "") for number in layers}
    return len(classes) > 1 or len({frozenset(parts[group, number]) for number in layers}) > 1
