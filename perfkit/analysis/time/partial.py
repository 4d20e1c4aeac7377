"""Partial: the sums of an account that can be merged, over parts of a recording or over recordings.

    load -> account -> partial (sums, counts, min, max, by key) -> merge -> derive (means, shares, spreads)

A fold says which rows add up and by which keys. A partial makes the rows of a fold when a table asks for them, once;
tables are made of partials alone, and so are the same whether a recording was folded whole or in parts (`merge`). What
does not add up, such as a median or the order of events on a stream, is not a fold: it needs the account or the trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec
import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.attribution.fallback import LayersBy
from perfkit.analysis.attribution.intervals import NONE, Ints, at
from perfkit.analysis.attribution.scopes import ScopeSource
from perfkit.analysis.attribution.steps import StepSource
from perfkit.trace.recording import Cpu, Device

if TYPE_CHECKING:
    from perfkit.analysis.time.account import Account

_Item = TypeVar("_Item")

Rows = Mapping[str, Any]
"""Columns of equal length: arrays of integers or of texts."""

_MOST_KEYS = 1 << 62
"""Numbers for combinations of keys stay below it."""


class Fold(msgspec.Struct, frozen=True, eq=False):
    """Rows of an account that add up."""

    name: str
    """Its own: settled partials keep their rows under it."""
    rows: Callable[[Account], Rows]
    """The keys and the measures, row by row; rows of equal keys are added up. A key `step` numbers `Facts.steps`."""
    keys: tuple[str, ...]
    measures: Mapping[str, Literal["sum", "min", "max"]]
    """How a measure of two rows is combined. A fact of the whole file, whatever part of it is accounted for, has the
    key `source` and is combined by max, so that the parts of one file count it once."""
    texts: Mapping[str, Literal["names", "paths", "device_labels"]] = msgspec.field(default_factory=dict)
    """Keys that number the texts of a field of `Facts`; NONE for none."""
    is_counted: bool = False
    """Whether the rows are those of the account: host times, which are not counted where there is device work."""

    def added(self, rows: Rows) -> pd.DataFrame:
        """One row for each combination of keys, in the order in which they come first."""
        code = _numbered([rows[key] for key in self.keys])
        first = np.flatnonzero(np.diff(np.maximum.accumulate(code), prepend=-1)) if len(code) else code
        measures = {name: rows[name] for name in self.measures}
        grouped = pd.DataFrame(measures, copy=False).groupby(code, sort=False)
        added = {name: getattr(grouped[name], how)().to_numpy() for name, how in self.measures.items()}
        return pd.DataFrame({**{key: _wide(rows[key][first]) for key in self.keys}, **added})


def _wide(column: Any) -> Any:
    return column if column.dtype == object else column.astype(np.int64)


def _numbered(columns: Sequence[Any]) -> Ints:
    """A number for each row, the same for the same values, from 0 in the order in which they come first."""
    key, numbers = np.zeros(len(columns[0]), dtype=np.int64), 1
    for column in columns:
        codes = pd.factorize(column)[0] if column.dtype == object else column
        width = int(codes.max(initial=0)) + 2  # NONE is -1
        if numbers * width > _MOST_KEYS:
            key, values = pd.factorize(key)
            numbers = len(values)
        key = key * width + (codes.astype(np.int64) + 1)
        numbers *= width
    return pd.factorize(key)[0]


class Facts(msgspec.Struct, frozen=True):
    """What a partial describes, and the texts and steps that its rows refer to by number."""

    sources: tuple[str, ...]
    """The files."""
    tools: tuple[str, ...]
    """What recorded them."""
    devices: tuple[tuple[str, Device], ...]
    """Label and description of the devices that the files name."""
    cpus: tuple[Cpu, ...]
    """The CPUs that the files say their programs ran on."""
    device_labels: tuple[str, ...]
    """Of the devices that have events. One label in two files is one device: they are of one process."""
    names: tuple[str, ...]
    """Of kernels, operators and ranges."""
    device_names: frozenset[str]
    """Of what runs on devices anywhere in the files: among these short names are unique."""
    paths: tuple[str, ...]
    """Of scopes, and of what work without one goes by."""
    scope_source: ScopeSource
    layers_by: LayersBy
    """What tables by layer have rows for."""
    qualified: bool
    """Paths are qualified module names (layers.3.attn), not joined names of nested ranges."""
    modules: Mapping[str, str]
    """Module path -> class, as far as it is known."""
    roots: Mapping[str, tuple[str, ...]]
    """Outermost module -> modules that run in it although their paths do not begin with its own."""
    separators: Mapping[str, str]
    """What joins the parts of a path, for paths spelled otherwise than modules; empty for paths of one part."""
    steps: tuple[int, ...]
    """Wall time of each step, ns."""
    step_source: StepSource
    only: Phase | None
    """The phase accounted for; None for all of them."""
    on_device: bool
    """Times are those of device events, not of the host's ranges."""
    is_whole: bool
    """What lies outside the steps is accounted for, too."""
    has_copies: bool
    has_ranges: bool
    """There are ranges by the user, perfkit or NVTX."""
    has_operators: bool
    """The recording names operators, not ranges alone."""
    has_launches: bool
    """The recording has calls that give a device work."""
    several_threads: bool
    has_shapes: bool
    """The recording says shapes of operators' arguments."""
    has_collectives: bool
    """The recording says what collectives move."""

    @property
    def step_wall(self) -> int:
        """Wall time of the steps, ns."""
        return sum(self.steps)

    @property
    def has_ranges_only(self) -> bool:
        """The recording has ranges only: no device work, and no operators."""
        return not (self.on_device or self.has_operators)


class Partial(msgspec.Struct, frozen=True, eq=False):
    """The sums of one account, or of several."""

    facts: Facts
    of: Callable[[Fold], pd.DataFrame]
    """The rows of a fold, added up; made when they are first asked for, and once."""

    def on(self, device: int) -> Partial:
        """The rows of one device, of the folds that tell devices apart; the others whole."""

        def rows(fold: Fold) -> pd.DataFrame:
            frame = self.of(fold)
            return frame[frame["device"] == device] if "device" in fold.keys else frame

        return Partial(self.facts, cache(rows))

    def settled(self, *folds: Fold) -> Partial:
        """The rows of these folds and of no other, made now: it needs no trace any more, and can be pickled."""
        return Partial.made(self.facts, {fold.name: self.of(fold) for fold in folds})

    @staticmethod
    def made(facts: Facts, frames: Mapping[str, pd.DataFrame]) -> Partial:
        """Rows that have been added up before, by the name of their fold."""
        return Partial(facts, _Made(frames))


class _Made(msgspec.Struct, frozen=True):
    """Rows that have been added up, by the name of their fold."""

    frames: Mapping[str, pd.DataFrame]

    def __call__(self, fold: Fold) -> pd.DataFrame:
        if fold.name not in self.frames:
            raise ValueError(f"the partial was settled without the fold {fold.name}")
        return self.frames[fold.name]


def partial_of(account: Account, facts: Facts) -> Partial:
    """The partial of one account."""
    return Partial(facts, cache(lambda fold: fold.added(fold.rows(account))))


def merge(parts: Sequence[Partial]) -> Partial:
    """Merge partials in their order; the result does not depend on how they are grouped.

    Steps are numbered consecutively; names and paths are in the order of first use. Raises ValueError where the
    parts are of different phases or spell scopes differently, and where there are none.
    """
    if not parts:
        raise ValueError("there is nothing to merge")
    facts = _merged_facts([part.facts for part in parts])
    places = {
        "names": {text: number for number, text in enumerate(facts.names)},
        "paths": {text: number for number, text in enumerate(facts.paths)},
        "device_labels": {text: number for number, text in enumerate(facts.device_labels)},
    }

    def rows(fold: Fold) -> pd.DataFrame:
        taken, steps = [], 0
        for part in parts:
            if not fold.is_counted or part.facts.on_device == facts.on_device:
                taken.append(_renumbered(part, fold, places, steps))
            steps += len(part.facts.steps)
        return fold.added(columns_of(pd.concat(taken, ignore_index=True)))

    return Partial(facts, cache(rows))


def columns_of(frame: pd.DataFrame) -> Rows:
    """The rows of a frame, to be added up again."""
    return {str(name): frame[name].to_numpy() for name in frame}


def _renumbered(part: Partial, fold: Fold, places: Mapping[str, Mapping[str, int]], steps: int) -> pd.DataFrame:
    """The rows of a part by the numbers of the whole, `steps` steps later."""
    frame = part.of(fold)
    changed: dict[str, Ints] = {}
    for key, kind in fold.texts.items():
        number = np.array([places[kind][text] for text in getattr(part.facts, kind)], dtype=np.int64)
        changed[key] = at(number, frame[key].to_numpy(), absent=NONE)
    if "step" in fold.keys:
        step = frame["step"].to_numpy()
        changed["step"] = np.where(step == NONE, NONE, step + steps)
    return frame.assign(**changed)


def _merged_facts(parts: Sequence[Facts]) -> Facts:
    named = [part for part in parts if part.paths] or list(parts)
    scoped = [part for part in named if part.layers_by.is_scope] or named  # parts without scopes have no spelling
    for what in ("scope_source", "qualified"):
        if len({getattr(part, what) for part in scoped}) > 1:
            raise ValueError(f"parts spell scopes differently: {', '.join(part.sources[0] for part in scoped)}")
    if len({part.only for part in parts}) > 1:
        raise ValueError("parts are of different phases")
    return Facts(
        sources=_union(part.sources for part in parts),
        tools=_union(part.tools for part in parts),
        devices=_union(part.devices for part in parts),
        cpus=_union(part.cpus for part in parts),
        device_labels=_union(part.device_labels for part in parts),
        names=_union(part.names for part in parts),
        device_names=frozenset().union(*(part.device_names for part in parts)),
        paths=_union(part.paths for part in parts),
        scope_source=scoped[0].scope_source,
        layers_by=scoped[0].layers_by,
        qualified=scoped[0].qualified,
        modules={path: name for part in parts for path, name in part.modules.items()},
        roots={root: _union(part.roots.get(root, ()) for part in parts) for part in parts for root in part.roots},
        separators={path: separator for part in parts for path, separator in part.separators.items()},
        steps=tuple(wall for part in parts for wall in part.steps),
        step_source=next((part.step_source for part in parts if part.steps), parts[0].step_source),
        only=parts[0].only,
        on_device=any(part.on_device for part in parts),
        is_whole=all(part.is_whole for part in parts),
        has_ranges=any(part.has_ranges for part in parts),
        has_copies=any(part.has_copies for part in parts),
        has_operators=any(part.has_operators for part in parts),
        has_launches=any(part.has_launches for part in parts),
        several_threads=any(part.several_threads for part in parts),
        has_shapes=any(part.has_shapes for part in parts),
        has_collectives=any(part.has_collectives for part in parts),
    )


def _union(parts: Iterable[tuple[_Item, ...]]) -> tuple[_Item, ...]:
    """Each item once, in the order in which they come first."""
    return tuple(dict.fromkeys(item for part in parts for item in part))
