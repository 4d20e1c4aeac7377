"""What was recorded: host ranges on their threads, device events on their streams, arrows from calls to their work."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perfkit.analysis.attribution.attribute import Attribution, Phase
from perfkit.analysis.attribution.intervals import NONE, Ints, at
from perfkit.analysis.attribution.links import Links
from perfkit.analysis.time.account import Account
from perfkit.export.perfetto.tracks import Arg, Flows, Slices, Track, Writer, flows, present
from perfkit.trace.columns import DeviceKind, HostKind

HOST_CATEGORIES = {
    HostKind.OP: "cpu_op",
    HostKind.ANNOTATION: "user_annotation",
    HostKind.PYTHON: "python_function",
    HostKind.RUNTIME: "cuda_runtime",
    HostKind.LIBRARY: "user_annotation",
}
DEVICE_CATEGORIES = {
    DeviceKind.KERNEL: "kernel",
    DeviceKind.MEMCPY: "gpu_memcpy",
    DeviceKind.MEMSET: "gpu_memset",
}
"""Kineto's words, whatever tool recorded it: those that know Kineto's files find their way."""
LAUNCH, AUTOGRAD = "ac2g", "fwdbwd"
"""Kineto's words for arrows from a call to its work, and from a forward operation to its backward node."""
PHASES = tuple(phase.label for phase in sorted(Phase))


def host(writer: Writer, account: Account) -> None:
    """A group for each process, and in it a row for each thread that has ranges."""
    trace, view = account.trace, account.attribution.host
    slices = _host_slices(account)
    processes: dict[int, Track] = {}
    for number in np.unique(view.thread).tolist():
        thread = trace.threads[number]
        group = processes.get(thread.pid)
        if group is None:
            group = processes[thread.pid] = writer.group(f"Process {thread.pid}", rank=1000 + len(processes))
        name = f"thread {thread.tid}" + (f" ({thread.name})" if thread.name else "")
        first, last = np.searchsorted(view.thread, (number, number + 1)).tolist()
        writer.slices(group, name, number, slices.at(slice(first, last)), nests=True)


def _host_slices(account: Account) -> Slices:
    """All host ranges, in the forest's order."""
    trace, attribution = account.trace, account.attribution
    view, recorded, order = attribution.host, trace.host, attribution.host.forest.order
    ranges, is_op = attribution.ranges, view.kind == HostKind.OP
    call = recorded.arguments[order]
    args = present(
        Arg("External id", recorded.external_id[order]),
        Arg("correlation", recorded.correlation[order]),
        Arg("Sequence number", view.sequence),
        Arg("Fwd thread id", recorded.forward_thread[order]),
        *(_said(name, call, [getattr(said, part) for said in trace.arguments]) for name, part in _ARGUMENTS.items()),
        *_place(
            attribution, *(np.where(is_op, column.astype(np.int64), NONE) for column in (ranges.path, ranges.phase))
        ),
    )
    number = _numbers([HOST_CATEGORIES[kind] for kind in sorted(HostKind)])
    arrows = (_launches(account, len(order)), *_autograd(attribution.links, len(order)))
    return Slices(view.start, view.end, view.name, trace.names, number[1][view.kind], number[0], args, arrows)


_ARGUMENTS = {
    "Input Dims": "shapes",
    "Input type": "dtypes",
    "Input Strides": "strides",
    "Concrete Inputs": "values",
}


def _said(name: str, call: Ints, texts: Sequence[str]) -> Arg:
    """What the file says of arguments; those whose text is empty have none."""
    code = np.array([number if text else NONE for number, text in enumerate(texts)] + [NONE], dtype=np.int64)
    return Arg(name, code[call], texts, is_json=True)


def _place(attribution: Attribution, path: Ints, phase: Ints) -> tuple[Arg, ...]:
    """Where in the model it belongs, by perfkit."""
    return Arg("scope", path, attribution.paths), Arg("phase", phase, PHASES)


def _numbers(labels: Sequence[str]) -> tuple[tuple[str, ...], Ints]:
    """The different labels, and which of them each is."""
    texts = tuple(dict.fromkeys(labels))
    return texts, np.array([texts.index(label) for label in labels], dtype=np.int64)


def _launches(account: Account, rows: int) -> Flows:
    """Arrows out of calls; each device event has one, by its row in the file."""
    launch = account.attribution.events.launch
    work = np.flatnonzero(launch != NONE)
    return flows(rows, launch[work], work + 1, LAUNCH, is_end=False)


def _autograd(links: Links, rows: int) -> tuple[Flows, Flows]:
    """Arrows from forward operations to their backward nodes, as far as numbers in the file say so."""
    node = np.flatnonzero(links.numbered & (links.target != NONE) & ~links.guessed)
    number = node + (1 << 40)  # apart from those of launches
    return (
        flows(rows, links.target[node], number, AUTOGRAD, is_end=False),
        flows(rows, node, number, AUTOGRAD, is_end=True),
    )


def device(account: Account, rows: Ints) -> Slices:
    """Some device events, in the order of their start."""
    trace, events, recorded = account.trace, account.attribution.events, account.trace.device
    rows = rows[np.lexsort((rows, -recorded.end[rows], recorded.start[rows]))]
    has_launch = np.flatnonzero(events.launch[rows] != NONE)
    args = present(
        Arg("device", recorded.device[rows]),
        Arg("stream", recorded.stream[rows]),
        Arg("correlation", recorded.correlation[rows]),
        Arg("External id", recorded.external_id[rows]),
        Arg("bytes", recorded.bytes[rows]),
        Arg("graph node id", recorded.graph_node[rows]),
        Arg("step", events.step[rows]),
        *_place(account.attribution, events.path[rows], events.phase[rows]),
        Arg("operator", _operators(account)[rows], trace.names),
    )
    number = _numbers([DEVICE_CATEGORIES[kind] for kind in sorted(DeviceKind)])
    arrows = flows(len(rows), has_launch, rows[has_launch] + 1, LAUNCH, is_end=True)
    kind = number[1][recorded.kind[rows]]
    name = recorded.name[rows]
    return Slices(recorded.start[rows], recorded.end[rows], name, trace.names, kind, number[0], args, (arrows,))


def _operators(account: Account) -> Ints:
    """Of each device event of the file the name of the range that launched it; NONE for none."""
    view = account.attribution.host
    return at(view.name.astype(np.int64), account.attribution.events.leaf, absent=NONE)
