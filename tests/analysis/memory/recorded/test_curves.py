"""Curves of a part, against the curve of all."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.recorded import curves, live
from perfkit.analysis.memory.recorded.live import Peak
from tests.analysis.memory.lives import Piece, lives_of, span

PIECES = (Piece(100), Piece(50, 0, 3), Piece(20, 2), Piece(7, end=1))
LIVES = lives_of(*PIECES, spans=(span(0, 1, Phase.FORWARD), span(2, 3, Phase.BACKWARD)))


def test_what_all_rows_hold_is_the_line():
    moments, used = live.line(LIVES, 0)
    assert curves.held_at(LIVES, np.arange(4), moments).tolist() == used.tolist() == [107, 157, 150, 170, 120]


def test_what_some_rows_hold():
    moments, _ = live.line(LIVES, 0)
    assert curves.held_at(LIVES, np.array([1, 2]), moments).tolist() == [0, 50, 50, 70, 20]


def test_the_peak_of_each_phase():
    assert curves.by_phase(LIVES, 0) == {Phase.FORWARD: Peak(0, 157, 0), Phase.BACKWARD: Peak(0, 170, 2)}
    assert curves.by_phase(LIVES, 1) == {}
