"""Colours by name: every category and phase has one, and one alone."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from perfkit.analysis.attribution.attribute import Phase
from perfkit.analysis.kernels import kinds
from perfkit.analysis.time.idle.kinds import Cause
from perfkit.render import colours


def test_every_category_and_phase_has_a_colour():
    names = [*kinds.ALL, *(phase.label for phase in Phase), *(f"idle: {cause.label}" for cause in Cause)]
    assert [name for name in names if colours.of(name) is None] == []


def test_other_text_has_none():
    assert colours.of("layers.*.attn") is None
    assert colours.of("") is None


def test_a_name_is_listed_once():
    listed = ", ".join(colours._MEMBERS.values()).split(", ")
    assert len(listed) == len(set(listed)) == len(colours.OF)


SEEN_BY = {
    "anybody": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopes": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""How linear RGB is seen: Machado, Oliveira and Fernandes 2009, severity 1."""
XYZ = np.array([[0.412456, 0.357576, 0.180437], [0.212673, 0.715152, 0.072175], [0.019334, 0.119192, 0.950304]])
"""Of linear sRGB; and its white (IEC 61966-2-1)."""
WHITE = [0.95047, 1.0, 1.08883]


def lab(colour: colours.Colour, reader: str) -> np.ndarray:
    """CIE 1976 L*a*b* of a colour as a reader sees it: a distance of 2 is just seen."""
    parts = np.array([int(colour.hex[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(np.maximum(XYZ @ np.clip(SEEN_BY[reader] @ linear, 0, 1) / WHITE, 0.008856))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("reader", SEEN_BY)
@pytest.mark.parametrize(
    "together",
    [
        "forward, loss, backward, recompute, optimizer, communication, other, unlaunched",
        "compute, exposed communication, exposed copies, launch-starved, blocking, dependency, data-loading, "
        "between-steps, outside-steps, unknown",
        "side-a, side-b",
    ],
)
def test_colour_blind_readers_tell_apart_what_stands_together(reader, together):
    """GIVEN what one figure shows WHEN seen by a reader of a kind THEN any two differ by 10, five times what is seen"""
    seen = {name: lab(colours.OF[name], reader) for name in together.split(", ")}
    close = [(a, b) for a, b in combinations(seen, 2) if np.linalg.norm(seen[a] - seen[b]) < 10]
    assert close == []
