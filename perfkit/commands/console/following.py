"""The last lines of a run: where it is saved, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from perfkit.schema import record as records
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.workloads import Own
from perfkit.schema.printable import printable
from perfkit.schema.record import RunRecord

_NEXT = "next: "


def lines(config: RunConfig, record: RunRecord, folder: Path, width: int | None = None) -> Iterator[str]:
    """`saved in ...`, and what to do next of a run that is complete, a line each.

    config: as it was asked for, so that a command says only what was said. width: characters in a line; where it is too
    few for a command and what it shows beside each other, they are below each other. A command is never broken.
    """
    yield ""
    yield printable(f"saved in {folder}")
    if record.failure is not None:
        return
    steps = [*_steps(config, record, folder)]
    longest = max((len(what) for what, _ in steps), default=0)
    beside = [f"{what:{longest}}   {why}" for what, why in steps]
    fits = width is None or all(len(_NEXT) + len(line) <= width for line in beside)
    below = [line for what, why in steps for line in (f"{why}:", f"  {what}")]
    for number, line in enumerate(beside if fits else below):
        yield printable(f"{'' if number else _NEXT:{len(_NEXT)}}{line}")


def _steps(config: RunConfig, record: RunRecord, folder: Path) -> Iterator[tuple[str, str]]:
    """A command, and what it shows."""
    if records.artifact(record, folder, "memory") is not None:
        yield shlex.join(("perfkit", "memory", str(folder))), "what memory holds at its peak, by kind and layer"
    if records.artifact(record, folder, "trace") is not None:
        yield shlex.join(("perfkit", "analyze", str(folder), "--table", "groups", "--by", "layer")), "time by layer"
        yield shlex.join(("perfkit", "report", str(folder), "--open")), "all of it as one page, in the browser"
        return
    own = isinstance(config.workload, Own) and config.workload.model is None
    if not own and config.measurement.profiler == "none":
        flags = config.changed(profiler="torch").flags()
        yield shlex.join((*_starting(record), *flags)), "time by layer and kernel"
    yield shlex.join(("perfkit", "analyze", str(folder))), "every table of this run"


def _starting(record: RunRecord) -> tuple[str, ...]:
    """What starts a run with as many processes."""
    if record.config.step.parallel == "off":
        return "perfkit", "run"
    return "torchrun", "--nproc-per-node", str(1 + len(record.ranks)), "-m", "perfkit.run"
