"""Partial -> one table by layer, module, class, component, phase, operator or kernel, as the user asks.

Identical layers fold into one line (`layers.*  x24`). However rows are grouped, they add up to the account's total.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import accumulate

import msgspec
import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, Phase
from perfkit.analysis.attribution.intervals import NONE, Ints
from perfkit.analysis.attribution.paths import SEPARATOR
from perfkit.analysis.attribution.repeats import NUMBER
from perfkit.analysis.attribution.scopes import ScopeSource
from perfkit.analysis.kernels.short_names.unique import named, short_names
from perfkit.analysis.time.breakdown import (
    REST_SCOPES,
    account_columns,
    fallback_notes,
    notes,
    rest_last,
    row_kind,
    with_share,
)
from perfkit.analysis.time.cells import BY_STEP, CELLS, scopes_of
from perfkit.analysis.time.folding import folded, folded_paths, layer_of
from perfkit.analysis.time.partial import Partial
from perfkit.analysis.time.step_share import over_the_steps
from perfkit.analysis.time.trace_table import By, TraceTable
from perfkit.regex import Regex
from perfkit.schema.table import Column, Table

_FOLDED = ("layer", "component")
_CUT = ("layer", "module", "component")
"""Groupings whose rows are module paths, which a depth can cut."""

_BY_SCOPE = ("layer", "module", "class", "component")
"""Groupings whose rows are scopes, or what stands for them where a trace has none."""

_EXACT = pd.Int64Dtype()
"""Integers of which some may be missing; else pandas makes floats of all."""

_SIDE_PHASES = (Phase.RECOMPUTE, Phase.OPTIMIZER, Phase.OTHER)
"""Phases whose columns may be left out: the row has its sum, and the table of phases has them."""

MOST_PARTS = 256
"""Components of a path that are told apart: models' have tens, a hostile file's 10,000 in each of 600 names."""

_COUNTED_NAME = Regex(r"(.+)_\d+")
"""A module in a profile with Python stacks: its class and a counter."""


class Names(msgspec.Struct, frozen=True):
    """How scope paths of a trace are spelled, and what is known of the modules behind them."""

    separator: str
    classes: dict[str, str]
    """Path -> class, where the recording left its module tree."""
    numbered: bool
    """Foreign names carry a counter per class instead of a position: Linear_7."""
    separators: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Of paths that are spelled otherwise; empty for those of one part."""

    @property
    def free(self) -> bool:
        """Names are a user's own, not those of modules."""
        return self.separator == SEPARATOR and not self.numbered

    def is_users(self, path: str) -> bool:
        """The path is a user's range, not a module's."""
        return self.free or path in self.separators

    def parts(self, path: str) -> list[str]:
        """The path's components; the last of MOST_PARTS is the whole rest."""
        separator = self.of(path)
        return path.split(separator, MOST_PARTS - 1) if separator else [path]

    def fronts(self, path: str) -> list[str]:
        """The path cut behind each of its components, the shortest first."""
        return list(accumulate(self.parts(path), lambda front, part: front + self.of(path) + part))

    def of(self, path: str) -> str:
        """What joins the path's components."""
        return self.separators.get(path, self.separator)

    def class_of(self, path: str) -> str:
        """The module's class, or the last component where it is not known."""
        if path in self.classes:
            return self.classes[path]
        last = self.parts(path)[-1]
        numbered = _COUNTED_NAME.fullmatch(last) if self.numbered else None
        return numbered[1] if numbered else last


def names_of(partial: Partial) -> Names:
    """How this trace's scopes are spelled, and the classes from the model's tree where it is known."""
    facts = partial.facts
    numbered = facts.scope_source is ScopeSource.MODULE and not facts.qualified
    return Names("." if facts.qualified else SEPARATOR, dict(facts.modules), numbered, facts.separators)


def group_table(partial: Partial, by: By, *, depth: int | None = None, fold: bool = True) -> Table:
    """One row a group.

    `depth` cuts module paths to that many components; `fold` joins layers that differ only in their number.
    """
    spelled, wall = names_of(partial), partial.facts.step_wall
    instances, groups = _labels(partial, by, spelled, depth=depth, fold=fold)
    frame = _grouped(partial, by, instances, groups)
    frame = with_share(rest_last(frame, ["total_ns", "scope"]))
    frame["step_share"] = frame["total_ns"] / wall if wall else np.nan
    if by == "module":
        frame["inclusive_ns"] = _inclusive(frame, spelled, _roots(partial))
    pinned = int(frame["rest"].sum())
    kind = row_kind(partial) if by in _BY_SCOPE else ""
    cut = f", to depth {depth}" if depth and by in _CUT and not kind else ""
    title = f"By {kind or by}{cut}" + (", self time" if by == "module" and not depth else "")
    uncut = (f"depth cuts module paths, which rows by {by} are not",) if depth and not cut else ()
    unread = _for_scripts(by, frame)
    columns = tuple(
        replace(column, audience="scripts") if column.name in unread else column
        for column in _columns(by, kind or by, partial)
    )
    if names := _kernels_among(partial, frame):
        frame["short_name"] = [names.get(scope, scope) for scope in frame["scope"]]
        columns = (*named("scope", "short_name", kind or by), *columns[1:])
    why = fallback_notes(partial) if kind else ()
    return Table("groups", title, tuple(columns), frame, (*notes(partial), *why, *uncut), pinned)


def _kernels_among(partial: Partial, frame: pd.DataFrame) -> dict[str, str]:
    """The short names of kernels, where rows are kernels: by kernel, and where a trace names nothing else."""
    facts = partial.facts
    if not facts.on_device or facts.device_names.isdisjoint(frame["scope"]):
        return {}
    return short_names(facts.device_names)


def _for_scripts(by: By, frame: pd.DataFrame) -> set[str]:
    """Columns for scripts only: for folded rows by layer those of steps, else those of x."""
    folded = bool((frame["x"] > 1).any())
    unread = {"count", "count_per_step"}
    if folded and by == "layer":
        return unread | {"step_mean_ns", "step_std_ns"}
    return unread | {"mean_ns", "max_ns", "max_at"} | (set() if folded else {"x"})


def _columns(by: str, heading: str, partial: Partial) -> tuple[Column, ...]:
    facts, phases = partial.facts, set(partial.of(CELLS)["phase"])
    present = [phase for phase in Phase if phase in phases - {Phase.COMMUNICATION, Phase.UNLAUNCHED}]
    count, total, exclusive = account_columns(partial)
    why = over_the_steps(partial)
    of_step = Column("step_share", "1", "share", "share of step", summed=True, spare=True, repeats="share", note=why)
    steps = (
        Column("step_mean_ns", "ns", "time", "mean per step", scale="step", spare=True, read="in total"),
        Column("step_std_ns", "ns", "time", "std", scale="time", spare=True),
        Column("count_per_step", "", "count", "per step", spare=True, read="in total"),
    )
    return (
        Column("scope", title=heading),
        Column("x", "", "count", "x"),
        count,
        *(Column(p.label, "ns", "time", summed=True, scale="time", spare=p in _SIDE_PHASES) for p in present),
        total,
        replace(exclusive, spare=True),
        *(
            (Column("inclusive_ns", "ns", "time", "with children", scale="time", divided=True),)
            if by == "module"
            else ()
        ),
        Column("share", "1", "share", summed=True),
        *((of_step,) if facts.step_wall else ()),
        *(steps if len(facts.steps) > 1 else ()),
        Column("mean_ns", "ns", "time", "mean of x", scale="each", spare=True, divided=True),
        Column("max_ns", "ns", "time", "max of x", scale="each", spare=True, divided=True),
        Column("max_at", spare=True),
    )


def _codes(partial: Partial, by: By, cells: pd.DataFrame) -> Ints:
    """What each cell is grouped by, as an index into `_labels`."""
    if by == "phase":
        return cells["phase"].to_numpy()
    if by in ("op", "kernel"):
        code = cells["operator" if by == "op" else "name"].to_numpy()
        return np.where(code == NONE, len(partial.facts.names), code)
    return scopes_of(partial, cells)[0]


def _labels(partial: Partial, by: By, spelled: Names, *, depth: int | None, fold: bool) -> tuple[list[str], list[str]]:
    """For each code the instance it stands for, and the group that the instance folds into."""
    if by == "phase":
        labels = [phase.label for phase in Phase]
        return labels, labels
    if by in ("op", "kernel"):
        names = [*partial.facts.names, UNATTRIBUTED]
        return names, names
    code, scopes = scopes_of(partial, partial.of(CELLS))
    used = set(scopes[np.unique(code)]) - set(REST_SCOPES)
    of_users = {} if by == "module" else _free_labels(sorted(filter(spelled.is_users, used)), by, spelled, depth)
    layers = _layer_prefixes(sorted(used - of_users.keys()), spelled)
    key, star = _path_key(by, spelled, layers, depth), _folder(spelled, layers)
    instances, groups = [], []
    for path in scopes:
        instance, group = of_users.get(path) or (key(path) if path in used else path, "")
        instances.append(instance)
        groups.append(group or (star(instance) if by in _FOLDED and path in used else instance))
    return instances, groups if fold else instances


def _free_labels(paths: list[str], by: By, spelled: Names, depth: int | None) -> dict[str, tuple[str, str]]:
    """Path -> instance and group, of a user's own ranges: numbers in them fold, wherever they stand."""
    if by == "class":
        classes = {path: spelled.class_of(path) for path in paths}
        group = folded(sorted(classes.values()))
        return {path: (name, group[name]) for path, name in classes.items()}
    labels = {}
    starred = folded_paths(map(spelled.parts, paths))
    for path in paths:
        parts = tuple(spelled.parts(path))
        both = layer_of(parts, starred[parts]) if by == "layer" else (parts, starred[parts])
        instance, group_of = (spelled.of(path).join(one[:depth]) for one in both)
        labels[path] = instance, group_of
    return labels


def components(partial: Partial) -> list[str]:
    """The component of each scope of the trace: its place in all layers, as rows by component are named.

    In a user's own ranges every number is starred, though it occurs once: a component has no layer's index.
    """
    paths, spelled = partial.facts.paths, names_of(partial)
    if spelled.free:
        return [NUMBER.sub("*", path) for path in paths]
    code, scopes = scopes_of(partial, partial.of(CELLS))
    used = set(scopes[np.unique(code)]) - set(REST_SCOPES)
    of_users = _free_labels(sorted(filter(spelled.is_users, used)), "component", spelled, depth=None)
    star = _folder(spelled, _layer_prefixes(sorted(used - of_users.keys()), spelled))
    return [of_users[path][1] if path in of_users else star(path) for path in paths]


def layers_of_scopes(partial: Partial) -> list[str]:
    """The layer of each scope of the trace, as rows by layer are named without folding."""
    return _labels(partial, "layer", names_of(partial), depth=None, fold=False)[0][: len(partial.facts.paths)]


def groups_of_scopes(partial: Partial, by: By, *, depth: int | None = None, fold: bool = True) -> dict[str, str]:
    """The row of the table of groups that each scope is in; for groupings whose rows are scopes."""
    if by not in _BY_SCOPE:
        return {}
    _, scopes = scopes_of(partial, partial.of(CELLS))
    return dict(zip(scopes, _labels(partial, by, names_of(partial), depth=depth, fold=fold)[1], strict=True))


def _path_key(by: By, spelled: Names, layers: dict[str, str], depth: int | None) -> Callable[[str], str]:
    def key(path: str) -> str:
        if by == "class":
            return spelled.class_of(path)
        if by == "layer":
            path = layers.get(path, spelled.parts(path)[0])
        return spelled.fronts(path)[:depth][-1] if depth else path

    return key


def _folder(spelled: Names, layers: dict[str, str]) -> Callable[[str], str]:
    """Stars the layer's number in a path at or below a layer: layers.3.attn -> layers.*.attn."""
    fronts = set(layers.values())
    depths = sorted({len(spelled.parts(front)) for front in fronts})

    def star(path: str) -> str:
        cut = spelled.fronts(path)
        for count in depths:
            front = cut[min(count, len(cut)) - 1]
            if front in fronts:
                return _starred(front, spelled) + _without_counters(path[len(front) :], spelled)
        return path

    return star


def _starred(front: str, spelled: Names) -> str:
    *before, last = spelled.parts(front)
    numbered = _COUNTED_NAME.fullmatch(last) if spelled.numbered else None
    return spelled.separator.join([*before, f"{numbered[1]}_*" if numbered else "*"])


def _without_counters(tail: str, spelled: Names) -> str:
    """Below a folded layer a counter is a different one in each layer: Linear_7 and Linear_13 become Linear_*."""
    if not spelled.numbered:
        return tail
    return spelled.separator.join(_COUNTED_NAME.sub(r"\1_*", part) for part in spelled.parts(tail))


def _layer_prefixes(paths: list[str], spelled: Names) -> dict[str, str]:
    """Path -> the front of it that is a layer: the outermost component that is one of several of its kind.

    In qualified names that is a number (`layers.3`), but not of the plain parts of an `nn.Sequential`, of several
    classes and with nothing in them; in foreign names, one of several siblings that differ only in their counter
    (`BertLayer_3`).
    """
    nodes: dict[tuple[int, str], int] = {}  # of the tree that the paths make: (parent, part) -> number, 0 for the root
    siblings: dict[tuple[int, str], set[str]] = defaultdict(set)
    for path in paths:
        parent = 0
        for part in spelled.parts(path):
            siblings[parent, _kind(part, spelled)].add(part)
            parent = nodes.setdefault((parent, part), len(nodes) + 1)
    prefixes, plain = {}, _plain_parts(paths, spelled)
    for path in paths:
        parts, parent = spelled.parts(path), 0
        for index, part in enumerate(parts):
            kind = _kind(part, spelled)
            if (kind == "*" and spelled.fronts(path)[index] not in plain) or (
                kind.endswith("_*") and len(siblings[parent, kind]) > 1
            ):
                prefixes[path] = spelled.fronts(path)[index]
                break
            parent = nodes[parent, part]
    return prefixes


def _plain_parts(paths: list[str], spelled: Names) -> set[str]:
    """Numbered modules with nothing in them, whose siblings are of other classes: Linear, ReLU, Linear.

    Where classes are not known, those whose whole path is a number: parts of an `nn.Sequential`, likely.
    """
    if not spelled.classes:
        return set() if any("." in path for path in paths) else {path for path in paths if path.isdigit()}
    siblings: dict[str, dict[str, str]] = defaultdict(dict)
    for path, kind in spelled.classes.items():
        parent, _, last = path.rpartition(".")
        if path:
            siblings[parent][path] = kind if last.isdigit() else ""
    return {
        path
        for children in siblings.values()
        for path, kind in children.items()
        if kind and len(set(children.values()) - {""}) > 1 and siblings.keys().isdisjoint(children)
    }


def _kind(part: str, spelled: Names) -> str:
    if spelled.numbered:
        numbered = _COUNTED_NAME.fullmatch(part)
        return f"{numbered[1]}_*" if numbered else part
    return "*" if part.isdigit() else part


def _grouped(partial: Partial, by: By, instances: list[str], groups: list[str]) -> pd.DataFrame:
    """Sums by group, with the group's text as the column `scope`."""
    instance_of, instance_texts = pd.factorize(np.asarray(instances, dtype=object))
    group_of, group_texts = pd.factorize(np.asarray(groups, dtype=object))
    code = _codes(partial, by, partial.of(CELLS))
    cells = partial.of(CELLS).assign(scope=group_of[code], instance=instance_of[code])
    frame = cells.groupby("scope")[["count", "total_ns", "exclusive_ns"]].sum()
    by_phase = cells.pivot_table(index="scope", columns="phase", values="total_ns", aggfunc="sum")
    for phase in Phase:
        frame[phase.label] = by_phase[phase].astype(_EXACT) if phase in by_phase else np.nan
    each = cells.groupby(["scope", "instance"])["total_ns"].sum().reset_index()
    sizes = each.groupby("scope")["total_ns"].agg(["size", "mean", "max"])
    largest = each.sort_values("total_ns", kind="stable").drop_duplicates("scope", keep="last").set_index("scope")
    several = sizes["size"] > 1
    frame["x"] = sizes["size"]
    frame["mean_ns"] = sizes["mean"].where(several)
    frame["max_ns"] = sizes["max"].astype(_EXACT).where(several)
    frame["max_at"] = pd.Series(instance_texts[largest["instance"]], index=largest.index, dtype=object).where(several)
    by_step = partial.of(BY_STEP).assign(scope=group_of[_codes(partial, by, partial.of(BY_STEP))])
    frame = _with_steps(frame, by_step, len(partial.facts.steps)).reset_index()
    frame["scope"] = group_texts[frame["scope"]]
    return frame


def _inclusive(frame: pd.DataFrame, spelled: Names, roots: Mapping[str, set[str]]) -> list[int]:
    """Each module's time with all its descendants'. These do not add up: a child's time is in every parent's.

    `roots`: outermost modules, and those in them whose paths do not begin with theirs.
    """
    inclusive = dict.fromkeys(frame["scope"], 0)
    for path, total in zip(frame["scope"], frame["total_ns"].tolist(), strict=True):
        cut = [path] if path in REST_SCOPES else spelled.fronts(path)
        holders = set(cut) | {root for root, inside in roots.items() if not inside.isdisjoint(cut)}
        for holder in holders & inclusive.keys():
            inclusive[holder] += total
    return [inclusive[path] for path in frame["scope"]]


def _roots(partial: Partial) -> dict[str, set[str]]:
    """Outermost modules whose names are no fronts of those in them: as they ran, and by the tree where it is known."""
    roots = {root: set(inside) for root, inside in partial.facts.roots.items()}
    first, *others = partial.facts.modules or [""]
    if not any(path.startswith(f"{first}.") for path in others):
        roots[first] = roots.get(first, set()) | set(others)
    return roots


def _with_steps(frame: pd.DataFrame, cells: pd.DataFrame, steps: int) -> pd.DataFrame:
    """Mean and spread over the profiled steps; a group that a step has nothing of counts as zero there."""
    inside = cells[cells["step"] != NONE]
    table = inside.pivot_table(index="scope", columns="step", values="total_ns", aggfunc="sum", fill_value=0)
    table = table.reindex(index=frame.index, fill_value=0)
    mean = table.sum(axis=1) / steps if steps else table.mean(axis=1)
    squares = ((table.sub(mean, axis=0)) ** 2).sum(axis=1) + (steps - table.shape[1]) * mean**2  # steps without any
    frame["step_mean_ns"] = mean
    frame["step_std_ns"] = np.sqrt(squares / (steps - 1)) if steps > 1 else np.nan
    counts = inside.groupby("scope")["count"].sum().reindex(frame.index, fill_value=0)
    frame["count_per_step"] = counts / max(steps, 1)
    return frame


GROUPS = TraceTable(
    "groups",
    "whatever `--by` says",
    "`scope`, `short_name` (where rows are kernels), `x`, `count`, a column for each phase, `total_ns`, "
    "`exclusive_ns`, `inclusive_ns` (by module only), `share`, `step_share`, `step_mean_ns`, `step_std_ns`, "
    "`count_per_step`, `mean_ns`, `max_ns`, `max_at`",
    lambda partial, view: group_table(partial, view.by, depth=view.depth, fold=view.fold),
    adds_up_steps=True,
)
