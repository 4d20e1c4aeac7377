"""Choose columns for each event of a Chrome trace by its phase and category; grow columns chunk by chunk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from perfkit.trace.byte_stream import printable
from perfkit.trace.chrome.events import Event, packed
from perfkit.trace.columns import BEGIN_END, NO_CATEGORY, Content, DeviceKind, HostKind, Int32s, Int64s

_HOST = {
    "cpu_op": HostKind.OP,
    "operator": HostKind.OP,
    "user_annotation": HostKind.ANNOTATION,
    "python_function": HostKind.PYTHON,
}
"""Host categories in lower case: traces of 2021 wrote `Operator`, `Runtime`, `Kernel`, `Memcpy`, `Memset`."""
_CALL = re.compile(r"(?:\w+_)?(?:runtime|driver)")
"""Calls, by whatever name an accelerator has: cuda_runtime, hip_driver, xpu_runtime, privateuse1_driver ..."""
_KERNELS = ("kernel", "concurrent_kernel", "mtia_ccp_events")
_COPIES = {"memcpy": DeviceKind.MEMCPY, "memset": DeviceKind.MEMSET}
_COPY = re.compile(r"(?:\w+_)?(?P<what>memcpy|memset)")
"""gpu_memcpy, and those of the forks of Kineto that name their own device: mlu_memset, gcu_memcpy ..."""
_UNSORTED = ("mtia_ccp_events",)
"""Device categories that mix kernels, copies and waits: all of them count as kernels, and integrity says so."""
_BESIDE = re.compile(
    r"trace|external_correlation|cuda_event|cpu_instant_event|xpu_scope_profiler"
    r"|\w+_(?:sync|counters?|profiler_range|user_annotation)"
)
"""Kineto's other categories (its ActivityType.h): waits, marks and metrics beside the work, which is in the columns."""
_COMMON = ("cuda_runtime", "cuda_driver", "gpu_memcpy", "gpu_memset")
_FLOWS = ("fwdbwd", "forward_backward")
_INSTANTS = ("", "cpu_instant_event")
"""The categories that contain allocations, before and since 2022."""
_OVERHEAD = "overhead"
"""The category of the pauses that the profiler itself made."""
_MAX_CATEGORIES = 255

Codes: TypeAlias = npt.NDArray[np.int64]
Columns: TypeAlias = dict[str, npt.NDArray[Any]]


class Target(IntEnum):
    """The columns that an event belongs to."""

    NONE = 0
    HOST = 1
    DEVICE = 2
    FLOW = 3
    METADATA = 4
    OVERHEAD = 5
    MEMORY = 6
    """Possible allocations: not columns of a Trace, but of a table that is read on demand."""
    COUNTER = 7
    """Also read on demand."""
    UNKNOWN = 8
    """Events of a category that nobody told us of, or of none: counted, with their time."""

    @property
    def is_used(self) -> bool:
        """Whether a Trace takes rows or names from it."""
        return self in (Target.HOST, Target.DEVICE, Target.FLOW, Target.METADATA)


class Route(msgspec.Struct, frozen=True):
    """How the events of one phase and category are handled."""

    target: Target
    kind: int
    label: str
    """The category, under which events are counted."""
    complete: bool
    is_unsorted: bool = False
    """Whether the category does not say what its events are, although they are in a column."""

    @property
    def is_kernel(self) -> bool:
        """Whether its events are kernels."""
        return self.target is Target.DEVICE and self.kind == DeviceKind.KERNEL


def _route(ph: str, cat: str) -> Route:
    if ph == "X":
        return _complete(cat)
    known = cat.lower()
    if ph in ("s", "f") and known in _FLOWS:
        return Route(Target.FLOW, int(ph == "s"), cat, False)
    if ph == "M":
        return Route(Target.METADATA, 0, cat, False)
    if ph in ("B", "E"):
        return Route(Target.NONE, 0, BEGIN_END, False)
    target = Target.NONE
    if ph == "C":
        target = Target.COUNTER
    elif ph == "i" and known in _INSTANTS:
        target = Target.MEMORY
    return Route(target, 0, printable(cat) or f"ph {printable(ph)}", False)


def _complete(cat: str) -> Route:
    """The route of events with a duration."""
    known = cat.lower()
    if known in _HOST or _CALL.fullmatch(known):
        return Route(Target.HOST, _HOST.get(known, HostKind.RUNTIME), cat, True)
    if known in _KERNELS:
        return Route(Target.DEVICE, DeviceKind.KERNEL, cat, True, known in _UNSORTED)
    if copy := _COPY.fullmatch(known):
        return Route(Target.DEVICE, _COPIES[copy["what"]], cat, True)
    if known == _OVERHEAD:
        return Route(Target.OVERHEAD, 0, cat, True)
    label = printable(cat) or NO_CATEGORY
    return Route(Target.NONE if _BESIDE.fullmatch(known) else Target.UNKNOWN, 0, label, True)


class Router:
    """Maps phases and categories to routes: `routes[code]` is the route of an event with that code."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self._keys: list[tuple[str, str]] = []
        self._categories = Dictionary()
        self._categories.encode((*_HOST, *_COMMON, *_KERNELS, *_FLOWS))
        self._codes: Int64s = np.full((_MAX_CATEGORIES + 1) * 256, -1, np.int64)

    def encode(self, events: list[Event]) -> Codes:
        """Return a code for each event. Categories after the first 255 (invalid, then) share one."""
        cats = self._categories.encode([event.cat for event in events])
        if len(self._categories) > _MAX_CATEGORIES:
            cats = cats.clip(max=_MAX_CATEGORIES)
        places = cats * 256 + _letters([event.ph for event in events])
        codes: Codes = self._codes.take(places)
        if codes.min(initial=0) < 0:
            names = list(self._categories)
            for place in dict.fromkeys(places[codes < 0].tolist()):  # in the order of the file
                cat, letter = divmod(place, 256)
                key = chr(letter), names[cat] if cat < _MAX_CATEGORIES else "other categories"
                self._codes[place] = len(self.routes)
                self.routes.append(_route(*key))
                self._keys.append(key)
            codes = self._codes.take(places)
        return codes

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """The phase and category of each route."""
        return tuple(self._keys)

    def code(self, ph: str, cat: str) -> int:
        """The code of events of this phase and category."""
        return int(self.encode([Event(ph=ph, cat=cat)])[0])

    def targets(self, *, content: Content) -> Int64s:
        """The Target of each code."""
        kept = (route.target if content is Content.ALL or route.is_kernel else Target.NONE for route in self.routes)
        return np.fromiter(kept, np.int64, len(self.routes))


def _letters(phases: list[str]) -> npt.NDArray[np.uint8]:
    """The letter of each phase; a question mark for what has several or none."""
    letters = np.frombuffer("".join(phases).encode("latin-1", "replace"), np.uint8)
    if len(letters) == len(phases) and all(phases):
        return letters
    return np.array([ord(ph) & 255 if len(ph) == 1 else 0x3F for ph in phases], np.uint8)


class Dictionary(dict[Any, int]):
    """Maps values to consecutive integers, in order of first appearance."""

    def __missing__(self, key: Any) -> int:
        self[key] = code = len(self)
        return code

    def encode(self, values: Iterable[Any]) -> Int32s:
        """Return the integer of each value."""
        return packed(list(map(self.__getitem__, values))).astype(np.int32)


class Pieces:
    """A table's columns, which grow chunk by chunk; in place, for an array for each chunk would fragment the heap."""

    def __init__(self) -> None:
        self._grown: dict[str, tuple[np.dtype[Any], bytearray]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(self._grown)

    def append(self, columns: Columns) -> None:
        """Append the rows of one chunk."""
        for name, column in columns.items():
            dtype, grown = self._grown.setdefault(name, (column.dtype, bytearray()))
            assert dtype == column.dtype, name
            grown += column.data

    def __bool__(self) -> bool:
        return bool(self._grown)

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return one whole column and release it."""
        dtype, grown = self._grown.pop(name)
        return np.frombuffer(grown, dtype)
