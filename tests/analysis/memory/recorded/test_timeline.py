"""Stretches of events of one phase, and the steps that they make."""

from __future__ import annotations

import numpy as np

from perfkit.analysis.attribution.phase_words import Phase
from perfkit.analysis.memory.recorded.timeline import timeline
from perfkit.trace.columns import MISSING

LETTERS = {"f": Phase.FORWARD, "r": Phase.RECOMPUTE, "b": Phase.BACKWARD, "o": Phase.OPTIMIZER, ".": Phase.OTHER}


def spans(text: str, devices: str = "") -> list[tuple[str, int]]:
    """The text of each span, and its step."""
    device = np.array([int(one) for one in devices or "0" * len(text)], np.int32)
    found = timeline(device, np.array([LETTERS[letter] for letter in text], np.uint8))
    assert [found.spans[run].first <= row <= found.spans[run].last for row, run in enumerate(found.run)].count(
        False
    ) == 0
    names = {phase: letter for letter, phase in LETTERS.items()}
    return [(names[span.phase] * (span.last - span.first + 1), span.step) for span in found.spans]


def test_silent_events_belong_to_the_phase_around_them_and_the_loss_to_forward():
    assert spans("f.f.b.rb.oo.") == [("ffff", 0), ("bbbb", 0), (".", 0), ("oo", 0), (".", 0)]


def test_silence_before_all_and_between_other_phases_is_a_stretch_of_its_own():
    assert spans("..fb.o") == [("..", 0), ("f", 0), ("b", 0), (".", 0), ("o", 0)]


def test_with_an_optimizer_a_step_ends_with_it():
    """GIVEN two passes for each update, THEN they are one step: gradients accumulate."""
    assert [step for _, step in spans("fbfbofbfbo")] == [0] * 5 + [1] * 5


def test_without_an_optimizer_a_step_ends_with_backward():
    assert [step for _, step in spans("fbfb")] == [0, 0, 1, 1]


def test_without_phases_there_are_no_steps():
    assert spans("...") == [("...", MISSING)]


def test_each_device_has_its_own_stretches():
    assert spans("fffb", "0011") == [("ff", 0), ("f", 0), ("b", 0)]
