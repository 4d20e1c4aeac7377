"""A few plain steps in a fresh process, beside a profiled run: the difference is the profiler's cost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from perfkit.commands.console.progress import going_on, tell
from perfkit.errors import OutOfMemoryError, UsageError
from perfkit.launch.processes import run_child
from perfkit.schema import record
from perfkit.schema.campaign import Finished
from perfkit.schema.config import RunConfig
from perfkit.schema.own_files import RECORD_FILE

NAME = "plain"
"""The folder inside the run's own, and the kind of artifact."""
_MOST_STEPS = 10


RunChild = Callable[[RunConfig, Path], Finished]
"""Runs a configuration in a process of its own, in a folder."""


def measure(
    config: RunConfig, folder: Path, run_child: RunChild = run_child, refused: Callable[[str], None] = tell
) -> dict[str, str]:
    """Measure `config` without its profiler in `folder`/plain; return the artifact it leaves, or none if it failed.

    Call it before this process allocates the model: otherwise both would have to fit on the GPU. A line says why it
    failed; where a run in this process will say it, too, of a mistake of the user's or of memory, `refused` gets it.
    """
    tell("measuring plain steps in a fresh process, to find the profiler's overhead (--overhead off skips them)")
    place = folder / NAME
    finished = None
    try:
        with going_on("measuring plain steps"):
            finished = run_child(_plain(config), place)
    finally:
        if finished is None or finished.outcome != "ok":
            _remove(place)
    if finished.outcome != "ok":
        say = refused if finished.exit_code in (UsageError.exit_code, OutOfMemoryError.exit_code) else tell
        say(f"the profiler's overhead will not be known: {finished.outcome}: {finished.last_words}")
        return {}
    return {NAME: f"{NAME}/{RECORD_FILE}"}


def _remove(place: Path) -> None:
    """Remove what a failed child left, but keep the steps that it measured before a signal."""
    place.with_name(place.name + ".log").unlink(missing_ok=True)
    saved = record.load(place) if (place / RECORD_FILE).is_file() else None
    if saved is None or not saved.steps or saved.status == "oom":
        shutil.rmtree(place, ignore_errors=True)


def _plain(config: RunConfig) -> RunConfig:
    return config.changed(
        profiler="none",
        profile_stack=False,
        experimental_provenance=False,
        measure_steps=min(config.measurement.measure_steps, _MOST_STEPS),
    )
