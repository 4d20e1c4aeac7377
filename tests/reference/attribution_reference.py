"""A slow, plain reference of the attribution rules: time per scope and phase, from raw Chrome-trace events.

It was written from the rules alone (docs/attribution.md uses the same numbers), without looking at
`perfkit.analysis`, so that the two can be compared. It aims to be obviously right, not fast.

Where a rule can be read in more than one way, this file reads it as follows:

A1.  Rule 1: the us-resolution test looks at `ts` of the complete events in use (host ranges and GPU events).
     Digits below a nanosecond are cut off; a negative `dur` counts as 0.
A2.  Rule 2, "runtime events last": among ranges with equal ts, whatever their end. Ties are then broken by `Ev Idx`
     (a range without one uses its position in the file instead), then by the order in the file.
A3.  Rule 2, "runtime events are leaves": a runtime event is never a parent.
A4.  Rule 3, External id as a fallback: it is looked up among cpu_op events only, and the first in the file counts.
     An event found this way counts as launched. A launch without an enclosing range is
     `other`, but on a thread without ranges (A19).
A5.  Rule 4: any host range can carry a sequence number; a missing `Fwd thread id` counts as 0.
A6.  Rule 5: it means the first such descendant (in forest order) that has a sequence number itself.
A7.  Rule 6: one vote per flow whose `f` end lies exactly on the start of a range with `Fwd thread id` > 0 in
     the same thread, given to the thread of the `s` end; ids with a vote from flows ignore sequence numbers.
     Otherwise the distinct sequence numbers of the id's nodes count, per thread of the same process. On equal
     counts the thread whose first forward-type op comes earlier in the file wins.
A8.  Rules 7 and 8: "last-started" and "last ... before" go by forest order, which breaks ties of ts; a link
     may have the same ts as the node, unless the operation runs in a node that starts with it (it came after
     that node and did not make it).
     A number counts as carried if any forward-type op of the thread has it, even a later one. Only nodes of views
     that were written to (`CopySlices`, `AsStridedBackward*`) go elsewhere without one: to the op with the largest
     smaller number (of several, the last-started one), provided that the thread has a larger number too, and that
     no node of another kind on that forward thread has a number in between. TorchScript's nodes go to the first op
     with the next number, whatever carries their own. If the op did not start before the node, it has no link. Ops
     inside `<forward op>` make no node; they still count as carrying.
A9.  Rule 8 applies to nodes named `*AccumulateGrad*` that rule 7 did not link: they go where the last engine's
     range with a number, own or plumbed, goes, which may be nowhere. Other accumulations of rule 8 are passed over.
     A mark (`perfkit.grad::`) counts for the nearest node around it, if that is named `*AccumulateGrad*`, and
     then for the nearest node around that one, if it is an engine's range of such a name and the first one is
     not. Of several marks the first in forest order counts. Marks count with perfkit's own scopes only, and a
     scope inside the node takes precedence over them.
A10. Rule 9: an instance "contains" its descendants in the forest, not itself; "inside a backward node" means
     that some ancestor is one. Names are compared in full (`occurs outside`), not as paths. Only plain
     annotations are tested. "In the same node" means the same nearest node; the op or scope around an instance
     can be any ancestor between the instance and that node.
A11. Rule 10: Q is the nearest self-or-ancestor with a sequence number of its own. Q's "own node" is any node
     with Q's key (thread, sequence number), whichever operation of that key rule 7 links it to; "after B ended"
     is ts(node) >= end(B), for at least one such node. (Recorded double backwards settled this: operations that
     only peek at the number a later one uses up are no recomputation.)
A12. Rule 10, last point: a forward thread hosts a forward-type op outside every backward node. (Recomputation
     puts forward-type ops on the autograd thread as well; those do not make it one.)
A13. Rule 11: at most 8 links are followed; an event still without a scope then is `<unattributed>`. `how` is
     what the first step used (seq and accumulate: the link of B), also when no scope turns up in the end
     (the loss, outside every module); `none` is for no scope and no link to follow. The share of `seq` in
     section 4 (resnet, 87.56 %) follows this reading. For work run again outside the scopes that open again: "the
     scope around" a scope is found by rule 11 for that scope's parent, without this correction, which is not
     applied to ranges on the way either. A scope "opens again" inside a node if a scope of the same name has that
     node as its nearest. At most 64 scopes are searched.
A14. Rule 12 is applied whenever the scope found lies inside a backward node B, whatever the phase of the
     event and by however many links it was reached. "The path of link(B)'s scope" is found by rules 11 and 12
     again. P may be all of that path, or empty. Known forward paths are those of the scopes outside every
     backward node; without a match the bare chain is the path. Scopes outside B never enter the chain.
A15. perfkit's phases are words like others (A19), and its optimizer and zero_grad are the optimizer's own ranges like
     torch.optim's. In those a forward operation counts only if every node with its number starts before the range
     ends, and there is one: a closure's. A module's call further in than they are makes them no hindrance.
     The thread test comes after the words.
     Optimizers: "directly in" (rule 11) means that no scope and no node is between, nor is the range itself one, and
     that Q, if it is between, does not count as forward by what is said above. Of nested optimizers' ranges the
     innermost counts.
A16. Rule 13: comm is recognised by the name of kernels, case-sensitive; `nccl*` and `rccl*` are prefixes.
A17. CPU-only: the main thread is the one with the most `ProfilerStep#` time, else `perfkit.step::` time, else the
     one with a user's steps (rule 16, by name), else the one whose tid is its pid, else that of the first host range.
     Everything in the subtree of an outermost step range is "inside"; with a user's steps, all of the thread is.
     Under the us tolerance a child may end after its parent: both
     its own time and its children's are then clipped, at every level, or else the sum would not be exact.
     The step's own remainder resolves like any other range (so a scope around the step would get it).
A18. "Exclusive" goes by `args.device` (the pid where it is missing) and the pid, which merged files keep apart;
     ties of start inside a class go by file order; an event of zero length gets nothing.
A19. Words: names are split at capitals and at whatever is no letter. `forward`, `fwd`; `backward`, `bwd`; `optimizer`,
     `optim`, zero and grad, clip and grad; two phases in one name cancel out. Loss (forward) and names of loading,
     evaluation and logging (`other`) count where no other word does. The last part of a dotted name comes first.
     A thread without ranges has none but driver calls and those of libraries; the range that is open "innermost" on
     another thread is the last in forest order that has begun and not ended.
A20. Rule 9, annotations beside better scopes: all the rules are applied a second time as if annotations were the only
     scopes. What the first pass leaves without a scope has that of the second, if any; phases are of the first.
A21. Rule 16: only its ranges by name are here, since ranges that merely repeat change no row. Of several threads of
     a process with such ranges, the one with most time in them counts, and then the first in the file.
"""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

COMMUNICATION = "<communication>"
UNATTRIBUTED = "<unattributed>"
MAX_HOPS = 8
MAX_NESTING = 64

RUNTIME_CATS = ("cuda_runtime", "cuda_driver")
HOST_CATS = ("cpu_op", "user_annotation", "python_function", *RUNTIME_CATS)
GPU_KINDS = {"kernel": "kernel", "gpu_memcpy": "memcpy", "gpu_memset": "memset"}

MODULE_PREFIX = "perfkit::"
RECOMPUTE_PREFIX = "perfkit.recompute::"
MARK_PREFIX = "perfkit.grad::"
PHASE_PREFIX = "perfkit.phase::"
STEP_PREFIX = "perfkit.step::"
# Phases of perfkit's step that run outside every module and are therefore scopes of their own.
PHASE_SCOPES = ("perfkit.phase::loss",)
UPDATE_PREFIX = "perfkit.update::"
OPTIMIZER_PREFIXES = {
    "Optimizer.step": "optimizer",
    "Optimizer.zero_grad": "zero_grad",
    "perfkit.phase::optimizer": "optimizer",
    "perfkit.phase::zero_grad": "zero_grad",
}
NN_MODULE_PREFIX = "nn.Module: "
EVALUATE_PREFIX = "autograd::engine::evaluate_function: "

NOT_A_SCOPE = (
    "ProfilerStep#",
    "Optimizer.",
    # collectives
    "nccl:",
    "gloo:",
    "mpi:",
    "ucc:",
    "hccl:",
    "xccl:",
    "rccl:",
    "c10d::",
    "record_param_comms",
    # wrappers round a whole model
    "DistributedDataParallel",
    "DataParallel.",
    "FullyShardedDataParallel.forward",
    "perfkit.phase::",
    "perfkit.grad::",
    "perfkit.recompute::",
    "perfkit.backward::",
    "perfkit.update::",
    "perfkit.step::",
    "perfkit.warmup::",
    # wrappers of torch.compile
    "TorchDynamo Cache Lookup",
    "Torch-Compiled Region",
    "Pregraph bytecode",
    "AOTDispatcher Runtime Wrapper Prologue",
    "CompiledFunction",
    "## Call CompiledFxGraph",
)

STEP_WORDS = {"step", "iteration", "iter", "batch", "epoch", "train", "training", "decode", "prefill"}
NO_STEP_WORDS = {
    "forward",
    "backward",
    "optimizer",
    "opt",
    "loss",
    "data",
    "load",
    "wait",
    "layer",
    "block",
    "layers",
    "norm",
}

Thread = tuple[Any, Any]
Path_ = tuple[str, ...]


@dataclass(eq=False)
class Host:
    """A host range, and what the rules derive for it."""

    name: str
    cat: str
    thread: Thread
    ts: int
    end: int
    ev_idx: int | None
    external_id: int | None
    correlation: int | None
    own_seq: int  # -1: none
    own_fwd_tid: int
    file_index: int
    # the forest
    position: int = -1  # in the order of rule 2, within the thread
    parent: Host | None = None
    children: list[Host] = field(default_factory=list, repr=False)
    depth: int = 0
    # backward nodes
    seq: int = -1  # own, or plumbed by rule 5
    fwd_tid: int = 0
    link: Host | None = None
    link_how: str = "none"  # seq | guess | accumulate | none
    mark: Host | None = None  # of a gradient's accumulation: what names the parameter's module
    key_nodes: list[Host] = field(default_factory=list, repr=False)  # nodes with this op's thread and number
    # scopes
    scope_name: str | None = None  # a candidate of rule 9
    is_scope: bool = False
    is_own_step: bool = False  # a user's range that serves as a step
    contains_forward_op: bool = False

    @property
    def is_runtime(self) -> bool:
        return self.cat in RUNTIME_CATS

    @property
    def is_forward_op(self) -> bool:
        return self.own_seq >= 0 and self.own_fwd_tid == 0

    @property
    def is_node(self) -> bool:
        return (
            self.name.startswith(EVALUATE_PREFIX)
            or (self.own_seq >= 0 and self.own_fwd_tid > 0)
            or "AccumulateGrad" in self.name
        )

    @property
    def is_accumulation(self) -> bool:
        return "AccumulateGrad" in self.name

    @property
    def is_engine_range(self) -> bool:
        return self.name.startswith(EVALUATE_PREFIX)

    @property
    def is_numbered_node(self) -> bool:
        return self.is_node and self.seq >= 0 and self.fwd_tid > 0 and not self.name.endswith("GraphRoot")


@dataclass(eq=False)
class Gpu:
    """A kernel, memcpy or memset, and where its time goes."""

    name: str
    kind: str  # kernel | memcpy | memset
    device: Any
    ts: int
    end: int
    correlation: int | None
    external_id: int | None
    file_index: int
    launch: Host | None = None
    leaf: Host | None = None
    exclusive_ns: int = 0
    scope: str = UNATTRIBUTED
    phase: str = "unlaunched"
    how: str = "nolaunch"

    @property
    def is_communication(self) -> bool:
        if self.kind != "kernel":
            return False
        if self.name.startswith(("nccl", "rccl")):
            return True
        plain = self.name.partition("(")[0].lower().replace("_", "")
        if any(word in plain for word in ("crossdevicereduce", "allreduce", "reducescatter", "multimem", "nvshmem")):
            return True
        return "deepep::" in plain and ("::dispatch" in plain or "::combine" in plain)

    @property
    def priority(self) -> int:
        if self.is_communication:
            return 1
        return 2 if self.kind == "memcpy" else 0


@dataclass
class Result:
    """The result of the rules for a trace."""

    rows: dict[tuple[str, str], tuple[int, int, int]]  # (scope, phase) -> (count, total_ns, exclusive_ns)
    how: dict[str, tuple[int, int]]  # how -> (count, total_ns), every GPU event (CPU-only: range) once
    how_by_phase: dict[tuple[str, str], tuple[int, int]]  # (phase, how) -> (count, total_ns)
    nodes_linked: int
    nodes_total: int
    flows: int
    scope_source: str  # perfkit | nn_module | annotation
    cpu_only: bool
    gpu: list[Gpu]  # in the order of the file
    host: list[Host]  # in the order of the file
    wall_ns: int = 0  # CPU-only: the time that the rows add up to

    def phase_total(self, phase: str) -> int:
        return sum(total for (_, row_phase), (_, total, _) in self.rows.items() if row_phase == phase)

    def top_scopes(self, count: int = 3) -> list[tuple[str, int]]:
        """The largest scopes by the last name of their path, all phases together, special rows left out."""
        totals: Counter[str] = Counter()
        for (scope, _), (_, total, _) in self.rows.items():
            if scope not in (COMMUNICATION, UNATTRIBUTED):
                totals[scope.rsplit("/", 1)[-1] if self.scope_source != "perfkit" else scope] += total
        return sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:count]


# -- reading -------------------------------------------------------------------------------------------------


def load(path: str | Path) -> list[dict[str, Any]]:
    """The events of a trace file; numbers with a point come as Decimal, so nothing is lost."""
    raw = Path(path).read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    document = json.loads(raw, parse_float=Decimal)
    events: list[dict[str, Any]] = document["traceEvents"] if isinstance(document, dict) else document
    return events


def to_ns(microseconds: Any) -> int:
    """Microseconds (int or Decimal) as whole nanoseconds."""
    if isinstance(microseconds, float):
        raise TypeError("read the JSON with parse_float=Decimal")
    return int(Decimal(microseconds) * 1000)


def read_hosts(events: list[dict[str, Any]]) -> list[Host]:
    hosts = []
    for index, event in enumerate(events):
        if event.get("ph") != "X" or event.get("cat") not in HOST_CATS:
            continue
        args = event.get("args", {})
        start = to_ns(event["ts"])
        own_seq = args.get("Sequence number", -1)
        own_fwd_tid = args.get("Fwd thread id", 0)
        hosts.append(
            Host(
                name=event["name"],
                cat=event["cat"],
                thread=(event["pid"], event["tid"]),
                ts=start,
                end=start + max(0, to_ns(event.get("dur", 0))),
                ev_idx=args.get("Ev Idx"),
                external_id=args.get("External id"),
                correlation=args.get("correlation"),
                own_seq=own_seq,
                own_fwd_tid=own_fwd_tid,
                file_index=index,
                seq=own_seq,
                fwd_tid=own_fwd_tid,
            )
        )
    return hosts


def read_gpu(events: list[dict[str, Any]]) -> list[Gpu]:
    gpu = []
    for index, event in enumerate(events):
        if event.get("ph") != "X" or event.get("cat") not in GPU_KINDS:
            continue
        args = event.get("args", {})
        start = to_ns(event["ts"])
        gpu.append(
            Gpu(
                name=event["name"],
                kind=GPU_KINDS[event["cat"]],
                device=(args.get("device", event.get("pid")), event.get("pid")),
                ts=start,
                end=start + max(0, to_ns(event.get("dur", 0))),
                correlation=args.get("correlation"),
                external_id=args.get("External id"),
                file_index=index,
            )
        )
    return gpu


def tolerance(hosts: list[Host], gpu: list[Gpu]) -> int:
    """Rule 1: 1000 ns where every timestamp is a whole microsecond."""
    return 1000 if all(event.ts % 1000 == 0 for events in (hosts, gpu) for event in events) else 0


# -- rule 2: the forest --------------------------------------------------------------------------------------


def forest_order(host: Host) -> tuple[Any, ...]:
    index = host.file_index if host.ev_idx is None else host.ev_idx
    return (host.ts, host.is_runtime, -host.end, index, host.file_index)


def build_forest(hosts: list[Host], tol: int) -> dict[Thread, list[Host]]:
    """Rule 2: give every range its parent; return the ranges of each thread in forest order."""
    threads: dict[Thread, list[Host]] = defaultdict(list)
    for host in hosts:
        threads[host.thread].append(host)
    for ranges in threads.values():
        ranges.sort(key=forest_order)
        candidates: list[Host] = []  # previous ranges that can still be a parent
        for position, host in enumerate(ranges):
            host.position = position
            # Starts only grow: what fails `end > ts or same ts` now fails for all later ranges too.
            candidates = [c for c in candidates if c.end > host.ts or c.ts == host.ts]
            for candidate in reversed(candidates):
                if candidate.end + tol >= host.end:
                    host.parent = candidate
                    host.depth = candidate.depth + 1
                    candidate.children.append(host)
                    break
            if not host.is_runtime:
                candidates.append(host)
    return threads


def chain(host: Host | None) -> Iterator[Host]:
    """The range itself and its ancestors, innermost first."""
    while host is not None:
        yield host
        host = host.parent


def descendants(host: Host) -> Iterator[Host]:
    """All ranges under this one, in forest order."""
    pending = list(reversed(host.children))
    while pending:
        found = pending.pop()
        yield found
        pending.extend(reversed(found.children))


def nearest_node(host: Host | None) -> Host | None:
    return next((h for h in chain(host) if h.is_node), None)


def nearest_scope(host: Host | None) -> Host | None:
    return next((h for h in chain(host) if h.is_scope), None)


# -- rule 3: launches ----------------------------------------------------------------------------------------


def find_launches(hosts: list[Host], gpu: list[Gpu]) -> None:
    runtime = [h for h in hosts if h.is_runtime]
    launches: dict[int, Host] = {}
    for host in sorted(runtime, key=forest_order):
        if host.correlation is not None:
            launches.setdefault(host.correlation, host)

    same = sum(1 for h in runtime if h.external_id is not None and h.external_id == h.correlation)
    ids_are_correlations = bool(runtime) and same / len(runtime) > 0.5
    ops: dict[int, Host] = {}
    if not ids_are_correlations:
        for host in hosts:
            if host.cat == "cpu_op" and host.external_id is not None:
                ops.setdefault(host.external_id, host)

    for event in gpu:
        if event.correlation is not None and event.correlation in launches:
            event.launch = launches[event.correlation]
            event.leaf = event.launch.parent
        elif event.external_id is not None:
            event.leaf = ops.get(event.external_id)


# -- rules 4 to 8: from backward nodes to forward ops --------------------------------------------------------


def plumb(hosts: list[Host]) -> None:
    """Rule 5."""
    for host in hosts:
        if host.name.startswith(EVALUATE_PREFIX) and host.own_seq < 0:
            wanted = host.name.removeprefix(EVALUATE_PREFIX)
            for below in descendants(host):
                if below.name == wanted and below.own_seq >= 0 and below.own_fwd_tid > 0:
                    host.seq, host.fwd_tid = below.own_seq, below.own_fwd_tid
                    break


def read_flows(events: list[dict[str, Any]]) -> list[tuple[Thread, Thread, int]]:
    """The fwdbwd arrows: (thread of the forward op, thread of the node, start of the node)."""
    starts: dict[Any, Any] = {}
    finishes: dict[Any, Any] = {}
    for event in events:
        if event.get("cat") == "fwdbwd" and event.get("ph") in ("s", "f"):
            (starts if event["ph"] == "s" else finishes)[event["id"]] = event
    flows = []
    for flow_id, finish in finishes.items():
        if flow_id in starts:
            start = starts[flow_id]
            flows.append(
                ((start["pid"], start["tid"]), (finish["pid"], finish["tid"]), to_ns(finish["ts"])),
            )
    return flows


def map_threads(hosts: list[Host], flows: list[tuple[Thread, Thread, int]]) -> dict[tuple[Any, int], Thread | None]:
    """Rule 6: (pid, Fwd thread id) -> the thread of its forward ops."""
    seqs_of_thread: dict[Thread, set[int]] = {}  # in the order of the first forward-type op in the file
    for host in hosts:
        if host.is_forward_op:
            seqs_of_thread.setdefault(host.thread, set()).add(host.own_seq)
    order = {thread: number for number, thread in enumerate(seqs_of_thread)}

    flow_votes: dict[tuple[Any, int], Counter[Thread]] = defaultdict(Counter)
    for forward_thread, node_thread, node_ts in flows:
        met = {h.fwd_tid for h in hosts if h.thread == node_thread and h.ts == node_ts and h.own_fwd_tid > 0}
        for fwd_tid in met:
            flow_votes[node_thread[0], fwd_tid][forward_thread] += 1

    seqs_of_id: dict[tuple[Any, int], set[int]] = defaultdict(set)
    for host in hosts:
        if host.is_node and host.seq >= 0 and host.fwd_tid > 0:
            seqs_of_id[host.thread[0], host.fwd_tid].add(host.seq)

    mapping: dict[tuple[Any, int], Thread | None] = {}
    for key, seqs in seqs_of_id.items():
        votes = flow_votes.get(key)
        if not votes:
            votes = Counter()
            for thread, thread_seqs in seqs_of_thread.items():
                if thread[0] == key[0] and seqs & thread_seqs:
                    votes[thread] = len(seqs & thread_seqs)
        ranked = sorted(votes, key=lambda t: (-votes[t], order.get(t, len(order))))
        mapping[key] = ranked[0] if ranked else None
    return mapping


def link_nodes(hosts: list[Host], threads: dict[Thread, list[Host]], flows: list[Any]) -> None:
    """Rules 7 and 8."""
    mapping = map_threads(hosts, flows)
    forward_ops: dict[tuple[Thread, int], list[Host]] = defaultdict(list)
    for thread, ranges in threads.items():
        for host in ranges:
            if host.is_forward_op:
                forward_ops[thread, host.own_seq].append(host)

    numbers_of_others: dict[Thread, set[int]] = defaultdict(set)
    for host in hosts:
        thread = mapping[host.thread[0], host.fwd_tid] if host.is_numbered_node else None
        if thread is not None and kind_of(host) != "view":
            numbers_of_others[thread].add(host.seq)

    for host in hosts:
        thread = mapping[host.thread[0], host.fwd_tid] if host.is_numbered_node else None
        if thread is None:
            continue
        same_key = forward_ops.get((thread, host.seq), [])
        candidates, how = candidates_of(host, thread, forward_ops, numbers_of_others)
        earlier = [op for op in candidates if op.ts < host.ts or (op.ts == host.ts and not starts_with_its_node(op))]
        if earlier:
            host.link, host.link_how = earlier[-1], how
        for op in same_key:
            op.key_nodes.append(host)

    follow_with_accumulations(threads)


def follow_with_accumulations(threads: dict[Thread, list[Host]]) -> None:
    """Rule 8."""
    for ranges in threads.values():
        last_node: Host | None = None
        for host in ranges:
            if host.is_node and host.link is None and host.is_accumulation:
                if last_node is not None:
                    host.link, host.link_how = last_node.link, "accumulate"
            elif host.is_engine_range and host.seq >= 0:
                last_node = host


def kind_of(node: Host) -> str:
    """Whether a node is made in an assignment to a view, by TorchScript, or by an operation of its own."""
    name = node.name.removeprefix(EVALUATE_PREFIX).split("::")[-1]
    if name == "CopySlices" or name.startswith("AsStridedBackward"):
        return "view"
    return "script" if name == "DifferentiableGraphBackward" else "other"


def candidates_of(
    node: Host, thread: Thread, ops: dict[tuple[Thread, int], list[Host]], others: dict[Thread, set[int]]
) -> tuple[list[Host], str]:
    """Rule 7: the operations that may have made a node, in forest order, and how that is known.

    `others` has the numbers of the nodes that are not made in an assignment to a view, by forward thread.
    """
    same_key = ops.get((thread, node.seq), [])
    if kind_of(node) == "script":
        return ops.get((thread, node.seq + 1), [])[:1], "guess"
    if same_key or kind_of(node) == "other":
        return [op for op in same_key if not in_script(op)], "seq"
    numbers = [number for at, number in ops if at == thread]
    below = max((number for number in numbers if number < node.seq), default=None)
    if below is None or max(numbers) < node.seq:
        return [], "guess"
    missing = any(below < number < node.seq for number in others[thread])
    return ([] if missing else ops[thread, below][-1:]), "guess"


def in_script(op: Host) -> bool:
    return any(h.name in ("<forward op>", "<foward op>") for h in chain(op))


def mark_accumulations(hosts: list[Host]) -> None:
    """Rule 8: use perfkit's mark, if there is one, to find the parameter's module."""
    marks = [h for h in hosts if h.name.startswith(MARK_PREFIX)]
    for mark in sorted(marks, key=lambda h: h.position):
        node = nearest_node(mark)
        if node is None or not node.is_accumulation:
            continue
        node.mark = node.mark or mark
        around = nearest_node(node.parent)
        if around is not None and around.is_engine_range and around.is_accumulation and not node.is_engine_range:
            around.mark = around.mark or mark


def starts_with_its_node(op: Host) -> bool:
    node = nearest_node(op)
    return node is not None and node.ts == op.ts


# -- rule 9: scopes ------------------------------------------------------------------------------------------


def mark_scopes(hosts: list[Host], only: str = "") -> str:
    """Rule 9: set the scopes; return where they come from, which is `only` if that is given."""
    if only:
        source = only
    elif any(is_perfkit_module(h) for h in hosts):
        source = "perfkit"
    elif any(is_nn_module(h) for h in hosts):
        source = "nn_module"
    else:
        source = "annotation"
    for host in hosts:
        host.scope_name = scope_name(host, source)
        if host.is_forward_op:
            for above in chain(host.parent):
                above.contains_forward_op = True

    inside = {h for h in hosts if h.scope_name is not None and nearest_node(h.parent) is not None}
    names_outside = {h.scope_name for h in hosts if h.scope_name is not None and h not in inside}
    for host in hosts:
        if host.scope_name is None:
            continue
        host.is_scope = source != "annotation" or host not in inside
    if source == "annotation":
        eligible = [h for h in inside if h.scope_name in names_outside]
        counts = {h for h in eligible if h.contains_forward_op or any(a.is_forward_op for a in inside_node(h))}
        for host in eligible:
            host.is_scope = host in counts or any(a in counts for a in inside_node(host))
    return source


def inside_node(host: Host) -> Iterator[Host]:
    """The ancestors of a range up to its nearest node, that one left out."""
    for above in chain(host.parent):
        if above.is_node:
            return
        yield above


def is_perfkit_module(host: Host) -> bool:
    return host.cat in ("cpu_op", "user_annotation") and host.name.startswith((MODULE_PREFIX, RECOMPUTE_PREFIX))


def is_optimizers_own(host: Host) -> bool:
    names = ("Optimizer.step", "Optimizer.zero_grad", "perfkit.phase::optimizer", "perfkit.phase::zero_grad")
    return host.name.startswith((*names, UPDATE_PREFIX))


def used_before(operation: Host, end: int) -> bool:
    """Whether the operation's number made nodes, all of which began before the end."""
    return bool(operation.key_nodes) and all(node.ts < end for node in operation.key_nodes)


LIBRARY = re.compile("(nccl|rccl|cublas|cudnn)[A-Z]|cub::|thrust::|(gloo|nccl|mpi|ucc):|record_param_comms|c10d::")
OWN_PHASES = {"forward": "forward", "loss": "forward", "backward": "backward", "hooks": "other"}
LOADING = ("dataload", "loadbatch", "loaddata", "todevice", "hosttodevice", "waitforbatch", "waitfortrainingbatch")


def said_by(host: Host) -> str | None:
    """The phase that the words of a range's name say (A19)."""
    name = host.name
    if host.is_runtime or host.cat == "python_function":
        return None
    if is_optimizers_own(host):
        return "optimizer"
    if name.startswith("perfkit"):
        return OWN_PHASES.get(name.removeprefix(PHASE_PREFIX)) if name.startswith(PHASE_PREFIX) else None
    if host.cat == "cpu_op" and re.match("[a-z_][a-z_0-9]*::", name):
        if re.search(r"_backward(_data|_input|_weight)?\b", name):
            return "backward"
        return "optimizer" if re.match("aten::_(fused_(adam|adamw|adagrad|sgd)_|amp_)", name) else None
    last = re.split(r"\.|::", name)[-1]
    return said_by_words(last) or said_by_words(name)


def said_by_words(text: str) -> str | None:
    words = re.findall("[a-z]+", re.sub("([a-z])([A-Z])", r"\1 \2", text).lower())
    joined = "".join(words)
    if "feedforward" in joined:
        return None
    said = set()
    if {"forward", "fwd"} & set(words):
        said.add("forward")
    if {"backward", "bwd"} & set(words):
        said.add("backward")
    if {"optimizer", "optim"} & set(words) or any(w in joined for w in ("optstep", "zerograd", "clipgrad")):
        said.add("optimizer")
    if said:
        return said.pop() if len(said) == 1 else None
    loading = any(word in joined for word in LOADING)
    other = loading or bool({"eval", "evaluate", "validation", "metric", "metrics", "logging"} & set(words))
    loss = "loss" in words
    if loss and other:
        return None
    return "forward" if loss else "other" if other else None


def is_nn_module(host: Host) -> bool:
    return host.cat == "python_function" and host.name.startswith(NN_MODULE_PREFIX)


def scope_name(host: Host, source: str) -> str | None:
    if source == "perfkit":
        if host.cat in ("cpu_op", "user_annotation") and host.name in PHASE_SCOPES:
            return host.name.removeprefix(PHASE_PREFIX)
        return host.name.partition("::")[2] if is_perfkit_module(host) else None
    if source == "nn_module":
        return host.name.removeprefix(NN_MODULE_PREFIX) if is_nn_module(host) else None
    is_scope = host.cat == "user_annotation" and not host.name.startswith(NOT_A_SCOPE)
    return host.name if is_scope and not LIBRARY.match(host.name) else None


# -- rule 16: steps ------------------------------------------------------------------------------------------


def mark_steps(hosts: list[Host]) -> None:
    """Rule 16, by name: the outermost ranges that repeat and are called steps, if nothing else is a step."""
    if any(h.name.startswith(("ProfilerStep#", STEP_PREFIX)) for h in hosts):
        return
    common: dict[tuple[Thread, str], list[Host]] = defaultdict(list)
    for host in hosts:
        if host.cat == "user_annotation" and "::" not in host.name and not host.name.startswith(NOT_A_SCOPE):
            common[host.thread, re.sub(r"\[.*?\]|\(.*?\)|\d+", "#", host.name)].append(host)
    repeated = {h for group in common.values() if len(group) > 1 for h in group}
    time_of: dict[Any, Counter[Thread]] = defaultdict(Counter)
    steps = []
    for host in hosts:
        if host in repeated and not any(a in repeated for a in chain(host.parent)) and is_called_step(host.name):
            steps.append(host)
            time_of[host.thread[0]][host.thread] += host.end - host.ts
    outermost = [h for h in repeated if not any(a in repeated for a in chain(h.parent))]
    halves = {h.thread for h in outermost if {"backward", "bwd"} & words_of(h.name)}
    launching = {h.thread for h in hosts if h.is_runtime}
    for process, times in time_of.items():
        able = {thread: time for thread, time in times.items() if thread in launching} or times
        busiest = max(able, key=lambda thread: able[thread])
        for host in steps:
            if host.thread[0] == process:
                host.is_own_step = host.thread == busiest and busiest not in halves


def words_of(name: str) -> set[str]:
    return set(re.findall("[a-z]+", re.sub(r"\[.*?\]|\(.*?\)", "", name).lower()))


def is_called_step(name: str) -> bool:
    words = words_of(name)
    return bool(words & STEP_WORDS) and not words & NO_STEP_WORDS


# -- rules 10 to 12: phase, scope, path ----------------------------------------------------------------------


class Resolver:
    """Phase and scope of any host range, once nodes are linked and scopes are marked."""

    def __init__(self, hosts: list[Host], scope_source: str, annotated: Resolver | None = None) -> None:
        self.hosts = {h.file_index: h for h in hosts}
        self.annotated = annotated  # of another copy of the ranges, with annotations as the only scopes
        self.joined = scope_source != "perfkit"
        self.threads: dict[Thread, list[Host]] = defaultdict(list)
        for host in sorted(hosts, key=lambda h: h.position):
            self.threads[host.thread].append(host)
        self.node_threads = {h.thread for h in hosts if h.is_node}
        self.forward_threads = {h.thread for h in hosts if h.is_forward_op and nearest_node(h) is None}
        self.last_of = {(h.thread, h.own_seq): h for ranges in self.threads.values() for h in ranges if h.is_forward_op}
        self.opened = {(nearest_node(h), h.scope_name) for h in hosts if h.is_scope}
        self.known_paths: set[Path_] = {self.bare_chain(h) for h in hosts if h.is_scope and nearest_node(h) is None}

    def phase(self, host: Host) -> str:
        """Rule 10."""
        node = nearest_node(host)
        if node is not None:
            return self.phase_in_node(host, node)
        scope = nearest_scope(host)
        if scope is not None and scope.name.startswith(RECOMPUTE_PREFIX):
            return "recompute"
        above = list(chain(host))
        own = next((h for h in above if is_optimizers_own(h)), None)
        call = next((h for h in above if is_perfkit_module(h) or is_nn_module(h)), None)
        if call is not None and own is not None and call.depth > own.depth:
            own = None
        operation = next((h for h in above if h.own_seq >= 0), None)
        if call is not None and (own is None or call.depth > own.depth):
            return "forward"
        words = next((word for h in above if (word := said_by(h)) is not None), None)
        if operation is not None and operation.is_forward_op and (own is None or used_before(operation, own.end)):
            made_one = any(h.is_forward_op and self.last_with_number(h).ts < h.end for h in above)
            if words is None or made_one:
                return "forward"
        if words is not None:
            return words
        bare = host.is_runtime and host.parent is None
        if not bare and host.thread in self.node_threads and host.thread not in self.forward_threads:
            return "backward"
        return self.open_elsewhere(host) or "other"

    def last_with_number(self, operation: Host) -> Host:
        """The one that made the node, if any did: the last that started on the thread with the number."""
        return self.last_of[operation.thread, operation.own_seq]

    def open_elsewhere(self, host: Host) -> str | None:
        """On a thread without ranges of its own: what the innermost open words of the other threads say."""
        if any(not h.is_runtime and not LIBRARY.match(h.name) for h in self.threads[host.thread]):
            return None
        said = set()
        for thread, ranges in self.threads.items():
            if thread == host.thread or thread[0] != host.thread[0]:
                continue
            words = [said_by(h) for h in ranges if h.ts <= host.ts < h.end]
            if words := [word for word in words if word is not None]:
                said.add(words[-1])
        return said.pop() if len(said) == 1 else None

    def phase_in_node(self, host: Host, node: Host) -> str:
        scope = nearest_scope(host)
        if scope is not None and scope.depth > node.depth:
            return "recompute"
        return "recompute" if self.is_run_again(host, node) else "backward"

    def is_run_again(self, host: Host, node: Host) -> bool:
        """Whether the range is in a forward-type op inside the node, and is not double backward."""
        op = next((h for h in chain(host) if h.own_seq >= 0), None)
        if op is None or not op.is_forward_op or op.depth <= node.depth:
            return False
        return all(later.ts < node.end for later in op.key_nodes)

    def find_scope(self, host: Host) -> tuple[Host | None, str]:
        """Rule 11: the scope (or the mark that names it), and how it was found."""
        scope, how = self.follow(host)
        node = nearest_node(host)
        own = nearest_scope(host)
        if node is None or not self.is_run_again(host, node) or (own is not None and own.depth > node.depth):
            return scope, how
        for _ in range(MAX_NESTING):
            if scope is None or (node, scope.scope_name) not in self.opened:
                break
            scope = self.follow(scope.parent)[0] if scope.parent is not None else None
        return scope, how

    def follow(self, host: Host) -> tuple[Host | None, str]:
        """Rule 11 without its part about plain functions."""
        at: Host | None = host
        how = "scope"
        for _ in range(MAX_HOPS + 1):
            scope, node = nearest_scope(at), nearest_node(at)
            if node is None or (scope is not None and scope.depth > node.depth):
                return scope, "none" if scope is None and how == "scope" else how
            if node.mark is not None and not self.joined:
                return node.mark, "parameter" if how == "scope" else how
            if how == "scope":
                how = node.link_how
            if node.link is None:
                return None, how
            at = node.link
        return None, how

    def bare_chain(self, scope: Host) -> Path_:
        """The names of the nested scopes, outermost first, up to the nearest backward node."""
        names: list[str] = []
        for host in chain(scope):
            if host.is_node:
                break
            if host.is_scope and host.scope_name is not None and (host is scope or not host.is_own_step):
                names.insert(0, host.scope_name)
        return tuple(names) if self.joined else tuple(names[-1:])

    def path(self, scope: Host, hops: int = 0) -> Path_:
        """Rule 12."""
        if scope.name.startswith(MARK_PREFIX):
            return (scope.name.removeprefix(MARK_PREFIX),)
        names = self.bare_chain(scope)
        node = nearest_node(scope)
        if node is None or not self.joined:
            return names
        original: Host | None = None
        if node.link is not None and hops < MAX_HOPS:
            original, _ = self.find_scope(node.link)
        prefix = self.path(original, hops + 1) if original is not None else ()
        for length in range(len(prefix), -1, -1):
            if prefix[:length] + names in self.known_paths:
                return prefix[:length] + names
        matches = [known for known in self.known_paths if known[-len(names) :] == names]
        return matches[0] if len(matches) == 1 else names

    def resolve(self, host: Host) -> tuple[str, str, str]:
        """(scope, phase, how) of a host range."""
        scope, how = self.find_scope(host)
        path = "/".join(self.path(scope)) if scope is not None else UNATTRIBUTED
        label = optimizer_label(host)
        annotation = None
        if scope is None and self.annotated is not None:
            annotation, _ = self.annotated.find_scope(self.annotated.hosts[host.file_index])
        if annotation is not None and self.annotated is not None:
            path, how = "/".join(self.annotated.path(annotation)), "annotation"
        if (
            label is not None
            and (scope is None or label[1])
            and not (annotation and inside_optimizer(host, annotation))
        ):
            path, how = label[0], "optimizer"
        return path, self.phase(host), how


def optimizer_label(host: Host) -> tuple[str, bool] | None:
    """Rule 11, optimizers: the label of the optimizer's range that a range is or stands directly in; whether it is
    that of one parameter's module, which counts more than any other scope."""
    own = next((above for above in chain(host) if label_of_optimizer(above.name)), None)
    if own is None:
        return None
    between = [above for above in chain(host) if above.depth > own.depth]
    if any(above.is_node or above.is_scope for above in between):
        return None
    numbered = next((above for above in between if above.own_seq >= 0), None)
    if numbered is not None and used_before(numbered, own.end):
        return None  # part of a closure, whose backward ran inside the step
    return label_of_optimizer(own.name), own.name.startswith(UPDATE_PREFIX)


def inside_optimizer(host: Host, annotation: Host) -> bool:
    """Whether the annotation stands between the range and the optimizer's range round it."""
    between = itertools.takewhile(lambda above: not label_of_optimizer(above.name), chain(host))
    return any(above.file_index == annotation.file_index for above in between)


def label_of_optimizer(name: str) -> str:
    if name.startswith(UPDATE_PREFIX):
        return name.removeprefix(UPDATE_PREFIX)
    if name.startswith(PHASE_PREFIX):
        return OPTIMIZER_PREFIXES.get(name, "")
    return next((label for prefix, label in OPTIMIZER_PREFIXES.items() if name.startswith(prefix)), "")


# -- time on the GPU -----------------------------------------------------------------------------------------


def merge(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of intervals, as disjoint intervals in order."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(i for i in intervals if i[0] < i[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def covered(start: int, end: int, cover: list[tuple[int, int]]) -> int:
    """How much of [start, end) the disjoint intervals cover."""
    return sum(max(0, min(end, c_end) - max(start, c_start)) for c_start, c_end in cover)


def busy_ns(gpu: list[Gpu]) -> int:
    """The union of busy time per device, summed over devices."""
    total = 0
    for device in {g.device for g in gpu}:
        total += sum(end - start for start, end in merge([(g.ts, g.end) for g in gpu if g.device == device]))
    return total


def set_exclusive(gpu: list[Gpu]) -> None:
    """Every busy instant of a device goes to one event: higher class first, then the earlier start."""
    for device in {g.device for g in gpu}:
        higher: list[tuple[int, int]] = []
        for priority in (0, 1, 2):
            members = [g for g in gpu if g.device == device and g.priority == priority]
            running_end = 0
            for event in sorted(members, key=lambda g: (g.ts, g.file_index)):
                start = max(event.ts, running_end)
                if start < event.end:
                    # Only the covers near the piece can matter; checking all of them gives the same result more slowly.
                    near = [c for c in higher if c[1] > start and c[0] < event.end]
                    event.exclusive_ns = event.end - start - covered(start, event.end, near)
                running_end = max(running_end, event.end)
            higher = merge(higher + [(g.ts, g.end) for g in members])


# -- the whole -----------------------------------------------------------------------------------------------


class Table:
    """Rows of (count, total, exclusive), filled one event at a time."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
        self.how: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.how_by_phase: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])

    def add(self, scope: str, phase: str, how: str, total_ns: int, exclusive_ns: int) -> None:
        row = self.rows[scope, phase]
        row[0] += 1
        row[1] += total_ns
        row[2] += exclusive_ns
        for counts in (self.how[how], self.how_by_phase[phase, how]):
            counts[0] += 1
            counts[1] += total_ns


def fill_gpu(table: Table, gpu: list[Gpu], resolver: Resolver) -> None:
    """Rules 3, 13 and 14."""
    for event in gpu:
        if event.leaf is not None:
            event.scope, event.phase, event.how = resolver.resolve(event.leaf)
        elif event.launch is not None:
            event.scope, event.phase, event.how = UNATTRIBUTED, resolver.phase(event.launch), "none"
        if event.is_communication:
            event.scope, event.phase = COMMUNICATION, "communication"
        table.add(event.scope, event.phase, event.how, event.end - event.ts, event.exclusive_ns)


def step_roots(threads: dict[Thread, list[Host]]) -> list[Host]:
    """Rule 15: the outermost step ranges of the main thread; without steps, its roots."""
    for prefix in ("ProfilerStep#", STEP_PREFIX):
        time_of: dict[Thread, int] = {}
        for thread, ranges in threads.items():
            steps = outermost(ranges, prefix)
            if steps:
                time_of[thread] = sum(h.end - h.ts for h in steps)
        if time_of:
            return outermost(threads[max(time_of, key=lambda t: time_of[t])], prefix)
    own_time: Counter[Thread] = Counter()
    for thread, ranges in threads.items():
        own_time[thread] = sum(h.end - h.ts for h in ranges if h.is_own_step)
    main = next((t for t in threads if t[0] == t[1]), next(iter(threads), None))
    main = max(own_time, key=lambda t: own_time[t]) if any(own_time.values()) else main
    return [h for h in threads[main] if h.parent is None] if main is not None else []


def outermost(ranges: list[Host], prefix: str) -> list[Host]:
    return [
        h for h in ranges if h.name.startswith(prefix) and not any(a.name.startswith(prefix) for a in chain(h.parent))
    ]


def fill_cpu(table: Table, root: Host, resolver: Resolver) -> None:
    """Rule 15: the self time of a range and of all ranges under it."""
    pending = [(root, root.end)]  # a range and where it ends once clipped to its parent
    while pending:
        host, end = pending.pop()
        self_ns = end - host.ts
        for child in host.children:
            child_end = max(child.ts, min(child.end, end))
            self_ns -= child_end - child.ts
            pending.append((child, child_end))
        scope, phase, how = resolver.resolve(host)
        table.add(scope, phase, how, self_ns, self_ns)


def linked(hosts: list[Host], gpu: list[Gpu], events: list[dict[str, Any]]) -> tuple[dict[Thread, list[Host]], Any]:
    """Rules 2 to 8: the ranges of each thread, and the arrows."""
    threads = build_forest(hosts, tolerance(hosts, gpu))
    find_launches(hosts, gpu)
    plumb(hosts)
    flows = read_flows(events)
    link_nodes(hosts, threads, flows)
    mark_accumulations(hosts)
    return threads, flows


def attribute(events: list[dict[str, Any]]) -> Result:
    """Give every GPU event (if there is none, the steps' time on the host) to one (scope, phase)."""
    hosts, gpu = read_hosts(events), read_gpu(events)
    threads, flows = linked(hosts, gpu, events)
    mark_steps(hosts)
    scope_source = mark_scopes(hosts)
    annotated = None
    if scope_source != "annotation":
        again = read_hosts(events)
        linked(again, read_gpu(events), events)
        mark_steps(again)
        annotated = Resolver(again, mark_scopes(again, "annotation"))
    resolver = Resolver(hosts, scope_source, annotated)

    table = Table()
    wall_ns = 0
    if gpu:
        set_exclusive(gpu)
        fill_gpu(table, gpu, resolver)
    else:
        for root in step_roots(threads):
            wall_ns += root.end - root.ts
            fill_cpu(table, root, resolver)

    nodes = [h for h in hosts if h.own_seq >= 0 and h.own_fwd_tid > 0 and not h.name.startswith(EVALUATE_PREFIX)]
    return Result(
        rows={key: (row[0], row[1], row[2]) for key, row in table.rows.items()},
        how={key: (row[0], row[1]) for key, row in table.how.items()},
        how_by_phase={key: (row[0], row[1]) for key, row in table.how_by_phase.items()},
        nodes_linked=sum(1 for h in nodes if h.link_how in ("seq", "guess")),
        nodes_total=len(nodes),
        flows=len(flows),
        scope_source=scope_source,
        cpu_only=not gpu,
        gpu=gpu,
        host=hosts,
        wall_ns=wall_ns,
    )
