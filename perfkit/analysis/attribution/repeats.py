"""Work that was launched before the window and repeats what is in it (docs/attribution.md, what stays unattributed).

A profiler that starts while the device is busy records kernels whose launches it did not see. They are the end of what
the program does over and over, so the same names in the same order come again later on the stream, with launches. Where
every place at which they could stand gives a kernel the same component (the same scope up to the numbers of layers), it
has that component. Which layer it was nobody knows: a model's layers launch the same names.

Two things are asked. That the names and what follows them come again, 32 names at least, and what follows is in the
same components there. And that no other place contradicts: none after which the window only ends too soon, none that
begins before it (six layers among more also stand a layer later), and none at which a part of several layers stands
with its last ones only, where the end of the window keeps the others from it.
"""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.intervals import NONE, Bools, Ints
from perfkit.regex import Regex
from perfkit.trace.columns import Trace

NUMBER = Regex(r"(?<![A-Za-z0-9])\d+")
"""The number of a layer in a scope: layers.3.attn, Linear_7; not that of Conv2d."""
_FEWEST = 32
"""Names that must agree at least, those that follow the work included."""
_MOST_PARTS = 16
"""Parts that are looked for one by one, where the whole does not come again."""
_MOST_BEFORE, _MOST_AFTER = 2**15, 2**17
"""Events of a stream that are looked at, before its first launch and after: a queue holds a thousand launches."""
_MOST_COMPARED = 2**22
"""Names that are compared for one part. Of a single name a thousand times over there are too many places, which tell
nothing."""
_BASE = 0x9E3779B97F4A7C15
"""Of the polynomial hash of a sequence: any large odd number, which has an inverse modulo 2^64."""


def twins(trace: Trace, unlaunched: Bools, path: Ints, paths: tuple[str, ...], *, of_modules: bool) -> Ints:
    """For each unlaunched event a launched one that it repeats, whose component it has; NONE where nothing tells.

    `path` is the scope of each event, as an index into `paths`. Only events that ran before the first launched one of
    their stream are looked at. `of_modules`: scopes are modules, which are named alike whenever they run; other ranges
    may not be (warm-up and measurement), and so must be seen twice.
    """
    events = trace.device
    twin = np.full(len(events), NONE, dtype=np.int64)
    if not unlaunched.any() or not (path != NONE).any():
        return twin
    folded: dict[str, int] = {}
    component = np.array([folded.setdefault(NUMBER.sub("*", text), len(folded)) for text in paths] + [NONE])[path]
    for device in np.unique(events.device[unlaunched]):
        for stream in np.unique(events.stream[unlaunched & (events.device == device)]):
            rows = np.flatnonzero((events.device == device) & (events.stream == stream))
            rows = rows[np.argsort(events.start[rows], kind="stable")]
            first = int(np.argmin(np.append(unlaunched[rows], False)))
            rows = rows[max(first - _MOST_BEFORE, 0) : first + _MOST_AFTER]
            lead = min(first, _MOST_BEFORE)
            place = _repeated(events.name[rows], component[rows], lead, 1 if of_modules else 2)
            twin[rows[:lead][place != NONE]] = rows[place[place != NONE]]
    return twin


def _repeated(name: Ints, component: Ints, lead: int, fewest: int) -> Ints:
    """For each of the first `lead` names of a stream, a later place where it stands in the same sequence, or NONE.

    `fewest` is how many places there must be.
    """
    place = np.full(lead, NONE, dtype=np.int64)
    if not lead or len(name) - lead < _FEWEST:
        return place
    sequence = _Sequence(name, lead)
    component = np.where(np.arange(len(name)) < lead, NONE, component)
    end = lead
    for _ in range(_MOST_PARTS):
        begin, found = sequence.longest(end, fewest)
        if begin == end:
            break
        found = _followed_alike(component, end, found + (end - begin))
        if len(found) >= fewest:
            there = found[0] - (end - begin) + np.arange(end - begin)
            agree = _uncontradicted(component, there, begin, sequence.shifts(begin, end))
            place[begin:end][agree] = there[agree]
            component[begin:end][agree] = component[there[agree]]
        end = begin
    return place


def _followed_alike(component: Ints, end: int, ends: Ints) -> Ints:
    """Those of the places, by where they end, that the components after `end` follow, as far as those are known."""
    later = ends[:, None] + np.arange(_FEWEST)
    inside = later < len(component)
    there = component[np.minimum(later, len(component) - 1)]
    here = component[end : end + _FEWEST]
    return ends[((there == here) | (here == NONE) | ~inside).all(axis=1)]


def _uncontradicted(component: Ints, there: Ints, begin: int, shifts: Ints) -> Bools:
    """Whether each event of the part that begins at `begin` is in the component of its place `there`, however shifted.

    A part that overlaps itself when shifted has a period: its events are what stands some periods later, and those a
    period apart are one, since the end of the window alone may keep some of them from a place. A place that the end
    cuts off contradicts only if it does before the last _FEWEST names, whose following is not known; then it may be the
    true one, and the whole part is in doubt.
    """
    size = len(there)
    end, last = begin + size, len(component) - 1
    part = np.arange(begin, end)
    if len(shifts) * size > _MOST_COMPARED:
        return np.zeros(size, dtype=bool)
    shifted = part + np.maximum(-(-(end - part) // shifts[:, None]), 1) * shifts[:, None]
    differs = component[np.minimum(shifted, last)] != component[there]
    is_cut = shifts + end > last + 1
    if (differs & (part + shifts[:, None] + _FEWEST <= last))[is_cut].any():
        return np.zeros(size, dtype=bool)
    whole = shifts[~is_cut]
    period = min(int(np.diff(whole, prepend=0).min(initial=size)), size)
    first = component[there][np.arange(size) % period]
    doubt = differs[~is_cut].any(axis=0) | (component[there] != first) | (first == NONE)
    of_period = np.zeros(period, dtype=bool)
    np.logical_or.at(of_period, np.arange(size) % period, doubt)
    return ~of_period[np.arange(size) % period]


class _Sequence:
    """Finds parts of a sequence of names in what comes after its first `lead` names, by hashes of all windows."""

    def __init__(self, name: Ints, lead: int) -> None:
        self._name, self._lead = name, lead
        count = len(name)
        powers = np.cumprod(np.append(np.uint64(1), np.full(count, _BASE, dtype=np.uint64)))
        self._inverse = np.cumprod(np.append(np.uint64(1), np.full(count, pow(_BASE, -1, 2**64), dtype=np.uint64)))
        _, code = np.unique(name, return_inverse=True)
        letters = np.random.default_rng(0).integers(0, 2**64, size=count, dtype=np.uint64)[code]
        self._sums = np.append(np.uint64(0), np.cumsum(letters * powers[:-1]))

    def _hashes(self, begin: Ints, length: Ints) -> Ints:
        return (self._sums[begin + length] - self._sums[begin]) * self._inverse[begin]

    def longest(self, end: int, fewest: int) -> tuple[int, Ints]:
        """Where the longest part begins that ends at `end` and comes again at `fewest` places, and these places.

        It begins at `end` where there is none.
        """
        for cut in (False, True):
            low, high = 0, end
            while low < high:  # a part comes again wherever a longer one does
                middle = (low + high) // 2
                if len(self._places(middle, end, cut=cut)[0]) >= fewest:
                    high = middle
                else:
                    low = middle + 1
            place, length = self._places(high, end, cut=cut)
            if high < end and (length >= _FEWEST).sum() >= fewest:
                return high, self._verified(high, end, place[length >= _FEWEST])
        return end, np.empty(0, dtype=np.int64)

    def _places(self, begin: int, end: int, *, cut: bool) -> tuple[Ints, Ints]:
        """Where the names from `begin` to `end` come again, and the _FEWEST that follow, and how many names agree.

        What follows tells the places apart. `cut`: it may lie beyond the end of the window.
        """
        whole = end - begin + _FEWEST
        place = np.arange(self._lead, len(self._name) - (end - begin if cut else whole) + 1)
        length = np.minimum(whole, len(self._name) - place)
        same = self._hashes(place, length) == self._hashes(np.full(len(place), begin), length)
        return place[same], length[same]

    def shifts(self, begin: int, end: int) -> Ints:
        """By how much the names from `begin` to `end` can be moved, with the _FEWEST that follow, as far as they go."""
        shift = np.arange(1, len(self._name) - begin)
        length = np.minimum(end - begin + _FEWEST, len(self._name) - begin - shift)
        first = np.full(len(shift), begin)
        return shift[self._hashes(first + shift, length) == self._hashes(first, length)]

    def _verified(self, begin: int, end: int, places: Ints) -> Ints:
        """Those of the places where the names are equal indeed; none where there are too many to compare."""
        if len(places) * (end - begin) > _MOST_COMPARED:
            return places[:0]
        there = places[:, None] + np.arange(end - begin)
        return places[(self._name[there] == self._name[begin:end]).all(axis=1)]
