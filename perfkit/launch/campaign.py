"""Several configurations, several times each, one after the other, in random order.

The order is blocked: each round is a random permutation of all points. What drifts while a campaign runs (heat, other
users) then falls on all points alike, instead of on the one that happens to be last, and after every full round each
point was run equally often.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from perfkit import signals
from perfkit.launch.processes import run_child
from perfkit.schema.campaign import Finished, Point, Turn


def order(points: Sequence[Point], repeats: int, seed: int) -> list[Turn]:
    """Every point `repeats` times, each round in a random order of its own. The same seed gives the same order."""
    # random.random() alone is promised to stay the same from one Python to the next; shuffle() is not.
    generator = random.Random(seed)
    return [
        Turn(point, repeat)
        for repeat in range(1, repeats + 1)
        for point in sorted(points, key=lambda _: generator.random())
    ]


Execute = Callable[[Turn, Path], Finished]


EXTRA_FLAGS = ("--overhead", "off")
"""Processes that are compared need no plain run beside them, which shows what the profiler costs."""


def in_fresh_processes(timeout_s: float | None = None) -> Execute:
    """Each turn in a `perfkit run` of its own, without a second one beside profiled runs for the profiler's cost."""

    def execute(turn: Turn, folder: Path) -> Finished:
        return run_child(turn.point.config, folder, timeout_s=timeout_s, wrapper=turn.point.wrapper, extra=EXTRA_FLAGS)

    return execute


def run(
    turns: Iterable[Turn],
    folder: Path,
    execute: Execute,
    *,
    on_start: Callable[[Turn], None] = lambda _: None,
    on_finish: Callable[[Turn, Finished], None] = lambda _turn, _finished: None,
) -> list[tuple[Turn, Finished]]:
    """Run the turns in the order given, each in a folder of its own in `folder`, which must not have it yet.

    A turn that fails does not end the campaign; on_finish hears of it. A signal does (KeyboardInterrupt): while a turn
    waits for its process, or as soon as on_finish has heard of what is finished.
    """
    results = []
    with signals.held():
        for turn in turns:
            signals.check()
            on_start(turn)
            finished = execute(turn, folder / turn.name)
            on_finish(turn, finished)
            results.append((turn, finished))
    return results
