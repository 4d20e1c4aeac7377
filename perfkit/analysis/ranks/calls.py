"""What one rank says of its collectives: a row each, whatever the recorder and the backend.

On a device they are the kernels of communication (NCCL, RCCL), and PyTorch's operator round their launch says the
message. Gloo's run on the host: a range `gloo:all_reduce` on a thread of gloo's own, from when it is begun until its
data has arrived. Which operator asked for it is told by order, as gloo takes them in turn.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from perfkit.analysis.attribution.attribute import UNATTRIBUTED, Attribution, Phase
from perfkit.analysis.attribution.intervals import NONE, Ints, at, covered, nearest, union
from perfkit.analysis.costs.flops.collectives import size_of
from perfkit.trace.columns import HostKind, Trace
from perfkit.trace.operands import Message, messages_of, operands_of

OUTSIDE = "outside steps"
_GLOO = "gloo:"
_ASKED = "c10d::"
_KINDS = (
    ("allreduce", "all_reduce"), ("allgather", "all_gather"), ("reducescatter", "reduce_scatter"),
    ("alltoall", "all_to_all"), ("broadcast", "broadcast"), ("scatter", "scatter"), ("gather", "gather"),
    ("sendrecv", "send_recv"), ("reduce", "reduce"), ("send", "send"), ("recv", "recv"), ("barrier", "barrier"),
)  # fmt: skip
"""Words in names of collectives, of which the first that occurs decides."""
_BYTES = {"float": 4, "double": 8, "int": 4, "long int": 8, "c10::BFloat16": 2, "c10::Half": 2, "unsigned char": 1,
          "signed char": 1, "bool": 1}  # fmt: skip
"""Bytes of an element, by the names that Kineto writes of types."""
ONE_TO_ONE = ("send", "recv", "send_recv")
"""Kinds of calls that are no collectives. NCCL's kernel says send_recv where no operator says which."""
COLUMNS = ("collective", "size", "ranks", "group", "scope", "step", "start", "end", "exposed")


def kind_of(name: str) -> str:
    """The kind of a collective by any name of it: all_reduce, all_gather ...; the name itself where none is known."""
    plain = name.lower().replace("_", "")
    return next((kind for word, kind in _KINDS if word in plain), name)


def calls_of(trace: Trace, attribution: Attribution) -> pd.DataFrame:
    """One row a collective of this rank, by start: COLUMNS; times in ns of the rank's own clock.

    `size`: bytes of the whole buffer, NONE where the file does not say; `ranks`: of its group, NONE likewise;
    `exposed`: ns during which the rank computes nothing.
    """
    on_device = attribution.events.phase == Phase.COMMUNICATION
    made = (
        _of_device(trace, attribution, np.flatnonzero(on_device)) if on_device.any() else _of_gloo(trace, attribution)
    )
    frame = pd.DataFrame(dict(zip(COLUMNS, made, strict=True)))
    return frame.sort_values(["start", "end"], kind="stable", ignore_index=True)


def _of_device(trace: Trace, attribution: Attribution, rows: Ints) -> tuple[object, ...]:
    events, host = attribution.events, attribution.host
    said = (*messages_of(trace), None)
    code = trace.host.arguments[host.forest.order]
    speaks = np.array([message is not None for message in said])[code]
    operator = at(nearest(host.forest.parent, speaks), events.leaf[rows], absent=NONE)
    message = [said[index] for index in at(code, operator, absent=NONE).tolist()]  # NONE is the last, which is None
    names = trace.device_names(rows)
    step = at(np.array([step.name for step in attribution.steps], dtype=object), events.step[rows], absent=OUTSIDE)
    return (
        [kind_of(one.collective if one else name) for one, name in zip(message, names, strict=True)],
        [_known(one) for one in message],
        [one.ranks if one else NONE for one in message],
        [one.group if one else "" for one in message],
        at(np.array(attribution.paths, dtype=object), events.path[rows], absent=UNATTRIBUTED),
        step,
        trace.device.start[rows],
        trace.device.end[rows],
        events.exclusive[rows],
    )


def _known(message: Message | None) -> int:
    size = size_of(message) if message else None
    return NONE if size is None else size


def _of_gloo(trace: Trace, attribution: Attribution) -> tuple[object, ...]:
    host = attribution.host
    rows = _by_start(host.start, np.flatnonzero(host.matching(lambda name: name.startswith(_GLOO))))
    asked = _by_start(host.start, np.flatnonzero(host.matching(_asks)))
    names = [host.name_of(row) for row in rows.tolist()]
    scope = np.full(len(rows), UNATTRIBUTED, dtype=object)
    kinds = [kind_of(name.removeprefix(_GLOO)) for name in names]
    if len(asked) == len(rows):
        by_order = [kind_of(host.name_of(row)) for row in asked.tolist()]
        kinds = [own if own in ONE_TO_ONE else kind for own, kind in zip(kinds, by_order, strict=True)]
        scope = at(np.array(attribution.paths, dtype=object), attribution.ranges.path[asked], absent=UNATTRIBUTED)
    begun = host.start[asked] if len(asked) == len(rows) else host.start[rows]
    ranks = trace.recording.world_size or NONE
    size = _tensor_bytes(trace)[host.forest.order[rows]] if len(rows) else np.empty(0, np.int64)
    gathers = np.array([name.endswith("gather") for name in names], dtype=bool)  # it is given a rank's own part
    size = np.where(gathers & (size != NONE) & (ranks != NONE), size * max(ranks, 1), size)
    start, end = host.start[rows], host.end[rows]
    computes = host.matching(lambda name: name.startswith("aten::")) & (host.kind == HostKind.OP)
    hidden = covered(start, end, *union(host.start[computes], host.end[computes]))
    step = _step_at(attribution, begun)
    return kinds, size, np.full(len(rows), ranks), [""] * len(rows), scope, step, start, end, end - start - hidden


def _asks(name: str) -> bool:
    return name.startswith(_ASKED) and kind_of(name) != name


def _by_start(start: Ints, rows: Ints) -> Ints:
    return rows[np.argsort(start[rows], kind="stable")]


def _step_at(attribution: Attribution, time: Ints) -> list[str]:
    steps = sorted(attribution.steps, key=lambda step: step.start)
    index = np.searchsorted([step.start for step in steps], time, side="right") - 1
    return [
        steps[i].name if i >= 0 and when < steps[i].end else OUTSIDE
        for i, when in zip(index.tolist(), time.tolist(), strict=True)
    ]


def _tensor_bytes(trace: Trace) -> Ints:
    """Bytes of the first tensor of each host range's arguments; NONE where the file does not say."""
    operands = operands_of(trace)
    sizes = [_elements(shapes[0]) if shapes else NONE for shapes in operands.all_shapes]
    width = [_BYTES.get(types[0], NONE) if types else NONE for types in operands.all_dtypes]
    elements = at(np.array(sizes, dtype=np.int64), operands.shapes.astype(np.int64), absent=NONE)
    each = at(np.array(width, dtype=np.int64), operands.dtypes.astype(np.int64), absent=NONE)
    return np.where((elements > 0) & (each > 0), elements * each, NONE)


def _elements(operand: object) -> int:
    """The number of elements of a tensor by its sizes; NONE of a list of tensors, and of what is no tensor."""
    if not isinstance(operand, tuple) or not operand or not all(isinstance(size, int) for size in operand):
        return NONE
    return int(np.prod(operand))
