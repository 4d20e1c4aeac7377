"""A machine in plain Python: runs a program of host threads and streams, event by event, and writes what it did.

It is what a replay is compared with: the same program, with some of it taken away, run again. It knows nothing of
graphs: threads have clocks, streams remember when they are free. All its delays are constants.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from perfkit.trace.columns import DeviceKind, HostKind
from tests.builders import TraceBuilder

CALL = 10
"""ns that a launch takes on the host."""
LATENCY = 5
"""From the return of a launch until its work starts on a free stream."""
GAP = 2
"""From the end of what a stream waits for until the next starts."""
RETURN = 3
"""From the end of the work until the call that waits for it returns; and what such a call takes at least."""
WAKE = 4
"""From one thread's last work until another that waits for it goes on."""


@dataclass(frozen=True)
class Action:
    """One thing that a program does."""

    what: str
    """op: the host works; launch, copy: a kernel, or a copy to pageable memory that the host waits for; device,
    stream: the host waits; join: the next launch waits for the other stream; backward: another thread works;
    nothing: what was there is gone, but not the time around it."""
    name: str = ""
    ns: int = 0
    """Of an operator its own time on the host; of device work its duration."""
    stream: int = 7
    inside: tuple[Action, ...] = ()
    """What an operator or the other thread does; an operator does it after half of its own time."""


@dataclass
class Machine:
    """Runs programs. One is used once."""

    queue: int = 10**9
    """Launches that a stream keeps; more wait on the host."""
    trace: TraceBuilder = field(default_factory=TraceBuilder)
    ends: dict[int, list[int]] = field(default_factory=dict)
    """For each stream the ends of its work."""
    joined: int = -(10**9)
    """The end of what the next launch waits for."""

    def run(self, steps: list[tuple[Action, ...]], pause: int = 1) -> int:
        """Run the steps, with a pause after each; return when the last is done, its work included."""
        clock = 0
        for number, step in enumerate(steps):
            begin, clock = clock, self._all(step, 0, clock + 1)
            self.trace.step(number, begin, clock + 1)
            clock += 1 + pause
        return max([clock - pause, *(ends[-1] for ends in self.ends.values() if ends)])

    def _all(self, actions: tuple[Action, ...], thread: int, clock: int) -> int:
        for action in actions:
            clock = getattr(self, f"_{action.what}")(action, thread, clock) + 1
        return clock

    def _op(self, action: Action, thread: int, clock: int) -> int:
        half = action.ns // 2
        end = self._all(action.inside, thread, clock + half) + action.ns - half
        self.trace.range(action.name, clock, end, thread=thread)
        return end

    def _launch(self, action: Action, thread: int, clock: int) -> int:
        ends = self.ends.setdefault(action.stream, [])
        back = clock + CALL
        if len(ends) >= self.queue:
            back = max(back, ends[-self.queue])
        self._work(action, thread, clock, back, back + LATENCY)
        return back

    def _copy(self, action: Action, thread: int, clock: int) -> int:
        end = self._work(action, thread, clock, None, clock + LATENCY + CALL, DeviceKind.MEMCPY)
        return end + RETURN

    def _work(self, action: Action, thread: int, clock: int, back: int | None, earliest: int,
              kind: DeviceKind = DeviceKind.KERNEL) -> int:  # fmt: skip
        ends = self.ends.setdefault(action.stream, [])
        before = max(self.joined, ends[-1] if ends else self.joined)
        start = max(earliest, before + GAP)
        end = start + action.ns
        self.joined = -(10**9)
        if action.ns == 0:  # a kernel that was taken away: its place on the stream stays
            end = max(before, clock)
            ends.append(end)
            self._call("cudaLaunchKernel", thread, clock, back or clock)
            return end
        ends.append(end)
        number = 1000 + len(self.trace.device)
        call = "cudaMemcpyAsync" if kind == DeviceKind.MEMCPY else "cudaLaunchKernel"
        self._call(call, thread, clock, end + RETURN if back is None else back, correlation=number)
        name = action.name + (" (Device -> Pageable)" if back is None else "")
        self.trace.event(name, start, end, kind, stream=action.stream, correlation=number)
        return end

    def _device(self, action: Action, thread: int, clock: int) -> int:
        done = max((ends[-1] for ends in self.ends.values() if ends), default=clock)
        return self._wait("cudaDeviceSynchronize", done, thread, clock)

    def _stream(self, action: Action, thread: int, clock: int) -> int:
        return self._wait("cudaStreamSynchronize", self.ends[action.stream][-1], thread, clock)

    def _nothing(self, action: Action, thread: int, clock: int) -> int:
        return clock

    def _wait(self, name: str, done: int, thread: int, clock: int) -> int:
        back = max(clock + RETURN, done + RETURN)
        self._call(name, thread, clock, back)
        return back

    def _join(self, action: Action, thread: int, clock: int) -> int:
        others = [ends[-1] for stream, ends in self.ends.items() if stream != action.stream and ends]
        self.joined = max([self.joined, *others])
        self._call("cudaStreamWaitEvent", thread, clock, clock + 1)
        return clock + 1

    def _backward(self, action: Action, thread: int, clock: int) -> int:
        begin = clock - 1 + WAKE  # the caller's last range ended one ns ago
        end = self._all(action.inside, 1, begin) - 1 if action.inside else begin
        return end + WAKE - 1

    def _call(self, name: str, thread: int, start: int, end: int, **columns: int) -> None:
        self.trace.range(name, start, end, HostKind.RUNTIME, thread=thread, **columns)


CALIBRATION = (
    Action("launch", "first", 100), Action("launch", "second", 10), Action("device"), Action("device"),
)  # fmt: skip
"""Work from which a graph learns the machine's delays."""


def program(rng: random.Random, steps: int = 3) -> list[tuple[Action, ...]]:
    """Some steps, the same each time or not, of all kinds of work, each name used once in a step."""
    whole = [_step(rng) for _ in range(steps)]
    return [(*CALIBRATION, *step) for step in whole]


def _step(rng: random.Random) -> tuple[Action, ...]:
    names = iter(f"op{number}" for number in range(10_000))
    parts = []
    for _ in range(rng.randint(1, 4)):
        parts += [_op(rng, names) for _ in range(rng.randint(1, 6))]
        if rng.random() < 0.5:
            nodes = tuple(_op(rng, names, must_launch=True) for _ in range(rng.randint(1, 6)))
            parts += [Action("backward", inside=nodes), _op(rng, names)]
    return tuple(parts)


def _op(rng: random.Random, names: Iterator[str], *, must_launch: bool = False) -> Action:
    name = next(names)
    inside: list[Action] = []
    for _ in range(rng.randint(1 if must_launch else 0, 3)):
        stream = rng.choice((7, 7, 7, 20))
        if stream == 20 or rng.random() < 0.2:
            inside.append(Action("join", stream=stream))
        ns = rng.choice((rng.randint(3, 20), rng.randint(20, 200)))
        inside.append(Action(rng.choice(("launch",) * 8 + ("copy",)), f"k{rng.randint(0, 5)}", ns, stream))
    if inside and rng.random() < 0.15:
        inside.append(Action(rng.choice(("device", "stream")), stream=inside[-1].stream))
    return Action("op", name, rng.randint(2, 60), inside=tuple(inside))


def without(steps: list[tuple[Action, ...]], gone: set[str]) -> list[tuple[Action, ...]]:
    """The program without operators of these names and all that is in them."""

    def kept(actions: tuple[Action, ...]) -> tuple[Action, ...]:
        return tuple(
            Action("nothing") if one.name in gone else replace(one, inside=kept(one.inside)) for one in actions
        )

    return [kept(step) for step in steps]


def faster(steps: list[tuple[Action, ...]], names: set[str], factor: float) -> list[tuple[Action, ...]]:
    """The program whose kernels of these names take so many times as long."""

    def changed(actions: tuple[Action, ...]) -> tuple[Action, ...]:
        return tuple(
            replace(one, ns=int(one.ns * factor) if one.name in names else one.ns, inside=changed(one.inside))
            for one in actions
        )

    return [changed(step) for step in steps]
