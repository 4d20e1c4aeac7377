"""Runs a planted program: times its steps, records them, and does so where its file is run by itself."""

from __future__ import annotations

import argparse
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

import perfkit
from tests.planted.program import Step

THREADS = 2
WARMUP = 5
Clock = Callable[[], float]


class Running:
    """One side of a program, built and warmed up on a device."""

    def __init__(self, build: Callable[[bool, str], tuple[Any, Step]], fault: bool, device: str, warmup: int = WARMUP):
        torch.set_num_threads(THREADS)
        torch.manual_seed(0)
        self.model, self.step = build(fault, device)
        self._device = device
        for _ in range(warmup):
            self.step()
        self._wait()

    def seconds_per_step(self, steps: int, clock: Clock = time.perf_counter) -> float:
        """Run some steps, wait for the device once, and divide: a wait in each step would be a fault of its own."""
        start = clock()
        for _ in range(steps):
            self.step()
        self._wait()
        return (clock() - start) / steps

    def record(self, file: Path, steps: int, *, stacks: bool = False, clock: Clock = time.perf_counter) -> float:
        """Record some steps as `perfkit run --profiler torch` does; returns the seconds that a step took meanwhile."""
        activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if self._device == "cuda" else [])
        with (
            perfkit.annotate(self.model),
            profile(
                activities=activities,
                schedule=schedule(wait=0, warmup=1, active=steps, repeat=1),
                record_shapes=True,
                with_stack=stacks,
            ) as profiler,
        ):
            self.step()
            self._wait()
            profiler.step()
            start = clock()
            for number in range(steps):
                self.step()
                if number == steps - 1:
                    self._wait()
                    taken = clock() - start
                profiler.step()
        profiler.export_chrome_trace(str(file))
        return taken / steps

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()


def main(build: Callable[[bool, str], tuple[Any, Step]], arguments: list[str] | None = None) -> None:
    """What a program's file does when it is run: time its steps, and record them where a file is named."""
    described: Any = inspect.getmodule(build)
    parser = argparse.ArgumentParser(description=described.__doc__)
    side = parser.add_mutually_exclusive_group(required=True)
    side.add_argument("--fault", action="store_true", help="with the fault")
    side.add_argument("--healthy", action="store_true", help="the same work without it")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: the first that the fault is made for")
    parser.add_argument("--steps", type=int, default=20, help="steps to time (default: %(default)s)")
    parser.add_argument("--record", type=Path, metavar="FILE", help="record five more steps as a trace, .json or .gz")
    parser.add_argument("--stacks", action="store_true", help="record Python stacks too")
    options = parser.parse_args(arguments)
    running = Running(build, options.fault, options.device or described.DEVICES[0])
    times = [1e3 * running.seconds_per_step(1) for _ in range(options.steps)]
    print(f"{median(times):.2f} ms a step (median of {len(times)}; {min(times):.2f} to {max(times):.2f})")
    if options.record is not None:
        running.record(options.record, 5, stacks=options.stacks)
        print(f"recorded in {options.record}")
