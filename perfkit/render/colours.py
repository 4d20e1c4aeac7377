"""One colour for each kind of work, phase and cause of wall time: the same in terminals, pictures and pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Colour:
    """One of Okabe and Ito's colours (2008), which colour-blind readers can tell apart."""

    hex: str
    """For pictures and pages."""
    ansi: str
    """The nearest of a terminal's 16 colours that can be read on black and on white, as rich names it."""


BLUE, SKY, GREEN = Colour("#0072B2", "bright_blue"), Colour("#56B4E9", "cyan"), Colour("#009E73", "green")
PURPLE, ORANGE, RED = Colour("#CC79A7", "magenta"), Colour("#E69F00", "yellow"), Colour("#D55E00", "red")
GREY = Colour("#999999", "bright_black")

_MEMBERS: Mapping[Colour, str] = {
    BLUE: "matmul, convolution, attention, program, forward, compute",
    SKY: "softmax, normalisation, reduction, pooling, loss, rope, recompute",
    GREEN: "elementwise, cast/layout, embedding/gather, quantisation, random, MoE routing, attention cache, backward",
    PURPLE: "optimizer",
    ORANGE: "host to device, device to host, device to device, copy, memset, exposed copies",
    RED: "communication, exposed communication",
    GREY: "other, host, wait, idle, unlaunched, zero_grad, rest, outside phases",
}


def _named() -> Iterator[tuple[str, Colour]]:
    for colour, members in _MEMBERS.items():
        yield from ((name, colour) for name in members.split(", "))


OF: Mapping[str, Colour] = dict(_named())
"""By the name of a category of kernels, a phase, or what a device did of the wall time."""

COLUMNS = frozenset({"category", "phase", "kind", "what"})
"""Names of the columns of tables that hold such names."""


def of(name: str) -> Colour | None:
    """The colour of a name; `idle: launch-starved` has that of `idle`. None where it has none."""
    return OF.get(name.partition(":")[0])
