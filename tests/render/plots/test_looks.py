"""Ticks are at round numbers, and colours are those of what a thing stands for."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from perfkit.render import colours
from perfkit.render.plots import looks


@pytest.mark.parametrize(
    ("low", "high", "quantity", "log", "ticks"),
    [
        (0.0, 0.07, "s", False, [0, 0.02, 0.04, 0.06]),
        (0.0, 17.0, "", False, [0, 5, 10, 15]),
        (0.0, 3.4 * 2**30, "B", False, [0, 2**30, 2 * 2**30, 3 * 2**30]),
        (0.9, 25.0, "s", True, [1, 2, 5, 10, 20]),
        (2e6, 2e12, "/s", True, [1e7, 1e8, 1e9, 1e10, 1e11, 1e12]),
    ],
)
def test_ticks_are_round(low, high, quantity, log, ticks):
    axes = Figure().subplots()
    if log:
        axes.set_yscale("log")
    axes.set_ylim(low, high)
    looks.set_round_ticks(axes.yaxis, quantity, log=log)
    assert [tick for tick in axes.get_yticks() if low <= tick <= high] == pytest.approx(ticks)


def test_colours_are_by_meaning():
    assert looks.color_of("forward", 5) == colours.BLUE.hex
    assert looks.color_of("no such name", 1) == looks.PALETTE[1]
    assert looks.color_of("idle: blocking", 3) == looks.color_of("blocking", 4) == colours.YELLOW.hex
