"""Colours by name: every category and phase has one, and one alone."""

from __future__ import annotations

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
