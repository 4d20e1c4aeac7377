"""A larger batch: another computation, so judged by the time for as many rows, and recommended apart.

As many rows are so many steps of the original and one of the larger batch. That step's gradients are those of all the
rows, as so many steps without an optimizer's between them would add them up: what is trained goes another way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from perfkit.analysis.memory import fit
from perfkit.schema.config import RunConfig
from perfkit.schema.parts.checks import flag
from perfkit.schema.parts.workloads import Own, arguments_of
from perfkit.schema.record import RunRecord

RULES = frozenset(("few-tiles", "launch-bound", "tiny-kernels"))
"""Rules that advise one."""
TIMES = (2, 4)
"""How many times the batch is tried."""
_ARGUMENTS = ("batch", "batch_size")
"""Names of an argument of --input that say how many rows it makes."""
_ROOM = 0.9
"""Share of a device's memory that a batch may need, by the peak of the smaller one."""

Fits = Callable[[RunConfig, int], bool]
"""(configuration, how many times its batch) -> whether there is memory for that."""


def advised(config: RunConfig, fits: Fits) -> tuple[list[tuple[dict[str, Any], int]], list[tuple[str, str]]]:
    """Fields of the larger batches to try, each with its number of times; and what cannot be tried, with the reason."""
    rows = rows_of(config)
    if rows is None:
        return [], [("a larger batch", "--input makes the batch: name its argument, as in --input-arg batch=4")]
    found, left = [], []
    for times in TIMES:
        if fits(config, times):
            found.append((_fields(config, times), times))
        else:
            left.append((f"a batch of {times * rows}", "not known to fit into the device's memory"))
    return found, left


def rows_of(config: RunConfig) -> int | None:
    """Rows (sequences) of a batch; None where only the callable of --input knows."""
    if isinstance(config.workload, Own):
        return next(iter(_said(config.workload).values()), None)
    return config.step.batch_size


def _said(own: Own) -> dict[str, int]:
    """Arguments of --input that say how many rows there are."""
    given = arguments_of(own.input_arg)
    return {name: given[name] for name in _ARGUMENTS if type(given.get(name)) is int}


def _fields(config: RunConfig, times: int) -> dict[str, Any]:
    if not isinstance(config.workload, Own):
        return {"batch_size": times * config.step.batch_size}
    name, rows = next(iter(_said(config.workload).items()))
    return {"input_arg": f"{name}={times * rows}"}


def spelled(fields: Mapping[str, Any]) -> str:
    """Fields of a larger batch as the flag that asks for it, whatever the default: `--input-arg batch=8`."""
    return " ".join(f"{flag(name)} {value}" for name, value in fields.items())


def times_of(config: RunConfig, changed: RunConfig) -> int | None:
    """How many times the rows a configuration has that differs in nothing else of the work; None for no whole number.

    An argument of --input whose number is a multiple says it, whatever its name: what runs shows whether it is so.
    """
    before, after = config.workload, changed.workload
    if not isinstance(before, Own) or not isinstance(after, Own):
        return _multiple(config.step.batch_size, changed.step.batch_size)
    given, anew = (arguments_of(own.input_arg) for own in (before, after))
    differ = [name for name in given | anew if given.get(name) != anew.get(name)]
    if not differ:
        return 1
    return _multiple(given.get(differ[0]), anew.get(differ[0])) if len(differ) == 1 else None


def _multiple(rows: Any, more: Any) -> int | None:
    if type(rows) is not int or type(more) is not int or rows < 1 or more < rows:
        return None
    times, over = divmod(more, rows)
    return None if over else times


def has_room(record: RunRecord, config: RunConfig, times: int) -> bool:
    """Whether the device of a run has memory for so many times its batch: by the formula, or by the run's peak.

    What a step holds grows at most as its batch does, so the peak of an own model, times as much, is enough. Where the
    device's memory is not known there is none.
    """
    memory, peak = record.environment.device_memory, record.memory.headline
    if memory is None:
        return False
    if not isinstance(config.workload, Own):
        return fit.predict(config.changed(batch_size=times * config.step.batch_size), memory).verdict == "fits"
    return peak is not None and times * peak <= _ROOM * memory
