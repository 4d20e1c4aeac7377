"""Decode one chunk of Chrome trace events: JSON text to typed structs, and number texts to exact integers."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
import numpy as np

from perfkit.trace.chrome.times import FARTHEST_US
from perfkit.trace.columns import MISSING, Content, Int64s

Number: TypeAlias = int | str | None
"""What writers put where an integer is expected."""

NOTHING = msgspec.Raw(b"")


class Args(msgspec.Struct, gc=False):
    """The members of an event's `args` that some column holds; all others are skipped without decoding.

    They stand in the order in which Kineto writes them: the decoder looks for a key from where the last one was found.
    """

    external_id: Number = msgspec.field(default=MISSING, name="External id")
    sequence: Number = msgspec.field(default=MISSING, name="Sequence number")
    forward_thread: Number = msgspec.field(default=MISSING, name="Fwd thread id")
    values: msgspec.Raw = msgspec.field(default=NOTHING, name="Concrete Inputs")
    dtypes: msgspec.Raw = msgspec.field(default=NOTHING, name="Input type")
    strides: msgspec.Raw = msgspec.field(default=NOTHING, name="Input Strides")
    shapes: msgspec.Raw = msgspec.field(default=NOTHING, name="Input Dims")
    index: Number = msgspec.field(default=MISSING, name="Ev Idx")
    device: Number = MISSING
    stream: Number = MISSING
    correlation: Number = MISSING
    bytes: Number = MISSING
    old_external_id: Number = msgspec.field(default=MISSING, name="external id")
    old_shapes: msgspec.Raw = msgspec.field(default=NOTHING, name="Input dims")
    """The name of this member in traces of 2021."""
    call_stack: msgspec.Raw = msgspec.field(default=NOTHING, name="Call stack")
    """In an operator of a file of 2021: its Python frames, innermost first; the text, since few are different."""
    graph_node: Number = msgspec.field(default=MISSING, name="graph node id")
    module_fqn: Number = None
    """In the event of a graph node, the qualified name of its module: compilers annotate with it."""
    fqn: Number = None
    annotation: Number = None
    """In the event of a graph node: an annotation that is no dictionary, or a list of them as JSON."""
    text: Number = msgspec.field(default=None, name="str")
    """In the event of a graph node: an annotation that is a string, by torch 2.12 and 2.13."""
    name: Number = None
    """The same by torch 2.14; in a metadata event, the name of the process or thread."""
    collective: msgspec.Raw = msgspec.field(default=NOTHING, name="Collective name")
    elements_in: msgspec.Raw = msgspec.field(default=NOTHING, name="In msg nelems")
    elements_out: msgspec.Raw = msgspec.field(default=NOTHING, name="Out msg nelems")
    ranks: msgspec.Raw = msgspec.field(default=NOTHING, name="Group size")
    dtype: msgspec.Raw = NOTHING
    group: msgspec.Raw = msgspec.field(default=NOTHING, name="Process Group Name")
    members: msgspec.Raw = msgspec.field(default=NOTHING, name="Process Group Ranks")


class Event(msgspec.Struct, gc=False):
    """One trace event. `ts` and `dur` are text (microseconds), or floats, which `nanoseconds` knows."""

    ph: str = ""
    cat: str = ""
    name: str = ""
    pid: Number = None
    tid: Number = None
    ts: msgspec.Raw = NOTHING
    dur: msgspec.Raw = NOTHING
    id: Number = None
    args: Args | None = None


NO_ARGS = Args()

DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding raises on text that is not JSON, not UTF-8, has unexpected types, or is nested too deeply."""

_Float = Annotated[float, msgspec.Meta(gt=-FARTHEST_US, lt=FARTHEST_US)]


def _kind(name: str, left_out: tuple[str, ...] = (), *, floats: bool = False) -> Any:
    """A decoder of events without some members, and with floats for times."""
    members = {field.name: (field.type, field.default) for field in msgspec.structs.fields(Event)}
    if floats:
        members["ts"] = members["dur"] = _Float, math.nan
    own = [(member, *each) for member, each in members.items() if member not in left_out]
    return msgspec.json.Decoder(list[msgspec.defstruct(name, own, gc=False)])  # type: ignore[misc]


_OtherCategory = Literal[
    "", "Trace", "Operator", "Runtime", "Memcpy", "Memset", "ac2g", "async", "collective_comm", "cpu_instant_event",
    "cpu_op", "cuda_driver", "cuda_event", "cuda_profiler_range", "cuda_runtime", "cuda_sync", "external_correlation",
    "forward_backward", "fwdbwd", "gpu_memcpy", "gpu_memset", "gpu_user_annotation", "hip_driver", "hip_runtime",
    "hpu_op", "mtia_runtime", "overhead", "privateuse1_driver", "privateuse1_runtime", "python_function",
    "user_annotation", "xpu_driver", "xpu_runtime",
]  # fmt: skip


class _Other(msgspec.Struct, gc=False):
    """An event that is no kernel, by its category; no more of it than says where it goes."""

    ph: str = ""
    cat: _OtherCategory = ""


_OTHERS: msgspec.json.Decoder[list[Event]] = msgspec.json.Decoder(list[_Other])
_WITH_FLOATS: msgspec.json.Decoder[list[Event]] = _kind("TimedEvent", floats=True)
_DECODERS: dict[Content, msgspec.json.Decoder[list[Event]]] = {
    Content.ALL: msgspec.json.Decoder(list[Event]),
    Content.KERNELS: _kind("KernelEvent", ("pid", "tid", "id", "args")),
}
_RAW_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_RAW_EVENTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_ARG_FIELDS = {field.encode_name: field.name for field in msgspec.structs.fields(Args)}
_ARG_TEXTS = {name for name in _ARG_FIELDS.values() if getattr(NO_ARGS, name) is NOTHING}


def decode(text: bytes | memoryview, content: Content = Content.ALL) -> list[Event]:
    """Decode the events in `text`, comma-separated objects; raises one of DECODE_ERRORS.

    Successful decoding also proves that `text` ends where an event ends.
    """
    return decode_array(b"".join((b"[", text, b"]")), content)


def decode_array(array: bytes | memoryview, content: Content = Content.ALL, *, floats: bool = False) -> list[Event]:
    """Decode a JSON array of events; raises one of DECODE_ERRORS.

    With Content.KERNELS, events have only what says where they go, names and times. With `floats` and all content,
    times are floats where all are numbers nearer than FARTHEST_US, which `nanoseconds` takes in half the time.
    """
    if floats:
        with suppress(msgspec.ValidationError):
            return _WITH_FLOATS.decode(array)
    try:
        return _DECODERS[content].decode(array)
    except msgspec.ValidationError:
        return [_loose(members) for members in _RAW_EVENTS.decode(array)]


def without_kernels(array: bytes) -> list[Event] | None:
    """Decode a JSON array of events to phases and categories alone, in half the time; None where that will not do.

    It does where each event is of a common category other than kernels', so that no kernel is missed. Damage is seen
    in what the decoder skips, too, but for letters that are not UTF-8. Raises one of DECODE_ERRORS.
    """
    try:
        return _OTHERS.decode(array) if array.isascii() else None
    except msgspec.ValidationError:
        return None


def _loose(members: dict[str, msgspec.Raw]) -> Event:
    """Decode an event that has a member of an unexpected type, and read such members as far as possible."""
    args: dict[str, Any] = {}
    if bytes(members.get("args", b""))[:1] == b"{":
        given = _RAW_MEMBERS.decode(members["args"])
        args = {name: given[key] for key, name in _ARG_FIELDS.items() if key in given}
        args |= {name: _number(args[name]) for name in args if name not in _ARG_TEXTS}
    return Event(
        ph=_text(members.get("ph")),
        cat=_text(members.get("cat")),
        name=_text(members.get("name")),
        pid=_number(members.get("pid")),
        tid=_number(members.get("tid")),
        ts=members.get("ts", NOTHING),
        dur=members.get("dur", NOTHING),
        id=_number(members.get("id")),
        args=Args(**args),
    )


def text_of(raw: bytes) -> str:
    """Return the text that a member holds; empty where it is no text."""
    value = msgspec.json.decode(raw) if raw else None
    return value if isinstance(value, str) else ""


def _text(raw: msgspec.Raw | None) -> str:
    if raw is None:
        return ""
    value = msgspec.json.decode(raw)
    if value is None:
        return ""
    return value if isinstance(value, str) else bytes(raw).decode("utf-8", "replace")


def _number(raw: msgspec.Raw | None) -> Number:
    if raw is None:
        return None
    try:
        value = msgspec.json.decode(raw)
    except msgspec.ValidationError:  # a number outside the range of float64
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int | str) and not isinstance(value, bool) else None


def integers(values: Sequence[Number]) -> Int64s:
    """Return a column; MISSING where the value is not an integer (texts like "12" and "0x1f" are) or not in int64."""
    try:
        return packed(values)
    except struct.error:
        return packed([_integer(value) for value in values])


def packed(values: Sequence[Any]) -> Int64s:
    """Return a column of integers, in a third of numpy's time; raises struct.error where one is none, or too large."""
    column = bytearray(8 * len(values))
    struct.pack_into(f"={len(values)}q", column, 0, *values)
    return np.frombuffer(column, np.int64)


def _integer(value: Number) -> int:
    if isinstance(value, str):
        try:
            value = int(value, 16 if value.strip().lower().startswith("0x") else 10)
        except ValueError:
            return MISSING
    return value if value is not None and -(1 << 63) <= value < 1 << 63 else MISSING


def thread_numbers(values: list[Number]) -> Int64s:
    """Process or thread ids as integers; a text that is not a number gets a negative one, the same in every file."""
    if values and not isinstance(values[0], str) and not isinstance(values[-1], str):  # a file writes all alike
        try:
            return packed(values)
        except struct.error:
            pass
    numbers = {value: thread_number(value) for value in set(values)}
    return packed([numbers[value] for value in values])


def thread_number(value: Number) -> int:
    """One process or thread id as an integer. `0_71` is a text: rank 0 and process 71, in some merged files."""
    joined = isinstance(value, str) and "_" in value  # Python would read it as 71
    number = MISSING if joined else _integer(value)
    if number == MISSING and isinstance(value, str):
        return -2 - zlib.crc32(value.encode("utf-8", "replace"))
    return number
