"""One real run of `tiny` with a cause of noise planted in it: python -m scripts.planted.child CAUSE FOLDER.

An observer plants the cause where a step's first phase begins, so it lies inside the step's time.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from perfkit.measure import runner
from perfkit.measure.loop import Observer, StepId
from perfkit.schema.config import RunConfig

WARMUP, STEPS = 5, 30
SLEEPING, SLEEP_S = 12, 0.5
"""The measured step (from 0) that sleeps, and for how many seconds: about five steps of `tiny` on one thread."""
GARBAGE_EVERY, GARBAGE = 5, 150_000
HOG_FROM = 15
"""The measured step from which on the hog runs, or steps do more work."""
MORE_WORK = 2_000_000
"""Number of additional additions per step: about 40 ms of one thread."""
MORE_CPU_TIME = "more CPU time (more work, or a slower CPU)"
"""The cause that a run can see for both a hog and more work."""

_SPIN = "while True: pass"
_HOG = """
import numpy as np
a = np.ones(32 << 20); b = np.zeros_like(a)
while True:
    np.add(a, b, out=b)
"""
"""512 MiB read and 256 MiB written through the caches, over and over (a copy would write past them)."""

Hook = Callable[[int], object]
"""Called inside each step, before its work, with the number of the measured step (negative: warm-up)."""


class Plant(Observer):
    """Calls a hook where each step's first phase begins."""

    def __init__(self, hook: Hook, warmup_steps: int) -> None:
        self._hook, self._warmup_steps = hook, warmup_steps
        self._step: int | None = None

    def before(self, step: StepId) -> None:
        self._step = step.index - (self._warmup_steps if step.stage == "warm-up" else 0)

    def phase(self, name: str) -> None:
        if self._step is not None:
            number, self._step = self._step, None
            self._hook(number)


@contextlib.contextmanager
def nothing() -> Iterator[Hook]:
    yield lambda _: None


@contextlib.contextmanager
def sleep() -> Iterator[Hook]:
    yield lambda step: time.sleep(SLEEP_S) if step == SLEEPING else None


@contextlib.contextmanager
def garbage() -> Iterator[Hook]:
    """Make objects that refer to themselves and keep some of them, so that the garbage collector has to visit them."""
    kept: list[Any] = []

    def hook(step: int) -> None:
        if step >= 0 and step % GARBAGE_EVERY == GARBAGE_EVERY - 1:
            kept.clear()
            for _ in range(GARBAGE):
                ring: list[Any] = []
                ring.append(ring)
                kept.append(ring)

    yield hook


@contextlib.contextmanager
def competitors() -> Iterator[Hook]:
    """Run one spinning process on every CPU that this process may use."""
    with contextlib.ExitStack() as stack:
        for cpu in os.sched_getaffinity(0):
            stack.enter_context(_process(_SPIN, cpu))
        yield lambda _: None


@contextlib.contextmanager
def hog() -> Iterator[Hook]:
    """Keep this process on one CPU; from HOG_FROM on, processes on the others fill caches and memory bandwidth."""
    own, *others = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {own})
    with contextlib.ExitStack() as stack:
        hogs = [stack.enter_context(_process(_HOG, cpu)) for cpu in others]
        time.sleep(2)  # wait until they have allocated their arrays
        for hog in hogs:
            hog.send_signal(signal.SIGSTOP)

        def hook(step: int) -> None:
            if step == HOG_FROM:
                for hog in hogs:
                    hog.send_signal(signal.SIGCONT)

        yield hook
        if any(hog.poll() is not None for hog in hogs):
            sys.exit("a hog ended before the run did: too little memory?")


@contextlib.contextmanager
def more_work() -> Iterator[Hook]:
    """Make every step from HOG_FROM on do more work."""
    yield lambda step: sum(range(MORE_WORK)) if step >= HOG_FROM else None


@contextlib.contextmanager
def _process(code: str, cpu: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        os.sched_setaffinity(process.pid, {cpu})
        yield process
    finally:
        process.kill()
        process.wait()


PLANTS: dict[str, tuple[Callable[[], contextlib.AbstractContextManager[Hook]], dict[str, Any], str | None]] = {
    "none": (nothing, {}, None),
    "gc-storm": (garbage, {"gc": "on"}, "garbage collection"),
    "competitor": (competitors, {}, "preemption by other processes"),
    "sleeping-step": (sleep, {}, "sleep (a lock, I/O)"),
    "slow-first-step": (nothing, {"warmup_steps": 0}, "unfinished warm-up"),
    "hog": (hog, {}, MORE_CPU_TIME),
    "more-work": (more_work, {}, MORE_CPU_TIME),
}
"""Name -> what plants the cause, the configuration fields that it needs, and the cause the report should name."""


def run(name: str, folder: Path, **fields: Any) -> None:
    """Measure with this cause planted and leave the record in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    plant, needed, _ = PLANTS[name]
    usual = {"num_threads": 1, "warmup_steps": WARMUP, "measure_steps": STEPS}
    config = runner.resolve(RunConfig.of(**(usual | needed | fields), device="cpu"))
    with plant() as hook:
        runner.run(config, folder, (Plant(hook, config.measurement.warmup_steps),))


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
