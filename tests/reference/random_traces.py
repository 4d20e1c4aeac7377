"""Small random traces that look like Kineto's: a training script of some kind, run by an imagined machine.

`generate(seed)` gives the events, always the same ones for the same seed; `write_json` writes them as a file.
The traces contain hard cases: equal timestamps, ranges of no length, ranges that cross, several forward
threads, recomputation inside backward nodes, kernels without a launch. Two cases are left out on purpose,
because the rules do not settle them: votes that tie (rule 6), and thread ids for which some nodes have flows
while no flow names the id.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

Event = dict[str, Any]

PID = 1000
EVALUATE = "autograd::engine::evaluate_function: "
ACCUMULATE = "torch::autograd::AccumulateGrad"
OPS = ("Mm", "Addmm", "Mul", "Relu", "NativeLayerNorm", "T")
KERNELS = ("gemm", "elementwise", "reduce", "softmax", "gemm")
COMM_KERNELS = ("ncclDevKernel_AllReduce_Sum_f32", "ncclKernel_Broadcast", "rcclGenericKernel")
MARK = "perfkit.grad::"
UPDATE = "perfkit.update::"
MARKED = ("model", "layers.0", "layers.0.attn", "unused")
TIMES = ("ts", "dur")
WORDS: tuple[dict[str, str], ...] = (
    {},
    {
        "zero_grad": "zero_grad",
        "forward": "forward pass",
        "loss": "compute_loss",
        "backward": "backward",
        "optimizer": "opt_step",
    },
    {"forward": "## forward ##", "backward": "## backward ##", "optimizer": "## optimizer ##"},
    {
        "forward": "Engine.forward",
        "loss": "to_device",
        "backward": "Engine.forward_backward",
        "optimizer": "optimizerStep",
    },
)
"""What a script calls the phases of its step; without a name it opens no range."""
SCRIPTED = "torch::jit::(anonymous namespace)::DifferentiableGraphBackward"
UNCARRIED = ("CopySlices", "AsStridedBackward0", "MulBackward0")
"""Nodes whose number no op has: two of an assignment to a view, and one whose op is not in the file."""
CROSS_REDUCE = "void vllm::cross_device_reduce_1stage<__half, 2>"
BASES = (0, 4_458_676_522_690_655, 1_712_195_495_519_689_047)  # ns: a fresh clock, since boot, since 1970


@dataclass
class Module:
    """A module of the imagined model."""

    name: str
    children: list[Module] = field(default_factory=list)


@dataclass
class TapeNode:
    """What autograd remembers of a forward op."""

    op: str
    thread: HostThread
    seq: int
    module: Module | None
    forward_ts: int | None  # of the last-started op with this number; None if no op has it
    has_parameter: bool


@dataclass
class HostThread:
    """A host thread: its clock, its counter of sequence numbers, and the ranges that are open."""

    tid: int
    logical_id: int
    now: int
    next_seq: int
    open_ops: list[Event] = field(default_factory=list)


class Machine:
    """Records the events while the script runs."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.events: list[Event] = []
        self.gpu_now: dict[tuple[int, int], int] = {}
        self.next_external_id = rng.choice((1, 1025, 2049))
        self.next_correlation = rng.choice((1, 1025, 5000))
        self.next_ev_idx = 0
        self.next_flow_id = 1
        self.flow_ids_met: set[int] = set()
        self.base = rng.choice(BASES)

        self.cpu_only = rng.random() < 0.15
        self.has_runtime = not self.cpu_only or rng.random() < 0.2
        self.external_ids = rng.choice(("modern", "modern", "none", "correlation"))
        self.has_ev_idx = rng.random() < 0.9
        self.devices = rng.choice((1, 1, 2))
        self.streams = rng.choice((1, 2, 3))
        self.lost_launches = rng.choice((0.0, 0.05, 0.3))
        self.flows = rng.random() < 0.5
        self.whole_microseconds = rng.random() < 0.15
        # How far the clocks advance between two events; a node with a flow must keep a start of its own.
        self.stride = rng.choice((1, 1, 7, 300))
        if self.whole_microseconds:
            self.stride = rng.choice((1300, 2700) if self.flows else (300, 1300))
        self.outer_seq = rng.choice((1.0, 1.0, 0.5, 0.0))  # how often evaluate_function has a number
        self.marks = rng.choice((0.0, 0.5, 1.0))  # how often a gradient's accumulation names its module
        self.scope_kind = rng.choice(("perfkit op", "perfkit annotation", "nn.Module", "annotation"))

    # -- host ------------------------------------------------------------------------------------------

    def tick(self, thread: HostThread, most: int = 6) -> None:
        """Let some time pass, or none at all."""
        if self.rng.random() < 0.7:
            thread.now += self.rng.randint(0, most) * self.stride

    def complete(self, name: str, cat: str, thread: HostThread, args: Event) -> Event:
        event: Event = {"ph": "X", "cat": cat, "name": name, "pid": PID, "tid": thread.tid}
        event.update({"ts": thread.now, "dur": 0, "args": args})
        self.events.append(event)
        return event

    @contextmanager
    def range(self, thread: HostThread, name: str, cat: str = "cpu_op", **extra: Any) -> Iterator[Event]:
        """A host range around the events of the body."""
        args: Event = {}
        if cat != "python_function":
            args["External id"] = self.next_external_id
            self.next_external_id += 1
        if self.has_ev_idx:
            args["Ev Idx"] = self.next_ev_idx
            self.next_ev_idx += 1
        args.update({key.replace("_", " "): value for key, value in extra.items()})
        event = self.complete(name, cat, thread, args)
        if cat == "cpu_op":
            thread.open_ops.append(event)
        self.tick(thread)
        yield event
        self.tick(thread)
        event["dur"] = thread.now - event["ts"]
        if cat == "cpu_op":
            thread.open_ops.pop()
        self.tick(thread)

    def numbered(self, thread: HostThread, name: str, seq: int, logical_id: int = 0) -> Any:
        """A range with a sequence number: forward if `logical_id` is 0, a backward node otherwise."""
        return self.range(thread, name, Sequence_number=seq, Fwd_thread_id=logical_id)

    def launch(self, thread: HostThread, communication: bool = False) -> None:
        """A runtime call, and what it starts on a device: nothing, one event, or several (a graph)."""
        if not self.has_runtime:
            return
        if self.rng.random() > 0.02:  # otherwise two calls share a number
            self.next_correlation += 1
        correlation = self.next_correlation
        args: Event = {"correlation": correlation}
        external: int | None = None
        if self.external_ids == "correlation":
            external = correlation
        elif self.external_ids == "modern" and thread.open_ops:
            external = thread.open_ops[-1]["args"]["External id"]
        if external is not None:
            args["External id"] = external
        cat = self.rng.choice(("cuda_runtime", "cuda_runtime", "cuda_driver"))
        start = thread.now
        self.tick(thread)
        if self.rng.random() >= self.lost_launches:
            event: Event = {"ph": "X", "cat": cat, "name": "cudaLaunchKernel", "pid": PID, "tid": thread.tid}
            event.update({"ts": start, "dur": thread.now - start, "args": args})
            self.events.append(event)
        elif self.rng.random() < 0.6:
            external = None  # launched before the window: usually nothing is known
        for _ in range(self.rng.choice((0, 1, 1, 1, 1, 1, 3))):
            self.device_event(thread.now, correlation, external, communication)
        self.tick(thread)

    # -- device ----------------------------------------------------------------------------------------

    def device_event(self, ready: int, correlation: int, external: int | None, communication: bool) -> None:
        if self.cpu_only:
            return
        rng = self.rng
        device, stream = rng.randrange(self.devices), rng.randrange(self.streams) * 7
        cat = rng.choice(("kernel", "kernel", "kernel", "gpu_memcpy", "gpu_memset"))
        name = {"kernel": rng.choice(KERNELS), "gpu_memcpy": "Memcpy DtoD", "gpu_memset": "Memset"}[cat]
        if communication:
            cat, name = "kernel", rng.choice(COMM_KERNELS)
        elif cat == "kernel" and rng.random() < 0.03:
            name = CROSS_REDUCE
        start = ready + rng.randint(0, 20) * self.stride
        if rng.random() < 0.8:  # otherwise it overlaps earlier work of its stream
            start = max(start, self.gpu_now.get((device, stream), 0))
        dur = rng.choice((0, 1, 3, 10, 40, 200)) * self.stride
        self.gpu_now[device, stream] = max(self.gpu_now.get((device, stream), 0), start + dur)
        args: Event = {"device": device, "stream": stream, "correlation": correlation}
        if external is not None:
            args["External id"] = external
        event: Event = {"ph": "X", "cat": cat, "name": name, "pid": device, "tid": stream}
        event.update({"ts": start, "dur": dur, "args": args})
        self.events.append(event)

    # -- scopes ----------------------------------------------------------------------------------------

    def scope(self, thread: HostThread, name: str) -> Any:
        """The range that marks a module's forward."""
        if self.scope_kind == "perfkit op":
            return self.range(thread, "perfkit::" + name)
        if self.scope_kind == "perfkit annotation":
            return self.range(thread, "perfkit::" + name, "user_annotation")
        if self.scope_kind == "nn.Module":
            return self.range(thread, "nn.Module: " + name, "python_function")
        return self.range(thread, name, "user_annotation")

    def flow(self, node: TapeNode, thread: HostThread) -> None:
        """An arrow from the forward op to the node that starts now; later ones of the same id may be left out."""
        if not self.flows or node.forward_ts is None:
            return
        if node.thread.logical_id in self.flow_ids_met and self.rng.random() < 0.3:
            return
        self.flow_ids_met.add(node.thread.logical_id)
        common: Event = {"cat": "fwdbwd", "name": "fwdbwd", "id": self.next_flow_id, "pid": PID}
        self.next_flow_id += 1
        self.events.append({"ph": "s", "tid": node.thread.tid, "ts": node.forward_ts, **common})
        self.events.append({"ph": "f", "tid": thread.tid, "ts": thread.now, "bp": "e", **common})


class Script:
    """A training (or inference) script."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.machine = Machine(rng)
        self.model = self.make_model()
        self.threads = self.make_threads()
        self.words = self.rng.choice(WORDS)
        self.double: list[TapeNode] = []  # forward ops of a backward that is differentiated again
        self.reentrant_depth = 0

    def make_model(self) -> Module:
        """Modules of two or three levels; annotations repeat names, as users' annotations do."""
        rng = self.rng
        qualified = self.machine.scope_kind.startswith("perfkit")
        model = Module("model")
        for number in range(rng.randint(1, 3)):
            layer = Module(f"layers.{number}" if qualified else f"Block_{number}")
            for leaf in ("attn", "mlp", "norm")[: rng.randint(1, 3)]:
                shared = self.machine.scope_kind == "annotation" and rng.random() < 0.5
                layer.children.append(
                    Module(f"{layer.name}.{leaf}" if qualified else leaf if shared else f"{leaf}_{number}")
                )
            model.children.append(layer)
        return model

    def make_threads(self) -> list[HostThread]:
        """The threads, main thread first. Their sequence numbers overlap only if flows tell the threads apart."""
        rng = self.rng
        count = rng.choice((1, 2, 2, 3))
        logical_ids = list(range(1, count + 1))
        if rng.random() < 0.3:
            rng.shuffle(logical_ids)
        first_seq = rng.choice((0, 18456))
        apart = 0 if self.machine.flows else 100_000
        return [
            HostThread(
                tid=rng.choice((PID, 1262)) if number == 0 else 2000 + number,
                logical_id=logical_ids[number],
                now=self.machine.base + rng.randint(0, 3) * self.machine.stride,
                next_seq=first_seq + number * apart,
            )
            for number in range(count)
        ]

    # -- forward ---------------------------------------------------------------------------------------

    def forward_op(self, thread: HostThread, module: Module | None, tape: list[TapeNode] | None) -> None:
        """An op that autograd records: several ranges may carry the number of the one node."""
        rng, machine = self.rng, self.machine
        op = rng.choice(OPS)
        seq = thread.next_seq
        if rng.random() < 0.2:  # an op that only peeks at the number
            with machine.numbered(thread, "aten::detach", seq):
                if rng.random() < 0.3:
                    machine.launch(thread)
        with machine.numbered(thread, "aten::" + op.lower(), seq) as event:
            last = event
            if rng.random() < 0.3:
                with machine.numbered(thread, "aten::inner", seq) as inner:
                    last = inner
                    machine.launch(thread)
            with machine.range(thread, "aten::plain"):
                machine.launch(thread)
        if rng.random() < 0.9:  # otherwise nothing needs a gradient: the next op has the same number
            thread.next_seq += 1
            if tape is not None:
                tape.append(TapeNode(op, thread, seq, module, last["ts"], rng.random() < 0.4))
            if rng.random() < 0.1:  # it made a second node, whose number no op has
                if tape is not None:
                    tape.append(TapeNode(rng.choice(UNCARRIED), thread, thread.next_seq, module, None, False))
                thread.next_seq += 1

    def forward(self, thread: HostThread, module: Module, tape: list[TapeNode] | None) -> None:
        with self.machine.scope(thread, module.name):
            if not module.children or self.rng.random() < 0.2:
                for _ in range(self.rng.randint(0, 2)):
                    self.forward_op(thread, module, tape)
            for child in module.children:
                self.forward(thread, child, tape)
            if self.rng.random() < 0.1:
                self.script_graph(thread, module, tape)
            if self.rng.random() < 0.1:
                self.machine.launch(thread)

    def script_graph(self, thread: HostThread, module: Module, tape: list[TapeNode] | None) -> None:
        """A part of a TorchScript graph: its node is made first, and what runs inside makes none."""
        told = [node for node in tape or () if node.thread is thread and node.forward_ts is not None]
        if tape is not None and told:  # otherwise nothing may tell which thread's numbers these are
            tape.append(TapeNode(SCRIPTED, thread, thread.next_seq, module, None, False))
        thread.next_seq += 1
        if self.rng.random() < 0.5:
            with self.machine.numbered(thread, "aten::detach", thread.next_seq):
                pass
        with (
            self.machine.range(thread, self.rng.choice(("<forward op>", "<foward op>"))),
            self.machine.numbered(thread, "aten::mul", thread.next_seq),
        ):
            self.machine.launch(thread)

    def without_gradient(self, thread: HostThread, module: Module) -> None:
        """A forward whose ops have no number."""
        with self.machine.scope(thread, module.name):
            with self.machine.range(thread, "aten::plain"):
                self.machine.launch(thread)
            for child in module.children:
                self.without_gradient(thread, child)

    def plain_function(self, thread: HostThread, inside: Module | None) -> None:
        """A checkpointed plain function, which runs again: children of a module, and ops between them."""
        around = next((m for m in self.model.children if inside in m.children), self.model)
        for child in around.children:
            if self.rng.random() < 0.5:
                self.forward_op(thread, around, None)
            self.forward(thread, child, None)

    # -- backward --------------------------------------------------------------------------------------

    def backward(self, thread: HostThread, tape: list[TapeNode]) -> None:
        for node in reversed(tape):
            self.backward_node(thread, node)
            if node.has_parameter:
                self.accumulate_grad(thread, node.module)
            if self.rng.random() < 0.05:
                with self.machine.range(thread, "aten::add_"):
                    self.machine.launch(thread)
        if self.rng.random() < 0.3:
            with self.machine.range(thread, "torch.distributed.ddp.reducer::copy_bucket_to_grad"):
                self.machine.launch(thread)

    def backward_node(self, thread: HostThread, node: TapeNode) -> None:
        rng, machine = self.rng, self.machine
        name = node.op if node.op in (*UNCARRIED, SCRIPTED) else f"{node.op}Backward0"
        if rng.random() < machine.outer_seq:
            outer = machine.numbered(thread, EVALUATE + name, node.seq, node.thread.logical_id)
        else:
            outer = machine.range(thread, EVALUATE + name)
        with outer:
            if rng.random() < 0.1:
                with machine.range(thread, "hook", "user_annotation"):
                    machine.launch(thread)
            thread.now += machine.stride if machine.flows else 0
            machine.flow(node, thread)
            with machine.numbered(thread, name, node.seq, node.thread.logical_id):
                thread.now += machine.stride if machine.flows else 0
                self.node_body(thread, node)
            if rng.random() < 0.1:
                machine.launch(thread)

    def node_body(self, thread: HostThread, node: TapeNode) -> None:
        rng, machine = self.rng, self.machine
        what = rng.random()
        module = node.module if rng.random() < 0.5 else rng.choice(self.model.children)
        if what < 0.12 and module is not None:  # checkpoint, not reentrant
            self.forward(thread, module, None)
        elif what < 0.2 and module is not None and self.reentrant_depth < 2:
            tape: list[TapeNode] = []
            self.reentrant_depth += 1
            self.forward(thread, module, tape)
            self.backward(thread, tape)
            self.reentrant_depth -= 1
        elif what < 0.28:  # an op whose own derivative is needed later, or never
            self.forward_op(thread, node.module, self.double if rng.random() < 0.7 else [])
        elif what < 0.36:  # a scope that nothing outside knows, or one without a forward op
            with machine.scope(thread, rng.choice(("only_in_backward", "model"))):
                if rng.random() < 0.4:
                    self.forward_op(thread, node.module, None)
                machine.launch(thread)
        elif what < 0.4:
            self.plain_function(thread, node.module)
        elif what < 0.48:  # a checkpoint in a checkpoint, reentrant: its forward runs without gradient
            with machine.numbered(thread, "CheckpointFunction", thread.next_seq):
                self.without_gradient(thread, module or self.model)
        elif what < 0.52:  # a module that some function's backward runs
            self.without_gradient(thread, module or self.model)
        elif what < 0.54:
            self.mark(thread, node.module)  # it has no effect here
        with machine.range(thread, "aten::backward_op"):
            machine.launch(thread)

    def mark(self, thread: HostThread, module: Module | None) -> None:
        """perfkit's mark of the parameter's module, which may be a module that never runs."""
        name = module.name if module is not None and self.rng.random() < 0.7 else self.rng.choice(MARKED)
        with self.machine.range(thread, MARK + name, self.rng.choice(("cpu_op", "cpu_op", "user_annotation"))):
            pass

    def accumulate_grad(self, thread: HostThread, module: Module | None) -> None:
        machine = self.machine
        with machine.range(thread, EVALUATE + ACCUMULATE):
            with machine.range(thread, ACCUMULATE):
                machine.launch(thread)
                while self.rng.random() < machine.marks * 0.7:
                    self.mark(thread, module)
                if self.rng.random() < 0.05:  # a hook that steps an optimizer of its own
                    with self.maybe(True, thread, "Optimizer.step#SGD.step"):
                        self.update(thread)
                if self.rng.random() < 0.05:  # a hook that runs a module
                    self.forward(thread, self.model, None)
            if self.rng.random() < machine.marks * 0.1:
                self.mark(thread, module)
            if self.rng.random() < 0.2:
                with machine.range(thread, "nccl:all_reduce", "user_annotation"):
                    machine.launch(thread, communication=True)

    # -- a step ----------------------------------------------------------------------------------------

    @contextmanager
    def maybe(self, wanted: bool, thread: HostThread, name: str) -> Iterator[None]:
        """An annotation if `wanted`."""
        if not wanted:
            yield
            return
        with self.machine.range(thread, name, "user_annotation"):
            yield

    @contextmanager
    def phase(self, phases: bool, thread: HostThread, name: str) -> Iterator[None]:
        """perfkit's range of a phase, and the script's own."""
        own = self.words.get(name, "")
        with (
            self.maybe(phases, thread, f"perfkit.phase::{name}"),
            self.maybe(own != "" and self.rng.random() < 0.9, thread, own),
        ):
            yield

    def step(self, phases: bool, optimizer: bool) -> None:
        rng, machine = self.rng, self.machine
        main = self.threads[0]
        backward_thread = rng.choice(self.threads)
        tape: list[TapeNode] = []
        with self.maybe(rng.random() < 0.3, main, "enumerate(DataLoader)#_Iter.__next__"):
            machine.launch(main)
        if optimizer and rng.random() < 0.7:
            with (
                self.phase(phases, main, "zero_grad"),
                self.maybe(rng.random() < 0.8, main, "Optimizer.zero_grad#SGD.zero_grad"),
            ):
                machine.launch(main)
        with self.phase(phases, main, "forward"):
            with self.maybe(rng.random() < 0.3, main, "DistributedDataParallel.forward"):
                self.forward(main, self.model, tape)
            machine.launch(main)
        for other in self.threads[1:]:
            if other is not backward_thread and rng.random() < 0.5:
                other.now = max(other.now, main.now)
                self.forward(other, rng.choice(self.model.children), tape)
        with self.phase(phases, main, "loss"):
            self.forward_op(main, None, tape)
        if optimizer:
            with self.phase(phases, main, "backward"):
                self.run_backward(main, backward_thread, tape)
            with (
                self.phase(phases, main, "optimizer"),
                self.maybe(rng.random() < 0.8, main, "Optimizer.step#SGD.step"),
            ):
                self.update(main)
        if rng.random() < 0.3:
            machine.launch(main)

    def update(self, thread: HostThread) -> None:
        """What an optimizer does: all at once, or parameter by parameter, or its closure's forward and loss first."""
        rng, machine = self.rng, self.machine
        if rng.random() < 0.3:
            tape: list[TapeNode] = []
            self.forward(thread, self.model, tape)
            self.forward_op(thread, None, tape)
            if rng.random() < 0.7:
                self.backward(thread, tape)
        for _ in range(rng.choice((0, 0, 2))):
            with machine.range(thread, UPDATE + rng.choice(MARKED), rng.choice(("cpu_op", "user_annotation"))):
                machine.launch(thread)
                if rng.random() < 0.2:
                    self.forward_op(thread, None, [])
        with machine.range(thread, "aten::_foreach_add_"):
            machine.launch(thread)

    def run_backward(self, main: HostThread, thread: HostThread, tape: list[TapeNode]) -> None:
        """Backward on `thread`; the main thread waits for it."""
        with self.machine.range(main, "aten::ones_like"):
            self.machine.launch(main)
        thread.now = max(thread.now, main.now)
        self.backward(thread, tape)
        if self.double:
            again, self.double = self.double, []
            self.backward(thread, again)
            self.double = []
        main.now = max(main.now, thread.now)

    def run(self) -> None:
        rng, machine = self.rng, self.machine
        main = self.threads[0]
        phases = rng.random() < 0.4
        optimizer = rng.random() < 0.85
        step_name = rng.choice(("ProfilerStep#{}", "perfkit.step::{}", "both", ""))
        if not step_name and not machine.base:
            step_name = "train_step {}"
        if rng.random() < 0.2:
            with machine.range(main, "perfkit.warmup::0", "user_annotation"):
                self.step(phases, optimizer)
        with self.maybe(rng.random() < 0.1, main, "## everything ##"):
            for number in range(rng.choice((1, 1, 2))):
                with (
                    self.maybe(step_name == "both", main, f"ProfilerStep#{number}"),
                    self.maybe(step_name != "", main, step_name.replace("both", "perfkit.step::{}").format(number)),
                ):
                    self.step(phases, optimizer)
        if rng.random() < 0.3:
            self.stranger()

    def stranger(self) -> None:
        """A thread that is mostly independent of the model; its launches may lie outside every range."""
        start = self.threads[0].now - self.rng.randint(0, 1000) * self.machine.stride
        start = max(start, self.machine.base)
        thread = HostThread(tid=-549452224, logical_id=0, now=start, next_seq=0)
        opened = self.rng.choice(("gloo:all_reduce", "ncclAllReduce", "forward", ""))
        for _ in range(self.rng.randint(1, 3)):
            self.machine.launch(thread)
            with self.maybe(opened != "", thread, opened):
                self.machine.launch(thread, communication=self.rng.random() < 0.5)


def add_crossings(rng: random.Random, events: list[Event], stride: int) -> None:
    """Stretch some ranges over their neighbours, as frames around record_function's own calls are."""
    longer = [
        e
        for e in events
        if e.get("cat") in ("cpu_op", "user_annotation", "python_function")
        and not e["name"].startswith(("ProfilerStep#", "perfkit.step::", "perfkit.warmup::"))
    ]
    for event in rng.sample(longer, min(len(longer), rng.choice((0, 0, 2, 8)))):
        event["dur"] += rng.randint(1, 30) * stride
    main = [e for e in longer if e["dur"] > 0]
    for number in range(min(len(main), rng.choice((0, 0, 3, 10)))):
        near = rng.choice(main)
        frame: Event = {
            "ph": "X",
            "cat": "python_function",
            "name": f"script.py({number}): frame",
            "pid": PID,
        }
        ts = max(0, near["ts"] + rng.randint(-10, 10) * stride)
        frame.update({"tid": near["tid"], "ts": ts, "dur": rng.randint(0, 40) * stride, "args": {}})
        if rng.random() < 0.8:
            frame["args"]["Ev Idx"] = 100_000 + number
        events.append(frame)


def to_whole_microseconds(events: list[Event], independently: bool) -> None:
    """Round times as older recordings do: floor start and duration, or start and end."""
    for event in events:
        end = event["ts"] + event.get("dur", 0)
        if "dur" in event:
            event["dur"] = event["dur"] // 1000 * 1000 if independently else end // 1000 * 1000
        event["ts"] = event["ts"] // 1000 * 1000
        if "dur" in event and not independently:
            event["dur"] -= event["ts"]


def generate(seed: int) -> list[Event]:
    """The events of a random trace; `ts` and `dur` are Decimal microseconds, exact to the nanosecond."""
    rng = random.Random(seed)
    script = Script(rng)
    script.run()
    events = script.machine.events
    add_crossings(rng, events, script.machine.stride)
    if script.machine.whole_microseconds:
        to_whole_microseconds(events, independently=rng.random() < 0.7)
    order = rng.random()
    if order < 0.2:
        rng.shuffle(events)
    elif order < 0.6:
        events.sort(key=lambda e: e["ts"])
    for event in events:
        event["ts"] = Decimal(event["ts"]) / 1000
        if "dur" in event:
            event["dur"] = Decimal(event["dur"]) / 1000
    return events


def write_json(events: list[Event], path: str | Path) -> None:
    """Write a trace file (gzip where the name ends in .gz); times get exactly three decimals."""
    lines = []
    for event in events:
        fields = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in event.items() if key not in TIMES]
        fields += [f"{json.dumps(key)}: {event[key]:.3f}" for key in TIMES if key in event]
        lines.append("{" + ", ".join(fields) + "}")
    text = '{"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": [\n' + ",\n".join(lines) + "\n]}\n"
    raw = text.encode()
    Path(path).write_bytes(gzip.compress(raw, mtime=0) if str(path).endswith(".gz") else raw)
