"""The measured steps under torch.profiler, with a trace where TensorBoard's PyTorch plugin finds it."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.profiler import ProfilerAction, ProfilerActivity, profile, schedule

from perfkit import signals
from perfkit.schema.config import RunConfig

METADATA_KEY = "perfkit"
"""Top-level key of the trace under which perfkit leaves what only it knows (the module tree, the configuration)."""


def _schedule(config: RunConfig, warmup: int) -> Callable[[int], ProfilerAction]:
    with warnings.catch_warnings():  # of no warm-up, on which the report has a line of its own
        warnings.simplefilter("ignore", UserWarning)
        return schedule(wait=config.warmup_steps - warmup, warmup=warmup, active=config.measure_steps, repeat=1)


@contextmanager
def recorded(
    config: RunConfig, folder: Path, metadata: dict[str, Any], before_writing: Callable[[], None] = lambda: None
) -> Iterator[Callable[[], None]]:
    """Profile the body; it calls what is yielded after every step, warm-up steps included.

    The profiler waits through all warm-up steps but the last, warms itself up on that one, and records the measured
    ones. The trace `<worker>.<ns>.pt.trace.json.gz` lies in `folder` when the body has run all its steps, or as many
    as it got to where an exception ends it. before_writing is called before it is written, which takes a while: a
    signal cuts that short, and where one ended the body a second one.
    """
    activities = [ProfilerActivity.CPU]
    if config.device != "cpu":
        activities.append(ProfilerActivity.CUDA)
    warmup = min(config.warmup_steps, 1)
    with profile(
        activities=activities,
        schedule=_schedule(config, warmup),
        on_trace_ready=lambda done: _write(done, folder, before_writing),
        record_shapes=True,
        with_stack=config.profile_stack,
    ) as profiler:
        steps_left = config.warmup_steps

        def leave_metadata() -> None:
            profiler.add_metadata_json(METADATA_KEY, msgspec.json.encode(metadata).decode())

        if steps_left == 0:
            leave_metadata()

        def after_step() -> None:
            nonlocal steps_left
            steps_left -= 1
            if config.device != "cpu":
                torch.cuda.synchronize(config.device)  # nothing launched before the window may end inside it
            profiler.step()
            if steps_left == 0:
                leave_metadata()  # recording has begun: the profiler takes metadata only now

        yield after_step


def _write(done: profile, folder: Path, before_writing: Callable[[], None]) -> None:
    """Write the trace as TensorBoard's plugin wants it named, and in one step: an interrupted one is never seen."""
    before_writing()
    draft = folder / "unfinished.json.gz"
    try:
        with signals.raised():
            done.export_chrome_trace(str(draft))
        draft.replace(folder / f"{platform.node()}_{os.getpid()}.{time.time_ns()}.pt.trace.json.gz")
    finally:
        draft.unlink(missing_ok=True)


def find_trace(folder: Path) -> Path | None:
    """The trace in a run's folder, if there is exactly one."""
    traces = sorted(folder.glob("*.pt.trace.json*"))
    return traces[0] if len(traces) == 1 else None
