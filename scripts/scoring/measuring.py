"""What a planted fault costs: both twins timed in turns, each in a process of its own, and then recorded."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.planted import kineto
from tests.planted.machine import play
from tests.planted.program import Pair, Program

ROOT = Path(__file__).resolve().parents[2]
SIDES = ("fault", "healthy")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    repeats: int = 3
    """Fresh pairs of processes."""
    rounds: int = 8
    """Turns of each twin, in each pair of processes."""
    steps: int = 4
    """Steps of a turn."""
    recorded: int = 5
    """Steps of a recording."""
    stacks: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """One twin: what a step takes, and its recording."""

    step_ns: float
    """Not recorded: the median over the pairs of processes of the median over turns."""
    recorded_ns: float
    """While it was recorded."""
    trace: Path


@dataclass(frozen=True, slots=True)
class Measured:
    """Both twins of a fault."""

    name: str
    source: str
    """cpu, cuda, or built."""
    fault: Side
    healthy: Side
    gains_ns: tuple[float, ...]
    """What the fault costs, by each pair of processes; of a built pair, the one exact number."""

    @property
    def gain_ns(self) -> float:
        """What the fault costs a step."""
        return median(self.gains_ns)


Ask = Callable[[str], float]
Start = Callable[[str, str, str], AbstractContextManager[Ask]]
"""(program, side, device) -> a twin that answers requests."""


def measure(program: Program, device: str, plan: Plan, folder: Path, start: Any = None) -> Measured:
    """Time both twins in turns in several pairs of processes; the last pair is recorded, after it was timed."""
    start = start or in_process
    medians: dict[str, list[float]] = {side: [] for side in SIDES}
    for number in range(plan.repeats):
        with contextlib.ExitStack() as stack:
            twins = {side: stack.enter_context(start(program.name, side, device)) for side in SIDES}
            turns: dict[str, list[float]] = {side: [] for side in SIDES}
            for turn in range(plan.rounds):
                for side in SIDES if turn % 2 == 0 else SIDES[::-1]:
                    turns[side].append(twins[side](f"time {plan.steps}"))
            for side in SIDES:
                medians[side].append(1e9 * median(turns[side]))
            if number == plan.repeats - 1:
                files = {side: folder / f"{program.name}.{device}.{side}.pt.trace.json.gz" for side in SIDES}
                stacks = "stacks" if plan.stacks else "plain"
                recorded = {side: 1e9 * twins[side](f"record {plan.recorded} {stacks} {files[side]}") for side in SIDES}
    fault, healthy = (Side(median(medians[side]), recorded[side], files[side]) for side in SIDES)
    gains = tuple(one - other for one, other in zip(*medians.values(), strict=True))
    return Measured(program.name, device, fault, healthy, gains)


def played(pair: Pair, folder: Path) -> Measured:
    """Both twins of a built pair: their times follow from the timing model."""
    sides = []
    for side in SIDES:
        done = play(pair.step(side == "fault"))
        file = folder / f"{pair.name}.built.{side}.pt.trace.json.gz"
        kineto.write(done.happened, file)
        sides.append(Side(done.step_ns, done.recorded_ns, file))
    fault, healthy = sides
    return Measured(pair.name, "built", fault, healthy, (fault.step_ns - healthy.step_ns,))


@contextlib.contextmanager
def in_process(name: str, side: str, device: str) -> Iterator[Ask]:
    """A twin in a process of its own, which sleeps while it is not asked."""
    command = [sys.executable, "-m", "scripts.scoring.child", name, side, device]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen(command, cwd=ROOT, **pipes) as child:

        def answer() -> str:
            line = child.stdout.readline()  # type: ignore[union-attr]
            if not line:
                raise SystemExit(f"scoreboard: {name} ({side}, {device}) ended early: run {_alone(name, side, device)}")
            return str(line).strip()

        def ask(request: str) -> float:
            child.stdin.write(request + "\n")  # type: ignore[union-attr]
            return float(answer())

        try:
            if answer() != "ready":
                raise SystemExit(f"scoreboard: {name} prints while it is built; a program must not print")
            yield ask
        finally:
            child.stdin.close()  # type: ignore[union-attr]
            if sys.exc_info()[0] is not None:
                child.kill()


def _alone(name: str, side: str, device: str) -> str:
    return f"python tests/planted/programs/{name}.py --{side} --device {device} to see why"
