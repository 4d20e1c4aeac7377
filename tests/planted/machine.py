"""A host and a GPU as a timing model: a program played on it gives the times of all that it did, and of its step.

Who waits for whom is the whole model. A host thread runs one thing after the other. A launch takes host time; what it
launched starts when the launch is done and its stream is free, but a launch first waits while QUEUE others have not
started. A synchronising call ends when the work that it waits for has. So the time of a step follows from the program
alone, and what a change of the program gains is known exactly.

The constants are plausible for an H100 and PyTorch 2, rounded; nothing depends on their being exact.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

LAUNCH_NS = 4_500
"""What a call that launches takes on the host."""
LATENCY_NS = 1_500
"""From the end of that call to the earliest start of the work."""
GAP_NS = 800
"""Between two pieces of work on one stream."""
RETURN_NS = 3_000
"""From the end of the work that a synchronising call waits for to its return; also what it takes with nothing to do."""
QUEUE = 1024
"""How many launches may be waiting on the device before the next one blocks."""
OP_NS = 6_000
"""What an operator takes on the host beside what is inside it."""
RANGE_NS = 500
"""What a range that is no operator takes."""
PAGEABLE, PINNED = 6e9, 25e9
"""Bytes a second, to and from the device."""
FLOPS, BANDWIDTH = 600e12, 2.5e12
"""What large kernels reach: FLOP/s in bf16 by matmuls, bytes/s by all others."""
STEADY_STEPS = 5000
"""At the latest after so many steps a program is as it will be: more than the queue can hold."""
MAIN, AUTOGRAD = 4242, 4301
"""Threads."""
COMPUTE, COPIES = 7, 20
"""Streams."""


@dataclass(slots=True)
class Happened:
    """A range, a call or a piece of device work; times in ns from the machine's start."""

    category: str
    name: str
    start: int
    end: int
    place: int
    """The thread, or for device work the stream."""
    args: dict[str, Any] = field(default_factory=dict)


def matmul_ns(rows: int, inner: int, columns: int) -> int:
    """A matmul in bf16: by its operations or its bytes, whichever takes longer, and 2 us."""
    flops, moved = 2 * rows * inner * columns, 2 * (rows * inner + inner * columns + rows * columns)
    return int(1e9 * max(flops / FLOPS, moved / BANDWIDTH)) + 2_000


def moving_ns(count: int, passes: float, width: int = 2) -> int:
    """A kernel that reads and writes `count` elements of `width` bytes, `passes` times in all, and 1.5 us."""
    return int(1e9 * count * passes * width / BANDWIDTH) + 1_500


class Machine:
    """Plays a program: it has a clock, streams, and a list of what happened while `recording`."""

    def __init__(self) -> None:
        self.now = 0
        self.thread = MAIN
        self.recording = False
        self.happened: list[Happened] = []
        self._free: dict[int, int] = defaultdict(int)
        self._starts: deque[int] = deque()
        self._ids = {"External id": 0, "correlation": 0, "Sequence number": 0}
        self._open: list[int] = []

    @property
    def lag(self) -> int:
        """How long the device will go on working from now on, if nothing more is launched."""
        return max(0, max(self._free.values(), default=0) - self.now)

    def busy(self, ns: int) -> None:
        """Host time in which nothing is recorded: Python."""
        self.now += ns

    @contextmanager
    def range(self, name: str, category: str = "cpu_op", own_ns: int = RANGE_NS, **args: Any) -> Iterator[None]:
        """A range on the current thread, with what happens inside."""
        row = Happened(category, name, self.now, self.now, self.thread, {"External id": self._next("External id")})
        row.args |= args
        self._add(row)
        self._open.append(row.args["External id"])
        self.now += own_ns // 2
        yield
        self.now += own_ns - own_ns // 2
        self._open.pop()
        row.end = self.now

    def module(self, path: str) -> AbstractContextManager[None]:
        """The range that perfkit.annotate opens round a module's forward."""
        return self.range(f"perfkit::{path}")

    @contextmanager
    def op(self, name: str, dims: list[list[int]], *, own_ns: int = OP_NS, **args: Any) -> Iterator[None]:
        """An operator of PyTorch with the shapes of its inputs."""
        types = ["c10::BFloat16" if one else "Scalar" for one in dims]
        shapes: dict[str, Any] = {"Input Dims": dims, "Input type": types}
        with self.range(name, own_ns=own_ns, **args, **shapes):
            yield

    def sequence(self) -> int:
        """The next sequence number of autograd."""
        return self._next("Sequence number")

    def kernel(self, name: str, ns: int, stream: int = COMPUTE) -> None:
        """Launch a kernel."""
        self._device("kernel", name, ns, stream, "cudaLaunchKernel")

    def copy(self, name: str, count: int, speed: float, stream: int = COMPUTE) -> int:
        """Launch a copy of so many bytes; returns its end. Copies from pageable memory hold the host until they end."""
        args = {"bytes": count}
        ns = int(1e9 * count / speed) + 1_300
        end = self._device("gpu_memcpy", f"Memcpy {name}", ns, stream, "cudaMemcpyAsync", args)
        if "(Pageable" in name:
            self._last_call.end = self.now = max(self.now, end)
        return end

    def synchronise(self, stream: int | None = None) -> None:
        """Wait for one stream, or for the whole device."""
        until = self.now + self.lag if stream is None else self._free[stream]
        name = "cudaDeviceSynchronize" if stream is None else "cudaStreamSynchronize"
        self._call(name, max(RETURN_NS, until + RETURN_NS - self.now))

    def record_event(self, stream: int) -> int:
        """Record an event on a stream; what it returns can be waited for."""
        self._call("cudaEventRecord", 1_000)
        return self._free[stream]

    def wait_event(self, stream: int, event: int) -> None:
        """Let a stream wait for an event."""
        self._call("cudaStreamWaitEvent", 1_000)
        self._free[stream] = max(self._free[stream], event)

    @contextmanager
    def on_thread(self, thread: int, handover_ns: int = 20_000) -> Iterator[None]:
        """Another thread works, and the current one waits for it."""
        self.now += handover_ns
        before, self.thread = self.thread, thread
        yield
        self.thread = before
        self.now += handover_ns

    def _device(self, category: str, name: str, ns: int, stream: int, call: str, args: Any = None) -> int:
        while self._starts and self._starts[0] <= self.now:
            self._starts.popleft()
        blocked = self._starts[-QUEUE] - self.now if len(self._starts) >= QUEUE else 0
        correlation = self._call(call, LAUNCH_NS + blocked)
        start = max(self.now + LATENCY_NS, self._free[stream] + GAP_NS)
        self._starts.append(start)
        self._free[stream] = start + ns
        shared = {"External id": self._open[-1] if self._open else 0, "correlation": correlation, "stream": stream}
        self._add(Happened(category, name, start, start + ns, stream, shared | {"device": 0} | (args or {})))
        return start + ns

    def _call(self, name: str, ns: int) -> int:
        correlation = self._next("correlation")
        self._last_call = Happened("cuda_runtime", name, self.now, self.now + ns, self.thread)
        self._last_call.args = {"External id": self._open[-1] if self._open else 0, "correlation": correlation}
        self._add(self._last_call)
        self.now += ns
        return correlation

    def _add(self, row: Happened) -> None:
        if self.recording:
            self.happened.append(row)

    def _next(self, kind: str) -> int:
        self._ids[kind] += 1
        return self._ids[kind]


@dataclass(frozen=True)
class Played:
    """What a recorded program did, and what a step of it takes for good."""

    happened: list[Happened]
    step_ns: int
    recorded_ns: int
    """What a step took while it was recorded."""


def play(step: Callable[[Machine], None], steps: int = 5) -> Played:
    """Run a program until it is steady, time some steps of it, wait for the device, and record some more.

    A host ahead of its device goes on gaining until the queue is full. From then on a step takes as long on the host as
    it does on the device, and from one step to the next the device lags behind by as much as before. A recording begins
    with an empty queue, as one of a program does (Running.record): its last step waits for the device.
    """
    machine = Machine()
    done, lag = 0, None
    while done < STEADY_STEPS:
        start = machine.now
        for _ in range(steps):
            step(machine)
        taken = machine.now - start
        done, before, lag = done + steps, lag, machine.lag
        if before is not None and abs(lag - before) <= taken // 1000:
            break
    machine.synchronise()
    machine.recording = True
    start = machine.now
    for number in range(done, done + steps):
        with machine.range(f"ProfilerStep#{number}", "user_annotation", own_ns=0):
            step(machine)
            if number == done + steps - 1:
                machine.synchronise()
    return Played(machine.happened, taken // steps, (machine.now - start) // steps)
