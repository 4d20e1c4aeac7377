"""One colour for each kind of work, phase and cause of idle time: the same in terminals, pictures and pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec


class Colour(msgspec.Struct, frozen=True):
    """One of Okabe and Ito's colours (2008), which colour-blind readers can tell apart, or a grey."""

    hex: str
    """For pictures and pages, on light and on dark."""
    ansi: str
    """The nearest of a terminal's 16 colours that can be read on black and on white, as rich names it."""


BLUE, SKY, GREEN = Colour("#0072B2", "bright_blue"), Colour("#56B4E9", "cyan"), Colour("#009E73", "green")
PURPLE, ORANGE, RED = Colour("#CC79A7", "magenta"), Colour("#E69F00", "yellow"), Colour("#D55E00", "red")
YELLOW = Colour("#F0E442", "yellow")
BLACK = Colour("#000000", "default")
GREY, PALE, FAINT = (Colour(shade, "bright_black") for shade in ("#707070", "#BABABA", "#DADADA"))
"""Lighter and darker than PURPLE, which to many colour-blind readers is a grey."""

PALETTE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
"""For what has no colour of its own; without yellow: too light for a line on white. In a dark page black is white."""

_MEMBERS: Mapping[Colour, str] = {
    BLUE: "matmul, convolution, attention, program, forward, compute, side-a",
    SKY: "softmax, normalisation, reduction, pooling, rope, recompute, data-loading",
    GREEN: "elementwise, cast/layout, embedding/gather, quantisation, random, MoE routing, attention cache, backward, "
    "dependency",
    PURPLE: "optimizer, launch-starved",
    ORANGE: "host to device, device to host, device to device, copy, memset, exposed copies, loss, side-b",
    RED: "communication, exposed communication",
    YELLOW: "blocking",
    GREY: "other, host, wait, idle, zero_grad, between-steps",
    PALE: "unlaunched, rest, outside-steps, outside phases",
    FAINT: "unknown",
}


def _named() -> Iterator[tuple[str, Colour]]:
    for colour, members in _MEMBERS.items():
        yield from ((name, colour) for name in members.split(", "))


OF: Mapping[str, Colour] = dict(_named())
"""By the name of a category of kernels, a phase, what a device did of the wall time, a cause of idle time, a side."""

COLUMNS = frozenset({"category", "phase", "kind", "what", "cause"})
"""Names of the columns of tables that hold such names."""


def of(name: str) -> Colour | None:
    """The colour of a name; `idle: launch-starved` has that of its cause. None where it has none."""
    return OF.get(name.removeprefix("idle: "))
