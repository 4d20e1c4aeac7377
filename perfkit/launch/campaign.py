"""Runs several configurations, several times each, one after the other, in random order.

The order is blocked: each round is a random permutation of all points. Drift during a campaign (heat, other users)
then affects all points alike, instead of the one that happens to be last, and after every full round each point has
run equally often.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from perfkit import signals
from perfkit.launch.processes import run_child
from perfkit.schema.campaign import Finished, Point, Turn


def order(points: Sequence[Point], repeats: int, seed: int) -> list[Turn]:
    """Every point `repeats` times, each round in its own random order. The same seed gives the same order."""
    # Python guarantees the sequence of random.random() across versions, but not that of shuffle().
    generator = random.Random(seed)
    return [
        Turn(point, repeat)
        for repeat in range(1, repeats + 1)
        for point in sorted(points, key=lambda _: generator.random())
    ]


Execute = Callable[[Turn, Path], Finished]


EXTRA_FLAGS = ("--overhead", "off")
"""A comparison needs no plain run beside each profiled one to show the profiler's cost."""


def in_fresh_processes(timeout_s: float | None = None, run_child: Callable[..., Finished] = run_child) -> Execute:
    """Runs each turn in its own `perfkit run`, without a second, plain run to measure the profiler's cost."""

    def execute(turn: Turn, folder: Path) -> Finished:
        point = turn.point
        extra = (*EXTRA_FLAGS, *point.extra)
        environment = dict(point.environment)
        return run_child(
            point.config, folder, timeout_s=timeout_s, wrapper=point.wrapper, extra=extra, environment=environment
        )

    return execute


def run(
    turns: Iterable[Turn],
    folder: Path,
    execute: Execute,
    *,
    on_start: Callable[[Turn], None] = lambda _: None,
    on_finish: Callable[[Turn, Finished], None] = lambda _turn, _finished: None,
) -> list[tuple[Turn, Finished]]:
    """Run the turns in the order given, each in its own subfolder of `folder`, which must not exist yet.

    A turn that fails does not end the campaign; on_finish is told of it. A signal ends it (KeyboardInterrupt), either
    while a turn waits for its process or as soon as on_finish has been told of the finished turn.
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
